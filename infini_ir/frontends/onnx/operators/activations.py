"""Activation functions, softmax and its kin."""

from __future__ import annotations

from xdsl.ir import SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.common import (
    axis_attribute,
    computed_wide,
    dtype_of,
    flattened,
    rank_of,
    shape_of,
)
from infini_ir.frontends.onnx.registry import operator


@operator("Relu")
def relu(n: Node) -> SSAValue:
    return n.builder.max(n.value(0), 0)


@operator("LeakyRelu")
def leaky_relu(n: Node) -> SSAValue:
    b, x = n.builder, n.value(0)
    return b.select(b.compare("lt", x, 0), b.mul(x, n.attribute("alpha", 0.01)), x)


@operator("PRelu")
def parametric_relu(n: Node) -> SSAValue:
    """`axis` marks a model converted from before opset 7: a list of slopes is one a channel."""
    b, x, slope = n.builder, n.value(0), n.value(1)
    if n.has_attribute("axis") and rank_of(slope) == 1:
        slope = b.unsqueeze(slope, list(range(1, rank_of(x) - 1)))
    return b.select(b.compare("lt", x, 0), b.mul(x, slope), x)


@operator("Elu")
def elu(n: Node) -> SSAValue:
    return _elu(n, alpha=n.attribute("alpha", 1.0), gamma=1.0)


@operator("Selu")
def selu(n: Node) -> SSAValue:
    alpha = n.attribute("alpha", 1.67326319217681884765625)
    return _elu(n, alpha=alpha, gamma=n.attribute("gamma", 1.05070102214813232421875))


def _elu(n: Node, alpha: float, gamma: float) -> SSAValue:
    b = n.builder

    def formula(x: SSAValue) -> SSAValue:
        low = b.mul(b.expm1(x), alpha) if alpha != 1 else b.expm1(x)
        y = b.select(b.compare("le", x, 0), low, x)
        return b.mul(y, gamma) if gamma != 1 else y

    return computed_wide(b, formula, n.value(0))


@operator("Celu")
def celu(n: Node) -> SSAValue:
    b, alpha = n.builder, n.attribute("alpha", 1.0)

    def formula(x: SSAValue) -> SSAValue:
        low = b.mul(b.expm1(b.div(x, alpha)), alpha)
        return b.add(b.max(x, 0), b.min(low, 0))

    return computed_wide(b, formula, n.value(0))


@operator("ThresholdedRelu")
def thresholded_relu(n: Node) -> SSAValue:
    b, x = n.builder, n.value(0)
    return b.select(b.compare("gt", x, n.attribute("alpha", 1.0)), x, 0)


@operator("Sigmoid")
def sigmoid(n: Node) -> SSAValue:
    return n.builder.sigmoid(n.value(0))


def hard_sigmoid_of(b: GraphBuilder, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    """max(0, min(1, alpha * x + beta))."""
    return b.max(b.min(b.add(b.mul(x, alpha), beta), 1), 0)


@operator("HardSigmoid")
def hard_sigmoid(n: Node) -> SSAValue:
    b, alpha, beta = n.builder, n.attribute("alpha", 0.2), n.attribute("beta", 0.5)
    return computed_wide(b, lambda x: hard_sigmoid_of(b, x, alpha, beta), n.value(0))


@operator("HardSwish")
def hard_swish(n: Node) -> SSAValue:
    b = n.builder
    return computed_wide(b, lambda x: b.mul(x, hard_sigmoid_of(b, x, 1 / 6, 0.5)), n.value(0))


def softplus_of(b: GraphBuilder, x: SSAValue) -> SSAValue:
    """log(1 + exp(x)) without overflow."""
    return b.add(b.max(x, 0), b.log1p(b.exp(b.neg(b.abs(x)))))


@operator("Softplus")
def softplus(n: Node) -> SSAValue:
    return computed_wide(n.builder, lambda x: softplus_of(n.builder, x), n.value(0))


def softsign_of(b: GraphBuilder, x: SSAValue) -> SSAValue:
    """x / (1 + |x|)."""
    return b.div(x, b.add(b.abs(x), 1))


@operator("Softsign")
def softsign(n: Node) -> SSAValue:
    return computed_wide(n.builder, lambda x: softsign_of(n.builder, x), n.value(0))


@operator("Mish")
def mish(n: Node) -> SSAValue:
    b = n.builder
    return computed_wide(b, lambda x: b.mul(x, b.tanh(softplus_of(b, x))), n.value(0))


def _swish(b: GraphBuilder, x: SSAValue, alpha: float) -> SSAValue:
    return b.mul(x, b.sigmoid(b.mul(x, alpha) if alpha != 1 else x))


@operator("Swish")
def swish(n: Node) -> SSAValue:
    b, alpha = n.builder, n.attribute("alpha", 1.0)
    return computed_wide(b, lambda x: _swish(b, x, alpha), n.value(0))


@operator("SwiGLU")
def swiglu(n: Node) -> SSAValue:
    b, alpha = n.builder, n.attribute("alpha", 1.0)
    return computed_wide(b, lambda x, y: b.mul(_swish(b, x, alpha), y), n.value(0), n.value(1))


@operator("Gelu")
def gelu(n: Node) -> SSAValue:
    tanh = n.attribute("approximate", "none") == "tanh"
    return n.builder.insert(graph.GeluOp(n.value(0), tanh=tanh)).out


@operator("Shrink")
def shrink(n: Node) -> SSAValue:
    b, bias, bound = n.builder, n.attribute("bias", 0.0), n.attribute("lambd", 0.5)

    def formula(x: SSAValue) -> SSAValue:
        high = b.select(b.compare("gt", x, bound), b.sub(x, bias), 0)
        return b.select(b.compare("lt", x, -bound), b.add(x, bias), high)

    return computed_wide(b, formula, n.value(0))


def _softmax(n: Node, *, log: bool) -> SSAValue:
    """Before opset 13 the operand is a matrix, all axes from `axis` on being its rows."""
    b, x = n.builder, n.value(0)
    rank = rank_of(x)
    if n.opset >= 13:
        return b.softmax(x, axis_attribute(n, -1, rank), log=log)
    axis = axis_attribute(n, 1, rank) if rank > 1 else 0
    if axis == rank - 1:
        return b.softmax(x, axis, log=log)
    return b.reshape(b.softmax(flattened(b, x, axis), 1, log=log), shape_of(x))


@operator("Softmax")
def softmax(n: Node) -> SSAValue:
    return _softmax(n, log=False)


@operator("LogSoftmax")
def log_softmax(n: Node) -> SSAValue:
    return _softmax(n, log=True)


@operator("Hardmax")
def hardmax(n: Node) -> SSAValue:
    """1 at the first of the largest elements."""
    b, x = n.builder, n.value(0)
    rank, shape = rank_of(x), shape_of(x)
    axis = axis_attribute(n, -1 if n.opset >= 13 else 1, rank)
    if n.opset < 13:
        x, axis = flattened(b, x, axis), 1
    place = b.arg_reduce("max", x, axis, keep=True)
    hit = b.compare("eq", b.iota(shape_of(x), "i64", axis), place)
    return b.reshape(b.cast(hit, dtype_of(x)), shape)
