"""Sums, products and extrema of scalars, their neutral elements, and orders of values."""

from __future__ import annotations

from xdsl.ir import SSAValue

from infini_ir.lowering.scalar_builder import ScalarBuilder, bits_of, is_float
from infini_ir.utils import dtypes


def accumulation_type(dtype: str) -> str:
    """What f16 and bf16 accumulate in; other types in themselves."""
    return "f32" if dtype in ("f16", "bf16") else dtype


def combine(s: ScalarBuilder, kind: str, a: SSAValue, b: SSAValue, dtype: str) -> SSAValue:
    """`kind`: sum, prod, max or min of two scalars; `dtype` says how integers compare."""
    if kind == "sum":
        return s.add(a, b)
    if kind == "prod":
        return s.mul(a, b)
    unsigned = dtype == "i1" or dtypes.is_unsigned(dtype)
    return (s.max if kind == "max" else s.min)(a, b, unsigned=unsigned)


def identity(kind: str, dtype: str) -> float | int:
    """The neutral element of a kind of combination."""
    if kind in ("sum", "prod"):
        return 0 if kind == "sum" else 1
    highest = kind == "min"
    if dtypes.is_float(dtype):
        return float("inf") if highest else float("-inf")
    if dtype == "i1":
        return int(highest)
    bits = bits_of(dtype)
    if dtypes.is_unsigned(dtype):
        return (1 << bits) - 1 if highest else 0
    return (1 << (bits - 1)) - 1 if highest else -(1 << (bits - 1))


def comes_before(
    s: ScalarBuilder, a: SSAValue, b: SSAValue, dtype: str, *, descending: bool = False
) -> SSAValue:
    """Whether a sorts strictly before b. NaN is the greatest number, equal to itself."""
    if descending:
        a, b = b, a
    if not is_float(a):
        unsigned = dtype == "i1" or dtypes.is_unsigned(dtype)
        return s.compare("lt", a, b, unsigned=unsigned)
    number = s.compare("eq", a, a)
    nan = s.compare("ne", b, b)
    return s.or_(s.compare("lt", a, b), s.and_(number, nan))
