"""Conversions between element types."""

from __future__ import annotations

from functools import cache

import ml_dtypes
import numpy as np

from infini_ir.interpreters.graph.scope import Array, Scope, is_float_array
from infini_ir.utils import dtypes


def convert(
    x: Array,
    wanted: str,
    scope: Scope,
    *,
    saturate: bool = True,
    rounding: str | None = None,
) -> Array:
    """`x` as the element type called `wanted`, as `graph.cast` defines it."""
    if wanted == "i1":
        return scope.widen(x) != 0
    if dtypes.is_integer(wanted):
        if is_float_array(x):
            return _float_to_integer(scope.widen(x), wanted)
        return _integer_to_integer(x, wanted)
    if not is_float_array(x):
        x = _integer_to_float(x, wanted)
    if wanted in dtypes.STORAGE_ONLY:
        return _to_storage_float(scope.widen(x), wanted, saturate, rounding)
    return round_once(x, scope.dtype(wanted))


def round_once(x: Array, dtype: np.dtype) -> Array:
    """Floats of `x` to the nearest of `dtype`. ml_dtypes goes through f32, which rounds
    twice; a first rounding to odd keeps what the second must know."""
    if x.dtype != np.float64 or dtype.kind != "V":
        return x.astype(dtype, copy=False)
    nearest = x.astype(np.float32)
    bits = nearest.view(np.uint32) if nearest.ndim else nearest.reshape(1).view(np.uint32)[0]
    away = np.abs(nearest.astype(np.float64)) > np.abs(x)
    inexact = (nearest.astype(np.float64) != x) & ~np.isnan(x)
    odd = np.where(inexact, (bits - away.astype(np.uint32)) | np.uint32(1), bits)
    return np.asarray(odd, np.uint32).view(np.float32).astype(dtype)


@cache
def integer_limits(name: str) -> tuple[int, int]:
    """Least and greatest value of an integer type."""
    bits = int(name.lstrip("ui"))
    if dtypes.is_unsigned(name):
        return 0, (1 << bits) - 1
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def _float_to_integer(x: Array, wanted: str) -> Array:
    """Truncates, saturates; NaN becomes 0."""
    low, high = integer_limits(wanted)
    whole = np.trunc(x.astype(np.float64))
    # `high + 1` is a power of two, so exact in f64 where `high` is not.
    above, below = whole >= float(high + 1), whole < float(low)
    inside = ~(above | below | np.isnan(whole))
    work = np.uint64 if wanted == "ui64" else np.int64
    result = np.where(inside, whole, 0).astype(work)
    result = np.where(above, work(high), np.where(below, work(low), result))
    return result.astype(dtypes.numpy_dtype(wanted))


def _integer_to_integer(x: Array, wanted: str) -> Array:
    """Keeps the low bits."""
    dtype = dtypes.numpy_dtype(wanted)
    if x.dtype == dtype:
        return x
    if x.dtype.kind in "iub" and dtype.kind in "iu":
        return x.astype(dtype)
    # Sub-byte types convert from int8 by their low bits, and to it exactly.
    return (
        x.astype(np.int64).astype(np.int8).astype(dtype)
        if dtype.kind == "V"
        else x.astype(dtype)
    )


def _integer_to_float(x: Array, wanted: str) -> Array:
    """Rounded once: straight to f32 and f64, through f64 to narrower types."""
    if wanted == "f32":
        return x.astype(np.float32)
    return x.astype(np.float64)


def _to_storage_float(x: Array, wanted: str, saturate: bool, rounding: str | None) -> Array:
    dtype = dtypes.numpy_dtype(wanted)
    if wanted == "f8E8M0FNU":
        return _to_power_of_two(x, saturate, rounding or "nearest")
    if saturate:
        limit = float(ml_dtypes.finfo(dtype).max)
        x = np.clip(x, -limit, limit)
    return round_once(x, dtype)


def _to_power_of_two(x: Array, saturate: bool, rounding: str) -> Array:
    """f8E8M0FNU holds 2**-127 to 2**127 and NaN: no sign, no zero."""
    wide = x.astype(np.float64)
    if saturate:
        wide = np.where((wide >= 0), np.clip(wide, 2.0**-127, 2.0**127), wide)
    mantissa, exponent = np.frexp(wide)
    # wide = (2 * mantissa) * 2**(exponent - 1) with 2 * mantissa in [1, 2).
    exponent = exponent - 1
    if rounding == "up":
        exponent = exponent + (mantissa > 0.5)
    elif rounding == "nearest":
        even = (exponent + 127) % 2 == 0
        exponent = exponent + ((mantissa > 0.75) | ((mantissa == 0.75) & ~even))
    valid = (wide > 0) & np.isfinite(wide) & (exponent >= -127) & (exponent <= 127)
    bits = np.where(valid, exponent + 127, 255).astype(np.uint8)
    return bits.view(dtypes.numpy_dtype("f8E8M0FNU"))


def reinterpret(x: Array, given: str, wanted: str, scope: Scope) -> Array:
    """The same bits as another type of the same width."""
    exact = np.ascontiguousarray(x.astype(dtypes.numpy_dtype(given), copy=False))
    bits = exact.reshape(x.shape)
    if wanted == "i1":
        return bits.view(np.uint8) != 0
    return scope.carry(bits.view(dtypes.numpy_dtype(wanted)), wanted)
