"""Local simplification of graphs to a fixed point."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from infini_ir.passes.graph.rules import apply_rules, merged
from infini_ir.passes.graph.simplify_contraction import CONTRACTION_RULES
from infini_ir.passes.graph.simplify_elementwise import ELEMENTWISE_RULES
from infini_ir.passes.graph.simplify_shape import SHAPE_RULES

SIMPLIFY_RULES = merged(ELEMENTWISE_RULES, SHAPE_RULES, CONTRACTION_RULES)


@dataclass(frozen=True)
class GraphSimplifyPass(ModulePass):
    """Apply the rules of all families until none matches, removing what becomes unused."""

    name = "graph-simplify"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        apply_rules(op, SIMPLIFY_RULES)
