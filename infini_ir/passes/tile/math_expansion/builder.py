"""Write scalar `arith` and `math` code as expressions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from xdsl.builder import Builder
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import (
    Float64Type,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    LocationAttr,
    f32,
    f64,
    i32,
    i64,
)
from xdsl.dialects.utils import FastMathFlag
from xdsl.ir import Attribute, Operation, SSAValue

_ESTIMATE = arith.FastMathFlagsAttr([FastMathFlag.ALLOW_RECIP])


@dataclass(frozen=True)
class Format:
    """What the algorithms need to know of a binary float format."""

    type: Any
    int_type: IntegerType
    mantissa: int
    """Stored bits of the significand."""
    bias: int

    @property
    def magic(self) -> float:
        """Adding it rounds to an integer, which is then in the low bits of the sum."""
        return 1.5 * 2.0**self.mantissa

    @property
    def min_normal(self) -> float:
        return 2.0 ** (1 - self.bias)


F32 = Format(f32, i32, 23, 127)
F64 = Format(f64, i64, 52, 1023)


@dataclass(frozen=True, eq=False)
class Scalar:
    """A scalar value that Python's operators compute with.

    A Python number beside it becomes a constant of its type. On integers `>>` is the
    arithmetic shift. Comparisons are methods, floats ordered unless the name says otherwise.
    """

    b: ScalarBuilder
    value: SSAValue

    @property
    def type(self) -> Attribute:
        return self.value.type

    @property
    def is_float(self) -> bool:
        return not isinstance(self.type, IntegerType)

    @property
    def format(self) -> Format:
        return F64 if isinstance(self.type, Float64Type) else F32

    def __add__(self, other: Operand) -> Scalar:
        return self._binary(arith.AddfOp if self.is_float else arith.AddiOp, other)

    def __sub__(self, other: Operand) -> Scalar:
        return self._binary(arith.SubfOp if self.is_float else arith.SubiOp, other)

    def __rsub__(self, other: Operand) -> Scalar:
        return self.like(other) - self

    def __mul__(self, other: Operand) -> Scalar:
        return self._binary(arith.MulfOp if self.is_float else arith.MuliOp, other)

    __radd__ = __add__
    __rmul__ = __mul__

    def __truediv__(self, other: Operand) -> Scalar:
        return self._binary(arith.DivfOp, other)

    def __rtruediv__(self, other: Operand) -> Scalar:
        return self.like(other) / self

    def __neg__(self) -> Scalar:
        return self.b.emit(arith.NegfOp(self.value))

    def __and__(self, other: Operand) -> Scalar:
        return self._binary(arith.AndIOp, other)

    def __or__(self, other: Operand) -> Scalar:
        return self._binary(arith.OrIOp, other)

    def __xor__(self, other: Operand) -> Scalar:
        return self._binary(arith.XOrIOp, other)

    def __lshift__(self, other: Operand) -> Scalar:
        return self._binary(arith.ShLIOp, other)

    def __rshift__(self, other: Operand) -> Scalar:
        return self._binary(arith.ShRSIOp, other)

    def divided_by(self, other: Operand) -> Scalar:
        """Integer quotient towards zero."""
        return self._binary(arith.DivSIOp, other)

    def eq(self, other: Operand) -> Scalar:
        return self.compare("oeq" if self.is_float else "eq", other)

    def lt(self, other: Operand) -> Scalar:
        return self.compare("olt" if self.is_float else "slt", other)

    def le(self, other: Operand) -> Scalar:
        return self.compare("ole" if self.is_float else "sle", other)

    def gt(self, other: Operand) -> Scalar:
        return self.compare("ogt" if self.is_float else "sgt", other)

    def ge(self, other: Operand) -> Scalar:
        return self.compare("oge" if self.is_float else "sge", other)

    def compare(self, predicate: str, other: Operand) -> Scalar:
        """A comparison by its MLIR mnemonic."""
        op = arith.CmpfOp if self.is_float else arith.CmpiOp
        return self.b.emit(op(self.value, self.like(other).value, predicate))

    def like(self, other: Operand) -> Scalar:
        """`other`, as a constant of this type if it is a Python number."""
        return other if isinstance(other, Scalar) else self.b.constant(other, self.type)

    def at_most(self, limit: float) -> Scalar:
        """The smaller of the two, NaN for NaN; one instruction of x86."""
        bound = self.like(limit)
        return self.b.select(bound.lt(self), bound, self)

    def at_least(self, limit: float) -> Scalar:
        """The larger of the two, NaN for NaN; one instruction of x86."""
        bound = self.like(limit)
        return self.b.select(bound.gt(self), bound, self)

    def bits(self) -> Scalar:
        """The bits of a float as an integer."""
        return self.b.emit(arith.BitcastOp(self.value, self.format.int_type))

    def as_float(self, fmt: Format) -> Scalar:
        """An integer's bits as a float."""
        return self.b.emit(arith.BitcastOp(self.value, fmt.type))

    def to_float(self, fmt: Format) -> Scalar:
        """An integer's value as a float."""
        return self.b.emit(arith.SIToFPOp(self.value, fmt.type))

    def _binary(self, op: Callable[[SSAValue, SSAValue], Operation], other: Operand) -> Scalar:
        return self.b.emit(op(self.value, self.like(other).value))


Operand = Scalar | float | int


@dataclass
class ScalarBuilder:
    """Inserts scalar operations where `builder` points, sharing equal constants.

    All insertion points of one `ScalarBuilder` must lie in one block, each after the one
    before, so that a shared constant dominates its uses.
    """

    builder: Builder
    location: LocationAttr | None = None
    """Given to every operation inserted."""
    _constants: dict[tuple[str, Attribute], Scalar] = field(default_factory=dict)

    def wrap(self, value: SSAValue) -> Scalar:
        """An existing value, to compute with."""
        return Scalar(self, value)

    def emit(self, op: Operation) -> Scalar:
        """Insert an operation that has one result."""
        if self.location is not None:
            op.location = self.location
        self.builder.insert(op)
        return Scalar(self, op.results[0])

    def constant(self, number: float, type_: Any) -> Scalar:
        key = (repr(number), type_)
        if key not in self._constants:
            if isinstance(type_, IntegerType):
                attribute = IntegerAttr(int(number), type_)
            else:
                attribute = FloatAttr(float(number), type_)
            self._constants[key] = self.emit(arith.ConstantOp(attribute))
        return self._constants[key]

    def select(self, condition: Scalar, yes: Operand, no: Operand) -> Scalar:
        model = yes if isinstance(yes, Scalar) else no
        assert isinstance(model, Scalar)
        yes, no = model.like(yes), model.like(no)
        return self.emit(arith.SelectOp(condition.value, yes.value, no.value))

    def estimated_reciprocal(self, x: Scalar) -> Scalar:
        """1 / x as a division that a target may replace by a quick estimate, of 14 bits."""
        return self.emit(arith.DivfOp(x.like(1.0).value, x.value, flags=_ESTIMATE))

    def fma(self, x: Scalar, y: Operand, z: Operand) -> Scalar:
        """`x * y + z`, rounded once."""
        return self.emit(math.FmaOp(x.value, x.like(y).value, x.like(z).value))

    def polynomial(self, x: Scalar, coefficients: Sequence[float]) -> Scalar:
        """Horner's rule, coefficients from the constant term upwards."""
        result = x.like(coefficients[-1])
        for coefficient in reversed(coefficients[:-1]):
            result = self.fma(result, x, coefficient)
        return result

    def abs(self, x: Scalar) -> Scalar:
        return self.emit(math.AbsFOp(x.value))

    def sqrt(self, x: Scalar) -> Scalar:
        return self.emit(math.SqrtOp(x.value))

    def floor(self, x: Scalar) -> Scalar:
        return self.emit(math.FloorOp(x.value))

    def round(self, x: Scalar) -> Scalar:
        """To the nearest integer, ties to even."""
        return self.emit(math.RoundEvenOp(x.value))

    def copysign(self, magnitude: Scalar, sign: Scalar) -> Scalar:
        return self.emit(math.CopySignOp(magnitude.value, sign.value))

    def power_of_two(self, exponent: Scalar, fmt: Format) -> Scalar:
        """2 to an integer power inside the normal range."""
        return ((exponent + fmt.bias) << fmt.mantissa).as_float(fmt)
