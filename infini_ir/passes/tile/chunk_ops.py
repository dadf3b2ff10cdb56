"""Single operations on a chunk of an axis instead of the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Block, Operation, Region, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile.base import INDEX
from infini_ir.dialects.tile.types import scalar_of
from infini_ir.passes.tile.combining import neutral_constant
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import Dim


class Walk(Protocol):
    """An axis, and the pieces in which it is walked."""

    @property
    def axis(self) -> Mapping[SSAValue, int]:
        """The tiles that have the axis, and which of their axes it is."""
        ...

    @property
    def size(self) -> Dim: ...

    @property
    def step(self) -> Dim: ...

    def error(self, op: Operation | Block, why: str) -> CompileError:
        """What to say where an operation cannot go by pieces."""
        ...


def is_zero(value: SSAValue) -> bool:
    """Whether an index is the constant 0."""
    op = value.owner
    if not isinstance(op, arith.ConstantOp) or not isinstance(op.value, IntegerAttr):
        return False
    return op.value.value.data == 0


class ChunkWriter:
    """Writes the body of one loop; its first argument is where the chunk begins."""

    def __init__(self, loops: Walk, body: Block) -> None:
        self.loops = loops
        self.axis = loops.axis
        self.body = body
        self.begin = body.args[0]
        self.chunks: dict[SSAValue, SSAValue] = {}

    def add(self, source: Operation, *ops: Operation) -> SSAValue:
        """Append operations at the place of `source` in the model; the last one's result."""
        for op in ops:
            op.location = source.location
            self.body.add_op(op)
        return ops[-1].results[0]

    def chunk(self, value: SSAValue) -> SSAValue:
        """The chunk of a tile of the axis, other values as they are."""
        return self.chunks.get(value, value)

    def _type(self, value: SSAValue) -> tile.TileType:
        type = tile.tile_type(value)
        shape = list(type.shape)
        if value in self.axis:
            shape[self.axis[value]] = self.loops.step
        return tile.TileType.of(shape, type.element)

    # Operations that make tiles of the axis

    def compute(self, op: Operation) -> None:
        """The operation on the chunk: the same, later on."""
        if isinstance(op, tile.LoadOp):
            new: Operation = self._load(op)
        elif isinstance(op, tile.GatherOp):
            positions = [self.chunk(p) for p in op.positions]
            new = tile.GatherOp(op.view, positions, op.dim_lists, self._type(op.out))
        elif isinstance(op, tile.FullOp):
            new = tile.FullOp(op.scalar, self._type(op.out))
        elif isinstance(op, tile.MapOp):
            new = self._map(op)
        elif isinstance(op, tile.ReduceOp):
            new = tile.ReduceOp(op.kind.data, self.chunk(op.x), op.axis_list)
        elif isinstance(op, tile.ScanOp) and op.along != self.axis[op.out]:
            new = tile.ScanOp(
                op.kind.data,
                self.chunk(op.x),
                op.along,
                exclusive=op.exclusive is not None,
                reverse=op.reverse is not None,
            )
        elif isinstance(op, tile.DotOp):
            lhs, rhs, acc = (self.chunk(v) for v in (op.lhs, op.rhs, op.acc))
            new = tile.DotOp(lhs, rhs, acc, transposed=op.transposed is not None)
        else:
            raise self.loops.error(op, "it needs the axis whole")
        self.add(op, new)
        self.chunks.update(zip(op.results, new.results, strict=True))

    def _load(self, op: tile.LoadOp) -> tile.LoadOp:
        offsets = self._moved(op, op.offsets, op.axis_list[self.axis[op.out]])
        return tile.LoadOp(op.view, offsets, op.axis_list, self._type(op.out).shape)

    def _moved(self, op: Operation, offsets: Sequence[SSAValue], along: int) -> list[SSAValue]:
        """The offsets of an access, further on by where the chunk begins."""
        moved = list(offsets)
        whole = moved[along]
        moved[along] = (
            self.begin if is_zero(whole) else self.add(op, arith.AddiOp(whole, self.begin))
        )
        return moved

    def _map(self, op: tile.MapOp) -> tile.MapOp:
        inputs, dims = [self.chunk(v) for v in op.inputs], list(op.dim_lists)
        body = op.body.clone()
        axis = self.axis[op.outs[0]]
        coords = [
            inner
            for inner in body.block.ops
            if isinstance(inner, tile.CoordOp) and inner.axis.value.data == axis
        ]
        if coords:
            inputs.append(self.begin)
            dims.append(())
            begin = body.block.insert_arg(INDEX, len(body.block.args))
            for inner in coords:
                moved = arith.AddiOp(inner.out, begin)
                body.block.insert_op_after(moved, inner)
                inner.out.replace_uses_with_if(
                    moved.result, lambda use, moved=moved: use.operation is not moved
                )
        return tile.MapOp(inputs, dims, [self._type(out) for out in op.outs], body)

    # Operations that end them

    def store(self, op: tile.StoreOp) -> None:
        offsets = self._moved(op, op.offsets, op.axis_list[self.axis[op.value]])
        new = tile.StoreOp(
            self.chunk(op.value), op.view, offsets, op.axis_list, op.combine.data
        )
        new.location = op.location
        self.body.add_op(new)

    def scatter(self, op: tile.ScatterOp) -> None:
        if self.axis.get(op.value) != 0 and op.combine.data is tile.Combine.set:
            raise self.loops.error(op, "the order of what is written would change")
        covered = [op.value, *(p for p in op.positions if p in self.axis)]
        if not any(self._is_sized(value) for value in covered):
            raise self.loops.error(op, "nothing says how many of its elements there are")
        positions = [self.chunk(p) for p in op.positions]
        new = tile.ScatterOp(
            self.chunk(op.value), op.view, positions, op.dim_lists, op.combine.data
        )
        new.location = op.location
        self.body.add_op(new)

    def product(self, op: tile.DotOp, total: SSAValue) -> SSAValue:
        lhs = self.chunk(op.lhs)
        if not self._is_sized(op.lhs) and not self._is_sized(op.rhs):
            lhs = self._cut(op, op.lhs, "add")
        transposed = op.transposed is not None
        return self.add(op, tile.DotOp(lhs, self.chunk(op.rhs), total, transposed=transposed))

    def bounded(self, op: tile.ReduceOp) -> SSAValue:
        """The chunk to reduce, neutral beyond the end of the axis where no load cuts it."""
        if self._is_sized(op.x):
            return self.chunk(op.x)
        return self._cut(op, op.x, op.kind.data)

    def _is_sized(self, value: SSAValue) -> bool:
        """Whether a load gives the extent along the axis."""
        op = value.owner
        if isinstance(op, tile.LoadOp):
            return True
        if isinstance(op, tile.FullOp) or not isinstance(op, Operation):
            return False
        return any(self._is_sized(v) for v in op.operands if v in self.axis)

    def _cut(self, op: Operation, value: SSAValue, kind: str) -> SSAValue:
        """The chunk with neutral elements beyond the end of the axis."""
        type = self._type(value)
        scalar = scalar_of(type.element)
        block = Block(arg_types=[scalar, INDEX, INDEX])
        x, begin, size = block.args
        place = tile.CoordOp(self.axis[value])
        at = arith.AddiOp(place, begin)
        inside = arith.CmpiOp(at, size, "ult")
        neutral = neutral_constant(kind, type.element)
        chosen = arith.SelectOp(inside, x, neutral)
        block.add_ops([place, at, inside, neutral, chosen, tile.YieldOp([chosen])])
        limit = self.add(op, tile.SizeOp(self.loops.size))
        inputs, dims = [self.chunk(value), self.begin, limit], [range(type.rank), (), ()]
        return self.add(op, tile.MapOp(inputs, dims, [type], Region(block)))
