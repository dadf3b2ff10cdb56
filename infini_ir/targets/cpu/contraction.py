"""Matrix products: loops `for k.. { dot(load, load, acc) }` as register-tiled micro-kernels.

A *strip* is a few rows by a few vectors of the result, held in registers over all of k. For
each k it loads one element of A a row (broadcast) and one panel row of B, and multiplies
and adds. What follows the product (bias, activation, residual) is computed on the registers
before they are stored. The shapes are those of Goto and van de Geijn (2008); rows of a
convolution are output pixels, whose inputs lie at constant distances.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr, IntegerType, Signedness
from xdsl.ir import Attribute, Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.targets.cpu.scalars import llvm_type, memory_of
from infini_ir.targets.cpu.sources import (
    Coordinate,
    MemorySource,
    Point,
    Source,
    narrowed,
    point_key,
)
from infini_ir.targets.cpu.writer import ONE, ZERO, V, integer
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import Dim, product

if TYPE_CHECKING:
    from infini_ir.targets.cpu.emitter import KernelEmitter

LOOPED_FINISH = 24
"""Scalar operations after a product from which they become a loop over rows."""

UNROLL = 4
"""Steps of the innermost loop written out."""


@dataclass
class Nest:
    """A contraction as written in a kernel: loops around one dot of two loads."""

    loops: list[tile.ForOp]
    dot: tile.DotOp
    lhs: tile.LoadOp
    rhs: tile.LoadOp

    @property
    def outer(self) -> tile.ForOp:
        return self.loops[0]

    @property
    def column_axis(self) -> int:
        """Which axis of the right tile is n."""
        return 1 if self.dot.transposed is None else 0


@dataclass
class NestSource(Source):
    """The result of a nest: not computed before the store that wants it, then in registers."""

    nest: Nest
    registers: dict[object, V] = field(default_factory=dict)

    def at(self, e: KernelEmitter, point: Point) -> V:
        return self.registers[point_key(point)]


def match(op: tile.ForOp) -> Nest | None:
    """The nest that begins at a loop, if it is one."""
    loops: list[tile.ForOp] = []
    current: Operation | None = op
    loads: dict[SSAValue, tile.LoadOp] = {}
    while isinstance(current, tile.ForOp):
        if len(current.carried) != 1 or (
            loops and current.carried[0] is not loops[-1].body.block.args[1]
        ):
            return None
        loops.append(current)
        inner: Operation | None = None
        for child in current.body.block.ops:
            if isinstance(child, tile.LoadOp):
                loads[child.out] = child
            elif isinstance(child, tile.ForOp | tile.DotOp):
                if inner is not None:
                    return None
                inner = child
            elif not isinstance(child, tile.YieldOp | tile.SizeOp | arith.ConstantOp):
                return None
        if inner is None or tile.yielded(current.body) != (inner.results[0],):
            return None
        current = inner
    assert isinstance(current, tile.DotOp)
    lhs, rhs = loads.get(current.lhs), loads.get(current.rhs)
    if lhs is None or rhs is None or current.acc is not loops[-1].body.block.args[1]:
        return None
    if tile.tile_type(current.acc).rank not in (2, 3):
        return None
    return Nest(loops, current, lhs, rhs)


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
    finish_cost: int = 0
    """Scalar operations of `finish` for one element."""


def emit(e: KernelEmitter, nest: Nest) -> bool:
    """Take the nest on: its code is emitted with the store that uses it."""
    e.sources[nest.outer.outs[0]] = NestSource(nest)
    return True


def nest_product(
    e: KernelEmitter, nest: Nest, finish: Callable[[Point, V], None], source: NestSource
) -> Product:
    """The product that a nest describes, at the current program."""
    for loop in nest.loops:
        e.scalars[loop.body.block.args[0]] = ZERO
        for child in loop.body.block.ops:
            if isinstance(child, tile.SizeOp | arith.ConstantOp):
                e._operation(child)
    counts = [e.scalar(loop.to) for loop in nest.loops]
    variables = [loop.body.block.args[0] for loop in nest.loops]
    a_pointer, a_tile_strides = e.slice_address(
        nest.lhs.view, nest.lhs.offsets, nest.lhs.axis_list
    )
    a_view, b_view = tile.view_type(nest.lhs.view), tile.view_type(nest.rhs.view)
    accumulator = tile.tile_type(nest.dot.acc)
    a_rows = list(a_tile_strides[:-1])
    rows = e.access_extents(nest.lhs.view, nest.lhs.offsets, nest.lhs.axis_list, nest.lhs.out)[
        :-1
    ]
    columns = e.access_extents(
        nest.rhs.view, nest.rhs.offsets, nest.rhs.axis_list, nest.rhs.out
    )[nest.column_axis]
    plan = e.plan
    initial = nest.outer.carried[0]
    e.prepare(initial)
    return Product(
        a_pointer,
        a_rows,
        [_stride_of(e, nest.lhs, variable) for variable in variables],
        llvm_type(a_view.element),
        max(1, item_bytes(a_view)),
        is_unsigned(a_view.element),
        _panels(e, nest, variables, counts, columns, b_view),
        counts,
        rows,
        columns,
        llvm_type(accumulator.element),
        lambda point: e.element(initial, point),
        finish,
        plan.strip,
        plan.vectors,
        plan.panels,
    )


def item_bytes(view: tile.ViewType) -> int:
    from infini_ir.utils.dtypes import item_size

    return item_size(view.dtype)


def is_unsigned(element: Attribute) -> bool:
    return isinstance(element, IntegerType) and (
        element.signedness.data == Signedness.UNSIGNED or element.width.data == 1
    )


def _stride_of(e: KernelEmitter, load: tile.LoadOp, variable: SSAValue) -> V:
    """How far a step of a loop moves in a load's memory."""
    total = ZERO
    for offset, stride in zip(load.offsets, tile.view_type(load.view).strides, strict=True):
        if offset is variable:
            total = e.f.add(total, e.sizes.of(stride))
    return total


def _panels(
    e: KernelEmitter,
    nest: Nest,
    variables: list[SSAValue],
    counts: list[V],
    columns: V,
    view: tile.ViewType,
) -> Panels:
    element, align = llvm_type(view.element), item_bytes(view)
    unsigned = is_unsigned(view.element)
    width = view.panel_width
    if not width:
        pointer, tile_strides = e.slice_address(
            nest.rhs.view, nest.rhs.offsets, nest.rhs.axis_list
        )
        strides = [_stride_of(e, nest.rhs, variable) for variable in variables]
        step = tile_strides[nest.column_axis]
        if step.number != 1:
            source = MemorySource(pointer, (*strides, step), element, align)
            pointer, strides = _gathered(e, nest, source, counts, columns)
        return Panels(pointer, strides, element, align, 0, ZERO, unsigned)
    # Packed: [batch.., panels, k.., width]; the program's n offset is a multiple of the width.
    axes = nest.rhs.axis_list
    depth = integer(width)
    strides: list[V] = []
    for count in reversed(counts):
        strides.insert(0, depth)
        depth = e.f.mul(depth, count)
    n_offset = e.scalar(nest.rhs.offsets[axes[1]])
    panel = e.f.udiv(n_offset, integer(width))
    index = e.f.mul(panel, depth)
    batch_stride = e.f.mul(depth, e.sizes.of((view.shape[axes[1]] + (width - 1)) // width))
    for axis in reversed(range(view.rank)):
        if nest.rhs.offsets[axis] not in variables and axis != axes[1]:
            index = e.f.add(index, e.f.mul(e.scalar(nest.rhs.offsets[axis]), batch_stride))
            batch_stride = e.f.mul(batch_stride, e.sizes.of(view.shape[axis]))
    pointer = e.f.gep(e.view(nest.rhs.view), index, memory_of(element))
    return Panels(pointer, strides, element, align, width, depth, unsigned)


def _gathered(
    e: KernelEmitter, nest: Nest, source: MemorySource, counts: list[V], columns: V
) -> tuple[V, list[V]]:
    """A right operand whose n is not contiguous, copied to scratch as [k.., n]."""
    type = tile.tile_type(nest.rhs.out)
    width = type.shape[nest.column_axis].substitute(e.plan.substitution)
    sizes = [_loop_bound(loop) for loop in nest.loops]
    pointer = e.scratch(product([*sizes, width]) * item_bytes(tile.view_type(nest.rhs.view)))
    strides: list[V] = []
    step = e.sizes.of(width)
    for count in reversed(counts):
        strides.insert(0, step)
        step = e.f.mul(step, count)
    target = MemorySource(pointer, (*strides, integer(1)), source.element, source.align)
    e.copy(source, target, [*counts, columns])
    return pointer, strides


def _loop_bound(loop: tile.ForOp) -> Dim:
    owner = loop.to.owner
    if isinstance(owner, tile.SizeOp):
        return owner.dim
    if isinstance(owner, arith.ConstantOp) and isinstance(owner.value, IntegerAttr):
        return Dim.of(owner.value.value.data)
    raise CompileError("the bound of a contraction loop is neither a size nor a constant")


def pending_nest(e: KernelEmitter, value: SSAValue) -> NestSource | None:
    """The one nest, not yet computed, that a stored value is an elementwise function of."""
    found: list[NestSource] = []

    def visit(value: SSAValue, depth: int) -> bool:
        source = e.sources.get(value)
        if isinstance(source, NestSource):
            if source not in found:
                found.append(source)
            return True
        owner = value.owner
        if isinstance(owner, tile.MapOp) and owner not in e.kept:
            rank = tile.tile_type(owner.outs[0]).rank
            for operand, dims in zip(owner.inputs, owner.dim_lists, strict=True):
                if isinstance(operand.type, tile.TileType):
                    before = len(found)
                    if not visit(operand, depth + 1):
                        return False
                    if len(found) > before and dims != tuple(range(rank)):
                        return False
        elif isinstance(owner, tile.ReduceOp):
            return not _depends_on_nest(e, owner.x)
        return True

    return found[0] if visit(value, 0) and len(found) == 1 else None


def _depends_on_nest(e: KernelEmitter, value: SSAValue) -> bool:
    if isinstance(e.sources.get(value), NestSource):
        return True
    owner = value.owner
    if isinstance(owner, tile.MapOp | tile.ReduceOp):
        return any(
            _depends_on_nest(e, operand)
            for operand in owner.operands
            if isinstance(operand.type, tile.TileType)
        )
    return False


def emit_with_stores(
    e: KernelEmitter, source: NestSource, targets: Sequence[tuple[SSAValue, MemorySource]]
) -> None:
    """Compute a nest strip by strip, storing what follows from it."""

    def finish(point: Point, value: V) -> None:
        source.registers[point_key(point)] = value
        # All are computed first: a store may write what another's value is loaded from.
        results = [e.element(target, point) for target, _ in targets]
        for result, (_, memory) in zip(results, targets, strict=True):
            memory.store(e, point, result)

    level = e.enter()
    described = nest_product(e, source.nest, finish, source)
    described.finish_cost = sum(_finish_cost(e, target) for target, _ in targets)
    run(e, described)
    e.leave(level)
    source.registers.clear()


def _finish_cost(e: KernelEmitter, value: SSAValue) -> int:
    owner = value.owner
    if not isinstance(owner, tile.MapOp) or isinstance(e.sources.get(value), MemorySource):
        return 0
    own = sum(not isinstance(op, arith.ConstantOp) for op in owner.body.block.ops)
    tiles = [v for v in owner.inputs if isinstance(v.type, tile.TileType)]
    return own + sum(_finish_cost(e, operand) for operand in tiles)


def materialize(e: KernelEmitter, value: SSAValue, source: NestSource) -> None:
    """Compute a nest into scratch memory."""
    memory = e.scratch_tile(value)
    emit_with_stores(e, source, [(value, memory)])
    e.sources[value] = memory


def emit_dot(e: KernelEmitter, op: tile.DotOp) -> None:
    """A product of tiles that is not a plain nest: operands in memory, result in scratch."""
    lhs = in_memory(e, op.lhs)
    rhs = in_memory(e, op.rhs, transposed=op.transposed is not None)
    e.prepare(op.acc)
    memory = e.scratch_tile(op.out)
    lhs_extents, rhs_extents = e.extents(op.lhs), e.extents(op.rhs)
    if op.transposed is not None:
        rhs_extents.reverse()

    def finish(point: Point, value: V) -> None:
        memory.store(e, point, value)

    product = Product(
        lhs.pointer,
        list(lhs.strides[:-1]),
        [lhs.strides[-1]],
        lhs.element,
        lhs.align,
        is_unsigned(tile.tile_type(op.lhs).element),
        Panels(
            rhs.pointer,
            [rhs.strides[0]],
            rhs.element,
            rhs.align,
            0,
            ZERO,
            is_unsigned(tile.tile_type(op.rhs).element),
        ),
        [lhs_extents[-1]],
        lhs_extents[:-1],
        rhs_extents[1],
        llvm_type(tile.tile_type(op.acc).element),
        lambda point: e.element(op.acc, point),
        finish,
        e.plan.strip,
        e.plan.vectors,
        1,
    )
    level = e.enter()
    run(e, product)
    e.leave(level)
    e.sources[op.out] = memory


def in_memory(e: KernelEmitter, value: SSAValue, *, transposed: bool = False) -> MemorySource:
    """A tile as memory with stride 1 along its last axis (its first, when transposed, which
    the result then has last)."""
    e.prepare(value)
    source = e.sources[value]
    if (
        isinstance(source, MemorySource)
        and not transposed
        and (source.strides[-1].number == 1 or len(source.strides) > 2)
    ):
        return source
    if isinstance(source, MemorySource) and transposed and source.strides[0].number == 1:
        return MemorySource(source.pointer, source.strides[::-1], source.element, source.align)
    memory = e.scratch_tile(value)
    extents = e.extents(value)
    if not transposed:
        e.sweep([(value, memory)], extents)
        return memory
    shape = [d.substitute(e.plan.substitution) for d in tile.tile_type(value).shape]
    column = MemorySource(
        memory.pointer, (integer(1), e.sizes.of(shape[0])), memory.element, memory.align
    )
    e.sweep([(value, column)], extents)
    return MemorySource(
        memory.pointer, (e.sizes.of(shape[0]), integer(1)), memory.element, memory.align
    )


# The register tile


def run(e: KernelEmitter, p: Product) -> None:
    """All strips of a product: panels of columns outside, rows inside."""
    lanes, e.lanes = e.lanes, accumulator_lanes(e, p.accumulator)
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
    e.f.when(
        e.f.compare("sgt", rest, ZERO), lambda: _rows(e, p, whole, rest, width), hint="edge"
    )
    e.lanes = lanes


def accumulator_lanes(e: KernelEmitter, type: str) -> int:
    bits = {"double": 64, "float": 32, "half": 32, "bfloat": 32}.get(type) or max(
        32, int(type[1:])
    )
    return max(1, e.features.vector_bytes * 8 // bits)


def _rows(e: KernelEmitter, p: Product, column: V, rest: V | None, width: int) -> None:
    """All strips of one group of columns; `rest` is how many columns there are, None: all."""
    outer, inner = (p.rows[0], p.rows[1]) if len(p.rows) == 2 else (None, p.rows[0])

    def last_axis(outer_position: V | None, height: int) -> None:
        _chunks(
            e,
            inner,
            p.strip[1],
            lambda position, size: _strip(
                e, p, column, rest, width, outer_position, height, position, size
            ),
        )

    if outer is None:
        last_axis(None, 1)
    else:
        _chunks(e, outer, p.strip[0], last_axis)


def _chunks(e: KernelEmitter, extent: V, size: int, body: Callable[[V, int], None]) -> None:
    """Cover an extent by chunks of a size, then smaller ones."""
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
    cells = _initial_cells(e, p, row_points, columns, masks)
    base = _base(e, p, outer, inner)
    offsets = [_row_offset(e, p, h, w) for h, w in rows]
    pointers = _panel_pointers(e, p, column, vectors, rest)
    _k_loops(e, p, base, offsets, pointers, cells, masks)
    if p.finish_cost > LOOPED_FINISH and len(rows) > 1:
        _finish_rows(e, p, cells, columns, masks, (outer, inner), (height, size))
        return
    for row, point in enumerate(row_points):
        for v, coordinate in enumerate(columns):
            value = _cell_value(e, p, cells[row][v])
            e.mask = masks[v]
            p.finish((*point, coordinate), value)
            e.mask = None


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
        first = () if outer is None else (Coordinate(e.f.add(outer, integer(h))),)

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


def _k_loops(
    e: KernelEmitter,
    p: Product,
    base: V,
    offsets: list[V],
    panels: list[V],
    cells: list[list[V]],
    masks: list[V | None],
) -> None:
    def level(depth: int, a: V, b: list[V]) -> None:
        if depth < len(p.counts) - 1:

            def iteration(k: V) -> None:
                next_a = e.f.gep(a, e.f.mul(k, p.a_strides[depth]), memory_of(p.a_element))
                step = e.f.mul(k, p.b.k_strides[depth])
                level(
                    depth + 1,
                    next_a,
                    [e.f.gep(pointer, step, memory_of(p.b.element)) for pointer in b],
                )

            e.f.loop(p.counts[depth], iteration, hint="k")
            return
        count = p.counts[depth]

        def steps(k: V, amount: int) -> None:
            for u in range(amount):
                _multiply(e, p, e.f.add(k, integer(u)), a, offsets, b, cells, masks)

        if count.number is not None:
            whole = integer(int(count.number) // UNROLL * UNROLL)
        else:
            whole = e.f.assign(f"and i64 {count.text}, {-UNROLL}", "i64")
        e.f.loop(whole, lambda k: steps(k, UNROLL), step=UNROLL, hint="k")
        e.f.loop(count, lambda k: steps(k, 1), start=whole, hint="k")

    level(0, base, panels)


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
        right.append(_widen(e, narrowed(e, loaded, p.b.element), p.accumulator, p.b.unsigned))
    a_index = e.f.mul(k, p.a_strides[-1])
    for row, offset in enumerate(offsets):
        address = e.f.gep(
            e.f.gep(a, offset, memory_of(p.a_element)), a_index, memory_of(p.a_element)
        )
        loaded = e.f.load(address, memory_of(p.a_element), 1, p.a_align)
        left = e.f.splat(
            _widen(e, narrowed(e, loaded, p.a_element), p.accumulator, p.a_unsigned), e.lanes
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


def _widen(e: KernelEmitter, value: V, type: str, unsigned: bool) -> V:
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
