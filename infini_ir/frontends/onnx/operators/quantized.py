"""Operators on quantised values of onnxruntime's domain, as its quantizer writes them.

Each computes in f32 what its name says of the dequantised operands and quantises the result
(onnxruntime, "Contrib Operators"): com.microsoft:QLinearAdd, QLinearMul, QLinearSigmoid,
QLinearLeakyRelu, QLinearSoftmax, QLinearConcat, QLinearWhere, QLinearReduceMean,
QLinearAveragePool, QLinearGlobalAveragePool, QGemm, MatMulIntegerToFloat and
DynamicQuantizeMatMul.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.ir import SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.common import (
    as_scalar,
    axis_attribute,
    dtype_of,
    flattened,
    is_single,
    normalized_axis,
    rank_of,
    shape_of,
)
from infini_ir.frontends.onnx.operators.pooling import pooled, windows_of
from infini_ir.frontends.onnx.operators.positions import mean
from infini_ir.frontends.onnx.operators.quantization import (
    integer_product,
    integer_product_of,
    quantized_dynamically,
    single,
)
from infini_ir.frontends.onnx.registry import operator

MICROSOFT = "com.microsoft"


def _real(n: Node, i: int, scale: int, zero: int) -> SSAValue:
    """Operand `i` dequantised; the operands `scale` and `zero` are numbers of operands."""
    b = n.builder
    point = single(n, n.value(zero)) if n.has(zero) else None
    return b.insert(graph.DequantizeOp(n.value(i), single(n, n.value(scale)), point)).out


def _triple(n: Node, first: int) -> SSAValue:
    """Operand `first` dequantised by the two that follow it."""
    return _real(n, first, first + 1, first + 2)


def _quantized(n: Node, x: SSAValue, scale: int, zero: int, dtype: str) -> SSAValue:
    """A value quantised by operands; `dtype` where there is no zero point."""
    b = n.builder
    point = single(n, n.value(zero)) if n.has(zero) else None
    wanted = dtype if point is None else dtype_of(point)
    return b.insert(graph.QuantizeOp(x, single(n, n.value(scale)), point, wanted)).out


Binary = Callable[[GraphBuilder, SSAValue, SSAValue], SSAValue]


def _binary(formula: Binary) -> Callable[[Node], SSAValue]:
    def convert(n: Node) -> SSAValue:
        y = formula(n.builder, _triple(n, 0), _triple(n, 3))
        return _quantized(n, y, 6, 7, n.type(0).dtype)

    return convert


operator("QLinearAdd", domain=MICROSOFT)(_binary(lambda b, x, y: b.add(x, y)))
operator("QLinearMul", domain=MICROSOFT)(_binary(lambda b, x, y: b.mul(x, y)))


@operator("QLinearSigmoid", domain=MICROSOFT)
def sigmoid(n: Node) -> SSAValue:
    return _quantized(n, n.builder.sigmoid(_triple(n, 0)), 3, 4, n.type(0).dtype)


@operator("QLinearLeakyRelu", domain=MICROSOFT)
def leaky_relu(n: Node) -> SSAValue:
    b, x = n.builder, _triple(n, 0)
    slope = b.mul(x, n.attribute("alpha", 0.01))
    y = b.select(b.compare("lt", x, 0.0), slope, x)
    return _quantized(n, y, 3, 4, n.type(0).dtype)


@operator("QLinearSoftmax", domain=MICROSOFT)
def softmax(n: Node) -> SSAValue:
    """Before version 13 of ONNX's softmax all axes from `axis` on are one."""
    b, x = n.builder, _triple(n, 0)
    if n.attribute("opset", 13) >= 13:
        y = b.softmax(x, axis_attribute(n, -1, rank_of(x)))
    else:
        matrix = flattened(b, x, axis_attribute(n, 1, rank_of(x)))
        y = b.reshape(b.softmax(matrix, 1), shape_of(x))
    return _quantized(n, y, 3, 4, n.type(0).dtype)


@operator("QLinearConcat", domain=MICROSOFT)
def concat(n: Node) -> SSAValue:
    """The scale and zero point of the result come first."""
    pieces = [_triple(n, first) for first in range(2, n.count, 3)]
    axis = normalized_axis(n, n.required("axis"), rank_of(pieces[0]))
    return _quantized(n, n.builder.concat(pieces, axis), 0, 1, n.type(2).dtype)


@operator("QLinearWhere", domain=MICROSOFT)
def where(n: Node) -> SSAValue:
    y = n.builder.select(n.value(0), _triple(n, 1), _triple(n, 4))
    return _quantized(n, y, 7, 8, n.type(1).dtype)


@operator("QLinearReduceMean", domain=MICROSOFT)
def reduce_mean(n: Node) -> SSAValue:
    b, x = n.builder, _triple(n, 0)
    given: Sequence[int] = n.attribute("axes", None) or range(rank_of(x))
    axes = sorted(normalized_axis(n, axis, rank_of(x)) for axis in given)
    y = mean(b, x, axes)
    if not n.attribute("keepdims", 1):
        y = b.reshape(y, [size for i, size in enumerate(shape_of(y)) if i not in axes])
    return _quantized(n, y, 3, 4, n.type(0).dtype)


def _channels_first(n: Node, x: SSAValue) -> SSAValue:
    if n.attribute("channels_last", 0):
        raise n.error("channels_last is not supported; quantise with channels first")
    return x


@operator("QLinearAveragePool", domain=MICROSOFT)
def average_pool(n: Node) -> SSAValue:
    x = _channels_first(n, _triple(n, 0))
    found, hi = windows_of(n)
    y = pooled(n, "avg", x, found, hi, bool(n.attribute("count_include_pad", 0)))
    return _quantized(n, y, 3, 4, n.type(0).dtype)


@operator("QLinearGlobalAveragePool", domain=MICROSOFT)
def global_average_pool(n: Node) -> SSAValue:
    x = _channels_first(n, _triple(n, 0))
    y = mean(n.builder, x, range(2, rank_of(x)))
    return _quantized(n, y, 3, 4, n.type(0).dtype)


@operator("QGemm", domain=MICROSOFT)
def gemm(n: Node) -> SSAValue:
    """The bias is i32, in the scale of the products; without a scale the result is f32."""
    b = n.builder
    turned = [bool(n.attribute(name, 0)) for name in ("transA", "transB")]
    sides = [
        b.transpose(n.value(i), [1, 0]) if turn else n.value(i)
        for i, turn in zip((0, 3), turned, strict=True)
    ]
    y = integer_product_of(n, sides[0], sides[1], 2, 5)
    if n.has(6):
        y = b.add(y, n.value(6))
    scale = b.mul(single(n, n.value(1)), _per_column(b, n.value(4)))
    scale = b.mul(scale, n.attribute("alpha", 1.0))
    real = b.mul(b.cast(y, "f32"), scale)
    return _quantized(n, real, 7, 8, n.type(0).dtype) if n.has(7) else real


def _per_column(b: GraphBuilder, scale: SSAValue) -> SSAValue:
    return as_scalar(b, scale) if is_single(scale) else scale


@operator("MatMulIntegerToFloat", domain=MICROSOFT)
def integer_matmul_to_float(n: Node) -> SSAValue:
    b = n.builder
    scale = b.mul(_per_column(b, n.value(2)), _per_column(b, n.value(3)))
    y = b.mul(b.cast(integer_product(n, 0, 1, 4, 5), "f32"), scale)
    return b.add(y, n.value(6)) if n.has(6) else y


@operator("DynamicQuantizeMatMul", domain=MICROSOFT)
def dynamic_quantize_matmul(n: Node) -> SSAValue:
    b = n.builder
    x, scale, zero = quantized_dynamically(b, n.value(0))
    y = integer_product_of(n, x, n.value(1), zero, 3)
    y = b.mul(b.cast(y, "f32"), b.mul(scale, _per_column(b, n.value(2))))
    return b.add(y, n.value(4)) if n.has(4) else y
