"""Replace transcendental operations by scalar arithmetic."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from xdsl.context import Context
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import Float32Type, Float64Type, ModuleOp
from xdsl.dialects.utils.fast_math import FastMathFlag
from xdsl.ir import Operation
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriter, PatternRewriteWalker, RewritePattern

from infini_ir.passes.tile import math_expansion as expansion

EXPANSIONS: dict[type[Operation], Callable[..., expansion.Scalar]] = {
    math.AtanOp: expansion.expand_atan,
    math.Atan2Op: expansion.expand_atan2,
    math.CosOp: expansion.expand_cos,
    math.ErfOp: expansion.expand_erf,
    math.ExpOp: expansion.expand_exp,
    math.Exp2Op: expansion.expand_exp2,
    math.ExpM1Op: expansion.expand_expm1,
    math.LogOp: expansion.expand_log,
    math.Log10Op: expansion.expand_log10,
    math.Log1pOp: expansion.expand_log1p,
    math.Log2Op: expansion.expand_log2,
    math.PowFOp: expansion.expand_powf,
    math.RsqrtOp: expansion.expand_rsqrt,
    math.SinOp: expansion.expand_sin,
    math.TanOp: expansion.expand_tan,
    math.TanhOp: expansion.expand_tanh,
}
"""What each operation becomes; its operands are the function's arguments."""

APPROXIMATE: dict[type[Operation], Callable[..., expansion.Scalar]] = {
    math.ErfOp: partial(expansion.expand_erf, approximate=True),
    math.ExpOp: partial(expansion.expand_exp, approximate=True),
    math.TanhOp: partial(expansion.expand_tanh, approximate=True),
}
"""Cheaper forms for operations with the `afn` (approximate functions) fast-math flag."""


def _expansion_of(op: Operation) -> Callable[..., expansion.Scalar] | None:
    flags = op.properties.get("fastmath")
    if isinstance(flags, arith.FastMathFlagsAttr) and FastMathFlag.APPROX_FUNC in flags.data:
        return APPROXIMATE.get(type(op), EXPANSIONS.get(type(op)))
    return EXPANSIONS.get(type(op))


class ExpandMath(RewritePattern):
    """A transcendental of f32 or f64 becomes straight-line `arith` and native `math`."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        expand = _expansion_of(op)
        if expand is None or not isinstance(op.results[0].type, Float32Type | Float64Type):
            return
        b = expansion.ScalarBuilder(rewriter, op.location)
        result = expand(*(b.wrap(operand) for operand in op.operands))
        if op.results[0].name_hint is not None:
            result.value.name_hint = op.results[0].name_hint
        rewriter.replace(op, (), [result.value])


@dataclass(frozen=True)
class ExpandMathPass(ModulePass):
    """Leave only the math operations that targets have instructions for.

    Operations on other types (vectors, f16) stay.
    """

    name = "tile-expand-math"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        PatternRewriteWalker(ExpandMath(), apply_recursively=False).rewrite_module(op)
