"""Writing the scalar code of a map: `arith` and `math` operations by element type.

Scalars have the type of their element type's signless form: `ui8` is computed with as `i8`,
and what differs for unsigned numbers has a flag. f16 and bf16 scalars only convert.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from xdsl.builder import Builder
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import FloatAttr, IndexType, IntegerAttr, IntegerType
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.rewriter import InsertPoint

from infini_ir.dialects.graph.types import element_type
from infini_ir.dialects.tile import CoordOp
from infini_ir.passes.tile import math_expansion
from infini_ir.utils import dtypes

INDEX = IndexType()
_EXACT = {"eq": "eq", "ne": "ne"}


@cache
def scalar_type(dtype: str) -> Any:
    """The type of a scalar of an element type: unsigned integers are signless."""
    return IntegerType(int(dtype[2:])) if dtypes.is_unsigned(dtype) else element_type(dtype)


def bits_of(dtype: str) -> int:
    """How many bits an element has."""
    if not dtypes.is_float(dtype):
        return int(dtype.removeprefix("u").removeprefix("i"))
    name = dtype.removeprefix("b")
    return int(name[1]) if "E" in name else int(name[1:])


def constant_op(number: float | int | bool, dtype: str) -> arith.ConstantOp:
    """A scalar constant; integers wrap to the element type's width."""
    if dtype == "index":
        return arith.ConstantOp(IntegerAttr(int(number), INDEX))
    type_ = scalar_type(dtype)
    if not dtypes.is_float(dtype):
        bits = bits_of(dtype)
        wrapped = int(number) & ((1 << bits) - 1)
        signed = wrapped - (1 << bits) if wrapped >> (bits - 1) else wrapped
        # A true i1 is printed as true, which is -1 in one bit.
        return arith.ConstantOp(IntegerAttr(signed, type_))
    return arith.ConstantOp(FloatAttr(float(number), type_))


class ScalarBuilder:
    """Appends scalar operations to the region of a map, sharing equal ones without operands."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self._shared: dict[tuple[object, ...], SSAValue] = {}

    def emit(self, op: Operation) -> SSAValue:
        """Append an operation and give its first result."""
        self.block.add_op(op)
        return op.results[0]

    def constant(self, number: float | int | bool, dtype: str) -> SSAValue:
        """A constant of an element type, or of `index`."""
        key = (repr(number), dtype)
        if key not in self._shared:
            self._shared[key] = self.emit(constant_op(number, dtype))
        return self._shared[key]

    def like(self, number: float | int, value: SSAValue) -> SSAValue:
        """A constant of a value's type."""
        return self.constant(number, type_name(value.type))

    def coord(self, axis: int) -> SSAValue:
        """The element's position in the tile along an axis, an index."""
        key = ("coord", axis)
        if key not in self._shared:
            self._shared[key] = self.emit(CoordOp(axis))
        return self._shared[key]

    # Arithmetic: floats or integers by the operands' type; integers wrap

    def add(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.emit((arith.AddfOp if is_float(a) else arith.AddiOp)(a, b))

    def sub(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.emit((arith.SubfOp if is_float(a) else arith.SubiOp)(a, b))

    def mul(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.emit((arith.MulfOp if is_float(a) else arith.MuliOp)(a, b))

    def div(self, a: SSAValue, b: SSAValue, *, unsigned: bool = False) -> SSAValue:
        """Of integers without a guard: the divisor must not be 0, nor -1 under the lowest."""
        if is_float(a):
            return self.emit(arith.DivfOp(a, b))
        return self.emit((arith.DivUIOp if unsigned else arith.DivSIOp)(a, b))

    def rem(self, a: SSAValue, b: SSAValue, *, unsigned: bool = False) -> SSAValue:
        """Of integers without a guard, as `div`; of floats exact (`fmod` of C99)."""
        if is_float(a):
            scalars = math_expansion.ScalarBuilder(Builder(InsertPoint.at_end(self.block)))
            return math_expansion.expand_remf(scalars.wrap(a), scalars.wrap(b)).value
        return self.emit((arith.RemUIOp if unsigned else arith.RemSIOp)(a, b))

    def neg(self, a: SSAValue) -> SSAValue:
        return self.emit(arith.NegfOp(a)) if is_float(a) else self.sub(self.like(0, a), a)

    def max(self, a: SSAValue, b: SSAValue, *, unsigned: bool = False) -> SSAValue:
        """The larger; of floats NaN if either is."""
        if is_float(a):
            return self.emit(arith.MaximumfOp(a, b))
        return self.emit((arith.MaxUIOp if unsigned else arith.MaxSIOp)(a, b))

    def min(self, a: SSAValue, b: SSAValue, *, unsigned: bool = False) -> SSAValue:
        """The smaller; of floats NaN if either is."""
        if is_float(a):
            return self.emit(arith.MinimumfOp(a, b))
        return self.emit((arith.MinUIOp if unsigned else arith.MinSIOp)(a, b))

    def fma(self, a: SSAValue, b: SSAValue, c: SSAValue) -> SSAValue:
        """a * b + c of floats, rounded once."""
        return self.emit(math.FmaOp(a, b, c))

    def and_(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.emit(arith.AndIOp(a, b))

    def or_(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.emit(arith.OrIOp(a, b))

    def xor(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.emit(arith.XOrIOp(a, b))

    def not_(self, a: SSAValue) -> SSAValue:
        """All bits inverted."""
        return self.xor(a, self.like(-1, a))

    def shl(self, a: SSAValue, b: SSAValue) -> SSAValue:
        """Without a guard: the amount must be inside the width."""
        return self.emit(arith.ShLIOp(a, b))

    def shr(self, a: SSAValue, b: SSAValue, *, unsigned: bool = False) -> SSAValue:
        """Without a guard: the amount must be inside the width."""
        return self.emit((arith.ShRUIOp if unsigned else arith.ShRSIOp)(a, b))

    def compare(
        self, predicate: str, a: SSAValue, b: SSAValue, *, unsigned: bool = False
    ) -> SSAValue:
        """`predicate`: eq, ne, lt, le, gt or ge; NaN is only ne."""
        if is_float(a):
            return self.emit(
                arith.CmpfOp(a, b, "une" if predicate == "ne" else "o" + predicate)
            )
        sign = "" if predicate in _EXACT else "u" if unsigned else "s"
        return self.emit(arith.CmpiOp(a, b, sign + predicate))

    def select(self, condition: SSAValue, on_true: SSAValue, on_false: SSAValue) -> SSAValue:
        return self.emit(arith.SelectOp(condition, on_true, on_false))

    # Conversions

    def to_index(self, value: SSAValue, *, unsigned: bool = False) -> SSAValue:
        """An integer as an index, sign extended unless unsigned."""
        if unsigned and value.type != scalar_type("i64"):
            value = self.emit(arith.ExtUIOp(value, scalar_type("i64")))
        return self.emit(arith.IndexCastOp(value, INDEX))

    def from_index(self, value: SSAValue, dtype: str) -> SSAValue:
        """An index as an integer or float of an element type."""
        if not dtypes.is_float(dtype):
            return self.emit(arith.IndexCastOp(value, scalar_type(dtype)))
        wide = self.emit(arith.IndexCastOp(value, scalar_type("i64")))
        if dtype in ("f32", "f64"):
            return self.emit(arith.SIToFPOp(wide, scalar_type(dtype)))
        return self.narrow(self.emit(arith.SIToFPOp(wide, scalar_type("f32"))), dtype)

    def widen(self, value: SSAValue, dtype: str = "f32") -> SSAValue:
        """A float as a wider one."""
        wanted = scalar_type(dtype)
        return value if value.type == wanted else self.emit(arith.ExtFOp(value, wanted))

    def narrow(self, value: SSAValue, dtype: str) -> SSAValue:
        """A float rounded to a narrower one."""
        wanted = scalar_type(dtype)
        return value if value.type == wanted else self.emit(arith.TruncFOp(value, wanted))

    def bitcast(self, value: SSAValue, dtype: str) -> SSAValue:
        """The same bits as another type."""
        wanted = scalar_type(dtype)
        return value if value.type == wanted else self.emit(arith.BitcastOp(value, wanted))


def is_float(value: SSAValue) -> bool:
    return not isinstance(value.type, IntegerType | IndexType)


@cache
def type_name(type_: Attribute) -> str:
    """The element type's name of a scalar type, or `index`."""
    return "index" if isinstance(type_, IndexType) else str(type_)
