"""Sweeps whose results interleave a few rows of the operands: three colours of an image,
the groups of shuffled channels.

A vector of each row is computed, and the results that come of them, which follow one another
in memory, are put together in registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from infini_ir.targets.cpu.kernel.sources import Coordinate, MemorySource, Point
from infini_ir.targets.cpu.llvm.scalars import memory_of
from infini_ir.targets.cpu.llvm.writer import ZERO, V, integer
from infini_ir.targets.cpu.sweeps.transposing import Targets, unit_axis

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter

MOST_ROWS = 7
"""Rows that are interleaved; more are transposed in blocks."""


def interleaved_axis(
    e: KernelEmitter, targets: Targets, extents: Sequence[V], axis: int
) -> int | None:
    """The axis that the operands lie along where the results, along the short `axis` and then
    along that one, are next to each other; else None."""
    rows = extents[axis].number
    if rows is None or not 2 <= rows <= MOST_ROWS:
        return None
    other = unit_axis(e, targets, extents, axis)
    if other is None:
        return None
    length = extents[other].number
    if length is not None and int(length) < e.lanes // 2:
        return None
    dense = all(
        memory.strides[other].number == rows and memory_of(memory.element) == memory.element
        for _, memory in targets
    )
    return other if dense else None


def interleaving_sweep(
    e: KernelEmitter, targets: Targets, extents: Sequence[V], axis: int, other: int
) -> None:
    """Compute values along `other`, and store them along both axes."""
    outer = [a for a in range(len(extents)) if a not in (axis, other)]
    rows = int(extents[axis].number or 0)

    def line(point: Point) -> None:
        def at(row: int, column: Coordinate) -> Point:
            both = {axis: Coordinate(integer(row)), other: column}
            return tuple(both.get(a, c) for a, c in enumerate(point))

        def vectors(column: Coordinate) -> None:
            read = [
                [e.element(value, at(row, column)) for row in range(rows)]
                for value, _ in targets
            ]
            for values, (_, memory) in zip(read, targets, strict=True):
                if column.vector:
                    left = e.f.sub(extents[other], column.position)
                    wide = [e.f.splat(value, e.lanes) for value in values]
                    _store(e, wide, memory, at(0, column), left)
                else:
                    for row, value in enumerate(values):
                        memory.store(e, at(row, column), value)

        e.vector_loop(extents[other], vectors)

    e.nest(extents, outer, [None] * len(extents), line)


def _store(
    e: KernelEmitter, rows: Sequence[V], memory: MemorySource, point: Point, left: V
) -> None:
    """The elements of the rows in turn, from a point on; `left` of each exist."""
    pointer = memory.address(e, point, memory.element)
    count = e.f.mul(left, integer(len(rows)))
    for number, value in enumerate(interleaved_rows(e, rows)):
        begin = integer(number * e.lanes)
        mask = None
        if e.mask is not None:
            mask = e.f.first_lanes(e.f.max(e.f.sub(count, begin), ZERO), e.lanes)
        e.f.store(value, e.f.gep(pointer, begin, memory.element), memory.align, mask)


def interleaved_rows(e: KernelEmitter, rows: Sequence[V]) -> list[V]:
    """As many vectors: the first elements of all rows, their second ones and so on."""
    lanes, count = rows[0].lanes, len(rows)
    return [
        _gathered(e, rows, [divmod(number * lanes + i, count) for i in range(lanes)])
        for number in range(count)
    ]


def _gathered(e: KernelEmitter, rows: Sequence[V], places: Sequence[tuple[int, int]]) -> V:
    """A vector of (lane, row) of the rows, by shuffles of two vectors each."""
    made = rows[0]
    for number, row in enumerate(rows[1:], 1):
        picks = ", ".join(
            f"i32 {_pick(i, place, number, len(places))}" for i, place in enumerate(places)
        )
        made = e.f.assign(
            f"shufflevector {made.typed}, {row.typed}, <{len(places)} x i32> <{picks}>",
            made.type,
            made.lanes,
        )
    return made


def _pick(i: int, place: tuple[int, int], number: int, lanes: int) -> int:
    """Which lane of (what is made so far, row `number`) comes to lane i."""
    lane, row = place
    if row == number:
        return lanes + lane
    return lane if number == 1 else i
