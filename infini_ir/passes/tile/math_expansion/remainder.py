"""The floating-point remainder, C's fmod."""

from infini_ir.passes.tile.math_expansion.builder import F32, F64, Format, Scalar

_STEP: dict[Format, int] = {F32: 22, F64: 51}
"""Bits of the quotient found in one step."""

_STEPS: dict[Format, int] = {F32: 12, F64: 41}
"""Full steps for the largest quotient, of a huge number by the smallest subnormal."""


def expand_remf(x: Scalar, y: Scalar) -> Scalar:
    """x - y * trunc(x / y), exactly, with the sign of x: there is no rounding error.

    Long division. Both magnitudes become integers of full mantissa length times a power of
    two; with d the difference of the exponents, the remainder of `mx * 2**d` by my is found
    22 bits of the quotient at a time (f64: 51). A step takes the nearest integer to the
    quotient, so its remainder lies within my / 2 (and rounding) of zero and is exact in one
    fused operation. A quotient has at most 277 bits (f64: 2098), which bounds the steps;
    those beyond d are skipped by select.
    """
    b = x.b
    top, bottom = b.abs(x), b.abs(y)
    mx, ex = _integer_mantissa(top)
    my, ey = _integer_mantissa(bottom)
    remainder = _scale(_remainder_of_shifted(mx, my, ex - ey), ey)
    remainder = b.select(top.lt(bottom), top, remainder)
    remainder = b.copysign(remainder, x)
    valid = top.lt(float("inf")) & bottom.gt(0.0)
    return b.select(valid, remainder, float("nan"))


def _remainder_of_shifted(mx: Scalar, my: Scalar, d: Scalar) -> Scalar:
    """`mx * 2**d` modulo my for d >= 0."""
    b, fmt = mx.b, mx.format
    step = _STEP[fmt]
    steps = d.divided_by(step)
    r = _nearest_remainder(mx, my)
    r = _nearest_remainder(r * b.power_of_two(d - steps * step, fmt), my)
    for index in range(_STEPS[fmt]):
        reduced = _nearest_remainder(r * 2.0**step, my)
        r = b.select(steps.gt(index), reduced, r)
    return b.select(r.lt(0.0), r + my, r)


def _nearest_remainder(r: Scalar, m: Scalar) -> Scalar:
    return r.b.fma(-r.b.round(r / m), m, r)


def _integer_mantissa(x: Scalar) -> tuple[Scalar, Scalar]:
    """m and e with x = m * 2**e and m an integer of full length, for x above zero."""
    b, fmt = x.b, x.format
    subnormal = x.lt(fmt.min_normal)
    bits = b.select(subnormal, x * 2.0**fmt.mantissa, x).bits()
    e = (bits >> fmt.mantissa) - (fmt.bias + fmt.mantissa)
    e = b.select(subnormal, e - fmt.mantissa, e)
    field = (1 << fmt.mantissa) - 1
    m = (bits & field) | ((fmt.bias + fmt.mantissa) << fmt.mantissa)
    return m.as_float(fmt), e


def _scale(m: Scalar, e: Scalar) -> Scalar:
    """m * 2**e by two factors, as 2**e alone may be subnormal or smaller."""
    b, fmt = m.b, m.format
    half = e >> 1
    return m * b.power_of_two(half, fmt) * b.power_of_two(e - half, fmt)
