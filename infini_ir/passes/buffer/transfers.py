"""Loads and stores: which copies bring a slice of a view into rows, and back."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.buffer import memory, rows
from infini_ir.dialects.tile import Combine, ViewType, view_type
from infini_ir.dialects.tile.types import scalar_of
from infini_ir.passes.buffer.builder import Builder, Size
from infini_ir.passes.buffer.instructions import Instructions
from infini_ir.passes.buffer.scalar_loops import read_element, write_element
from infini_ir.passes.buffer.values import Rows, held_dtype, pitched, room
from infini_ir.utils.symbolic import ONE, ZERO, Dim


class Transfer:
    """A slice of a view: which of its axes a tile covers, and where it begins."""

    def __init__(
        self,
        unit: Instructions,
        view: SSAValue,
        offsets: Sequence[SSAValue],
        axes: Sequence[int],
    ) -> None:
        self.unit = unit
        self.b: Builder = unit.b
        self.view = view
        self.type: ViewType = view_type(view)
        self.offsets = list(offsets)
        self.axes = tuple(axes)
        self.dtype = held_dtype(self.type.element)

    def _stride(self, number: int) -> Dim:
        return self.type.strides[self.axes[number]]

    def _inner(self, kept: Sequence[int]) -> int | None:
        """The axis of the tile along which elements are neighbours in global memory; None
        where there is none."""
        if not kept or self.unit.shape[kept[-1]] == 1:
            return kept[-1] if kept else None
        for number in reversed(kept):
            if self._stride(number) is ONE and self.unit.shape[number] > 1:
                return number
        return None

    # Loads

    def load(self) -> Rows:
        """The slice; along axes of stride 0 it is loaded once."""
        shape = self.unit.shape
        kept = [
            n for n in range(len(self.axes)) if self._stride(n) is not ZERO or shape[n] == 1
        ]
        result = self.unit.new(kept, self.dtype)
        inner = self._inner(kept)
        if inner is None and kept and not self.b.machine.strided_copies:
            self._read_elements(result)
        elif inner is None or inner == kept[-1]:
            self._copy_in(result.local, kept, result.strides)
        else:
            self._load_turned(result, kept, inner)
        return result

    def _copy_in(self, local: SSAValue, kept: Sequence[int], strides: Sequence[int]) -> None:
        extents = [self.b.index(self.unit.extents[n]) for n in kept]
        axes = [self.axes[n] for n in kept]
        zero = self.b.index(0)
        self.b.emit(
            memory.CopyInOp(local, zero, self.view, self.offsets, axes, extents, strides)
        )

    def _turned(self, kept: Sequence[int], inner: int) -> tuple[list[int], tuple[int, ...]]:
        """The axes with the inner one last, and how they lie."""
        order = [n for n in kept if n not in (inner, kept[-1])] + [kept[-1], inner]
        return order, pitched([self.unit.shape[n] for n in order], self.unit.granule)

    def _load_turned(self, result: Rows, kept: Sequence[int], inner: int) -> None:
        order, strides = self._turned(kept, inner)
        shape = [self.unit.shape[n] for n in order]
        temporary = self.b.alloc(room(shape, self.unit.granule), self.dtype)
        self._copy_in(temporary, order, strides)
        source = Rows(temporary, self.dtype, tuple(order), strides)
        self._transpose(source, result, kept[-1], inner, order[:-2])

    def _transpose(
        self, source: Rows, target: Rows, row: int, column: int, others: Sequence[int]
    ) -> None:
        """From rows along `column` to rows along `row`."""
        extents, b = self.unit.extents, self.b
        with b.nest([extents[n] for n in others]) as at:
            begin = b.offset(at, [source.stride(n) for n in others])
            end = b.offset(at, [target.stride(n) for n in others])
            pitches = target.stride(column), source.stride(row)
            if b.machine.has("transpose", self.dtype):
                sizes = b.index(extents[row]), b.index(extents[column])
                work = self._work(self.unit.shape[row] * self.unit.shape[column])
                places = (target.local, end), (source.local, begin)
                b.emit(rows.TransposeOp(*places, *sizes, pitches, work))
                return
            with b.nest([extents[row], extents[column]]) as (i, j):
                place = b.offset([begin, i, j], [1, pitches[1], 1])
                value = b.emit(rows.ExtractOp(source.local, place))
                place = b.offset([end, i, j], [1, 1, pitches[0]])
                b.emit(rows.InsertOp(value, target.local, place))

    def _work(self, count: int) -> list[SSAValue]:
        wanted = count * self.b.machine.transpose_work // 256
        return [self.b.alloc(wanted, self.dtype)] if wanted else []

    def _read_elements(self, result: Rows) -> None:
        b = self.b
        with b.nest([self.unit.extents[n] for n in result.axes]) as at:
            value = self.read(dict(zip(result.axes, at, strict=True)))
            write_element(b, value, result.local, b.offset(at, result.strides))

    def read(self, at: dict[int, Size]) -> SSAValue:
        """One element on the scalar unit."""
        return self.b.emit(
            tile.ReadOp(self.view, self._position(at), scalar_of(self.type.element))
        )

    def _position(self, at: dict[int, Size]) -> list[SSAValue]:
        offsets = list(self.offsets)
        for number, index in at.items():
            axis = self.axes[number]
            offsets[axis] = self.b.index(self.b.add(offsets[axis], index))
        return offsets

    # Stores

    def store(self, value: Rows, combine: Combine = Combine.set) -> None:
        """Write rows that cover all axes of the slice."""
        kept = list(range(len(self.axes)))
        inner = self._inner(kept)
        if inner is None and kept and not self.b.machine.strided_copies:
            self._write_elements(value, combine)
        elif inner is None or inner == kept[-1]:
            self._copy_out(value.local, kept, value.strides, combine)
        else:
            order, strides = self._turned(kept, inner)
            shape = [self.unit.shape[n] for n in order]
            local = self.b.alloc(room(shape, self.unit.granule), self.dtype)
            turned = Rows(local, self.dtype, tuple(order), strides)
            self._transpose(value, turned, inner, kept[-1], order[:-2])
            self._copy_out(local, order, strides, combine)

    def _copy_out(
        self, local: SSAValue, kept: Sequence[int], strides: Sequence[int], combine: Combine
    ) -> None:
        extents = [self.b.index(self.unit.extents[n]) for n in kept]
        axes = [self.axes[n] for n in kept]
        zero = self.b.index(0)
        self.b.emit(
            memory.CopyOutOp(
                self.view, self.offsets, local, zero, axes, extents, strides, combine
            )
        )

    def _write_elements(self, value: Rows, combine: Combine) -> None:
        b = self.b
        type = scalar_of(self.type.element)
        with b.nest([self.unit.extents[n] for n in value.axes]) as at:
            element = read_element(b, value, b.offset(at, value.strides), type)
            self.write(element, dict(zip(value.axes, at, strict=True)), combine)

    def write(
        self, element: SSAValue, at: dict[int, Size], combine: Combine = Combine.set
    ) -> None:
        """One element, through a place where copies may begin."""
        local, zero = self.b.alloc(self.unit.granule, self.dtype), self.b.index(0)
        write_element(self.b, element, local, zero)
        self.b.emit(
            memory.CopyOutOp(self.view, self._position(at), local, zero, [], [], [], combine)
        )
