"""Accesses to memory inside a kernel: slices, gathered and scattered elements, scalars."""

from __future__ import annotations

from collections.abc import Sequence
from enum import auto

from xdsl.dialects.builtin import ArrayAttr, DenseArrayBase, IndexType, IntegerType
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import Attribute, SpacedOpaqueSyntaxAttribute, SSAValue
from xdsl.irdl import (
    AnyAttr,
    IRDLOperation,
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.str_enum import StrEnum

from infini_ir.dialects.graph.base import IntsConstraint, ints, ints_of
from infini_ir.dialects.tile.base import DimLists, Value, check_covers
from infini_ir.dialects.tile.types import TileType, ViewType, scalar_of, tile_type, view_type
from infini_ir.utils.symbolic import Dim


@irdl_op_definition
class LoadOp(IRDLOperation):
    """
    The slice `V[o0 : o0 + c0, ...]` of the listed axes, smaller at the edge; the other axes
    are at single positions.

        %a = tile.load %A[%i, %k] axes [0, 1] : (!tile.view<[M, K], f32>, index, index) -> !tile.tile<[BM, BK], f32>
    """

    name = "tile.load"
    view = operand_def(ViewType)
    offsets = var_operand_def(IndexType)
    axes = prop_def(IntsConstraint)
    out = result_def(TileType)
    traits = traits_def(Pure())
    assembly_format = (
        "$view `[` $offsets `]` `axes` $axes attr-dict `:` type($view) `->` type($out)"
    )

    def __init__(
        self,
        view: Value,
        offsets: Sequence[Value],
        axes: Sequence[int],
        capacity: Sequence[Dim],
    ):
        element = view_type(SSAValue.get(view)).element
        super().__init__(
            operands=[view, list(offsets)],
            properties={"axes": ints(axes)},
            result_types=[TileType.of(capacity, element)],
        )

    @property
    def axis_list(self) -> tuple[int, ...]:
        return ints_of(self.axes)

    def verify_(self) -> None:
        _check_access(self.view, self.offsets, self.axis_list, tile_type(self.out))


def _check_access(
    view: SSAValue, offsets: Sequence[SSAValue], axes: Sequence[int], tile: TileType
) -> None:
    memory = view_type(view)
    if len(offsets) != memory.rank:
        raise VerifyException(f"{len(offsets)} offsets for {memory}")
    in_rank = all(0 <= axis < memory.rank for axis in axes)
    if len(axes) != tile.rank or not in_rank or len(set(axes)) != len(axes):
        raise VerifyException(f"axes {list(axes)} of {memory} do not make {tile}")
    if memory.element != tile.element:
        raise VerifyException(f"{memory} and {tile} have different elements")


class Combine(StrEnum):
    """How a store meets what is there."""

    set = auto()
    add = auto()
    mul = auto()
    max = auto()
    min = auto()


@irdl_attr_definition
class CombineAttr(EnumAttribute[Combine], SpacedOpaqueSyntaxAttribute):
    """Combination of a store."""

    name = "tile.combine"


@irdl_op_definition
class StoreOp(IRDLOperation):
    """
    Writes a tile's extent to the slice that `load` would read.

        tile.store set %y, %Y[%i, %j] axes [0, 1] : !tile.tile<[BM, BN], f32> -> !tile.view<[M, N], f32>
    """

    name = "tile.store"
    combine = prop_def(CombineAttr)
    value = operand_def(TileType)
    view = operand_def(ViewType)
    offsets = var_operand_def(IndexType)
    axes = prop_def(IntsConstraint)
    assembly_format = (
        "$combine $value `,` $view `[` $offsets `]` `axes` $axes attr-dict "
        "`:` type($value) `->` type($view)"
    )

    def __init__(
        self,
        value: Value,
        view: Value,
        offsets: Sequence[Value],
        axes: Sequence[int],
        combine: str = "set",
    ):
        super().__init__(
            operands=[value, view, list(offsets)],
            properties={"axes": ints(axes), "combine": CombineAttr(Combine(combine))},
        )

    @property
    def axis_list(self) -> tuple[int, ...]:
        return ints_of(self.axes)

    def verify_(self) -> None:
        _check_access(self.view, self.offsets, self.axis_list, tile_type(self.value))


@irdl_op_definition
class GatherOp(IRDLOperation):
    """
    Elements at computed positions: one index operand for each axis of the view, an index or
    an integer tile; `dims` lists, for each operand, the result's axes that it covers.
    Positions must be inside the view.

        %y = tile.gather %V[%i, %t] dims [[], [0]] : ... -> !tile.tile<[BM], f32>
    """

    name = "tile.gather"
    view = operand_def(ViewType)
    positions = var_operand_def(AnyAttr())
    dims = prop_def(ArrayAttr[DenseArrayBase])
    out = result_def(TileType)
    traits = traits_def(Pure())
    custom_directives = (DimLists,)
    assembly_format = (
        "$view `[` $positions `]` `dims` custom<DimLists>($dims) attr-dict "
        "`:` type($view) `[` type($positions) `]` `->` type($out)"
    )

    def __init__(
        self,
        view: Value,
        positions: Sequence[Value],
        dims: Sequence[Sequence[int]],
        out: TileType,
    ):
        super().__init__(
            operands=[view, list(positions)],
            properties={"dims": ArrayAttr([ints(d) for d in dims])},
            result_types=[out],
        )

    @property
    def dim_lists(self) -> tuple[tuple[int, ...], ...]:
        return tuple(ints_of(d) for d in self.dims.data)

    def verify_(self) -> None:
        _check_positions(self.view, self.positions, self.dim_lists, tile_type(self.out))


def _check_positions(
    view: SSAValue,
    positions: Sequence[SSAValue],
    dims: Sequence[tuple[int, ...]],
    tile: TileType,
) -> None:
    memory = view_type(view)
    if len(positions) != memory.rank:
        raise VerifyException(f"{len(positions)} positions for {memory}")
    if len(dims) != len(positions):
        raise VerifyException("wants a dims list for each position")
    if memory.element != tile.element:
        raise VerifyException(f"{memory} and {tile} have different elements")
    for value, axes in zip(positions, dims, strict=True):
        element = value.type.element if isinstance(value.type, TileType) else value.type
        if not isinstance(element, IndexType | IntegerType):
            raise VerifyException(f"a position is an index or integers, not {value.type}")
        check_covers(value, axes, tile.shape)


@irdl_op_definition
class ScatterOp(IRDLOperation):
    """
    Writes each element of a tile to a computed position; positions outside are dropped. In
    a program, elements are written in row-major order; programs of one launch must not
    write the same element.

        tile.scatter add %u, %V[%i, %t] dims [[], [0]] : ...
    """

    name = "tile.scatter"
    combine = prop_def(CombineAttr)
    value = operand_def(TileType)
    view = operand_def(ViewType)
    positions = var_operand_def(AnyAttr())
    dims = prop_def(ArrayAttr[DenseArrayBase])
    custom_directives = (DimLists,)
    assembly_format = (
        "$combine $value `,` $view `[` $positions `]` `dims` custom<DimLists>($dims) attr-dict "
        "`:` type($value) `->` type($view) `[` type($positions) `]`"
    )

    def __init__(
        self,
        value: Value,
        view: Value,
        positions: Sequence[Value],
        dims: Sequence[Sequence[int]],
        combine: str = "set",
    ):
        super().__init__(
            operands=[value, view, list(positions)],
            properties={
                "dims": ArrayAttr([ints(d) for d in dims]),
                "combine": CombineAttr(Combine(combine)),
            },
        )

    @property
    def dim_lists(self) -> tuple[tuple[int, ...], ...]:
        return tuple(ints_of(d) for d in self.dims.data)

    def verify_(self) -> None:
        _check_positions(self.view, self.positions, self.dim_lists, tile_type(self.value))


@irdl_op_definition
class ReadOp(IRDLOperation):
    """
    One element as a scalar. i1 elements come as i1, unsigned ones as signless.

        %n = tile.read %V[%i] : !tile.view<[N], i64> -> i64
    """

    name = "tile.read"
    view = operand_def(ViewType)
    offsets = var_operand_def(IndexType)
    out = result_def()
    traits = traits_def(Pure())
    assembly_format = "$view `[` $offsets `]` attr-dict `:` type($view) `->` type($out)"

    def __init__(self, view: Value, offsets: Sequence[Value], out: Attribute):
        super().__init__(operands=[view, list(offsets)], result_types=[out])

    def verify_(self) -> None:
        memory = view_type(self.view)
        if len(self.offsets) != memory.rank:
            raise VerifyException(f"{len(self.offsets)} offsets for {memory}")
        if self.out.type != scalar_of(memory.element):
            raise VerifyException(f"an element of {memory} is not {self.out.type}")


ACCESS_OPS = (LoadOp, StoreOp, GatherOp, ScatterOp, ReadOp)
ACCESS_ATTRIBUTES = (CombineAttr,)
