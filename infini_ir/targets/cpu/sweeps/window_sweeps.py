"""Reductions of windows that overlap: depthwise convolutions and pools.

Neighbouring results along the axis on which windows move share most of what they read. A
strip of them is computed together: each element of a row of the input is loaded, and
converted, once, and goes to every result whose window it is in. Where the elements of a
window are only combined (a pool), the rows of each column are combined first, and the
columns then for each result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from xdsl.dialects import arith
from xdsl.ir import Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.targets.cpu.kernel.sources import (
    Coordinate,
    MemorySource,
    Point,
    ReduceSource,
    narrowed,
    point_key,
)
from infini_ir.targets.cpu.llvm.reductions import Combiner
from infini_ir.targets.cpu.llvm.scalars import emit_scalar, memory_of
from infini_ir.targets.cpu.llvm.writer import ZERO, V, integer

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter

STRIP = 8
"""Results of a strip where there are 32 registers; half as many with 16."""
WRITTEN_OUT = 64
"""Elements of a window up to which it is written out; the rows of a larger one are a loop."""
COLUMNS = 24
"""Columns that a strip may hold in registers."""


@dataclass
class Windows:
    """A reduction that can be computed in strips."""

    op: tile.ReduceOp
    memory: MemorySource
    """Of the windowed tile, with an axis for each of the reduction's operand."""
    map: tile.MapOp | None
    """What is computed of each element first."""
    argument: int
    """The number of the windowed tile among the map's inputs."""
    strip: int
    """The axis of the operand along which windows move."""
    column: int
    """The reduced axis along which neighbouring windows overlap."""
    vector: int
    """The axis of the operand that lies in lanes."""
    extents: list[int]
    """Of the operand; 0 where it is not known (kept axes only)."""
    step: int
    """How many columns a window is from the next."""

    @property
    def rows(self) -> list[int]:
        """The reduced axes but that of the columns."""
        return [axis for axis in self.op.axis_list if axis != self.column]

    @property
    def combines_only(self) -> bool:
        """Whether elements of a window are combined by themselves."""
        return self.map is None or len(self.map.inputs) == 1

    def kept(self) -> list[int]:
        return [a for a in range(len(self.extents)) if a not in self.op.axis_list]


def find(e: KernelEmitter, values: Sequence[SSAValue], vector: int | None) -> Windows | None:
    """The windows that a sweep computes, its values being them or elementwise of them."""
    if vector is None or len(values) != 1:
        return None
    op = _reduction(e, values[0])
    if op is None or e.kept_of(op.x) is not None:
        return None
    rank = tile.tile_type(op.x).rank
    kept = [axis for axis in range(rank) if axis not in op.axis_list]
    if len(kept) != tile.tile_type(values[0]).rank or len(kept) < 2:
        return None
    body, argument = None, 0
    load: SSAValue = op.x
    if isinstance(op.x.owner, tile.MapOp):
        body = op.x.owner
        found = _windowed(body, op, kept[vector])
        if found is None:
            return None
        argument, load = found, body.inputs[found]
    memory = e.sources.get(load)
    if not isinstance(load.owner, tile.LoadOp) or not isinstance(memory, MemorySource):
        return None
    return _overlap(e, op, memory, body, argument, kept, kept[vector])


def _reduction(e: KernelEmitter, value: SSAValue) -> tile.ReduceOp | None:
    """The reduction behind a value of its shape, computed where it is needed."""
    candidates = [value]
    if isinstance(value.owner, tile.MapOp):
        rank = tile.tile_type(value).rank
        pairs = zip(value.owner.inputs, value.owner.dim_lists, strict=True)
        candidates = [x for x, dims in pairs if list(dims) == list(range(rank))]
    found = [c.owner for c in candidates if isinstance(e.sources.get(c), ReduceSource)]
    owner = found[0] if len(found) == 1 else None
    return owner if isinstance(owner, tile.ReduceOp) else None


def _windowed(body: tile.MapOp, op: tile.ReduceOp, vector: int) -> int | None:
    """The input of a map that moves along all axes, where no other moves along any but those
    reduced and the vector axis."""
    rank = tile.tile_type(op.x).rank
    if any(isinstance(inner, tile.CoordOp) for inner in body.body.block.ops):
        return None
    found: int | None = None
    for index, dims in enumerate(body.dim_lists):
        if list(dims) == list(range(rank)):
            if found is not None:
                return None
            found = index
        elif not {*dims} <= {*op.axis_list, vector}:
            return None
    return found if len(body.outs) == 1 else None


def _overlap(
    e: KernelEmitter,
    op: tile.ReduceOp,
    memory: MemorySource,
    body: tile.MapOp | None,
    argument: int,
    kept: list[int],
    vector: int,
) -> Windows | None:
    extents = [int(x.number) if x.number is not None else 0 for x in e.extents(op.x)]
    if memory.strides[vector].number != 1 or any(not extents[a] for a in op.axis_list):
        return None
    for column, strip in product(op.axis_list, kept):
        inner, outer = memory.strides[column].number, memory.strides[strip].number
        if not inner or not outer or strip == vector or int(outer) % int(inner):
            continue
        step = int(outer) // int(inner)
        if not 0 < step < extents[column]:
            continue
        found = Windows(op, memory, body, argument, strip, column, vector, extents, step)
        size = strip_size(e)
        columns = (size - 1) * step + extents[column]
        rows = 1
        for axis in found.rows:
            rows *= extents[axis]
        small = rows * extents[column] <= WRITTEN_OUT
        if small or (found.combines_only and len(found.rows) == 1 and columns <= COLUMNS):
            return found
    return None


def strip_size(e: KernelEmitter) -> int:
    """Results of a strip."""
    return STRIP if e.features.vector_registers == 32 else STRIP // 2


def sweep(
    e: KernelEmitter,
    windows: Windows,
    extents: Sequence[V],
    vector: int,
    write: Callable[[Point], None],
) -> None:
    """Write every point of a sweep over `extents`, a strip at a time."""
    axis = windows.kept().index(windows.strip)
    outer = [a for a in range(len(extents)) if a not in (axis, vector)]

    def strip(base: Point, start: V, count: int) -> None:
        positions = [Coordinate(e.f.add(start, integer(i))) for i in range(count)]

        def vectors(lanes: Coordinate) -> None:
            def at(position: Coordinate) -> Point:
                both = {axis: position, vector: lanes}
                return tuple(both.get(a, c) for a, c in enumerate(base))

            points = [at(position) for position in positions]
            compute(e, windows, points)
            for point in points:
                write(point)

        level = e.enter()
        e.vector_loop(extents[vector], vectors)
        e.leave(level)

    def row(base: Point) -> None:
        _strips(e, extents[axis], lambda start, count: strip(base, start, count))

    e.nest(extents, outer, [None] * len(extents), row)


def compute(e: KernelEmitter, windows: Windows, points: Sequence[Point]) -> None:
    """Compute the reductions at neighbouring points, and keep them in mind."""
    values = _Strip(e, windows, points).compute()
    for point, value in zip(points, values, strict=True):
        e.remember((id(windows.op), point_key(point), e.mask_key()), (value,))


def _strips(e: KernelEmitter, extent: V, body: Callable[[V, int], None]) -> None:
    """Whole strips, then what is left: one where that is known, else halves of strips."""
    size = strip_size(e)
    if extent.number is not None:
        whole = integer(int(extent.number) // size * size)
        e.f.loop(whole, lambda i: body(i, size), step=size, hint="strip")
        rest = int(extent.number) % size
        if rest:
            body(whole, rest)
        return
    whole = e.f.assign(f"and i64 {extent.text}, {-size}", "i64")
    e.f.loop(whole, lambda i: body(i, size), step=size, hint="strip")
    part = size // 2
    while part:
        bit = e.f.assign(f"and i64 {extent.text}, {part}", "i64")
        start = e.f.assign(f"and i64 {extent.text}, {-2 * part}", "i64")
        e.f.when(e.f.compare("ne", bit, ZERO), lambda s=start, p=part: body(s, p), "strip")
        part //= 2


@dataclass
class _Strip:
    """The reductions of neighbouring windows, at points of the kept axes."""

    e: KernelEmitter
    windows: Windows
    points: Sequence[Point]

    def __post_init__(self) -> None:
        w = self.windows
        self.combiner = Combiner(w.op.kind.data, tile.tile_type(w.op.x).element)
        self.width = w.extents[w.column]
        self.columns = (len(self.points) - 1) * w.step + self.width
        self.base = dict(zip(w.kept(), self.points[0], strict=True))
        self.lanes = self.e.lanes if self.base[w.vector].vector else 1
        self.others: dict[object, V] = {}
        """Inputs of the map that windows share, by their place in a window."""

    def compute(self) -> list[V]:
        if self.windows.combines_only:
            return self._combined()
        return self._mapped()

    def _where(self, row: dict[int, V], column: int) -> list[Coordinate]:
        """The point of the operand: a row of the window, and a column from the first window's
        first on."""
        w = self.windows
        inside = {axis: Coordinate(position) for axis, position in row.items()}
        inside[w.column] = Coordinate(integer(column))
        return [{**self.base, **inside}[axis] for axis in range(len(w.extents))]

    def _load(self, row: dict[int, V], column: int) -> V:
        e, memory = self.e, self.windows.memory
        stored = memory_of(memory.element)
        pointer = memory.address(e, tuple(self._where(row, column)), stored)
        return narrowed(
            e, e.f.load(pointer, stored, self.lanes, memory.align, e.mask), memory.element
        )

    def _rows(self) -> list[dict[int, V]]:
        w = self.windows
        ranges = [range(w.extents[axis]) for axis in w.rows]
        return [
            {axis: integer(i) for axis, i in zip(w.rows, place, strict=True)}
            for place in product(*ranges)
        ]

    def _add(self, total: V | None, value: V) -> V:
        return value if total is None else self.combiner.apply(self.e.f, total, value)

    # Only combined

    def _combined(self) -> list[V]:
        """The rows of each column, then the columns of each window."""
        size = self.width
        for axis in self.windows.rows:
            size *= self.windows.extents[axis]
        columns = self._looped() if size > WRITTEN_OUT else None
        totals: list[V | None] = [None] * len(self.points)
        for column in range(self.columns):
            value = columns[column] if columns is not None else self._column(column)
            for number, _ in self._windows_of(column):
                totals[number] = self._add(totals[number], value)
        return [total for total in totals if total is not None]

    def _column(self, column: int) -> V:
        total: V | None = None
        for row in self._rows():
            total = self._add(total, self._element(row, column))
        assert total is not None
        return total

    def _looped(self) -> list[V]:
        """The same with a loop over the rows."""
        e = self.e
        neutral = e.f.splat(self.combiner.neutral(), self.lanes)
        cells = [e.f.alloca(neutral.full_type) for _ in range(self.columns)]
        for cell in cells:
            e.f.store(neutral, cell, 64)
        (axis,) = self.windows.rows

        def body(position: V) -> None:
            for column, cell in enumerate(cells):
                old = e.f.load(cell, neutral.type, self.lanes, 64)
                value = self._element({axis: position}, column)
                e.f.store(self.combiner.apply(e.f, old, value), cell, 64)

        e.f.loop(integer(self.windows.extents[axis]), body, hint="row")
        return [e.f.load(cell, neutral.type, self.lanes, 64) for cell in cells]

    def _windows_of(self, column: int) -> list[tuple[int, int]]:
        """The windows that a column is in, and its number there."""
        w = self.windows
        places = ((n, column - n * w.step) for n in range(len(self.points)))
        return [(n, inside) for n, inside in places if 0 <= inside < self.width]

    # Mapped

    def _mapped(self) -> list[V]:
        """Each element with what stands at its place in each window that it is in."""
        totals: list[V | None] = [None] * len(self.points)
        for row in self._rows():
            for column in range(self.columns):
                windows = self._windows_of(column)
                if not windows:
                    continue
                loaded = self._load(row, column)
                known: dict[SSAValue, V] = {}
                for number, inside in windows:
                    totals[number] = self._with(totals[number], loaded, row, inside, known)
        return [total for total in totals if total is not None]

    def _with(
        self,
        total: V | None,
        loaded: V,
        row: dict[int, V],
        inside: int,
        known: dict[SSAValue, V],
    ) -> V:
        """A total with one more element, a product being added in one instruction."""
        body = self._body
        last = body.last_op
        assert isinstance(last, tile.YieldOp)
        value = last.values[0]
        values = self._arguments(loaded, row, inside)
        multiplied = value.owner
        if (
            total is not None
            and isinstance(multiplied, arith.MulfOp)
            and self.combiner.kind == "add"
            and total.type in ("float", "double")
            and self.e.features.has_fma
        ):
            a, b = (self._value(v, values, known) for v in multiplied.operands)
            a, b = (self.e.f.splat(v, self.lanes) for v in (a, b))
            return self.e.f.intrinsic("llvm.fma", [a, b, total], total.type, self.lanes)
        given = self.e.f.splat(self._value(value, values, known), self.lanes)
        return self._add(total, given)

    @property
    def _body(self):
        assert self.windows.map is not None
        return self.windows.map.body.block

    def _element(self, row: dict[int, V], column: int) -> V:
        """An element on which nothing but itself has an influence."""
        loaded = self._load(row, column)
        if self.windows.map is None:
            return loaded
        last = self._body.last_op
        assert isinstance(last, tile.YieldOp)
        values: dict[SSAValue, V] = {self._body.args[0]: loaded}
        return self.e.f.splat(self._value(last.values[0], values, {}), self.lanes)

    def _arguments(self, loaded: V, row: dict[int, V], inside: int) -> dict[SSAValue, V]:
        """The map's arguments for an element at a place in a window."""
        w, e = self.windows, self.e
        assert w.map is not None
        point = self._where(row, inside)
        values: dict[SSAValue, V] = {}
        pairs = zip(w.map.inputs, w.map.dim_lists, self._body.args, strict=True)
        for number, (operand, dims, argument) in enumerate(pairs):
            if number == w.argument:
                values[argument] = loaded
            elif isinstance(operand.type, tile.TileType):
                own = tuple(point[d] for d in dims)
                key = number, point_key(own)
                if key not in self.others:
                    self.others[key] = e.element(operand, own)
                values[argument] = self.others[key]
            else:
                values[argument] = e.scalar(operand)
        return values

    def _value(self, value: SSAValue, values: dict[SSAValue, V], known: dict[SSAValue, V]) -> V:
        """A scalar of the map's body; `known` has those of the windowed element alone."""
        if value in values:
            return values[value]
        if value in known:
            return known[value]
        owner = value.owner
        if not isinstance(owner, Operation) or owner.parent is not self._body:
            return self.e.scalar(value)
        operands = [self._value(v, values, known) for v in owner.operands]
        result = emit_scalar(self.e.f, owner, operands)
        if self._depends_on_element_alone(owner):
            known[value] = result
        return result

    def _depends_on_element_alone(self, op: Operation) -> bool:
        block = self._body
        return all(
            v is block.args[self.windows.argument]
            or (
                isinstance(v.owner, Operation)
                and v.owner.parent is block
                and self._depends_on_element_alone(v.owner)
            )
            for v in op.operands
        )
