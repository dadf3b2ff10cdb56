"""Direct rules of quantization and the integer matrix product (no expansion)."""

from __future__ import annotations

import numpy as np

from infini_ir.dialects import graph
from infini_ir.dialects.graph import tensor_type
from infini_ir.interpreters.graph.conversion import convert
from infini_ir.interpreters.graph.reducing import contraction_type, finish_contraction
from infini_ir.interpreters.graph.scope import Array, Rule, Scope, is_float_array
from infini_ir.utils import dtypes


def _aligned(parameter: Array, x: Array, op: graph.QuantizeOp | graph.DequantizeOp) -> Array:
    """Scales or zero points repeated so that they broadcast against x."""
    if op.axis is None:
        return parameter
    axis = op.axis.value.data
    if op.block is None:
        return parameter.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    positions = np.arange(x.shape[axis]) // op.block.value.data
    return np.take(parameter, positions, axis=axis)


def _quantize(op: graph.QuantizeOp, operands: list[Array], scope: Scope) -> Array:
    x, *parameters = operands
    dtype = scope.float_type(x, parameters[0])
    scale, *zero = (
        scope.widen(_aligned(parameter, x, op)).astype(dtype) for parameter in parameters
    )
    wanted = tensor_type(op.out).dtype
    result = scope.widen(x).astype(dtype) / scale
    if not dtypes.is_float(wanted):
        result = np.rint(result)
    if zero:
        result = result + zero[0]
    return convert(result, wanted, scope)


def _dequantize(op: graph.DequantizeOp, operands: list[Array], scope: Scope) -> Array:
    x, *parameters = operands
    dtype = scope.float_type(parameters[0])
    scale, *zero = (scope.widen(_aligned(parameter, x, op)) for parameter in parameters)
    difference = scope.widen(x)
    if not is_float_array(x):
        difference = difference.astype(np.int32)
    if zero:
        difference = difference - zero[0].astype(difference.dtype)
    result = difference.astype(dtype) * scale.astype(dtype)
    return convert(result, tensor_type(op.out).dtype, scope)


def _quantized_matmul(
    op: graph.QuantizedMatmulOp, operands: list[Array], scope: Scope
) -> Array:
    optional = iter(operands[2:])
    a, b = (x.astype(np.int32) for x in operands[:2])
    if op.a_zero is not None:
        zero = next(optional).astype(np.int32)
        a = a - (zero[:, None] if zero.ndim else zero)
    if op.b_zero is not None:
        b = b - next(optional).astype(np.int32)
    work = contraction_type(a, b, a.shape[-1])
    return finish_contraction(np.matmul(a.astype(work), b.astype(work)), "i32", scope)


RULES: dict[type, Rule] = {
    graph.QuantizeOp: _quantize,
    graph.DequantizeOp: _dequantize,
    graph.QuantizedMatmulOp: _quantized_matmul,
}
