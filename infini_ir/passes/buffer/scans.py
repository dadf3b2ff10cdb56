"""`tile.scan`: running combinations, by rows where they run across them."""

from __future__ import annotations

from infini_ir.dialects.buffer import rows, vector
from infini_ir.dialects.buffer.types import BinaryFunction
from infini_ir.passes.buffer.builder import Size
from infini_ir.passes.buffer.reductions import Reduction
from infini_ir.passes.buffer.scalar_loops import element_in_code, read_element, write_element
from infini_ir.passes.buffer.values import Rows


class Scan(Reduction):
    """One scan of rows that cover all axes of a tile."""

    exclusive = False
    reverse = False

    def scan(self, x: Rows, axis: int) -> Rows:
        """The elements up to each along an axis, combined."""
        last = len(self.unit.shape) - 1
        if axis != last and self.by_vector(x.dtype, self.kind.name):
            return self._by_rows(x, axis)
        return self._by_single_elements(x, axis)

    def _turn(self, index: Size, axis: int) -> Size:
        """The position that comes at a step."""
        if not self.reverse:
            return index
        return self.b.sub(self.b.sub(self.unit.extents[axis], 1), index)

    def _by_rows(self, x: Rows, axis: int) -> Rows:
        kept = tuple(a for a in x.axes if a != axis)
        total = self.filled(kept, x.dtype)
        result = self.unit.new(x.axes, x.dtype)
        function = BinaryFunction(self.kind.name)
        with self.b.loop(self.unit.extents[axis]) as step:
            position = self._turn(step, axis)
            slices = [
                Rows(r.local, r.dtype, kept, tuple(r.stride(a) for a in kept))
                for r in (x, result)
            ]
            begins = [self.b.offset([position], [r.stride(axis)]) for r in (x, result)]
            with self.unit.over(kept, [total, *slices]) as (items, count, _):
                so_far, source, target = items
                assert isinstance(so_far, tuple)
                assert isinstance(source, tuple) and isinstance(target, tuple)
                given = source[0], self.b.index(self.b.add(begins[0], source[1]))
                wanted = target[0], self.b.index(self.b.add(begins[1], target[1]))
                if self.exclusive:
                    self.b.emit(vector.CopyOp(wanted, so_far, count))
                self.b.emit(vector.BinaryOp(function, so_far, so_far, given, count))
                if not self.exclusive:
                    self.b.emit(vector.CopyOp(wanted, so_far, count))
        return result

    def _by_single_elements(self, x: Rows, axis: int) -> Rows:
        b, unit = self.b, self.unit
        others = [a for a in x.axes if a != axis]
        result, total = unit.new(x.axes, x.dtype), unit.new((), x.dtype)
        type, zero = element_in_code(self.element, x.dtype), b.index(0)
        with b.nest([unit.extents[a] for a in others]) as at:
            b.emit(rows.InsertOp(self.neutral(x.dtype), total.local, zero))
            with b.loop(unit.extents[axis]) as step:
                where = [*at, self._turn(step, axis)]
                source = b.offset(where, [x.stride(a) for a in (*others, axis)])
                target = b.offset(where, [result.stride(a) for a in (*others, axis)])
                old = read_element(b, total, zero, type)
                new = self.combined(old, read_element(b, x, source, type))
                write_element(b, new, total.local, zero)
                write_element(b, old if self.exclusive else new, result.local, target)
        return result
