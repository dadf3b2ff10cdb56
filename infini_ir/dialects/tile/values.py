"""What a kernel computes with tiles: maps, reductions, scans, products."""

from __future__ import annotations

from collections.abc import Sequence
from enum import auto

from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    IndexType,
    IntegerAttr,
    UnitAttr,
    i64,
)
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import Region, SpacedOpaqueSyntaxAttribute, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.str_enum import StrEnum

from infini_ir.dialects.dims import DimsAttr
from infini_ir.dialects.graph.base import IntsConstraint, ints, ints_of
from infini_ir.dialects.tile.base import (
    INDEX,
    DimLists,
    Value,
    check_covers,
    yielded,
)
from infini_ir.dialects.tile.types import TileType, scalar_of, tile_type


@irdl_op_definition
class FullOp(IRDLOperation):
    """
    One scalar everywhere; it takes the extent that its user needs.

        %z = tile.full %c : f32 -> !tile.tile<[BM, BN], f32>
    """

    name = "tile.full"
    scalar = operand_def()
    out = result_def(TileType)
    traits = traits_def(Pure())
    assembly_format = "$scalar attr-dict `:` type($scalar) `->` type($out)"

    def __init__(self, scalar: Value, out: TileType):
        super().__init__(operands=[scalar], result_types=[out])

    def verify_(self) -> None:
        if self.scalar.type != scalar_of(tile_type(self.out).element):
            raise VerifyException(f"{self.scalar.type} does not fill {self.out.type}")


@irdl_op_definition
class OpenOp(IRDLOperation):
    """
    A tile of which its user takes the extent that it needs, from the beginning of each axis;
    the rest is not looked at. Its value has at least that extent.

        %p = tile.open %x : !tile.tile<[BM, BN], f32> -> !tile.tile<[BM, BN], f32>
    """

    name = "tile.open"
    x = operand_def(TileType)
    out = result_def(TileType)
    traits = traits_def(Pure())
    assembly_format = "$x attr-dict `:` type($x) `->` type($out)"

    def __init__(self, x: Value):
        super().__init__(operands=[x], result_types=[SSAValue.get(x).type])

    def verify_(self) -> None:
        if self.x.type != self.out.type:
            raise VerifyException(f"{self.x.type} is opened as {self.out.type}")


@irdl_op_definition
class MapOp(IRDLOperation):
    """
    An elementwise computation in scalar arith and math operations. `dims` lists, for each
    input, the result's axes that it covers (it repeats over the others); an input may be a
    scalar, which covers none. Several results have one shape.

        %y = tile.map %a, %m dims [[0, 1], [0]] : (...) -> !tile.tile<[BM, BN], f32> {
        ^bb0(%x: f32, %w: f32):
          %s = arith.subf %x, %w : f32
          tile.yield %s : f32
        }
    """

    name = "tile.map"
    inputs = var_operand_def()
    dims = prop_def(ArrayAttr[DenseArrayBase])
    outs = var_result_def(TileType)
    body = region_def("single_block")
    traits = traits_def(Pure())
    custom_directives = (DimLists,)
    assembly_format = "$inputs `dims` custom<DimLists>($dims) attr-dict `:` functional-type(operands, results) $body"

    def __init__(
        self,
        inputs: Sequence[Value],
        dims: Sequence[Sequence[int]],
        result_types: Sequence[TileType],
        body: Region,
    ):
        super().__init__(
            operands=[list(inputs)],
            properties={"dims": ArrayAttr([ints(d) for d in dims])},
            result_types=[list(result_types)],
            regions=[body],
        )

    @property
    def dim_lists(self) -> tuple[tuple[int, ...], ...]:
        return tuple(ints_of(d) for d in self.dims.data)

    def verify_(self) -> None:
        if len(self.dims.data) != len(self.inputs):
            raise VerifyException("wants a dims list for each input")
        if not self.outs:
            raise VerifyException("a map has a result")
        shape = tile_type(self.outs[0]).shape
        if any(tile_type(out).shape != shape for out in self.outs):
            raise VerifyException("the results' shapes differ")
        arguments = self.body.block.args
        if len(arguments) != len(self.inputs):
            raise VerifyException("wants a region argument for each input")
        for value, dims, argument in zip(self.inputs, self.dim_lists, arguments, strict=True):
            check_covers(value, dims, shape)
            element = value.type.element if isinstance(value.type, TileType) else value.type
            if argument.type != scalar_of(element):
                raise VerifyException(f"a region argument is {argument.type} for {value.type}")
        given = [value.type for value in yielded(self.body)]
        if given != [scalar_of(tile_type(out).element) for out in self.outs]:
            raise VerifyException("the region gives a scalar for each result, of its element")
        for op in self.body.block.ops:
            if isinstance(op, CoordOp) and not 0 <= op.axis.value.data < len(shape):
                raise VerifyException(f"{op.axis.value.data} is not an axis of the results")


@irdl_op_definition
class CoordOp(IRDLOperation):
    """Inside a map: the element's position in the tile along an axis: `tile.coord 1`."""

    name = "tile.coord"
    axis = prop_def(IntegerAttr.constr(i64))
    out = result_def(IndexType)
    traits = traits_def(Pure())
    assembly_format = "$axis attr-dict"

    def __init__(self, axis: int):
        super().__init__(properties={"axis": IntegerAttr(axis, i64)}, result_types=[INDEX])


class ReduceKind(StrEnum):
    """What a reduction computes."""

    add = auto()
    mul = auto()
    max = auto()
    min = auto()


@irdl_attr_definition
class ReduceKindAttr(EnumAttribute[ReduceKind], SpacedOpaqueSyntaxAttribute):
    """Kind of a `tile.reduce`."""

    name = "tile.reduce_kind"


@irdl_op_definition
class ReduceOp(IRDLOperation):
    """
    Reduction over axes of a tile, over its extent, in any order. max and min carry NaN; of
    an unsigned or bool element they compare unsigned. Nothing gives the neutral element.

        %m = tile.reduce max %x axes [1] : !tile.tile<[BM, BN], f32> -> !tile.tile<[BM], f32>
    """

    name = "tile.reduce"
    kind = prop_def(ReduceKindAttr)
    x = operand_def(TileType)
    axes = prop_def(IntsConstraint)
    out = result_def(TileType)
    traits = traits_def(Pure())
    assembly_format = "$kind $x `axes` $axes attr-dict `:` type($x) `->` type($out)"

    def __init__(self, kind: str, x: Value, axes: Sequence[int]):
        tile = tile_type(SSAValue.get(x))
        shape = [d for i, d in enumerate(tile.shape) if i not in axes]
        super().__init__(
            operands=[x],
            properties={"kind": ReduceKindAttr(ReduceKind(kind)), "axes": ints(axes)},
            result_types=[TileType.of(shape, tile.element)],
        )

    @property
    def axis_list(self) -> tuple[int, ...]:
        return ints_of(self.axes)

    def verify_(self) -> None:
        tile = tile_type(self.x)
        shape = tuple(d for i, d in enumerate(tile.shape) if i not in self.axis_list)
        if any(not 0 <= axis < tile.rank for axis in self.axis_list):
            raise VerifyException(f"axes {list(self.axis_list)} are not axes of {tile}")
        if tile_type(self.out) != TileType.of(shape, tile.element):
            raise VerifyException(f"{tile} does not reduce to {self.out.type}")


@irdl_op_definition
class ScanOp(IRDLOperation):
    """
    Running combination along one axis of a tile: each element of the result combines the
    elements up to its own, in any association; exclusive leaves its own out, so that the
    first is the neutral element. Reverse runs from the end of the extent. Kinds are those
    of `reduce`.

        %s = tile.scan add %x axis 0 exclusive : !tile.tile<[BC], f32> -> !tile.tile<[BC], f32>
    """

    name = "tile.scan"
    kind = prop_def(ReduceKindAttr)
    x = operand_def(TileType)
    axis = prop_def(IntegerAttr.constr(i64))
    exclusive = opt_prop_def(UnitAttr)
    reverse = opt_prop_def(UnitAttr)
    out = result_def(TileType)
    traits = traits_def(Pure())
    assembly_format = (
        "$kind $x `axis` $axis (`exclusive` $exclusive^)? (`reverse` $reverse^)? attr-dict "
        "`:` type($x) `->` type($out)"
    )

    def __init__(
        self,
        kind: str,
        x: Value,
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
            result_types=[SSAValue.get(x).type],
        )

    @property
    def along(self) -> int:
        """The axis, as a number."""
        return self.axis.value.data

    def verify_(self) -> None:
        tile = tile_type(self.x)
        if not 0 <= self.along < tile.rank:
            raise VerifyException(f"{self.along} is not an axis of {tile}")
        if self.out.type != tile:
            raise VerifyException(f"a scan of {tile} does not give {self.out.type}")


@irdl_op_definition
class DotOp(IRDLOperation):
    """
    acc + lhs x rhs: `[.., k] x [k, n]`, or `[.., k] x [n, k]` when transposed; leading axes
    of `lhs` stay. Products are computed in the accumulator's element type.

        %d = tile.dot %a, %b, %c : A, B -> !tile.tile<[BM, BN], f32>
    """

    name = "tile.dot"
    lhs = operand_def(TileType)
    rhs = operand_def(TileType)
    acc = operand_def(TileType)
    transposed = opt_prop_def(DimsAttr)
    out = result_def(TileType)
    traits = traits_def(Pure())
    assembly_format = (
        "$lhs `,` $rhs `,` $acc (`transposed` $transposed^)? attr-dict "
        "`:` type($lhs) `,` type($rhs) `,` type($acc) `->` type($out)"
    )

    def __init__(self, lhs: Value, rhs: Value, acc: Value, *, transposed: bool = False):
        super().__init__(
            operands=[lhs, rhs, acc],
            properties={"transposed": DimsAttr.of([]) if transposed else None},
            result_types=[SSAValue.get(acc).type],
        )

    def verify_(self) -> None:
        lhs, rhs, acc = tile_type(self.lhs), tile_type(self.rhs), tile_type(self.acc)
        if rhs.rank != 2 or lhs.rank < 1:
            raise VerifyException(f"{lhs} and {rhs} do not multiply")
        k, n = rhs.shape if self.transposed is None else reversed(rhs.shape)
        if lhs.shape[-1] is not k:
            raise VerifyException(f"contracted sizes differ: {lhs} and {rhs}")
        if acc.shape != (*lhs.shape[:-1], n) or self.out.type != acc:
            raise VerifyException(f"{lhs} and {rhs} do not accumulate in {acc}")


VALUE_OPS = (FullOp, OpenOp, MapOp, CoordOp, ReduceOp, ScanOp, DotOp)
VALUE_ATTRIBUTES = (ReduceKindAttr,)
