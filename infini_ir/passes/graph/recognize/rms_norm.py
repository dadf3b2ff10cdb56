"""Recognise root-mean-square normalisation: x / sqrt(mean(x^2) + e) * scale."""

from __future__ import annotations

from xdsl.ir import SSAValue

from infini_ir.dialects.graph import DivOp, MulOp, RmsNormOp
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


def rms_norm(op: MulOp | DivOp, b: GraphBuilder) -> SSAValue | None:
    match = normalized_by_root(op)
    if match is None:
        return None
    x, root = match
    shifted = plus_epsilon(root)
    average = None if shifted is None else mean_of(shifted[0])
    if shifted is None or average is None or square_of(average[0]) is not x:
        return None
    axis = trailing_axis(average[1], tensor_type(op.out).rank)
    if axis is None:
        return None
    return b.insert(RmsNormOp(x, None, axis, shifted[1])).out


def scaled_rms_norm(op: MulOp, b: GraphBuilder) -> SSAValue | None:
    for value, factor in commuted(op):
        norm = producer(value, RmsNormOp)
        if norm is None or norm.scale is not None or not value.has_one_use():
            continue
        axis = norm.axis.value.data
        scale = affine_parameter(factor, tensor_type(value).shape, axis, b)
        if scale is not None:
            return b.insert(RmsNormOp(norm.x, scale, axis, norm.epsilon.value.data)).out
    return None


RMS_NORM_RULES = {DivOp: (rms_norm,), MulOp: (rms_norm, scaled_rms_norm)}
