"""A leading axis of rows for the tiles of a kernel, whose programs take several rows then."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith
from xdsl.dialects.builtin import ArrayAttr, IntegerAttr, i64
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from infini_ir.dialects import tile
from infini_ir.dialects.dims import DimsAttr
from infini_ir.dialects.graph.base import ints
from infini_ir.dialects.tile import tile_type
from infini_ir.dialects.tile.base import INDEX
from infini_ir.dialects.tile.types import scalar_of
from infini_ir.utils.symbolic import Dim


class RowTiles:
    """Rewrites a kernel in place. `depends`: the tiles that are another for each row of the
    grid's axis `axis`; they get an axis of capacity `rows` in front, and the others stay."""

    def __init__(
        self, kernel: tile.KernelOp, axis: int, depends: set[SSAValue], rows: Dim
    ) -> None:
        self.kernel = kernel
        self.axis = axis
        self.depends = depends
        self.rows = rows
        self.row = kernel.offsets[axis]

    def rewrite(self) -> None:
        """Change the grid and every operation on rows."""
        ops = [op for op in self.kernel.body.walk() if self._is_of_rows(op)]
        for value in self.depends:
            value._type = self._row_type(value.type)  # pyright: ignore[reportPrivateUsage]
        for op in ops:
            self._change(op)
        steps = list(self.kernel.steps.data)
        steps[self.axis] = self.rows
        self.kernel.properties["steps"] = DimsAttr(tuple(steps))

    def _is_of_rows(self, op: Operation) -> bool:
        results = any(value in self.depends for value in op.results)
        return results or isinstance(op, tile.StoreOp)

    def _row_type(self, type: Attribute) -> tile.TileType:
        assert isinstance(type, tile.TileType)
        return tile.TileType.of([self.rows, *type.shape], type.element)

    def _change(self, op: Operation) -> None:
        if isinstance(op, tile.LoadOp | tile.StoreOp):
            along = list(op.offsets).index(self.row)
            op.properties["axes"] = ints((along, *op.axis_list))
            if isinstance(op, tile.StoreOp):
                self._give_rows(op, op.operands.index(op.value))
        elif isinstance(op, tile.ReduceOp):
            op.properties["axes"] = ints([axis + 1 for axis in op.axis_list])
        elif isinstance(op, tile.ScanOp):
            op.properties["axis"] = IntegerAttr(op.along + 1, i64)
        elif isinstance(op, tile.MapOp):
            self._change_map(op)
        elif isinstance(op, tile.GatherOp):
            self._change_gather(op)
        elif isinstance(op, tile.ForOp):
            self._change_loop(op)

    def _dims(
        self, values: Sequence[SSAValue], dims: Sequence[tuple[int, ...]]
    ) -> list[tuple[int, ...]]:
        """The axes that operands cover, of a result with rows."""
        moved = [tuple(axis + 1 for axis in axes) for axes in dims]
        return [
            (0, *axes) if value in self.depends else axes
            for value, axes in zip(values, moved, strict=True)
        ]

    def _change_map(self, op: tile.MapOp) -> None:
        dims = self._dims(op.inputs, op.dim_lists)
        op.properties["dims"] = ArrayAttr([ints(axes) for axes in dims])
        block = op.body.block
        for inner in block.ops:
            if isinstance(inner, tile.CoordOp):
                inner.properties["axis"] = IntegerAttr(inner.axis.value.data + 1, i64)
        for value, argument in zip(op.inputs, block.args, strict=True):
            if value is self.row:
                self._count_rows(block, argument)

    def _count_rows(self, block: Block, first: SSAValue) -> arith.AddiOp:
        """In a map: the row of each element, for uses of the first."""
        place = tile.CoordOp(0)
        row = arith.AddiOp(first, place)
        Rewriter.insert_op([place, row], InsertPoint.at_start(block))
        first.replace_uses_with_if(row.result, lambda use: use.operation is not row)
        return row

    def _change_gather(self, op: tile.GatherOp) -> None:
        dims = self._dims(op.positions, op.dim_lists)
        positions = list(op.positions)
        if self.row in positions:
            along = positions.index(self.row)
            positions[along], dims[along] = self._row_numbers(op), (0,)
        new = tile.GatherOp(op.view, positions, dims, tile_type(op.out))
        self._replace(op, new)

    def _row_numbers(self, op: tile.GatherOp) -> SSAValue:
        """A tile of the rows' numbers, none of them beyond the last row."""
        block = Block(arg_types=[INDEX, INDEX])
        first, last = block.args
        row = self._count_rows(block, first)
        inside = arith.MinSIOp(row, last)
        number = arith.IndexCastOp(inside, i64)
        block.add_ops([inside, number, tile.YieldOp([number])])
        size = tile.SizeOp(self.kernel.bounds.data[self.axis] - 1)
        type = tile.TileType.of([self.rows], "i64")
        numbers = tile.MapOp([self.row, size], [(), ()], [type], Region(block))
        for each in (size, numbers):
            each.location = op.location
        Rewriter.insert_op([size, numbers], InsertPoint.before(op))
        return numbers.outs[0]

    def _replace(self, op: tile.GatherOp, new: tile.GatherOp) -> None:
        new.location = op.location
        Rewriter.replace_op(op, new)
        self.depends.discard(op.out)
        self.depends.add(new.out)

    def _change_loop(self, op: tile.ForOp) -> None:
        last = op.body.block.last_op
        assert last is not None, "a loop's region ends with tile.yield"
        for number, result in enumerate(op.outs):
            if result in self.depends:
                self._give_rows(op, 1 + number)
                self._give_rows(last, number)

    def _give_rows(self, op: Operation, number: int) -> None:
        """Repeat an operand for every row where it is the same for all."""
        value = op.operands[number]
        if value in self.depends:
            return
        type = self._row_type(value.type)
        owner = value.owner
        if isinstance(owner, tile.FullOp):
            new: Operation = tile.FullOp(owner.scalar, type)
        else:
            block = Block(arg_types=[scalar_of(type.element)])
            block.add_op(tile.YieldOp([block.args[0]]))
            new = tile.MapOp([value], [range(1, type.rank)], [type], Region(block))
        new.location = op.location
        Rewriter.insert_op(new, InsertPoint.before(op))
        op.operands[number] = new.results[0]
        if isinstance(owner, tile.FullOp) and not value.uses:
            owner.detach()
            owner.erase()
