"""Products whose rows lie in the lanes of vectors: the plan's `across`.

Tiles with the rows' parameter are kept in scratch memory with the rows side by side. The
product of a tile of rows with a matrix then takes the matrix element by element, in place and
in any layout, for vectors of rows; and what follows (a softmax over the columns) is done in
each lane on its own, with no shuffles and no masks for odd numbers of columns. So attention
needs no transposed copy of the keys, whatever the number of queries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xdsl.dialects.builtin import IntegerType, Signedness
from xdsl.ir import Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.targets.cpu.kernel.sources import MemorySource, Point, Source, point_key
from infini_ir.targets.cpu.llvm.scalars import llvm_type, scalar_operations
from infini_ir.targets.cpu.llvm.writer import ZERO, V
from infini_ir.targets.cpu.products import amx_operands
from infini_ir.targets.cpu.products.register_tile import Panels, Product, run, widen
from infini_ir.utils.dtypes import item_size
from infini_ir.utils.symbolic import product

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter

_HALVES = ("half", "bfloat")
_BETWEEN = (tile.LoadOp, tile.FullOp, tile.SizeOp, tile.ReadOp)


@dataclass
class RegisterSource(Source):
    """A value that is in registers at the points where it is asked for."""

    registers: dict[object, V] = field(default_factory=dict)

    def at(self, e: KernelEmitter, point: Point) -> V:
        return self.registers[point_key(point)]


@dataclass
class WidenedSource(Source):
    """A tile's elements in a wider float type."""

    inner: Source
    element: str

    def at(self, e: KernelEmitter, point: Point) -> V:
        return widen(e, self.inner.at(e, point), self.element, False)


def _is_unsigned(value: SSAValue) -> bool:
    element = tile.tile_type(value).element
    return isinstance(element, IntegerType) and (
        element.signedness.data == Signedness.UNSIGNED or element.width.data == 1
    )


def axis_of(e: KernelEmitter, value: SSAValue) -> int | None:
    """The axis of a tile that lies in lanes, if any."""
    if not e.plan.across:
        return None
    for axis, dim in enumerate(tile.tile_type(value).shape):
        if str(dim) == e.plan.across:
            return axis
    return None


def applies(e: KernelEmitter, op: tile.DotOp) -> bool:
    """Whether the rows of a product are what lies in lanes."""
    return (
        axis_of(e, op.lhs) == 0
        and axis_of(e, op.rhs) is None
        and tile.tile_type(op.out).rank == 2
    )


def following_map(op: tile.DotOp) -> tile.MapOp | None:
    """The map that is all a product is for, where it can be done as the product ends."""
    uses = list(op.out.uses)
    user = uses[0].operation if len(uses) == 1 else None
    if not isinstance(user, tile.MapOp) or user.parent is not op.parent:
        return None
    if user.dim_lists[uses[0].index] != (0, 1) or tile.tile_type(user.outs[0]).rank != 2:
        return None
    between = op.next_op
    while between is not user:
        pure = isinstance(between, _BETWEEN) or (
            between is not None and between.name.startswith("arith.")
        )
        if between is None or not pure:
            return None
        between = between.next_op
    return user


def emit(e: KernelEmitter, op: tile.DotOp, following: tile.MapOp | None) -> None:
    """Compute a product into scratch memory, or the map that follows it."""
    lhs, rhs = in_lanes(e, op.lhs), _in_memory(e, op.rhs)
    e.prepare(op.acc)
    if following is None:
        outs: list[SSAValue] = [op.out]
    else:
        outs = list(following.outs)
        prepare_operands(e, following, op.out)
    targets = [(out, e.cells.get(out) or e.scratch_tile(out)) for out in outs]
    if following is not None:
        e.make_sources(following)
    registers = RegisterSource()
    e.sources[op.out] = registers

    def finish(point: Point, value: V) -> None:
        column, row = point
        registers.registers[point_key((row, column))] = value
        results = [e.element(out, (row, column)) for out, _ in targets]
        for result, (_, memory) in zip(results, targets, strict=True):
            memory.store(e, (row, column), result)

    rows, depth = e.extents(op.lhs)
    columns = e.extents(op.rhs)[0 if op.transposed is not None else 1]
    column_step, depth_step = rhs.strides if op.transposed is not None else rhs.strides[::-1]
    described = Product(
        rhs.pointer,
        [column_step],
        [depth_step],
        rhs.element,
        rhs.align,
        _is_unsigned(op.rhs),
        Panels(
            lhs.pointer, [lhs.strides[1]], lhs.element, lhs.align, 0, ZERO, _is_unsigned(op.lhs)
        ),
        [depth],
        [columns],
        rows,
        llvm_type(tile.tile_type(op.acc).element),
        lambda point: e.element(op.acc, (point[1], point[0])),
        finish,
        e.plan.strip,
        e.plan.vectors,
        1,
    )
    described.even = True
    if following is not None:
        described.finish_cost = scalar_operations(following.body.block)
    level = e.enter()
    run(e, described)
    e.leave(level)
    for out, memory in targets:
        e.sources[out] = memory


def in_lanes(e: KernelEmitter, value: SSAValue) -> MemorySource:
    """A left operand in memory with its rows side by side, in the type of the sums."""
    known = e.operands.get(value)
    if known is not None:
        return known
    e.prepare(value)
    source = e.sources[value]
    side_by_side = isinstance(source, MemorySource) and source.strides[0].number == 1
    if isinstance(source, MemorySource) and side_by_side and source.element not in _HALVES:
        return source
    return _copied(e, value, source)


def _copied(e: KernelEmitter, value: SSAValue, source: Source) -> MemorySource:
    memory = e.scratch_tile(value)
    if memory.element in _HALVES:
        memory = _wide_scratch(e, value)
        e.sources[value] = WidenedSource(source, memory.element)
    e.sweep([(value, memory)], e.extents(value))
    e.sources[value] = source
    e.operands[value] = memory
    return memory


def _wide_scratch(e: KernelEmitter, value: SSAValue) -> MemorySource:
    """Scratch memory for a tile of a 16-bit type, in f32."""
    narrow = e.scratch_tile(value)
    shape = [d.substitute(e.plan.substitution) for d in tile.tile_type(value).shape]
    pointer = e.scratch(product(shape) * item_size("f32"))
    return MemorySource(pointer, narrow.strides, "float", 4)


def _in_memory(e: KernelEmitter, value: SSAValue) -> MemorySource:
    """A right operand in memory, in place where it can be."""
    known = e.operands.get(value)
    if known is not None:
        return known
    e.prepare(value)
    source = e.sources[value]
    if isinstance(source, MemorySource) and source.element not in _HALVES:
        return source
    return _copied(e, value, source)


def prepare_operands(e: KernelEmitter, op: tile.MapOp, but: SSAValue | None = None) -> None:
    """Bring the tiles that a map reads in order, all but one."""
    for operand in op.inputs:
        if operand is not but and isinstance(operand.type, tile.TileType):
            _prepare_operand(e, operand)


def _prepare_operand(e: KernelEmitter, value: SSAValue) -> None:
    """A loaded tile with its rows apart is copied once: reading it would take gathers."""
    e.prepare(value)
    source = e.sources[value]
    axis = axis_of(e, value)
    if not isinstance(source, MemorySource) or axis is None or len(source.strides) != 2:
        return
    if source.strides[axis].number not in (0, 1):
        memory = e.scratch_tile(value)
        e.sweep([(value, memory)], e.extents(value))
        e.sources[value] = memory


def operands_before(e: KernelEmitter, loop: tile.ForOp) -> None:
    """Bring the left operands that a loop's products share in order before it."""
    if e.plan.unit and e.plan.across:
        amx_operands.lines_before(e, loop)
    for op in loop.body.walk():
        if isinstance(op, tile.DotOp) and op.lhs in e.sources and applies(e, op):
            if e.plan.unit:
                amx_operands.pairs_of(e, op.lhs)
            else:
                in_lanes(e, op.lhs)


def place_in_cells(e: KernelEmitter, loop: tile.ForOp, cells: list[MemorySource]) -> None:
    """Products that replace the carried value they add to are written over it."""
    for value, argument, cell in zip(
        tile.yielded(loop.body), loop.body.block.args[1:], cells, strict=True
    ):
        owner = value.owner
        if (
            isinstance(owner, tile.DotOp)
            and owner.parent is loop.body.block
            and applies(e, owner)
            and value.has_one_use()
            and _only_starts(owner, argument)
        ):
            e.cells[value] = cell


def _only_starts(op: tile.DotOp, value: SSAValue) -> bool:
    """Whether a value is used for nothing but the product's initial sums, in their place."""
    if not value.has_one_use():
        return False
    if op.acc is value:
        return True
    owner: Operation | object = op.acc.owner
    if not isinstance(owner, tile.MapOp) or not op.acc.has_one_use() or len(owner.outs) != 1:
        return False
    use = next(iter(value.uses))
    return use.operation is owner and owner.dim_lists[use.index] == (0, 1)
