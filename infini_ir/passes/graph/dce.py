"""Removal of operations without effect."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass

from infini_ir.dialects.graph import BindOp, IfOp, NonzeroOp, ScanOp, WhileOp
from infini_ir.passes.graph.rules import is_pure, is_unused
from infini_ir.passes.graph.symbols import defined_symbols, mentioned_symbols

_REGION_OPS = (IfOp, WhileOp, ScanOp)
_DEFINERS = (BindOp, NonzeroOp)


@dataclass(frozen=True)
class GraphDcePass(ModulePass):
    """
    Remove operations whose results nothing uses.

    One that defines a symbol stays as long as a type or an attribute mentions it, and a bind
    that checks facts stays: others may rely on them.
    """

    name = "graph-dce"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        eliminate_dead_code(op)


def eliminate_dead_code(root: Operation) -> bool:
    """Remove what is unused inside `root`; returns whether anything went."""
    mentions: Counter[str] | None = None
    if any(defined_symbols(op) for op in root.walk()):
        mentions = Counter(name for op in root.walk() for name in mentioned_symbols(op))
    removed, again = False, True
    while again:
        again = False
        for op in list(root.walk(reverse=True, region_first=True)):
            if op is not root and _is_dead(op, mentions):
                _remove(op, mentions)
                # A symbol's definition comes before its uses, whatever the nesting.
                removed, again = True, again or mentions is not None
    return removed


def _is_dead(op: Operation, mentions: Counter[str] | None) -> bool:
    if op.parent is None or not is_unused(op):
        return False
    if is_pure(op):
        return bool(op.results)
    if isinstance(op, BindOp) and op.facts is not None:
        return False
    if isinstance(op, _REGION_OPS):
        nested = [inner for r in op.regions for b in r.blocks for inner in b.ops]
        if not all(_has_no_effect(inner) for inner in nested):
            return False
    elif not isinstance(op, _DEFINERS):
        return False
    own = mentioned_symbols(op)
    return mentions is None or all(
        mentions[name] <= (name in own) for name in defined_symbols(op)
    )


def _has_no_effect(op: Operation) -> bool:
    """Whether an operation inside a region that is not needed may go with it."""
    if isinstance(op, _REGION_OPS):
        return all(
            _has_no_effect(inner) for r in op.regions for b in r.blocks for inner in b.ops
        )
    return is_pure(op) or isinstance(op, _DEFINERS)


def _remove(op: Operation, mentions: Counter[str] | None) -> None:
    if mentions is not None:
        for inner in op.walk():
            mentions.subtract(mentioned_symbols(inner))
    op.detach()
    op.erase()
