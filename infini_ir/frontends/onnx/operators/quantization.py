"""Quantized values: conversion, integer products and convolutions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.ir import SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.integer_products import integer_conv, integer_dot
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.common import (
    as_scalar,
    dtype_named,
    dtype_of,
    is_single,
    normalized_axis,
    rank_of,
    shape_of,
    with_shape,
)
from infini_ir.frontends.onnx.operators.convolution import kernel_of
from infini_ir.frontends.onnx.operators.linear import (
    matrix_operands,
    product_of,
    same_batches,
    without_vectors,
)
from infini_ir.frontends.onnx.operators.spatial import spatial_attributes
from infini_ir.frontends.onnx.registry import operator
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import ONE


@dataclass(frozen=True)
class Scales:
    """Scales and zero points as the graph operations take them."""

    scale: SSAValue
    zero: SSAValue | None
    """None for floating-point types, which have no zero point but 0."""
    axis: int | None
    """The axis they belong to; None for one scale."""
    block: int
    """How many neighbours along the axis share one, or 0."""


def _scales(n: Node, x: SSAValue, scale: SSAValue, zero: SSAValue | None) -> Scales:
    """The scales of `x` by the attributes `axis` and `block_size`."""
    b, block = n.builder, n.attribute("block_size", 0)
    if zero is not None and dtypes.is_float(dtype_of(zero)):
        zero = None
    if not block and is_single(scale):
        zero = None if zero is None else as_scalar(b, zero)
        return Scales(as_scalar(b, scale), zero, None, 0)
    axis = normalized_axis(n, n.attribute("axis", 1), rank_of(x)) if rank_of(x) > 1 else 0
    size = shape_of(x)[axis]
    shape = [size]
    if block:
        shape = list(shape_of(x))
        shape[axis] = size.ceil_divide(block)
    zero = None if zero is None else with_shape(n, zero, shape)
    return Scales(with_shape(n, scale, shape), zero, axis, block)


def _precision(n: Node, scale: SSAValue) -> str:
    """The type to divide in."""
    code = n.attribute("precision", 0)
    return dtype_named(n, code) if code else dtype_of(scale)


def _quantized_type(n: Node, zero: SSAValue | None) -> str:
    code = n.attribute("output_dtype", 0)
    if code:
        return dtype_named(n, code)
    return "ui8" if zero is None else dtype_of(zero)


@operator("QuantizeLinear")
@operator("QuantizeLinear", domain="com.microsoft")
def quantize_linear(n: Node) -> SSAValue:
    b, x = n.builder, n.value(0)
    dtype = _quantized_type(n, n.optional(2))
    found = _scales(n, x, n.value(1), n.optional(2))
    inner = _precision(n, found.scale)
    x, scale = b.cast(x, inner), b.cast(found.scale, inner)
    if dtype.startswith("f8") and not n.attribute("saturate", 1):
        if found.block:
            raise n.error("saturate=0 with blocks of scales is not supported; use saturate=1")
        if found.axis is not None:
            scale = b.unsqueeze(scale, list(range(1, rank_of(x) - found.axis)))
        return b.cast(b.div(x, scale), dtype, saturate=False)
    op = graph.QuantizeOp(x, scale, found.zero, dtype, axis=found.axis, block=found.block)
    return b.insert(op).out


@operator("DequantizeLinear")
@operator("DequantizeLinear", domain="com.microsoft")
def dequantize_linear(n: Node) -> SSAValue:
    x, code = n.value(0), n.attribute("output_dtype", 0)
    found = _scales(n, x, n.value(1), n.optional(2))
    dtype = dtype_named(n, code) if code else dtype_of(found.scale)
    op = graph.DequantizeOp(
        x, found.scale, found.zero, axis=found.axis, block=found.block, dtype=dtype
    )
    return n.builder.insert(op).out


@operator("DynamicQuantizeLinear")
def dynamic_quantize_linear(n: Node) -> list[SSAValue]:
    return quantized_dynamically(n.builder, n.value(0))


def quantized_dynamically(b: GraphBuilder, x: SSAValue) -> list[SSAValue]:
    """A value as u8 over its range, the scale and the zero point. The range always includes
    0, so that 0 has an exact quantized value."""
    axes = list(range(rank_of(x)))
    low = b.min(b.reduce("min", x, axes), 0)
    high = b.max(b.reduce("max", x, axes), 0)
    scale = b.div(b.sub(high, low), 255)
    zero = b.round(b.div(b.neg(low), scale))
    zero = b.cast(b.min(b.max(zero, 0), 255), "ui8")
    return [b.insert(graph.QuantizeOp(x, scale, zero, "ui8")).out, scale, zero]


def integer_product(
    n: Node, left: int, right: int, left_zero: int, right_zero: int
) -> SSAValue:
    """(left - zero) (right - zero) in i32 by the rules of MatMul, given the numbers of the
    operands and of their zero points."""
    return integer_product_of(n, n.value(left), n.value(right), left_zero, right_zero)


def integer_product_of(
    n: Node, left: SSAValue, right: SSAValue, left_zero: int | SSAValue, right_zero: int
) -> SSAValue:
    """The same of values; a zero point is the number of an operand, or a value."""
    given = left_zero if isinstance(left_zero, SSAValue) else _zero_point(n, left_zero)
    zeros = given, _zero_point(n, right_zero)
    if any(zero is not None and rank_of(zero) > 1 for zero in zeros):
        b = n.builder
        return product_of(n, _centered(b, left, zeros[0]), _centered(b, right, zeros[1]))
    left, right, row, column = matrix_operands(n, left, right)
    y = _byte_product(n.builder, (left, right), zeros)
    return without_vectors(n.builder, y, row, column)


def _byte_product(
    b: GraphBuilder,
    operands: tuple[SSAValue, SSAValue],
    zeros: tuple[SSAValue | None, SSAValue | None],
) -> SSAValue:
    """As `integer_product`, of (batches of) matrices with zero points a row and a column."""
    left, right = operands
    if rank_of(right) > 2:
        left, right = same_batches(b, left, right)
    rank = rank_of(left)
    batch = range(rank - 2) if rank_of(right) > 2 else ()
    left_zero, right_zero = zeros
    if left_zero is not None:
        left_zero = _at_axis(b, left_zero, rank - 2, rank)
    if right_zero is not None:
        right_zero = _at_axis(b, right_zero, rank_of(right) - 1, rank_of(right))
    return integer_dot(
        b,
        (left, right),
        (left_zero, right_zero),
        batch=(batch, batch),
        contract=([rank - 1], [rank_of(right) - 2]),
    )


def _at_axis(b: GraphBuilder, value: SSAValue, axis: int, rank: int) -> SSAValue:
    """A scalar, or a vector along an axis, with a rank."""
    shape = [ONE] * rank
    if rank_of(value):
        shape[axis] = shape_of(value)[0]
    return b.reshape(value, shape)


def _zero_point(n: Node, i: int) -> SSAValue | None:
    """Operand `i`, one value a scalar; None where it is absent or known as 0."""
    known = n.known(i)
    if not n.has(i) or (known is not None and not np.any(known)):
        return None
    zero = n.value(i)
    return as_scalar(n.builder, zero) if is_single(zero) else zero


def _centered(b: GraphBuilder, x: SSAValue, zero: SSAValue | None) -> SSAValue:
    x = b.cast(x, "i32")
    return x if zero is None else b.sub(x, b.cast(zero, "i32"))


@operator("MatMulInteger")
def matmul_integer(n: Node) -> SSAValue:
    return integer_product(n, 0, 1, 2, 3)


def _per_row(b: GraphBuilder, scale: SSAValue) -> SSAValue:
    """Scales of the left operand, one a row, so that they repeat over columns."""
    if is_single(scale):
        return as_scalar(b, scale)
    return b.unsqueeze(scale, [1]) if rank_of(scale) == 1 else scale


def _per_column(b: GraphBuilder, scale: SSAValue) -> SSAValue:
    return as_scalar(b, scale) if is_single(scale) else scale


def requantized(
    n: Node, y: SSAValue, scale: SSAValue, out_scale: SSAValue, out_zero: SSAValue
) -> SSAValue:
    """Accumulated products times their scale, quantized anew, all in f32."""
    b = n.builder
    real = b.mul(b.cast(y, "f32"), scale)
    out_scale = b.cast(single(n, out_scale), "f32")
    zero = None if dtypes.is_float(dtype_of(out_zero)) else single(n, out_zero)
    return b.insert(graph.QuantizeOp(real, out_scale, zero, dtype_of(out_zero))).out


def single(n: Node, x: SSAValue) -> SSAValue:
    """A value that must have one element, as a scalar."""
    return as_scalar(n.builder, with_shape(n, x, [ONE] * rank_of(x)))


@operator("QLinearMatMul")
def quantized_linear_matmul(n: Node) -> SSAValue:
    b, left, right = n.builder, n.value(0), n.value(3)
    if dtypes.is_float(dtype_of(left)):
        y = product_of(n, b.cast(left, "f32"), b.cast(right, "f32"))
    else:
        y = integer_product(n, 0, 3, 2, 5)
    left_scale = b.cast(_per_row(b, n.value(1)), "f32")
    right_scale = b.cast(_per_column(b, n.value(4)), "f32")
    scale = b.mul(left_scale, right_scale)
    return requantized(n, y, scale, n.value(6), n.value(7))


def _integer_convolution(
    n: Node, at: int, x_zero: int, w_zero: int, bias: int | None = None
) -> SSAValue:
    """The convolution of (x - zero) with (w - zero) in i32; the filters are operand `at`."""
    x, w = n.value(0), n.value(at)
    found = spatial_attributes(n, shape_of(x)[2:], kernel_of(n, at))
    op = graph.ConvOp(
        x,
        w,
        groups=n.attribute("group", 1),
        strides=found.strides,
        dilations=found.dilations,
        lo=found.lo,
        hi=found.hi,
        dtype="i32",
    )
    known = n.known(x_zero)
    if known is not None and known.size == 1:
        zero = int(known.reshape(-1)[0])
    else:
        zero = single(n, n.value(x_zero)) if n.has(x_zero) else None
    added = None if bias is None else n.optional(bias)
    return integer_conv(n.builder, op, zero, _zero_point(n, w_zero), added)


def _per_filter(b: GraphBuilder, value: SSAValue, rank: int, axis: int) -> SSAValue:
    """A value a filter, so that it repeats over a tensor whose `axis` is the filters'."""
    if is_single(value):
        return as_scalar(b, value)
    return b.unsqueeze(value, list(range(1, rank - axis)))


@operator("ConvInteger")
def convolution_integer(n: Node) -> SSAValue:
    return _integer_convolution(n, 1, 2, 3)


@operator("QLinearConv")
def quantized_linear_convolution(n: Node) -> SSAValue:
    """The bias, in i32, has the scale of the products."""
    b = n.builder
    y = _integer_convolution(n, 3, 2, 5, 8)
    w_scale = _per_filter(b, n.value(4), rank_of(y), 1)
    scale = b.mul(single(n, n.value(1)), w_scale)
    return requantized(n, y, scale, n.value(6), n.value(7))
