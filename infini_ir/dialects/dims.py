"""The shape attribute that the graph and tile dialects share: a list of symbolic sizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xdsl.ir import Data
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer

from infini_ir.utils.symbolic import FUNCTIONS, Dim, build_call


def parse_dim(parser: AttrParser) -> Dim:
    """Read one size expression, as `infini_ir.utils.symbolic` writes it."""
    if parser.parse_optional_punctuation("-"):
        total = -_parse_product(parser)
    else:
        total = _parse_product(parser)
    while True:
        if parser.parse_optional_punctuation("+"):
            total = total + _parse_product(parser)
        elif parser.parse_optional_punctuation("-"):
            total = total - _parse_product(parser)
        else:
            return total


def _parse_product(parser: AttrParser) -> Dim:
    result = _parse_factor(parser)
    while parser.parse_optional_punctuation("*"):
        result = result * _parse_factor(parser)
    return result


def _parse_factor(parser: AttrParser) -> Dim:
    if parser.parse_optional_punctuation("("):
        inner = parse_dim(parser)
        parser.parse_punctuation(")")
        return inner
    number = parser.parse_optional_integer(allow_boolean=False, allow_negative=False)
    if number is not None:
        return Dim.of(number)
    name = parser.parse_identifier("a size: an integer, a symbol or a function of sizes")
    if name not in FUNCTIONS:
        return Dim.symbol(name)
    parser.parse_punctuation("(")
    left = parse_dim(parser)
    parser.parse_punctuation(",")
    right = parse_dim(parser)
    parser.parse_punctuation(")")
    return build_call(name, left, right)


def parse_dim_list(parser: AttrParser) -> tuple[Dim, ...]:
    """Read `[d, d, ...]`."""
    return tuple(
        parser.parse_comma_separated_list(
            AttrParser.Delimiter.SQUARE, lambda: parse_dim(parser), " in a list of sizes"
        )
    )


def dim_list_text(dims: Sequence[Dim]) -> str:
    """Write `[d, d, ...]`."""
    return "[" + ", ".join(map(str, dims)) + "]"


@irdl_attr_definition
class DimsAttr(Data[tuple[Dim, ...]]):
    """A list of sizes: `#graph.dims<[B, P + S, 64]>`."""

    name = "graph.dims"

    @staticmethod
    def of(dims: Iterable[int | str | Dim]) -> DimsAttr:
        return DimsAttr(tuple(Dim.of(dim) for dim in dims))

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> tuple[Dim, ...]:
        with parser.in_angle_brackets():
            return parse_dim_list(parser)

    def print_parameter(self, printer: Printer) -> None:
        printer.print_string(f"<{dim_list_text(self.data)}>")


RELATIONS = ("eq", "le", "ge")


@irdl_attr_definition
class FactsAttr(Data[tuple[tuple[Dim, str, Dim], ...]]):
    """
    What is known of symbols, and checked when a program is entered:
    `#graph.facts<P + S le 4096, N eq M>`.
    """

    name = "graph.facts"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> tuple[tuple[Dim, str, Dim], ...]:
        def parse_fact() -> tuple[Dim, str, Dim]:
            left = parse_dim(parser)
            return left, _parse_relation(parser), parse_dim(parser)

        return tuple(
            parser.parse_comma_separated_list(
                AttrParser.Delimiter.ANGLE, parse_fact, " in facts"
            )
        )

    def print_parameter(self, printer: Printer) -> None:
        facts = ", ".join(f"{left} {relation} {right}" for left, relation, right in self.data)
        printer.print_string(f"<{facts}>")


def _parse_relation(parser: AttrParser) -> str:
    for relation in RELATIONS:
        if parser.parse_optional_keyword(relation):
            return relation
    parser.raise_error("expected one of 'eq', 'le', 'ge'")
