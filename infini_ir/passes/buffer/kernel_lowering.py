"""One kernel: each operation on tiles as instructions on rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xdsl.dialects import arith
from xdsl.dialects.builtin import f32, i8
from xdsl.ir import Block, BlockArgument, Operation, Region, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.buffer import Queue, vector
from infini_ir.dialects.graph.types import element_name, element_type
from infini_ir.dialects.tile import TileType, ViewType, tile_type, view_type
from infini_ir.dialects.tile.base import yielded
from infini_ir.dialects.tile.types import scalar_of
from infini_ir.passes.buffer.builder import Builder, Size
from infini_ir.passes.buffer.extents import Extents, dim_of
from infini_ir.passes.buffer.instructions import Instructions
from infini_ir.passes.buffer.machine import CoreMachine
from infini_ir.passes.buffer.map_lowering import MapLowering
from infini_ir.passes.buffer.positions import Position, Positions
from infini_ir.passes.buffer.products import Product
from infini_ir.passes.buffer.reductions import Reduction, combine_scalars
from infini_ir.passes.buffer.scans import Scan
from infini_ir.passes.buffer.transfers import Transfer
from infini_ir.passes.buffer.values import Rows, TileValue, held_dtype


def lower_kernel(kernel: tile.KernelOp, machine: CoreMachine) -> None:
    """Rewrite a kernel's body, whose parameters are numbers, into its buffer form; local
    memory has no places yet."""
    _KernelLowering(kernel, machine).run()


class _KernelLowering:
    def __init__(self, kernel: tile.KernelOp, machine: CoreMachine) -> None:
        self.kernel = kernel
        self.extents = Extents(kernel)
        self.granule = machine.pitch_granule(_dtypes(kernel))
        block = Block(arg_types=[a.type for a in kernel.body.block.args])
        self.b = Builder(machine, kernel.sym_name.data, block)
        self.scalars: dict[SSAValue, SSAValue] = dict(
            zip(kernel.body.block.args, block.args, strict=True)
        )
        for old, new in self.scalars.items():
            new.name_hint = old.name_hint
        self.tiles: dict[SSAValue, TileValue] = {}
        self.shared: set[SSAValue] = set()
        """Local memory that several tiles lie in, which must not be overwritten."""

    def run(self) -> None:
        """Lower the whole body."""
        self.block(self.kernel.body.block)
        self.b.finish()
        self.kernel.body.detach_block(0)
        self.kernel.body.add_block(self.b.top)

    def block(self, block: Block) -> None:
        """Lower the operations of a block to where the builder is."""
        for op in block.ops:
            if isinstance(op, tile.YieldOp):
                return
            self.b.location = op.location
            self.b.subject = f"'{op.name}'"
            rule = _RULES.get(type(op))
            if rule is not None:
                rule(self, op)
            elif any(isinstance(v.type, TileType) for v in (*op.operands, *op.results)):
                raise self.b.fail("has no buffer form", "lower the kernel otherwise")
            else:
                self.b.clone(op, self.scalars)

    # Values

    def unit(self, value: SSAValue) -> Instructions:
        """Instructions on a tile's axes."""
        shape = self.shape(value)
        return Instructions(self.b, self.granule, shape, self.sizes(value))

    def shape(self, value: SSAValue) -> tuple[int, ...]:
        """A tile's capacity, in numbers."""
        sizes = [size.value for size in tile_type(value).shape]
        if any(size is None for size in sizes):
            raise self.b.fail(
                f"the tile {value.type} has no known size",
                "run tile-split-axis and buffer-plan first",
            )
        return tuple(size for size in sizes if size is not None)

    def sizes(self, value: SSAValue) -> tuple[Size, ...]:
        """A tile's extents."""
        return self.extents.of(value, self.b, self.scalars)

    def is_open(self, value: SSAValue) -> bool:
        """Whether some extent comes from nowhere, so that elements may be nobody's."""
        return self.extents.is_open(value)

    def define(self, value: SSAValue, held: Rows | SSAValue) -> None:
        """What a tile has become."""
        type = tile_type(value)
        made = TileValue(self.shape(value), type.element, self.sizes(value))
        if isinstance(held, Rows):
            made.rows = held
            if any(
                t.rows is not None and t.rows.local is held.local for t in self.tiles.values()
            ):
                self.shared.add(held.local)
        else:
            made.scalar = held
        self.tiles[value] = made

    def dies(self, value: SSAValue, op: Operation) -> bool:
        """Whether a tile is not needed after an operation of the block that defines it."""
        held = self.tiles[value]
        if held.rows is None or held.rows.local in self.shared:
            return False
        home = value.owner if isinstance(value, BlockArgument) else value.owner.parent  # pyright: ignore
        if op.parent is not home:
            return False
        return all(_comes_by(use.operation, op) for use in value.uses)

    def rows_of(
        self, value: SSAValue, op: Operation, dims: Sequence[int] | None = None
    ) -> Rows | SSAValue:
        """A tile as an operand whose axes are those of a result."""
        held = self.tiles[value]
        if held.rows is None:
            assert held.scalar is not None
            return held.scalar
        axes = held.rows.axes if dims is None else tuple(dims[a] for a in held.rows.axes)
        rows = Rows(held.rows.local, held.rows.dtype, axes, held.rows.strides)
        rows.owned = self.dies(value, op) and list(op.operands).count(value) == 1
        if list(axes) != sorted(axes):
            order = sorted(range(len(axes)), key=lambda i: axes[i])
            rows.axes = tuple(axes[i] for i in order)
            rows.strides = tuple(rows.strides[i] for i in order)
            rows.owned = False
        return rows

    def whole(self, value: SSAValue) -> Rows:
        """A tile in rows that cover all its axes."""
        held = self.tiles[value]
        if held.is_whole():
            assert held.rows is not None
            return held.rows
        unit = Instructions(self.b, self.granule, held.shape, held.extents)
        source = held.rows if held.rows is not None else held.scalar
        assert source is not None
        return self.copied(unit, source, held.dtype)

    def copied(self, unit: Instructions, source: Rows | SSAValue, dtype: str) -> Rows:
        """A copy of its own over all axes."""
        axes = tuple(range(len(unit.shape)))
        result = unit.new(axes, dtype)
        if isinstance(source, SSAValue) and source.type != element_type(dtype):
            source = self._as_held(source, dtype)
        with unit.over(axes, [result, source]) as (items, count, _):
            target, given = items
            assert isinstance(target, tuple)
            if isinstance(given, tuple):
                self.b.emit(vector.CopyOp(target, given, count))
            else:
                self.b.emit(vector.FillOp(target, given, count))
        return result

    def _as_held(self, scalar: SSAValue, dtype: str) -> SSAValue:
        """A bool as a byte, an index as 32 bits."""
        if dtype == "i8":
            return self.b.emit(arith.ExtUIOp(scalar, i8))
        return self.b.emit(arith.IndexCastOp(scalar, element_type(dtype)))

    # Operations

    def load(self, op: tile.LoadOp) -> None:
        """Copy in."""
        offsets = [self.scalars[o] for o in op.offsets]
        view = self.scalars[op.view]
        rows = Transfer(self.unit(op.out), view, offsets, op.axis_list).load()
        self.define(op.out, rows)
        if self.b.machine.makes_queues(Queue.input):
            # Only what copies alone write can be filled while the last is still in use.
            self.shared.add(rows.local)

    def store(self, op: tile.StoreOp) -> None:
        """Copy out, combined with what is there."""
        unit = self.unit(op.value)
        offsets = [self.scalars[o] for o in op.offsets]
        transfer = Transfer(unit, self.scalars[op.view], offsets, op.axis_list)
        dtype, combine = view_type(op.view).dtype, op.combine.data
        rows = self.whole(op.value)
        direct = combine is tile.Combine.set or (combine, dtype) in self.b.machine.combines
        if direct:
            transfer.store(rows, combine)
            return
        rows = self._combined(unit, transfer, rows, combine)
        transfer.store(rows)

    def _combined(
        self, unit: Instructions, transfer: Transfer, rows: Rows, combine: tile.Combine
    ) -> Rows:
        """Old and new values together, by a map."""
        element = transfer.type.element
        type = TileType.of(unit.shape, element)
        scalar = scalar_of(element)
        body = Block(arg_types=[scalar, scalar])
        kind = tile.ReduceKind(combine.value)
        wide = element_name(element) in ("f16", "bf16")
        operands: list[SSAValue] = list(body.args)
        if wide:
            extended = [arith.ExtFOp(o, f32) for o in operands]
            body.add_ops(extended)
            operands = [e.result for e in extended]
        both = combine_scalars(kind, f32 if wide else element, *operands)
        body.add_op(both)
        result = both.results[0]
        if wide:
            narrow = arith.TruncFOp(result, element)
            body.add_op(narrow)
            result = narrow.result
        body.add_op(tile.YieldOp([result]))
        inputs = list(Block(arg_types=[type, type]).args)
        axes = list(range(len(unit.shape)))
        op = tile.MapOp(inputs, [axes, axes], [type], Region(body))
        old = transfer.load()
        new = Rows(rows.local, rows.dtype, rows.axes, rows.strides, owned=False)
        (out,) = MapLowering(unit, op).run([old, new])
        assert isinstance(out, Rows)
        return out

    def map(self, op: tile.MapOp) -> None:
        """Vector instructions, and scalar loops for the rest."""
        unit = self.unit(op.outs[0])
        inputs: list[Rows | SSAValue] = []
        for value, dims in zip(op.inputs, op.dim_lists, strict=True):
            tiled = isinstance(value.type, TileType)
            inputs.append(self.rows_of(value, op, dims) if tiled else self.scalars[value])
        ended = [v for v in op.inputs if v in self.tiles and self.dies(v, op)]
        outputs = MapLowering(unit, op).run(inputs)
        for value in ended:
            self.tiles.pop(value, None)
        for out, held in zip(op.outs, outputs, strict=True):
            self.define(out, held)

    def reduce(self, op: tile.ReduceOp) -> None:
        """Accumulated rows, combined rows."""
        unit = self.unit(op.x)
        x = self.whole(op.x)
        result = Reduction(unit, op.kind.data, tile_type(op.x).element).run(x, op.axis_list)
        kept = [a for a in range(len(unit.shape)) if a not in op.axis_list]
        axes = tuple(kept.index(a) for a in result.axes)
        self.define(op.out, Rows(result.local, result.dtype, axes, result.strides))

    def scan(self, op: tile.ScanOp) -> None:
        """Running combinations."""
        unit = self.unit(op.x)
        scan = Scan(unit, op.kind.data, tile_type(op.x).element)
        scan.exclusive, scan.reverse = op.exclusive is not None, op.reverse is not None
        self.define(op.out, scan.scan(self.whole(op.x), op.along))

    def dot(self, op: tile.DotOp) -> None:
        """A product in the accumulator's place."""
        acc = self.tiles[op.acc]
        if acc.is_whole() and self.dies(op.acc, op):
            rows = acc.rows
            del self.tiles[op.acc]
        else:
            source = acc.rows if acc.rows is not None else acc.scalar
            assert source is not None
            rows = self.copied(self.unit(op.acc), source, acc.dtype)
        assert rows is not None
        self.define(op.out, rows)
        lhs, rhs = (self._operand(value) for value in (op.lhs, op.rhs))
        Product(
            self.b, self.granule, self.tiles[op.out], lhs, rhs, op.transposed is not None
        ).run()

    def _operand(self, value: SSAValue) -> TileValue:
        held = self.tiles[value]
        return TileValue(held.shape, held.element, self.sizes(value), self.whole(value))

    def full(self, op: tile.FullOp) -> None:
        """A scalar, until somebody wants rows."""
        self.define(op.out, self.scalars[op.scalar])

    def for_(self, op: tile.ForOp) -> None:
        """A loop that updates the carried tiles in place."""
        slots = [self._slot(value, op) for value in op.carried]
        arguments = op.body.block.args
        for argument, slot in zip(arguments[1:], slots, strict=True):
            self.define(argument, slot)
        bound = dim_of(op.to)
        known = bound.value if bound is not None else None
        to: Size = self.scalars[op.to] if known is None else known
        with self.b.loop(to, op.step_size.value or 1) as position:
            self.scalars[arguments[0]] = self.b.index(position)
            self.block(op.body.block)
            self._carry(yielded(op.body), arguments[1:], slots)
        for value in self._defined_in(op):
            self.tiles.pop(value, None)
        for value, slot in zip(op.outs, slots, strict=True):
            self.define(value, slot)

    def _defined_in(self, op: tile.ForOp) -> list[SSAValue]:
        """Tiles of the loop's body, which are gone after it."""
        found: list[SSAValue] = list(op.body.block.args)
        for inner in op.body.walk():
            found += inner.results
        return found

    def _slot(self, value: SSAValue, op: tile.ForOp) -> Rows:
        held = self.tiles[value]
        if held.is_whole() and self.dies(value, op) and list(op.carried).count(value) == 1:
            assert held.rows is not None
            del self.tiles[value]
            return held.rows
        unit = Instructions(self.b, self.granule, held.shape, held.shape)
        if held.rows is not None:
            unit = Instructions(self.b, self.granule, held.shape, held.extents)
        source = held.rows if held.rows is not None else held.scalar
        assert source is not None
        return self.copied(unit, source, held.dtype)

    def _carry(
        self, values: Sequence[SSAValue], arguments: Sequence[SSAValue], slots: Sequence[Rows]
    ) -> None:
        """Each next value into its slot, all at once."""
        locals = {slot.local for slot in slots}
        sources: list[Rows | SSAValue] = []
        for value, slot in zip(values, slots, strict=True):
            held = self.tiles[value]
            rows = held.rows
            if rows is not None and rows.local in locals and rows.local is not slot.local:
                # Another slot, which may be overwritten first.
                unit = Instructions(self.b, self.granule, held.shape, self.sizes(value))
                rows = self.copied(unit, rows, held.dtype)
            source = rows if rows is not None else held.scalar
            assert source is not None
            sources.append(source)
        for value, slot, source in zip(values, slots, sources, strict=True):
            if isinstance(source, Rows) and source.local is slot.local:
                continue
            held = self.tiles[value]
            unit = Instructions(self.b, self.granule, held.shape, self.sizes(value))
            self._into(unit, slot, source, held.dtype)

    def _into(
        self, unit: Instructions, slot: Rows, source: Rows | SSAValue, dtype: str
    ) -> None:
        if isinstance(source, SSAValue) and source.type != element_type(dtype):
            source = self._as_held(source, dtype)
        with unit.over(slot.axes, [slot, source]) as (items, count, _):
            target, given = items
            assert isinstance(target, tuple)
            make = vector.CopyOp if isinstance(given, tuple) else vector.FillOp
            self.b.emit(make(target, given, count))  # pyright: ignore

    def gather(self, op: tile.GatherOp) -> None:
        """Elements read one at a time."""
        unit = self.unit(op.out)
        positions = self._positions(op.positions, op.dim_lists, op)
        view = self.scalars[op.view]
        self.define(op.out, Positions(unit, view, positions).gather(self.is_open(op.out)))

    def scatter(self, op: tile.ScatterOp) -> None:
        """Elements written one at a time, in order."""
        unit = self.unit(op.value)
        positions = self._positions(op.positions, op.dim_lists, op)
        value = self.whole(op.value)
        view = self.scalars[op.view]
        Positions(unit, view, positions).scatter(value, op.combine.data)

    def _positions(
        self, values: Sequence[SSAValue], dims: Sequence[Sequence[int]], op: Operation
    ) -> list[tuple[Position, SSAValue]]:
        result: list[tuple[Position, SSAValue]] = []
        for value, axes in zip(values, dims, strict=True):
            if isinstance(value.type, TileType):
                result.append((self.rows_of(value, op, axes), value))
            else:
                result.append((self.scalars[value], value))
        return result

    def size(self, op: tile.SizeOp) -> None:
        """A number where it is known."""
        self.scalars[op.out] = self.b.index(self.b.size(op.dim))


def _comes_by(user: Operation, op: Operation) -> bool:
    """Whether a use is no later than an operation of the block that defines the value."""
    current: Operation | None = user
    while current is not None and current.parent is not op.parent:
        current = current.parent_op()
    if current is None:
        return False
    return current is op or current.is_before_in_block(op)


def _dtypes(kernel: tile.KernelOp) -> set[str]:
    """The element types of rows that a kernel has."""
    found: set[str] = set()
    for op in kernel.body.walk():
        blocks = [block for region in op.regions for block in region.blocks]
        for value in (*op.results, *(a for block in blocks for a in block.args)):
            if isinstance(value.type, TileType):
                found.add(held_dtype(value.type.element))
            elif not isinstance(value.type, ViewType) and isinstance(
                op.parent_op(), tile.MapOp
            ):
                dtype = held_dtype(value.type)
                found.add(dtype if dtype != "i8" or element_name(value.type) == "i8" else "f32")
    return found


_RULES: dict[type[Operation], Callable[[_KernelLowering, Any], None]] = {
    tile.LoadOp: _KernelLowering.load,
    tile.StoreOp: _KernelLowering.store,
    tile.MapOp: _KernelLowering.map,
    tile.ReduceOp: _KernelLowering.reduce,
    tile.ScanOp: _KernelLowering.scan,
    tile.DotOp: _KernelLowering.dot,
    tile.FullOp: _KernelLowering.full,
    tile.ForOp: _KernelLowering.for_,
    tile.GatherOp: _KernelLowering.gather,
    tile.ScatterOp: _KernelLowering.scatter,
    tile.SizeOp: _KernelLowering.size,
}
