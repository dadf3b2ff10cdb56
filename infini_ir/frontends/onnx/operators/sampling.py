"""Sampling images at given positions: GridSample, AffineGrid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product as cartesian

from xdsl.ir import SSAValue

from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.common import dtype_of, size_as
from infini_ir.frontends.onnx.operators.interpolation import Sampling, kernel
from infini_ir.frontends.onnx.operators.positions import (
    coordinates,
    equal_sizes,
    with_sizes,
)
from infini_ir.frontends.onnx.registry import operator
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import ONE, Dim, product

_MODES = {"bilinear": "linear", "bicubic": "cubic"}
_PADDINGS = ("zeros", "border", "reflection")


@dataclass
class _Border:
    """The range of positions of one axis, and what stands outside it."""

    size: SSAValue
    low: float
    high: SSAValue
    padding: str


@dataclass
class _Tap:
    """Elements of one axis to add up, one for each position."""

    index: SSAValue
    weight: SSAValue | None
    inside: SSAValue | None


@operator("GridSample", since=16)
def grid_sample(n: Node) -> SSAValue:
    b, x, grid = n.builder, n.type(0), n.type(1)
    mode = n.attribute("mode", "linear")
    mode = _MODES.get(mode, mode)
    padding = n.attribute("padding_mode", "zeros")
    if mode not in ("nearest", "linear", "cubic") or padding not in _PADDINGS:
        raise n.error(f"mode '{mode}' with padding '{padding}' is not known")
    sizes = x.shape[2:]
    out = grid.shape[1:-1]
    batch = equal_sizes(n, x.shape[0], grid.shape[0])
    positions = b.reshape(_wide(b, n.value(1)), [batch, *out, Dim.of(len(sizes))])
    axes: list[list[_Tap]] = []
    for i, size in enumerate(sizes):
        place = b.slice_axis(positions, grid.rank - 1, len(sizes) - 1 - i, 1)
        place = b.reshape(place, [batch, *out])
        axes.append(_axis_taps(n, place, size, mode, padding))
    order = [0, *range(2, x.rank), 1]
    pixels = b.transpose(b.reshape(n.value(0), [batch, *x.shape[1:]]), order)
    if mode != "nearest":
        pixels = _wide(b, pixels)
    result = _weighted_sum(b, pixels, axes)
    return b.cast(b.transpose(result, [0, x.rank - 1, *range(1, x.rank - 1)]), x.dtype)


def _wide(b: GraphBuilder, x: SSAValue) -> SSAValue:
    return x if dtype_of(x) in ("f32", "f64") else b.cast(x, "f32")


def _axis_taps(n: Node, place: SSAValue, size: Dim, mode: str, padding: str) -> list[_Tap]:
    """The taps along one axis for normalised positions in [-1, 1]."""
    b, dtype = n.builder, dtype_of(place)
    limit = size_as(b, size, dtype)
    if n.attribute("align_corners", 0):
        border = _Border(limit, 0.0, b.sub(limit, 1.0), padding)
        where = b.mul(b.mul(b.add(place, 1.0), 0.5), b.sub(limit, 1.0))
    else:
        border = _Border(limit, -0.5, b.sub(limit, 0.5), padding)
        where = b.mul(b.sub(b.mul(b.add(place, 1.0), limit), 1.0), 0.5)
    if mode == "nearest":
        where = b.round(where)
    if mode != "cubic":
        # Cubic taps are moved into the range one by one.
        where = _within_border(b, where, border)
    if mode == "nearest":
        return [_fetched(b, where, None, border)]
    base = b.floor(where)
    ratio = b.sub(where, base)
    sampling = Sampling(mode, "")
    offsets = (0, 1) if mode == "linear" else (-1, 0, 1, 2)
    return [
        _fetched(
            b,
            b.add(base, float(offset)),
            kernel(b, sampling, b.abs(b.sub(ratio, float(offset)))),
            border,
        )
        for offset in offsets
    ]


def _within_border(b: GraphBuilder, where: SSAValue, border: _Border) -> SSAValue:
    """Positions outside the range moved into it, unless zeros stand there."""
    if border.padding == "zeros":
        return where
    if border.padding == "reflection":
        return _reflected(b, where, border)
    outside = b.logical_or(
        b.compare("lt", where, border.low), b.compare("gt", where, border.high)
    )
    clamped = b.max(b.min(where, b.sub(border.size, 1.0)), 0.0)
    return b.select(outside, clamped, where)


def _reflected(b: GraphBuilder, where: SSAValue, border: _Border) -> SSAValue:
    """Positions reflected at both ends of the range until they are within."""
    width = b.sub(border.high, border.low)
    width = b.select(b.compare("eq", width, 0.0), 1.0, width)
    period = b.mul(width, 2.0)
    phase = b.sub(where, border.low)
    phase = b.sub(phase, b.mul(b.floor(b.div(phase, period)), period))
    phase = b.select(b.compare("gt", phase, width), b.sub(period, phase), phase)
    return b.add(phase, border.low)


def _fetched(
    b: GraphBuilder, where: SSAValue, weight: SSAValue | None, border: _Border
) -> _Tap:
    """The tap at whole positions, which may lie outside."""
    last = b.sub(border.size, 1.0)
    inside = None
    if border.padding == "zeros":
        inside = b.logical_not(
            b.logical_or(b.compare("lt", where, 0.0), b.compare("gt", where, last))
        )
    elif border.padding == "reflection":
        where = _reflected(b, where, border)
    index = b.max(b.min(where, last), 0.0)
    return _Tap(b.cast(index, "i64"), weight, inside)


def _weighted_sum(
    b: GraphBuilder, pixels: SSAValue, axes: Sequence[Sequence[_Tap]]
) -> SSAValue:
    """The sum over all combinations of the axes' taps: [N, positions.., C]."""
    total: SSAValue | None = None
    for combination in cartesian(*axes):
        corner = b.gather_nd(pixels, coordinates(b, [tap.index for tap in combination]), 1)
        shape = [*tensor_type(combination[0].index).shape, ONE]
        for tap in combination:
            if tap.weight is not None:
                weight = b.cast(b.reshape(tap.weight, shape), dtype_of(pixels))
                corner = b.mul(corner, weight)
        for tap in combination:
            if tap.inside is not None:
                zero = 0 if dtypes.is_integer(dtype_of(corner)) else 0.0
                corner = b.select(b.reshape(tap.inside, shape), corner, zero)
        total = corner if total is None else b.add(total, corner)
    assert total is not None
    return total


@operator("AffineGrid", since=20)
def affine_grid(n: Node) -> SSAValue:
    b = n.builder
    batch, *sizes = [n.need_sizes(1)[i] for i in (0, *range(2, n.type(1).shape[0].value or 0))]
    batch = equal_sizes(n, n.type(0).shape[0], batch)
    rank = len(sizes)
    theta = with_sizes(n, n.value(0), [batch, Dim.of(rank), Dim.of(rank + 1)])
    dtype = dtype_of(theta)
    columns: list[SSAValue] = []
    for i, size in reversed(list(enumerate(sizes))):
        index, limit = b.iota(sizes, dtype, i), size_as(b, size, dtype)
        if n.attribute("align_corners", 0):
            place = b.div(b.mul(index, 2.0), b.sub(limit, 1.0))
        else:
            place = b.div(b.add(b.mul(index, 2.0), 1.0), limit)
        columns.append(b.sub(place, 1.0))
    columns.append(b.full(sizes, 1.0, dtype))
    points = b.reshape(coordinates(b, columns), [product(sizes), Dim.of(len(columns))])
    moved = b.transpose(b.dot(theta, points, contract=([2], [1])), [0, 2, 1])
    return b.reshape(moved, [tensor_type(theta).shape[0], *sizes, Dim.of(len(sizes))])
