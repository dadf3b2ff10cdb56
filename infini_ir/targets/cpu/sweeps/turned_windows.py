"""Windows whose operand lies along one axis and whose results lie along another: an image
with its channels last that becomes one with its channels first.

The results of a strip are computed for a vector of channels each, transposed in registers and
stored along the strip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xdsl.ir import SSAValue

from infini_ir.targets.cpu.kernel.sources import Coordinate, MemorySource, Point
from infini_ir.targets.cpu.llvm.writer import V, integer
from infini_ir.targets.cpu.sweeps import window_sweeps
from infini_ir.targets.cpu.sweeps.transposing import Targets, transposed
from infini_ir.targets.cpu.sweeps.window_sweeps import Windows

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter

LEAST = 4
"""Results along both axes from which blocks of them are transposed."""


def find(
    e: KernelEmitter, targets: Targets, extents: Sequence[V], axis: int
) -> tuple[Windows, int] | None:
    """The windows that a sweep computes whose strips are along `axis`, that of the results,
    and the axis of the operand's lanes."""
    sizes = [extent.number for extent in extents]
    if not e.features.has_avx512 or len(targets) != 1 or (sizes[axis] or 0) < LEAST:
        return None
    ((value, memory),) = targets
    if memory.element == "i1" or memory.strides[axis].number != 1:
        return None
    for vector, size in enumerate(sizes):
        if vector == axis or size is None or size < LEAST:
            continue
        windows = window_sweeps.find(e, [value], vector)
        if windows is not None and windows.kept().index(windows.strip) == axis:
            return windows, vector
    return None


def sweep(
    e: KernelEmitter,
    targets: Targets,
    extents: Sequence[V],
    axis: int,
    found: tuple[Windows, int],
) -> None:
    """Write every point of a sweep, a block of `lanes` by `lanes` at a time."""
    windows, vector = found
    ((value, memory),) = targets
    outer = [a for a in range(len(extents)) if a not in (axis, vector)]
    length = int(extents[axis].number or 0)
    whole = length // e.lanes * e.lanes

    def row(base: Point) -> None:
        def strip(start: V, count: int) -> None:
            def block(channels: Coordinate) -> None:
                points = [
                    _point(
                        base, {axis: Coordinate(e.f.add(start, integer(i))), vector: channels}
                    )
                    for i in range(count)
                ]
                vectors = _values(e, windows, value, points)
                width = e.f.sub(extents[vector], channels.position)
                limit = int(width.number or 0) if e.mask is not None else e.lanes
                at = {axis: Coordinate(start, True), vector: channels}
                _store(e, vectors, memory, _point(base, at), vector, limit)

            e.vector_loop(extents[vector], block)

        e.f.loop(integer(whole), lambda i: strip(i, e.lanes), step=e.lanes, hint="strip")
        if length > whole:
            strip(integer(whole), length - whole)

    e.nest(extents, outer, [None] * len(extents), row)


def _point(base: Point, given: dict[int, Coordinate]) -> Point:
    return tuple(given.get(a, c) for a, c in enumerate(base))


def _values(
    e: KernelEmitter, windows: Windows, value: SSAValue, points: Sequence[Point]
) -> list[V]:
    """The vectors of channels at points along a strip."""
    size = window_sweeps.strip_size(e)
    vectors: list[V] = []
    for begin in range(0, len(points), size):
        part = points[begin : begin + size]
        window_sweeps.compute(e, windows, part)
        vectors += [e.f.splat(e.element(value, point), e.lanes) for point in part]
    return vectors


def _store(
    e: KernelEmitter,
    vectors: Sequence[V],
    memory: MemorySource,
    point: Point,
    vector: int,
    limit: int,
) -> None:
    """Store the transposed vectors, of `limit` channels, along the strip."""
    count, mask = len(vectors), e.mask
    filled = [*vectors, *[vectors[-1]] * (e.lanes - count)]
    e.mask = None if count == e.lanes else e.f.first_lanes(integer(count), e.lanes)
    first = point[vector].position
    for i, column in enumerate(transposed(e, filled)[:limit]):
        at = _point(point, {vector: Coordinate(e.f.add(first, integer(i)))})
        memory.store(e, at, column)
    e.mask = mask
