"""Questions that graph patterns ask of values: constants, broadcasts, size-1 axes, bounds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TypeVar

from xdsl.ir import Operation, SSAValue

from infini_ir.dialects.graph import (
    AbsOp,
    AddOp,
    BinaryOp,
    BroadcastOp,
    CastOp,
    ConstantOp,
    DivOp,
    ExpOp,
    MaxOp,
    MinOp,
    MulOp,
    ReduceOp,
    ReshapeOp,
    SigmoidOp,
    SoftmaxOp,
    SqrtOp,
    TransposeOp,
    WeightOp,
)  # fmt: skip
from infini_ir.dialects.graph.types import TensorType, tensor_type
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import ONE, Dim

OpT = TypeVar("OpT", bound=Operation)
Scalar = int | float | bool


def producer(value: SSAValue, kind: type[OpT]) -> OpT | None:
    """The operation of that class which gives the value, if there is one."""
    owner = value.owner
    return owner if isinstance(owner, kind) else None


def splat(value: SSAValue) -> Scalar | None:
    """The number that all elements of a constant are, through shape operations."""
    owner = value.owner
    while isinstance(owner, (BroadcastOp, ReshapeOp, TransposeOp)):
        owner = owner.x.owner
    if not isinstance(owner, ConstantOp):
        return None
    return _common_number(owner.value.data)


def _common_number(numbers: Sequence[Scalar]) -> Scalar | None:
    """The number that all are, the sign of zeros included."""
    if not numbers:
        return None
    first = numbers[0]
    if len(numbers) > 1:
        if numbers[-1] != first or numbers.count(first) != len(numbers):
            return None
        if first == 0 and len({math.copysign(1.0, n) for n in numbers}) > 1:
            return None
    return first


def is_splat(value: SSAValue, wanted: float, tolerance: float = 0.0) -> bool:
    """Whether the value is `wanted` everywhere, up to a relative tolerance."""
    number = splat(value)
    if number is None:
        return False
    if not tolerance:
        return number == wanted
    return math.isclose(number, wanted, rel_tol=tolerance)


def is_stored(value: SSAValue) -> bool:
    """Whether the value is a weight or a constant."""
    return isinstance(value.owner, (WeightOp, ConstantOp))


def strip_broadcast(value: SSAValue) -> SSAValue:
    """The value before it was repeated."""
    owner = value.owner
    while isinstance(owner, BroadcastOp):
        value = owner.x
        owner = value.owner
    return value


def strip_repetition(value: SSAValue) -> SSAValue:
    """The value before it was repeated, given size-1 axes or deprived of them."""
    while True:
        owner = value.owner
        if isinstance(owner, BroadcastOp) or (
            isinstance(owner, ReshapeOp) and differ_by_ones(owner.x.type, owner.out.type)
        ):
            value = owner.x
        else:
            return value


def without_ones(shape: Sequence[Dim]) -> tuple[Dim, ...]:
    return tuple(d for d in shape if d is not ONE)


def differ_by_ones(left: object, right: object) -> bool:
    """Whether two tensor types have the same sizes up to axes of size 1."""
    assert isinstance(left, TensorType) and isinstance(right, TensorType)
    return without_ones(left.shape) == without_ones(right.shape)


def aligned(shape: Sequence[Dim], rank: int) -> tuple[Dim, ...]:
    """The shape with axes of size 1 put in front, up to a rank."""
    return (ONE,) * (rank - len(shape)) + tuple(shape)


AxisGroups = list[tuple[tuple[int, ...], tuple[int, ...]]]


def reshape_groups(before: Sequence[Dim], after: Sequence[Dim]) -> AxisGroups | None:
    """The axes of a reshape in the smallest groups with the same number of elements each.

    An axis of size 1 without counterpart is a group by itself, its other side empty. None
    where symbolic sizes do not tell how the axes correspond.
    """
    groups: AxisGroups = []
    i = j = 0
    while i < len(before) or j < len(after):
        if i < len(before) and before[i] is ONE and (j == len(after) or after[j] is not ONE):
            groups.append(((i,), ()))
            i += 1
            continue
        if j < len(after) and after[j] is ONE and (i == len(before) or before[i] is not ONE):
            groups.append(((), (j,)))
            j += 1
            continue
        if i == len(before) or j == len(after):
            return None
        first, second = i, j
        left, right = before[i], after[j]
        i, j = i + 1, j + 1
        while left is not right:
            if i < len(before) and right.exact_divide(left) is not None:
                left, i = left * before[i], i + 1
            elif j < len(after) and left.exact_divide(right) is not None:
                right, j = right * after[j], j + 1
            else:
                return None
        groups.append((tuple(range(first, i)), tuple(range(second, j))))
    return groups


def commuted(op: BinaryOp) -> Iterator[tuple[SSAValue, SSAValue]]:
    """The operands in both orders."""
    lhs, rhs = op.lhs, op.rhs
    yield lhs, rhs
    yield rhs, lhs


def with_splat(op: BinaryOp) -> tuple[SSAValue, Scalar] | None:
    """The operand and the number, of a commutative operation with a constant."""
    for value, constant in commuted(op):
        number = splat(constant)
        if number is not None:
            return value, number
    return None


def is_float(value: SSAValue) -> bool:
    return dtypes.is_float(tensor_type(value).dtype)


def lower_bound(value: SSAValue, depth: int = 6) -> float:
    """A number that no element that is not NaN is below; -inf where nothing is known."""
    owner, low = value.owner, -math.inf
    if not depth or isinstance(owner, ConstantOp):
        number = splat(value)
        return low if number is None or number != number else float(number)
    match owner:
        case SigmoidOp() | ExpOp() | AbsOp() | SqrtOp() if is_float(value):
            return 0.0
        case SoftmaxOp() if owner.log is None:
            return 0.0
        case BroadcastOp() | ReshapeOp() | TransposeOp():
            return lower_bound(owner.x, depth - 1)
        case MaxOp():
            return max(lower_bound(owner.lhs, depth - 1), lower_bound(owner.rhs, depth - 1))
        case MinOp():
            return min(lower_bound(owner.lhs, depth - 1), lower_bound(owner.rhs, depth - 1))
        case MulOp() if is_float(value) and owner.lhs is owner.rhs:
            return 0.0
        case AddOp() | MulOp() | DivOp() if is_float(value):
            both = lower_bound(owner.lhs, depth - 1), lower_bound(owner.rhs, depth - 1)
            return 0.0 if min(both) >= 0 else low
        case ReduceOp() if is_float(value) and owner.kind.data == "sum":
            return 0.0 if lower_bound(owner.x, depth - 1) >= 0 else low
        case CastOp() if is_float(value) and is_float(owner.x):
            return 0.0 if lower_bound(owner.x, depth - 1) >= 0 else low
        case _:
            return low


def upper_bound(value: SSAValue, depth: int = 6) -> float:
    """A number that no element that is not NaN is above; inf where nothing is known."""
    owner = value.owner
    if not depth or isinstance(owner, ConstantOp):
        number = splat(value)
        return math.inf if number is None or number != number else float(number)
    match owner:
        case SigmoidOp():
            return 1.0
        case SoftmaxOp():
            return 0.0 if owner.log is not None else 1.0
        case BroadcastOp() | ReshapeOp() | TransposeOp():
            return upper_bound(owner.x, depth - 1)
        case MaxOp():
            return max(upper_bound(owner.lhs, depth - 1), upper_bound(owner.rhs, depth - 1))
        case MinOp():
            return min(upper_bound(owner.lhs, depth - 1), upper_bound(owner.rhs, depth - 1))
        case _:
            return math.inf
