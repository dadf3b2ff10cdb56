"""exp, exp2, expm1, tanh and the logistic function.

Every exponential is `2**n * p(r)`: n is the nearest integer to the argument in units of ln 2,
found by adding a constant so large that the sum has no fraction bits (its low bits then are
n), r the rest, in two fused steps with ln 2 as a sum of two floats. Polynomials are minimax
fits. The scheme is that of Cephes and of every vector math library since.
"""

from dataclasses import dataclass

from infini_ir.passes.tile.math_expansion.builder import F32, F64, Format, Scalar


@dataclass(frozen=True)
class _Table:
    log2_e: float
    ln2: tuple[float, float]
    exp_range: tuple[float, float]
    """Beyond these e**x is 0 or infinite after rounding."""
    exp2_range: tuple[float, float]
    expm1_low: float
    """Below it expm1 rounds to -1."""
    expm1_tiny: float
    """Below it in magnitude expm1(x) rounds to x."""
    expm1: tuple[float, ...]
    """(e**r - 1 - r) / r**2 on +-ln(2)/2."""
    exp2: tuple[float, ...]
    """(2**r - 1) / r on +-1/2."""


_F32 = _Table(
    log2_e=1.4426950408889634,
    ln2=(0.6931471824645996, -1.9046542121259336e-09),
    exp_range=(-104.0, 89.0),
    exp2_range=(-151.0, 129.0),
    expm1_low=-18.0,
    expm1_tiny=2.0**-26,
    expm1=(0.5, 0.16666573, 0.04166646, 0.008363782, 0.0013935849),
    exp2=(0.6931472, 0.2402265, 0.055503648, 0.009618074, 0.001338887, 0.00015458207),
)

_F64 = _Table(
    log2_e=1.4426950408889634,
    ln2=(0.6931471805599453, 2.3190468138462996e-17),
    exp_range=(-746.0, 710.0),
    exp2_range=(-1076.0, 1025.0),
    expm1_low=-38.0,
    expm1_tiny=2.0**-55,
    expm1=(
        0.5, 0.1666666666666667, 0.04166666666666668, 0.008333333333325654,
        0.0013888888888876911, 0.00019841269876594815, 2.4801587342847645e-05,
        2.7557253096530962e-06, 2.755725638719603e-07, 2.5106186287120015e-08,
        2.092061562714961e-09,
    ),
    exp2=(
        0.6931471805599453, 0.24022650695910072, 0.05550410866482633, 0.009618129107627785,
        0.0013333558144898896, 0.00015403530394901189, 1.5252735519869795e-05,
        1.3215485440578279e-06, 1.017729831215807e-07, 7.055428449231762e-09,
        4.575521301775392e-10, 2.498260271313982e-11,
    ),
)  # fmt: skip

_EXP_SHORT_RANGE = (-88.0296, 88.72284)
"""n is -127 at the lower end and 128 at the upper: the scale factors 0 and infinity."""

EXPM1, EXP_RANGE, LN2, LOG2_E = _F32.expm1, _F32.exp_range, _F32.ln2, _F32.log2_e
"""Of f32: (e**r - 1 - r) / r**2, where e**x is neither 0 nor infinite, and ln 2 in two."""

_TABLES: dict[Format, _Table] = {F32: _F32, F64: _F64}


def expand_exp(x: Scalar, *, approximate: bool = False) -> Scalar:
    """e**x. Largest error: 0.93 (f32), 0.80 (f64) ulp.

    Approximate (f32) is as exact but gives 0 in place of subnormals and infinity from
    2**127.5 on, which spares the second scale factor: four operations.
    """
    b, fmt, table = x.b, x.format, _TABLES[x.format]
    short = approximate and fmt is F32
    low, high = _EXP_SHORT_RANGE if short else table.exp_range
    x = x.at_most(high).at_least(low)
    shift = fmt.magic + (fmt.bias if short else 2 * fmt.bias)
    shifted = b.fma(x, table.log2_e, shift)
    r = _reduce(x, shifted - shift)
    p = b.fma(b.fma(r, b.polynomial(r, table.expm1), 1.0), r, 1.0)
    if short:
        return p * (shifted.bits() << fmt.mantissa).as_float(fmt)
    return scale_by_power(p, shifted)


def expand_exp2(x: Scalar) -> Scalar:
    """2**x. Largest error: 0.85 (f32), 0.82 (f64) ulp; exact on integers."""
    table = _TABLES[x.format]
    return exp2_of_sum(x.at_most(table.exp2_range[1]).at_least(table.exp2_range[0]), None)


def exp2_of_sum(high: Scalar, low: Scalar | None) -> Scalar:
    """2**(high + low) for `high` within `exp2_range` and a `low` under its last place."""
    b, table = high.b, _TABLES[high.format]
    shift = high.format.magic + 2 * high.format.bias
    shifted = high + shift
    r = high - (shifted - shift)
    if low is not None:
        r = r + low
    return scale_by_power(b.fma(r, b.polynomial(r, table.exp2), 1.0), shifted)


def exp2_of_normal(x: Scalar) -> Scalar:
    """2**x for an x (or NaN) whose power is a normal number."""
    b, fmt, table = x.b, x.format, _TABLES[x.format]
    shift = fmt.magic + fmt.bias
    shifted = x + shift
    r = x - (shifted - shift)
    scale = (shifted.bits() << fmt.mantissa).as_float(fmt)
    return b.fma(r, b.polynomial(r, table.exp2), 1.0) * scale


def expand_expm1(x: Scalar) -> Scalar:
    """e**x - 1. Largest error: 1.58 (f32), 1.39 (f64) ulp.

    `2**n * (e**r - 1) + (2**n - 1)` in one fused step, at half the scale so that 2**128
    (f64: 2**1024) is in range.
    """
    b, fmt, table = x.b, x.format, _TABLES[x.format]
    tiny = b.abs(x).lt(table.expm1_tiny)
    clamped = x.at_most(table.exp_range[1]).at_least(table.expm1_low)
    shift = fmt.magic + (fmt.bias - 1)
    shifted = b.fma(clamped, table.log2_e, shift)
    r = _reduce(clamped, shifted - shift)
    p = b.fma(r * r, b.polynomial(r, table.expm1), r)
    half_scale = (shifted.bits() << fmt.mantissa).as_float(fmt)
    return b.select(tiny, x, b.fma(p, half_scale, half_scale - 0.5) * 2.0)


def _reduce(x: Scalar, n: Scalar) -> Scalar:
    """x - n * ln(2)."""
    high, low = _TABLES[x.format].ln2
    return x.b.fma(n, -low, x.b.fma(n, -high, x))


def scale_by_power(p: Scalar, shifted: Scalar) -> Scalar:
    """p * 2**n, where the low bits of `shifted` are n plus twice the bias.

    Two factors of about n / 2 each: their exponents are in range where that of 2**n is not,
    and only the last product rounds, also in the subnormal range.
    """
    fmt = p.format
    n = shifted.bits()
    half = n >> 1
    first = (half << fmt.mantissa).as_float(fmt)
    second = ((n - half) << fmt.mantissa).as_float(fmt)
    return p * first * second


TANH_ONE = 9.02
"""From here on tanh rounds to 1 in f32."""
TANH_SMALL = (-0.3333332, 0.13332638, -0.053857073, 0.021089364, -0.0062972447)
"""(tanh(x) / x - 1) / x**2 in x**2, below `_TANH_SPLIT`."""
_TANH_SPLIT = 0.55
_EXP_TWICE = (2.0, 2.0, 1.3333225, 0.666663, 0.2677772, 0.08920203)
"""(e**(2r) - 1) / r on +-ln(2)/4."""

_TANH_NUMERATOR = (1.0, 0.140989, 0.0044255396, 4.226335e-05, 1.1111834e-07, 3.671014e-11)
_TANH_DENOMINATOR = (1.0, 0.47432235, 0.029199654, 0.00050075585, 2.602903e-06, 2.9490863e-09)


def expand_tanh(x: Scalar, *, approximate: bool = False) -> Scalar:
    """Hyperbolic tangent. Largest error: 1.54 (f32), 1.87 (f64) ulp; approximate (f32): 5.4 ulp.

    f32: a polynomial near zero and 1 - 2 / (e**2|x| + 1) elsewhere; approximate is one odd
    rational function, at two thirds of the operations, which can pass 1 by an ulp.
    f64: expm1(2|x|) / (expm1(2|x|) + 2).
    """
    b = x.b
    if x.format is F64:
        e = expand_expm1(b.abs(x).at_most(20.0) * 2.0)
        return b.copysign(e / (e + 2.0), x)
    if approximate:
        t = x.at_most(TANH_ONE).at_least(-TANH_ONE)
        z = t * t
        return t * b.polynomial(z, _TANH_NUMERATOR) / b.polynomial(z, _TANH_DENOMINATOR)
    return _tanh32(x)


def _tanh32(x: Scalar) -> Scalar:
    b, fmt = x.b, x.format
    z = x * x
    small = b.fma(x * z, b.polynomial(z, TANH_SMALL), x)
    magnitude = b.abs(x)
    t = magnitude.at_most(TANH_ONE)
    shift = fmt.magic + fmt.bias
    shifted = b.fma(t, 2.0 * _F32.log2_e, shift)
    r = b.fma(shifted - shift, -0.5 * _F32.ln2[0], t)
    scale = (shifted.bits() << fmt.mantissa).as_float(fmt)
    e = b.fma(r, b.polynomial(r, _EXP_TWICE), 1.0) * scale
    large = 1.0 - 2.0 / (e + 1.0)
    return b.copysign(b.select(magnitude.lt(_TANH_SPLIT), small, large), x)


def expand_sigmoid(x: Scalar, *, estimated: bool = False) -> Scalar:
    """1 / (1 + e**-x), the logistic function. Largest error: 1.37 (f32), 1.81 (f64) ulp.

    `estimated`: f32 begins with an estimate of the quotient, a division marked `arcp`. Its
    largest error is 0.83 ulp then, as one step takes in all that the quotient lacks.
    f64: as e**x / (1 + e**x) for negative x, so that e**-x cannot overflow.
    """
    if x.format is F32:
        return _sigmoid32(x, estimated)
    b = x.b
    e = expand_exp(-b.abs(x))
    return b.select(x.lt(0.0), e, 1.0) / (1.0 + e)


_SIGMOID_RANGE = (-105.0, 30.0)
"""Beyond these the logistic function is 0 or 1 after rounding."""


def _sigmoid32(x: Scalar, estimated: bool) -> Scalar:
    """2**n / (2**n + e**r) with x = n * ln(2) - r. The rounding error of the divisor goes into
    the quotient, as does what an estimate of it lacks; only then is it multiplied by 2**n, as
    that may make it subnormal."""
    b, fmt = x.b, x.format
    low, high = _SIGMOID_RANGE
    x = x.at_most(high).at_least(low)
    shift = fmt.magic + 2 * fmt.bias
    shifted = b.fma(x, _F32.log2_e, shift)
    n = shifted - shift
    r = b.fma(n, _F32.ln2[1], b.fma(n, _F32.ln2[0], -x))
    p = b.fma(r, b.polynomial(r, _F32.expm1), 1.0)
    # Below 2**-100 it is nothing beside e**r.
    power = ((n.at_least(-100.0) + (fmt.magic + fmt.bias)).bits() << fmt.mantissa).as_float(fmt)
    above = power + 1.0
    divisor = b.fma(p, r, above)
    lost = b.fma(p, r, above - divisor) + ((1.0 - above) + power)
    if estimated:
        quotient = b.estimated_reciprocal(divisor)
        error = b.fma(-lost, quotient, b.fma(-divisor, quotient, 1.0))
        quotient = b.fma(error, quotient, quotient)
    else:
        quotient = 1.0 / divisor
        quotient = b.fma(-(quotient * lost), quotient, quotient)
    return scale_by_power(quotient, shifted)
