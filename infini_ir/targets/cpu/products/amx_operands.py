"""Operands of products across on the matrix unit: rows of k, and pairs of k side by side.

A tile of the unit's left operand is 16 lines of 32 elements along k; factors whose k has
stride 1 are read where they lie, others are turned by shuffles. A tile of its right operand
is 16 pairs of k, each for 16 rows of the product side by side; its elements beyond the end of
k are zeros on both sides, as what lies there might be a NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xdsl.dialects.builtin import BFloat16Type
from xdsl.ir import SSAValue

from infini_ir.dialects import tile
from infini_ir.targets.cpu.kernel.sources import MemorySource
from infini_ir.targets.cpu.llvm.writer import ONE, ZERO, V, integer
from infini_ir.targets.cpu.sweeps.transposing import interleaved, transposed
from infini_ir.utils.symbolic import Dim

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter

RUN = 32
"""Elements of bf16 along k in a line of a tile."""

LINES = 16
"""Lines of a tile."""

LINE = 64
"""Bytes of a line."""


@dataclass(frozen=True)
class LeftTiles:
    """Lines of 32 elements along k; strides in bytes."""

    pointer: V
    row_stride: V
    run_stride: V
    runs_in_place: int = 0
    """How many runs a row has where it lies in its own place."""

    def place(self, e: KernelEmitter, run: V, first: V, number: int) -> V:
        """Where a tile begins, so many tiles after the one of a first row."""
        row = e.f.mul(e.f.add(first, integer(number * LINES)), self.row_stride)
        return e.f.gep(e.f.gep(self.pointer, e.f.mul(run, self.run_stride), "i8"), row, "i8")


@dataclass(frozen=True)
class Pairs:
    """[k / 2, rows, 2] in bf16, k filled up to whole runs."""

    pointer: V
    rows: V
    """Capacity: a multiple of 16."""
    runs: Dim

    @property
    def stride(self) -> V:
        """Bytes from a pair of k to the next."""
        return integer(4 * int(self.rows.number or 0))

    def place(self, e: KernelEmitter, run: V, row: V, number: int) -> V:
        """Where a tile begins, so many tiles after the one of a first row."""
        return self.pair(e, e.f.mul(run, integer(LINES)), row, number * LINES)

    def pair(self, e: KernelEmitter, pair: V, row: V, more: int = 0) -> V:
        begin = e.f.gep(self.pointer, e.f.mul(pair, self.stride), "i8")
        return e.f.gep(begin, e.f.mul(e.f.add(row, integer(more)), integer(4)), "i8")


def new_pairs(e: KernelEmitter, value: SSAValue) -> Pairs:
    """Scratch memory for a left factor [rows, k]."""
    rows, depth = (d.substitute(e.plan.substitution) for d in tile.tile_type(value).shape)
    runs = (depth + (RUN - 1)) // RUN
    return Pairs(e.scratch(runs * (rows * (RUN * 2))), e.sizes.of(rows), runs)


def pairs_of(e: KernelEmitter, value: SSAValue) -> Pairs:
    """A left factor in pairs; what was made before is used again."""
    known = e.pairs.get(value)
    if known is None:
        known = new_pairs(e, value)
        _pair_rows(e, value, known)
        e.pairs[value] = known
    return known


def _pair_rows(e: KernelEmitter, value: SSAValue, pairs: Pairs) -> None:
    """Rows of 32 elements as 16 pairs, by turning squares of 16 rows."""
    source = _by_rows(e, value)
    rows, depth = e.extents(value)
    f, line = e.f, integer(LINES)

    def square(first: V, run: V, count: V | None, width: V | None) -> None:
        lines: list[V] = []
        for i in range(LINES):
            row = f.add(first, integer(i))
            mask = _existing(e, row, count and rows, width or integer(RUN), RUN, width is None)
            index = f.add(f.mul(row, source.strides[0]), f.mul(run, integer(RUN)))
            words = f.load(f.gep(source.pointer, index, "i16"), "i16", RUN, 2, mask)
            lines.append(f.assign(f"bitcast {words.typed} to <16 x i32>", "i32", LINES))
        for j, pair in enumerate(transposed(e, lines)):
            number = f.add(f.mul(run, line), integer(j))
            f.store(pair, pairs.pair(e, number, first), LINE)

    def along(first: V, count: V | None) -> None:
        _pieces(e, depth, RUN, lambda begin, width: square(
            first, f.udiv(begin, integer(RUN)), count, width))  # fmt: skip

    _pieces(e, rows, LINES, along)


def left_of(e: KernelEmitter, op: tile.DotOp) -> LeftTiles:
    """The right factor as lines along k: in place, filled up, or turned."""
    known = e.lines.get(op.rhs)
    if known is not None:
        return _from_position(e, op, known)
    source = _by_rows(e, op.rhs)
    extents = e.extents(op.rhs)
    capacity = [d.substitute(e.plan.substitution) for d in tile.tile_type(op.rhs).shape]
    if op.transposed is None:
        lines = _new_lines(e, capacity)
        _turn(e, source, extents, lines)
        return lines
    depth = extents[1].number
    if depth is not None and depth % RUN == 0:
        stride = e.f.mul(source.strides[0], integer(2))
        return LeftTiles(source.pointer, stride, integer(LINE), int(depth) // RUN)
    return _filled(e, source, extents, capacity)


def _by_rows(e: KernelEmitter, value: SSAValue) -> MemorySource:
    """A factor in memory with stride 1 along its last axis."""
    e.prepare(value)
    source = e.sources[value]
    if (
        isinstance(source, MemorySource)
        and source.element == "bfloat"
        and source.strides[1].number == 1
    ):
        return source
    rows, columns = (d.substitute(e.plan.substitution) for d in tile.tile_type(value).shape)
    pointer = e.scratch(rows * columns * 2)
    memory = MemorySource(pointer, (e.sizes.of(columns), ONE), "bfloat", 2)
    e.sweep([(value, memory)], e.extents(value))
    return memory


def _filled(
    e: KernelEmitter, source: MemorySource, extents: list[V], capacity: list[Dim]
) -> LeftTiles:
    """A copy of rows along k, filled up with zeros."""
    f = e.f
    runs = (capacity[1] + (RUN - 1)) // RUN
    stride = f.mul(e.sizes.of(runs), integer(LINE))
    pointer = e.scratch(capacity[0] * runs * LINE)

    def row(i: V) -> None:
        begin = f.gep(source.pointer, f.mul(i, source.strides[0]), "i16")
        line = f.gep(pointer, f.mul(i, stride), "i8")

        def piece(k: V, count: V | None) -> None:
            mask = None if count is None else f.first_lanes(count, RUN)
            words = f.load(f.gep(begin, k, "i16"), "i16", RUN, 2, mask)
            f.store(words, f.gep(line, k, "i16"), LINE)

        _pieces(e, extents[1], RUN, piece)

    f.loop(extents[0], row, hint="row")
    return LeftTiles(pointer, stride, integer(LINE))


def lines_before(e: KernelEmitter, loop: tile.ForOp) -> None:
    """Turn right factors that a loop goes along before it begins, all of them: the programs
    of a worker that read the same ones find them there."""
    for op in loop.body.block.ops:
        if not isinstance(op, tile.DotOp) or op.transposed is not None:
            continue
        load = op.rhs.owner
        if not isinstance(load, tile.LoadOp) or not _goes_along(e, loop, load):
            continue
        keys = tile.view_type(load.view).shape[load.axis_list[0]]
        e.scalars[loop.body.block.args[0]] = ZERO
        pointer, strides = e.slice_address(load.view, load.offsets, load.axis_list)
        source = MemorySource(pointer, strides, "bfloat", 2)
        extents = e.access_extents(load.view, load.offsets, load.axis_list, load.out)
        extents[0] = e.sizes.of(keys)
        width = tile.tile_type(load.out).shape[1].substitute(e.plan.substitution)
        lines = _new_lines(e, [keys, width])
        when_new(e, pointer, lambda s=source, x=extents, to=lines: _turn(e, s, x, to))
        e.lines[op.rhs] = lines


def _goes_along(e: KernelEmitter, loop: tile.ForOp, load: tile.LoadOp) -> bool:
    """Whether a load in a loop takes whole runs of k, from the first on."""
    view, position = tile.view_type(load.view), loop.body.block.args[0]
    others = [o for axis, o in enumerate(load.offsets) if axis != load.axis_list[0]]
    step = e.sizes.of(loop.step_size).number
    return (
        load.parent is loop.body.block
        and load.offsets[load.axis_list[0]] is position
        and step is not None
        and step % RUN == 0
        and isinstance(view.element, BFloat16Type)
        and view.strides[load.axis_list[1]].value == 1
        and all(offset in e.scalars for offset in others)
    )


def when_new(e: KernelEmitter, pointer: V, body: Callable[[], None]) -> None:
    """The body unless the program before had the same pointer."""
    f = e.f
    last = f.alloca("i64", initial="0")
    now = f.assign(f"ptrtoint {pointer.typed} to i64", "i64")
    before = f.load(last, "i64", 1, 8)
    f.store(now, last, 8)
    f.when(f.compare("ne", now, before), body, "new")


def _from_position(e: KernelEmitter, op: tile.DotOp, lines: LeftTiles) -> LeftTiles:
    """Of lines made before a loop, those from where it is."""
    load = op.rhs.owner
    assert isinstance(load, tile.LoadOp)
    position = e.scalar(load.offsets[load.axis_list[0]])
    run = e.f.udiv(position, integer(RUN))
    pointer = e.f.gep(lines.pointer, e.f.mul(run, lines.run_stride), "i8")
    return LeftTiles(pointer, lines.row_stride, lines.run_stride)


def _new_lines(e: KernelEmitter, capacity: list[Dim]) -> LeftTiles:
    """Scratch memory [runs, columns, 32] for a right factor [k, columns]."""
    columns = (capacity[1] + (LINES - 1)) // LINES * LINES
    runs = (capacity[0] + (RUN - 1)) // RUN
    pointer = e.scratch(runs * columns * LINE)
    return LeftTiles(pointer, integer(LINE), e.f.mul(e.sizes.of(columns), integer(LINE)))


def _turn(e: KernelEmitter, source: MemorySource, extents: list[V], lines: LeftTiles) -> None:
    """[k, columns] as [runs, columns, 32]: squares of 16 pairs of k by 16 columns, turned."""
    f = e.f

    def square(first: V, column: V, count: V | None, width: V | None) -> None:
        pairs: list[V] = []
        for i in range(0, RUN, 2):
            both: list[V] = []
            for k in (f.add(first, integer(i)), f.add(first, integer(i + 1))):
                mask = _existing(
                    e, k, count and extents[0], width or integer(LINES), LINES, width is None
                )
                index = f.add(f.mul(k, source.strides[0]), column)
                both.append(f.load(f.gep(source.pointer, index, "i16"), "i16", LINES, 2, mask))
            pairs.append(interleaved(e, *both))
        begin = f.mul(f.udiv(first, integer(RUN)), lines.run_stride)
        place = f.gep(lines.pointer, begin, "i8")
        for j, line in enumerate(transposed(e, pairs)):
            at = f.mul(f.add(column, integer(j)), integer(LINE))
            f.store(line, f.gep(place, at, "i8"), LINE)

    def run(first: V, count: V | None) -> None:
        _pieces(e, extents[1], LINES, lambda column, width: square(first, column, count, width))

    _pieces(e, extents[0], RUN, run)


def _existing(
    e: KernelEmitter, row: V, rows: V | None, width: V, lanes: int, whole: bool
) -> V | None:
    """The lanes of a row that exist; `rows`: how many rows do, None: this one does."""
    if rows is None:
        return None if whole else e.f.first_lanes(width, lanes)
    exists = e.f.compare("slt", row, rows)
    return e.f.first_lanes(e.f.select(exists, width, ZERO), lanes)


def _pieces(
    e: KernelEmitter, extent: V, size: int, body: Callable[[V, V | None], None]
) -> None:
    """The body for (begin, None) of whole pieces, then with the count of what is left."""
    f = e.f
    whole = f.mul(f.udiv(extent, integer(size)), integer(size))
    rest = f.sub(extent, whole)

    def scoped(begin: V, count: V | None) -> None:
        level = e.enter()
        body(begin, count)
        e.leave(level)

    f.loop(whole, lambda i: scoped(i, None), step=size, hint="piece")
    f.when(f.compare("sgt", rest, ZERO), lambda: scoped(whole, rest), "edge")
