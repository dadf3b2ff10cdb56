"""Regions of images: RoiAlign, MaxRoiPool, NonMaxSuppression."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import Block, Region, SSAValue

from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.control import ScanOp
from infini_ir.dialects.graph.types import TensorType, tensor_type
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.common import dtype_of, size_as
from infini_ir.frontends.onnx.operators.positions import (
    accumulating,
    bind,
    coordinates,
    scalar,
    with_sizes,
)
from infini_ir.frontends.onnx.registry import operator
from infini_ir.utils.symbolic import ONE, ZERO, Dim, minimum


def _columns(n: Node, width: int) -> list[SSAValue]:
    """The columns of operand 1, the regions, as vectors."""
    b, rows = n.builder, n.type(1).shape[0]
    x = accumulating(b, with_sizes(n, n.value(1), [rows, Dim.of(width)]))
    return [b.reshape(b.slice_axis(x, 1, i, 1), [rows]) for i in range(width)]


# RoiAlign


@dataclass
class _Line:
    """Where the taps of each region fall on one axis: [regions, cells, taps]."""

    low: SSAValue
    high: SSAValue
    fraction: SSAValue
    inside: SSAValue
    """Whether the tap is on the image."""
    used: SSAValue
    """Whether the region has that many taps, [regions, 1, taps]."""
    count: SSAValue
    """How many taps a cell has, [regions]."""


@operator("RoiAlign", since=10)
def roi_align(n: Node) -> SSAValue:
    b, kind = n.builder, n.type(0)
    regions = n.type(1).shape[0]
    cells = [Dim.of(n.attribute("output_height", 1)), Dim.of(n.attribute("output_width", 1))]
    x1, y1, x2, y2 = _columns(n, 4)
    vertical = _line(n, y1, y2, cells[0], kind.shape[2])
    horizontal = _line(n, x1, x2, cells[1], kind.shape[3])
    pixels = b.transpose(accumulating(b, n.value(0)), [0, 2, 3, 1])
    maximum = n.attribute("mode", "avg") == "max"
    sampled = _aligned_samples(n, pixels, vertical, horizontal, maximum)
    used = b.logical_and(_placed(b, vertical.used, 0), _placed(b, horizontal.used, 1))
    used = b.reshape(used, [*tensor_type(used).shape, ONE])
    if maximum:
        best = b.reduce("max", b.select(used, sampled, float("-inf")), [2, 4])
        result = b.select(b.compare("eq", best, float("-inf")), 0.0, best)
    else:
        total = b.reduce("sum", b.select(used, sampled, 0.0), [2, 4])
        count = b.max(b.mul(vertical.count, horizontal.count), 1.0)
        result = b.div(total, b.reshape(count, [regions, ONE, ONE, ONE]))
    return b.cast(b.transpose(result, [0, 3, 1, 2]), kind.dtype)


def _line(n: Node, start: SSAValue, end: SSAValue, cells: Dim, size: Dim) -> _Line:
    b, dtype = n.builder, dtype_of(start)
    regions = tensor_type(start).shape[0]
    modern = n.opset >= 16
    mode = n.attribute("coordinate_transformation_mode", "half_pixel")
    half = modern and mode == "half_pixel"
    scale = n.attribute("spatial_scale", 1.0)
    start, end = (b.sub(b.mul(v, scale), 0.5 if half else 0.0) for v in (start, end))
    length = b.sub(end, start)
    if not half:
        length = b.max(length, 1.0)
    bin_size = b.div(length, size_as(b, cells, dtype))
    ratio = n.attribute("sampling_ratio", 0)
    if ratio > 0:
        taps, count = Dim.of(ratio), b.full([regions], float(ratio), dtype)
    else:
        count = b.max(b.ceil(bin_size), 0.0)
        most = b.max(b.cast(b.reduce("max", count, [0]), "i64"), 0)
        taps = bind(n, most, "taps")
    column = [regions, ONE, ONE]
    tap = b.add(b.iota([ONE, ONE, taps], dtype, 2), 0.5)
    step = b.reshape(b.div(bin_size, b.max(count, 1.0)), column)
    first = b.mul(b.iota([ONE, cells, ONE], dtype, 1), b.reshape(bin_size, column))
    where = b.add(b.add(b.reshape(start, column), first), b.mul(tap, step))
    return _bilinear_line(b, where, size, b.compare("lt", tap, b.reshape(count, column)), count)


def _bilinear_line(
    b: GraphBuilder, where: SSAValue, size: Dim, used: SSAValue, count: SSAValue
) -> _Line:
    limit = size_as(b, size, dtype_of(where))
    last = b.sub(limit, 1.0)
    outside = b.logical_or(b.compare("lt", where, -1.0), b.compare("gt", where, limit))
    where = b.max(where, 0.0)
    low = b.min(b.floor(where), last)
    fraction = b.select(b.compare("ge", low, last), 0.0, b.sub(where, low))
    high = b.min(b.add(low, 1.0), last)
    return _Line(low, high, fraction, b.logical_not(outside), used, count)


def _placed(b: GraphBuilder, x: SSAValue, which: int) -> SSAValue:
    """[regions, cells, taps] of one axis as [regions, rows, taps, columns, taps]."""
    regions, cells, taps = tensor_type(x).shape
    shape = [regions, cells, taps, ONE, ONE] if which == 0 else [regions, ONE, ONE, cells, taps]
    return b.reshape(x, shape)


def _aligned_samples(
    n: Node, pixels: SSAValue, vertical: _Line, horizontal: _Line, maximum: bool
) -> SSAValue:
    """Bilinear samples [regions, rows, taps, columns, taps, channels]."""
    b = n.builder
    regions = tensor_type(vertical.low).shape[0]
    image = b.cast(with_sizes(n, n.value(2), [regions]), "i64")
    image = b.reshape(image, [regions, ONE, ONE, ONE, ONE])
    inside = b.logical_and(_placed(b, vertical.inside, 0), _placed(b, horizontal.inside, 1))
    total: SSAValue | None = None
    for y, down in ((vertical.low, False), (vertical.high, True)):
        for x, right in ((horizontal.low, False), (horizontal.high, True)):
            rows = _placed(b, b.cast(y, "i64"), 0)
            columns = _placed(b, b.cast(x, "i64"), 1)
            index = b.broadcast_together(image, rows, columns)
            corner = b.gather_nd(pixels, coordinates(b, index))
            weight = b.mul(
                _placed(b, _share(b, vertical.fraction, down), 0),
                _placed(b, _share(b, horizontal.fraction, right), 1),
            )
            weight = b.select(inside, weight, 0.0)
            part = b.mul(corner, b.reshape(weight, [*tensor_type(weight).shape, ONE]))
            if total is None:
                total = part
            else:
                total = b.max(total, part) if maximum else b.add(total, part)
    assert total is not None
    return total


def _share(b: GraphBuilder, fraction: SSAValue, high: bool) -> SSAValue:
    return fraction if high else b.sub(1.0, fraction)


# MaxRoiPool


@operator("MaxRoiPool")
def max_roi_pool(n: Node) -> SSAValue:
    b, kind = n.builder, n.type(0)
    rows, columns = n.required("pooled_shape")
    image, x1, y1, x2, y2 = _columns(n, 5)
    picked = b.gather(accumulating(b, n.value(0)), b.cast(image, "i64"), 0)
    across = _cell_members(n, x1, x2, columns, kind.shape[3])
    down = _cell_members(n, y1, y2, rows, kind.shape[2])
    regions, channels, height, width = tensor_type(picked).shape
    # One axis after the other: [R, C, H, columns], then [R, C, rows, columns].
    wide = b.reshape(picked, [regions, channels, height, ONE, width])
    mask = b.reshape(across, [regions, ONE, ONE, Dim.of(columns), width])
    narrow = b.reduce("max", b.select(mask, wide, float("-inf")), [4])
    tall = b.reshape(narrow, [regions, channels, ONE, height, Dim.of(columns)])
    mask = b.reshape(down, [regions, ONE, Dim.of(rows), height, ONE])
    best = b.reduce("max", b.select(mask, tall, float("-inf")), [3])
    return b.cast(b.select(b.compare("eq", best, float("-inf")), 0.0, best), kind.dtype)


def _cell_members(n: Node, start: SSAValue, end: SSAValue, cells: int, size: Dim) -> SSAValue:
    """Which elements of an axis each cell of each region covers: [regions, cells, size]."""
    b, dtype = n.builder, dtype_of(start)
    regions = tensor_type(start).shape[0]
    scale = n.attribute("spatial_scale", 1.0)
    # Halves round away from zero, as C rounds; coordinates are not negative.
    start, end = (b.floor(b.add(b.mul(v, scale), 0.5)) for v in (start, end))
    length = b.max(b.add(b.sub(end, start), 1.0), 1.0)
    bin_size = b.reshape(b.div(length, float(cells)), [regions, ONE])
    cell = b.iota([1, cells], dtype, 1)
    first = b.reshape(start, [regions, ONE])
    low = b.add(b.floor(b.mul(cell, bin_size)), first)
    high = b.add(b.ceil(b.mul(b.add(cell, 1.0), bin_size)), first)
    shape = [regions, Dim.of(cells), ONE]
    element = b.iota([ONE, ONE, size], dtype, 2)
    return b.logical_and(
        b.compare("ge", element, b.reshape(low, shape)),
        b.compare("lt", element, b.reshape(high, shape)),
    )


# NonMaxSuppression


@operator("NonMaxSuppression", since=10)
def non_max_suppression(n: Node) -> SSAValue:
    b = n.builder
    batch, count, _ = n.type(0).shape
    scores = with_sizes(n, n.value(1), [batch, n.type(1).shape[1], count])
    classes = tensor_type(scores).shape[1]
    alive = b.full([batch, classes, count], True, "i1")
    if n.has(4):
        alive = b.compare("gt", scores, scalar(n, n.value(4)))
    steps = minimum(n.need_sizes(2)[0], count) if n.has(2) else ZERO
    if count.value == 0:
        steps = ZERO
    chosen, valid = _selection(n, scores, alive, steps)
    order = [1, 2, 0]
    chosen, valid = b.transpose(chosen, order), b.transpose(valid, order)
    found = b.transpose(b.nonzero(valid, n.fresh_symbol("selected")), [1, 0])
    box = b.gather_nd(chosen, found)
    box = b.reshape(box, [tensor_type(found).shape[0], ONE])
    return b.concat([b.slice_axis(found, 1, 0, 2), box], 1)


def _selection(
    n: Node, scores: SSAValue, alive: SSAValue, steps: Dim
) -> tuple[SSAValue, SSAValue]:
    """The best remaining box of each class, step by step, and whether there was one."""
    b = n.builder
    corners = _corners(n)
    threshold = scalar(n, n.value(3)) if n.has(3) else b.constant(0.0, dtype_of(scores))
    block = Block(arg_types=[TensorType.of((), "i64"), alive.type])
    inner = n.builder_at(block)
    remaining = block.args[1]
    best = inner.arg_reduce("max", inner.select(remaining, scores, float("-inf")), 2)
    any_left = inner.reduce("max", remaining, [2])
    overlap = _overlaps(inner, corners, best, threshold)
    shape = tensor_type(scores).shape
    itself = inner.compare(
        "eq", inner.iota(shape, "i64", 2), inner.reshape(best, [*shape[:2], ONE])
    )
    suppressed = inner.logical_or(overlap, itself)
    after = inner.logical_and(remaining, inner.logical_not(suppressed))
    inner.yield_([after, best, any_left])
    stacked = [
        TensorType.of([steps, *shape[:2]], "i64"),
        TensorType.of([steps, *shape[:2]], "i1"),
    ]
    _, chosen, valid = b.insert(ScanOp([alive], [], steps, stacked, Region(block))).results
    return chosen, valid


def _corners(n: Node) -> SSAValue:
    """The boxes as [batch, 4, count]: low y, low x, high y, high x."""
    b = n.builder
    boxes = b.transpose(n.value(0), [0, 2, 1])
    parts = [b.slice_axis(boxes, 1, i, 1) for i in range(4)]
    if n.attribute("center_point_box", 0):
        x, y, width, height = parts
        half = b.mul(width, 0.5), b.mul(height, 0.5)
        edges = [b.sub(y, half[1]), b.sub(x, half[0]), b.add(y, half[1]), b.add(x, half[0])]
        return b.concat(edges, 1)
    y1, x1, y2, x2 = parts
    return b.concat([b.min(y1, y2), b.min(x1, x2), b.max(y1, y2), b.max(x1, x2)], 1)


def _overlaps(
    b: GraphBuilder, corners: SSAValue, best: SSAValue, threshold: SSAValue
) -> SSAValue:
    """Which boxes overlap the chosen one of each class by more than the threshold."""
    batch, _, count = tensor_type(corners).shape
    classes = tensor_type(best).shape[1]
    by_box = b.transpose(corners, [0, 2, 1])
    mine = b.gather_nd(by_box, b.reshape(best, [batch, classes, ONE]), 1)
    ours = [b.reshape(b.slice_axis(mine, 2, i, 1), [batch, classes, ONE]) for i in range(4)]
    theirs = [b.reshape(b.slice_axis(corners, 1, i, 1), [batch, ONE, count]) for i in range(4)]
    height = b.sub(b.min(ours[2], theirs[2]), b.max(ours[0], theirs[0]))
    width = b.sub(b.min(ours[3], theirs[3]), b.max(ours[1], theirs[1]))
    shared = b.mul(b.max(height, 0.0), b.max(width, 0.0))
    union = b.sub(b.add(_area(b, ours), _area(b, theirs)), shared)
    return b.compare("gt", b.div(shared, union), threshold)


def _area(b: GraphBuilder, edges: list[SSAValue]) -> SSAValue:
    return b.mul(b.sub(edges[2], edges[0]), b.sub(edges[3], edges[1]))
