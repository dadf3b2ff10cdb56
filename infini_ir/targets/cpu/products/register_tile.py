"""The register tile of a product: a strip of rows by a few vectors of columns.

For each k it loads one element of A a row (broadcast) and one panel row of B, multiplies and
adds; the accumulators stay in registers over all of k (Goto and van de Geijn, 2008).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING

from infini_ir.targets.cpu.kernel.sources import Coordinate, Point, narrowed
from infini_ir.targets.cpu.llvm.scalars import memory_of
from infini_ir.targets.cpu.llvm.writer import ONE, ZERO, V, boolean, integer
from infini_ir.targets.cpu.products.partial_sums import KEPT, Parts, Sums, divide

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter

LOOPED_FINISH = 24
"""Scalar operations after a product from which they become a loop over rows."""

LINE = 64
"""Bytes of a cache line."""

AHEAD = 16384
"""Bytes that are fetched ahead of all panels together where memory limits a product: what memory
delivers to a core in twice the time that it takes to answer when it is busy."""

LEFT_AHEAD = 2 * LINE
"""The same of the left operand: far enough for the third cache, and not so far that the first
has let go of it again."""

STREAMS = 4
"""Pages of a panel that are fetched side by side."""

PAGE = 4096

FEW_STRIPS = 2
"""Strips of rows below which memory limits a product whose weights come from there."""

FEW_ROWS = 6
"""Rows below which a register tile waits for its additions instead of its products."""

UNROLL = 4
"""Steps of the innermost loop written out."""


@dataclass
class Panels:
    """The right operand: rows of k, each with vectors of n."""

    pointer: V
    k_strides: list[V]
    element: str
    memory_align: int
    width: int
    """Elements of a panel row when packed, else 0: n has stride 1 in memory."""
    panel_stride: V
    unsigned: bool
    size: int | None = None
    """Bytes of the whole operand, None where they are not known."""


@dataclass(frozen=True)
class Part:
    """Steps of k from `begin` to `end`, and whether others come after them."""

    begin: V
    end: V
    more: V


@dataclass
class Product:
    """Everything a register tile needs to know."""

    a_pointer: V
    a_rows: list[V]
    """Strides of the row axes."""
    a_strides: list[V]
    """Strides of the k loops, outermost first."""
    a_element: str
    a_align: int
    a_unsigned: bool
    b: Panels
    counts: list[V]
    rows: list[V]
    columns: V
    accumulator: str
    initial: Callable[[Point], V]
    finish: Callable[[Point, V], None]
    strip: tuple[int, int]
    vectors: int
    panels: int
    loops: Callable[[KernelEmitter, Strip], None] | None = None
    """What emits the loops over k, where it is not the usual multiplications: all of k, or
    the product's `part` of it."""
    finish_cost: int = 0
    """Scalar operations of `finish` for one element."""
    even: bool = False
    """Whether rows are divided evenly and columns left over have code for each number of
    vectors, rather than whole register tiles and one for all that is left."""
    following: V | None = None
    """Where packed panels that are read after the last one begin, if not behind it."""
    expect: Callable[[Point], None] = lambda point: None
    """Asks for the memory that `finish` will write, a while before it does."""
    long: bool = False
    """Whether counts that are known only while running may be large."""
    turns: int = 0
    """Steps of k that every strip of a panel takes before the first one goes on; 0: all."""
    parts: Parts | None = None
    """How long sums are cut, and where those of a register tile are kept: `run` decides."""
    sums: Sums | None = None
    part: Part | None = None
    """The steps that are taken now, where strips take turns."""

    @property
    def row_count(self) -> int | None:
        """All rows, where they are known."""
        extents = [extent.number for extent in self.rows]
        return None if None in extents else math.prod(int(n) for n in extents if n is not None)


@dataclass(frozen=True)
class Strip:
    """A register tile at its place: where its operands lie, and its sums."""

    product: Product
    row: V
    """The first of its rows, along the last row axis."""
    base: V
    """Where that row of the left operand begins, at k = 0."""
    offsets: list[V]
    """How far from it each row begins, in elements."""
    panels: list[V]
    """Where each vector of columns of the right operand begins, at k = 0."""
    cells: list[list[V]]
    """The stack cells of the sums, by row and vector of columns."""
    columns: list[Coordinate]
    masks: list[V | None]
    """For each vector of columns, which lanes exist; None: all."""


def run(e: KernelEmitter, p: Product) -> None:
    """All strips of a product: panels of columns outside, rows inside."""
    lanes, e.lanes = e.lanes, accumulator_lanes(e, p.accumulator)
    if _take_turns(p):
        p.parts = Parts(0, p.turns)
        p.sums = Sums.of(e, (p.row_count or 0) * p.vectors * p.panels, p.accumulator)
    elif p.loops is None:
        p.parts = divide(p.counts, p.accumulator, UNROLL, long=p.long)
        if p.parts is not None:
            p.sums = Sums.of(e, math.prod(p.strip) * p.vectors * p.panels)
    width = p.vectors * e.lanes * p.panels
    if p.b.width:
        width = p.b.width * p.panels
    if p.columns.number is not None:
        whole = integer(int(p.columns.number) // width * width)
        rest: V = integer(int(p.columns.number) % width)
    else:
        whole = e.f.mul(e.f.udiv(p.columns, integer(width)), integer(width))
        rest = e.f.sub(p.columns, whole)
    e.f.loop(whole, lambda j: _rows(e, p, j, None, width), step=width, hint="panel")
    begins = range(0, width, e.lanes) if p.even and rest.number is None else (0,)
    for begin in begins:
        most = begin + e.lanes if len(begins) > 1 else width
        some = e.f.compare("sgt", rest, integer(begin))
        if most < width:
            few = e.f.compare("sle", rest, integer(most))
            some = e.f.assign(f"and i1 {some.text}, {few.text}", "i1")
        e.f.when(some, lambda most=most: _rows(e, p, whole, rest, most), hint="edge")
    e.lanes = lanes


def _take_turns(p: Product) -> bool:
    """Whether strips take turns, part by part of k: a part of a panel is then in the first cache
    for all strips but one, and panels are read in order of memory. Sums of a part are the parts of
    long sums, too."""
    return bool(
        p.turns
        and p.accumulator in KEPT
        and p.row_count
        and len(p.rows) == len(p.counts) == 1
        and p.counts[0].number is not None
        and int(p.counts[0].number) > p.turns
    )


def accumulator_lanes(e: KernelEmitter, type: str) -> int:
    bits = {"double": 64, "float": 32, "half": 32, "bfloat": 32}.get(type) or max(
        32, int(type[1:])
    )
    return max(1, e.features.vector_bytes * 8 // bits)


def _rows(e: KernelEmitter, p: Product, column: V, rest: V | None, width: int) -> None:
    """All strips of one group of columns; `rest` is how many columns there are, None: all."""
    if not _take_turns(p):
        _strips(e, p, column, rest, width)
        return
    count = p.counts[0]

    def turn(begin: V) -> None:
        end = e.f.add(begin, integer(p.turns))
        more = e.f.compare("slt", end, count)
        if int(count.number or 0) % p.turns:
            end = e.f.min(end, count)
        part = Part(begin, end, more)
        _scoped(e, lambda: _strips(e, replace(p, part=part), column, rest, width))

    e.f.loop(count, turn, step=p.turns, hint="part")


def _strips(e: KernelEmitter, p: Product, column: V, rest: V | None, width: int) -> None:
    """All strips of one group of columns, all of k or a part of it."""
    outer, inner = (p.rows[0], p.rows[1]) if len(p.rows) == 2 else (None, p.rows[0])

    def last_axis(outer_position: V | None, height: int) -> None:
        _chunks(
            e,
            inner,
            p.strip[1],
            lambda position, size: _strip(
                e, p, column, rest, width, outer_position, height, position, size
            ),
            even=p.even,
        )

    if outer is None:
        last_axis(None, 1)
    else:
        _chunks(e, outer, p.strip[0], last_axis)


def _chunks(
    e: KernelEmitter,
    extent: V,
    size: int,
    body: Callable[[V, int], None],
    *,
    even: bool = False,
) -> None:
    """Cover an extent by chunks of a size, then smaller ones; where it is known and the last
    one would be small, or they are to be `even`, of two sizes next to each other."""
    if extent.number is not None and (even or 0 < int(extent.number) % size < FEW_ROWS):
        _even_chunks(e, int(extent.number), size, body)
        return
    if extent.number is not None:
        total = int(extent.number)
        whole = total // size * size
        e.f.loop(
            integer(whole), lambda i: _scoped(e, lambda: body(i, size)), step=size, hint="strip"
        )
        if total > whole:
            _scoped(e, lambda: body(integer(whole), total - whole))
        return
    start: V = ZERO
    sizes = [size, *(s for s in (8, 4, 2, 1) if s < size)]
    for chunk in sizes:
        limit = (
            e.f.mul(e.f.udiv(extent, integer(chunk)), integer(chunk))
            if chunk & (chunk - 1)
            else (e.f.assign(f"and i64 {extent.text}, {-chunk}", "i64"))
        )
        if chunk != size:
            # What is left after the chunks before, in whole chunks of this size.
            left = e.f.sub(extent, start)
            limit = e.f.add(start, e.f.assign(f"and i64 {left.text}, {-chunk}", "i64"))
        e.f.loop(
            limit,
            lambda i, chunk=chunk: _scoped(e, lambda: body(i, chunk)),
            start=start,
            step=chunk,
            hint=f"strip{chunk}.",
        )
        start = limit


def _even_chunks(
    e: KernelEmitter, total: int, size: int, body: Callable[[V, int], None]
) -> None:
    count = -(-total // size)
    small, larger = divmod(total, max(1, count))
    begin = 0
    for chunk, times in ((small + 1, larger), (small, count - larger)):
        if chunk:
            end = begin + chunk * times
            e.f.loop(
                integer(end),
                lambda i, chunk=chunk: _scoped(e, lambda: body(i, chunk)),
                start=integer(begin),
                step=chunk,
                hint="strip",
            )
            begin = end


def _scoped(e: KernelEmitter, body: Callable[[], None]) -> None:
    level = e.enter()
    body()
    e.leave(level)


def _strip(
    e: KernelEmitter,
    p: Product,
    column: V,
    rest: V | None,
    width: int,
    outer: V | None,
    height: int,
    inner: V,
    size: int,
) -> None:
    """One register tile: `height` x `size` rows by the vectors of `width` columns."""
    vectors = _vector_count(e, rest, width)
    rows = [(h, w) for h in range(height) for w in range(size)]
    row_points = [_row_point(e, outer, inner, h, w) for h, w in rows]
    columns = [Coordinate(e.f.add(column, integer(v * e.lanes)), True) for v in range(vectors)]
    masks = _column_masks(e, rest, vectors)
    if p.part is not None and p.sums is not None:
        p = replace(p, sums=p.sums.behind(e, e.f.mul(inner, integer(p.vectors * p.panels))))
    cells = _initial_cells(e, p, row_points, columns, masks)
    base = _base(e, p, outer, inner)
    offsets = [_row_offset(e, p, h, w) for h, w in rows]
    pointers = _panel_pointers(e, p, column, vectors, rest)
    expected = _expected(e, p, row_points, columns, (outer, inner), height)
    if p.loops is not None:
        strip = Strip(p, inner, base, offsets, pointers, cells, columns, masks)
        _other_loops(e, p.loops, strip)
    else:
        ahead = (
            []
            if rest is not None
            else _ahead(e, p, pointers, column, (outer, inner), len(rows))
        )
        _k_loops(e, p, base, offsets, pointers, cells, masks, ahead, expected)

    def finish() -> None:
        if p.finish_cost > LOOPED_FINISH and len(rows) > 1:
            _finish_rows(e, p, cells, columns, masks, (outer, inner), (height, size))
            return
        for row, point in enumerate(row_points):
            for v, coordinate in enumerate(columns):
                value = _cell_value(e, p, cells[row][v])
                e.mask = masks[v]
                p.finish((*point, coordinate), value)
                e.mask = None

    if p.part is None:
        finish()
    else:
        last = e.f.assign(f"xor i1 {p.part.more.text}, true", "i1")
        e.f.when(last, lambda: _scoped(e, finish), hint="last")


def _other_loops(
    e: KernelEmitter, loops: Callable[[KernelEmitter, Strip], None], strip: Strip
) -> None:
    """Loops over k of another kind; where strips take turns, over the part that it is for."""
    part, sums = strip.product.part, strip.product.sums
    if part is None or sums is None:
        loops(e, strip)
        return
    cells = [cell for line in strip.cells for cell in line]
    sums.clear(e, cells, part.begin)
    loops(e, strip)
    sums.close(e, cells, part.begin, part.more)


def _cell_value(e: KernelEmitter, p: Product, cell: V) -> V:
    kind = f"<{e.lanes} x {p.accumulator}>"
    return e.f.assign(f"load {kind}, ptr {cell.text}, align 64", p.accumulator, e.lanes)


def _finish_rows(
    e: KernelEmitter,
    p: Product,
    cells: list[list[V]],
    columns: list[Coordinate],
    masks: list[V | None],
    origin: tuple[V | None, V],
    shape: tuple[int, int],
) -> None:
    """What follows a product, as a loop over the rows of the register tile: its code is
    long, and written out for every row it would take longer to compile than to run."""
    kind = f"<{e.lanes} x {p.accumulator}>"
    table = e.f.alloca(kind, shape[0] * shape[1] * len(columns))
    for row, line in enumerate(cells):
        for v, cell in enumerate(line):
            slot = e.f.gep(table, integer(row * len(columns) + v), kind)
            e.f.store(_cell_value(e, p, cell), slot, 64)
    outer, inner = origin
    for h in range(shape[0]):
        first: Point = ()
        if outer is not None:
            first = (Coordinate(e.f.add(outer, integer(h))),)

        def one(w: V, h: int = h, first: Point = first) -> None:
            level = e.enter()
            begin = e.f.mul(e.f.add(integer(h * shape[1]), w), integer(len(columns)))
            for v, coordinate in enumerate(columns):
                slot = e.f.gep(table, e.f.add(begin, integer(v)), kind)
                value = _cell_value(e, p, slot)
                e.mask = masks[v]
                p.finish((*first, Coordinate(e.f.add(inner, w)), coordinate), value)
                e.mask = None
            e.leave(level)

        e.f.loop(integer(shape[1]), one, hint="finish")


def _vector_count(e: KernelEmitter, rest: V | None, width: int) -> int:
    if rest is not None and rest.number is not None:
        return -(-int(rest.number) // e.lanes)
    return width // e.lanes


def _row_point(e: KernelEmitter, outer: V | None, inner: V, h: int, w: int) -> Point:
    last = Coordinate(e.f.add(inner, integer(w)))
    return (last,) if outer is None else (Coordinate(e.f.add(outer, integer(h))), last)


def _column_masks(e: KernelEmitter, rest: V | None, vectors: int) -> list[V | None]:
    """For each vector of columns, which lanes exist; None: all."""
    if rest is None:
        return [None] * vectors
    masks: list[V | None] = []
    for v in range(vectors):
        left = e.f.max(e.f.sub(rest, integer(v * e.lanes)), ZERO)
        whole = left.number is not None and int(left.number) >= e.lanes
        masks.append(None if whole else e.f.first_lanes(left, e.lanes))
    return masks


def _initial_cells(
    e: KernelEmitter,
    p: Product,
    rows: list[Point],
    columns: list[Coordinate],
    masks: list[V | None],
) -> list[list[V]]:
    """Stack cells for the accumulators, which register promotion turns into registers."""
    cells: list[list[V]] = []
    for point in rows:
        line: list[V] = []
        for coordinate, mask in zip(columns, masks, strict=True):
            cell = e.f.alloca(f"<{e.lanes} x {p.accumulator}>")
            e.mask = mask
            value = e.f.splat(p.initial((*point, coordinate)), e.lanes)
            e.mask = None
            e.f.store(value, cell, 64)
            line.append(cell)
        cells.append(line)
    return cells


def _base(e: KernelEmitter, p: Product, outer: V | None, inner: V) -> V:
    index = e.f.mul(inner, p.a_rows[-1])
    if outer is not None:
        index = e.f.add(index, e.f.mul(outer, p.a_rows[0]))
    return e.f.gep(p.a_pointer, index, memory_of(p.a_element))


def _row_offset(e: KernelEmitter, p: Product, h: int, w: int) -> V:
    offset = e.f.mul(integer(w), p.a_rows[-1])
    return e.f.add(offset, e.f.mul(integer(h), p.a_rows[0])) if h else offset


def _panel_pointers(
    e: KernelEmitter, p: Product, column: V, vectors: int, rest: V | None
) -> list[V]:
    """Where each vector of columns begins, at k = 0. Vectors behind the last panel, which
    are computed where `rest` is known only while running, read the last one again."""
    if not p.b.width:
        first = e.f.gep(p.b.pointer, column, memory_of(p.b.element))
        return [
            e.f.gep(first, integer(v * e.lanes), memory_of(p.b.element)) for v in range(vectors)
        ]
    per_panel = p.b.width // e.lanes
    panel = e.f.mul(e.f.udiv(column, integer(p.b.width)), p.b.panel_stride)
    first = e.f.gep(p.b.pointer, panel, memory_of(p.b.element))
    last = None
    if rest is not None and rest.number is None and vectors > per_panel:
        last = e.f.udiv(e.f.sub(rest, ONE), integer(p.b.width))
    pointers: list[V] = []
    for v in range(vectors):
        number: V = integer(v // per_panel)
        if last is not None and v >= per_panel:
            number = e.f.min(number, last)
        start = e.f.gep(first, e.f.mul(number, p.b.panel_stride), memory_of(p.b.element))
        pointers.append(
            e.f.gep(start, integer(v % per_panel * e.lanes), memory_of(p.b.element))
        )
    return pointers


def _expected(
    e: KernelEmitter,
    p: Product,
    rows: list[Point],
    columns: list[Coordinate],
    at: tuple[V | None, V],
    height: int,
) -> Callable[[V], None] | None:
    """Asks for the memory of the results. What is returned does so at step k, row by row: a
    core waits for few cache lines at once, and those of all rows, which come from far away,
    would keep it from those of the operands. Where the steps are not those of one loop, long
    sums have all asked for here; where they are fewer than the rows, there is no time."""
    outer, inner = at
    turns = int(p.counts[0].number or 0) // UNROLL if len(p.counts) == 1 else 0
    if p.loops is not None or height > 1 or turns < len(rows):
        for point in rows if p.sums is not None else ():
            for coordinate in columns:
                p.expect((*point, coordinate))
        return None
    each = 1 << ((turns // len(rows)).bit_length() - 1)

    def at_step(k: V) -> None:
        row = e.f.min(e.f.udiv(k, integer(each * UNROLL)), integer(len(rows) - 1))
        first = () if outer is None else rows[0][:1]
        for coordinate in columns:
            p.expect((*first, Coordinate(e.f.add(inner, row)), coordinate))

    return at_step


@dataclass
class Ahead:
    """Cache lines of packed panels that a register tile asks for before they are needed."""

    starts: list[V]
    """Where fetching begins, in each of the panels that are read at once or for all."""
    lines: int
    """Cache lines after each start that a turn of the innermost loop asks for."""
    turn: int
    """Elements of a panel that a turn of the innermost loop reads."""
    only: V | None = None
    """Whether to ask at all; None: it is always."""

    def after(self, e: KernelEmitter, elements: V) -> Ahead:
        """The same once so many elements of a panel have been read."""
        index = e.f.udiv(e.f.mul(elements, integer(self.lines * LINE)), integer(self.turn))
        return replace(self, starts=[e.f.gep(start, index, "i8") for start in self.starts])

    def fetch(self, e: KernelEmitter, elements: V, step: int) -> None:
        """Ask for the share of a step of the turn that begins after so many elements: all at
        once would keep the loads of the turn waiting. Where it is asked whether to, once a turn."""
        spread = UNROLL if self.only is None else 1
        lines = [i for i in range(self.lines) if i * spread // self.lines == step]
        if not lines:
            return

        def ask() -> None:
            for start in self.after(e, elements).starts:
                for line in lines:
                    e.f.prefetch(e.f.gep(start, integer(line * LINE), "i8"), level=2)

        e.f.when(boolean(True) if self.only is None else self.only, ask, hint="fetch")


def _ahead(
    e: KernelEmitter,
    p: Product,
    panels: list[V],
    column: V,
    at: tuple[V | None, V],
    rows: int,
) -> list[Ahead]:
    """What a register tile has fetched: its share, by rows, of the panels that come next, which
    would otherwise come from memory all at once for the first strip that reads them. Where
    strips are so few that each share is large, memory is what all wait for, and it is
    fastest when read in order: then the lines a little further on in the same panels. They go
    to the second cache, as the first has few misses in flight."""
    if not p.b.width:
        return []
    item = p.b.memory_align
    turn = UNROLL * p.b.width
    lines = -(-turn * item // LINE)
    total = p.row_count
    if p.part is not None and total:
        return [_next_part(e, p, p.part, panels[0], (at[1], rows), total)]
    if total is not None and total < FEW_STRIPS * rows:
        if p.b.size is not None and p.b.size <= e.features.l2_bytes // 2:
            return []  # it is where it would be fetched to
        firsts = panels[:: max(1, p.b.width // e.lanes)]
        distance = max(LINE, AHEAD // len(firsts))
        near = [e.f.gep(panel, integer(distance), "i8") for panel in firsts]
        return [Ahead(near, lines, turn)]
    row = at[1] if at[0] is None else e.f.add(e.f.mul(at[0], p.rows[1]), at[1])
    size = e.f.mul(product_of(e, p.counts), integer(p.b.width * p.panels * item))
    count = integer(total) if total is not None else product_of(e, p.rows)
    share = e.f.udiv(e.f.mul(row, size), count)
    step = e.f.mul(p.b.panel_stride, integer(p.panels * item))
    start = e.f.gep(panels[0], step, "i8")
    if p.following is not None:
        left = e.f.sub(p.columns, column)
        more = e.f.compare("sgt", left, integer(p.panels * p.b.width))
        start = e.f.select(more, start, p.following)
    start = e.f.gep(start, share, "i8")
    if total is not None:
        return [Ahead([start], -(-lines * p.panels * rows // max(1, total)), turn)]
    shared = Ahead([start], 1, turn)
    if rows == p.strip[1] or len(p.rows) > 1 or p.panels > 1:
        return [shared]
    # Less than a strip: rows that are left over, or, from the first on, all there are.
    limit = integer(p.strip[1])
    few = e.f.compare("slt", e.f.add(count, e.f.mul(row, limit)), limit)
    return [shared, Ahead([e.f.gep(panels[0], integer(AHEAD), "i8")], lines, turn, few)]


def _next_part(
    e: KernelEmitter, p: Product, part: Part, panel: V, rows: tuple[V, int], total: int
) -> Ahead:
    """The share of a strip, from a first row on so many, of the part that comes next: behind
    this one, as the panel after the last part is the next one. Pages of it are asked for side
    by side: what fetches ahead of a processor's loads does so page by page."""
    first, height = rows
    item, turn = p.b.memory_align, UNROLL * p.b.width
    size = p.turns * p.b.width * item
    needed = -(-turn * item // LINE)
    needed = -(-needed * height // total)
    streams = max(1, min(STREAMS, needed, size * height // total // PAGE))
    lines = -(-needed // streams)
    share = e.f.udiv(e.f.mul(first, integer(size)), integer(total))
    begin = e.f.mul(part.end, integer(p.b.width * item))
    # A turn of the innermost loop begins to count where k does.
    counted = e.f.udiv(e.f.mul(part.begin, integer(lines * LINE)), integer(UNROLL))
    start = e.f.gep(panel, e.f.sub(e.f.add(begin, share), counted), "i8")
    apart = lines * LINE * (p.turns // UNROLL)
    starts = [e.f.gep(start, integer(i * apart), "i8") for i in range(streams)]
    return Ahead(starts, lines, turn)


def product_of(e: KernelEmitter, values: Sequence[V]) -> V:
    return reduce(e.f.mul, values)


def _k_loops(
    e: KernelEmitter,
    p: Product,
    base: V,
    offsets: list[V],
    panels: list[V],
    cells: list[list[V]],
    masks: list[V | None],
    ahead: list[Ahead],
    expected: Callable[[V], None] | None,
) -> None:
    def innermost(start: V, end: V, a: V, b: list[V], fetched: list[Ahead]) -> None:
        def steps(k: V, amount: int) -> None:
            if expected and amount == UNROLL:
                expected(k)
            if fetched and amount == UNROLL and _passes_by(p, len(offsets)):
                _fetch_left(e, p, k, a, offsets)
            for u in range(amount):
                for one in fetched if amount == UNROLL else ():
                    one.fetch(e, e.f.mul(k, p.b.k_strides[-1]), u)
                _multiply(e, p, e.f.add(k, integer(u)), a, offsets, b, cells, masks)

        if end.number is not None:
            whole = integer(int(end.number) // UNROLL * UNROLL)
        else:
            whole = e.f.assign(f"and i64 {end.text}, {-UNROLL}", "i64")
        e.f.loop(whole, lambda k: steps(k, UNROLL), start=start, step=UNROLL, hint="k")
        if p.counts[-1].number is None or int(p.counts[-1].number) % UNROLL:
            e.f.loop(end, lambda k: steps(k, 1), start=whole, hint="k")

    def turns(
        depth: int, start: V, end: V, a: V, b: list[V], fetched: list[Ahead], begun: V
    ) -> None:
        if depth == len(p.counts) - 1:
            innermost(start, end, a, b, fetched)
            return

        def iteration(k: V) -> None:
            step = e.f.mul(k, p.b.k_strides[depth])
            level(
                depth + 1,
                e.f.gep(a, e.f.mul(k, p.a_strides[depth]), memory_of(p.a_element)),
                [e.f.gep(pointer, step, memory_of(p.b.element)) for pointer in b],
                [one.after(e, step) for one in fetched],
                e.f.add(begun, k),
            )

        e.f.loop(end, iteration, start=start, hint="k")

    def level(depth: int, a: V, b: list[V], fetched: list[Ahead], begun: V) -> None:
        """Loop number `depth` and those inside it; `begun` is 0 if none outside has turned."""
        count = p.counts[depth]
        if p.parts is None or depth != p.parts.level:
            turns(depth, ZERO, count, a, b, fetched, begun)
            return
        size, every = p.parts.size, [cell for line in cells for cell in line]
        if p.part is not None and p.sums is not None:
            p.sums.clear(e, every, p.part.begin)
            turns(depth, p.part.begin, p.part.end, a, b, fetched, p.part.begin)
            p.sums.close(e, every, p.part.begin, p.part.more)
            return

        def part(k: V) -> None:
            assert p.sums is not None
            end = e.f.add(k, integer(size))
            more = e.f.compare("slt", end, count) if depth == 0 else boolean(True)
            if count.number is None or int(count.number) % size:
                end = e.f.min(end, count)
            before = e.f.add(begun, k)
            p.sums.clear(e, every, before)
            turns(depth, k, end, a, b, fetched, before)
            p.sums.close(e, every, before, more)

        e.f.loop(count, part, step=size, hint="part")

    level(0, base, panels, ahead, ZERO)


def _passes_by(p: Product, rows: int) -> bool:
    """Whether one strip is all there is: then between two uses of a line of the left operand
    more of the right one passes than the caches hold."""
    return p.row_count == rows and p.a_strides[-1].number == 1


def _fetch_left(e: KernelEmitter, p: Product, k: V, a: V, offsets: list[V]) -> None:
    """Ask for what a turn of the innermost loop will want of the left operand."""
    memory = memory_of(p.a_element)
    for offset in offsets:
        address = e.f.gep(e.f.gep(a, offset, memory), k, memory)
        e.f.prefetch(e.f.gep(address, integer(LEFT_AHEAD), "i8"), level=1)


def _multiply(
    e: KernelEmitter,
    p: Product,
    k: V,
    a: V,
    offsets: list[V],
    b: list[V],
    cells: list[list[V]],
    masks: list[V | None],
) -> None:
    """One step of k for the whole register tile."""
    b_index = e.f.mul(k, p.b.k_strides[-1])
    right: list[V] = []
    for pointer, mask in zip(b, masks, strict=True):
        address = e.f.gep(pointer, b_index, memory_of(p.b.element))
        loaded = e.f.load(
            address,
            memory_of(p.b.element),
            e.lanes,
            p.b.memory_align,
            None if p.b.width else mask,
        )
        right.append(widen(e, narrowed(e, loaded, p.b.element), p.accumulator, p.b.unsigned))
    a_index = e.f.mul(k, p.a_strides[-1])
    for row, offset in enumerate(offsets):
        address = e.f.gep(
            e.f.gep(a, offset, memory_of(p.a_element)), a_index, memory_of(p.a_element)
        )
        loaded = e.f.load(address, memory_of(p.a_element), 1, p.a_align)
        left = e.f.splat(
            widen(e, narrowed(e, loaded, p.a_element), p.accumulator, p.a_unsigned), e.lanes
        )
        for v, factor in enumerate(right):
            _multiply_add(e, p.accumulator, left, factor, cells[row][v])


def _multiply_add(e: KernelEmitter, type: str, left: V, right: V, cell: V) -> None:
    kind = f"<{e.lanes} x {type}>"
    old = e.f.assign(f"load {kind}, ptr {cell.text}, align 64", type, e.lanes)
    if left.is_float and (e.features.has_fma or e.features.arch != "x86-64"):
        total = e.f.intrinsic("llvm.fma", [left, right, old], type, e.lanes)
    else:
        prefix = "f" if left.is_float else ""
        product = e.f.assign(f"{prefix}mul {kind} {left.text}, {right.text}", type, e.lanes)
        total = e.f.assign(f"{prefix}add {kind} {product.text}, {old.text}", type, e.lanes)
    e.f.store(total, cell, 64)


def widen(e: KernelEmitter, value: V, type: str, unsigned: bool) -> V:
    """An operand in the accumulator's type."""
    if value.type == type:
        return value
    wanted = type if value.lanes == 1 else f"<{value.lanes} x {type}>"
    if value.is_float:
        instruction = "fpext" if type in ("float", "double") else "fptrunc"
    elif type in ("float", "double"):
        instruction = "uitofp" if unsigned else "sitofp"
    else:
        instruction = "zext" if unsigned else "sext"
    return e.f.assign(f"{instruction} {value.typed} to {wanted}", type, value.lanes)
