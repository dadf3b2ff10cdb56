"""Reductions, running sums and the largest elements."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from xdsl.ir import SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.common import (
    axis_attribute,
    computed_wide,
    dtype_of,
    normalized_axis,
    rank_of,
    shape_of,
    size_as,
)
from infini_ir.frontends.onnx.registry import operator
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import product

Reduction = Callable[[GraphBuilder, SSAValue, list[int]], SSAValue]
"""Reduces some axes, keeping them with size 1."""


def _axes(n: Node) -> list[int]:
    """The axes to reduce: an input since opset 18 (ReduceSum: 13), an attribute before."""
    rank = len(n.type(0).shape)
    axes: list[int] | None = n.attribute("axes", None)
    if n.has(1):
        axes = [int(axis) for axis in np.ravel(n.need_known(1, "the axes to reduce"))]
    if not axes:
        return [] if n.attribute("noop_with_empty_axes", 0) else list(range(rank))
    return sorted({normalized_axis(n, axis, rank) for axis in axes})


def _reduced(n: Node, reduction: Reduction) -> SSAValue:
    b, axes = n.builder, _axes(n)
    y = reduction(b, n.value(0), axes)
    if n.attribute("keepdims", 1):
        return y
    return b.reshape(y, [s for i, s in enumerate(shape_of(y)) if i not in axes])


def _over(b: GraphBuilder, kind: str, x: SSAValue, axes: list[int]) -> SSAValue:
    return b.reduce(kind, x, axes, keep=True) if axes else x


def _plain(kind: str) -> Callable[[Node], SSAValue]:
    def convert(n: Node) -> SSAValue:
        axes = _axes(n)
        if not axes:
            return n.value(0)
        return n.builder.reduce(kind, n.value(0), axes, keep=bool(n.attribute("keepdims", 1)))

    return convert


for _name in ("Sum", "Prod", "Max", "Min"):
    operator("Reduce" + _name)(_plain(_name.lower()))


@operator("ReduceMean")
def reduce_mean(n: Node) -> SSAValue:
    def mean(b: GraphBuilder, x: SSAValue, axes: list[int]) -> SSAValue:
        count = product(shape_of(x)[axis] for axis in axes)

        def formula(v: SSAValue) -> SSAValue:
            return b.div(_over(b, "sum", v, axes), size_as(b, count, dtype_of(v)))

        return computed_wide(b, formula, x) if axes else x

    return _reduced(n, mean)


@operator("ReduceL1")
def reduce_l1(n: Node) -> SSAValue:
    def norm(b: GraphBuilder, x: SSAValue, axes: list[int]) -> SSAValue:
        magnitude = x if dtypes.is_unsigned(dtype_of(x)) else b.abs(x)
        return _over(b, "sum", magnitude, axes)

    return _reduced(n, norm)


@operator("ReduceL2")
def reduce_l2(n: Node) -> SSAValue:
    def norm(b: GraphBuilder, x: SSAValue, axes: list[int]) -> SSAValue:
        return computed_wide(b, lambda v: b.sqrt(_over(b, "sum", b.mul(v, v), axes)), x)

    return _reduced(n, norm)


@operator("ReduceSumSquare")
def reduce_sum_square(n: Node) -> SSAValue:
    def square(b: GraphBuilder, x: SSAValue, axes: list[int]) -> SSAValue:
        if dtypes.is_float(dtype_of(x)):
            return computed_wide(b, lambda v: _over(b, "sum", b.mul(v, v), axes), x)
        return _over(b, "sum", b.mul(x, x), axes)

    return _reduced(n, square)


@operator("ReduceLogSum")
def reduce_log_sum(n: Node) -> SSAValue:
    def log_sum(b: GraphBuilder, x: SSAValue, axes: list[int]) -> SSAValue:
        return computed_wide(b, lambda v: b.log(_over(b, "sum", v, axes)), x)

    return _reduced(n, log_sum)


@operator("ReduceLogSumExp")
def reduce_log_sum_exp(n: Node) -> SSAValue:
    """Shifted by the maximum, so that no exponential overflows."""

    def formula(b: GraphBuilder, x: SSAValue, axes: list[int]) -> SSAValue:
        top = _over(b, "max", x, axes)
        infinite = b.compare("eq", b.abs(top), float("inf"))
        shift = b.select(infinite, 0, top)
        return b.add(b.log(_over(b, "sum", b.exp(b.sub(x, shift)), axes)), shift)

    def log_sum_exp(b: GraphBuilder, x: SSAValue, axes: list[int]) -> SSAValue:
        return computed_wide(b, lambda v: formula(b, v, axes), x)

    return _reduced(n, log_sum_exp)


def _arg_reduce(kind: str) -> Callable[[Node], SSAValue]:
    def convert(n: Node) -> SSAValue:
        x = n.value(0)
        return n.builder.arg_reduce(
            kind,
            x,
            axis_attribute(n, 0, rank_of(x)),
            keep=bool(n.attribute("keepdims", 1)),
            last=bool(n.attribute("select_last_index", 0)),
        )

    return convert


operator("ArgMax")(_arg_reduce("max"))
operator("ArgMin")(_arg_reduce("min"))


def _cumulative(kind: str) -> Callable[[Node], SSAValue]:
    def convert(n: Node) -> SSAValue:
        x = n.value(0)
        axis = int(np.ravel(n.need_known(1, "the axis"))[0])
        return n.builder.cumulative(
            kind,
            x,
            normalized_axis(n, axis, rank_of(x)),
            exclusive=bool(n.attribute("exclusive", 0)),
            reverse=bool(n.attribute("reverse", 0)),
        )

    return convert


operator("CumSum")(_cumulative("sum"))
operator("CumProd")(_cumulative("prod"))


@operator("TopK")
def top_k(n: Node) -> list[SSAValue]:
    """The count is an input since opset 10, and may be a run-time value."""
    x = n.value(0)
    count = n.required("k") if n.opset < 10 else n.need_sizes(1, "the count")[0]
    axis = axis_attribute(n, -1, rank_of(x))
    largest = bool(n.attribute("largest", 1))
    op = n.builder.insert(graph.TopkOp(x, count, axis, largest=largest))
    return [op.values, op.indices]
