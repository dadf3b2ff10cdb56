"""Functions of f32 that instructions of the processor make shorter than the expansions for all
targets (`passes.tile.math_expansion`). With AVX-512: exponents are put in, taken out and cut
off by one instruction each, and one permutation looks 16 numbers up in a table of 16 or 32.

The errors stated are the largest over all arguments (`tests.numeric.test_function_errors`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects import math
from xdsl.dialects.utils import FastMathFlag
from xdsl.ir import Operation

from infini_ir.passes.tile.math_expansion.exponential import EXP_RANGE, EXPM1, LN2, LOG2_E
from infini_ir.targets.cpu.features import CpuFeatures
from infini_ir.targets.cpu.functions.native_angles import native_cos, native_sin
from infini_ir.targets.cpu.functions.native_roots import RSQRT_OPERATIONS, emit_rsqrt
from infini_ir.targets.cpu.functions.native_tables import native_erf, native_tanh
from infini_ir.targets.cpu.functions.rough_exp import LOWEST, emit_rough_exp, is_rough
from infini_ir.targets.cpu.functions.vectors import LANES, MAGIC, Vectors
from infini_ir.targets.cpu.llvm.writer import Function, V, floating

NativeFunction = Callable[[Vectors, V], V]

NATIVE_OPERATIONS: dict[type[Operation], int] = {
    math.ExpOp: 16,
    math.LogOp: 18,
    math.TanhOp: 21,
    math.ErfOp: 21,
    math.SinOp: 20,
    math.CosOp: 20,
    math.RsqrtOp: RSQRT_OPERATIONS,
}
"""What each writes for one element."""


def native_functions(features: CpuFeatures) -> tuple[str, ...]:
    """Names of the math operations of f32 that `emit_scalar` takes as they are."""
    return tuple(op.name for op in NATIVE_OPERATIONS) if features.has_avx512 else ()


def _native(function: NativeFunction) -> Callable[[Function, Operation, Sequence[V], str], V]:
    """The function on any number of lanes, by whole vectors."""

    def emit(f: Function, op: Operation, v: Sequence[V], type: str) -> V:
        (x,) = v
        vectors = Vectors(f)
        if x.lanes == LANES:
            return function(vectors, x)
        if x.lanes == 1:
            first = vectors.assign(
                f"insertelement <{LANES} x float> zeroinitializer, {x.typed}, i64 0"
            )
            result = function(vectors, first)
            return f.assign(f"extractelement {result.typed}, i64 0", type)
        parts = [function(vectors, part) for part in vectors.parts(x)]
        return vectors.joined(parts, x.lanes)

    return emit


# exp


def emit_exp(f: Function, op: Operation, v: Sequence[V], type: str) -> V:
    """e**x, as exact as `expand_exp` in fewer operations: one instruction multiplies by 2**n,
    with one rounding also where the result is subnormal. Largest error: 0.93 ulp.
    Approximate (`fastmath<afn>`) it is 0 there.
    """
    (x,) = v
    lanes = x.lanes
    if is_rough(op, lanes):
        return emit_rough_exp(f, x)
    if lanes == 1:
        x = f.assign(
            f"insertelement <4 x float> zeroinitializer, float {x.text}, i64 0", type, 4
        )
    p, n = _parts(f, x)
    assert isinstance(op, math.ExpOp)
    normal = FastMathFlag.APPROX_FUNC in op.fastmath.data
    low = f.splat(floating(LOWEST if normal else EXP_RANGE[0]), x.lanes)
    # Lanes that give 0 are left out: making it of a subnormal takes the processor long.
    kept = f.assign(f"fcmp uge {x.full_type} {x.text}, {low.text}", "i1", x.lanes)
    result = _scaled(f, p, n, kept)
    if lanes > 1:
        return result
    return f.assign(f"extractelement {result.typed}, i64 0", type)


def _parts(f: Function, x: V) -> tuple[V, V]:
    """p and n with e**x = p * 2**n, n a whole number as a float; where x is far below 0,
    anything."""

    def number(value: float) -> V:
        return f.splat(floating(value), x.lanes)

    def fma(a: V, b: V, c: V) -> V:
        return f.intrinsic("llvm.fma", [a, b, c], "float", x.lanes)

    high = number(EXP_RANGE[1])
    beyond = f.assign(f"fcmp olt {x.full_type} {high.text}, {x.text}", "i1", x.lanes)
    x = f.assign(f"select {beyond.typed}, {high.typed}, {x.typed}", "float", x.lanes)
    shifted = fma(x, number(LOG2_E), number(MAGIC))
    n = f.assign(f"fsub {x.full_type} {shifted.text}, {number(MAGIC).text}", "float", x.lanes)
    r = x
    for part in LN2:
        r = fma(n, number(-part), r)
    p = number(EXPM1[-1])
    for coefficient in (*EXPM1[-2::-1], 1.0, 1.0):
        p = fma(p, r, number(coefficient))
    return p, n


def _scaled(f: Function, p: V, n: V, kept: V) -> V:
    """p * 2**n in the lanes kept, 0 in the others."""
    bits = 32 * p.lanes
    name, mask = f"llvm.x86.avx512.mask.scalef.ps.{bits}", "i16" if p.lanes == 16 else "i8"
    if p.lanes == 4:
        wide = ", ".join(f"i32 {i}" for i in range(8))
        text = f"shufflevector {kept.typed}, <4 x i1> zeroinitializer, <8 x i32> <{wide}>"
        kept = f.assign(text, "i1", 8)
    lanes = f.assign(f"bitcast {kept.typed} to {mask}", mask)
    rounding = ("i32",) if bits == 512 else ()
    types = ", ".join([p.full_type] * 3 + [mask, *rounding])
    f.module.declare(f"declare {p.full_type} @{name}({types})")
    current = ", i32 4" if rounding else ""
    text = f"call {p.full_type} @{name}({p.typed}, {n.typed}, {p.full_type} zeroinitializer, {lanes.typed}{current})"
    return f.assign(text, "float", p.lanes)


# log

_LOG = (
    -0.5, 0.333334506, -0.250001073, 0.199908286, -0.166468799, 0.144779071, -0.131647691,
    0.10473609, -0.0451577678,
)  # fmt: skip
"""(log(1 + f) - f) / f**2 on [-1/4, 1/2]."""

_LN2_DOWN = (0.6931471228599548, 5.7699803797737e-08)
"""ln 2 as a sum of two floats above zero, so that an infinite exponent gives no NaN."""


def native_log(e: Vectors, x: V) -> V:
    """Natural logarithm. Largest error: 0.93 ulp.

    x is m * 2**n with m in [3/4, 3/2). The instructions that find them give for 0, infinity and
    NaN what makes the logarithm right, and NaN for what is negative.
    """
    m = e.mantissa(x)
    n = e.sub(e.exponent(x), e.exponent(m))
    g = e.sub(m, e.number(1.0))
    tail = e.mul(e.mul(g, g), e.polynomial(g, _LOG))
    tail = e.fma(n, e.number(_LN2_DOWN[1]), tail)
    return e.fma(n, e.number(_LN2_DOWN[0]), e.add(g, tail))


NATIVE: dict[type[Operation], Callable[[Function, Operation, Sequence[V], str], V]] = {
    math.ExpOp: emit_exp,
    math.LogOp: _native(native_log),
    math.TanhOp: _native(native_tanh),
    math.ErfOp: _native(native_erf),
    math.SinOp: _native(native_sin),
    math.CosOp: _native(native_cos),
    math.RsqrtOp: emit_rsqrt,
}
"""How each is written."""
