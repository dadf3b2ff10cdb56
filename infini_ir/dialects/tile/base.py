"""What the operations inside kernels share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from xdsl.dialects.builtin import ArrayAttr, DenseArrayBase, IndexType
from xdsl.ir import Operation, Region, SSAValue
from xdsl.irdl import IRDLOperation, irdl_op_definition, traits_def, var_operand_def
from xdsl.irdl.declarative_assembly_format import (
    AttributeVariable,
    CustomDirective,
    irdl_custom_directive,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import IsTerminator, Pure
from xdsl.utils.exceptions import VerifyException

from infini_ir.dialects.graph.base import ints, ints_of
from infini_ir.dialects.tile.types import TileType
from infini_ir.utils.symbolic import Dim

if TYPE_CHECKING:
    from xdsl.irdl.declarative_assembly_format import ParsingState, PrintingState

Value = SSAValue | Operation
INDEX = IndexType()


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


def check_covers(value: SSAValue, dims: tuple[int, ...], shape: Sequence[Dim]) -> None:
    """A tile's capacity is that of the axes it covers; a scalar covers none."""
    if not isinstance(value.type, TileType):
        if dims:
            raise VerifyException(f"scalar {value.type} covers no axis")
        return
    in_rank = all(0 <= axis < len(shape) for axis in dims) and len(set(dims)) == len(dims)
    if not in_rank or value.type.shape != tuple(shape[axis] for axis in dims):
        raise VerifyException(f"capacity of {value.type} does not match axes {list(dims)}")
