"""f32 functions for vector units that compute with floats alone.

Nothing here looks at the bits of a float or converts to integers, and no product is added
unrounded: what is used is + - * /, comparisons, selections, and exp, log and sqrt, which the
unit has. Signs come from comparisons, whole numbers from adding 1.5 * 2**23. Zeros, infinities
and NaN are those of C99 Annex F; subnormal numbers are as good as the unit's own.

The errors stated are the largest measured with numpy's exp and log of f32, which are within
an ulp; a unit with worse ones adds theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects import math

from infini_ir.passes.tile.math_expansion.builder import F32, Operand, Scalar, ScalarBuilder
from infini_ir.passes.tile.math_expansion.error_function import F32_LARGE, F32_ONE, F32_SMALL
from infini_ir.passes.tile.math_expansion.exponential import EXPM1, TANH_ONE, TANH_SMALL

INFINITY = float("inf")
_LN2 = 0.6931471805599453
_LN2_PARTS = (0.69317626953125, -2.9088971132296138e-05)
"""The first has 14 bits, so that its product with an exponent is exact."""
_EXP2_RANGE = (-151.0, 129.0)
_WHOLE = 2.0**23
"""From here on every float is a whole number."""


@dataclass
class FloatBuilder(ScalarBuilder):
    """A `ScalarBuilder` whose operations are those of floats, without fused steps."""

    def fma(self, x: Scalar, y: Operand, z: Operand) -> Scalar:
        """`x * y + z`, rounded twice."""
        return x * y + z

    def copysign(self, magnitude: Scalar, sign: Scalar) -> Scalar:
        """The sign of a zero counts too; that of NaN does not."""
        return self.select(self.is_negative(sign), -magnitude, magnitude)

    def is_negative(self, x: Scalar) -> Scalar:
        """Whether the sign is minus; one over a zero tells that of a zero."""
        return self.select(x.eq(0.0), 1.0 / x, x).lt(0.0)

    def round(self, x: Scalar) -> Scalar:
        """To the nearest whole number, ties to even, for |x| below 2**22."""
        return (x + F32.magic) - F32.magic

    def exp(self, x: Scalar) -> Scalar:
        return self.emit(math.ExpOp(x.value))

    def log(self, x: Scalar) -> Scalar:
        return self.emit(math.LogOp(x.value))


def _builder(x: Scalar) -> FloatBuilder:
    assert isinstance(x.b, FloatBuilder)
    return x.b


def float_exp2(x: Scalar) -> Scalar:
    """2**x. Largest error: 2.1 ulp.

    x * ln(2) as a sum of two floats: e to the first, times one plus the second.
    """
    b = _builder(x)
    clamped = x.at_most(_EXP2_RANGE[1]).at_least(_EXP2_RANGE[0])
    n = b.round(clamped)
    first = n * _LN2_PARTS[0]
    second = n * _LN2_PARTS[1] + (clamped - n) * _LN2
    total = first + second
    error = (first - total) + second
    return b.exp(total) * (1.0 + error)


def float_log2(x: Scalar) -> Scalar:
    """Logarithm to base 2. Largest error: 1.5 ulp."""
    return _builder(x).log(x) * (1.0 / _LN2)


def float_log10(x: Scalar) -> Scalar:
    """Logarithm to base 10. Largest error: 1.8 ulp."""
    return _builder(x).log(x) * 0.4342944819032518


def float_log1p(x: Scalar) -> Scalar:
    """log(1 + x). Largest error: 2.2 ulp.

    log(u) * x / (u - 1) for u = 1 + x as it rounds (W. Kahan): the quotient makes good what
    the sum lost.
    """
    b = _builder(x)
    u = x + 1.0
    gained = u - 1.0
    log = b.log(u)
    corrected = b.select(gained.eq(0.0), x, log * (x / gained))
    return b.select(u.lt(INFINITY), corrected, log)


def float_expm1(x: Scalar) -> Scalar:
    """e**x - 1. Largest error: 2.1 ulp.

    Near zero from half of x, as (e**h - 1) * (e**h - 1 + 2).
    """
    b = _builder(x)
    half = x * 0.5
    e = half + half * half * b.polynomial(half, EXPM1)
    magnitude = b.abs(x)
    near = b.select(magnitude.lt(2.0**-26), x, e * (e + 2.0))
    return b.select(magnitude.lt(_LN2), near, b.exp(x) - 1.0)


def float_tanh(x: Scalar) -> Scalar:
    """Hyperbolic tangent. Largest error: 1.5 ulp."""
    b = _builder(x)
    z = x * x
    small = b.select(x.eq(0.0), x, x * z * b.polynomial(z, TANH_SMALL) + x)
    magnitude = b.abs(x)
    large = 1.0 - 2.0 / (b.exp(magnitude.at_most(TANH_ONE) * 2.0) + 1.0)
    return b.select(magnitude.lt(0.55), small, b.select(x.lt(0.0), -large, large))


def float_sigmoid(x: Scalar) -> Scalar:
    """1 / (1 + e**-x). Largest error: 2.2 ulp."""
    b = _builder(x)
    e = b.exp(-b.abs(x))
    return b.select(x.lt(0.0), e, 1.0) / (1.0 + e)


def float_erf(x: Scalar) -> Scalar:
    """Error function. Largest error: 1.3 ulp."""
    b = _builder(x)
    magnitude = b.abs(x)
    t = magnitude.at_most(F32_ONE)
    large = 1.0 - b.exp(b.polynomial(t, F32_LARGE) * _LN2)
    small = x * b.polynomial(x * x, F32_SMALL) + x
    return b.select(magnitude.lt(0.9), small, b.select(x.lt(0.0), -large, large))


def float_rsqrt(x: Scalar) -> Scalar:
    """1 / sqrt(x). Largest error: 1.48 ulp."""
    return 1.0 / _builder(x).sqrt(x)


def float_powf(x: Scalar, y: Scalar) -> Scalar:
    """x to the power y, as e**(y * log|x|).

    The error grows with the exponent p = y * log|x| of the result: below 4 + 2 |p| ulp,
    120 measured where the result all but overflows.
    """
    b = _builder(x)
    magnitude = b.abs(x)
    result = b.exp(y * b.log(magnitude))
    extreme = magnitude.eq(0.0) | magnitude.eq(INFINITY) | b.abs(y).eq(INFINITY)
    grows = b.select(y.lt(0.0), -(magnitude - 1.0), magnitude - 1.0).gt(0.0)
    limit = b.select(grows, x.like(INFINITY), 0.0)
    result = b.select(extreme, b.select(magnitude.eq(1.0), 1.0, limit), result)
    whole = _is_whole(y)
    odd = whole & _is_whole(y * 0.5).compare("eq", 0)
    result = b.select(b.is_negative(x) & odd, -result, result)
    undefined = x.lt(0.0) & x.gt(-INFINITY) & whole.compare("eq", 0)
    result = b.select(undefined, float("nan"), result)
    result = b.select(x.compare("uno", y), float("nan"), result)
    return b.select(x.eq(1.0) | y.eq(0.0), 1.0, result)


def _is_whole(x: Scalar) -> Scalar:
    """Whether a number has no fraction; infinity has none."""
    magnitude = x.b.abs(x)
    rounded = (magnitude + _WHOLE) - _WHOLE
    return rounded.eq(magnitude) | magnitude.ge(_WHOLE)
