"""Fusion: operations that become one kernel are put into `graph.fusion` operations."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation
from xdsl.passes import ModulePass

from infini_ir.dialects.context import CompilerContext
from infini_ir.dialects.graph import FusionOp
from infini_ir.passes.graph.byte_factors import is_step
from infini_ir.passes.graph.fuse.clusters import Cluster, Clusters
from infini_ir.passes.graph.fuse.outline import (
    Outliner,
    erase_members,
    erase_unused,
    sort_block,
)
from infini_ir.passes.graph.fuse.reasons import reason_for, saved_bytes, size_text
from infini_ir.passes.graph.rules import inside_fusion
from infini_ir.utils.rewriting import subject_of


@dataclass(frozen=True)
class GraphFusePass(ModulePass):
    """
    Put operations that become one kernel into `graph.fusion`, in every region.

    A cluster is pointwise (elementwise over one shape), rows (with reductions over one set of
    axes, softmax and normalisations) or anchored (one dot, conv or pool, then elementwise over
    its result). Repetitions, positions and scalar constants are copied into each. With
    `byte_factors` a dot has what makes floats of an 8-bit factor inside too.

    Wants a simplified graph; nothing but placement and lowering comes after.
    """

    name = "graph-fuse"

    max_ops: int = 64
    """Operations at most in one kernel; more only makes it spill its registers."""
    byte_factors: bool = False
    """Whether products compute their factors from bytes."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for function in op.walk():
            if isinstance(function, FuncOp) and function.body.blocks:
                for inner in list(function.walk()):
                    if isinstance(inner, FusionOp) or inside_fusion(inner):
                        continue
                    for region in inner.regions:
                        for block in region.blocks:
                            self._fuse(ctx, block)

    def _fuse(self, ctx: Context, block: Block) -> None:
        steps = frozenset(op for op in block.ops if self.byte_factors and is_step(op))
        clusters = Clusters(block, self.max_ops, steps)
        clusters.grow()
        fused: list[Cluster] = []
        for cluster in clusters.final():
            if cluster.domain is not None and _outline(ctx, cluster, steps):
                fused.append(cluster)
        erase_members(fused)
        erase_unused(block)
        sort_block(block)


def _outline(ctx: Context, cluster: Cluster, steps: frozenset[Operation]) -> bool:
    fusion = Outliner(cluster, steps).outline("")
    if fusion is None:
        return False
    bytes_saved = saved_bytes(fusion)
    saved = size_text(bytes_saved)
    parts = reason_for(cluster)
    alone = len(cluster.ops) == 1
    reason = f"{parts} with what it repeats" if alone else f"{parts}: saves {saved} of traffic"
    fusion.reason = StringAttr(reason)
    if isinstance(ctx, CompilerContext) and not alone:
        subject = subject_of(cluster.ops[-1])
        choice, why = f"one kernel of {parts}", f"saves {saved} of traffic"
        ctx.decide("graph-fuse", subject, choice, why, bytes_saved)
    return True
