"""Reading and writing by computed positions, sorting, and sizes that depend on data."""

from __future__ import annotations

from collections.abc import Sequence
from enum import auto

from xdsl.dialects.builtin import IntegerAttr, StringAttr, UnitAttr, i64
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
    var_operand_def,
    var_result_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.str_enum import StrEnum

from infini_ir.dialects.graph.base import GraphOp, check_axis, type_of
from infini_ir.dialects.graph.types import TensorType
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import Dim


def _check_indices(indices: TensorType) -> None:
    if not dtypes.is_integer(indices.dtype):
        raise VerifyException(f"indices are integers, not {indices.dtype}")


@irdl_op_definition
class GatherOp(GraphOp):
    """
    Slices along one axis, picked by index: the axis becomes the shape of the indices.
    An index outside the axis is clamped to it.

        %y = graph.gather %table, %ids axis 0 : (!graph.tensor<[V, D], f32>, !graph.tensor<[B, S], i64>) -> !graph.tensor<[B, S, D], f32>
    """

    name = "graph.gather"
    x = operand_def(TensorType)
    indices = operand_def(TensorType)
    axis = prop_def(IntegerAttr.constr(i64))
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = (
        "$x `,` $indices `axis` $axis attr-dict `:` functional-type(operands, results)"
    )

    def __init__(self, x: SSAValue | Operation, indices: SSAValue | Operation, axis: int):
        super().__init__(
            operands=[x, indices],
            properties={"axis": IntegerAttr(axis, i64)},
            result_types=[_gather_type(type_of(x), type_of(indices), axis)],
        )

    def infer(self) -> Sequence[TensorType]:
        return (_gather_type(type_of(self.x), type_of(self.indices), self.axis.value.data),)


def _gather_type(x: TensorType, indices: TensorType, axis: int) -> TensorType:
    check_axis(axis, x.rank)
    _check_indices(indices)
    return x.with_shape([*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]])


@irdl_op_definition
class GatherNdOp(GraphOp):
    """
    Slices picked by index tuples: the last axis of the indices addresses the axes of `x`
    after the `batch_dims` leading ones, which both share. Indices are clamped.

        %y = graph.gather_nd %x, %i batch_dims 0 : (!graph.tensor<[N, M, D], f32>, !graph.tensor<[K, 2], i64>) -> !graph.tensor<[K, D], f32>
    """

    name = "graph.gather_nd"
    x = operand_def(TensorType)
    indices = operand_def(TensorType)
    batch_dims = prop_def(IntegerAttr.constr(i64))
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = (
        "$x `,` $indices `batch_dims` $batch_dims attr-dict "
        "`:` functional-type(operands, results)"
    )

    def __init__(
        self, x: SSAValue | Operation, indices: SSAValue | Operation, batch_dims: int = 0
    ):
        super().__init__(
            operands=[x, indices],
            properties={"batch_dims": IntegerAttr(batch_dims, i64)},
            result_types=[_gather_nd_type(type_of(x), type_of(indices), batch_dims)],
        )

    def infer(self) -> Sequence[TensorType]:
        batch_dims = self.batch_dims.value.data
        return (_gather_nd_type(type_of(self.x), type_of(self.indices), batch_dims),)


def index_depth(indices: TensorType) -> int:
    """The length of the index tuples of gather_nd and scatter_nd."""
    if not indices.rank or indices.shape[-1].value is None:
        raise VerifyException(f"{indices} has no known index length as its last axis")
    _check_indices(indices)
    return indices.shape[-1].value


def _gather_nd_type(x: TensorType, indices: TensorType, batch_dims: int) -> TensorType:
    depth = index_depth(indices)
    if batch_dims < 0 or batch_dims + depth > x.rank or batch_dims >= indices.rank:
        raise VerifyException(f"{indices} does not index {x} with {batch_dims} batch axes")
    if x.shape[:batch_dims] != indices.shape[:batch_dims]:
        raise VerifyException(f"batch axes of {x} and {indices} differ")
    return x.with_shape([*indices.shape[:-1], *x.shape[batch_dims + depth :]])


class Combine(StrEnum):
    """How an update meets the element it falls on."""

    set = auto()
    add = auto()
    mul = auto()
    max = auto()
    min = auto()


@irdl_attr_definition
class CombineAttr(EnumAttribute[Combine], SpacedOpaqueSyntaxAttribute):
    """Combination of a `graph.scatter_nd`."""

    name = "graph.combine"


@irdl_op_definition
class ScatterNdOp(GraphOp):
    """
    The operand with slices combined with updates at index tuples. An update whose index is
    outside is dropped; of several `set` on one element, the last in row-major order wins.

        %y = graph.scatter_nd add %x, %i, %u : (!graph.tensor<[N, D], f32>, !graph.tensor<[K, 1], i64>, !graph.tensor<[K, D], f32>) -> !graph.tensor<[N, D], f32>
    """

    name = "graph.scatter_nd"
    combine = prop_def(CombineAttr)
    x = operand_def(TensorType)
    indices = operand_def(TensorType)
    updates = operand_def(TensorType)
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = (
        "$combine $x `,` $indices `,` $updates attr-dict `:` functional-type(operands, results)"
    )

    def __init__(
        self,
        combine: str,
        x: SSAValue | Operation,
        indices: SSAValue | Operation,
        updates: SSAValue | Operation,
    ):
        super().__init__(
            operands=[x, indices, updates],
            properties={"combine": CombineAttr(Combine(combine))},
            result_types=[type_of(x)],
        )

    def infer(self) -> Sequence[TensorType]:
        x, indices, updates = self.tensor_types()
        depth = index_depth(indices)
        if depth > x.rank:
            raise VerifyException(f"{indices} does not index {x}")
        wanted = x.with_shape([*indices.shape[:-1], *x.shape[depth:]])
        if updates != wanted:
            raise VerifyException(f"updates are {updates}, but {indices} wants {wanted}")
        return (x,)


@irdl_op_definition
class SortOp(GraphOp):
    """
    The operands reordered along an axis by the first `keys` of them (ties of one by the
    next). Stable in both directions; NaN is the greatest number.

        %v, %i = graph.sort %x, %p axis 1 keys 1 descending : (T, I) -> (T, I)
    """

    name = "graph.sort"
    inputs = var_operand_def(TensorType)
    axis = prop_def(IntegerAttr.constr(i64))
    keys = prop_def(IntegerAttr.constr(i64))
    descending = opt_prop_def(UnitAttr)
    outs = var_result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = (
        "$inputs `axis` $axis `keys` $keys (`descending` $descending^)? attr-dict "
        "`:` functional-type(operands, results)"
    )

    def __init__(
        self,
        inputs: Sequence[SSAValue | Operation],
        axis: int,
        *,
        keys: int = 1,
        descending: bool = False,
    ):
        super().__init__(
            operands=[list(inputs)],
            properties={
                "axis": IntegerAttr(axis, i64),
                "keys": IntegerAttr(keys, i64),
                "descending": UnitAttr() if descending else None,
            },
            result_types=[[type_of(value) for value in inputs]],
        )

    def infer(self) -> Sequence[TensorType]:
        types = self.tensor_types()
        if not 1 <= self.keys.value.data <= len(types):
            raise VerifyException(f"{self.keys.value.data} keys of {len(types)} operands")
        check_axis(self.axis.value.data, types[0].rank)
        if any(other.shape != types[0].shape for other in types):
            raise VerifyException("the operands' shapes differ")
        return types


@irdl_op_definition
class NonzeroOp(GraphOp):
    """
    Positions of nonzero elements in row-major order, one a column: `[rank, K]`. Their
    number is known only at run time and defines a symbol.

        %i = graph.nonzero %m defines "K" : (!graph.tensor<[N], i1>) -> !graph.tensor<[1, K], i64>
    """

    name = "graph.nonzero"
    x = operand_def(TensorType)
    symbol = prop_def(StringAttr)
    out = result_def(TensorType)
    assembly_format = "$x `defines` $symbol attr-dict `:` functional-type(operands, results)"

    def __init__(self, x: SSAValue | Operation, symbol: str):
        shape = [Dim.of(type_of(x).rank), Dim.symbol(symbol)]
        super().__init__(
            operands=[x],
            properties={"symbol": StringAttr(symbol)},
            result_types=[TensorType.of(shape, "i64")],
        )

    def infer(self) -> Sequence[TensorType]:
        rank = type_of(self.x).rank
        return (TensorType.of([Dim.of(rank), Dim.symbol(self.symbol.data)], "i64"),)


INDEXING_OPS: tuple[type[GraphOp], ...] = (
    GatherOp, GatherNdOp, ScatterNdOp, SortOp, NonzeroOp,
)  # fmt: skip
INDEXING_ATTRIBUTES = (CombineAttr,)
