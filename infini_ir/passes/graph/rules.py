"""A worklist driver for small rewrite rules, indexed by operation class.

A rule looks at one operation and returns the value that replaces its first result (or a
sequence, one for each result), having built what it needs with the given builder, or None.
Rules never change an operation in place, so a matched operation is always whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from xdsl.dialects.builtin import LocationAttr
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import InsertPoint
from xdsl.traits import Pure

from infini_ir.dialects.graph.builder import GraphBuilder, OpT
from infini_ir.dialects.graph.control import FusionOp
from infini_ir.utils.rewriting import operations_inside

Replacement = SSAValue | Sequence[SSAValue] | None
Rule = Callable[..., Replacement]
"""`rule(op, builder)`; the operation's class is that under which the rule is listed."""
RuleTable = Mapping[type[Any], Sequence[Rule]]
"""The rules of each operation class, in the order in which they are tried."""


@cache
def _has_pure_trait(kind: type[Operation]) -> bool:
    return kind.get_trait(Pure) is not None


def is_pure(op: Operation) -> bool:
    """Whether the operation may be removed where nothing uses its results."""
    return _has_pure_trait(type(op))


def is_unused(op: Operation) -> bool:
    return all(result.first_use is None for result in op.results)


def merged(*tables: RuleTable) -> RuleTable:
    """One table with the rules of all, in order."""
    result: dict[type[Operation], list[Rule]] = {}
    for table in tables:
        for kind, rules in table.items():
            result.setdefault(kind, []).extend(rules)
    return result


def for_each(kinds: Iterable[type[Operation]], *rules: Rule) -> RuleTable:
    """A table with the same rules for several operation classes."""
    return dict.fromkeys(kinds, rules)


class RuleBuilder(GraphBuilder):
    """A builder that inserts before an operation and remembers what it inserted."""

    def __init__(self, before: Operation, location: LocationAttr | None = None) -> None:
        super().__init__(InsertPoint.before(before), location or before.location)
        self.created: list[Operation] = []
        """What was inserted since the list was last emptied."""

    def insert(self, op: OpT) -> OpT:
        self.created.append(op)
        return super().insert(op)


class RuleDriver:
    """Applies a rule table until nothing changes; visits only what a change may concern."""

    def __init__(self, table: RuleTable) -> None:
        self.table = table
        self.worklist: list[Operation] = []
        self.queued: set[Operation] = set()
        self.changed = False

    def push(self, ops: Iterable[Operation]) -> None:
        for op in ops:
            if op not in self.queued:
                self.queued.add(op)
                self.worklist.append(op)

    def run(self, root: Operation) -> bool:
        """Rewrite everything inside `root`; returns whether anything changed."""
        self.push(reversed(operations_inside(root)))
        while self.worklist:
            op = self.worklist.pop()
            self.queued.discard(op)
            if op.parent is None:
                continue
            if is_pure(op) and op.results and is_unused(op):
                self.erase(op)
            else:
                self.visit(op)
        return self.changed

    def visit(self, op: Operation) -> None:
        rules = self.table.get(type(op))
        if not rules:
            return
        builder = RuleBuilder(op)
        for rule in rules:
            replacement = rule(op, builder)
            if replacement is not None:
                self.replace(op, replacement, builder.created)
                return
            while builder.created:
                created = builder.created.pop()
                created.detach()
                created.erase()

    def replace(
        self, op: Operation, replacement: Replacement, created: Iterable[Operation]
    ) -> None:
        assert replacement is not None
        values = (replacement,) if isinstance(replacement, SSAValue) else replacement
        self.changed = True
        for old, new in zip(op.results, values, strict=True):
            assert old.type == new.type, f"{op.name}: {old.type} replaced by {new.type}"
            self.push(use.operation for use in old.uses)
            if new.name_hint is None:
                new.name_hint = old.name_hint
            old.replace_all_uses_with(new)
            # A user's new operand may have other users that look at its use count.
            self.push(use.operation for use in new.uses)
        self.push(created)
        self.erase(op)

    def erase(self, op: Operation) -> None:
        self.changed = True
        owners = [v.owner for v in op.operands if isinstance(v.owner, Operation)]
        op.detach()
        op.erase()
        self.push(owners)
        # With one use less, the remaining users may match now.
        for owner in owners:
            for result in owner.results:
                user = result.get_user_of_unique_use()
                if user is not None:
                    self.push((user,))


def apply_rules(root: Operation, table: RuleTable) -> bool:
    """Apply the rules everywhere inside `root` to a fixed point."""
    return RuleDriver(table).run(root)


def inside_fusion(op: Operation) -> bool:
    return isinstance(op.parent_op(), FusionOp)
