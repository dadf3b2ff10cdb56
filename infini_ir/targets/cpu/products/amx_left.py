"""The left operand of a product on the matrix unit: tiles of 16 rows of 64 bytes.

Rows are loaded from where they lie if they are at one distance and a run of k ends where the
axis does; otherwise they are copied to scratch memory first, filled up with zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infini_ir.targets.cpu.llvm.writer import ZERO, V, integer
from infini_ir.targets.cpu.products.grouped import ROW, GroupedProduct
from infini_ir.utils.symbolic import Dim, product

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter

ROWS = 16
"""Rows of a tile at most."""

AHEAD = 1 << 10
"""Bytes ahead that rows are fetched while tiles are made of them."""

LEAST_FILL = 0.8
"""The share of tiles' rows that lines of an image must fill to be loaded in place."""


def even_rows(count: V) -> int:
    """Rows of a tile such that tiles cover so many evenly, 16 where none do."""
    if count.number is None or count.number == 0:
        return ROWS
    total = int(count.number)
    tiles = -(-total // ROWS)
    return total // tiles if total % tiles == 0 else ROWS


@dataclass
class Left:
    """The left operand by tiles of rows; strides in bytes."""

    pointer: Callable[[V, V], V]
    """Where the tile begins whose first row is at (line, position)."""
    row_stride: V
    outer_strides: list[V]
    """Of the contracted axes but the last; none in a copy, whose runs follow one another."""
    run_stride: V
    copy: Callable[[V, V], None] | None = None
    """Makes a copy of so many rows from a position on; None: the operand is in place."""


def lines_fit(p: GroupedProduct) -> bool:
    """Whether rows of one line of an image each fill tiles well."""
    width = p.rows[1].number
    if width is None or width == 0:
        return False
    return int(width) / (-(-int(width) // ROWS) * ROWS) >= LEAST_FILL


def is_direct(p: GroupedProduct) -> bool:
    """Whether runs of k can be loaded from where they lie."""
    return p.left.k_stride.number == 1 and p.depth.is_whole


def _is_plain(p: GroupedProduct) -> bool:
    """Whether rows are of one axis and their runs follow one another in whole lines of 64 bytes."""
    one = len(p.rows) == 1 and not p.depth.outer
    return one and is_direct(p) and 4 * p.depth.height == ROW


def in_place(e: KernelEmitter, p: GroupedProduct) -> Left:
    """The rows where they lie."""
    a, f, item = p.left, e.f, integer(4 // p.depth.group)
    strides = [f.mul(s, item) for s in a.free_strides]

    def pointer(line: V, position: V) -> V:
        index = f.mul(position, strides[-1])
        if len(strides) == 2:
            index = f.add(index, f.mul(line, strides[0]))
        return f.gep(a.pointer, index, "i8")

    outer = [f.mul(s, item) for s in a.outer_strides]
    return Left(pointer, strides[-1], outer, integer(p.depth.height * 4))


def copied(e: KernelEmitter, p: GroupedProduct, size: int, tiles: Dim | None) -> Left:
    """Rows in scratch memory, [tiles, runs, 16, 64 bytes], lines one after the other: all of
    the program, or the last so many tiles that were asked for."""
    f = e.f
    all_tiles = (product(p.row_dims) + (size - 1)) // size
    scratch = e.scratch((all_tiles if tiles is None else tiles) * p.depth.all_runs * ROWS * ROW)
    tile = f.mul(e.sizes.of(p.depth.all_runs), integer(ROWS * ROW))

    def place(position: V) -> V:
        number = f.udiv(position, integer(size))
        if tiles is not None:
            number = f.sub(number, f.mul(f.udiv(number, e.sizes.of(tiles)), e.sizes.of(tiles)))
        return f.gep(scratch, f.mul(number, tile), "i8")

    writer = _Copy(e, p)

    def copy(position: V, count: V) -> None:
        def one(r: V) -> None:
            row = f.add(position, r)
            inside = f.sub(row, f.mul(f.udiv(row, integer(size)), integer(size)))
            writer.row(row, f.gep(place(row), f.mul(inside, integer(ROW)), "i8"))

        whole = ZERO
        if _is_plain(p):

            def tile(r: V) -> None:
                row = f.add(position, r)
                writer.tile(row, size, place(row))

            whole = f.mul(f.udiv(count, integer(size)), integer(size))
            f.loop(whole, tile, step=size, hint="tile")
        f.loop(count, one, start=whole, hint="row")

    return Left(lambda _, q: place(q), integer(ROW), [], integer(ROWS * ROW), copy)


class _Copy:
    """Rows of the left operand as runs of 64 bytes, one every tile."""

    def __init__(self, e: KernelEmitter, p: GroupedProduct) -> None:
        self.f, self.p = e.f, p
        self.strides: list[V] = []
        step = e.f.mul(p.depth.runs, integer(ROWS * ROW))
        for size in reversed(p.depth.outer):
            self.strides.insert(0, step)
            step = e.f.mul(step, size)

    def tile(self, first: V, rows: int, target: V) -> None:
        """Copy whole runs of the rows of a tile from one on: all of one run before the next, so
        that memory is written from front to back."""
        f, a = self.f, self.p.left
        stride = f.mul(a.free_strides[0], integer(4 // self.p.depth.group))
        begin = f.gep(a.pointer, f.mul(first, stride), "i8")

        def run(number: V) -> None:
            source = f.gep(begin, f.mul(number, integer(ROW)), "i8")
            place = f.gep(target, f.mul(number, integer(ROWS * ROW)), "i8")
            for row in range(rows):
                line = f.gep(source, f.mul(integer(row), stride), "i8")
                f.prefetch(f.gep(line, integer(AHEAD), "i8"), level=2)
                value = f.load(line, "i32", ROW // 4, 1)
                f.store(value, f.gep(place, integer(row * ROW), "i8"), 64)

        f.loop(self.p.depth.runs, run, hint="run")

    def row(self, number: V, target: V) -> None:
        """Copy the row of this number, lines counted one after the other."""
        f, a = self.f, self.p.left
        index = f.mul(number, a.free_strides[-1])
        if len(self.p.rows) == 2:
            width = self.p.rows[1]
            line = f.udiv(number, width)
            position = f.sub(number, f.mul(line, width))
            index = f.mul(position, a.free_strides[1])
            index = f.add(index, f.mul(line, a.free_strides[0]))
        self._axes(0, f.gep(a.pointer, index, a.element), target)

    def _axes(self, level: int, source: V, target: V) -> None:
        p, f, a = self.p, self.f, self.p.left
        if level < len(p.depth.outer):

            def inside(i: V) -> None:
                moved = f.gep(source, f.mul(i, a.outer_strides[level]), a.element)
                place = f.gep(target, f.mul(i, self.strides[level]), "i8")
                self._axes(level + 1, moved, place)

            f.loop(p.depth.outer[level], inside, hint="k")
            return
        step = integer(p.depth.step)

        def one(run: V, count: V) -> None:
            begin = f.mul(f.mul(run, step), a.k_stride)
            place = f.gep(target, f.mul(run, integer(ROWS * ROW)), "i8")
            self._run(f.gep(source, begin, a.element), place, count)

        whole = f.udiv(p.depth.size, step)
        f.loop(whole, lambda r: one(r, step), hint="run")
        rest = f.sub(p.depth.size, f.mul(whole, step))
        f.when(f.compare("sgt", rest, ZERO), lambda: one(whole, rest), hint="rest")

    def _run(self, source: V, target: V, count: V) -> None:
        """Up to 64 bytes of a row, filled up with zeros."""
        a, f = self.p.left, self.f
        lanes = ROW * self.p.depth.group // 4
        mask = None
        if count.number is None or int(count.number) < lanes:
            mask = f.first_lanes(count, lanes)
        if a.k_stride.number == 1:
            value = f.load(source, a.element, lanes, 1, mask)
        else:
            numbers = f.lane_numbers(lanes)
            step = f.splat(a.k_stride, lanes)
            indices = f.assign(
                f"mul {numbers.full_type} {numbers.text}, {step.text}", "i64", lanes
            )
            value = f.gather(f.addresses(source, indices, a.element), a.element, 1, mask)
        f.store(value, target, 64)
