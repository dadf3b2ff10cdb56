"""Per-channel scales and shifts after a convolution or product, taken into its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from infini_ir.dialects.context import weights_of
from infini_ir.dialects.graph import (
    ELEMENTWISE_OPS,
    AddOp,
    ConvOp,
    DivOp,
    DotOp,
    Layout,
    MulOp,
    SubOp,
    channel_axis,
)  # fmt: skip
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.passes.graph.fold_constants import fold_constants
from infini_ir.passes.graph.matching import (
    aligned,
    commuted,
    is_float,
    is_stored,
    producer,
    strip_broadcast,
)
from infini_ir.passes.graph.rules import apply_rules, for_each, merged
from infini_ir.passes.graph.simplify_elementwise import compute_before_broadcast
from infini_ir.utils.symbolic import ONE, Dim

_T = TypeVar("_T", AddOp, MulOp)


@dataclass(frozen=True)
class GraphFoldBatchNormPass(ModulePass):
    """
    Fold what follows a convolution or product and is the same for all positions of a
    channel: a factor into the filters, a summand into the bias of the convolution.

    Runs after simplification, which leaves batch normalisation as one factor and one
    summand; the new filters and biases are derived weights.
    """

    name = "graph-fold-batch-norm"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        # A filter must be one weight again before the next factor can go into it.
        while apply_rules(op, BATCH_NORM_RULES):
            fold_constants(op, weights_of(ctx))


def per_channel(value: SSAValue, axis: int, b: GraphBuilder) -> SSAValue | None:
    """The stored vector, one element a channel, that is repeated to the value."""
    source = strip_broadcast(value)
    full = tensor_type(value).shape
    if not full or not is_stored(source):
        return None
    shape = aligned(tensor_type(source).shape, len(full))
    if any(size is not ONE for i, size in enumerate(shape) if i != axis):
        return None
    if full[axis].value is None:
        return None
    return b.broadcast_to(b.reshape(source, [shape[axis]]), [full[axis]])


def _along(vector: SSAValue, shape: Sequence[Dim], axis: int, b: GraphBuilder) -> SSAValue:
    """The vector repeated so that it varies along one axis of the shape."""
    column = [size if i == axis else ONE for i, size in enumerate(shape)]
    return b.broadcast_to(b.reshape(vector, column), shape)


def _conv_axis(conv: ConvOp) -> int:
    return channel_axis(conv.layout.data, tensor_type(conv.out).rank)


def _filter_axis(conv: ConvOp) -> int:
    first = conv.layout.data is Layout.channels_first
    return 0 if first else tensor_type(conv.w).rank - 1


def conv_with(conv: ConvOp, w: SSAValue, bias: SSAValue | None, b: GraphBuilder) -> SSAValue:
    """The same convolution with other weights."""
    return b.insert(conv.changed(conv.x, w, bias)).out


def _own_conv(value: SSAValue) -> ConvOp | None:
    """The convolution on stored floats that gives the value, to nobody else."""
    conv = producer(value, ConvOp)
    if conv is None or not value.has_one_use() or not is_float(value):
        return None
    if not is_stored(conv.w) or (conv.bias is not None and not is_stored(conv.bias)):
        return None
    return conv if tensor_type(conv.w).dtype == tensor_type(conv.out).dtype else None


def scale_conv(op: MulOp | DivOp, b: GraphBuilder) -> SSAValue | None:
    """conv(x, w, bias) * s is conv(x, w * s, bias * s)."""
    for value, factor in commuted(op) if isinstance(op, MulOp) else [(op.lhs, op.rhs)]:
        conv = _own_conv(value)
        if conv is None or (s := per_channel(factor, _conv_axis(conv), b)) is None:
            continue
        combine = b.mul if isinstance(op, MulOp) else b.div
        w = combine(conv.w, _along(s, tensor_type(conv.w).shape, _filter_axis(conv), b))
        return conv_with(conv, w, None if conv.bias is None else combine(conv.bias, s), b)
    return None


def shift_conv(op: AddOp | SubOp, b: GraphBuilder) -> SSAValue | None:
    """conv(x, w, bias) + t is conv(x, w, bias + t)."""
    for value, summand in commuted(op) if isinstance(op, AddOp) else [(op.lhs, op.rhs)]:
        conv = _own_conv(value)
        if conv is None or (t := per_channel(summand, _conv_axis(conv), b)) is None:
            continue
        if conv.bias is None:
            bias = t if isinstance(op, AddOp) else b.neg(t)
        else:
            bias = b.add(conv.bias, t) if isinstance(op, AddOp) else b.sub(conv.bias, t)
        return conv_with(conv, conv.w, bias, b)
    return None


def _own_dot(value: SSAValue) -> DotOp | None:
    """The product with a stored matrix, without batch axes, that gives the value."""
    dot = producer(value, DotOp)
    if dot is None or not value.has_one_use() or not is_float(value) or not is_stored(dot.rhs):
        return None
    if tensor_type(dot.rhs).dtype != tensor_type(dot.out).dtype or dot.batch[0]:
        return None
    return dot if len(dot.free()[1]) == 1 else None


def _scaled_dot(
    dot: DotOp, factor: SSAValue, divide: bool, b: GraphBuilder
) -> tuple[SSAValue, SSAValue] | None:
    """The product with its columns scaled, and the scales as a vector."""
    s = per_channel(factor, tensor_type(dot.out).rank - 1, b)
    if s is None:
        return None
    column = _along(s, tensor_type(dot.rhs).shape, dot.free()[1][0], b)
    rhs = b.div(dot.rhs, column) if divide else b.mul(dot.rhs, column)
    dtype = tensor_type(dot.out).dtype
    return b.dot(dot.lhs, rhs, contract=dot.contract, dtype=dtype), s


def scale_dot(op: MulOp | DivOp, b: GraphBuilder) -> SSAValue | None:
    """dot(x, w) * s is dot(x, w * s), and (dot(x, w) + t) * s is dot(x, w * s) + t * s."""
    divide = isinstance(op, DivOp)
    for value, factor in [(op.lhs, op.rhs)] if divide else commuted(op):
        dot = _own_dot(value)
        if dot is not None and (scaled := _scaled_dot(dot, factor, divide, b)) is not None:
            return scaled[0]
        shifted = producer(value, AddOp)
        if shifted is None or not value.has_one_use():
            continue
        for product, summand in commuted(shifted):
            dot = _own_dot(product)
            t = per_channel(summand, tensor_type(value).rank - 1, b)
            if dot is None or t is None:
                continue
            scaled = _scaled_dot(dot, factor, divide, b)
            if scaled is not None:
                return b.add(scaled[0], b.div(t, scaled[1]) if divide else b.mul(t, scaled[1]))
    return None


def _stored_operand(value: SSAValue, kind: type[_T]) -> tuple[SSAValue, SSAValue] | None:
    """(x, c) where the value is x + c or x * c with c stored, and used only here."""
    op = producer(value, kind)
    if op is None or not value.has_one_use() or not is_float(value):
        return None
    for x, constant in commuted(op):
        if is_stored(strip_broadcast(constant)):
            return x, constant
    return None


def merge_scales(op: MulOp, b: GraphBuilder) -> SSAValue | None:
    """(x * a) * c is x * (a * c), and (x * a + t) * c is x * (a * c) + t * c."""
    for value, factor in commuted(op):
        if not is_stored(strip_broadcast(factor)):
            continue
        scaled = _stored_operand(value, MulOp)
        if scaled is not None:
            return b.mul(scaled[0], b.mul(scaled[1], factor))
        shifted = _stored_operand(value, AddOp)
        scaled = None if shifted is None else _stored_operand(shifted[0], MulOp)
        if shifted is not None and scaled is not None:
            product = b.mul(scaled[0], b.mul(scaled[1], factor))
            return b.add(product, b.mul(shifted[1], factor))
    return None


def merge_shifts(op: AddOp, b: GraphBuilder) -> SSAValue | None:
    """(x + s) + t is x + (s + t)."""
    for value, summand in commuted(op):
        shifted = _stored_operand(value, AddOp)
        if shifted is not None and is_stored(strip_broadcast(summand)):
            return b.add(shifted[0], b.add(shifted[1], summand))
    return None


BATCH_NORM_RULES = merged(
    {
        MulOp: (scale_conv, scale_dot, merge_scales),
        DivOp: (scale_conv, scale_dot),
        AddOp: (shift_conv, merge_shifts),
        SubOp: (shift_conv,),
    },
    for_each(ELEMENTWISE_OPS, compute_before_broadcast),
)
