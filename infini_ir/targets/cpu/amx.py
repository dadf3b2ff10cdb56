"""Products by the matrix unit of x86 (AMX): bf16 into f32, bytes into i32.

The unit has eight tiles of 16 rows of 64 bytes. Four of them are a block of 32 x 32 results
that stays in them over all of k; two hold 16 rows of the left operand each, two 16 columns
of the right one each, which is in panels (`grouped`). Rows of the left operand are loaded
from where they lie if they are at one distance and a run of k ends where the axis does;
otherwise they are copied to scratch memory first, filled up with zeros. A block of results
passes through memory in the first cache to the vectors that finish it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infini_ir.dialects.tile.types import GROUPS
from infini_ir.targets.cpu.grouped import ROW, GroupedProduct
from infini_ir.targets.cpu.sources import Coordinate, Point
from infini_ir.targets.cpu.writer import ZERO, Function, V, integer
from infini_ir.utils.symbolic import product

if TYPE_CHECKING:
    from infini_ir.targets.cpu.emitter import KernelEmitter

ROWS = 16
"""Rows of a tile."""

BLOCK = 32
"""Rows and columns of a block of results."""

LEAST_FILL = 0.8
"""The share of tiles' rows that lines of an image must fill to be loaded in place."""

LEFT, RIGHT = (4, 5), (6, 7)
"""Numbers of the tiles of the operands; those of results are 0 to 3."""


def run(e: KernelEmitter, p: GroupedProduct) -> None:
    """All blocks of a program's product: panels of columns outside, rows inside."""
    lanes, e.lanes = e.lanes, GROUPS
    _Amx(e, p).run()
    e.lanes = lanes


def even_rows(count: V) -> int:
    """Rows of a tile such that tiles cover so many evenly, 16 where none do."""
    if count.number is None or count.number == 0:
        return ROWS
    total = int(count.number)
    tiles = -(-total // ROWS)
    return total // tiles if total % tiles == 0 else ROWS


def release(f: Function) -> None:
    """Give the tiles up, where a kernel ends: the system then saves them no more."""
    f.module.declare("declare void @llvm.x86.tilerelease()")
    f.emit("call void @llvm.x86.tilerelease()")


@dataclass
class _Left:
    """The left operand by tiles of rows; strides in bytes."""

    pointer: Callable[[V, V], V]
    """Where the tile begins whose first row is at (line, position)."""
    row_stride: V
    outer_strides: list[V]
    run_stride: V


@dataclass
class _Strip:
    """Rows of one or two tiles: `lines` x `count`."""

    line: V
    position: V
    lines: int
    count: V
    tiles: int


class _Amx:
    def __init__(self, e: KernelEmitter, p: GroupedProduct) -> None:
        self.e, self.f, self.p = e, e.f, p
        self.item = 2 if p.depth.group == 2 else 1
        self.cells = e.f.alloca("float", BLOCK * BLOCK)
        self.config = e.f.alloca("i8", 64)
        direct = p.left.k_stride.number == 1 and p.depth.is_whole
        self.flat = len(p.rows) == 2 and not (direct and self._lines_fit())
        """Whether lines follow one another, so that tiles hold rows of several."""
        self.height = e.f.mul(*p.rows) if self.flat else p.rows[-1]
        """Rows of a line."""
        self.size = even_rows(self.height)
        self.left = self._in_place() if direct and not self.flat else self._copied()

    # The left operand

    def _lines_fit(self) -> bool:
        """Whether rows of one line each fill tiles well."""
        width = self.p.row_dims[1].value
        number = self.p.rows[1].number
        if width is None or number is None:
            return False
        return int(number) / (-(-int(number) // ROWS) * ROWS) >= LEAST_FILL

    def _in_place(self) -> _Left:
        a, f = self.p.left, self.f
        strides = [f.mul(s, integer(self.item)) for s in a.free_strides]

        def pointer(line: V, position: V) -> V:
            index = f.mul(position, strides[-1])
            if len(strides) == 2:
                index = f.add(index, f.mul(line, strides[0]))
            return f.gep(a.pointer, index, "i8")

        outer = [f.mul(s, integer(self.item)) for s in a.outer_strides]
        run = integer(self.p.depth.height * 4)
        return _Left(pointer, strides[-1], outer, run)

    def _copied(self) -> _Left:
        """All rows of the program in scratch memory, [tiles, k.., runs, 16, 64 bytes]."""
        p, f = self.p, self.f
        tile_bytes = p.depth.all_runs * (ROWS * ROW)
        count = (product(p.row_dims) + (self.size - 1)) // self.size
        scratch = self.e.scratch(count * tile_bytes)
        run = integer(ROWS * ROW)
        outer: list[V] = []
        step = f.mul(p.depth.runs, run)
        for size in reversed(p.depth.outer):
            outer.insert(0, step)
            step = f.mul(step, size)

        def pointer(line: V, position: V) -> V:
            return f.gep(scratch, f.mul(f.udiv(position, integer(self.size)), step), "i8")

        left = _Left(pointer, integer(ROW), outer, run)
        self._copy(scratch, step, left)
        return left

    def _copy(self, scratch: V, tile: V, left: _Left) -> None:
        p, f, a = self.p, self.f, self.p.left
        lines = p.rows[0] if len(p.rows) == 2 else integer(1)

        def row(line: V, position: V) -> None:
            number = position
            index = f.mul(position, a.free_strides[-1])
            if len(p.rows) == 2:
                number = f.add(f.mul(line, p.rows[1]), position)
                index = f.add(index, f.mul(line, a.free_strides[0]))
            place = f.udiv(number, integer(self.size))
            inside = f.sub(number, f.mul(place, integer(self.size)))
            target = f.gep(scratch, f.mul(place, tile), "i8")
            target = f.gep(target, f.mul(inside, integer(ROW)), "i8")
            self._copy_axes(0, f.gep(a.pointer, index, a.element), target, left)

        f.loop(
            lines, lambda h: f.loop(p.rows[-1], lambda w: row(h, w), hint="row"), hint="line"
        )

    def _copy_axes(self, level: int, source: V, target: V, left: _Left) -> None:
        p, f, a = self.p, self.f, self.p.left
        if level < len(p.depth.outer):

            def inside(i: V) -> None:
                moved = f.gep(source, f.mul(i, a.outer_strides[level]), a.element)
                place = f.gep(target, f.mul(i, left.outer_strides[level]), "i8")
                self._copy_axes(level + 1, moved, place, left)

            f.loop(p.depth.outer[level], inside, hint="k")
            return
        step = p.depth.step

        def one(run: V, count: V) -> None:
            begin = f.mul(f.mul(run, integer(step)), a.k_stride)
            place = f.gep(target, f.mul(run, left.run_stride), "i8")
            self._copy_run(f.gep(source, begin, a.element), place, count)

        whole = f.udiv(p.depth.size, integer(step))
        f.loop(whole, lambda r: one(r, integer(step)), hint="run")
        rest = f.sub(p.depth.size, f.mul(whole, integer(step)))
        f.when(f.compare("sgt", rest, ZERO), lambda: one(whole, rest), hint="rest")

    def _copy_run(self, source: V, target: V, count: V) -> None:
        """Up to 64 bytes of a row, filled up with zeros."""
        a, f = self.p.left, self.f
        lanes = ROW // self.item
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

    # Blocks

    def run(self) -> None:
        """Columns by two panels, then what is left."""
        f, columns = self.f, self.p.columns
        self.main = self._main_rows()
        self._configure(*self.main)
        whole = f.mul(f.udiv(columns, integer(BLOCK)), integer(BLOCK))
        f.loop(whole, lambda j: self._rows(j, 2, None), step=BLOCK, hint="panel")
        rest = f.sub(columns, whole)
        wide = f.compare("sgt", rest, integer(ROWS))
        f.when(wide, lambda: self._rows(whole, 2, rest), hint="edge")
        narrow = f.compare("sgt", rest, ZERO)
        if wide.number is None:
            both = f.assign(f"xor i1 {wide.text}, true", "i1")
            narrow = f.assign(f"and i1 {narrow.text}, {both.text}", "i1")
        elif wide.number:
            return
        f.when(narrow, lambda: self._rows(whole, 1, rest), hint="edge")

    def _main_rows(self) -> tuple[V, V]:
        """Rows of the two tiles of most strips."""
        width = self.height.number
        if len(self.p.rows) == 2 and not self.flat and width is not None and width <= ROWS:
            return self.height, self.height
        if width is not None and width < 2 * self.size:
            return self._tile_rows(self.height)
        return integer(self.size), integer(self.size)

    def _tile_rows(self, count: V) -> tuple[V, V]:
        first = self.f.min(count, integer(self.size))
        second = self.f.max(self.f.sub(count, integer(self.size)), integer(1))
        return first, second

    def _rows(self, column: V, panels: int, rest: V | None) -> None:
        f, p = self.f, self.p
        if len(p.rows) == 2 and not self.flat:
            if self.main[0] is self.height:
                whole = f.mul(f.udiv(p.rows[0], integer(2)), integer(2))
                pair = lambda h: _Strip(h, ZERO, 2, self.height, 2)  # noqa: E731
                f.loop(
                    whole,
                    lambda h: self._strip(pair(h), column, panels, rest),
                    step=2,
                    hint="strip",
                )
                odd = f.compare("sgt", f.sub(p.rows[0], whole), ZERO)
                last = _Strip(whole, ZERO, 1, self.height, 1)
                f.when(odd, lambda: self._strip(last, column, panels, rest), hint="odd")
                return
            f.loop(p.rows[0], lambda h: self._line(h, column, panels, rest), hint="line")
            return
        self._line(ZERO, column, panels, rest)

    def _line(self, line: V, column: V, panels: int, rest: V | None) -> None:
        """Strips of two tiles, then one of what is left."""
        f = self.f
        whole = f.mul(f.udiv(self.height, integer(2 * self.size)), integer(2 * self.size))
        full = lambda i: _Strip(line, i, 1, integer(2 * self.size), 2)  # noqa: E731
        f.loop(
            whole,
            lambda i: self._strip(full(i), column, panels, rest),
            step=2 * self.size,
            hint="strip",
        )
        left = f.sub(self.height, whole)
        wide = f.compare("sgt", left, integer(self.size))

        def tail(tiles: int) -> None:
            rows = self._tile_rows(left)
            other = tuple(r.text for r in rows) != tuple(r.text for r in self.main)
            if other:
                self._configure(*rows)
            self._strip(_Strip(line, whole, 1, left, tiles), column, panels, rest)
            if other:
                self._configure(*self.main)

        f.when(wide, lambda: tail(2), hint="tail")
        some = f.compare("sgt", left, ZERO)
        if wide.number is None:
            not_wide = f.assign(f"xor i1 {wide.text}, true", "i1")
            some = f.assign(f"and i1 {some.text}, {not_wide.text}", "i1")
        elif wide.number:
            return
        f.when(some, lambda: tail(1), hint="tail")

    def _strip(self, strip: _Strip, column: V, panels: int, rest: V | None) -> None:
        level = self.e.enter()
        self._multiply(strip, column, panels)
        self._store_tiles(strip, panels)
        self._finish(strip, column, panels, rest)
        self.e.leave(level)

    def _multiply(self, strip: _Strip, column: V, panels: int) -> None:
        f, p = self.f, self.p
        f.module.declare("declare void @llvm.x86.tilezero(i8)")
        for number in self._results(strip, panels):
            f.emit(f"call void @llvm.x86.tilezero(i8 {number})")
        rows = [self.left.pointer(strip.line, strip.position)]
        if strip.tiles == 2:
            second = (
                (f.add(strip.line, integer(1)), strip.position)
                if strip.lines == 2
                else (strip.line, f.add(strip.position, integer(self.size)))
            )
            rows.append(self.left.pointer(*second))
        panel = f.udiv(column, integer(GROUPS))
        first = f.gep(p.right.pointer, f.mul(panel, p.right.panel_stride), "i8")
        right = [first]
        if panels == 2:
            right.append(f.gep(first, p.right.panel_stride, "i8"))
        self._k_loops(0, rows, right)

    @staticmethod
    def _results(strip: _Strip, panels: int) -> list[int]:
        return [2 * t + v for t in range(strip.tiles) for v in range(panels)]

    def _k_loops(self, level: int, rows: list[V], right: list[V]) -> None:
        f, p, left = self.f, self.p, self.left
        if level < len(p.depth.outer):

            def inside(i: V) -> None:
                a, b = (
                    f.mul(i, left.outer_strides[level]),
                    f.mul(i, p.right.outer_strides[level]),
                )
                moved = [f.gep(pointer, a, "i8") for pointer in rows]
                self._k_loops(level + 1, moved, [f.gep(q, b, "i8") for q in right])

            f.loop(p.depth.outer[level], inside, hint="k")
            return

        def step(i: V) -> None:
            a, b = f.mul(i, left.run_stride), f.mul(i, p.right.run_stride)
            self._products(
                [f.gep(pointer, a, "i8") for pointer in rows],
                [f.gep(pointer, b, "i8") for pointer in right],
            )

        f.loop(p.depth.runs, step, hint="k")

    def _products(self, rows: list[V], right: list[V]) -> None:
        """One run of k for a block: each tile is loaded just before its first use."""
        for v, pointer in enumerate(right):
            self._load(RIGHT[v], pointer, integer(ROW))
            if v == 0:
                self._load(LEFT[0], rows[0], self.left.row_stride)
            self._dot(v, LEFT[0], RIGHT[v])
        for t, pointer in enumerate(rows[1:], 1):
            self._load(LEFT[t], pointer, self.left.row_stride)
            for v in range(len(right)):
                self._dot(2 * t + v, LEFT[t], RIGHT[v])

    def _load(self, tile: int, pointer: V, stride: V) -> None:
        self.f.module.declare("declare void @llvm.x86.tileloadd64(i8, ptr, i64)")
        self.f.emit(
            f"call void @llvm.x86.tileloadd64(i8 {tile}, ptr {pointer.text}, {stride.typed})"
        )

    def _dot(self, result: int, left: int, right: int) -> None:
        name = "tdpbf16ps"
        if self.p.depth.group == 4:
            a, b = ("u" if unsigned else "s" for unsigned in self.p.unsigned)
            name = f"tdpb{a}{b}d"
        self.f.module.declare(f"declare void @llvm.x86.{name}(i8, i8, i8)")
        self.f.emit(f"call void @llvm.x86.{name}(i8 {result}, i8 {left}, i8 {right})")

    # Results

    def _store_tiles(self, strip: _Strip, panels: int) -> None:
        f = self.f
        f.module.declare("declare void @llvm.x86.tilestored64(i8, ptr, i64)")
        for number in self._results(strip, panels):
            index = number // 2 * self.size * BLOCK + number % 2 * GROUPS
            cell = f.gep(self.cells, integer(index), "float")
            f.emit(
                f"call void @llvm.x86.tilestored64(i8 {number}, ptr {cell.text}, i64 {4 * BLOCK})"
            )

    def _finish(self, strip: _Strip, column: V, panels: int, rest: V | None) -> None:
        """What follows the product, row by row."""
        e, f, p = self.e, self.f, self.p
        columns = [Coordinate(f.add(column, integer(v * GROUPS)), True) for v in range(panels)]
        masks = self._masks(panels, rest)

        def row(t: int, r: V) -> None:
            level = e.enter()
            line = f.add(strip.line, integer(t))
            at = self._point(line, f.add(strip.position, r))
            begin = f.mul(f.add(r, integer(t * self.size)), integer(BLOCK))
            for v, coordinate in enumerate(columns):
                cell = f.gep(self.cells, f.add(begin, integer(v * GROUPS)), "float")
                value = f.load(cell, p.accumulator, GROUPS, 64)
                e.mask = masks[v]
                p.finish((*at, coordinate), value)
                e.mask = None
            e.leave(level)

        for t in range(strip.lines):
            f.loop(strip.count, lambda r, t=t: row(t, r), hint="finish")

    def _masks(self, panels: int, rest: V | None) -> list[V | None]:
        masks: list[V | None] = []
        for v in range(panels):
            if rest is None:
                masks.append(None)
                continue
            left = self.f.sub(rest, integer(v * GROUPS))
            whole = left.number is not None and int(left.number) >= GROUPS
            masks.append(None if whole else self.f.first_lanes(left, GROUPS))
        return masks

    def _point(self, line: V, position: V) -> Point:
        if len(self.p.rows) == 1:
            return (Coordinate(position),)
        if not self.flat:
            return (Coordinate(line), Coordinate(position))
        width = self.p.rows[1]
        line = self.f.udiv(position, width)
        return (Coordinate(line), Coordinate(self.f.sub(position, self.f.mul(line, width))))

    # The shape of tiles

    def _configure(self, first: V, second: V) -> None:
        """Set rows and bytes of all tiles: palette 1; results and rows of the left operand
        have so many rows, the right operand's as many as there are groups in a run."""
        f = self.f
        height = self.p.depth.height
        rows = {0: first, 1: first, 2: second, 3: second, LEFT[0]: first, LEFT[1]: second}
        data = bytearray(64)
        data[0] = 1
        for tile in range(8):
            wide = 4 * height if tile in LEFT else ROW
            data[16 + 2 * tile] = wide
            data[48 + tile] = height if tile in RIGHT else int(rows[tile].number or 0)
        text = "".join(f"\\{byte:02X}" for byte in data)
        f.emit(f'store [64 x i8] c"{text}", ptr {self.config.text}, align 64')
        for tile, count in rows.items():
            if count.number is None:
                byte = f.assign(f"trunc i64 {count.text} to i8", "i8")
                f.store(byte, f.gep(self.config, integer(48 + tile), "i8"), 1)
        f.module.declare("declare void @llvm.x86.ldtilecfg(ptr)")
        f.emit(f"call void @llvm.x86.ldtilecfg(ptr {self.config.text})")
