"""Reductions, cumulative operations, matrix products and random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from enum import auto

from xdsl.dialects.builtin import IntegerAttr, UnitAttr, i64
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import Operation, SpacedOpaqueSyntaxAttribute, SSAValue
from xdsl.irdl import (
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.str_enum import StrEnum

from infini_ir.dialects.graph.base import (
    GraphOp,
    IntsConstraint,
    check_axes,
    check_axis,
    ints,
    ints_of,
    type_of,
)
from infini_ir.dialects.graph.types import TensorType
from infini_ir.utils.symbolic import ONE, Dim


class ReduceKind(StrEnum):
    """What a reduction computes."""

    sum = auto()
    prod = auto()
    max = auto()
    min = auto()


@irdl_attr_definition
class ReduceKindAttr(EnumAttribute[ReduceKind], SpacedOpaqueSyntaxAttribute):
    """Kind of a `graph.reduce`, `graph.arg_reduce` or `graph.cumulative`."""

    name = "graph.reduce_kind"


@irdl_op_definition
class ReduceOp(GraphOp):
    """
    Reduction over some axes, in any order; f16 and bf16 accumulate in f32. Nothing to
    reduce gives 0, 1, the lowest or the highest value. On bools max is or, min is and.

        %y = graph.reduce sum %x axes [1] keep : (!graph.tensor<[B, S], f32>) -> !graph.tensor<[B, 1], f32>
    """

    name = "graph.reduce"
    kind = prop_def(ReduceKindAttr)
    x = operand_def(TensorType)
    axes = prop_def(IntsConstraint)
    keep = opt_prop_def(UnitAttr)
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$kind $x `axes` $axes (`keep` $keep^)? attr-dict `:` functional-type(operands, results)"

    def __init__(
        self, kind: str, x: SSAValue | Operation, axes: Sequence[int], *, keep: bool = False
    ):
        super().__init__(
            operands=[x],
            properties={
                "kind": ReduceKindAttr(ReduceKind(kind)),
                "axes": ints(axes),
                "keep": UnitAttr() if keep else None,
            },
            result_types=[_reduced(type_of(x), axes, keep)],
        )

    @property
    def axis_list(self) -> tuple[int, ...]:
        return ints_of(self.axes)

    def infer(self) -> Sequence[TensorType]:
        x = type_of(self.x)
        if x.dtype == "i1" and self.kind.data in (ReduceKind.sum, ReduceKind.prod):
            raise VerifyException(
                f"no {self.kind.data} of bools: cast first, or use max or min"
            )
        return (_reduced(x, self.axis_list, self.keep is not None),)


def _reduced(x: TensorType, axes: Sequence[int], keep: bool) -> TensorType:
    check_axes(axes, x.rank)
    if keep:
        return x.with_shape([ONE if i in axes else d for i, d in enumerate(x.shape)])
    return x.with_shape([d for i, d in enumerate(x.shape) if i not in axes])


@irdl_op_definition
class ArgReduceOp(GraphOp):
    """
    Index (i64) of the largest or smallest element along an axis, the first of equals or,
    with `last`, the last. NaN wins. The axis must not be empty.

        %i = graph.arg_reduce max %x axis 1 : (!graph.tensor<[B, S], f32>) -> !graph.tensor<[B], i64>
    """

    name = "graph.arg_reduce"
    kind = prop_def(ReduceKindAttr)
    x = operand_def(TensorType)
    axis = prop_def(IntegerAttr.constr(i64))
    keep = opt_prop_def(UnitAttr)
    last = opt_prop_def(UnitAttr)
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = (
        "$kind $x `axis` $axis (`keep` $keep^)? (`last` $last^)? attr-dict "
        "`:` functional-type(operands, results)"
    )

    def __init__(
        self,
        kind: str,
        x: SSAValue | Operation,
        axis: int,
        *,
        keep: bool = False,
        last: bool = False,
    ):
        super().__init__(
            operands=[x],
            properties={
                "kind": ReduceKindAttr(ReduceKind(kind)),
                "axis": IntegerAttr(axis, i64),
                "keep": UnitAttr() if keep else None,
                "last": UnitAttr() if last else None,
            },
            result_types=[_reduced(type_of(x), [axis], keep).with_element("i64")],
        )

    def infer(self) -> Sequence[TensorType]:
        if self.kind.data not in (ReduceKind.max, ReduceKind.min):
            raise VerifyException(f"no index of a {self.kind.data}")
        reduced = _reduced(type_of(self.x), [self.axis.value.data], self.keep is not None)
        return (reduced.with_element("i64"),)


@irdl_op_definition
class CumulativeOp(GraphOp):
    """
    Running sum, product, maximum or minimum along an axis; exclusive leaves the element itself out;
    reverse runs from the end.

        %y = graph.cumulative sum %x axis 1 : !graph.tensor<[B, S], f32>
    """

    name = "graph.cumulative"
    kind = prop_def(ReduceKindAttr)
    x = operand_def(TensorType)
    axis = prop_def(IntegerAttr.constr(i64))
    exclusive = opt_prop_def(UnitAttr)
    reverse = opt_prop_def(UnitAttr)
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = (
        "$kind $x `axis` $axis (`exclusive` $exclusive^)? (`reverse` $reverse^)? attr-dict "
        "`:` functional-type(operands, results)"
    )

    def __init__(
        self,
        kind: str,
        x: SSAValue | Operation,
        axis: int,
        *,
        exclusive: bool = False,
        reverse: bool = False,
    ):
        super().__init__(
            operands=[x],
            properties={
                "kind": ReduceKindAttr(ReduceKind(kind)),
                "axis": IntegerAttr(axis, i64),
                "exclusive": UnitAttr() if exclusive else None,
                "reverse": UnitAttr() if reverse else None,
            },
            result_types=[type_of(x)],
        )

    def infer(self) -> Sequence[TensorType]:
        check_axis(self.axis.value.data, type_of(self.x).rank)
        return (type_of(self.x),)


@irdl_op_definition
class DotOp(GraphOp):
    """
    Contraction: the batch axes of both, then the free axes of `lhs`, then those of `rhs`.
    f16, bf16 and f8 accumulate in f32; integers accumulate in the result's element type.

        %c = graph.dot %a, %b batch [0] [0] contract [2] [1] : (!graph.tensor<[B, M, K], f32>, !graph.tensor<[B, K, N], f32>) -> !graph.tensor<[B, M, N], f32>
    """

    name = "graph.dot"
    lhs = operand_def(TensorType)
    rhs = operand_def(TensorType)
    lhs_batch = prop_def(IntsConstraint)
    rhs_batch = prop_def(IntsConstraint)
    lhs_contract = prop_def(IntsConstraint)
    rhs_contract = prop_def(IntsConstraint)
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = (
        "$lhs `,` $rhs `batch` $lhs_batch $rhs_batch `contract` $lhs_contract $rhs_contract "
        "attr-dict `:` functional-type(operands, results)"
    )

    def __init__(
        self,
        lhs: SSAValue | Operation,
        rhs: SSAValue | Operation,
        *,
        batch: tuple[Sequence[int], Sequence[int]] = ((), ()),
        contract: tuple[Sequence[int], Sequence[int]],
        dtype: str | None = None,
    ):
        """`dtype` names the result's element type (default: that of `lhs`)."""
        shape = _dot_shape(type_of(lhs), type_of(rhs), batch, contract)
        out = type_of(lhs).with_shape(shape)
        super().__init__(
            operands=[lhs, rhs],
            properties={
                "lhs_batch": ints(batch[0]),
                "rhs_batch": ints(batch[1]),
                "lhs_contract": ints(contract[0]),
                "rhs_contract": ints(contract[1]),
            },
            result_types=[out.with_element(dtype) if dtype else out],
        )

    @property
    def batch(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return ints_of(self.lhs_batch), ints_of(self.rhs_batch)

    @property
    def contract(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return ints_of(self.lhs_contract), ints_of(self.rhs_contract)

    def free(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The axes of each operand that are neither batch nor contracted."""
        sides = zip((self.lhs, self.rhs), self.batch, self.contract, strict=True)
        left, right = (
            tuple(i for i in range(type_of(value).rank) if i not in batch and i not in contract)
            for value, batch, contract in sides
        )
        return left, right

    def infer(self) -> Sequence[TensorType]:
        shape = _dot_shape(type_of(self.lhs), type_of(self.rhs), self.batch, self.contract)
        return (TensorType.of(shape, type_of(self.out).element),)


def _dot_shape(
    lhs: TensorType,
    rhs: TensorType,
    batch: tuple[Sequence[int], Sequence[int]],
    contract: tuple[Sequence[int], Sequence[int]],
) -> list[Dim]:
    for side, tensor in enumerate((lhs, rhs)):
        check_axes((*batch[side], *contract[side]), tensor.rank)
    for what, (left, right) in (("batch", batch), ("contracted", contract)):
        sizes = [lhs.shape[a] for a in left], [rhs.shape[a] for a in right]
        if sizes[0] != sizes[1]:
            texts = [[str(size) for size in side] for side in sizes]
            raise VerifyException(f"{what} sizes differ: {texts[0]} and {texts[1]}")
    taken = [{*batch[side], *contract[side]} for side in (0, 1)]
    return [
        *(lhs.shape[a] for a in batch[0]),
        *(d for a, d in enumerate(lhs.shape) if a not in taken[0]),
        *(d for a, d in enumerate(rhs.shape) if a not in taken[1]),
    ]


@irdl_op_definition
class RngOp(GraphOp):
    """
    Random bits by Philox 4x32-10 (Salmon et al., SC 2011), the same on every target. The
    state is [key, counter]; element i of the bits is word i mod 4 of block counter + i div 4.

        %bits, %next = graph.rng %state : (!graph.tensor<[2], ui64>) -> (!graph.tensor<[N], ui32>, !graph.tensor<[2], ui64>)
    """

    name = "graph.rng"
    state = operand_def(TensorType)
    bits = result_def(TensorType)
    next_state = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$state attr-dict `:` functional-type(operands, results)"

    def __init__(self, state: SSAValue | Operation, shape: Sequence[int | Dim]):
        super().__init__(
            operands=[state], result_types=[TensorType.of(shape, "ui32"), type_of(state)]
        )

    def infer(self) -> Sequence[TensorType]:
        state = TensorType.of([2], "ui64")
        if type_of(self.state) != state:
            raise VerifyException(f"the state is {state}, not {self.state.type}")
        return (type_of(self.bits).with_element("ui32"), state)


REDUCING_OPS: tuple[type[GraphOp], ...] = (ReduceOp, ArgReduceOp, CumulativeOp, DotOp, RngOp)
REDUCING_ATTRIBUTES = (ReduceKindAttr,)
