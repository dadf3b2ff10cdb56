"""Values between kernels in bf16: the pass `graph-store-bf16`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.passes import ModulePass

from infini_ir.dialects.context import weights_of
from infini_ir.passes.graph.dce import eliminate_dead_code
from infini_ir.passes.graph.store_bf16.demands import Demands
from infini_ir.passes.graph.store_bf16.forms import alone_in_fusions
from infini_ir.passes.graph.store_bf16.range import beyond_range
from infini_ir.passes.graph.store_bf16.rewriting import Rewriting


@dataclass(frozen=True)
class GraphStoreBf16Pass(ModulePass):
    """
    Store f32 values that one kernel makes and another reads as bf16, and give products bf16
    operands, which they accumulate in f32. All else inside a kernel is computed in f32.

    Inputs and outputs of functions keep their types. In f32 stay as well: parameters that are
    no factors of products (biases, normalisation), masks and other values beyond the range of
    bf16, what is computed from integers (positions), what becomes integers (indices), values
    of few elements, and operands of operations that order or accumulate along an axis.

    Wants a fused graph. Casts of weights are left to `graph-fold-constants`.
    """

    name = "graph-store-bf16"
    ROUNDING: ClassVar[float] = 0.05
    """By how much outputs may change, as a share of their largest element."""

    min_elements: int = 1024
    """Values of fewer elements, as far as that is known, are not worth the rounding unless a
    product reads them."""
    min_depth: int = 8
    """Products that contract fewer elements stay in f32."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        weights = weights_of(ctx)
        for function in op.body.block.ops:
            if isinstance(function, FuncOp) and function.body.blocks:
                alone_in_fusions(function)
                beyond = beyond_range(function.walk(), weights)
                demands = Demands(self.min_elements, self.min_depth, beyond)
                demands.walk(function.body.block)
                Rewriting(demands).run(function.body.block)
        eliminate_dead_code(op)
