"""Normalization operators."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.composites import LayerNormOp, RmsNormOp
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.common import (
    dtype_named,
    dtype_of,
    normalized_axis,
    repeated,
)
from infini_ir.frontends.onnx.operators.positions import (
    accumulating,
    axes_of,
    mean,
    quotient,
    with_sizes,
)
from infini_ir.frontends.onnx.registry import operator
from infini_ir.utils.symbolic import ONE, Dim, product

EPSILON = 1e-5


def _per_channel(n: Node, i: int, dtype: str) -> SSAValue:
    """Operand `i`, one value a channel, with size-1 axes for the spatial ones."""
    b = n.builder
    ones = [ONE] * max(n.type(0).rank - 2, 0)
    value = b.cast(n.value(i), dtype)
    return b.reshape(value, [*tensor_type(value).shape, *ones])


@operator("BatchNormalization")
def batch_normalization(n: Node) -> Sequence[SSAValue | None]:
    b = n.builder
    if not n.attribute("spatial", 1):
        raise n.error("spatial=0 (statistics of each element) is not supported")
    if n.opset >= 14 and n.attribute("training_mode", 0):
        return _batch_training(n)
    x = accumulating(b, n.value(0))
    scale, bias, average, variance = (_per_channel(n, i, dtype_of(x)) for i in range(1, 5))
    deviation = b.sqrt(b.add(variance, n.attribute("epsilon", EPSILON)))
    factor = b.div(scale, deviation)
    # One factor and one shift, which fold into a convolution before.
    shift = b.sub(bias, b.mul(average, factor))
    result = b.cast(b.add(b.mul(x, factor), shift), n.type(0).dtype)
    return [result, *[None] * (len(n.outputs) - 1)]


def _batch_training(n: Node) -> list[SSAValue | None]:
    """Normalise by the batch's own statistics and move the running ones towards them."""
    b = n.builder
    x = accumulating(b, n.value(0))
    dtype = dtype_of(x)
    axes = [axis for axis in range(n.type(0).rank) if axis != 1]
    average = mean(b, x, axes)
    centred = b.sub(x, average)
    variance = mean(b, b.mul(centred, centred), axes)
    deviation = b.sqrt(b.add(variance, n.attribute("epsilon", EPSILON)))
    scaled = b.mul(b.div(centred, deviation), _per_channel(n, 1, dtype))
    result = b.cast(b.add(scaled, _per_channel(n, 2, dtype)), n.type(0).dtype)
    momentum = n.attribute("momentum", 0.9)
    running: list[SSAValue | None] = []
    for i, current in ((3, average), (4, variance)):
        old = b.mul(b.cast(n.value(i), dtype), momentum)
        new = b.mul(b.reshape(current, n.type(i).shape), 1.0 - momentum)
        running.append(b.cast(b.add(old, new), n.type(i).dtype))
    return [result, *running, *[None] * (len(n.outputs) - 3)][: len(n.outputs)]


def _standardized(b: GraphBuilder, x: SSAValue, axis: int, epsilon: float) -> SSAValue:
    return b.insert(LayerNormOp(x, None, None, axis, epsilon)).out


@operator("InstanceNormalization")
def instance_normalization(n: Node) -> SSAValue:
    b, kind = n.builder, n.type(0)
    x = accumulating(b, n.value(0))
    flat = b.reshape(x, [*kind.shape[:2], product(kind.shape[2:])])
    flat = _standardized(b, flat, 2, n.attribute("epsilon", EPSILON))
    normal, dtype = b.reshape(flat, kind.shape), dtype_of(x)
    scaled = b.mul(normal, _per_channel(n, 1, dtype))
    return b.cast(b.add(scaled, _per_channel(n, 2, dtype)), kind.dtype)


@operator("GroupNormalization", since=18)
def group_normalization(n: Node) -> SSAValue:
    b, kind = n.builder, n.type(0)
    groups = n.required("num_groups")
    channels = quotient(n, kind.shape[1], groups)
    x = accumulating(b, n.value(0))
    dtype = dtype_of(x)
    grouped = [kind.shape[0], Dim.of(groups), channels * product(kind.shape[2:])]
    normal = _standardized(b, b.reshape(x, grouped), 2, n.attribute("epsilon", EPSILON))
    if n.opset >= 21:
        normal = b.reshape(normal, kind.shape)
        scale, bias = (_per_channel(n, i, dtype) for i in (1, 2))
    else:
        scale, bias = (
            b.reshape(b.cast(n.value(i), dtype), [Dim.of(groups), ONE]) for i in (1, 2)
        )
    result = b.reshape(b.add(b.mul(normal, scale), bias), kind.shape)
    return b.cast(result, kind.dtype)


def _fitted(n: Node, axis: int, count: int) -> list[SSAValue]:
    """Operand 0 and its `count` parameters, those repeated to its axes from `axis` on.

    None of them where one has more axes.
    """
    b, shape = n.builder, n.type(0).shape
    given = [i for i in range(1, count + 1) if n.has(i)]
    if any(n.type(i).rank > len(shape) - axis for i in given):
        return [n.value(0)]
    inner = b.common_shape([shape[axis:], *(n.type(i).shape for i in given)])
    x = with_sizes(n, n.value(0), [*shape[:axis], *inner])
    return [x, *(repeated(b, n.value(i), inner) for i in given)]


@operator("LayerNormalization", since=17)
def layer_normalization(n: Node) -> Sequence[SSAValue]:
    b, kind = n.builder, n.type(0)
    axis = normalized_axis(n, n.attribute("axis", -1), kind.rank)
    epsilon = n.attribute("epsilon", EPSILON)
    x, *parameters = _fitted(n, axis, 2)
    scale, bias = (*parameters, None, None)[:2]
    op = b.insert(LayerNormOp(x, scale, bias, axis, epsilon))
    result: SSAValue = op.out
    if scale is None:
        result = b.mul(result, n.value(1))
        result = b.add(result, n.value(2)) if n.has(2) else result
    stash = dtype_named(n, n.attribute("stash_type", 1))
    return [result, b.cast(op.mean, stash), b.cast(op.inverse_std, stash)][: len(n.outputs)]


@operator("RMSNormalization", since=23)
def rms_normalization(n: Node) -> SSAValue:
    b, kind = n.builder, n.type(0)
    axis = normalized_axis(n, n.attribute("axis", -1), kind.rank)
    x, *scales = _fitted(n, axis, 1)
    epsilon = n.attribute("epsilon", EPSILON)
    if scales and n.type(1).dtype == kind.dtype:
        return b.insert(RmsNormOp(x, scales[0], axis, epsilon)).out
    normal = b.insert(RmsNormOp(x, None, axis, epsilon)).out
    return b.mul(b.cast(normal, n.type(1).dtype), n.value(1))


@operator("MeanVarianceNormalization", since=9)
def mean_variance_normalization(n: Node) -> SSAValue:
    b, kind = n.builder, n.type(0)
    axes = axes_of(n, n.attribute("axes", [0, 2, 3]), kind.rank)
    x = accumulating(b, n.value(0))
    average = mean(b, x, axes)
    variance = b.sub(mean(b, b.mul(x, x), axes), b.mul(average, average))
    deviation = b.add(b.sqrt(variance), 1e-9)
    return b.cast(b.div(b.sub(x, average), deviation), kind.dtype)


@operator("LpNormalization")
def lp_normalization(n: Node) -> SSAValue:
    b, kind = n.builder, n.type(0)
    axis = normalized_axis(n, n.attribute("axis", -1), kind.rank)
    p = n.attribute("p", 2)
    if p not in (1, 2):
        raise n.error(f"p is 1 or 2, not {p}")
    x = accumulating(b, n.value(0))
    terms = b.abs(x) if p == 1 else b.mul(x, x)
    norm = b.reduce("sum", terms, [axis], keep=True)
    norm = norm if p == 1 else b.sqrt(norm)
    result = b.select(b.compare("eq", norm, 0.0), 0.0, b.div(x, norm))
    return b.cast(result, kind.dtype)
