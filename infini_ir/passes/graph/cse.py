"""One operation for equal computations."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation
from xdsl.passes import ModulePass
from xdsl.traits import Commutative

from infini_ir.dialects.graph import ConstantOp
from infini_ir.passes.graph.rules import is_pure


@dataclass(frozen=True)
class GraphCsePass(ModulePass):
    """
    Replace an operation by an earlier one of the same kind, operands, attributes and types.

    Operations in regions may be replaced by outer ones. Weights of one handle become one.
    """

    name = "graph-cse"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        eliminate_common_subexpressions(op)


def eliminate_common_subexpressions(root: Operation) -> bool:
    """Make equal operations inside `root` one; returns whether there were any."""
    changed = False
    for region in root.regions:
        for block in region.blocks:
            changed |= _visit(block, {})
    return changed


def _visit(block: Block, outer: dict[Hashable, Operation]) -> bool:
    known = dict(outer)
    changed = False
    for op in list(block.ops):
        if op.regions:
            isolated = is_pure(op)
            for region in op.regions:
                for inner in region.blocks:
                    changed |= _visit(inner, {} if isolated else known)
            continue
        if not op.results or not is_pure(op):
            continue
        earlier = known.setdefault(_key(op), op)
        if earlier is not op:
            for old, new in zip(op.results, earlier.results, strict=True):
                old.replace_all_uses_with(new)
            op.detach()
            op.erase()
            changed = True
    return changed


def _key(op: Operation) -> Hashable:
    operands = [id(operand) for operand in op.operands]
    if len(operands) == 2 and op.get_trait(Commutative) is not None:
        operands.sort()
    if isinstance(op, ConstantOp):
        # 0.0 and -0.0 are equal in Python, and so are 1 and true; NaN is not itself.
        return ConstantOp, repr(op.value.data), op.out.type
    properties = tuple(sorted(op.properties.items(), key=lambda item: item[0]))
    return type(op), tuple(operands), properties, tuple(op.result_types)
