"""Recognition of composites that a model spells out in primitives."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from infini_ir.passes.graph.recognize.attention import ATTENTION_RULES
from infini_ir.passes.graph.recognize.gelu import GELU_RULES
from infini_ir.passes.graph.recognize.layer_norm import LAYER_NORM_RULES
from infini_ir.passes.graph.recognize.rms_norm import RMS_NORM_RULES
from infini_ir.passes.graph.recognize.rope import ROPE_RULES
from infini_ir.passes.graph.recognize.softmax import SOFTMAX_RULES
from infini_ir.passes.graph.rules import apply_rules, merged

COMPOSITE_RULES = merged(
    LAYER_NORM_RULES,
    RMS_NORM_RULES,
    GELU_RULES,
    SOFTMAX_RULES,
    ROPE_RULES,
    ATTENTION_RULES,
)


@dataclass(frozen=True)
class GraphRecognizeCompositesPass(ModulePass):
    """
    Replace primitives that spell out a composite by it: normalisations, GELU, softmax, rotary
    embedding and attention.

    Wants a simplified graph without equal computations (`graph-simplify`, `graph-cse`), and
    channels where the model put them (before `graph-layout`).
    """

    name = "graph-recognize-composites"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        apply_rules(op, COMPOSITE_RULES)
