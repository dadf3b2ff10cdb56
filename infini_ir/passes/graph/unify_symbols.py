"""One symbol for sizes that are known to be equal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass

from infini_ir.dialects.dims import FactsAttr
from infini_ir.dialects.graph import BindOp, DimOp
from infini_ir.passes.graph.symbols import SymbolReplacer, defined_symbols
from infini_ir.utils.symbolic import Dim

FACTS = "graph.where"
Fact = tuple[Dim, str, Dim]


@dataclass(frozen=True)
class GraphUnifySymbolsPass(ModulePass):
    """
    Replace symbols that a function's facts say are equal by one of them, or by the number
    they equal. A `bind` of a size that is already known becomes that size.

    Facts that the argument types then state by themselves go; all others stay, as checks.
    """

    name = "graph-unify-symbols"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for function in list(op.walk()):
            if isinstance(function, FuncOp):
                _unify(function)


def _unify(function: FuncOp) -> None:
    facts = function.attributes.get(FACTS)
    known = facts.data if isinstance(facts, FactsAttr) else ()
    classes = _Classes()
    inner = {name for op in function.walk() for name in defined_symbols(op)}
    checked: dict[str, Fact] = {}
    for left, relation, right in known:
        if relation != "eq":
            continue
        if not inner & (left.symbols() | right.symbols()):
            classes.join(left, right)
        elif left.name in inner and not inner & right.symbols():
            checked[left.name or ""] = (left, "eq", right)
        elif right.name in inner and not inner & left.symbols():
            checked[right.name or ""] = (right, "eq", left)
    bound = _bound_sizes(function)
    for bind in bound:
        assert isinstance(bind.value.owner, DimOp)
        classes.join(bind.value.owner.dim, Dim.symbol(bind.symbol.data))
    _check_at_binds(function, checked, classes)
    replacements = classes.replacements()
    if not replacements:
        return
    SymbolReplacer(replacements).run(function)
    for bind in function.walk():
        if isinstance(bind, BindOp) and bind.facts is not None:
            bind.facts = _renamed(bind, bind.facts, replacements)
    for bind in bound:
        if bind.facts is None and bind.symbol.data in replacements:
            bind.detach()
            bind.erase()
    if known:
        _set_facts(function, known, replacements)


def _bound_sizes(function: Operation) -> list[BindOp]:
    return [
        op
        for op in function.walk()
        if isinstance(op, BindOp) and isinstance(op.value.owner, DimOp)
    ]


def _check_at_binds(function: Operation, facts: dict[str, Fact], classes: _Classes) -> None:
    """Sizes bound inside that must equal one known on entry: replaced, checked at the bind."""
    for op in function.walk() if facts else ():
        if isinstance(op, BindOp) and op.symbol.data in facts:
            symbol, _, known = fact = facts[op.symbol.data]
            if isinstance(op.value.owner, DimOp):
                continue
            classes.join(known, symbol)
            others = op.facts.data if op.facts is not None else ()
            op.facts = FactsAttr((*others, fact))


def _renamed(bind: BindOp, facts: FactsAttr, replacements: dict[str, Dim]) -> FactsAttr | None:
    """What a bind checks, in terms of the symbols that are left. A symbol read from data keeps
    its name there: that it is another's is what may be checked."""
    if not isinstance(bind.value.owner, DimOp):
        own = bind.symbol.data
        replacements = {name: dim for name, dim in replacements.items() if name != own}
    rest = _open_facts(facts.data, replacements)
    return FactsAttr(rest) if rest else None


def _set_facts(function: FuncOp, known: Iterable[Fact], replacements: dict[str, Dim]) -> None:
    rest = _open_facts(known, replacements)
    if rest:
        function.attributes[FACTS] = FactsAttr(rest)
    else:
        function.attributes.pop(FACTS, None)


def _open_facts(known: Iterable[Fact], replacements: dict[str, Dim]) -> tuple[Fact, ...]:
    """Facts with symbols replaced, but for those that then hold by themselves."""
    rest: list[Fact] = []
    for left, relation, right in known:
        fact = left.substitute(replacements), relation, right.substitute(replacements)
        difference = fact[0] - fact[2] if relation == "ge" else fact[2] - fact[0]
        holds = difference.value == 0 if relation == "eq" else difference.is_nonnegative()
        if not holds and fact not in rest:
            rest.append(fact)
    return tuple(rest)


class _Classes:
    """Classes of equal symbols, each with the size that stands for it."""

    def __init__(self) -> None:
        self.parent: dict[str, Dim] = {}

    def find(self, dim: Dim) -> Dim:
        """The size with every symbol replaced by what stands for its class."""
        while True:
            known = {name: self.parent[name] for name in dim.symbols() if name in self.parent}
            if not known:
                return dim
            dim = dim.substitute(known)

    def join(self, left: Dim, right: Dim) -> None:
        left, right = self.find(left), self.find(right)
        if left is right:
            return
        # The later symbol goes: constants stay before symbols, symbols before expressions.
        for old, new in ((right, left), (left, right)):
            if old.name is not None and (new.is_constant or new.is_symbol):
                self.parent[old.name] = new
                return
        for old, new in ((left, right), (right, left)):
            if old.name is not None and old.name not in new.symbols():
                self.parent[old.name] = new
                return

    def replacements(self) -> dict[str, Dim]:
        return {name: self.find(Dim.symbol(name)) for name in self.parent}
