"""erf."""

from infini_ir.passes.tile.math_expansion.builder import F64, Scalar
from infini_ir.passes.tile.math_expansion.exponential import exp2_of_normal, expand_exp

F32_ONE = 3.93
"""From here on erf rounds to 1 in f32."""
_F32_SPLIT = 0.9
F32_SMALL = (
    0.12837917, -0.3761263, 0.11283621, -0.02685524, 0.0051906453, -0.00080243975, 7.868937e-05,
)  # fmt: skip
"""erf(x) / x - 1 in x**2, below `_F32_SPLIT`."""
F32_LARGE = (
    -0.00025534825, -1.6270016, -0.9190782, -0.1500981, 0.03214073, -0.0044086645, 0.0002845001,
)  # fmt: skip
"""log2(1 - erf(x)) on [0.9, 3.93]."""

_F32_NUMERATOR = (1.1283791, 0.19079721, 0.052792065, 0.0037802416, 0.0002848337, 2.0419782e-06)
_F32_DENOMINATOR = (1.0, 0.50242233, 0.11426309, 0.014998616, 0.0011653908, 3.800553e-05)

_F64_SMALL = (
    1.1283791670955126, -0.376126389031833, 0.1128379167093319, -0.026866170640985447,
    0.0052239775850162805, -0.0008548324700117884, 0.00012055248389348593,
    -1.4923622772485863e-05, 1.6429658875082894e-06, -1.602167434308907e-07,
    1.247598805014181e-08, -3.0413691972642043e-10, -7.943186737167403e-11,
)  # fmt: skip
"""erf(x) / x in x**2, below 1."""

_F64_NUMERATOR = (
    1.0000001496923339, 1.6829840137997782, 1.3875224298112294, 0.6915171884233189,
    0.21834776565542188, 0.041752692206624364, 0.003923349676251102,
)  # fmt: skip
_F64_DENOMINATOR = (
    1.0, 2.81136464870134, 3.559800819853682, 2.6492313045915883, 1.262695348750199,
    0.3904876312801566, 0.07400474753639215, 0.006953955725195407,
)  # fmt: skip
"""(1 - erf(x)) * e**(x**2) on [1, 6]."""


def expand_erf(x: Scalar, *, approximate: bool = False) -> Scalar:
    """Error function. Largest error: 1.12 (f32), 1.41 (f64) ulp; approximate (f32): 5.8 ulp.

    f32: a polynomial near zero, elsewhere 1 minus 2 to a polynomial; approximate is one odd
    rational function with positive coefficients, at half of the operations, which can pass 1
    by an ulp. f64: a polynomial below 1, and 1 minus e**(-x**2) times a rational function.
    """
    b = x.b
    if x.format is F64:
        return _erf64(x)
    if approximate:
        t = x.at_most(F32_ONE).at_least(-F32_ONE)
        z = t * t
        return t * b.polynomial(z, _F32_NUMERATOR) / b.polynomial(z, _F32_DENOMINATOR)
    magnitude = b.abs(x)
    t = magnitude.at_most(F32_ONE)
    large = b.copysign(1.0 - exp2_of_normal(b.polynomial(t, F32_LARGE)), x)
    small = b.fma(x, b.polynomial(x * x, F32_SMALL), x)
    return b.select(magnitude.lt(_F32_SPLIT), small, large)


def _erf64(x: Scalar) -> Scalar:
    b = x.b
    magnitude = b.abs(x)
    small = x * b.polynomial(x * x, _F64_SMALL)
    t = magnitude.at_most(6.0)
    ratio = b.polynomial(t, _F64_NUMERATOR) / b.polynomial(t, _F64_DENOMINATOR)
    large = b.copysign(1.0 - expand_exp(-(t * t)) * ratio, x)
    return b.select(magnitude.lt(1.0), small, large)
