"""1 / sqrt(x), sqrt(x) and 1 / x of f32 by AVX-512's estimates `vrsqrt14ps` and `vrcp14ps`; the
roots have steps of an iteration here, 1 / x where it is used."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith
from xdsl.dialects.utils import FastMathFlag
from xdsl.ir import Operation

from infini_ir.targets.cpu.llvm.writer import Function, V, floating

RSQRT_OPERATIONS = 7
"""What `emit_rsqrt` writes for one element."""


def emit_rsqrt(f: Function, op: Operation, v: Sequence[V], type: str) -> V:
    """x**-0.5. Largest error: 1.1 ulp.

    The estimate r is wrong by a part of 2**14 at most; with h = 1 - x * r**2 the exact
    value is r * (1 - h)**-0.5, whose series is taken to its second term.
    """
    (x,) = v
    wide = _at_least_four(f, x)
    return _as_before(f, x, _refined(f, wide, _estimate(f, "rsqrt14", wide)))


_TINY = 2.0**-96
"""Numbers below are multiplied by its inverse: then what is left of them is not subnormal."""

_SPECIAL = 0b1110
"""Classes of `vfpclassps`: both zeros and infinity, which are their own roots."""


def emit_sqrt(f: Function, op: Operation, v: Sequence[V], type: str) -> V:
    """x**0.5, rounded as the standard wants it.

    `vsqrtps` takes 12 cycles for a vector of AVX-512, these operations eight. From the estimate
    of 1 / sqrt(x), Goldschmidt's iteration (Markstein, "Software division and square root using
    Goldschmidt's algorithms", 2004): s goes to sqrt(x) and h to 1 / (2 sqrt(x)) in one step,
    then what is left of x, which is exact, corrects s.
    """
    (x,) = v
    if x.lanes != 16 or type != "float" or not f.module.has_avx512:
        return f.intrinsic("llvm.sqrt", v, type, x.lanes)

    def fma(a: V, b: V, c: V) -> V:
        return f.intrinsic("llvm.fma", [a, b, c], "float", x.lanes)

    def product(a: V, b: V) -> V:
        return f.assign(f"fmul {a.full_type} {a.text}, {b.text}", "float", x.lanes)

    def negated(a: V) -> V:
        return f.assign(f"fneg {a.typed}", "float", x.lanes)

    def number(value: float) -> V:
        return f.splat(floating(value), x.lanes)

    def choose(mask: V, a: V, b: V) -> V:
        return f.assign(f"select {mask.typed}, {a.typed}, {b.typed}", "float", x.lanes)

    half, limit = number(0.5), number(_TINY)
    tiny = f.assign(f"fcmp olt {x.full_type} {x.text}, {limit.text}", "i1", x.lanes)
    y = choose(tiny, product(x, number(_TINY**-1)), x)
    r = _estimate(f, "rsqrt14", y)
    s, h = product(y, r), product(half, r)
    left = fma(negated(s), h, half)
    s, h = fma(s, left, s), fma(h, left, h)
    root = fma(fma(negated(s), s, y), h, s)
    root = choose(tiny, product(root, number(_TINY**0.5)), root)
    name = f"llvm.x86.avx512.fpclass.ps.{32 * x.lanes}"
    f.module.declare(f"declare <{x.lanes} x i1> @{name}({x.full_type}, i32)")
    special = f.assign(
        f"call <{x.lanes} x i1> @{name}({x.typed}, i32 {_SPECIAL})", "i1", x.lanes
    )
    return choose(special, x, root)


def is_estimate(op: Operation) -> bool:
    """Whether a division is 1 / x that may be an estimate, as `tile-expand-math` marks it."""
    return isinstance(op, arith.DivfOp) and FastMathFlag.ALLOW_RECIP in op.fastmath.data


def emit_reciprocal(f: Function, x: V) -> V:
    """1 / x, wrong by a part of 2**14 at most."""
    return _as_before(f, x, _estimate(f, "rcp14", _at_least_four(f, x)))


def _at_least_four(f: Function, x: V) -> V:
    """The lanes, or one number as the first of four."""
    if x.lanes > 1:
        return x
    text = f"insertelement <4 x float> splat (float 1.0), float {x.text}, i64 0"
    return f.assign(text, "float", 4)


def _as_before(f: Function, x: V, result: V) -> V:
    """As many lanes of the result as x had."""
    if x.lanes > 1:
        return result
    return f.assign(f"extractelement {result.typed}, i64 0", "float")


def _refined(f: Function, x: V, r: V) -> V:
    def number(value: float) -> V:
        return f.splat(floating(value), x.lanes)

    def fma(a: V, b: V, c: V) -> V:
        return f.intrinsic("llvm.fma", [a, b, c], "float", x.lanes)

    def product(a: V, b: V) -> V:
        return f.assign(f"fmul {a.full_type} {a.text}, {b.text}", "float", x.lanes)

    negated = f.assign(f"fneg {x.typed}", "float", x.lanes)
    h = fma(product(negated, r), r, number(1.0))
    series = fma(h, number(0.375), number(0.5))
    better = fma(product(r, h), series, r)
    # Of 0 and infinity the estimate is exact, and h no number.
    known = f.assign(f"fcmp ord {h.full_type} {h.text}, {h.text}", "i1", x.lanes)
    return f.assign(f"select {known.typed}, {better.typed}, {r.typed}", "float", x.lanes)


def _estimate(f: Function, instruction: str, x: V) -> V:
    bits = 32 * x.lanes
    name = f"llvm.x86.avx512.{instruction}.ps.{bits}"
    mask = "i16" if x.lanes == 16 else "i8"
    f.module.declare(f"declare {x.full_type} @{name}({x.full_type}, {x.full_type}, {mask})")
    text = f"call {x.full_type} @{name}({x.typed}, {x.full_type} zeroinitializer, {mask} -1)"
    return f.assign(text, "float", x.lanes)
