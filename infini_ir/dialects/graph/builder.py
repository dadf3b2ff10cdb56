"""A builder of graph operations: inserts them in order, broadcasts operands as numpy does.

Frontends and the definitions of composites write their arithmetic with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from xdsl.dialects.builtin import LocationAttr, UnknownLoc
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.rewriter import InsertPoint
from xdsl.utils.exceptions import VerifyException

from infini_ir.dialects.graph import (
    composites,
    control,
    elementwise,
    indexing,
    reducing,
    shaping,
)
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import ONE, ZERO, Dim

OpT = TypeVar("OpT", bound=Operation)
Scalar = int | float | bool
Fact = tuple[Dim, str, Dim]


class GraphBuilder:
    """
    Creates operations at an insertion point, all with one location.

    Elementwise methods take values or Python numbers (which become constants of the other
    operand's element type) and broadcast shapes at the right. Two different symbolic sizes
    that must be equal become a fact, given to `on_fact`; without it they are an error.
    """

    def __init__(
        self,
        insert: InsertPoint | Block,
        location: LocationAttr | None = None,
        on_fact: Callable[[Fact], None] | None = None,
    ) -> None:
        self.point = InsertPoint.at_end(insert) if isinstance(insert, Block) else insert
        self.location = location if location is not None else UnknownLoc()
        self.on_fact = on_fact

    def insert(self, op: OpT) -> OpT:
        """Insert an operation at the point, after those inserted before."""
        op.location = self.location
        if self.point.insert_before is not None:
            self.point.block.insert_op_before(op, self.point.insert_before)
        else:
            self.point.block.add_op(op)
        return op

    def _value(self, op: Operation) -> SSAValue:
        return self.insert(op).results[0]

    # Constants and sizes

    def constant(self, value: Any, dtype: str | None = None) -> SSAValue:
        """A small constant (at most 1 KiB); `dtype` names the element type."""
        return self._value(shaping.ConstantOp(value, dtype))

    def full(self, shape: Sequence[int | Dim], value: Scalar, dtype: str) -> SSAValue:
        """One number everywhere."""
        return self.broadcast_to(self.constant(value, dtype), shape)

    def zeros_like(self, x: SSAValue) -> SSAValue:
        return self.full(tensor_type(x).shape, 0, tensor_type(x).dtype)

    def dim(self, size: int | Dim) -> SSAValue:
        """A size as an i64 scalar: a constant where it is known."""
        size = Dim.of(size)
        if size.value is not None:
            return self.constant(np.int64(size.value))
        return self._value(shaping.DimOp(size))

    def iota(self, shape: Sequence[int | Dim], dtype: str, axis: int) -> SSAValue:
        return self._value(shaping.IotaOp([Dim.of(d) for d in shape], dtype, axis))

    # Shapes

    def broadcast_to(self, x: SSAValue, shape: Sequence[int | Dim]) -> SSAValue:
        dims = tuple(Dim.of(d) for d in shape)
        if tensor_type(x).shape == dims:
            return x
        return self._value(shaping.BroadcastOp(x, dims))

    def reshape(self, x: SSAValue, shape: Sequence[int | Dim]) -> SSAValue:
        dims = tuple(Dim.of(d) for d in shape)
        own = tensor_type(x)
        if own.shape == dims:
            return x
        counts = own.element_count(), own.with_shape(dims).element_count()
        if counts[0] is not counts[1] and self.on_fact is not None:
            self.on_fact((counts[0], "eq", counts[1]))
        return self._value(shaping.ReshapeOp(x, dims))

    def unsqueeze(self, x: SSAValue, axes: Sequence[int]) -> SSAValue:
        """Size-1 axes inserted so that they stand at `axes` of the result."""
        shape: list[Dim] = list(tensor_type(x).shape)
        for axis in sorted(axes):
            shape.insert(axis, ONE)
        return self.reshape(x, shape)

    def transpose(self, x: SSAValue, perm: Sequence[int]) -> SSAValue:
        if list(perm) == list(range(len(perm))):
            return x
        return self._value(shaping.TransposeOp(x, perm))

    def concat(self, values: Sequence[SSAValue], axis: int) -> SSAValue:
        return values[0] if len(values) == 1 else self._value(shaping.ConcatOp(values, axis))

    def slice(
        self,
        x: SSAValue,
        starts: Sequence[int | Dim | SSAValue],
        sizes: Sequence[int | Dim],
        steps: Sequence[int] | None = None,
    ) -> SSAValue:
        return self._value(shaping.SliceOp(x, starts, sizes, steps))

    def slice_axis(
        self, x: SSAValue, axis: int, start: int | Dim | SSAValue, size: int | Dim
    ) -> SSAValue:
        """`size` elements of one axis from `start` on."""
        shape: list[Dim] = list(tensor_type(x).shape)
        if shape[axis] is Dim.of(size):
            return x
        starts: list[int | Dim | SSAValue] = [ZERO] * len(shape)
        starts[axis], shape[axis] = start, Dim.of(size)
        return self.slice(x, starts, shape)

    def insert_slice(
        self, x: SSAValue, update: SSAValue, starts: Sequence[int | Dim | SSAValue]
    ) -> SSAValue:
        return self._value(shaping.InsertSliceOp(x, update, starts))

    def pad(
        self,
        x: SSAValue,
        value: SSAValue,
        lo: Sequence[int | Dim],
        hi: Sequence[int | Dim],
        interior: Sequence[int] | None = None,
    ) -> SSAValue:
        return self._value(shaping.PadOp(x, value, lo, hi, interior))

    def window(
        self,
        x: SSAValue,
        axes: Sequence[int],
        sizes: Sequence[int | Dim],
        strides: Sequence[int] | None = None,
        dilations: Sequence[int] | None = None,
    ) -> SSAValue:
        return self._value(shaping.WindowOp(x, axes, sizes, strides, dilations))

    # Elementwise

    def cast(self, x: SSAValue, dtype: str | Attribute, *, saturate: bool = True) -> SSAValue:
        wanted = tensor_type(x).with_element(dtype)
        if x.type == wanted:
            return x
        return self._value(elementwise.CastOp(x, dtype, saturate=saturate))

    def bitcast(self, x: SSAValue, dtype: str) -> SSAValue:
        return self._value(elementwise.BitcastOp(x, dtype))

    def unary(self, op: type[elementwise.UnaryOp], x: SSAValue) -> SSAValue:
        return self._value(op(x))

    def binary(
        self, op: type[elementwise.BinaryOp], lhs: SSAValue | Scalar, rhs: SSAValue | Scalar
    ) -> SSAValue:
        a, b = self.broadcast_together(lhs, rhs)
        return self._value(op(a, b))

    def broadcast_together(self, *operands: SSAValue | Scalar) -> list[SSAValue]:
        """The operands, numbers made constants, repeated to their common shape."""
        dtype = next(tensor_type(v).dtype for v in operands if isinstance(v, SSAValue))
        values = [v if isinstance(v, SSAValue) else self.constant(v, dtype) for v in operands]
        shape = self.common_shape([tensor_type(v).shape for v in values])
        return [self.broadcast_to(self._unify(v, shape), shape) for v in values]

    def common_shape(self, shapes: Sequence[Sequence[Dim]]) -> tuple[Dim, ...]:
        """The shape that all the given ones repeat to, aligned at the right."""
        rank = max(len(shape) for shape in shapes)
        result: list[Dim] = [ONE] * rank
        for shape in shapes:
            for axis, size in enumerate(shape, rank - len(shape)):
                known = result[axis]
                if known is ONE:
                    result[axis] = size
                elif size is not ONE and size is not known:
                    result[axis] = self._equal(known, size)
        return tuple(result)

    def _equal(self, left: Dim, right: Dim) -> Dim:
        if (left.is_constant and right.is_constant) or self.on_fact is None:
            raise VerifyException(f"sizes {left} and {right} do not broadcast")
        self.on_fact((left, "eq", right))
        return right if right.is_constant else left

    def _unify(self, x: SSAValue, shape: Sequence[Dim]) -> SSAValue:
        """Rename sizes that a fact says are equal to those of the common shape."""
        own = tensor_type(x).shape
        aligned = shape[len(shape) - len(own) :]
        wanted = [s if s is ONE else w for s, w in zip(own, aligned, strict=True)]
        return x if own == tuple(wanted) else self._value(shaping.ReshapeOp(x, wanted))

    def neg(self, x: SSAValue) -> SSAValue:
        return self.unary(elementwise.NegOp, x)

    def abs(self, x: SSAValue) -> SSAValue:
        return self.unary(elementwise.AbsOp, x)

    def floor(self, x: SSAValue) -> SSAValue:
        return self.unary(elementwise.FloorOp, x)

    def ceil(self, x: SSAValue) -> SSAValue:
        return self.unary(elementwise.CeilOp, x)

    def round(self, x: SSAValue) -> SSAValue:
        return self.unary(elementwise.RoundOp, x)

    def sqrt(self, x: SSAValue) -> SSAValue:
        return self.unary(elementwise.SqrtOp, x)

    def exp(self, x: SSAValue) -> SSAValue:
        return self.unary(elementwise.ExpOp, x)

    def expm1(self, x: SSAValue) -> SSAValue:
        return self.unary(elementwise.Expm1Op, x)

    def log(self, x: SSAValue) -> SSAValue:
        return self.unary(elementwise.LogOp, x)

    def log1p(self, x: SSAValue) -> SSAValue:
        return self.unary(elementwise.Log1pOp, x)

    def sin(self, x: SSAValue) -> SSAValue:
        return self.unary(elementwise.SinOp, x)

    def cos(self, x: SSAValue) -> SSAValue:
        return self.unary(elementwise.CosOp, x)

    def tanh(self, x: SSAValue) -> SSAValue:
        return self.unary(elementwise.TanhOp, x)

    def sigmoid(self, x: SSAValue) -> SSAValue:
        return self.unary(elementwise.SigmoidOp, x)

    def erf(self, x: SSAValue) -> SSAValue:
        return self.unary(elementwise.ErfOp, x)

    def logical_not(self, x: SSAValue) -> SSAValue:
        return self.unary(elementwise.NotOp, x)

    def add(self, lhs: SSAValue | Scalar, rhs: SSAValue | Scalar) -> SSAValue:
        return self.binary(elementwise.AddOp, lhs, rhs)

    def sub(self, lhs: SSAValue | Scalar, rhs: SSAValue | Scalar) -> SSAValue:
        return self.binary(elementwise.SubOp, lhs, rhs)

    def mul(self, lhs: SSAValue | Scalar, rhs: SSAValue | Scalar) -> SSAValue:
        return self.binary(elementwise.MulOp, lhs, rhs)

    def div(self, lhs: SSAValue | Scalar, rhs: SSAValue | Scalar) -> SSAValue:
        return self.binary(elementwise.DivOp, lhs, rhs)

    def rem(self, lhs: SSAValue | Scalar, rhs: SSAValue | Scalar) -> SSAValue:
        return self.binary(elementwise.RemOp, lhs, rhs)

    def pow(self, lhs: SSAValue | Scalar, rhs: SSAValue | Scalar) -> SSAValue:
        return self.binary(elementwise.PowOp, lhs, rhs)

    def max(self, lhs: SSAValue | Scalar, rhs: SSAValue | Scalar) -> SSAValue:
        return self.binary(elementwise.MaxOp, lhs, rhs)

    def min(self, lhs: SSAValue | Scalar, rhs: SSAValue | Scalar) -> SSAValue:
        return self.binary(elementwise.MinOp, lhs, rhs)

    def atan2(self, lhs: SSAValue | Scalar, rhs: SSAValue | Scalar) -> SSAValue:
        return self.binary(elementwise.Atan2Op, lhs, rhs)

    def logical_and(self, lhs: SSAValue | Scalar, rhs: SSAValue | Scalar) -> SSAValue:
        return self.binary(elementwise.AndOp, lhs, rhs)

    def logical_or(self, lhs: SSAValue | Scalar, rhs: SSAValue | Scalar) -> SSAValue:
        return self.binary(elementwise.OrOp, lhs, rhs)

    def compare(
        self, predicate: str, lhs: SSAValue | Scalar, rhs: SSAValue | Scalar
    ) -> SSAValue:
        """`predicate`: eq, ne, lt, le, gt or ge."""
        a, b = self.broadcast_together(lhs, rhs)
        return self._value(elementwise.CompareOp(predicate, a, b))

    def select(
        self, condition: SSAValue, on_true: SSAValue | Scalar, on_false: SSAValue | Scalar
    ) -> SSAValue:
        a, b = self.broadcast_together(on_true, on_false)
        shape = self.common_shape([tensor_type(v).shape for v in (condition, a, b)])
        c, a, b = (self.broadcast_to(self._unify(v, shape), shape) for v in (condition, a, b))
        return self._value(elementwise.SelectOp(c, a, b))

    # Reductions, contractions, indexing

    def reduce(
        self, kind: str, x: SSAValue, axes: Sequence[int], *, keep: bool = False
    ) -> SSAValue:
        """`kind`: sum, prod, max or min."""
        return self._value(reducing.ReduceOp(kind, x, axes, keep=keep))

    def arg_reduce(
        self, kind: str, x: SSAValue, axis: int, *, keep: bool = False, last: bool = False
    ) -> SSAValue:
        return self._value(reducing.ArgReduceOp(kind, x, axis, keep=keep, last=last))

    def cumulative(
        self,
        kind: str,
        x: SSAValue,
        axis: int,
        *,
        exclusive: bool = False,
        reverse: bool = False,
    ) -> SSAValue:
        op = reducing.CumulativeOp(kind, x, axis, exclusive=exclusive, reverse=reverse)
        return self._value(op)

    def dot(
        self,
        lhs: SSAValue,
        rhs: SSAValue,
        *,
        batch: tuple[Sequence[int], Sequence[int]] = ((), ()),
        contract: tuple[Sequence[int], Sequence[int]],
        dtype: str | None = None,
    ) -> SSAValue:
        return self._value(
            reducing.DotOp(lhs, rhs, batch=batch, contract=contract, dtype=dtype)
        )

    def gather(self, x: SSAValue, indices: SSAValue, axis: int) -> SSAValue:
        return self._value(indexing.GatherOp(x, indices, axis))

    def gather_nd(self, x: SSAValue, indices: SSAValue, batch_dims: int = 0) -> SSAValue:
        return self._value(indexing.GatherNdOp(x, indices, batch_dims))

    def scatter_nd(
        self, combine: str, x: SSAValue, indices: SSAValue, updates: SSAValue
    ) -> SSAValue:
        return self._value(indexing.ScatterNdOp(combine, x, indices, updates))

    def sort(
        self,
        values: Sequence[SSAValue],
        axis: int,
        *,
        keys: int = 1,
        descending: bool = False,
    ) -> tuple[SSAValue, ...]:
        op = self.insert(indexing.SortOp(values, axis, keys=keys, descending=descending))
        return tuple(op.results)

    def nonzero(self, x: SSAValue, symbol: str) -> SSAValue:
        return self._value(indexing.NonzeroOp(x, symbol))

    def rng(self, state: SSAValue, shape: Sequence[int | Dim]) -> tuple[SSAValue, SSAValue]:
        op = self.insert(reducing.RngOp(state, [Dim.of(d) for d in shape]))
        return op.bits, op.next_state

    def softmax(self, x: SSAValue, axis: int, *, log: bool = False) -> SSAValue:
        return self._value(composites.SoftmaxOp(x, axis, log=log))

    def yield_(self, values: Sequence[SSAValue]) -> None:
        self.insert(control.YieldOp(values))

    def lowest(self, dtype: str) -> Scalar:
        """The least value of an element type (-inf for floats)."""
        if dtype == "i1":
            return False
        if dtypes.is_float(dtype):
            return float("-inf")
        return _integer_limits(dtype)[0]

    def highest(self, dtype: str) -> Scalar:
        """The greatest value of an element type (inf for floats)."""
        if dtype == "i1":
            return True
        if dtypes.is_float(dtype):
            return float("inf")
        return _integer_limits(dtype)[1]


def _integer_limits(dtype: str) -> tuple[int, int]:
    bits = int(dtype.lstrip("ui"))
    if dtypes.is_unsigned(dtype):
        return 0, (1 << bits) - 1
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1
