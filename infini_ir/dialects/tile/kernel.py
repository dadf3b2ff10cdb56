"""Kernels: a grid of programs over tiles, and the loops and sizes inside one."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO

from xdsl.dialects.builtin import DictionaryAttr, IndexType, StringAttr, SymbolNameConstraint
from xdsl.ir import Block, BlockArgument, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
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
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import IsolatedFromAbove, NoTerminator, Pure, SymbolOpInterface
from xdsl.utils.exceptions import VerifyException

from infini_ir.dialects.dims import DimsAttr, parse_dim
from infini_ir.dialects.tile.accesses import ScatterOp, StoreOp
from infini_ir.dialects.tile.base import INDEX, Value, YieldOp, yielded
from infini_ir.dialects.tile.types import TileType, ViewType
from infini_ir.utils.symbolic import Dim


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

    def anonymous_text(self) -> str:
        """The text of a kernel but for its name and what it was made from."""
        name, origin = self.sym_name, self.origin
        self.sym_name, self.origin = StringAttr("k"), None
        out = StringIO()
        Printer(stream=out).print_op(self)
        self.sym_name, self.origin = name, origin
        return out.getvalue()

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


KERNEL_OPS = (KernelOp, YieldOp, ForOp, SizeOp)
