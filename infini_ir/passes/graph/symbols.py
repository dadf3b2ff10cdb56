"""Which operations mention which symbolic sizes, and replacing symbols everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from xdsl.dialects.builtin import ArrayAttr, FunctionType, StringAttr
from xdsl.ir import Attribute, Operation, SSAValue

from infini_ir.dialects.dims import DimsAttr, FactsAttr
from infini_ir.dialects.graph import BindOp, IfOp, NonzeroOp, ScanOp, TensorType
from infini_ir.utils.symbolic import Dim


def defined_symbols(op: Operation) -> tuple[str, ...]:
    """The symbols to which an operation gives their size."""
    if isinstance(op, (BindOp, NonzeroOp)):
        return (op.symbol.data,)
    if isinstance(op, ScanOp) and op.until is not None:
        return (op.until.data,)
    if isinstance(op, IfOp) and op.defines is not None:
        return tuple(name.data for name in op.defines if isinstance(name, StringAttr))
    return ()


@cache
def _symbols_of_type(tensor: TensorType) -> frozenset[str]:
    return frozenset().union(*(dim.symbols() for dim in tensor.shape))


def _dims_of(attribute: Attribute) -> Iterator[Dim]:
    if isinstance(attribute, DimsAttr):
        yield from attribute.data
    elif isinstance(attribute, FactsAttr):
        for left, _, right in attribute.data:
            yield left
            yield right


def mentioned_symbols(op: Operation) -> set[str]:
    """The symbols in an operation's own types and attributes, not those inside its regions."""
    names: set[str] = set()
    arguments: Iterable[SSAValue] = (a for r in op.regions for b in r.blocks for a in b.args)
    for value in (*op.results, *arguments):
        if isinstance(value.type, TensorType):
            names |= _symbols_of_type(value.type)
    for attribute in (*op.properties.values(), *op.attributes.values()):
        for dim in _dims_of(attribute):
            names |= dim.symbols()
    return names


class SymbolReplacer:
    """Replaces symbols by sizes in the types and attributes of operations."""

    def __init__(self, replacements: Mapping[str, Dim]) -> None:
        self.replacements = replacements
        self.known: dict[Attribute, Attribute] = {}

    def attribute(self, attribute: Attribute) -> Attribute:
        if attribute not in self.known:
            self.known[attribute] = self._replaced(attribute)
        return self.known[attribute]

    def _replaced(self, attribute: Attribute) -> Attribute:
        new = self.replacements
        if isinstance(attribute, TensorType):
            return attribute.with_shape([d.substitute(new) for d in attribute.shape])
        if isinstance(attribute, DimsAttr):
            return DimsAttr(tuple(d.substitute(new) for d in attribute.data))
        if isinstance(attribute, FactsAttr):
            return FactsAttr(
                tuple((a.substitute(new), r, c.substitute(new)) for a, r, c in attribute.data)
            )
        if isinstance(attribute, FunctionType):
            return FunctionType.from_lists(
                [self.attribute(t) for t in attribute.inputs],
                [self.attribute(t) for t in attribute.outputs],
            )
        if isinstance(attribute, ArrayAttr):
            return ArrayAttr([self.attribute(item) for item in attribute])
        return attribute

    def run(self, root: Operation) -> None:
        """Replace in everything inside `root`, but not in facts (the checks must stay)."""
        for op in root.walk():
            for values in (op.properties, op.attributes):
                for name, attribute in values.items():
                    if not isinstance(attribute, FactsAttr):
                        values[name] = self.attribute(attribute)
            arguments = [a for r in op.regions for b in r.blocks for a in b.args]
            for value in (*op.results, *arguments):
                value._type = self.attribute(value.type)  # pyright: ignore[reportPrivateUsage]
