"""Replace transcendental operations by scalar arithmetic."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from xdsl.context import Context
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import Float32Type, Float64Type, FloatAttr, ModuleOp
from xdsl.dialects.utils.fast_math import FastMathFlag
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)

from infini_ir.passes.tile import math_expansion as expansion
from infini_ir.utils.errors import OptionError

Expansion = Callable[..., expansion.Scalar]

EXPANSIONS: dict[type[Operation], Expansion] = {
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

APPROXIMATE: dict[type[Operation], Expansion] = {
    math.ErfOp: partial(expansion.expand_erf, approximate=True),
    math.ExpOp: partial(expansion.expand_exp, approximate=True),
    math.TanhOp: partial(expansion.expand_tanh, approximate=True),
}
"""Cheaper forms for operations with the `afn` (approximate functions) fast-math flag."""

FLOAT_ONLY: dict[type[Operation], Expansion] = {
    math.AtanOp: expansion.float_atan,
    math.Atan2Op: expansion.float_atan2,
    math.CosOp: expansion.float_cos,
    math.ErfOp: expansion.float_erf,
    math.Exp2Op: expansion.float_exp2,
    math.ExpM1Op: expansion.float_expm1,
    math.Log10Op: expansion.float_log10,
    math.Log1pOp: expansion.float_log1p,
    math.Log2Op: expansion.float_log2,
    math.PowFOp: expansion.float_powf,
    math.RsqrtOp: expansion.float_rsqrt,
    math.SinOp: expansion.float_sin,
    math.TanOp: expansion.float_tan,
    math.TanhOp: expansion.float_tanh,
}
"""Forms of f32 without integers, which use exp, log and sqrt."""

FLOAT_ONLY_NATIVE = frozenset({math.ExpOp.name, math.LogOp.name, math.SqrtOp.name})
"""What those forms are made of."""


@dataclass(frozen=True)
class ExpandMath(RewritePattern):
    """A transcendental of f32 or f64 becomes straight-line `arith` and native `math`."""

    native: frozenset[str]
    float_only: bool
    native_f32: frozenset[str]

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not op.results or not isinstance(op.results[0].type, Float32Type | Float64Type):
            return
        single = isinstance(op.results[0].type, Float32Type)
        if op.name in self.native and (single or not self.float_only):
            return
        if op.name in self.native_f32 and single:
            return
        by_floats = self.float_only and single
        if not by_floats and _root_exponent(op) is not None:
            self._by_roots(op, rewriter)
            return
        expand = FLOAT_ONLY.get(type(op)) if by_floats else self._expansion_of(op)
        if expand is None:
            return
        make = expansion.FloatBuilder if by_floats else expansion.ScalarBuilder
        b = make(rewriter, op.location)
        result = expand(*(b.wrap(operand) for operand in op.operands))
        if op.results[0].name_hint is not None:
            result.value.name_hint = op.results[0].name_hint
        rewriter.replace(op, (), [result.value])

    def _by_roots(self, op: Operation, rewriter: PatternRewriter) -> None:
        """A power becomes a product of roots."""
        exponent = _root_exponent(op)
        assert exponent is not None
        b = expansion.ScalarBuilder(rewriter, op.location)
        x = b.wrap(op.operands[0])
        native = self.native
        if isinstance(x.type, Float32Type):
            native |= self.native_f32

        def rsqrt(x: expansion.Scalar) -> expansion.Scalar:
            if math.RsqrtOp.name in native:
                return b.emit(math.RsqrtOp(x.value))
            return expansion.expand_rsqrt(x)

        result = expansion.expand_power_by_roots(x, exponent, rsqrt)
        rewriter.replace(op, (), [result.value])

    @staticmethod
    def _expansion_of(op: Operation) -> Expansion | None:
        flags = op.properties.get("fastmath")
        if (
            isinstance(flags, arith.FastMathFlagsAttr)
            and FastMathFlag.APPROX_FUNC in flags.data
        ):
            return APPROXIMATE.get(type(op), EXPANSIONS.get(type(op)))
        return EXPANSIONS.get(type(op))


def _exponent(op: Operation | Block) -> float | None:
    """The exponent of a power, where it is known."""
    if not isinstance(op, math.PowFOp) or not isinstance(op.rhs.owner, arith.ConstantOp):
        return None
    number = op.rhs.owner.value
    return number.value.data if isinstance(number, FloatAttr) else None


def _root_exponent(op: Operation) -> float | None:
    """The exponent of a power that is a product of roots."""
    exponent = _exponent(op)
    return exponent if exponent in expansion.ROOTS else None


class MultiplyByPower(RewritePattern):
    """`a / x**0.75` becomes `a * x**-0.75`, and with 0.5 likewise."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: arith.DivfOp, rewriter: PatternRewriter) -> None:
        power = op.rhs.owner
        exponent = _exponent(power)
        if exponent is None or exponent <= 0 or -exponent not in expansion.ROOTS:
            return
        assert isinstance(power, math.PowFOp)
        kind = op.result.type
        if not isinstance(kind, Float32Type):
            return
        number = arith.ConstantOp(FloatAttr(-exponent, kind))
        inverse = math.PowFOp(power.lhs, number.result)
        product = arith.MulfOp(op.lhs, inverse.result)
        for made in (number, inverse, product):
            made.location = op.location
        rewriter.replace(op, [number, inverse, product])
        if not power.result.uses:
            rewriter.erase(power)


@dataclass(frozen=True)
class ExpandSigmoid(RewritePattern):
    """1 / (1 + e**-x) of f32, written with exp, becomes the logistic function's own expansion:
    more exact, and not 0 where it is subnormal."""

    estimated: bool

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: arith.DivfOp, rewriter: PatternRewriter) -> None:
        if not isinstance(op.result.type, Float32Type) or not _is_one(op.lhs):
            return
        below = op.rhs.owner
        if not isinstance(below, arith.AddfOp) or not _is_one(below.lhs):
            return
        exp = below.rhs.owner
        if not isinstance(exp, math.ExpOp) or not isinstance(exp.operand.owner, arith.NegfOp):
            return
        b = expansion.ScalarBuilder(rewriter, op.location)
        result = expansion.expand_sigmoid(
            b.wrap(exp.operand.owner.operand), estimated=self.estimated
        )
        rewriter.replace(op, (), [result.value])
        for unused in (below, exp):
            if not any(result.uses for result in unused.results):
                rewriter.erase(unused)


def _is_one(value: SSAValue) -> bool:
    owner = value.owner
    return (
        isinstance(owner, arith.ConstantOp)
        and isinstance(owner.value, FloatAttr)
        and owner.value.value.data == 1.0
    )


@dataclass(frozen=True)
class ExpandMathPass(ModulePass):
    """Leave only the math operations that targets have instructions for.

    Operations on other types (vectors, f16) stay.
    """

    name = "tile-expand-math"

    native: tuple[str, ...] = ()
    """Names of operations that stay, such as `math.exp`."""

    native_f32: tuple[str, ...] = ()
    """Names of operations that stay where they are of f32."""

    float_only: bool = False
    """Whether the rest of f32 is made of float arithmetic, exp, log and sqrt alone, for vector
    units without integers. These three must be native then. They are so for f32 alone: f64 is
    expanded as without this option."""

    sigmoid: bool = False
    """Whether the logistic function, where it is written with exp, has its own expansion."""

    estimates: bool = False
    """Whether a division of f32 marked `arcp` is a quick estimate, of some 14 bits, which
    expansions refine."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if self.sigmoid:
            pattern = ExpandSigmoid(self.estimates)
            PatternRewriteWalker(pattern, apply_recursively=False).rewrite_module(op)
        native = frozenset(self.native)
        if self.float_only and not native >= FLOAT_ONLY_NATIVE:
            missing = ", ".join(sorted(FLOAT_ONLY_NATIVE - native))
            raise OptionError(
                f"{self.name}: float-only expansions are made of {missing} among others; "
                "name them in `native`, or leave `float-only` away"
            )
        if math.RsqrtOp.name in native | frozenset(self.native_f32):
            walker = PatternRewriteWalker(MultiplyByPower(), apply_recursively=False)
            walker.rewrite_module(op)
        pattern = ExpandMath(native, self.float_only, frozenset(self.native_f32))
        PatternRewriteWalker(pattern, apply_recursively=False).rewrite_module(op)
