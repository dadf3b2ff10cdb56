"""Divide shares of a sum by multiplying: softmax with one division a row.

A vector division takes as long as sixteen multiplications or more. The exact quotient and the
product with the reciprocal differ by an ulp or so, where the reciprocal is a normal number:
that is known of a sum of exponentials whose arguments had their maximum taken off, which is
at least 1 and at most their number.
"""

from __future__ import annotations

from xdsl.context import Context
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import Float32Type, Float64Type, FloatAttr, ModuleOp
from xdsl.ir import Block, BlockArgument, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.rewriter import InsertPoint

from infini_ir.dialects import tile


class MultiplyByReciprocal(RewritePattern):
    """`e / sum(e)` with `e = exp(x - max(x))` becomes `e * (1 / sum(e))`."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: arith.DivfOp, rewriter: PatternRewriter) -> None:
        map, kind = op.parent_op(), op.result.type
        if not isinstance(map, tile.MapOp) or not isinstance(kind, Float32Type | Float64Type):
            return
        exponentials, total = _input(map, op.lhs), _input(map, op.rhs)
        if exponentials is None or total is None or not _is_sum_of(total, exponentials):
            return
        if len(list(op.rhs.uses)) != 1 or not _is_exponential(exponentials):
            return
        assert isinstance(op.rhs, BlockArgument)
        reciprocal = _reciprocal_of(total, kind)
        reciprocal.location = op.location
        rewriter.insert(reciprocal, InsertPoint.before(map))
        map.operands[op.rhs.index] = reciprocal.outs[0]
        product = arith.MulfOp(op.lhs, op.rhs)
        product.location = op.location
        rewriter.replace(op, [product])


def _input(map: tile.MapOp, value: SSAValue) -> SSAValue | None:
    """What a region's argument stands for."""
    if not isinstance(value, BlockArgument) or value.block is not map.body.block:
        return None
    given = map.inputs[value.index]
    return given if isinstance(given.type, tile.TileType) else None


def _is_sum_of(total: SSAValue, terms: SSAValue) -> bool:
    owner = total.owner
    return isinstance(owner, tile.ReduceOp) and owner.kind.data == "add" and owner.x is terms


def _is_exponential(value: SSAValue) -> bool:
    """Whether it is exp(x - m) with m a maximum of that same x, along whichever axes."""
    map = value.owner
    if not isinstance(map, tile.MapOp) or len(map.outs) != 1:
        return False
    (yielded,) = tile.yielded(map.body)
    exp = yielded.owner
    if not isinstance(exp, math.ExpOp) or not isinstance(exp.operand.owner, arith.SubfOp):
        return False
    less = exp.operand.owner
    x, most = _input(map, less.lhs), _input(map, less.rhs)
    if x is None or most is None or not isinstance(most.owner, tile.ReduceOp):
        return False
    return most.owner.kind.data == "max" and most.owner.x is x


def _reciprocal_of(total: SSAValue, kind: Float32Type | Float64Type) -> tile.MapOp:
    type = tile.tile_type(total)
    block = Block(arg_types=[kind])
    one = arith.ConstantOp(FloatAttr(1.0, kind))
    quotient = arith.DivfOp(one.result, block.args[0])
    block.add_ops([one, quotient, tile.YieldOp([quotient.result])])
    return tile.MapOp([total], [range(type.rank)], [type], Region(block))


class ReciprocalSumsPass(ModulePass):
    """Turn the division of softmax into one a row and a multiplication an element."""

    name = "tile-reciprocal-sums"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        walker = PatternRewriteWalker(MultiplyByReciprocal(), apply_recursively=False)
        walker.rewrite_module(op)
