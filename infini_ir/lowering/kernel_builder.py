"""Building a kernel: the operations of `tile` as method calls.

    k = KernelBuilder("scale", [x_type, y_type], bounds=[n], steps=["BC"])
    x = k.load(k.views[0], [k.offsets[0]], axes=[0], capacity=["BC"])
    (y,) = k.map([x], [[0]], ["f32"], ["BC"], lambda s, x: [s.mul(x, s.constant(2.0, "f32"))])
    k.store(y, k.views[1], [k.offsets[0]], axes=[0])

Positions and sizes may be integers, `Dim`s or index values. `views` and `offsets` are the
kernel's arguments. `shape`, `capacity`: integers, `Dim`s, or names of parameters. `dims`:
for each input of a map the result's axes that it covers (a scalar: none).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager

from xdsl.dialects import arith
from xdsl.dialects.builtin import IndexType, IntegerAttr
from xdsl.ir import Block, Operation, Region, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile import TileType, ViewType, tile_type, view_type
from infini_ir.lowering.scalar_builder import ScalarBuilder, constant_op, scalar_type
from infini_ir.utils.symbolic import Dim

Position = int | Dim | SSAValue
Sizes = Sequence[int | str | Dim]
MapBody = Callable[..., Sequence[SSAValue]]
INDEX = IndexType()


def sizes_of(sizes: Sizes) -> list[Dim]:
    return [Dim.of(size) for size in sizes]


class KernelBuilder:
    """Makes one `tile.kernel`; each method appends an operation to where it stands."""

    def __init__(
        self,
        name: str,
        view_types: Sequence[ViewType],
        bounds: Sizes,
        steps: Sizes,
        origin: str = "",
    ) -> None:
        self.op = tile.KernelOp(name, view_types, bounds, steps, origin)
        self.views: tuple[SSAValue, ...] = self.op.views
        self.offsets: tuple[SSAValue, ...] = self.op.offsets
        self.serial = False
        """Whether launches run on one worker."""
        self._block: Block = self.op.body.block
        self._indices: list[dict[object, SSAValue]] = [{}]

    def emit(self, op: Operation) -> SSAValue:
        """Append an operation and give its first result."""
        self._block.add_op(op)
        return op.results[0]

    # Indices and scalars outside maps

    def index(self, value: Position) -> SSAValue:
        """A constant, a size or an index value as an index value."""
        if isinstance(value, SSAValue):
            return value
        dim = Dim.of(value)
        for known in self._indices:
            if dim in known:
                return known[dim]
        if dim.value is not None:
            made: Operation = arith.ConstantOp(IntegerAttr(dim.value, INDEX))
        else:
            made = tile.SizeOp(dim)
        result = self._indices[-1][dim] = self.emit(made)
        return result

    def size(self, dim: int | str | Dim) -> SSAValue:
        """A size as an index; names of parameters are sizes too."""
        return self.index(Dim.of(dim))

    def add(self, a: Position, b: Position) -> SSAValue:
        return self.emit(arith.AddiOp(self.index(a), self.index(b)))

    def sub(self, a: Position, b: Position) -> SSAValue:
        return self.emit(arith.SubiOp(self.index(a), self.index(b)))

    def mul(self, a: Position, b: Position) -> SSAValue:
        return self.emit(arith.MuliOp(self.index(a), self.index(b)))

    def div(self, a: Position, b: Position) -> SSAValue:
        """Quotient of non-negative indices."""
        return self.emit(arith.DivUIOp(self.index(a), self.index(b)))

    def rem(self, a: Position, b: Position) -> SSAValue:
        """Remainder of non-negative indices."""
        return self.emit(arith.RemUIOp(self.index(a), self.index(b)))

    def min(self, a: Position, b: Position) -> SSAValue:
        return self.emit(arith.MinSIOp(self.index(a), self.index(b)))

    def max(self, a: Position, b: Position) -> SSAValue:
        return self.emit(arith.MaxSIOp(self.index(a), self.index(b)))

    def scalar(self, number: float | int | bool, dtype: str) -> SSAValue:
        """A constant of an element type (unsigned ones are signless)."""
        return self.emit(constant_op(number, dtype))

    def to_index(self, value: SSAValue) -> SSAValue:
        """A signless integer scalar as an index (sign extended)."""
        return self.emit(arith.IndexCastOp(value, INDEX))

    def from_index(self, value: Position, dtype: str = "i64") -> SSAValue:
        """An index as an integer scalar."""
        return self.emit(arith.IndexCastOp(self.index(value), scalar_type(dtype)))

    # Memory

    def load(
        self,
        view: SSAValue,
        offsets: Sequence[Position],
        axes: Sequence[int],
        capacity: Sizes,
    ) -> SSAValue:
        positions = [self.index(offset) for offset in offsets]
        return self.emit(tile.LoadOp(view, positions, axes, sizes_of(capacity)))

    def store(
        self,
        value: SSAValue,
        view: SSAValue,
        offsets: Sequence[Position],
        axes: Sequence[int],
        combine: str = "set",
    ) -> None:
        positions = [self.index(offset) for offset in offsets]
        self._block.add_op(tile.StoreOp(value, view, positions, axes, combine))

    def gather(
        self,
        view: SSAValue,
        positions: Sequence[Position],
        dims: Sequence[Sequence[int]],
        shape: Sizes,
    ) -> SSAValue:
        """Positions: an index or an integer tile for each axis of the view."""
        out = TileType.of(shape, view_type(view).element)
        return self.emit(tile.GatherOp(view, [self.index(p) for p in positions], dims, out))

    def scatter(
        self,
        value: SSAValue,
        view: SSAValue,
        positions: Sequence[Position],
        dims: Sequence[Sequence[int]],
        combine: str = "set",
    ) -> None:
        indices = [self.index(p) for p in positions]
        self._block.add_op(tile.ScatterOp(value, view, indices, dims, combine))

    def read(self, view: SSAValue, offsets: Sequence[Position]) -> SSAValue:
        """One element as a scalar (unsigned ones are signless)."""
        out = scalar_type(view_type(view).dtype)
        return self.emit(tile.ReadOp(view, [self.index(o) for o in offsets], out))

    # Tiles

    def full(self, scalar: SSAValue | float | int | bool, shape: Sizes, dtype: str) -> SSAValue:
        """One number everywhere."""
        value = scalar if isinstance(scalar, SSAValue) else self.scalar(scalar, dtype)
        return self.emit(tile.FullOp(value, TileType.of(shape, dtype)))

    def open(self, x: SSAValue) -> SSAValue:
        """The tile, of which a user takes as much as it needs."""
        return self.emit(tile.OpenOp(x))

    def map(
        self,
        inputs: Sequence[SSAValue],
        dims: Sequence[Sequence[int]],
        dtypes: Sequence[str],
        shape: Sizes,
        fn: MapBody,
    ) -> tuple[SSAValue, ...]:
        """
        `fn(s, *scalars)` gives the results' scalars; `s` is a `ScalarBuilder`. A tile input
        arrives as a scalar of its element type (unsigned ones signless), a scalar or index
        input as itself.
        """
        types = [
            scalar_type(v.type.dtype) if isinstance(v.type, TileType) else v.type
            for v in inputs
        ]
        block = Block(arg_types=types)
        results = fn(ScalarBuilder(block), *block.args)
        block.add_op(tile.YieldOp(list(results)))
        outs = [TileType.of(shape, dtype) for dtype in dtypes]
        op = tile.MapOp(inputs, dims, outs, Region(block))
        self._block.add_op(op)
        return tuple(op.results)

    def reduce(self, kind: str, x: SSAValue, axes: Sequence[int]) -> SSAValue:
        """`kind`: add, mul, max or min; the listed axes are gone."""
        return self.emit(tile.ReduceOp(kind, x, axes))

    def scan(
        self,
        kind: str,
        x: SSAValue,
        axis: int,
        *,
        exclusive: bool = False,
        reverse: bool = False,
    ) -> SSAValue:
        """Running combination along an axis; `kind` as of `reduce`."""
        return self.emit(tile.ScanOp(kind, x, axis, exclusive=exclusive, reverse=reverse))

    def dot(
        self, lhs: SSAValue, rhs: SSAValue, acc: SSAValue, *, transposed: bool = False
    ) -> SSAValue:
        return self.emit(tile.DotOp(lhs, rhs, acc, transposed=transposed))

    def for_(
        self,
        to: Position,
        step: int | str | Dim,
        carried: Sequence[SSAValue],
        fn: Callable[..., Sequence[SSAValue]],
    ) -> tuple[SSAValue, ...]:
        """`fn(position, *carried)` gives the next carried tiles."""
        limit = self.index(to)
        block = Block(arg_types=[INDEX, *(value.type for value in carried)])
        with self._inside(block):
            results = fn(*block.args)
            block.add_op(tile.YieldOp(list(results)))
        op = tile.ForOp(limit, step, carried, Region(block))
        self._block.add_op(op)
        return tuple(op.results)

    @contextmanager
    def _inside(self, block: Block):
        outer, self._block = self._block, block
        self._indices.append({})
        try:
            yield
        finally:
            self._indices.pop()
            self._block = outer

    @staticmethod
    def shape_of(value: SSAValue) -> tuple[Dim, ...]:
        """The capacity of a tile."""
        return tile_type(value).shape
