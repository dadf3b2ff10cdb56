"""sin, cos, tan, atan and atan2 of f32 by operations of floats alone; see `float_only`.

Arguments are reduced as Cody and Waite do, by constants in parts so short that their
products with whole numbers are exact.
"""

from __future__ import annotations

from infini_ir.passes.tile.math_expansion.builder import F32, Scalar
from infini_ir.passes.tile.math_expansion.float_only import FloatBuilder
from infini_ir.passes.tile.math_expansion.trigonometric import ATAN, COS, HALF_PI, PI, SIN, TAN

_TWO_OVER_PI = 0.6366197723675814
_PERIODS = (6434.0, -0.018245697021484375, 2.4891804173421406e-07)
"""2048 * pi: 1024 periods."""
_HALF_PI_PARTS = (1.57080078125, -4.453584551811218e-06, -8.706138032721356e-10)
_HALF_PI_REST = 6.223371969669989e-14


def float_sin(x: Scalar) -> Scalar:
    """Sine. Largest error: 2 ulp or 2e-12 for |x| below 823000; see `_reduce`."""
    r, low, quarter = _reduce(x)
    value = x.b.select(_is_odd(quarter), _cos(r, low), _sin(r, low))
    value = x.b.select(quarter.gt(1.5), -value, value)
    return x.b.select(x.eq(0.0), x, value)


def float_cos(x: Scalar) -> Scalar:
    """Cosine. Largest error: 2 ulp or 2e-12 for |x| below 823000; see `_reduce`."""
    r, low, quarter = _reduce(x)
    value = x.b.select(_is_odd(quarter), _sin(r, low), _cos(r, low))
    return x.b.select(x.b.abs(quarter - 1.5).lt(1.0), -value, value)


def float_tan(x: Scalar) -> Scalar:
    """Tangent. Largest error: 3 ulp for |x| below 823000; 160 ulp beside poles and zeros, where
    r is off by 2e-12; see `_reduce`."""
    b = x.b
    r, low, quarter = _reduce(x)
    z = r * r
    tail = r * z * b.polynomial(z, TAN[F32]) + low
    tangent = r + tail
    tangent = r + (low * tangent * tangent + tail)
    value = b.select(_is_odd(quarter), -1.0 / tangent, tangent)
    return b.select(x.eq(0.0), x, value)


def _reduce(x: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """r in +-pi/4 as a sum of two floats, and which quarter of a turn it is in, 0 to 3.

    r is off by at most 2e-12 for |x| below 823000, by 1e-7 up to 2**24. Beyond,
    sin and cos lie within [-1, 1] and mean nothing.
    """
    b = x.b
    turns = b.round(x * (1.0 / _PERIODS[0]))
    x = x - turns * _PERIODS[0]
    x, lost = _sum(x, turns * -_PERIODS[1])
    k = b.round(x * _TWO_OVER_PI)
    r, rest = _sum(x - k * _HALF_PI_PARTS[0], lost)
    for term in (turns * -_PERIODS[2], *(k * -part for part in _HALF_PI_PARTS[1:])):
        r, error = _sum(r, term)
        rest = rest + error
    rest = rest - k * _HALF_PI_REST
    total = r + rest
    low = (r - total) + rest
    quarter = k - b.round(k * 0.25 - 0.375) * 4.0
    return total.at_most(0.9).at_least(-0.9), low.at_most(1e-6).at_least(-1e-6), quarter


def _sum(a: Scalar, b: Scalar) -> tuple[Scalar, Scalar]:
    """a + b as it rounds, and what that lost."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _is_odd(quarter: Scalar) -> Scalar:
    return quarter.b.abs(quarter - 2.0).eq(1.0)


def _sin(r: Scalar, low: Scalar) -> Scalar:
    z = r * r
    return r + (r * z * r.b.polynomial(z, SIN[F32]) + low)


def _cos(r: Scalar, low: Scalar) -> Scalar:
    """The rounding error of 1 - r**2 / 2 is put back, as in fdlibm."""
    z = r * r
    half = z * 0.5
    head = 1.0 - half
    lost = (1.0 - head) - half
    return head + (z * z * r.b.polynomial(z, COS[F32]) + lost - r * low)


def float_atan(x: Scalar) -> Scalar:
    """Arc tangent. Largest error: 1.48 ulp."""
    return x.b.copysign(_angle(x.b.abs(x), x.like(1.0)), x)


def float_atan2(y: Scalar, x: Scalar) -> Scalar:
    """Angle of the point (x, y). Largest error: 1.48 ulp."""
    b = y.b
    assert isinstance(b, FloatBuilder)
    angle = _angle(b.abs(y), b.abs(x))
    high, low = PI[F32]
    left = b.select(b.is_negative(x), high - (angle - low), angle)
    return b.copysign(left, y)


def _angle(y: Scalar, x: Scalar) -> Scalar:
    """Angle of a point of the first quadrant, in [0, pi/2]."""
    b = y.b
    steep = y.gt(x)
    small, large = b.select(steep, x, y), b.select(steep, y, x)
    same = small.eq(large)
    ratio = b.select(same, b.select(large.eq(0.0), large, 1.0), small / large)
    z = ratio * ratio
    angle = ratio * z * b.polynomial(z, ATAN[F32]) + ratio
    high, low = HALF_PI[F32][:2]
    return b.select(steep, high - (angle - low), angle)
