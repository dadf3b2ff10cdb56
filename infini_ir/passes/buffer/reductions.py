"""`tile.reduce` as accumulated rows and instructions that combine a row."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith
from xdsl.ir import Attribute, Operation, SSAValue

from infini_ir.dialects.buffer import rows, vector
from infini_ir.dialects.buffer.types import BinaryFunction, Comparison
from infini_ir.dialects.graph.types import element_name, element_type
from infini_ir.dialects.tile import ReduceKind
from infini_ir.passes.buffer.builder import Size
from infini_ir.passes.buffer.instructions import Instructions
from infini_ir.passes.buffer.scalar_loops import element_in_code, read_element, write_element
from infini_ir.passes.buffer.values import Rows
from infini_ir.utils.dtypes import is_float, is_unsigned, item_size


def neutral(kind: ReduceKind, element: Attribute) -> float:
    """What a reduction of nothing gives, as local memory holds it."""
    dtype = element_name(element)
    if kind in (ReduceKind.add, ReduceKind.mul):
        return 0 if kind is ReduceKind.add else 1
    highest = kind is ReduceKind.min
    if is_float(dtype):
        return float("inf") if highest else float("-inf")
    if dtype == "i1":
        return int(highest)
    bits = 8 * item_size(dtype)
    if is_unsigned(dtype):
        return -1 if highest else 0
    return (1 << bits - 1) - 1 if highest else -(1 << bits - 1)


def combine_scalars(
    kind: ReduceKind, element: Attribute, left: SSAValue, right: SSAValue
) -> Operation:
    """Two elements in scalar code, as the tile's element type has it."""
    dtype = element_name(element)
    if is_float(dtype):
        table = {"add": arith.AddfOp, "mul": arith.MulfOp, "max": arith.MaximumfOp, "min": arith.MinimumfOp}  # fmt: skip
    elif dtype == "i1":
        table = {"add": arith.OrIOp, "mul": arith.AndIOp, "max": arith.OrIOp, "min": arith.AndIOp}  # fmt: skip
    elif is_unsigned(dtype):
        table = {"add": arith.AddiOp, "mul": arith.MuliOp, "max": arith.MaxUIOp, "min": arith.MinUIOp}  # fmt: skip
    else:
        table = {"add": arith.AddiOp, "mul": arith.MuliOp, "max": arith.MaxSIOp, "min": arith.MinSIOp}  # fmt: skip
    return table[kind.name](left, right)


class Reduction:
    """One reduction of rows that cover all axes of a tile."""

    def __init__(self, unit: Instructions, kind: ReduceKind, element: Attribute) -> None:
        self.unit = unit
        self.b = unit.b
        self.kind = kind
        self.element = element
        self.start = neutral(kind, element)

    def run(self, x: Rows, axes: Sequence[int]) -> Rows:
        """Combine over the axes; rows that cover the others."""
        last = len(self.unit.shape) - 1
        outer = [axis for axis in axes if axis != last]
        if outer and self.by_vector(x.dtype, self.kind.name):
            x = self._accumulate(x, outer)
            outer = []
        if not outer and last not in axes:
            return x
        if not outer and self.by_vector(x.dtype, f"reduce_{self.kind.name}"):
            return self._rows(x)
        if not outer and last in axes and self._folds(x.dtype):
            return self._fold_rows(x)
        return self._by_elements(x, [*outer, *(a for a in axes if a == last)])

    def by_vector(self, dtype: str, instruction: str) -> bool:
        """Whether one instruction does it as the tile's element type means it."""
        unsigned = is_unsigned(element_name(self.element)) and self.kind.name in ("max", "min")
        bools = element_name(self.element) == "i1"
        return self.b.machine.has(instruction, dtype) and not unsigned and not bools

    def neutral(self, dtype: str) -> SSAValue:
        """What nothing combines to."""
        return self.b.number(self.start, element_type(dtype))

    def filled(self, axes: Sequence[int], dtype: str) -> Rows:
        """Fresh memory that holds the neutral element."""
        result = self.unit.new(axes, dtype)
        with self.unit.over(tuple(axes), [result]) as (items, count, _):
            place = items[0]
            assert isinstance(place, tuple)
            self.b.emit(vector.FillOp(place, self.neutral(dtype), count))
        return result

    def _accumulate(self, x: Rows, outer: Sequence[int]) -> Rows:
        """Combine rows one after the other."""
        kept = tuple(axis for axis in x.axes if axis not in outer)
        result = self.filled(kept, x.dtype)
        function = BinaryFunction(self.kind.name)
        extents = self.unit.extents
        with self.b.nest([extents[axis] for axis in outer]) as at:
            begin = self.b.offset(at, [x.stride(axis) for axis in outer])
            slice_ = Rows(x.local, x.dtype, kept, tuple(x.stride(a) for a in kept))
            with self.unit.over(kept, [result, slice_]) as (items, count, _):
                target, source = items
                assert isinstance(target, tuple) and isinstance(source, tuple)
                place = source[0], self.b.index(self.b.add(begin, source[1]))
                self.b.emit(vector.BinaryOp(function, target, target, place, count))
        return result

    def _rows(self, x: Rows) -> Rows:
        """Combine each row by one instruction."""
        kept, last = x.axes[:-1], x.axes[-1]
        result = self.unit.new(kept, x.dtype)
        count = self.unit.extents[last]
        work = self._work(self.unit.shape[last], x.dtype)
        with self.b.nest([self.unit.extents[a] for a in kept]) as at:
            target = result.local, self.b.offset(at, result.strides)
            source = x.local, self.b.offset(at, x.strides[:-1])
            if not isinstance(count, int) or count == 0:
                self.b.emit(rows.InsertOp(self.neutral(x.dtype), *target))
                with self.b.when(self._some(count)):
                    self._row(target, source, count, work, x.dtype)
            else:
                self._row(target, source, count, work, x.dtype)
        return result

    def _some(self, count: Size) -> SSAValue:
        return self.b.emit(arith.CmpiOp(self.b.index(count), self.b.index(0), "sgt"))

    def _work(self, count: int, dtype: str) -> list[SSAValue]:
        machine = self.b.machine
        wanted = max(count * machine.reduce_work // 256, machine.work_least)
        return [self.b.alloc(wanted, dtype)] if wanted else []

    def _row(
        self,
        target: tuple[SSAValue, SSAValue],
        source: tuple[SSAValue, SSAValue],
        count: Size,
        work: list[SSAValue],
        dtype: str,
    ) -> None:
        n = self.b.index(count)
        self.b.emit(rows.ReduceOp(self.kind, target, source, n, work))
        if (
            self.kind in (ReduceKind.max, ReduceKind.min)
            and is_float(dtype)
            and not self.b.machine.reduce_carries_nan
        ):
            self._carry_nan(target, source, n, work, dtype)

    def _carry_nan(
        self,
        target: tuple[SSAValue, SSAValue],
        source: tuple[SSAValue, SSAValue],
        count: SSAValue,
        work: list[SSAValue],
        dtype: str,
    ) -> None:
        """NaN where an element differs from itself: 0 and 1 combined to the larger."""
        most = self.unit.shape[-1]
        row = Instructions(self.b, self.unit.granule, (most,), (count,))
        length, zero = -(-most // self.unit.granule) * self.unit.granule, self.b.index(0)
        mask = self.b.alloc(length, "i1"), zero
        self.b.emit(vector.CompareOp(Comparison.ne, mask, source, source, count))
        element = element_type(dtype)
        yes = row.filled(self.b.number(1.0, element), dtype, count, most)
        no = row.filled(self.b.number(0.0, element), dtype, count, most)
        self.b.emit(vector.SelectOp(yes, mask, yes, no, count))
        self.b.emit(rows.ReduceOp(ReduceKind.max, no, yes, self.b.index(count), work))
        found = self.b.emit(rows.ExtractOp(*no))
        one = self.b.number(0.5, element)
        with self.b.when(self.b.emit(arith.CmpfOp(found, one, "ogt"))):
            self.b.emit(rows.InsertOp(self.b.number(float("nan"), element), *target))

    def _folds(self, dtype: str) -> bool:
        return self.by_vector(dtype, self.kind.name) and self.unit.shape[-1] > self.unit.granule

    def _fold_rows(self, x: Rows) -> Rows:
        """Halves of each row on one another, down to a granule, then element by element."""
        kept, last = x.axes[:-1], x.axes[-1]
        length = self.unit.granule
        while length < self.unit.shape[last]:
            length *= 2
        result = self.unit.new(kept, x.dtype)
        folded, zero = self.b.alloc(length, x.dtype), self.b.index(0)
        function = BinaryFunction(self.kind.name)
        with self.b.nest([self.unit.extents[a] for a in kept]) as at:
            start = self.neutral(x.dtype)
            self.b.emit(vector.FillOp((folded, zero), start, self.b.index(length)))
            source = x.local, self.b.offset(at, x.strides[:-1])
            count = self.b.index(self.unit.extents[last])
            self.b.emit(vector.CopyOp((folded, zero), source, count))
            half = length // 2
            while half >= self.unit.granule:
                upper = folded, self.b.index(half)
                lower = folded, zero
                self.b.emit(vector.BinaryOp(function, lower, lower, upper, self.b.index(half)))
                half //= 2
            target = self.b.offset(at, result.strides)
            lanes = min(self.unit.granule, length)
            row = Rows(folded, x.dtype, (0,), (1,))
            self._gather_up(result.local, target, row, zero, lanes)
        return result

    def _gather_up(
        self, target: SSAValue, place: SSAValue, row: Rows, begin: SSAValue, count: Size
    ) -> None:
        """Combine `count` neighbours on the scalar unit."""
        dtype = row.dtype
        self.b.emit(rows.InsertOp(self.neutral(dtype), target, place))
        with self.b.loop(count) as i:
            self._combine(target, place, row, self.b.index(self.b.add(begin, i)))

    def _combine(
        self, target: SSAValue, place: SSAValue, source: Rows, offset: SSAValue
    ) -> None:
        type = element_in_code(self.element, source.dtype)
        held = Rows(target, source.dtype, (), ())
        old = read_element(self.b, held, place, type)
        result = self.combined(old, read_element(self.b, source, offset, type))
        write_element(self.b, result, target, place)

    def combined(self, left: SSAValue, right: SSAValue) -> SSAValue:
        """Two elements on the scalar unit."""
        return self.b.emit(combine_scalars(self.kind, self.element, left, right))

    def _by_elements(self, x: Rows, axes: Sequence[int]) -> Rows:
        """All on the scalar unit."""
        kept = tuple(axis for axis in x.axes if axis not in axes)
        result = self.unit.new(kept, x.dtype)
        extents = self.unit.extents
        with self.b.nest([extents[a] for a in kept]) as at:
            target = self.b.offset(at, result.strides)
            begin = self.b.offset(at, [x.stride(a) for a in kept])
            self.b.emit(rows.InsertOp(self.neutral(x.dtype), result.local, target))
            with self.b.nest([extents[a] for a in axes]) as inner:
                source = self.b.offset([begin, *inner], [1, *(x.stride(a) for a in axes)])
                self._combine(result.local, target, x, source)
        return result
