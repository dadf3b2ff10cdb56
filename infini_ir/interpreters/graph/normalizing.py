"""Direct rules of softmax, normalisations, gelu and rotary embedding (no expansion)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from infini_ir.dialects import graph
from infini_ir.interpreters.graph.elementwise import erf
from infini_ir.interpreters.graph.reducing import reduce
from infini_ir.interpreters.graph.scope import Array, Rule, Scope


def _softmax(op: graph.SoftmaxOp, operands: list[Array], scope: Scope) -> Array:
    x, axis = scope.widen(operands[0]), op.axis.value.data
    shifted = x - reduce("max", x, [axis], keep=True)
    weights = np.exp(shifted)
    total = reduce("sum", weights, [axis], keep=True)
    result = shifted - np.log(total) if op.log is not None else weights / total
    return result.astype(operands[0].dtype, copy=False)


def _mean(x: Array, axes: Sequence[int]) -> Array:
    count = math.prod(x.shape[axis] for axis in axes)
    return reduce("sum", x, axes, keep=True) / x.dtype.type(count)


def _layer_norm(op: graph.LayerNormOp, operands: list[Array], scope: Scope) -> Sequence[Array]:
    x, *affine = map(scope.widen, operands)
    axes = range(op.axis.value.data, x.ndim)
    mean = _mean(x, axes)
    centred = x - mean
    inverse = 1 / np.sqrt(_mean(centred * centred, axes) + x.dtype.type(op.epsilon.value.data))
    result = centred * inverse
    if op.scale is not None:
        result = result * affine.pop(0)
    if op.bias is not None:
        result = result + affine.pop(0)
    return result.astype(operands[0].dtype, copy=False), mean, inverse


def _rms_norm(op: graph.RmsNormOp, operands: list[Array], scope: Scope) -> Array:
    x, *scale = map(scope.widen, operands)
    axes = range(op.axis.value.data, x.ndim)
    epsilon = x.dtype.type(op.epsilon.value.data)
    result = x / np.sqrt(_mean(x * x, axes) + epsilon)
    for factor in scale:
        result = result * factor
    return result.astype(operands[0].dtype, copy=False)


def _gelu(op: graph.GeluOp, operands: list[Array], scope: Scope) -> Array:
    x = scope.widen(operands[0])
    wide = x.astype(np.float64)
    if op.tanh is not None:
        inner = math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)
        share = 0.5 * (1 + np.tanh(inner))
    else:
        share = 0.5 * (1 + erf(wide / math.sqrt(2)))
    return (wide * share).astype(operands[0].dtype)


def _rope(op: graph.RopeOp, operands: list[Array], scope: Scope) -> Array:
    dtype = scope.float_type(*operands)
    x, cos, sin = (scope.widen(operand).astype(dtype, copy=False) for operand in operands)
    result, pairs = x.copy(), cos.shape[-1]
    if op.interleaved is not None:
        first, second = slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2)
    else:
        first, second = slice(0, pairs), slice(pairs, 2 * pairs)
    a, b = x[..., first], x[..., second]
    result[..., first] = a * cos - b * sin
    result[..., second] = b * cos + a * sin
    return result.astype(operands[0].dtype, copy=False)


RULES: dict[type, Rule] = {
    graph.SoftmaxOp: _softmax,
    graph.LayerNormOp: _layer_norm,
    graph.RmsNormOp: _rms_norm,
    graph.GeluOp: _gelu,
    graph.RopeOp: _rope,
}
