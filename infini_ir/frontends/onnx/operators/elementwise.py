"""Elementwise arithmetic, comparisons and logic."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce

from xdsl.ir import SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.common import (
    as_scalar,
    computed_wide,
    dtype_of,
    is_single,
)
from infini_ir.frontends.onnx.registry import operator
from infini_ir.utils import dtypes

UNARY: dict[str, type[graph.UnaryOp]] = {
    "Floor": graph.FloorOp,
    "Ceil": graph.CeilOp,
    "Round": graph.RoundOp,
    "Sqrt": graph.SqrtOp,
    "Exp": graph.ExpOp,
    "Log": graph.LogOp,
    "Sin": graph.SinOp,
    "Cos": graph.CosOp,
    "Tan": graph.TanOp,
    "Tanh": graph.TanhOp,
    "Neg": graph.NegOp,
    "Not": graph.NotOp,
    "BitwiseNot": graph.NotOp,
}
"""Operators that are one graph operation of their operand."""

BINARY: dict[str, type[graph.BinaryOp]] = {
    "Add": graph.AddOp,
    "Sub": graph.SubOp,
    "Mul": graph.MulOp,
    "Div": graph.DivOp,
    "And": graph.AndOp,
    "Or": graph.OrOp,
    "Xor": graph.XorOp,
    "BitwiseAnd": graph.AndOp,
    "BitwiseOr": graph.OrOp,
    "BitwiseXor": graph.XorOp,
}
"""Operators that are one graph operation of their two operands."""

COMPARISONS = {
    "Equal": "eq",
    "Less": "lt",
    "LessOrEqual": "le",
    "Greater": "gt",
    "GreaterOrEqual": "ge",
}
"""Operators that compare, and the predicate of each."""


def _unary(op: type[graph.UnaryOp]) -> Callable[[Node], SSAValue]:
    return lambda n: n.builder.unary(op, n.value(0))


def _binary(op: type[graph.BinaryOp]) -> Callable[[Node], SSAValue]:
    return lambda n: n.builder.binary(op, n.value(0), n.value(1))


def _comparison(predicate: str) -> Callable[[Node], SSAValue]:
    return lambda n: n.builder.compare(predicate, n.value(0), n.value(1))


for _name, _op in UNARY.items():
    operator(_name)(_unary(_op))
for _name, _op in BINARY.items():
    operator(_name)(_binary(_op))
for _name, _predicate in COMPARISONS.items():
    operator(_name)(_comparison(_predicate))


@operator("Abs")
def absolute(n: Node) -> SSAValue:
    x = n.value(0)
    return x if dtypes.is_unsigned(dtype_of(x)) else n.builder.abs(x)


@operator("Sign")
def sign(n: Node) -> SSAValue:
    b, x = n.builder, n.value(0)
    positive = b.compare("gt", x, 0)
    if dtypes.is_unsigned(dtype_of(x)):
        return b.cast(positive, dtype_of(x))
    return b.select(positive, 1, b.select(b.compare("lt", x, 0), -1, x))


@operator("Reciprocal")
def reciprocal(n: Node) -> SSAValue:
    return n.builder.div(1, n.value(0))


@operator("Erf")
def erf(n: Node) -> SSAValue:
    return computed_wide(n.builder, n.builder.erf, n.value(0))


@operator("Asin")
def arc_sine(n: Node) -> SSAValue:
    b = n.builder
    return computed_wide(b, lambda x: b.atan2(x, _opposite_leg(b, x)), n.value(0))


@operator("Acos")
def arc_cosine(n: Node) -> SSAValue:
    b = n.builder
    return computed_wide(b, lambda x: b.atan2(_opposite_leg(b, x), x), n.value(0))


def _opposite_leg(b: GraphBuilder, x: SSAValue) -> SSAValue:
    """sqrt(1 - x * x), accurate near 1."""
    return b.sqrt(b.mul(b.sub(1, x), b.add(1, x)))


@operator("Atan")
def arc_tangent(n: Node) -> SSAValue:
    b = n.builder
    return computed_wide(b, lambda x: b.atan2(x, 1), n.value(0))


_FAR = 80.0
"""From here on half of e**x is the hyperbolic sine and cosine, and e**x will soon overflow."""


def _half_exp(b: GraphBuilder, x: SSAValue) -> SSAValue:
    """Half of e**x above `_FAR`, where 1 comes off exactly; infinite only where the half is."""
    return b.mul(b.exp(b.sub(x, 1)), math.e / 2)


def _with_sign_of(b: GraphBuilder, x: SSAValue, magnitude: SSAValue) -> SSAValue:
    """An odd function's value from that of |x|; zeros keep their sign."""
    value = b.select(b.compare("lt", x, 0), b.neg(magnitude), magnitude)
    return b.select(b.compare("eq", x, 0), x, value)


@operator("Sinh")
def hyperbolic_sine(n: Node) -> SSAValue:
    b = n.builder

    def formula(x: SSAValue) -> SSAValue:
        a = b.abs(x)
        t = b.expm1(b.min(a, _FAR))
        q = b.div(t, b.add(t, 1))
        # With t = e**a - 1: of both forms the one whose later term is the smaller.
        small = b.sub(t, b.mul(b.mul(t, q), 0.5))
        near = b.select(b.compare("lt", a, 1), small, b.mul(b.add(t, q), 0.5))
        magnitude = b.select(b.compare("gt", a, _FAR), _half_exp(b, a), near)
        return _with_sign_of(b, x, magnitude)

    return computed_wide(b, formula, n.value(0))


@operator("Cosh")
def hyperbolic_cosine(n: Node) -> SSAValue:
    b = n.builder

    def formula(x: SSAValue) -> SSAValue:
        a = b.abs(x)
        e = b.exp(b.min(a, _FAR))
        near = b.mul(b.add(e, b.div(1, e)), 0.5)
        return b.select(b.compare("gt", a, _FAR), _half_exp(b, a), near)

    return computed_wide(b, formula, n.value(0))


@operator("Asinh")
def inverse_hyperbolic_sine(n: Node) -> SSAValue:
    b = n.builder

    def formula(x: SSAValue) -> SSAValue:
        a = b.abs(x)
        root = b.sqrt(b.add(b.mul(a, a), 1))
        near = b.log1p(b.add(a, b.div(b.mul(a, a), b.add(root, 1))))
        # Beyond 1e8 the square may overflow, and log(2 * a) is exact.
        far = b.add(b.log(a), math.log(2))
        return _with_sign_of(b, x, b.select(b.compare("gt", a, 1e8), far, near))

    return computed_wide(b, formula, n.value(0))


@operator("Acosh")
def inverse_hyperbolic_cosine(n: Node) -> SSAValue:
    b = n.builder

    def formula(x: SSAValue) -> SSAValue:
        t = b.sub(x, 1)
        near = b.log1p(b.add(t, b.mul(b.sqrt(t), b.sqrt(b.add(t, 2)))))
        # Beyond 1e8 the sum may overflow, and log(2 * x) is exact.
        return b.select(b.compare("gt", x, 1e8), b.add(b.log(x), math.log(2)), near)

    return computed_wide(b, formula, n.value(0))


@operator("Atanh")
def inverse_hyperbolic_tangent(n: Node) -> SSAValue:
    b = n.builder

    def formula(x: SSAValue) -> SSAValue:
        return b.mul(b.sub(b.log1p(x), b.log1p(b.neg(x))), 0.5)

    return computed_wide(b, formula, n.value(0))


@operator("Mod")
def modulo(n: Node) -> SSAValue:
    """`fmod` has the dividend's sign; otherwise the result takes the divisor's."""
    b = n.builder
    x, y = b.broadcast_together(n.value(0), n.value(1))
    rest = b.binary(graph.RemOp, x, y)
    if n.attribute("fmod", 0) or dtypes.is_unsigned(dtype_of(x)):
        return rest
    differ = b.binary(graph.XorOp, b.compare("lt", rest, 0), b.compare("lt", y, 0))
    moved = b.select(differ, b.add(rest, y), rest)
    zero: SSAValue | int = 0
    if dtypes.is_float(dtype_of(x)):
        zero = b.select(b.compare("lt", y, 0), -0.0, b.zeros_like(y))
    return b.select(b.compare("eq", rest, 0), zero, moved)


@operator("Pow")
def power(n: Node) -> SSAValue:
    """The result has the base's type, whatever the exponent's is."""
    b, base, exponent = n.builder, n.value(0), n.value(1)
    dtype, other = dtype_of(base), dtype_of(exponent)
    inner = dtype
    if not dtypes.is_float(dtype) and dtypes.is_float(other):
        inner = "f64"
    elif not dtypes.is_float(dtype) and dtypes.item_size(other) > dtypes.item_size(dtype):
        inner = "i64"
    return b.cast(b.pow(b.cast(base, inner), b.cast(exponent, inner)), dtype)


def _folded(n: Node, combine: Callable[[SSAValue, SSAValue], SSAValue]) -> SSAValue:
    return reduce(combine, [n.value(i) for i in range(n.count)])


@operator("Max")
def maximum(n: Node) -> SSAValue:
    return _folded(n, n.builder.max)


@operator("Min")
def minimum(n: Node) -> SSAValue:
    return _folded(n, n.builder.min)


@operator("Sum")
def total(n: Node) -> SSAValue:
    return _folded(n, n.builder.add)


@operator("Mean")
def mean(n: Node) -> SSAValue:
    return n.builder.div(_folded(n, n.builder.add), n.count)


@operator("BitShift")
def bit_shift(n: Node) -> SSAValue:
    op = graph.ShlOp if n.required("direction") == "LEFT" else graph.ShrOp
    return n.builder.binary(op, n.value(0), n.value(1))


def _comparable(b: GraphBuilder, x: SSAValue) -> SSAValue:
    """Types that only store are widened, which keeps NaN and infinity."""
    return b.cast(x, "f32") if dtype_of(x) in dtypes.STORAGE_ONLY else x


@operator("IsNaN")
def is_nan(n: Node) -> SSAValue:
    x = _comparable(n.builder, n.value(0))
    return n.builder.compare("ne", x, x)


@operator("IsInf")
def is_infinite(n: Node) -> SSAValue:
    b, x = n.builder, _comparable(n.builder, n.value(0))
    wanted = [
        b.compare("eq", x, bound)
        for name, bound in (("detect_positive", math.inf), ("detect_negative", -math.inf))
        if n.attribute(name, 1)
    ]
    if not wanted:
        return b.full(graph.tensor_type(x).shape, False, "i1")
    return reduce(b.logical_or, wanted)


@operator("Where")
def where(n: Node) -> SSAValue:
    return n.builder.select(n.value(0), n.value(1), n.value(2))


@operator("Clip")
def clip(n: Node) -> SSAValue:
    """Limits with both attributes, before opset 11, not finite mean no limit."""
    b, x = n.builder, n.value(0)
    for index, (name, limit) in enumerate((("min", b.max), ("max", b.min)), 1):
        bound: SSAValue | float | None = None
        if n.opset < 11:
            bound = n.attribute(name, None)
        elif n.has(index):
            bound = n.value(index)
            bound = as_scalar(b, bound) if is_single(bound) else bound
        if bound is not None:
            x = limit(x, bound)
    return x
