"""Transcendental functions as straight-line scalar arithmetic, for f32 and f64.

No tables, branches or calls: every target vectorises the result. The functions take and
return `Scalar` values of a `ScalarBuilder`, which inserts the operations where an xDSL
`Builder` points. They follow IEEE 754 and C99 Annex F in zeros, infinities, NaN and subnormals.

The errors stated are the largest measured: f32 against f64 on some three million arguments
(every 4096th bit pattern and a dense grid of the interesting range), f64 against 140-bit
arithmetic on some ten thousand. Polynomials and rational functions are minimax fits weighted by
their share of the result, low coefficients rounded first and the rest fitted again.
"""

from infini_ir.passes.tile.math_expansion.builder import F32, F64, Format, Scalar, ScalarBuilder
from infini_ir.passes.tile.math_expansion.error_function import expand_erf
from infini_ir.passes.tile.math_expansion.exponential import (
    expand_exp,
    expand_exp2,
    expand_expm1,
    expand_sigmoid,
    expand_tanh,
)
from infini_ir.passes.tile.math_expansion.float_angles import (
    float_atan,
    float_atan2,
    float_cos,
    float_sin,
    float_tan,
)
from infini_ir.passes.tile.math_expansion.float_only import (
    FloatBuilder,
    float_erf,
    float_exp2,
    float_expm1,
    float_log1p,
    float_log2,
    float_log10,
    float_powf,
    float_rsqrt,
    float_sigmoid,
    float_tanh,
)
from infini_ir.passes.tile.math_expansion.logarithm import (
    expand_log,
    expand_log1p,
    expand_log2,
    expand_log10,
)
from infini_ir.passes.tile.math_expansion.power import expand_powf, expand_rsqrt
from infini_ir.passes.tile.math_expansion.remainder import expand_remf
from infini_ir.passes.tile.math_expansion.roots import ROOTS, expand_power_by_roots
from infini_ir.passes.tile.math_expansion.trigonometric import (
    expand_atan,
    expand_atan2,
    expand_cos,
    expand_sin,
    expand_tan,
)

__all__ = [
    "F32",
    "F64",
    "ROOTS",
    "FloatBuilder",
    "Format",
    "Scalar",
    "ScalarBuilder",
    "expand_atan",
    "expand_atan2",
    "expand_cos",
    "expand_erf",
    "expand_exp",
    "expand_exp2",
    "expand_expm1",
    "expand_log",
    "expand_log1p",
    "expand_log2",
    "expand_log10",
    "expand_power_by_roots",
    "expand_powf",
    "expand_remf",
    "expand_rsqrt",
    "expand_sigmoid",
    "expand_sin",
    "expand_tan",
    "expand_tanh",
    "float_atan",
    "float_atan2",
    "float_cos",
    "float_erf",
    "float_exp2",
    "float_expm1",
    "float_log1p",
    "float_log2",
    "float_log10",
    "float_powf",
    "float_rsqrt",
    "float_sigmoid",
    "float_sin",
    "float_tan",
    "float_tanh",
]
