"""Recognise layer normalisation: (x - mean) / sqrt(mean((x - mean)^2) + e) * scale + bias."""

from __future__ import annotations

from xdsl.ir import SSAValue

from infini_ir.dialects.graph import AddOp, DivOp, LayerNormOp, MulOp, SubOp
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.passes.graph.matching import commuted, producer
from infini_ir.passes.graph.recognize.common import (
    affine_parameter,
    mean_of,
    normalized_by_root,
    plus_epsilon,
    square_of,
    trailing_axis,
)
from infini_ir.passes.graph.rules import is_unused


def layer_norm(op: MulOp | DivOp, b: GraphBuilder) -> SSAValue | None:
    """The normalisation itself, without scale and bias."""
    match = normalized_by_root(op)
    if match is None:
        return None
    centred, root = match
    shifted = plus_epsilon(root)
    variance = None if shifted is None else mean_of(shifted[0])
    if shifted is None or variance is None or square_of(variance[0]) is not centred:
        return None
    difference = producer(centred, SubOp)
    average = None if difference is None else mean_of(difference.rhs)
    if difference is None or average != (difference.lhs, variance[1]):
        return None
    axis = trailing_axis(variance[1], tensor_type(op.out).rank)
    if axis is None:
        return None
    return b.insert(LayerNormOp(difference.lhs, None, None, axis, shifted[1])).out


def _own_norm(value: SSAValue) -> LayerNormOp | None:
    norm = producer(value, LayerNormOp)
    if norm is None or not value.has_one_use() or norm.bias is not None:
        return None
    statistics_unused = norm.mean.first_use is None and norm.inverse_std.first_use is None
    return norm if statistics_unused and not is_unused(norm) else None


def scaled_layer_norm(op: MulOp, b: GraphBuilder) -> SSAValue | None:
    for value, factor in commuted(op):
        norm = _own_norm(value)
        if norm is None or norm.scale is not None:
            continue
        axis = norm.axis.value.data
        scale = affine_parameter(factor, tensor_type(value).shape, axis, b)
        if scale is not None:
            epsilon = norm.epsilon.value.data
            return b.insert(LayerNormOp(norm.x, scale, None, axis, epsilon)).out
    return None


def shifted_layer_norm(op: AddOp, b: GraphBuilder) -> SSAValue | None:
    for value, summand in commuted(op):
        norm = _own_norm(value)
        if norm is None:
            continue
        axis = norm.axis.value.data
        bias = affine_parameter(summand, tensor_type(value).shape, axis, b)
        if bias is not None:
            epsilon = norm.epsilon.value.data
            return b.insert(LayerNormOp(norm.x, norm.scale, bias, axis, epsilon)).out
    return None


LAYER_NORM_RULES = {
    DivOp: (layer_norm,),
    MulOp: (layer_norm, scaled_layer_norm),
    AddOp: (shifted_layer_norm,),
}
