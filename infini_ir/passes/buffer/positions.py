"""`tile.gather` and `tile.scatter`: elements at computed positions, one at a time."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith
from xdsl.dialects.builtin import IndexType, i64
from xdsl.ir import SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.graph.types import element_name
from infini_ir.dialects.tile import Combine, view_type
from infini_ir.dialects.tile.types import scalar_of
from infini_ir.passes.buffer.builder import INDEX, Size
from infini_ir.passes.buffer.instructions import Instructions
from infini_ir.passes.buffer.reductions import combine_scalars
from infini_ir.passes.buffer.scalar_loops import BOOL, read_element, write_element
from infini_ir.passes.buffer.transfers import Transfer
from infini_ir.passes.buffer.values import Rows, held_dtype
from infini_ir.utils.dtypes import is_unsigned

Position = Rows | SSAValue


class Positions:
    """Where the elements of a tile are in a view."""

    def __init__(
        self, unit: Instructions, view: SSAValue, positions: Sequence[tuple[Position, SSAValue]]
    ) -> None:
        self.unit = unit
        self.b = unit.b
        self.view = view
        self.positions = positions
        self.axes = tuple(range(len(unit.shape)))

    def _at(self, indices: Sequence[Size]) -> list[SSAValue]:
        """The position of one element."""
        at = dict(zip(self.axes, indices, strict=True))
        result: list[SSAValue] = []
        for held, original in self.positions:
            if isinstance(held, Rows):
                offset = self.b.offset([at[a] for a in held.axes], held.strides)
                element = scalar_of(tile.tile_type(original).element)
                held = read_element(self.b, held, offset, element)
                if is_unsigned(element_name(tile.tile_type(original).element)):
                    held = self.b.emit(arith.ExtUIOp(held, i64))
            if not isinstance(held.type, IndexType):
                held = self.b.emit(arith.IndexCastOp(held, INDEX))
            result.append(held)
        return result

    def gather(self, clamped: bool) -> Rows:
        """Read each element. `clamped`: positions beyond the extent may be anything."""
        memory = view_type(self.view)
        result = self.unit.new(self.axes, held_dtype(memory.element))
        with self.b.nest(list(self.unit.extents)) as indices:
            at = self._at(indices)
            if clamped:
                at = [self._clamp(p, axis) for axis, p in enumerate(at)]
            value = self.b.emit(tile.ReadOp(self.view, at, scalar_of(memory.element)))
            write_element(self.b, value, result.local, self.b.offset(indices, result.strides))
        return result

    def _clamp(self, position: SSAValue, axis: int) -> SSAValue:
        last = self.b.sub(self.b.size(view_type(self.view).shape[axis]), 1)
        return self.b.index(self.b.maximum(self.b.minimum(position, last), 0))

    def scatter(self, value: Rows, combine: Combine) -> None:
        """Write each element whose position is inside, in row-major order."""
        memory = view_type(self.view)
        element = scalar_of(memory.element)
        with self.b.nest(list(self.unit.extents)) as indices:
            at = self._at(indices)
            inside = self._inside(at)
            offset = self.b.offset([indices[a] for a in value.axes], value.strides)
            new = read_element(self.b, value, offset, element)
            with self.b.when(inside):
                transfer = Transfer(self.unit, self.view, at, ())
                if combine is Combine.set:
                    transfer.write(new, {})
                elif (combine, memory.dtype) in self.b.machine.combines:
                    transfer.write(new, {}, combine)
                else:
                    old = transfer.read({})
                    kind = tile.ReduceKind(combine.value)
                    both = combine_scalars(kind, memory.element, old, new)
                    transfer.write(self.b.emit(both), {})

    def _inside(self, at: Sequence[SSAValue]) -> SSAValue:
        result: SSAValue | None = None
        for axis, position in enumerate(at):
            size = self.b.index(self.b.size(view_type(self.view).shape[axis]))
            # Below 0 is large, unsigned.
            here = self.b.emit(arith.CmpiOp(position, size, "ult"))
            result = here if result is None else self.b.emit(arith.AndIOp(result, here))
        return result or self.b.number(1, BOOL)
