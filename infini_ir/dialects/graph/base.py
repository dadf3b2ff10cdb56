"""What the operations of the graph dialect share: operand access, shape rules, verification."""

from __future__ import annotations

import abc
from collections.abc import Sequence

from xdsl.dialects.builtin import DenseArrayBase, FloatAttr, UnitAttr, f64, i64
from xdsl.ir import Operation, SSAValue
from xdsl.irdl import AnyAttr, EqAttrConstraint, IRDLOperation, ParamAttrConstraint
from xdsl.utils.exceptions import VerifyException

from infini_ir.dialects.graph.types import TensorType, tensor_type

Value = SSAValue | Operation
IntsConstraint = DenseArrayBase.constr(i64)
F64 = ParamAttrConstraint(FloatAttr, (AnyAttr(), EqAttrConstraint(f64)))
"""A float whose type goes without saying in text: `scale 0.125`."""
OPERANDS_FORMAT = " attr-dict `:` functional-type(operands, results)"


def flag(value: bool) -> UnitAttr | None:
    """A property that is there or is not."""
    return UnitAttr() if value else None


def optional_operands(*values: Value | None) -> list[Value | list[Value]]:
    """Operands for a build: None is an absent optional one."""
    return [[] if value is None else value for value in values]


def ints(values: Sequence[int]) -> DenseArrayBase:
    """A list of integers as an attribute: `[1, 2]`."""
    return DenseArrayBase.from_list(i64, list(values))


def ints_of(attribute: DenseArrayBase) -> tuple[int, ...]:
    return tuple(int(value) for value in attribute.get_values())  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]


def type_of(value: SSAValue | Operation) -> TensorType:
    return tensor_type(SSAValue.get(value))


class GraphOp(IRDLOperation, abc.ABC):
    """
    A graph operation whose result types follow from its operands and attributes.

    Subclasses define `infer`; construction uses it, and verification compares with it.
    """

    @abc.abstractmethod
    def infer(self) -> Sequence[TensorType]:
        """The result types. Raises `VerifyException` where operands do not fit."""

    def tensor_types(self) -> tuple[TensorType, ...]:
        return tuple(tensor_type(operand) for operand in self.operands)

    def verify_(self) -> None:
        for operand in self.operands:
            if not isinstance(operand.type, TensorType):
                raise VerifyException(f"operand of type {operand.type} is not a graph tensor")
        for index, (result, inferred) in enumerate(
            zip(self.results, self.infer(), strict=True)
        ):
            if result.type != inferred:
                raise VerifyException(
                    f"result {index} has type {result.type}, but the operands give {inferred}"
                )


def check_axis(axis: int, rank: int, what: str = "axis") -> None:
    if not 0 <= axis < rank:
        raise VerifyException(f"{what} {axis} is outside a tensor of rank {rank}")


def check_axes(axes: Sequence[int], rank: int, what: str = "axis") -> None:
    for axis in axes:
        check_axis(axis, rank, what)
    if len(set(axes)) != len(axes):
        raise VerifyException(f"{what} list {list(axes)} names one twice")


def check_same_shape(left: TensorType, right: TensorType) -> None:
    if left.shape != right.shape:
        raise VerifyException(f"shapes differ: {left} and {right}")
