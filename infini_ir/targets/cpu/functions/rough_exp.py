"""e**x where less than an f32's precision is wanted: for values that are rounded to bf16.

The scheme is that of `passes.tile.math_expansion.exponential` with one step in place of two
for the rest and a shorter polynomial, a minimax fit of 2**r on +-1/2: the relative error is at
most 2**-18, a bf16's last kept place 2**-8.
"""

from __future__ import annotations

from xdsl.ir import Operation

from infini_ir.targets.cpu.llvm.writer import Function, V, floating

LOG2_E = 1.4426950408889634

EXP2 = (0.99999928, 0.69312179, 0.24024744, 0.055917859, 0.0095701022)
"""2**r for r in +-1/2, the constant term first."""

LOWEST = -87.0
"""Below it the result is 0: it would be subnormal, which the processor makes slowly."""

_MAGIC = 1.5 * 2.0**23
"""Adding it rounds to an integer."""

LANES = 16

ROUNDED_TO = "rounded_to"
"""Attribute of an e**x of f32 that is a factor rounded to the type that this names."""


def is_rough(op: Operation, lanes: int) -> bool:
    """Whether an operation is an e**x that may be less exact, of a whole vector."""
    return ROUNDED_TO in op.attributes and lanes == LANES


def emit_rough_exp(f: Function, x: V) -> V:
    """e**x of a vector of f32; NaN stays, below `LOWEST` 0."""

    def number(value: float) -> V:
        return f.splat(floating(value), LANES)

    def fma(a: V, b: V, c: V) -> V:
        return f.intrinsic("llvm.fma", [a, b, c], "float", LANES)

    def subtract(a: V, b: V) -> V:
        return f.assign(f"fsub {a.full_type} {a.text}, {b.text}", "float", LANES)

    shifted = fma(x, number(LOG2_E), number(_MAGIC))
    n = subtract(shifted, number(_MAGIC))
    negated = f.assign(f"fneg {n.typed}", "float", LANES)
    r = fma(x, number(LOG2_E), negated)
    p = number(EXP2[-1])
    for coefficient in EXP2[-2::-1]:
        p = fma(p, r, number(coefficient))
    low = number(LOWEST)
    kept = f.assign(f"fcmp uge {x.full_type} {x.text}, {low.text}", "i1", LANES)
    lanes = f.assign(f"bitcast {kept.typed} to i16", "i16")
    name = "llvm.x86.avx512.mask.scalef.ps.512"
    kind = p.full_type
    f.module.declare(f"declare {kind} @{name}({kind}, {kind}, {kind}, i16, i32)")
    text = f"call {kind} @{name}({p.typed}, {n.typed}, {kind} zeroinitializer, {lanes.typed}, i32 4)"
    return f.assign(text, "float", LANES)
