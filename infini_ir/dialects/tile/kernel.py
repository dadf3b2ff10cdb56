"""Kernels: a grid of programs over tiles, and the operations inside one."""

from __future__ import annotations

from collections.abc import Sequence
from enum import auto
from typing import TYPE_CHECKING, cast

from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    DictionaryAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
    StringAttr,
    SymbolNameConstraint,
    UnitAttr,
    i64,
)
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import (
    Attribute,
    Block,
    BlockArgument,
    Operation,
    Region,
    SpacedOpaqueSyntaxAttribute,
    SSAValue,
)
from xdsl.irdl import (
    AnyAttr,
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
from xdsl.irdl.declarative_assembly_format import (
    AttributeVariable,
    CustomDirective,
    irdl_custom_directive,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import IsolatedFromAbove, IsTerminator, NoTerminator, Pure, SymbolOpInterface
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.str_enum import StrEnum

from infini_ir.dialects.dims import DimsAttr, parse_dim
from infini_ir.dialects.graph.base import ints, ints_of
from infini_ir.dialects.tile.types import (
    TileType,
    ViewType,
    scalar_of,
    tile_type,
    view_type,
)
from infini_ir.utils.symbolic import Dim

if TYPE_CHECKING:
    from xdsl.irdl.declarative_assembly_format import ParsingState, PrintingState

Value = SSAValue | Operation
INDEX = IndexType()
IntsConstraint = DenseArrayBase.constr(i64)


@irdl_custom_directive
class DimLists(CustomDirective):
    """The axes that each operand covers, as text: `[[0, 1], [0], []]`."""

    dims: AttributeVariable

    def parse(self, parser: Parser, state: ParsingState) -> None:
        def parse_list() -> DenseArrayBase:
            return ints(
                parser.parse_comma_separated_list(
                    Parser.Delimiter.SQUARE, lambda: parser.parse_integer(allow_boolean=False)
                )
            )

        lists = parser.parse_comma_separated_list(Parser.Delimiter.SQUARE, parse_list)
        self.dims.set(state, ArrayAttr(lists))

    def print(self, printer: Printer, state: PrintingState, op: IRDLOperation) -> None:
        state.print_whitespace(printer)
        lists = cast("ArrayAttr[DenseArrayBase]", self.dims.get(op))
        printer.print_string(str([list(ints_of(dims)) for dims in lists]))


@irdl_op_definition
class KernelOp(IRDLOperation):
    """
    A kernel: a grid of programs. Block arguments: the views, then one offset (an index, in
    elements, a multiple of the step) for each grid axis.

        tile.kernel @scale(%x: !tile.view<[N], f32>, %y: !tile.view<[N], f32>) grid(%i : N by 4096) { ... }

    `plan` holds what a target decided; `origin` says what it was made from and why.
    """

    name = "tile.kernel"
    sym_name = prop_def(SymbolNameConstraint())
    bounds = prop_def(DimsAttr)
    steps = prop_def(DimsAttr)
    plan = opt_prop_def(DictionaryAttr)
    origin = opt_prop_def(StringAttr)
    body = region_def("single_block")
    traits = traits_def(IsolatedFromAbove(), NoTerminator(), SymbolOpInterface())

    def __init__(
        self,
        name: str,
        view_types: Sequence[ViewType],
        bounds: Sequence[int | str | Dim],
        steps: Sequence[int | str | Dim],
        origin: str = "",
    ):
        block = Block(arg_types=[*view_types, *[INDEX] * len(bounds)])
        super().__init__(
            properties={
                "sym_name": StringAttr(name),
                "bounds": DimsAttr.of(bounds),
                "steps": DimsAttr.of(steps),
                "origin": StringAttr(origin) if origin else None,
            },
            regions=[Region(block)],
        )

    @property
    def views(self) -> tuple[BlockArgument, ...]:
        return tuple(self.body.block.args[: len(self.body.block.args) - self.grid_rank])

    @property
    def offsets(self) -> tuple[BlockArgument, ...]:
        return tuple(self.body.block.args[len(self.body.block.args) - self.grid_rank :])

    @property
    def grid_rank(self) -> int:
        return len(self.bounds.data)

    def written(self) -> frozenset[int]:
        """Positions of the views that the kernel writes."""
        views: list[SSAValue] = list(self.views)
        return frozenset(
            views.index(op.view)
            for op in self.body.walk()
            if isinstance(op, StoreOp | ScatterOp) and op.view in views
        )

    def verify_(self) -> None:
        if len(self.bounds.data) != len(self.steps.data):
            raise VerifyException("wants a step for each grid axis")
        for value in self.views:
            if not isinstance(value.type, ViewType):
                raise VerifyException(f"kernel operands are views, not {value.type}")
        for value in self.offsets:
            if value.type != INDEX:
                raise VerifyException(f"grid offsets are indices, not {value.type}")

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_symbol_name(self.sym_name.data)
        with printer.in_parens():
            printer.print_list(self.views, printer.print_block_argument)
        printer.print_string(" grid(")
        axes = list(zip(self.offsets, self.bounds.data, self.steps.data, strict=True))

        def print_axis(axis: tuple[SSAValue, Dim, Dim]) -> None:
            printer.print_ssa_value(axis[0])
            printer.print_string(f" : {axis[1]} by {axis[2]}")

        printer.print_list(axes, print_axis)
        printer.print_string(")")
        if self.origin is not None:
            printer.print_string(" from ")
            printer.print_attribute(self.origin)
        if self.plan is not None:
            printer.print_string(" plan ")
            printer.print_attribute(self.plan)
        printer.print_string(" ")
        printer.print_region(self.body, print_entry_block_args=False)

    @classmethod
    def parse(cls, parser: Parser) -> KernelOp:
        name = parser.parse_symbol_name()
        views = parser.parse_comma_separated_list(
            Parser.Delimiter.PAREN, lambda: parser.parse_argument(expect_type=True)
        )
        parser.parse_keyword("grid")
        bounds: list[Dim] = []
        steps: list[Dim] = []

        def parse_axis() -> Parser.Argument:
            argument = parser.parse_argument(expect_type=False)
            parser.parse_punctuation(":")
            bounds.append(parse_dim(parser))
            parser.parse_keyword("by")
            steps.append(parse_dim(parser))
            return Parser.Argument(argument.name, INDEX)

        axes = parser.parse_comma_separated_list(Parser.Delimiter.PAREN, parse_axis)
        origin = plan = None
        if parser.parse_optional_keyword("from"):
            origin = StringAttr(parser.parse_str_literal())
        if parser.parse_optional_keyword("plan"):
            plan = parser.parse_attribute()
        region = parser.parse_region([*views, *axes])
        return cls.create(
            properties={
                "sym_name": name,
                "bounds": DimsAttr(tuple(bounds)),
                "steps": DimsAttr(tuple(steps)),
                **({"origin": origin} if origin else {}),
                **({"plan": plan} if plan else {}),
            },
            regions=[region],
        )


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
        _check_covers(value, axes, tile.shape)


def _check_covers(value: SSAValue, dims: tuple[int, ...], shape: Sequence[Dim]) -> None:
    """A tile's capacity is that of the axes it covers; a scalar covers none."""
    if not isinstance(value.type, TileType):
        if dims:
            raise VerifyException(f"scalar {value.type} covers no axis")
        return
    in_rank = all(0 <= axis < len(shape) for axis in dims) and len(set(dims)) == len(dims)
    if not in_rank or value.type.shape != tuple(shape[axis] for axis in dims):
        raise VerifyException(f"capacity of {value.type} does not match axes {list(dims)}")


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
class YieldOp(IRDLOperation):
    """The values a region gives: scalars of a map, carried tiles of a for."""

    name = "tile.yield"
    values = var_operand_def()
    traits = traits_def(IsTerminator(), Pure())
    assembly_format = "attr-dict ($values^ `:` type($values))?"

    def __init__(self, values: Sequence[Value]):
        super().__init__(operands=[list(values)])


def yielded(region: Region) -> tuple[SSAValue, ...]:
    """The values that a region's terminator gives."""
    last = region.block.last_op
    if not isinstance(last, YieldOp):
        raise VerifyException("the region must end with tile.yield")
    return tuple(last.values)


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
            _check_covers(value, dims, shape)
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


@irdl_op_definition
class ForOp(IRDLOperation):
    """
    A loop inside a program, from 0 to an index by a step, tiles carried. The region takes
    the position and the carried tiles.

        %r = tile.for %n by <[BK]> carry(%z : A) -> (A) { ^bb0(%k: index, %c: A): ... tile.yield %d : A }
    """

    name = "tile.for"
    to = operand_def(IndexType)
    step = prop_def(DimsAttr)
    carried = var_operand_def(TileType)
    outs = var_result_def(TileType)
    body = region_def("single_block")
    assembly_format = (
        "$to `by` $step `carry` `(` ($carried^ `:` type($carried))? `)` attr-dict "
        "`->` `(` (type($outs)^)? `)` $body"
    )

    def __init__(
        self, to: Value, step: int | str | Dim, carried: Sequence[Value], body: Region
    ):
        super().__init__(
            operands=[to, list(carried)],
            properties={"step": DimsAttr.of([step])},
            result_types=[[SSAValue.get(value).type for value in carried]],
            regions=[body],
        )

    @property
    def step_size(self) -> Dim:
        return self.step.data[0]

    def verify_(self) -> None:
        types = [value.type for value in self.carried]
        if [value.type for value in self.outs] != types:
            raise VerifyException("the results have the types of the carried tiles")
        if [a.type for a in self.body.block.args] != [INDEX, *types]:
            raise VerifyException("the region takes an index and the carried tiles")
        if [value.type for value in yielded(self.body)] != types:
            raise VerifyException("the region gives the next carried tiles")


@irdl_op_definition
class SizeOp(IRDLOperation):
    """A size as an index: `%n = tile.size <[P + S]>`."""

    name = "tile.size"
    size = prop_def(DimsAttr)
    out = result_def(IndexType)
    traits = traits_def(Pure())
    assembly_format = "$size attr-dict"

    def __init__(self, size: int | str | Dim):
        super().__init__(properties={"size": DimsAttr.of([size])}, result_types=[INDEX])

    @property
    def dim(self) -> Dim:
        return self.size.data[0]


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


KERNEL_OPS = (
    KernelOp, LoadOp, StoreOp, GatherOp, ScatterOp, FullOp, OpenOp, YieldOp, MapOp, CoordOp, ReduceOp,
    ScanOp, DotOp, ForOp, SizeOp, ReadOp,
)  # fmt: skip
KERNEL_ATTRIBUTES = (CombineAttr, ReduceKindAttr)
