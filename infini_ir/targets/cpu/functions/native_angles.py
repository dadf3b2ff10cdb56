"""sin and cos of f32 on vectors.

The argument's distance r from the nearest multiple of pi (for cos: odd multiple of pi/2) comes
as Cody and Waite find it, with pi as a sum of three floats. Vectors with an argument beyond
`_LIMIT` take r from f64, where every f32 below 2**40 has one; they are rare, so that the
branch costs next to nothing. One odd polynomial serves all of +-pi/2.
"""

from __future__ import annotations

import math

from infini_ir.targets.cpu.functions.vectors import LANES, MAGIC, Vectors
from infini_ir.targets.cpu.llvm.writer import V, floating

_PI = (3.141592502593994, 1.5099580252808664e-07, -3.4302490200117637e-15)
"""The first is short of pi, so that products with 0 keep the sign of a zero argument."""

_PI64 = (3.141592653589793, 1.2246467991473532e-16)

_SIN = (-0.166666672, 0.00833335053, -0.000198430949, 2.76272817e-06, -2.55101877e-08)
"""(sin(r) / r - 1) / r**2 in r**2 on +-pi/2."""

_LIMIT = 131072.0
"""Up to here the quotient by pi times the first part is exact, and three parts suffice."""

_REACH = 1.6
"""No distance is larger: what huge arguments give is cut off here."""


def native_sin(e: Vectors, x: V) -> V:
    """Sine. Largest error: 1.60 ulp for |x| below 2**40; beyond, a number within [-1, 1]."""
    r, turns = _distance(e, x, 0.0)
    result = e.xor(e.cast(_odd_polynomial(e, r), "i32"), e.shift_left(turns, 31))
    zero = e.compare("oeq", x, e.number(0.0))
    return e.select(zero, x, e.cast(result, "float"))


def native_cos(e: Vectors, x: V) -> V:
    """Cosine. Largest error: 1.60 ulp for |x| below 2**40; beyond, a number within [-1, 1]."""
    r, turns = _distance(e, x, 0.5)
    turned = e.f.assign(f"xor {turns.typed}, {e.whole(1).text}", "i32", LANES)
    result = e.xor(e.cast(_odd_polynomial(e, r), "i32"), e.shift_left(turned, 31))
    return e.cast(result, "float")


def _odd_polynomial(e: Vectors, r: V) -> V:
    z = e.mul(r, r)
    result = e.fma(e.mul(r, z), e.polynomial(z, _SIN), r)
    return e.at_least(e.at_most(result, 1.0), -1.0)  # roundings could pass 1


def _distance(e: Vectors, x: V, offset: float) -> tuple[V, V]:
    """x - (j + offset) * pi for the nearest whole j, and an i32 whose lowest bit is j's."""
    scale = e.number(1 / math.pi)
    shifted = e.fma(x, scale, e.number(MAGIC))
    if offset:
        # The nearest j of x / pi - 1/2: rounded in two steps, as 1/2 has no place in the sum.
        shifted = e.add(e.fma(x, scale, e.number(-offset)), e.number(MAGIC))
    k = e.sub(shifted, e.number(MAGIC))
    if offset:
        k = e.add(k, e.number(offset))
    r = x
    for part in _PI:
        r = e.fma(k, e.number(-part), r)
    f = e.f
    cells = [f.alloca(r.full_type), f.alloca(f"<{LANES} x i32>")]
    f.store(r, cells[0], 64)
    f.store(e.cast(shifted, "i32"), cells[1], 64)

    def far() -> None:
        distance, turns = _far_distance(e, x, offset)
        f.store(distance, cells[0], 64)
        f.store(turns, cells[1], 64)

    f.when(e.any(e.compare("ogt", e.abs(x), e.number(_LIMIT))), far, "far", likely=False)
    return f.load(cells[0], "float", LANES, 64), f.load(cells[1], "i32", LANES, 64)


def _far_distance(e: Vectors, x: V, offset: float) -> tuple[V, V]:
    """The same by way of f64."""
    f, wide = e.f, f"<{LANES} x double>"

    def number(value: float) -> V:
        return f.splat(floating(value, "double"), LANES)

    def fma(a: V, b: V, c: V) -> V:
        return f.intrinsic("llvm.fma", [a, b, c], "double", LANES)

    def binary(instruction: str, a: V, b: V) -> V:
        return f.assign(f"{instruction} {a.typed}, {b.text}", "double", LANES)

    y = f.assign(f"fpext {x.typed} to {wide}", "double", LANES)
    j = f.intrinsic(
        "llvm.roundeven", [fma(y, number(1 / math.pi), number(-offset))], "double", LANES
    )
    k = binary("fadd", j, number(offset)) if offset else j
    r = y
    for part in _PI64:
        r = fma(k, number(-part), r)
    halves = f.intrinsic("llvm.floor", [binary("fmul", j, number(0.5))], "double", LANES)
    odd = f.assign(
        f"fcmp one {wide} {binary('fadd', halves, halves).text}, {j.text}", "i1", LANES
    )
    turns = f.assign(f"zext {odd.typed} to <{LANES} x i32>", "i32", LANES)
    narrow = e.assign(f"fptrunc {r.typed} to <{LANES} x float>")
    return e.at_least(e.at_most(narrow, _REACH), -_REACH), turns
