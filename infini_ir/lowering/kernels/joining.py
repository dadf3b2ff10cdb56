"""Tensors put together: operands are computed where they belong, or copied there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xdsl.ir import SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph import tensor_type
from infini_ir.lowering.host_builder import HostBuilder, label_of, lowers, places_operand
from infini_ir.lowering.kernels.copy import fill
from infini_ir.lowering.kernels.views import run_time_starts
from infini_ir.lowering.placement import Placement
from infini_ir.utils.symbolic import ONE, ZERO, Dim, maximum, minimum


def put(host: HostBuilder, value: SSAValue, target: Placement, label: str) -> None:
    """Have a value's elements in a place: nothing to do where they were computed there."""
    number = host.literal(value)
    if number is not None and value not in host.places:
        fill(host, target, number, label=label)
    else:
        host.copy(host.placement(value), target, label)


# Concat -----------------------------------------------------------------------------------


def _blocks(op: graph.ConcatOp, whole: Placement) -> Iterator[Placement]:
    axis, start = op.axis.value.data, ZERO
    for value in op.inputs:
        size = tensor_type(value).shape[axis]
        yield whole.sliced_axis(axis, start, size)
        start = start + size


@places_operand(graph.ConcatOp)
def place_in_concat(op: graph.ConcatOp, index: int, host: HostBuilder) -> Placement | None:
    whole = host.early_destination(op.out)
    return None if whole is None else list(_blocks(op, whole))[index]


@lowers(graph.ConcatOp)
def lower_concat(op: graph.ConcatOp, host: HostBuilder) -> None:
    whole = host.destination(op.out)
    for value, block in zip(op.inputs, _blocks(op, whole), strict=True):
        put(host, value, block, label_of(op))


# Pad --------------------------------------------------------------------------------------


def _pads_only(op: graph.PadOp) -> bool:
    return not any(op.interior_list) and all(
        size.is_nonnegative() for size in (*op.lo.data, *op.hi.data)
    )


@places_operand(graph.PadOp)
def place_in_pad(op: graph.PadOp, index: int, host: HostBuilder) -> Placement | None:
    """The operand itself goes inside the border."""
    if index != 0 or not _pads_only(op):
        return None
    whole = host.early_destination(op.out)
    if whole is None:
        return None
    return whole.sliced(op.lo.data, None, tensor_type(op.x).shape)


@lowers(graph.PadOp)
def lower_pad(op: graph.PadOp, host: HostBuilder) -> None:
    out, number = host.destination(op.out), host.literal(op.value)
    scalar = host.placement(op.value) if number is None else None
    interior = op.interior_list
    lo, hi = op.lo.data, op.hi.data
    pad(host, host.placement(op.x), out, lo, hi, interior, number, scalar, label_of(op))


def pad(
    host: HostBuilder,
    x: Placement,
    out: Placement,
    lo: Sequence[Dim],
    hi: Sequence[Dim],
    interior: Sequence[int],
    number: float | int | bool | None,
    scalar: Placement | None = None,
    label: str = "",
) -> None:
    """Write a padded tensor: a number, or the scalar where it is None, around and between
    the elements of x; negative `lo` and `hi` crop."""
    if any(interior):
        fill(host, out, number, scalar, label)
        source, target = _spread(x, out, lo, interior)
        host.copy(source, target, label)
        return
    crop = [maximum(-size, 0) for size in lo]
    lo = [maximum(size, 0) for size in lo]
    hi = [maximum(size, 0) for size in hi]
    for border in borders(out, lo, hi):
        fill(host, border, number, scalar, label)
    sizes = [size - a - b for size, a, b in zip(out.shape, lo, hi, strict=True)]
    host.copy(x.sliced(crop, None, sizes), out.sliced(lo, None, sizes), label)


def _spread(
    x: Placement, out: Placement, lo: Sequence[Dim], interior: Sequence[int]
) -> tuple[Placement, Placement]:
    """The elements that stay, and where they go between interior padding."""
    first: list[Dim] = []
    starts: list[Dim] = []
    counts: list[Dim] = []
    steps = [count + 1 for count in interior]
    for axis, step in enumerate(steps):
        begin = maximum((-lo[axis]).ceil_divide(step), 0)
        end = minimum((out.shape[axis] - lo[axis]).ceil_divide(step), x.shape[axis])
        first.append(begin)
        starts.append(lo[axis] + begin * step)
        counts.append(maximum(end - begin, 0))
    return x.sliced(first, None, counts), out.sliced(starts, steps, counts)


def borders(out: Placement, lo: Sequence[Dim], hi: Sequence[Dim]) -> Iterator[Placement]:
    """The border as blocks that do not overlap; both ends of an axis are one block where
    they are equally wide."""
    inner: list[tuple[Dim, Dim]] = [(ZERO, size) for size in out.shape]
    for axis, size in enumerate(out.shape):
        low, high = lo[axis], hi[axis]
        ends = [(low, ZERO), (high, size - high)]
        if low is high and low is not ZERO:
            yield _both_ends(out, inner, axis, low)
        else:
            for width, start in ends:
                if width is not ZERO:
                    yield _block(out, inner, axis, start, width)
        inner[axis] = (low, size - low - high)


def _block(
    out: Placement, inner: list[tuple[Dim, Dim]], axis: int, start: Dim, width: Dim
) -> Placement:
    ranges = [(start, width) if i == axis else pair for i, pair in enumerate(inner)]
    return out.sliced([a for a, _ in ranges], None, [n for _, n in ranges])


def _both_ends(
    out: Placement, inner: list[tuple[Dim, Dim]], axis: int, width: Dim
) -> Placement:
    """The two ends of an axis as one block: an axis of size 2 comes before it."""
    end = _block(out, inner, axis, ZERO, width)
    gap = out.strides[axis] * (out.shape[axis] - width)
    shape, strides = list(end.shape), list(end.strides)
    shape.insert(axis, ONE + ONE)
    strides.insert(axis, gap)
    return Placement(end.root, end.offset, tuple(shape), tuple(strides), end.dtype)


# Insert slice -----------------------------------------------------------------------------


@places_operand(graph.InsertSliceOp)
def place_in_result(op: graph.InsertSliceOp, index: int, host: HostBuilder) -> Placement | None:
    """An operand that nothing else uses becomes the result in place."""
    if index != 0 or not op.x.has_one_use():
        return None
    return host.early_destination(op.out)


@lowers(graph.InsertSliceOp)
def lower_insert_slice(op: graph.InsertSliceOp, host: HostBuilder) -> None:
    out, label = host.destination(op.out), label_of(op)
    sizes = tensor_type(op.update).shape
    starts = run_time_starts(op, op.x, [1] * len(sizes), sizes, host)
    put(host, op.x, out, label)
    put(host, op.update, out.sliced(starts, None, sizes), label)
