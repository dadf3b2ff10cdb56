"""Definitions of topk, quantization and the integer matrix product."""

from __future__ import annotations

from xdsl.ir import SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph import tensor_type
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.integer_products import integer_dot
from infini_ir.passes.graph.expand_composites.common import (
    along_axis,
    compute_type,
)
from infini_ir.passes.graph.matching import splat
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import ONE, Dim


def define_topk(op: graph.TopkOp, b: GraphBuilder) -> list[SSAValue]:
    """The head of a stable sort that carries positions along."""
    axis, shape = op.axis.value.data, tensor_type(op.x).shape
    positions = b.iota(shape, "i64", axis)
    ordered = b.sort([op.x, positions], axis, descending=op.largest is not None)
    k = tensor_type(op.values).shape[axis]
    return [b.slice_axis(value, axis, 0, k) for value in ordered]


def _aligned(
    b: GraphBuilder, parameter: SSAValue, op: graph.QuantizeOp | graph.DequantizeOp
) -> SSAValue:
    """Scales or zero points in a shape that repeats to that of x."""
    x = tensor_type(op.x)
    if op.axis is None:
        return parameter
    axis = op.axis.value.data
    if op.block is None:
        return along_axis(b, parameter, axis, x.rank)
    block = Dim.of(op.block.value.data)
    shape = list(tensor_type(parameter).shape)
    split = [*shape[: axis + 1], ONE, *shape[axis + 1 :]]
    repeated = [*shape[: axis + 1], block, *shape[axis + 1 :]]
    merged = [*shape[:axis], shape[axis] * block, *shape[axis + 1 :]]
    lines = b.reshape(b.broadcast_to(b.reshape(parameter, split), repeated), merged)
    return b.slice_axis(lines, axis, 0, x.shape[axis])


def define_quantize(op: graph.QuantizeOp, b: GraphBuilder) -> list[SSAValue]:
    """cast(round(x / scale) + zero), saturating; a float result rounds in the cast only."""
    wanted = tensor_type(op.out)
    dtype = compute_type(op.x, op.scale)
    result = b.cast(op.x, dtype)
    if splat(op.scale) != 1:
        result = b.div(result, b.cast(_aligned(b, op.scale, op), dtype))
    if not dtypes.is_float(wanted.dtype):
        result = b.round(result)
    if op.zero is not None:
        result = b.add(result, b.cast(_aligned(b, op.zero, op), dtype))
    return [b.cast(result, wanted.element)]


def define_dequantize(op: graph.DequantizeOp, b: GraphBuilder) -> list[SSAValue]:
    """(x - zero) * scale; integers subtract in i32."""
    dtype = compute_type(op.scale)
    exact = dtype if dtypes.is_float(tensor_type(op.x).dtype) else "i32"
    difference = b.cast(op.x, exact)
    if op.zero is not None:
        difference = b.sub(difference, b.cast(_aligned(b, op.zero, op), exact))
    scale = b.cast(_aligned(b, op.scale, op), dtype)
    return [b.cast(b.mul(b.cast(difference, dtype), scale), tensor_type(op.out).element)]


def define_quantized_matmul(op: graph.QuantizedMatmulOp, b: GraphBuilder) -> list[SSAValue]:
    """
    The product of the 8-bit operands, corrected by their sums:
    a b - a_zero sum(b) - b_zero sum(a) + K a_zero b_zero, all modulo 2**32.
    """
    last = tensor_type(op.a).rank - 1
    batch = list(range(last - 1))
    zeros = (
        None if op.a_zero is None else _zeros(b, op.a_zero, last - 1, last + 1),
        None if op.b_zero is None else _zeros(b, op.b_zero, last, last + 1),
    )
    contract = [last], [last - 1]
    return [integer_dot(b, (op.a, op.b), zeros, batch=(batch, batch), contract=contract)]


def _zeros(b: GraphBuilder, zero: SSAValue, axis: int, rank: int) -> SSAValue:
    """A scalar, or a vector along an axis, with a rank."""
    if tensor_type(zero).rank:
        return along_axis(b, zero, axis, rank)
    return b.reshape(zero, [ONE] * rank)
