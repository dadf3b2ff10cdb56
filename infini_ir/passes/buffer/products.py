"""`tile.dot` on a matrix unit of the core, or on its vector unit."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from xdsl.dialects import arith
from xdsl.ir import SSAValue

from infini_ir.dialects.buffer import rows, vector
from infini_ir.dialects.buffer.types import BinaryFunction
from infini_ir.dialects.graph.types import element_type
from infini_ir.dialects.tile import ReduceKind
from infini_ir.passes.buffer.builder import Builder, Size
from infini_ir.passes.buffer.casting import steps_between
from infini_ir.passes.buffer.instructions import Instructions
from infini_ir.passes.buffer.values import Rows, TileValue
from infini_ir.utils.dtypes import is_float


class Product:
    """acc += lhs x rhs, in the place of the accumulator."""

    def __init__(
        self,
        b: Builder,
        granule: int,
        acc: TileValue,
        lhs: TileValue,
        rhs: TileValue,
        transposed: bool,
    ) -> None:
        self.b = b
        self.granule = granule
        self.acc, self.lhs, self.rhs = acc, lhs, rhs
        self.transposed = transposed
        self.m, self.n = acc.extents[:-1], acc.extents[-1]
        self.k: Size = lhs.extents[-1]

    def run(self) -> None:
        """Write the product."""
        machine, dtype = self.b.machine, self.acc.dtype
        if machine.has("dot", f"{self.lhs.dtype}x{self.rhs.dtype}"):
            self._on_matrix_unit()
            return
        needed = ("mul", "add", "reduce_add") if self.transposed else ("mul", "add")
        wide = self._converted(self.rhs, dtype)
        if wide is None or not all(machine.has(name, dtype) for name in needed):
            self._by_elements()
        elif self.transposed:
            left = self._converted(self.lhs, dtype)
            if left is None:
                self._by_elements()
            else:
                self._by_inner_products(left, wide)
        else:
            self._by_rows(wide)

    def _converted(self, value: TileValue, dtype: str) -> Rows | None:
        """An operand's rows in the accumulator's type."""
        assert value.rows is not None
        unit = Instructions(self.b, self.granule, value.shape, value.extents)
        steps = steps_between(self.b.machine, value.dtype, dtype)
        if steps is None:
            return None
        source = value.rows
        kept = Rows(source.local, source.dtype, source.axes, source.strides, owned=False)
        return steps(unit, kept)

    def _on_matrix_unit(self) -> None:
        """One product for each position of the leading axes but the last."""
        acc, lhs, rhs = self.acc.rows, self.lhs.rows, self.rhs.rows
        assert acc is not None and lhs is not None and rhs is not None
        zero = self.b.index(0)
        leading = self.m[:-1]
        with self.b.nest(list(leading)) as at:
            count = len(leading)
            to = self.b.offset(at, acc.strides[:count])
            left = self.b.offset(at, lhs.strides[:count])
            m = self.m[-1] if self.m else 1
            pitches = [
                acc.strides[-2] if self.m else acc.strides[-1],
                lhs.strides[-2] if self.m else lhs.strides[-1],
                rhs.strides[0],
            ]
            sizes = (self.b.index(m), self.b.index(self.n), self.b.index(self.k))
            places = (acc.local, to), (lhs.local, left), (rhs.local, zero)
            self.b.emit(rows.DotOp(*places, sizes, pitches, transposed=self.transposed))

    def _wide_scalar(self, value: SSAValue) -> SSAValue:
        """An operand's element in the accumulator's type."""
        element = element_type(self.acc.dtype)
        if value.type == element:
            return value
        if is_float(self.acc.dtype):
            extend = arith.ExtFOp if is_float(self.lhs.dtype) else arith.SIToFPOp
            return self.b.emit(extend(value, element))  # pyright: ignore
        return self.b.emit(arith.ExtSIOp(value, element))  # pyright: ignore

    def _by_rows(self, rhs: Rows) -> None:
        """acc[i] += lhs[i, l] * rhs[l], row by row."""
        acc, lhs = self.acc.rows, self.lhs.rows
        assert acc is not None and lhs is not None
        dtype, width = self.acc.dtype, self.acc.shape[-1]
        unit = Instructions(self.b, self.granule, (width,), (self.n,))
        product, zero, n = unit.new((0,), dtype), self.b.index(0), self.b.index(self.n)
        with self.b.nest(list(self.m)) as at:
            to = acc.local, self.b.offset(at, acc.strides[:-1])
            left = self.b.offset(at, lhs.strides[:-1])
            with self.b.loop(self.k) as depth:
                place = self.b.index(self.b.add(left, depth))
                scalar = self._wide_scalar(self.b.emit(rows.ExtractOp(lhs.local, place)))
                row = rhs.local, self.b.offset([depth], [rhs.strides[0]])
                here = product.local, zero
                if self.b.machine.has("mul_scalar", dtype):
                    self.b.emit(vector.BinaryScalarOp(BinaryFunction.mul, here, row, scalar, n))
                else:
                    filled = unit.filled(scalar, dtype, n, width)
                    self.b.emit(vector.BinaryOp(BinaryFunction.mul, here, row, filled, n))
                self.b.emit(vector.BinaryOp(BinaryFunction.add, to, to, here, n))

    def _by_inner_products(self, lhs: Rows, rhs: Rows) -> None:
        """acc[i, j] += the sum of lhs[i] * rhs[j]."""
        acc = self.acc.rows
        assert acc is not None
        dtype, width, depth = self.acc.dtype, self.acc.shape[-1], self.lhs.shape[-1]
        unit = Instructions(self.b, self.granule, (width, depth), (self.n, self.k))
        product, sums = unit.new((1,), dtype), unit.new((0,), dtype)
        machine = self.b.machine
        wanted = max(depth * machine.reduce_work // 256, machine.work_least)
        work = [self.b.alloc(wanted, dtype)] if wanted else []
        k, n, zero = self.b.index(self.k), self.b.index(self.n), self.b.index(0)
        with self._when_some(self.k), self.b.nest(list(self.m)) as at:
            left = lhs.local, self.b.offset(at, lhs.strides[:-1])
            to = acc.local, self.b.offset(at, acc.strides[:-1])
            with self.b.loop(self.n) as j:
                right = rhs.local, self.b.offset([j], [rhs.strides[0]])
                here = product.local, zero
                self.b.emit(vector.BinaryOp(BinaryFunction.mul, here, left, right, k))
                place = sums.local, self.b.index(j)
                self.b.emit(rows.ReduceOp(ReduceKind.add, place, here, k, work))
            add = BinaryFunction.add
            self.b.emit(vector.BinaryOp(add, to, to, (sums.local, zero), n))

    def _when_some(self, count: Size) -> AbstractContextManager[None]:
        if isinstance(count, int) and count > 0:
            return nullcontext()
        some = self.b.emit(arith.CmpiOp(self.b.index(count), self.b.index(0), "sgt"))
        return self.b.when(some)

    def _by_elements(self) -> None:
        """Every product on the scalar unit."""
        acc, lhs, rhs = self.acc.rows, self.lhs.rows, self.rhs.rows
        assert acc is not None and lhs is not None and rhs is not None
        steps = (1, rhs.strides[0]) if self.transposed else (rhs.strides[0], 1)
        with self.b.nest([*self.m, self.n, self.k]) as at:
            *outer, j, depth = at
            place = self.b.offset([*outer, j], acc.strides)
            left = self.b.offset([*outer, depth], lhs.strides)
            right = self.b.offset([depth, j], steps)
            a = self._wide_scalar(self.b.emit(rows.ExtractOp(lhs.local, left)))
            c = self._wide_scalar(self.b.emit(rows.ExtractOp(rhs.local, right)))
            old = self.b.emit(rows.ExtractOp(acc.local, place))
            floats = is_float(self.acc.dtype)
            times, plus = (arith.MulfOp, arith.AddfOp) if floats else (arith.MuliOp, arith.AddiOp)  # fmt: skip
            total = self.b.emit(plus(old, self.b.emit(times(a, c))))
            self.b.emit(rows.InsertOp(total, acc.local, place))
