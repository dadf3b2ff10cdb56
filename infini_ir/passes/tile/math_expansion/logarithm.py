"""log, log2, log10, log1p.

The argument is `2**e * (1 + f)` with 1 + f in [sqrt(1/2), sqrt(2)), taken apart by integer
operations on its bits. log(1 + f) is a polynomial in f (f32) or, as in fdlibm, a polynomial
in s = f / (2 + f) (f64), kept as a sum of two floats when another base multiplies it.
"""

from infini_ir.passes.tile.math_expansion.builder import F32, F64, Format, Scalar

_SQRT_HALF_BITS: dict[Format, int] = {F32: 0x3F3504F3, F64: 0x3FE6A09E667F3BCD}

_LN2 = {
    F32: (0.6931471824645996, -1.9046542121259336e-09),
    F64: (0.6931471805599453, 2.3190468138462996e-17),
}

_LOG2_E = {
    F32: (1.4426950216293335, 1.925963033500011e-08),
    F64: (1.4426950408889634, 2.0355273740931033e-17),
}

_LOG10_E = {
    F32: (0.4342944920063019, -1.0103049952192578e-08),
    F64: (0.4342944819032518, 1.098319650216765e-17),
}

_LOG10_2 = {
    F32: (0.301025390625, 4.605038981195214e-06),
    F64: (0.30102999566383914, 1.42050232272661e-13),
}
"""The first part is short enough for an exact product with any exponent."""

_F32_LOG = (
    -0.49999997, 0.33333316, -0.25000823, 0.2000252, -0.16626957, 0.14175454, -0.13091518,
    0.1291442, -0.08013987,
)  # fmt: skip
"""(log(1 + f) - f) / f**2."""

_F64_LOG = (
    0.666666666666667, 0.3999999999989857, 0.2857142862658866, 0.22222211024058433,
    0.18182897501205875, 0.15331439565069038, 0.14619941318779958,
)  # fmt: skip
"""(log((1 + s) / (1 - s)) - 2s) / s**3 in s**2."""


def expand_log(x: Scalar) -> Scalar:
    """Natural logarithm. Largest error: 0.89 (f32), 0.78 (f64) ulp."""
    return _log(x, _LN2[x.format], None)


def expand_log2(x: Scalar) -> Scalar:
    """Logarithm to base 2. Largest error: 1.20 (f32), 0.62 (f64) ulp; exact on powers of two."""
    return _log(x, (1.0, 0.0), _LOG2_E[x.format])


def expand_log10(x: Scalar) -> Scalar:
    """Logarithm to base 10. Largest error: 1.20 (f32), 0.59 (f64) ulp."""
    return _log(x, _LOG10_2[x.format], _LOG10_E[x.format])


def expand_log1p(x: Scalar) -> Scalar:
    """log(1 + x). Largest error: 1.50 (f32), 0.94 (f64) ulp.

    With e from the rounded sum, f = x * 2**-e + (2**-e - 1) has one rounding. Above 2**60 the
    one is nothing beside x, which is then scaled to keep 2**-e in range.
    """
    b, fmt = x.b, x.format
    large = x.gt(2.0**60)
    scaled = b.select(large, x * 2.0**-64, x)
    e, _ = take_apart(scaled + b.select(large, scaled.like(0.0), 1.0))
    factor = ((fmt.bias - e) << fmt.mantissa).as_float(fmt)
    f = b.fma(scaled, factor, b.select(large, -1.0, factor - 1.0))
    exponent = b.select(large, e + 64, e).to_float(fmt)
    result = _assemble(f, exponent, _LN2[fmt], None)
    result = b.select(x.eq(0.0), x, result)
    return _edges(x, x + 1.0, result)


def _log(x: Scalar, unit: tuple[float, float], base: tuple[float, float] | None) -> Scalar:
    """`unit` is log(2) in the base, `base` the factor from the natural logarithm."""
    b, fmt = x.b, x.format
    subnormal = x.lt(fmt.min_normal)
    e, f = take_apart(b.select(subnormal, x * 2.0**54, x))
    exponent = b.select(subnormal, e - 54, e).to_float(fmt)
    return _edges(x, x, _assemble(f, exponent, unit, base))


def _edges(x: Scalar, argument: Scalar, result: Scalar) -> Scalar:
    """-inf for a zero argument, NaN below it; infinity and NaN pass through."""
    b = x.b
    result = b.select(argument.eq(0.0), float("-inf"), result)
    result = b.select(argument.lt(float("inf")), result, x)
    return b.select(argument.lt(0.0), float("nan"), result)


def take_apart(x: Scalar) -> tuple[Scalar, Scalar]:
    """Exponent e and f of a positive normal number x = 2**e * (1 + f)."""
    fmt = x.format
    base = _SQRT_HALF_BITS[fmt]
    offset = x.bits() - base
    e = offset >> fmt.mantissa
    mantissa = (offset & ((1 << fmt.mantissa) - 1)) + base
    return e, mantissa.as_float(fmt) - 1.0


def _assemble(
    f: Scalar, e: Scalar, unit: tuple[float, float], base: tuple[float, float] | None
) -> Scalar:
    """e * unit + log(1 + f) * base."""
    b = f.b
    if f.format is F32:
        tail = f * f * b.polynomial(f, _F32_LOG)
        head, rest = f, tail
    else:
        half_square = f * f * 0.5
        s = f / (f + 2.0)
        z = s * s
        tail = s * b.fma(z, b.polynomial(z, _F64_LOG), half_square)
        head = f - half_square
        rest = ((f - head) - half_square) + tail
    if base is None:
        return b.fma(e, unit[0], head + b.fma(e, unit[1], rest))
    product = head * base[0]
    low = b.fma(head, base[0], -product) + b.fma(head, base[1], rest * base[0])
    whole = e * unit[0]
    total = whole + product
    lost = (whole - total) + product
    return total + b.fma(e, unit[1], lost + low)
