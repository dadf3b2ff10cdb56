"""sin, cos, tan, atan, atan2.

Arguments are reduced as Cody and Waite do: k is the nearest integer to x * 2/pi and
r = x - k * pi/2, with pi/2 as a sum of three floats and fused steps, of which the first is
exact. k's low bits choose between the sine and the cosine of r and give the sign.
"""

from infini_ir.passes.tile.math_expansion.builder import F32, F64, Format, Scalar

_TWO_OVER_PI = 0.6366197723675814

HALF_PI: dict[Format, tuple[float, float, float]] = {
    F32: (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
    F64: (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
}

_LONG_PERIOD = (1647099.375, -0.04583471268415451, -1.7984383982039276e-09)
"""2**19 * pi as a sum of f32 values; the first has few enough bits for an exact step."""

SIN = {
    F32: (-0.16666667, 0.008333501, -0.0001991136, 3.4723196e-06),
    F64: (
        -0.16666666666666666, 0.008333333333332209, -0.00019841269839108286,
        2.75573177179578e-06, -2.505163721030305e-08, 1.5991290748234817e-10,
        -3.980760866288657e-13,
    ),
}  # fmt: skip
"""(sin(r) / r - 1) / r**2 in r**2 on +-pi/4."""

COS = {
    F32: (0.041666664, -0.0013888265, 2.4542109e-05),
    F64: (
        0.041666666666666664, -0.0013888888888886973, 2.4801587298320556e-05,
        -2.7557317087553554e-07, 2.0876113529960134e-09, -1.138054137184018e-11,
    ),
}  # fmt: skip
"""(cos(r) - 1 + r**2 / 2) / r**4 in r**2 on +-pi/4."""

TAN = {
    F32: (
        0.33333352, 0.13332571, 0.054070733, 0.0212254, 0.010984355, -9.982129e-05,
        0.0044700378,
    ),
    F64: (
        0.333333333333334, 0.13333333333322928, 0.053968253974152704, 0.021869488366417635,
        0.008863238437292123, 0.003592095659331102, 0.0014560816919178177,
        0.0005886883462100867, 0.0002443666335180845, 8.201242451119849e-05,
        6.999275462498402e-05, -2.9087314985653145e-05, 5.1480421574960476e-05,
        -2.5665471380930463e-05, 1.010516461570106e-05,
    ),
}  # fmt: skip
"""(tan(r) / r - 1) / r**2 in r**2 on +-pi/4."""

ATAN = {
    F32: (
        -0.3333333, 0.19999745, -0.14278936, 0.110374965, -0.08673202, 0.062871434,
        -0.03632525, 0.0137940915, -0.0024598415,
    ),
    F64: (
        -0.3333333333333333, 0.1999999999999623, -0.14285714284769674, 0.11111111021852406,
        -0.09090904803924368, 0.0769218775316944, -0.06664568469728406, 0.058585945115992195,
        -0.05087568467818494, 0.039287702286192945, -0.019240113475064678,
    ),
}  # fmt: skip
"""(atan(t) / t - 1) / t**2 in t**2, on [0, 1] (f32) and +-tan(pi/8) (f64)."""

_TAN_PI_8 = 0.41421356237309503
_QUARTER_PI = 0.7853981633974483, 3.061616997868383e-17
PI = {
    F32: (3.1415927410125732, -8.742277657347586e-08),
    F64: (3.141592653589793, 1.2246467991473532e-16),
}


def expand_sin(x: Scalar) -> Scalar:
    """Sine. Largest error: 1.47 (f32), 1.29 (f64) ulp; see `_reduce` for the range."""
    r, low, k = _reduce(x)
    result = _signed(x.b.select(_odd(k), _cos(r, low), _sin(r, low)), k)
    return x.b.select(x.eq(0.0), x, result)


def expand_cos(x: Scalar) -> Scalar:
    """Cosine. Largest error: 1.44 (f32), 1.36 (f64) ulp; see `_reduce` for the range."""
    r, low, k = _reduce(x)
    return _signed(x.b.select(_odd(k), _sin(r, low), _cos(r, low)), k + 1)


def expand_tan(x: Scalar) -> Scalar:
    """Tangent. Largest error: 1.70 (f32), 1.39 (f64) ulp; see `_reduce` for the range."""
    b = x.b
    r, low, k = _reduce(x, keep_error=True)
    z = r * r
    tail = b.fma(r * z, b.polynomial(z, TAN[x.format]), low)
    tangent = r + tail
    tangent = r + b.fma(low * tangent, tangent, tail)
    result = b.select(_odd(k), -1.0 / tangent, tangent)
    return b.select(x.eq(0.0), x, result)


def _reduce(x: Scalar, *, keep_error: bool = False) -> tuple[Scalar, Scalar, Scalar]:
    """r in +-pi/4 as a sum of two floats, and the bits whose lowest two are k modulo 4.

    f32: relative accuracy for |x| below 2**18 * pi (about 823000); then, up to 2**40, an
    absolute error of an ulp of one, as multiples of 2**19 * pi go first. f64: relative accuracy up to
    2**50. Beyond, sin and cos lie within [-1, 1] and mean nothing: neighbouring floats are
    then further apart than many periods (f32) or a good part of one (f64). `keep_error` adds
    the rounding error of the second step to the low part.
    """
    b, fmt = x.b, x.format
    rest = None
    if fmt is F32:
        j = b.round(x * (1.0 / _LONG_PERIOD[0]))
        x, rest = _subtract_product(b.fma(j, -_LONG_PERIOD[0], x), j, _LONG_PERIOD[1])
        rest = b.fma(j, -_LONG_PERIOD[2], rest)
    shifted = b.fma(x, _TWO_OVER_PI, fmt.magic)
    k = shifted - fmt.magic
    first, second, third = HALF_PI[fmt]
    r = b.fma(k, -first, x)
    if keep_error:
        r, low = _subtract_product(r, k, second)
        low = b.fma(k, -third, low)
    else:
        r, low = b.fma(k, -second, r), k * -third
    if rest is not None:
        low = low + rest
    total = r + low
    low = (r - total) + low
    return total.at_most(0.9).at_least(-0.9), low.at_most(1e-6).at_least(-1e-6), shifted.bits()


def _subtract_product(x: Scalar, k: Scalar, constant: float) -> tuple[Scalar, Scalar]:
    """x - k * constant as a rounded value and its error."""
    b = x.b
    product = k * constant
    product_error = b.fma(k, constant, -product)
    difference = x - product
    part = difference - x
    error = (x - (difference - part)) - (product + part)
    return difference, error - product_error


def _odd(k: Scalar) -> Scalar:
    return (k & 1).compare("ne", 0)


def _signed(value: Scalar, k: Scalar) -> Scalar:
    """`value`, negated where bit 1 of k is set."""
    fmt = value.format
    top = fmt.int_type.width.data - 1
    return (value.bits() ^ ((k >> 1) << top)).as_float(fmt)


def _sin(r: Scalar, low: Scalar) -> Scalar:
    b = r.b
    z = r * r
    return r + b.fma(r * z, b.polynomial(z, SIN[r.format]), low)


def _cos(r: Scalar, low: Scalar) -> Scalar:
    """The rounding error of 1 - r**2 / 2 is put back, as in fdlibm."""
    b = r.b
    z = r * r
    half = z * 0.5
    head = 1.0 - half
    lost = (1.0 - head) - half
    tail = b.fma(z * z, b.polynomial(z, COS[r.format]), lost)
    return head + b.fma(-r, low, tail)


def expand_atan(x: Scalar) -> Scalar:
    """Arc tangent. Largest error: 1.36 (f32), 1.31 (f64) ulp."""
    return x.b.copysign(_angle(x.b.abs(x), x.like(1.0)), x)


def expand_atan2(y: Scalar, x: Scalar) -> Scalar:
    """Angle of the point (x, y). Largest error: 1.44 (f32), 1.28 (f64) ulp.

    Zeros and infinities of either sign give the angles of C99 Annex F.
    """
    b = y.b
    angle = _angle(b.abs(y), b.abs(x))
    high, low = PI[x.format]
    left = b.select(x.bits().lt(0), high - (angle - low), angle)
    return b.copysign(left, y)


def _angle(y: Scalar, x: Scalar) -> Scalar:
    """Angle of a point of the first quadrant, in [0, pi/2]."""
    b, fmt = y.b, y.format
    steep = y.gt(x)
    small, large = b.select(steep, x, y), b.select(steep, y, x)
    same = small.eq(large)
    if fmt is F64:
        angle = _octant64(small, large)
        angle = b.select(same, b.select(large.eq(0.0), large, _QUARTER_PI[0]), angle)
    else:
        ratio = b.select(same, b.select(large.eq(0.0), large, 1.0), small / large)
        z = ratio * ratio
        angle = b.fma(ratio * z, b.polynomial(z, ATAN[fmt]), ratio)
    high, low = HALF_PI[fmt][:2]
    return b.select(steep, high - (angle - low), angle)


def _octant64(small: Scalar, large: Scalar) -> Scalar:
    """atan(small / large) for a ratio within [0, 1].

    Above tan(pi/8), pi/4 plus the angle of (small + large, small - large); numbers so large
    that their sum could overflow are scaled first.
    """
    b = small.b
    scale = b.select(large.gt(2.0**1000), large.like(2.0**-4), 1.0)
    small, large = small * scale, large * scale
    upper = small.gt(large * _TAN_PI_8)
    ratio = b.select(upper, small - large, small) / b.select(upper, small + large, large)
    z = ratio * ratio
    tail = ratio * z * b.polynomial(z, ATAN[F64])
    high, low = _QUARTER_PI
    return b.select(upper, high + (ratio + (tail + low)), ratio + tail)
