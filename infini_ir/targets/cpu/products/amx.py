"""Products by the matrix unit of x86 (AMX): bf16 into f32, bytes into i32.

The unit has eight tiles of 16 rows of 64 bytes. Four of them are a block of 32 x 32 results,
two hold 16 rows of the left operand each, two 16 columns of the right one each, which is in
panels (`grouped`). A block of results passes through memory in the first cache to the vectors
that finish it.

Either strips of rows are the outer loop of a program and panels of columns the inner one, or
the other way round (`Plan.outer`): the inner operand stays in the second cache, the next strip
of the outer one is fetched meanwhile. A block is finished row by row between the products of the
next one, which keep the unit busy meanwhile. Loads of tiles overlap with products: from the first
cache they take half the time of these, from the second one a third more than these. Parts of k
that keep a strip in the first cache pay for large products (`amx_parts`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from infini_ir.dialects.tile.types import GROUPS
from infini_ir.targets.cpu.kernel.sources import Coordinate, Point
from infini_ir.targets.cpu.llvm.writer import ZERO, Function, V, integer
from infini_ir.targets.cpu.products import amx_left
from infini_ir.targets.cpu.products.amx_left import ROWS, even_rows
from infini_ir.targets.cpu.products.grouped import ROW, GroupedProduct
from infini_ir.utils.symbolic import Dim, product

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter
    from infini_ir.targets.cpu.plans.plan import Plan

BLOCK = 32
"""Rows and columns of a block of results."""


FETCHES = 8
"""Lines fetched ahead in a run of k at most."""

AHEAD = 1 << 14
"""Bytes ahead at most that a panel is fetched which a single strip of rows passes."""

OVERLAPPED_RUNS = 12
"""Runs of k from which on a block is finished during the next one: fewer give it no time."""

AWAKE_RUNS = 12
"""Runs of k from which on the vectors' floating-point units are kept awake. Tiles are stored
by them, and with nothing to do they sleep after 0.6 us, 20 runs; waking up takes 0.3 us."""

UNKNOWN_STRIPS = 4
"""Strips that fetch the next panels where their number is symbolic."""

LEFT, RIGHT = (4, 5), (6, 7)
"""Numbers of the tiles of the operands; those of results are 0 to 3."""


def run(e: KernelEmitter, p: GroupedProduct) -> None:
    """All blocks of a program's product."""
    lanes, e.lanes = e.lanes, GROUPS
    Amx(e, p).run()
    e.lanes = lanes


def columns_pass_once(plan: Plan) -> bool:
    """Whether a program uses two panels of bf16 for all rows before the next two. Bytes come in
    lines of more than two panels."""
    return plan.unit == "amx" and plan.outer == "columns" and plan.group == 2


def release(f: Function) -> None:
    """Give the tiles up, where a kernel ends: the system then saves them no more."""
    f.module.declare("declare void @llvm.x86.tilerelease()")
    f.emit("call void @llvm.x86.tilerelease()")


@dataclass(frozen=True)
class Strip:
    """Rows of one or two tiles: `lines` x `count`."""

    line: V
    position: V
    lines: int
    count: V
    tiles: int


@dataclass(frozen=True)
class Panels:
    """Columns of one or two panels."""

    column: V
    count: int
    rest: V | None
    """How many columns there are, None: all."""


@dataclass(frozen=True)
class _Beside:
    """What is done in each run of k: before its products, of pointers to the right operand's
    tiles and the run's number along the last axis, and after them, of its number of all."""

    before: Callable[[list[V], V], None]
    after: Callable[[V], None] | None


T = TypeVar("T", contravariant=True)


class _Several(Protocol[T]):
    """Goes through all equal strips, or panels, of an axis."""

    def __call__(self, count: V, at: Callable[[V], T], step: int, hint: str) -> None: ...


class Amx:
    """A program's product: its blocks, and the loops that go through them."""

    def __init__(self, e: KernelEmitter, p: GroupedProduct) -> None:
        self.e, self.f, self.p = e, e.f, p
        self.by_rows = e.plan.outer == "rows"
        self.cells = e.f.alloca("float", 2 * BLOCK * BLOCK)
        """Two blocks of results: one is written while the other one is finished."""
        self.config = e.f.alloca("i8", 64)
        self.idle = e.f.alloca(f"<{GROUPS} x float>", initial="zeroinitializer")
        """Zeros that are added up to keep units awake."""
        strip = p.depth.all_runs.value
        self.crowded = len(p.rows) == 1 and (
            strip is None or 2 * BLOCK * 4 * p.depth.height * strip > e.features.l1_bytes
        )
        """Whether a strip of each operand are too much for the first cache. Not asked of images,
        whose strips share most of their elements."""
        direct = amx_left.is_direct(p)
        self.flat = len(p.rows) == 2 and not (direct and amx_left.lines_fit(p))
        """Whether lines follow one another, so that tiles hold rows of several."""
        self.height = e.f.mul(*p.rows) if self.flat else p.rows[-1]
        """Rows of a line."""
        self.size = even_rows(self.height)
        self.main = self._main_rows()
        """Rows of the two tiles of most strips."""
        if direct and not self.flat and not e.plan.part:
            self.left = amx_left.in_place(e, p)
        else:
            tiles = Dim.of(2) if self.by_rows else None
            self.left = amx_left.copied(e, p, self.size, tiles)

    def _strip_dim(self) -> Dim:
        """How many strips a program has at most."""
        if len(self.p.rows) == 1 or self.flat:
            return (product(self.p.row_dims) + (2 * self.size - 1)) // (2 * self.size)
        if self.main[0] is self.height:
            return (self.p.row_dims[0] + 1) // 2
        return self.p.row_dims[0] * self._line_strips()

    def _line_strips(self) -> int:
        return -(-int(self.height.number or 0) // (2 * self.size))

    def _strip_number(self, strip: Strip) -> V:
        f = self.f
        inside = f.udiv(strip.position, integer(2 * self.size))
        if len(self.p.rows) == 1 or self.flat:
            return inside
        if self.main[0] is self.height:
            return f.udiv(strip.line, integer(2))
        return f.add(f.mul(strip.line, integer(self._line_strips())), inside)

    def _panel_dim(self) -> Dim:
        return (self.p.column_dim + (BLOCK - 1)) // BLOCK

    # Loops

    def run(self) -> None:
        """Strips and panels, one inside the other."""
        self._configure(*self.main)
        if self.by_rows:
            self._strips(self._outer_loop(self._row_outside), self._row_outside)
            return
        if self.left.copy is not None:
            self.left.copy(ZERO, self.height)
        self._panels(self._outer_loop(self._column_outside), self._column_outside)

    def _row_outside(self, strip: Strip) -> None:
        if self.left.copy is not None:
            self.left.copy(strip.position, strip.count)

        def several(count: V, at: Callable[[V], Panels], step: int, hint: str) -> None:
            self._overlapped(count, lambda j: (strip, at(j)), step, hint)

        self._panels(several, lambda panels: self._block(strip, panels))

    def _column_outside(self, panels: Panels) -> None:
        if self.p.right.fill is not None:
            count = integer(BLOCK) if panels.rest is None else panels.rest
            self.p.right.fill(panels.column, count)

        def several(count: V, at: Callable[[V], Strip], step: int, hint: str) -> None:
            self._overlapped(count, lambda i: (at(i), panels), step, hint)

        self._strips(several, lambda strip: self._block(strip, panels))

    def _outer_loop(self, body: Callable[[T], None]) -> _Several[T]:
        def several(count: V, at: Callable[[V], T], step: int, hint: str) -> None:
            self.f.loop(count, lambda i: body(at(i)), step=step, hint=hint)

        return several

    def _overlapped(
        self, count: V, at: Callable[[V], tuple[Strip, Panels]], step: int, hint: str
    ) -> None:
        """Blocks of one shape, each finished during the products of the next one: a few rows
        after each run, as the processor looks no further ahead than some runs."""
        f = self.f
        runs = self.p.depth.all_runs.value or 0
        single = count.number is not None and int(count.number) <= step
        # Convolutions measured slower by it: results of theirs take more arithmetic to place.
        plain = len(self.p.rows) == 1 and at(ZERO)[0].count.number is not None
        if single or not plain or runs < OVERLAPPED_RUNS:
            f.loop(count, lambda i: self._block(*at(i)), step=step, hint=hint)
            return

        def cells(i: V) -> V:
            number = f.udiv(i, integer(step))
            odd = f.sub(number, f.mul(f.udiv(number, integer(2)), integer(2)))
            return f.gep(self.cells, f.mul(odd, integer(BLOCK * BLOCK)), "float")

        def turn(i: V) -> None:
            before, begun = f.sub(i, integer(step)), f.compare("sgt", i, ZERO)

            def part(run: V) -> None:
                f.when(begun, lambda: self._part(*at(before), cells(before), run, runs), "part")

            self._sum(*at(i), cells(i), part)

        f.loop(count, turn, step=step, hint=hint)
        some = f.compare("sgt", count, ZERO)
        number = f.udiv(f.sub(count, integer(1)), integer(step))
        last = f.mul(number, integer(step))
        f.when(some, lambda: self._finish(*at(last), cells(last)), "last")

    def _part(self, strip: Strip, panels: Panels, cells: V, run: V, runs: int) -> None:
        """What follows the product for those rows of a block of one line that are due after a
        run of the next one."""
        f = self.f
        rows = int(strip.count.number or 0)
        share = -(-rows // runs)
        finish = self._row_finish(strip, panels, cells)

        def row(i: V) -> None:
            number = f.add(f.mul(run, integer(share)), i)
            if share * runs > rows:
                due = f.compare("slt", number, integer(rows))
                f.when(due, lambda: finish(ZERO, number), "due")
            else:
                finish(ZERO, number)

        f.loop(integer(share), row, hint="finish")

    def _panels(self, several: _Several[Panels], body: Callable[[Panels], None]) -> None:
        """Columns by two panels, then what is left."""
        f, columns = self.f, self.p.columns
        whole = f.mul(f.udiv(columns, integer(BLOCK)), integer(BLOCK))
        several(whole, lambda j: Panels(j, 2, None), BLOCK, "panel")
        rest = f.sub(columns, whole)
        self._one_or_two(rest, GROUPS, lambda n: body(Panels(whole, n, rest)), "edge")

    def _one_or_two(self, count: V, size: int, body: Callable[[int], None], hint: str) -> None:
        """`body(2)` for more than `size`, `body(1)` for fewer but some."""
        f = self.f
        wide = f.compare("sgt", count, integer(size))
        f.when(wide, lambda: body(2), hint=hint)
        narrow = f.compare("sgt", count, ZERO)
        if wide.number is None:
            not_wide = f.assign(f"xor i1 {wide.text}, true", "i1")
            narrow = f.assign(f"and i1 {narrow.text}, {not_wide.text}", "i1")
        elif wide.number:
            return
        f.when(narrow, lambda: body(1), hint=hint)

    def _strips(self, several: _Several[Strip], body: Callable[[Strip], None]) -> None:
        f, p = self.f, self.p
        if len(p.rows) == 1 or self.flat:
            self._line(ZERO, several, body)
            return
        if self.main[0] is not self.height:
            f.loop(p.rows[0], lambda h: self._line(h, several, body), hint="line")
            return
        # Two short lines, a tile each.
        whole = f.mul(f.udiv(p.rows[0], integer(2)), integer(2))
        several(whole, lambda h: Strip(h, ZERO, 2, self.height, 2), 2, "strip")
        odd = f.compare("sgt", f.sub(p.rows[0], whole), ZERO)
        f.when(odd, lambda: body(Strip(whole, ZERO, 1, self.height, 1)), hint="odd")

    def _line(self, line: V, several: _Several[Strip], body: Callable[[Strip], None]) -> None:
        """Strips of two tiles, then one of what is left."""
        f, two = self.f, 2 * self.size
        whole = f.mul(f.udiv(self.height, integer(two)), integer(two))
        several(whole, lambda i: Strip(line, i, 1, integer(two), 2), two, "strip")
        left = f.sub(self.height, whole)

        def tail(tiles: int) -> None:
            rows = self._tile_rows(left)
            other = [r.text for r in rows] != [r.text for r in self.main]
            if other:
                self._configure(*rows)
            body(Strip(line, whole, 1, left, tiles))
            if other:
                self._configure(*self.main)

        self._one_or_two(left, self.size, tail, "tail")

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

    # A block of results

    def _block(self, strip: Strip, panels: Panels) -> None:
        self._sum(strip, panels, self.cells)
        self._finish(strip, panels, self.cells)

    def _sum(
        self,
        strip: Strip,
        panels: Panels,
        cells: V,
        after: Callable[[V], None] | None = None,
    ) -> None:
        """The products of a block, into memory; `after` is done after each run of k."""
        level = self.e.enter()
        self._clear(strip, panels)
        self._multiply(strip, panels, after)
        for number, place in self._places(strip, panels, cells):
            self._store(number, place, 4 * BLOCK)
        self.e.leave(level)

    def _clear(self, strip: Strip, panels: Panels) -> None:
        """Set the results of a block to zero."""
        self.f.module.declare("declare void @llvm.x86.tilezero(i8)")
        for number in _results(strip, panels):
            self.f.emit(f"call void @llvm.x86.tilezero(i8 {number})")

    def _places(self, strip: Strip, panels: Panels, cells: V) -> list[tuple[int, V]]:
        """The tiles of a block's results, and where they lie in its cells."""
        indices = {
            number: number // 2 * self.size * 4 * BLOCK + number % 2 * ROW
            for number in _results(strip, panels)
        }
        return [(n, self.f.gep(cells, integer(i), "i8")) for n, i in indices.items()]

    def _multiply(
        self, strip: Strip, panels: Panels, after: Callable[[V], None] | None
    ) -> None:
        rows, right = self._operands(strip, panels)
        fetch = lambda here, run: self._fetch(strip, panels, here, run)  # noqa: E731
        self._k_loops(0, rows, right, ZERO, _Beside(fetch, after))

    def _operands(self, strip: Strip, panels: Panels) -> tuple[list[V], list[V]]:
        """Where the tiles of both operands begin."""
        f, p = self.f, self.p
        rows = [self.left.pointer(strip.line, strip.position)]
        if strip.tiles == 2:
            second = (
                (f.add(strip.line, integer(1)), strip.position)
                if strip.lines == 2
                else (strip.line, f.add(strip.position, integer(self.size)))
            )
            rows.append(self.left.pointer(*second))
        first = p.right.pointer
        if p.right.fill is None:
            panel = f.udiv(panels.column, integer(GROUPS))
            first = f.gep(first, f.mul(panel, p.right.panel_stride), "i8")
        right = [first]
        if panels.count == 2:
            right.append(f.gep(first, p.right.panel_stride, "i8"))
        return rows, right

    def _k_loops(
        self, level: int, rows: list[V], right: list[V], number: V, beside: _Beside
    ) -> None:
        """Runs of k from a level of its axes on; the first of them has this number."""
        f, p, left = self.f, self.p, self.left
        if level < len(left.outer_strides):

            def inside(i: V) -> None:
                a = f.mul(i, left.outer_strides[level])
                b = f.mul(i, p.right.outer_strides[level])
                moved = [f.gep(pointer, a, "i8") for pointer in rows]
                others = [f.gep(pointer, b, "i8") for pointer in right]
                first = f.mul(f.add(number, i), [*p.depth.outer, p.depth.runs][level + 1])
                self._k_loops(level + 1, moved, others, first, beside)

            f.loop(p.depth.outer[level], inside, hint="k")
            return

        all_runs = p.depth.all_runs.value

        def step(i: V) -> None:
            a, b = f.mul(i, left.run_stride), f.mul(i, p.right.run_stride)
            here = [f.gep(pointer, b, "i8") for pointer in right]
            if all_runs is None or all_runs >= AWAKE_RUNS:
                self._keep_awake()
            beside.before(here, i)
            self._products([f.gep(pointer, a, "i8") for pointer in rows], here)
            if beside.after is not None:
                beside.after(f.add(number, i))

        runs = p.depth.runs if left.outer_strides else self.e.sizes.of(p.depth.all_runs)
        f.loop(runs, step, hint="k")

    def _fetch(self, strip: Strip, panels: Panels, right: list[V], run: V) -> None:
        """Bring a share of the next strip of the outer operand into the second cache, such
        that the inner loop brings all of it."""
        f, p = self.f, self.p
        if self.by_rows:
            if self.left.outer_strides or len(p.rows) > 1 or p.left.k_stride.number != 1:
                return
            share = -(-2 * self.size // max(1, self._panel_dim().value or 1))
            if share > FETCHES:
                return
            stride = f.mul(p.left.free_strides[0], integer(4 // p.depth.group))
            number = f.mul(f.udiv(panels.column, integer(BLOCK)), integer(share))
            row = f.add(f.add(strip.position, integer(2 * self.size)), number)
            begin = f.gep(p.left.pointer, f.mul(row, stride), "i8")
            at = f.gep(begin, f.mul(run, integer(4 * p.depth.height)), "i8")
            for line in range(share):
                self._prefetch(f.gep(at, f.mul(integer(line), stride), "i8"))
            return
        if p.right.fill is not None:
            return
        lines = p.depth.height
        strips = self._strip_dim().value
        share = -(-lines // min(lines, max(1, UNKNOWN_STRIPS if strips is None else strips)))
        following = f.mul(p.right.panel_stride, integer(panels.count))
        if strips == 1:
            # Panels pass once: a long one would be gone again before its turn comes.
            following = f.min(following, integer(AHEAD))
        number = self._strip_number(strip)
        turns = -(-lines // share)
        if strips is None or strips > turns:
            number = f.min(number, integer(turns - 1))
        if self.left.outer_strides:
            ahead = f.add(following, f.mul(number, integer(share * ROW)))
        else:
            # A strip's share in one piece, which the processor goes on fetching by itself.
            runs = self.e.sizes.of(p.depth.all_runs)
            first = f.mul(number, f.mul(runs, integer(share * ROW)))
            moved = f.mul(run, integer((share - lines) * ROW))
            ahead = f.add(following, f.add(first, moved))
        for pointer in right:
            at = f.gep(pointer, ahead, "i8")
            for line in range(share):
                self._prefetch(f.gep(at, integer(line * ROW), "i8"))

    def _prefetch(self, pointer: V) -> None:
        self.f.module.declare("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        self.f.emit(f"call void @llvm.prefetch.p0(ptr {pointer.text}, i32 0, i32 2, i32 1)")

    def _products(self, rows: list[V], right: list[V]) -> None:
        """One run of k for a block: each tile is loaded just before its first use."""
        for v, pointer in enumerate(right):
            self._load(RIGHT[v], pointer, integer(ROW), passes=self.by_rows)
            if v == 0:
                self._load(LEFT[0], rows[0], self.left.row_stride, passes=not self.by_rows)
            self._dot(v, LEFT[0], RIGHT[v])
        for t, pointer in enumerate(rows[1:], 1):
            self._load(LEFT[t], pointer, self.left.row_stride, passes=not self.by_rows)
            for v in range(len(right)):
                self._dot(2 * t + v, LEFT[t], RIGHT[v])

    def _keep_awake(self) -> None:
        """An addition that nobody needs, for the vectors' floating-point units alone."""
        f, cell = self.f, self.idle
        old = f.assign(
            f"load volatile <{GROUPS} x float>, {cell.typed}, align 64", "float", GROUPS
        )
        new = f.assign(f"fadd {old.typed}, {old.text}", "float", GROUPS)
        f.emit(f"store volatile {new.typed}, {cell.typed}, align 64")

    def _load(self, tile: int, pointer: V, stride: V, *, passes: bool) -> None:
        """Load a tile of the operand that stays while the other one `passes`, or of that one,
        which then leaves the first cache to the other one if there is no room for both."""
        name = "tileloaddt164" if passes and self.crowded else "tileloadd64"
        self.f.module.declare(f"declare void @llvm.x86.{name}(i8, ptr, i64)")
        self.f.emit(
            f"call void @llvm.x86.{name}(i8 {tile}, ptr {pointer.text}, {stride.typed})"
        )

    def _store(self, tile: int, pointer: V, stride: int) -> None:
        self.f.module.declare("declare void @llvm.x86.tilestored64(i8, ptr, i64)")
        self.f.emit(
            f"call void @llvm.x86.tilestored64(i8 {tile}, ptr {pointer.text}, i64 {stride})"
        )

    def _dot(self, result: int, left: int, right: int) -> None:
        name = "tdpbf16ps"
        if self.p.depth.group == 4:
            a, b = ("u" if unsigned else "s" for unsigned in self.p.unsigned)
            name = f"tdpb{a}{b}d"
        self.f.module.declare(f"declare void @llvm.x86.{name}(i8, i8, i8)")
        self.f.emit(f"call void @llvm.x86.{name}(i8 {result}, i8 {left}, i8 {right})")

    def _finish(self, strip: Strip, panels: Panels, cells: V) -> None:
        """What follows the product, row by row."""
        row = self._row_finish(strip, panels, cells)
        for t in range(strip.lines):
            self.f.loop(strip.count, lambda r, t=t: row(integer(t), r), hint="finish")

    def _row_finish(self, strip: Strip, panels: Panels, cells: V) -> Callable[[V, V], None]:
        """What follows the product, of a row: by number of its line, and in that."""
        e, f, p = self.e, self.f, self.p
        columns = [
            Coordinate(f.add(panels.column, integer(v * GROUPS)), True)
            for v in range(panels.count)
        ]
        masks = self._masks(panels.count, panels.rest)

        def row(t: V, r: V) -> None:
            level = e.enter()
            at = self._point(f.add(strip.line, t), f.add(strip.position, r))
            begin = f.mul(f.add(r, f.mul(t, integer(self.size))), integer(BLOCK))
            for v, coordinate in enumerate(columns):
                cell = f.gep(cells, f.add(begin, integer(v * GROUPS)), "float")
                value = f.load(cell, p.accumulator, GROUPS, 64)
                e.mask = masks[v]
                p.finish((*at, coordinate), value)
                e.mask = None
            e.leave(level)

        return row

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


def _results(strip: Strip, panels: Panels) -> list[int]:
    """Numbers of the tiles of a block's results."""
    return [2 * t + v for t in range(strip.tiles) for v in range(panels.count)]
