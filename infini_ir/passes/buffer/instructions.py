"""Instructions on rows: loops, offsets and counts for operands that cover different axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerType
from xdsl.ir import SSAValue

from infini_ir.dialects.buffer import (
    BinaryFunction,
    Comparison,
    MaskFunction,
    Rounding,
    UnaryFunction,
    rows,
    vector,
)
from infini_ir.dialects.graph.types import element_type
from infini_ir.passes.buffer.builder import Builder, Size
from infini_ir.passes.buffer.values import Rows, pitched, room

Place = tuple[SSAValue, SSAValue]
Operand = Rows | SSAValue
"""Elements in local memory, or one of the scalar unit."""

COMMUTATIVE = frozenset({"add", "mul", "max", "min", "bit_and", "bit_or", "bit_xor"})
FLIPPED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}
OPPOSITE = {"lt": "ge", "le": "gt", "gt": "le", "ge": "lt", "eq": "ne", "ne": "eq"}


class Instructions:
    """
    Elementwise instructions on the axes of one tile, of given capacities and extents. What
    operands do not cover they repeat over.
    """

    def __init__(
        self, b: Builder, granule: int, shape: Sequence[int], extents: Sequence[Size]
    ) -> None:
        self.b = b
        self.machine = b.machine
        self.granule = granule
        self.shape = tuple(shape)
        self.extents = tuple(extents)

    # Rows

    def new(self, axes: Sequence[int], dtype: str) -> Rows:
        """Fresh memory that covers these axes."""
        shape = [self.shape[axis] for axis in axes]
        local = self.b.alloc(room(shape, self.granule), dtype)
        return Rows(local, dtype, tuple(axes), pitched(shape, self.granule))

    def axes_of(self, operands: Sequence[Operand]) -> tuple[int, ...]:
        """All axes that some operand covers, in order."""
        return tuple(sorted({a for o in operands if isinstance(o, Rows) for a in o.axes}))

    def destination(self, dtype: str, operands: Sequence[Operand]) -> Rows:
        """Where a result goes: over an operand that ends here, else fresh memory."""
        axes = self.axes_of(operands)
        for operand in operands:
            if (
                isinstance(operand, Rows)
                and operand.owned
                and operand.uses == 0
                and operand.dtype == dtype
                and operand.axes == axes
            ):
                return Rows(operand.local, dtype, axes, operand.strides)
        return self.new(axes, dtype)

    def _taken_together(self, axes: tuple[int, ...], operands: Sequence[Operand]) -> int:
        """How many of the last axes one instruction can go over."""
        if not axes:
            return 0
        held = [o for o in operands if isinstance(o, Rows)]
        for number in range(len(axes), 0, -1):
            tail = axes[len(axes) - number :]
            covering = [o for o in held if set(tail) <= set(o.axes)]
            others = [o for o in held if not set(tail) & set(o.axes)]
            strides = {tuple(o.stride(a) for a in tail) for o in covering}
            if len(covering) + len(others) != len(held) or len(strides) != 1:
                continue
            if next(iter(strides))[-1] == 1:
                return number
        return 0

    @contextmanager
    def over(
        self, axes: tuple[int, ...], operands: Sequence[Operand]
    ) -> Iterator[tuple[list[Place | SSAValue], SSAValue, int]]:
        """
        Loops over rows. Gives each operand as the place of its row, or as a scalar where
        it covers none of the row's axes; the count; and the most that it can be.
        """
        number = self._taken_together(axes, operands)
        assert number or not axes, "checked by `prepared`"
        outer, tail = axes[: len(axes) - number], axes[len(axes) - number :]
        with self.b.nest([self.extents[axis] for axis in outer]) as indices:
            at = dict(zip(outer, indices, strict=True))
            items: list[Place | SSAValue] = []
            most = 1
            for operand in operands:
                if not isinstance(operand, Rows):
                    items.append(operand)
                    continue
                own = [a for a in operand.axes if a in at]
                offset = self.b.offset([at[a] for a in own], map(operand.stride, own))
                if tail and not set(tail) & set(operand.axes):
                    items.append(self._scalar(operand, offset, at))
                    continue
                items.append((operand.local, offset))
                if len(tail) > 1:
                    most = self.shape[tail[0]] * operand.stride(tail[0])
            count: Size = 1
            if len(tail) == 1:
                count, most = self.extents[tail[0]], self.shape[tail[0]]
            elif tail:
                count = self.b.mul(self.extents[tail[0]], most // self.shape[tail[0]])
            yield items, self.b.index(count), most

    def _scalar(self, operand: Rows, offset: SSAValue, at: dict[int, Size]) -> SSAValue:
        """One element on the scalar unit."""
        if operand.axes:
            return self.b.emit(rows.ExtractOp(operand.local, offset))
        known = operand.scalars.get("value")
        if known is None or not self.b.inside(known.owner.parent):  # pyright: ignore
            known = self.b.emit(rows.ExtractOp(operand.local, offset))
            operand.scalars["value"] = known
        return known

    def prepared(self, operands: Sequence[Operand]) -> list[Operand]:
        """Operands reordered where rows cannot be walked as they lie."""
        axes = self.axes_of(operands)
        if self._taken_together(axes, operands) or not axes:
            return list(operands)
        return [
            self.reordered(o) if isinstance(o, Rows) and o.axes and o.strides[-1] != 1 else o
            for o in operands
        ]

    def whole(self, operands: Sequence[Operand]) -> list[Operand]:
        """
        Operands of which all rows are taken by one instruction: those that repeat spread.
        Masks lie so that this is the only way to take them.
        """
        axes = self.axes_of(operands)
        return [
            self.spread(o, axes) if isinstance(o, Rows) else o for o in self.prepared(operands)
        ]

    def reordered(self, operand: Rows) -> Rows:
        """The same elements, the last axis along the row."""
        result = self.new(operand.axes, operand.dtype)
        with self.b.nest([self.extents[a] for a in operand.axes]) as at:
            source = self.b.offset(at, operand.strides)
            value = self.b.emit(rows.ExtractOp(operand.local, source))
            self.b.emit(rows.InsertOp(value, result.local, self.b.offset(at, result.strides)))
        return result

    def spread(self, operand: Operand, axes: tuple[int, ...], dtype: str = "") -> Rows:
        """An operand repeated over all these axes, in memory of its own."""
        if isinstance(operand, Rows) and operand.axes == axes:
            return operand
        if isinstance(operand, Rows) and operand.dtype == "i1":
            bits = self.spread(self.numbers(operand), axes)
            return self.compare("ne", bits, self.b.number(0.0, element_type("f32")))
        kind = operand.dtype if isinstance(operand, Rows) else dtype
        result = self.new(axes, kind)
        with self.over(axes, [result, operand]) as (items, count, _):
            target, source = items
            assert isinstance(target, tuple)
            if isinstance(source, tuple):
                self.b.emit(vector.CopyOp(target, source, count))
            else:
                self.b.emit(vector.FillOp(target, source, count))
        return result

    def _run(
        self,
        dtype: str,
        operands: Sequence[Operand],
        emit: Callable[[Place, list[Place | SSAValue], SSAValue, int], None],
    ) -> Rows:
        given = self.prepared(operands)
        result = self.destination(dtype, given)
        axes = self.axes_of(given)
        with self.over(axes, [result, *given]) as (items, count, most):
            target = items[0]
            assert isinstance(target, tuple)
            emit(target, items[1:], count, most)
        return result

    def filled(self, scalar: SSAValue, dtype: str, count: SSAValue, most: int) -> Place:
        """A row that holds a scalar everywhere."""
        place = (self.b.alloc(-(-most // self.granule) * self.granule, dtype), self.b.index(0))
        self.b.emit(vector.FillOp(place, scalar, count))
        return place

    # Arithmetic

    def unary(self, function: str, x: Rows) -> Rows:
        """f(x)"""
        kind = UnaryFunction(function)
        return self._run(
            x.dtype,
            [x],
            lambda to, xs, n, _: self.b.emit(vector.UnaryOp(kind, to, xs[0], n)),  # pyright: ignore
        )

    def binary(self, function: str, left: Operand, right: Operand) -> Rows:
        """f(left, right), at least one of them rows."""
        dtype = next(o.dtype for o in (left, right) if isinstance(o, Rows))

        def emit(to: Place, xs: list[Place | SSAValue], n: SSAValue, most: int) -> None:
            self._binary(function, dtype, to, xs, n, most)

        return self._run(dtype, [left, right], emit)

    def _binary(
        self,
        function: str,
        dtype: str,
        to: Place,
        operands: list[Place | SSAValue],
        count: SSAValue,
        most: int,
    ) -> None:
        left, right = operands
        if not isinstance(left, tuple) and function in COMMUTATIVE:
            left, right = right, left
        kind = BinaryFunction(function)
        if isinstance(left, tuple) and not isinstance(right, tuple):
            adds = not self.machine.has("sub_scalar", dtype) and self._adds(dtype)
            if function == "sub" and adds:
                kind, right = BinaryFunction.add, self.negative(right)
            if self.machine.has(f"{kind.value}_scalar", dtype):
                self.b.emit(vector.BinaryScalarOp(kind, to, left, right, count))
                return
        takes_from = isinstance(right, tuple) and not isinstance(left, tuple)
        if takes_from and function == "sub" and self._adds(dtype):
            # (-x) + c is c - x, zeros included.
            minus = self.b.number(-1, element_type(dtype))
            times, plus = BinaryFunction.mul, BinaryFunction.add
            self.b.emit(vector.BinaryScalarOp(times, to, right, minus, count))  # pyright: ignore
            self.b.emit(vector.BinaryScalarOp(plus, to, to, left, count))  # pyright: ignore
            return
        places = [
            o if isinstance(o, tuple) else self.filled(o, dtype, count, most)
            for o in (left, right)
        ]
        self.b.emit(vector.BinaryOp(kind, to, places[0], places[1], count))

    def _adds(self, dtype: str) -> bool:
        return all(self.machine.has(f"{name}_scalar", dtype) for name in ("mul", "add"))

    def negative(self, scalar: SSAValue) -> SSAValue:
        """-x on the scalar unit."""
        if isinstance(scalar.type, IntegerType):
            return self.b.emit(arith.SubiOp(self.b.number(0, scalar.type), scalar))
        return self.b.emit(arith.NegfOp(scalar))

    def compare(self, relation: str, left: Operand, right: Operand) -> Rows:
        """A mask of where a relation holds."""
        dtype = next(o.dtype for o in (left, right) if isinstance(o, Rows))
        if not self.machine.has(f"compare_{relation}", dtype):
            if self.machine.has(f"compare_{OPPOSITE[relation]}", dtype):
                return self.mask_not(self.compare(OPPOSITE[relation], left, right))
            return self._compare_integers(relation, left, right)

        def emit(to: Place, xs: list[Place | SSAValue], n: SSAValue, most: int) -> None:
            a, b, name = xs[0], xs[1], relation
            if not isinstance(a, tuple):
                a, b, name = b, a, FLIPPED[relation]
            assert isinstance(a, tuple)
            if not isinstance(b, tuple) and self.machine.has(f"compare_scalar_{name}", dtype):
                self.b.emit(vector.CompareScalarOp(Comparison(name), to, a, b, n))
                return
            place = b if isinstance(b, tuple) else self.filled(b, dtype, n, most)
            self.b.emit(vector.CompareOp(Comparison(name), to, a, place, n))

        return self._run("i1", self.whole([left, right]), emit)

    def _compare_integers(self, relation: str, left: Operand, right: Operand) -> Rows:
        """
        i32 by what floats can do: a < b where min(a, b) - b is not 0, which holds whatever
        wraps, and no integer but 0 becomes 0.0.
        """
        if relation in ("gt", "ge"):
            left, right, relation = right, left, FLIPPED[relation]
        other = left
        if relation in ("lt", "le"):
            least = self.binary("min", left, right)
            other, right = least, (right if relation == "lt" else left)
        for operand in (other, right):
            if isinstance(operand, Rows):
                operand.uses += 1
        difference = self.binary("sub", other, right)
        for operand in (other, right):
            if isinstance(operand, Rows):
                operand.uses -= 1
        floats = self.cast(difference, "f32", Rounding.nearest_even)
        zero = self.b.number(0.0, element_type("f32"))
        return self.compare("ne" if relation in ("lt", "ne") else "eq", floats, zero)

    def select(self, mask: Rows, left: Operand, right: Operand, dtype: str) -> Rows:
        """left where the mask holds, else right."""
        given = self.whole([mask, left, right])
        axes = self.axes_of(given)
        # A select takes no scalars.
        given = [o if isinstance(o, Rows) else self.spread(o, axes, dtype) for o in given]

        def emit(to: Place, xs: list[Place | SSAValue], n: SSAValue, _: int) -> None:
            self.b.emit(vector.SelectOp(to, xs[0], xs[1], xs[2], n))  # pyright: ignore

        return self._run(dtype, given, emit)

    def numbers(self, mask: Rows, yes: float = 1.0, dtype: str = "f32") -> Rows:
        """A number where the mask holds, else 0."""
        element = element_type(dtype)
        return self.select(mask, self.b.number(yes, element), self.b.number(0, element), dtype)

    def cast(self, x: Rows, dtype: str, rounding: Rounding, *, unsigned: bool = False) -> Rows:
        """x in another element type."""
        return self._run(
            dtype,
            [x],
            lambda to, xs, n, _: self.b.emit(
                vector.CastOp(rounding, to, xs[0], n, unsigned=unsigned)  # pyright: ignore
            ),
        )

    def mask_binary(self, function: str, left: Rows, right: Rows) -> Rows:
        """Lanes of two masks together."""
        kind = MaskFunction(function)
        return self._run(
            "i1",
            self.whole([left, right]),
            lambda to, xs, n, _: self.b.emit(vector.MaskBinaryOp(kind, to, *xs, n)),  # pyright: ignore
        )

    def mask_not(self, x: Rows) -> Rows:
        """Lanes of a mask turned over."""
        return self._run(
            "i1",
            [x],
            lambda to, xs, n, _: self.b.emit(vector.MaskNotOp(to, xs[0], n)),  # pyright: ignore
        )

    def mask_of(self, x: Rows) -> Rows:
        """A mask of bytes."""
        return self._run(
            "i1",
            [x],
            lambda to, xs, n, _: self.b.emit(vector.MaskFromBytesOp(to, xs[0], n)),  # pyright: ignore
        )

    def bytes_of(self, x: Rows) -> Rows:
        """Bytes of a mask."""
        return self._run(
            "i8",
            [x],
            lambda to, xs, n, _: self.b.emit(vector.MaskToBytesOp(to, xs[0], n)),  # pyright: ignore
        )

    def iota(self, axis: int) -> Rows:
        """Positions along an axis."""
        result = self.new([axis], "i32")
        start = self.b.number(0, element_type("i32"))
        count = self.b.index(self.extents[axis])
        self.b.emit(vector.IotaOp((result.local, self.b.index(0)), start, count))
        return result
