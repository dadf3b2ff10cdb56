"""Functions that instructions of the processor make shorter than the expansions for all
targets (`passes.tile.math_expansion`): e**x of f32 with AVX-512's `vscalefps`."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import math
from xdsl.ir import Operation

from infini_ir.passes.tile.math_expansion.exponential import EXP_RANGE, EXPM1, LN2, LOG2_E
from infini_ir.targets.cpu.features import CpuFeatures
from infini_ir.targets.cpu.writer import Function, V, floating

_MAGIC = 1.5 * 2.0**23
"""Adding it rounds to an integer."""

EXP_OPERATIONS = 16
"""What `emit_exp` writes for one element."""


def native_functions(features: CpuFeatures) -> tuple[str, ...]:
    """Names of the math operations of f32 that `emit_scalar` takes as they are."""
    return (math.ExpOp.name, math.RsqrtOp.name) if features.has_avx512 else ()


def emit_exp(f: Function, op: Operation, v: Sequence[V], type: str) -> V:
    """e**x, as exact as `expand_exp` in fewer operations: one instruction multiplies by 2**n,
    with one rounding also where the result is subnormal."""
    (x,) = v
    lanes = x.lanes
    if lanes == 1:
        x = f.assign(
            f"insertelement <4 x float> zeroinitializer, float {x.text}, i64 0", type, 4
        )
    p, n = _parts(f, x)
    low = f.splat(floating(EXP_RANGE[0]), x.lanes)
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
    shifted = fma(x, number(LOG2_E), number(_MAGIC))
    n = f.assign(f"fsub {x.full_type} {shifted.text}, {number(_MAGIC).text}", "float", x.lanes)
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
