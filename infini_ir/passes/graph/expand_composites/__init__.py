"""Composites as primitives: the definition of each, and the pass that inserts them.

A definition is a function of the operation and a builder that stands where the primitives
go; it returns the values that replace the results. In f16 and bf16 it computes in f32 and
rounds once at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from infini_ir.dialects import graph
from infini_ir.dialects.graph import GraphOp
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.passes.graph.expand_composites.attention import (
    define_attention,
    define_paged_attention,
)
from infini_ir.passes.graph.expand_composites.common import Definition
from infini_ir.passes.graph.expand_composites.convolving import define_conv, define_pool
from infini_ir.passes.graph.expand_composites.normalizing import (
    define_gelu,
    define_layer_norm,
    define_rms_norm,
    define_rope,
    define_softmax,
)
from infini_ir.passes.graph.expand_composites.quantizing import (
    define_dequantize,
    define_quantize,
    define_quantized_matmul,
    define_topk,
)
from infini_ir.utils.errors import OptionError

DEFINITIONS: dict[type[GraphOp], Definition] = {
    graph.SoftmaxOp: define_softmax,
    graph.LayerNormOp: define_layer_norm,
    graph.RmsNormOp: define_rms_norm,
    graph.GeluOp: define_gelu,
    graph.AttentionOp: define_attention,
    graph.PagedAttentionOp: define_paged_attention,
    graph.RopeOp: define_rope,
    graph.ConvOp: define_conv,
    graph.PoolOp: define_pool,
    graph.TopkOp: define_topk,
    graph.QuantizeOp: define_quantize,
    graph.DequantizeOp: define_dequantize,
    graph.QuantizedMatmulOp: define_quantized_matmul,
}
"""The definition of each composite operation."""


@dataclass(frozen=True)
class ExpandCompositesPass(ModulePass):
    """Replace composite operations by their definitions in primitives."""

    name = "graph-expand-composites"

    only: tuple[str, ...] = ()
    """Names of the composites to expand, such as `softmax`; none: all."""
    keep: tuple[str, ...] = ()
    """Names of composites to leave, for a target that implements them whole; but for
    quantization with blocks of scales, which no kernel has whole."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        expanded, kept = self._selected()
        for inner in list(op.walk()):
            if type(inner) in expanded or (type(inner) in kept and _has_blocks(inner)):
                expand(inner)

    def _selected(self) -> tuple[frozenset[type[Operation]], frozenset[type[Operation]]]:
        """The composites to expand, and those that are only left because `keep` says so."""
        known = {op.name.removeprefix("graph."): op for op in DEFINITIONS}
        only = {name.removeprefix("graph.") for name in self.only} or set(known)
        keep = {name.removeprefix("graph.") for name in self.keep}
        for name in (*only, *keep):
            if name not in known:
                raise OptionError(
                    f"graph-expand-composites: '{name}' is not a composite; they are "
                    f"{', '.join(sorted(known))}"
                )
        expanded = frozenset(known[name] for name in only - keep)
        return expanded, frozenset(known[name] for name in only & keep)


def _has_blocks(op: Operation) -> bool:
    """Whether scales are shared by blocks, which are repeated by more than one operation."""
    return isinstance(op, graph.QuantizeOp | graph.DequantizeOp) and op.block is not None


def expand(op: Operation) -> list[SSAValue]:
    """Replace one composite operation by its definition; returns the new results."""
    definition = DEFINITIONS[type(op)]  # pyright: ignore[reportArgumentType]
    results = definition(op, GraphBuilder(InsertPoint.before(op), op.location))
    for old, new in zip(op.results, results, strict=True):
        assert old.type == new.type, f"{op.name} gives {old.type}, its definition {new.type}"
        if new.name_hint is None:
            new.name_hint = old.name_hint
    Rewriter.replace_op(op, (), results)
    return results
