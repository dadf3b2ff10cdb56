"""Layout: convolutions and pools with the channels last, and few transposes for it."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from infini_ir.dialects.context import CompilerContext, weights_of
from infini_ir.dialects.graph import ConvOp, Layout, PoolOp, TransposeOp, ints_of
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.passes.graph.fold_constants import fold_constants
from infini_ir.passes.graph.fuse.forms import byte_count
from infini_ir.passes.graph.fuse.reasons import size_text
from infini_ir.passes.graph.layout.moving import MARK, MOVING_RULES, inverse, moved
from infini_ir.passes.graph.rules import apply_rules, merged
from infini_ir.passes.graph.simplify_contraction import CONTRACTION_RULES
from infini_ir.passes.graph.simplify_shape import SHAPE_RULES
from infini_ir.utils.errors import OptionError
from infini_ir.utils.rewriting import subject_of


@dataclass(frozen=True)
class GraphLayoutPass(ModulePass):
    """
    Give convolutions and pools the target's layout and move the transposes that this takes
    to where they vanish: in front of the next one, into weights, or out to inputs and outputs.
    """

    name = "graph-layout"

    target: str = "channels_last"
    """The only other value, `channels_first`, leaves models as they come."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if self.target not in (Layout.channels_first, Layout.channels_last):
            raise OptionError(
                f"graph-layout: '{self.target}' is no layout; give channels_last or channels_first"
            )
        if self.target == Layout.channels_first:
            return
        if not apply_rules(op, CHANNELS_LAST_RULES):
            return
        apply_rules(op, merged(MOVING_RULES, SHAPE_RULES, CONTRACTION_RULES))
        fold_constants(op, weights_of(ctx))
        _explain(ctx, op)
        for inner in op.walk():
            inner.attributes.pop(MARK, None)


def to_last(rank: int) -> tuple[int, ...]:
    """The permutation from channels first to channels last."""
    return (0, *range(2, rank), 1)


def conv_channels_last(op: ConvOp, b: GraphBuilder) -> SSAValue | None:
    rank = tensor_type(op.x).rank
    if op.layout.data is Layout.channels_last or rank < 3:
        return None
    perm = to_last(rank)
    conv = op.changed(
        b.transpose(op.x, perm),
        b.transpose(op.w, (*range(2, rank), 1, 0)),
        op.bias,
        layout=Layout.channels_last,
    )
    return moved(b.insert(conv).out, inverse(perm), b)


def pool_channels_last(op: PoolOp, b: GraphBuilder) -> SSAValue | None:
    rank = tensor_type(op.x).rank
    if op.layout.data is Layout.channels_last or rank < 3:
        return None
    perm = to_last(rank)
    pool = PoolOp(
        op.kind.data,
        b.transpose(op.x, perm),
        ints_of(op.sizes),
        layout=Layout.channels_last,
        strides=ints_of(op.strides),
        dilations=ints_of(op.dilations),
        lo=op.lo.data,
        hi=op.hi.data,
        count_hi=None if op.count_hi is None else op.count_hi.data,
    )
    return moved(b.insert(pool).out, inverse(perm), b)


CHANNELS_LAST_RULES = {ConvOp: (conv_channels_last,), PoolOp: (pool_channels_last,)}


def _explain(ctx: Context, module: Operation) -> None:
    """Record what was given the layout, and each transpose that is left with its cost."""
    if not isinstance(ctx, CompilerContext):
        return
    for op in module.walk():
        if isinstance(op, (ConvOp, PoolOp)):
            ctx.decide(
                "graph-layout",
                subject_of(op),
                "channels last",
                "the channels of one position lie together, so that vectors run along them",
            )
        elif isinstance(op, TransposeOp):
            ctx.decide(
                "graph-layout",
                subject_of(op),
                f"transpose {list(op.permutation)} stays",
                f"moves {size_text(byte_count(op.out))}, and nothing after it undoes it",
                byte_count(op.out) * -2,
            )
