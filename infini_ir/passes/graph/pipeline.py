"""The order of the graph passes, with what each wants of the graph it gets.

unify symbols         facts from the frontend; afterwards equal sizes are identical
quantized values      dequantize and quantize as the model has them
integer products      no weight folded to floats yet, convolutions with their channels first
cleanup               simplify, fold constants, merge equal and remove dead operations
recognise composites  a clean graph in the model's layout
causal bias           attention whole, its bias folded to numbers
fold batch norm       one factor and one summand after a convolution (cleanup leaves that)
layout                composites whole, weights that can still be transposed
quantized products    dequantize operations whole, their layouts decided
expand composites     those that the target does not implement; layouts decided before
winograd              layouts decided, filters are weights; fusion takes the mark along
fuse                  a clean graph; only lowering comes after
store in bf16         what crosses from kernel to kernel is known (precision bf16 only)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from infini_ir.dialects.context import weights_of
from infini_ir.passes.graph.causal_bias import GraphCausalBiasPass
from infini_ir.passes.graph.cse import eliminate_common_subexpressions
from infini_ir.passes.graph.dce import GraphDcePass, eliminate_dead_code
from infini_ir.passes.graph.expand_composites import DEFINITIONS, ExpandCompositesPass
from infini_ir.passes.graph.fold_batch_norm import GraphFoldBatchNormPass
from infini_ir.passes.graph.fold_constants import GraphFoldConstantsPass, fold_constants
from infini_ir.passes.graph.fuse import GraphFusePass
from infini_ir.passes.graph.integer_products import GraphIntegerProductsPass
from infini_ir.passes.graph.layout import GraphLayoutPass
from infini_ir.passes.graph.quantized_products import GraphQuantizedProductsPass
from infini_ir.passes.graph.quantized_values import GraphQuantizedValuesPass
from infini_ir.passes.graph.recognize import GraphRecognizeCompositesPass
from infini_ir.passes.graph.rules import apply_rules
from infini_ir.passes.graph.simplify import SIMPLIFY_RULES
from infini_ir.passes.graph.store_bf16 import GraphStoreBf16Pass
from infini_ir.passes.graph.unify_symbols import GraphUnifySymbolsPass
from infini_ir.passes.graph.winograd import GraphWinogradPass

QuantizedWeights = Literal["folded", "converted", "fused", "packed"]
"""Where 8-bit weights of products become floats: when compiling, which takes up to four
times the memory; by a kernel before each product; as the product's kernel loads them. With
"packed" also those of 4 bits, which the others fold."""

ALWAYS_KEPT = frozenset({"conv", "pool", "softmax", "layer_norm", "rms_norm"})
"""Composites that fusion and lowering know whole, whatever the target."""


_STORED: dict[str, tuple[ModulePass, ...]] = {
    "f32": (),
    "bf16": (GraphStoreBf16Pass(), GraphFoldConstantsPass(), GraphDcePass()),
}
"""The last passes by precision: weights are converted when compiling."""


@dataclass(frozen=True)
class GraphCleanupPass(ModulePass):
    """Simplify, fold, merge equal operations and remove dead ones, until nothing changes."""

    name = "graph-cleanup"

    max_rounds: int = 8
    """A guard only: graphs come to rest in two or three rounds."""
    keep_bytes: bool = False
    keep_nibbles: bool = False
    """As of `graph-fold-constants`."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        weights = weights_of(ctx)
        limits = GraphFoldConstantsPass(
            keep_bytes=self.keep_bytes, keep_nibbles=self.keep_nibbles
        )
        steps = (
            lambda: apply_rules(op, SIMPLIFY_RULES),
            lambda: fold_constants(op, weights, limits),
            lambda: eliminate_common_subexpressions(op),
            lambda: eliminate_dead_code(op),
        )
        # A step that has just run finds nothing more before another has changed something.
        at_rest = 0
        for step in self.max_rounds * steps:
            at_rest = 1 if step() else at_rest + 1
            if at_rest == len(steps):
                return


def graph_pipeline(
    target_composites: frozenset[str] = frozenset(),
    *,
    layout: str = "channels_last",
    quantized_weights: QuantizedWeights = "folded",
    precision: str = "f32",
    integer_products: bool = False,
    winograd: GraphWinogradPass | None = None,
) -> tuple[ModulePass, ...]:
    """
    The passes from an imported graph to one ready for lowering, in order.

    `target_composites` names what the target implements whole, such as `attention`; the
    others become primitives, but for those that every lowering knows (`ALWAYS_KEPT`).
    `quantized_weights` says where 8-bit weights of products become floats. With `precision`
    bf16, values that go from kernel to kernel and factors of products are in that type. With
    `integer_products` products whose operands both are 8-bit integers are computed of these.
    `winograd` chooses the convolutions in f32 that take fewer products.
    """
    known = {op.name.removeprefix("graph.") for op in DEFINITIONS}
    wanted = {name.removeprefix("graph.") for name in target_composites}
    bytes_kept = {"quantize", "dequantize"} if integer_products else set[str]()
    keep = tuple(sorted((wanted | ALWAYS_KEPT | bytes_kept) & known))
    integers = (GraphQuantizedValuesPass(), GraphIntegerProductsPass())
    keep_bytes = quantized_weights != "folded"
    packed = quantized_weights == "packed"
    cleanup = GraphCleanupPass(keep_bytes=keep_bytes, keep_nibbles=packed)
    return (
        GraphUnifySymbolsPass(),
        *(integers if integer_products else ()),
        cleanup,
        GraphRecognizeCompositesPass(),
        cleanup,
        GraphCausalBiasPass(),
        GraphFoldBatchNormPass(),
        GraphLayoutPass(layout),
        cleanup,
        *([GraphQuantizedProductsPass()] if keep_bytes else []),
        ExpandCompositesPass(keep=keep),
        cleanup,
        *([winograd] if winograd is not None and precision == "f32" else []),
        GraphFusePass(byte_factors=quantized_weights in ("fused", "packed")),
        *(_STORED[precision]),
    )
