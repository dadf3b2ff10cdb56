"""Definitions of softmax, the normalisations, gelu and rotary embedding."""

from __future__ import annotations

import math

from xdsl.ir import SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph import tensor_type
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.passes.graph.expand_composites.common import compute_type, mean, widened
from infini_ir.utils.symbolic import ONE, ZERO, Dim


def define_softmax(op: graph.SoftmaxOp, b: GraphBuilder) -> list[SSAValue]:
    """exp(x - max) over its sum; with log, x - max less the sum's logarithm."""
    x, axis = widened(b, op.x), op.axis.value.data
    shifted = b.sub(x, b.reduce("max", x, [axis], keep=True))
    weights = b.exp(shifted)
    total = b.reduce("sum", weights, [axis], keep=True)
    result = b.sub(shifted, b.log(total)) if op.log is not None else b.div(weights, total)
    return [b.cast(result, tensor_type(op.x).element)]


def define_layer_norm(op: graph.LayerNormOp, b: GraphBuilder) -> list[SSAValue]:
    """Two passes: the mean, then the mean square of the differences from it."""
    x = widened(b, op.x)
    axes = range(op.axis.value.data, tensor_type(x).rank)
    average = mean(b, x, axes)
    centred = b.sub(x, average)
    variance = mean(b, b.mul(centred, centred), axes)
    inverse = b.unary(graph.RsqrtOp, b.add(variance, op.epsilon.value.data))
    result = b.mul(centred, inverse)
    if op.scale is not None:
        result = b.mul(result, widened(b, op.scale))
    if op.bias is not None:
        result = b.add(result, widened(b, op.bias))
    return [b.cast(result, tensor_type(op.x).element), average, inverse]


def define_rms_norm(op: graph.RmsNormOp, b: GraphBuilder) -> list[SSAValue]:
    """x times the reciprocal root of its mean square."""
    x = widened(b, op.x)
    axes = range(op.axis.value.data, tensor_type(x).rank)
    square = b.add(mean(b, b.mul(x, x), axes), op.epsilon.value.data)
    result = b.mul(x, b.unary(graph.RsqrtOp, square))
    if op.scale is not None:
        result = b.mul(result, widened(b, op.scale))
    return [b.cast(result, tensor_type(op.x).element)]


def define_gelu(op: graph.GeluOp, b: GraphBuilder) -> list[SSAValue]:
    """x times the normal distribution function, by erf or by the tanh approximation."""
    x = widened(b, op.x)
    if op.tanh is not None:
        cubic = b.mul(b.mul(b.mul(x, x), x), 0.044715)
        bent = b.tanh(b.mul(b.add(x, cubic), math.sqrt(2 / math.pi)))
    else:
        bent = b.erf(b.mul(x, math.sqrt(0.5)))
    share = b.mul(b.add(bent, 1.0), 0.5)
    return [b.cast(b.mul(x, share), tensor_type(op.x).element)]


def define_rope(op: graph.RopeOp, b: GraphBuilder) -> list[SSAValue]:
    """Each pair turned by its angle; what lies after the pairs stays."""
    dtype = compute_type(op.x, op.cos, op.sin)
    x, cos, sin = (b.cast(value, dtype) for value in (op.x, op.cos, op.sin))
    shape, pairs = tensor_type(x).shape, tensor_type(cos).shape[-1]
    axis, width = len(shape) - 1, shape[-1]
    if op.interleaved is not None:
        first, second = _every_other(b, x, ZERO, pairs), _every_other(b, x, ONE, pairs)
    else:
        first = b.slice_axis(x, axis, 0, pairs)
        second = b.slice_axis(x, axis, pairs, pairs)
    turned = [
        b.sub(b.mul(first, cos), b.mul(second, sin)),
        b.add(b.mul(second, cos), b.mul(first, sin)),
    ]
    if op.interleaved is not None:
        joined = b.concat([b.unsqueeze(part, [axis + 1]) for part in turned], axis + 1)
        turned = [b.reshape(joined, [*shape[:-1], pairs * 2])]
    rest = width - pairs * 2
    if rest is not ZERO:
        turned.append(b.slice_axis(x, axis, pairs * 2, rest))
    return [b.cast(b.concat(turned, axis), tensor_type(op.x).element)]


def _every_other(b: GraphBuilder, x: SSAValue, start: Dim, count: Dim) -> SSAValue:
    shape = tensor_type(x).shape
    rank = len(shape)
    starts = [*[ZERO] * (rank - 1), start]
    return b.slice(x, starts, [*shape[:-1], count], [*[1] * (rank - 1), 2])
