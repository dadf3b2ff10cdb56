"""powf and rsqrt."""

from infini_ir.passes.tile.math_expansion.builder import F32, F64, Format, Scalar
from infini_ir.passes.tile.math_expansion.exponential import exp2_of_sum
from infini_ir.passes.tile.math_expansion.logarithm import take_apart

_FIRST: dict[Format, tuple[float, float]] = {
    F32: (2.885390043258667, 3.851926067000022e-08),
    F64: (2.8853900817779268, 4.0710547481862066e-17),
}
"""2 / ln(2) as a sum of two floats."""

_THIRD: dict[Format, tuple[float, float]] = {
    F32: (0.9617967009544373, -7.028461812552678e-09),
    F64: (0.9617966939259756, 5.0577616648125907e-17),
}
"""2 / (3 ln(2)) as a sum of two floats."""

_REST: dict[Format, tuple[float, ...]] = {
    F32: (0.57707804, 0.4121789, 0.32219613, 0.23535731),
    F64: (
        0.5770780163555853, 0.4121985831113084, 0.32059889787657603, 0.2623082101555833,
        0.2219509577120953, 0.19247240067777177, 0.16660594768210696, 0.19132048661166734,
    ),
}  # fmt: skip
"""The series of log2((1 + s) / (1 - s)) from s**5 on, in s**2."""

_EXPONENT_LIMIT: dict[Format, float] = {F32: 160.0, F64: 1100.0}
"""Powers of two beyond it are 0 or infinite."""


def expand_rsqrt(x: Scalar) -> Scalar:
    """1 / sqrt(x). Largest error: 1.48 (f32), 1.45 (f64) ulp."""
    return 1.0 / x.b.sqrt(x)


def expand_powf(x: Scalar, y: Scalar) -> Scalar:
    """x to the power y. Largest error: 0.91 (f32), 0.90 (f64) ulp.

    2**(y * log2|x|) with the logarithm and the product as sums of two floats, then the cases
    of C99 Annex F, in the order that lets the last one win.
    """
    b = x.b
    magnitude = b.abs(x)
    result = _positive_power(magnitude, y)
    infinity = float("inf")
    extreme = magnitude.eq(0.0) | magnitude.eq(infinity) | b.abs(y).eq(infinity)
    grows = magnitude.gt(1.0) ^ y.lt(0.0)
    limit = b.select(grows, x.like(infinity), 0.0)
    result = b.select(extreme, b.select(magnitude.eq(1.0), 1.0, limit), result)
    result = _apply_sign(result, x, y)
    result = b.select(x.compare("uno", y), float("nan"), result)
    return b.select(x.eq(1.0) | y.eq(0.0), 1.0, result)


def _apply_sign(result: Scalar, x: Scalar, y: Scalar) -> Scalar:
    """Negative for a negative base and an odd exponent, NaN for a fractional one."""
    b = result.b
    half = y * 0.5
    whole = b.floor(y).eq(y)
    odd = whole & b.floor(half).compare("one", half)
    negative = x.bits().lt(0)
    result = b.select(negative & odd, -result, result)
    undefined = x.lt(0.0) & x.gt(float("-inf")) & (b.floor(y).compare("one", y))
    return b.select(undefined, float("nan"), result)


def _positive_power(x: Scalar, y: Scalar) -> Scalar:
    """x**y for a finite x above zero and a finite y."""
    b, fmt = x.b, x.format
    high, low = _log2_of(x)
    limit = _EXPONENT_LIMIT[fmt]
    product = y * high
    rest = b.fma(y, low, b.fma(y, high, -product))
    inside = b.abs(product).lt(limit)
    rest = b.select(inside, rest, 0.0)
    return exp2_of_sum(product.at_most(limit).at_least(-limit), rest)


def _log2_of(x: Scalar) -> tuple[Scalar, Scalar]:
    """log2(x) as a sum of two floats, by the series in s = f / (2 + f).

    The first two terms carry their rounding errors; from s**5 on they are below 2**-12 of
    the sum.
    """
    b, fmt = x.b, x.format
    subnormal = x.lt(fmt.min_normal)
    e, f = take_apart(b.select(subnormal, x * 2.0**54, x))
    exponent = b.select(subnormal, e - 54, e).to_float(fmt)
    bottom = f + 2.0
    bottom_low = f - (bottom - 2.0)
    s = f / bottom
    s_low = (b.fma(-s, bottom, f) - s * bottom_low) / bottom
    z = s * s
    z_low = b.fma(s, s, -z) + s * s_low * 2.0
    series = z * b.polynomial(z, _REST[fmt])
    third, third_low = _add_to(_THIRD[fmt], series, None)
    term = z * third
    term_low = b.fma(z, third, -term) + b.fma(z, third_low, z_low * third)
    first, first_low = _add_to(_FIRST[fmt], term, term_low)
    log = s * first
    log_low = b.fma(s, first, -log) + b.fma(s, first_low, s_low * first)
    total = exponent + log
    return total, ((exponent - total) + log) + log_low


def _add_to(
    constant: tuple[float, float], x: Scalar, x_low: Scalar | None
) -> tuple[Scalar, Scalar]:
    """A two-float constant plus a smaller two-float value."""
    total = x + constant[0]
    low = (constant[0] - total) + x
    low = low + (constant[1] if x_low is None else x_low + constant[1])
    return total, low
