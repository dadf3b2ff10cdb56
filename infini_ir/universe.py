"""What there is of dialects, passes and outputs, by name; imported when asked for.

Only tools use this table: the compiler itself names what it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any


def _load(module: str, name: str) -> Any:
    return getattr(import_module(module), name)


def _table(prefix: str, entries: dict[str, str]) -> dict[str, Callable[[], Any]]:
    """Factories from `module:name` texts."""
    table: dict[str, Callable[[], Any]] = {}
    for key, place in entries.items():
        module, _, name = place.partition(":")
        table[key] = partial(_load, prefix + module, name)
    return table


DIALECTS = {
    **_table(
        "xdsl.dialects.",
        {
            "builtin": "builtin:Builtin",
            "func": "func:Func",
            "arith": "arith:Arith",
            "math": "math:Math",
            "scf": "scf:Scf",
        },
    ),
    **_table(
        "infini_ir.dialects.",
        {"buffer": "buffer:Buffer", "graph": "graph:Graph", "tile": "tile:Tile"},
    ),
}
"""Dialects by name."""

PASSES = {
    **_table(
        "infini_ir.",
        {
            "buffer-insert-sync": "passes.buffer.insert_sync:BufferInsertSyncPass",
            "buffer-plan": "passes.buffer.plan:BufferPlanPass",
            "cambricon-lower": "targets.cambricon.lower:CambriconLowerPass",
            "ascend-lower-vector": "targets.ascend.vector_plan:LowerVectorPass",
            "ascend-split-cube": "targets.ascend.cube_plan:SplitCubePass",
            "ascend-use-aclnn": "targets.ascend.library:UseAclnnPass",
            "cambricon-use-cnnl": "targets.cambricon.library:UseCnnlPass",
            "cpu-measured-plans": "targets.cpu.tuning.passes:CpuMeasuredPlansPass",
            "cpu-normal-factors": "targets.cpu.plans.normal_factors:CpuNormalFactorsPass",
            "cpu-pack-weights": "targets.cpu.plans.packing:CpuPackWeightsPass",
            "cpu-plan": "targets.cpu.plans.planning:CpuPlanPass",
            "cpu-round-factors": "targets.cpu.plans.round_factors:CpuRoundFactorsPass",
            "cpu-tune": "targets.cpu.tuning.passes:CpuTunePass",
            "cuda-c-use-blas": "targets.cuda_c.library:UseBlasPass",
            "cuda-c-plan": "targets.cuda_c.planning:CudaCPlanPass",
            "graph-cleanup": "passes.graph.pipeline:GraphCleanupPass",
            "graph-cse": "passes.graph.cse:GraphCsePass",
            "graph-dce": "passes.graph.dce:GraphDcePass",
            "graph-expand-composites": "passes.graph.expand_composites:ExpandCompositesPass",
            "graph-fold-batch-norm": "passes.graph.fold_batch_norm:GraphFoldBatchNormPass",
            "graph-fold-constants": "passes.graph.fold_constants:GraphFoldConstantsPass",
            "graph-fuse": "passes.graph.fuse:GraphFusePass",
            "graph-integer-products": "passes.graph.integer_products:GraphIntegerProductsPass",
            "graph-layout": "passes.graph.layout:GraphLayoutPass",
            "graph-quantized-products": (
                "passes.graph.quantized_products:GraphQuantizedProductsPass"
            ),
            "graph-quantized-values": "passes.graph.quantized_values:GraphQuantizedValuesPass",
            "graph-causal-bias": "passes.graph.causal_bias:GraphCausalBiasPass",
            "graph-recognize-composites": "passes.graph.recognize:GraphRecognizeCompositesPass",
            "graph-simplify": "passes.graph.simplify:GraphSimplifyPass",
            "graph-store-bf16": "passes.graph.store_bf16:GraphStoreBf16Pass",
            "graph-to-tile": "lowering.graph_to_tile:GraphToTilePass",
            "graph-unify-symbols": "passes.graph.unify_symbols:GraphUnifySymbolsPass",
            "graph-winograd": "passes.graph.winograd:GraphWinogradPass",
            "kunlun-lower": "targets.kunlun.lower:KunlunLowerPass",
            "tile-cut-epilogue": "passes.tile.cut_epilogue:CutEpiloguePass",
            "nvidia-legalise": "targets.nvidia.legalise:NvidiaLegalisePass",
            "nvidia-plan": "targets.nvidia.planning:NvidiaPlanPass",
            "nvidia-tune": "targets.nvidia.tuning:NvidiaTunePass",
            "tile-depth-major": "passes.tile.depth_major:DepthMajorPass",
            "tile-expand-math": "passes.tile.expand_math:ExpandMathPass",
            "tile-insert-barriers": "passes.tile.insert_barriers:InsertBarriersPass",
            "tile-lay-out-weights": "passes.tile.lay_out_weights:LayOutWeightsPass",
            "tile-reciprocal-sums": "passes.tile.reciprocal_sums:ReciprocalSumsPass",
            "tile-narrow-doubles": "passes.tile.narrow_doubles:NarrowDoublesPass",
            "tile-plan-memory": "passes.tile.plan_memory:PlanMemoryPass",
            "tile-block-rows": "passes.tile.block_rows:BlockRowsPass",
            "tile-share-kernels": "passes.tile.share_kernels:ShareKernelsPass",
            "tile-split-axis": "passes.tile.split_axis:SplitAxisPass",
            "tile-split-reduction": "passes.tile.split_reduction:SplitReductionPass",
            "tile-split-k": "passes.tile.split_k:SplitKPass",
            "tile-to-buffer": "passes.buffer.tile_to_buffer:TileToBufferPass",
            "tile-use-library": "passes.tile.use_library:UseLibraryPass",
        },
    ),
    **_table(
        "xdsl.transforms.",
        {
            "canonicalize": "canonicalize:CanonicalizePass",
            "cse": "common_subexpression_elimination:CommonSubexpressionElimination",
            "dce": "dead_code_elimination:DeadCodeElimination",
        },
    ),
}
"""Passes by name: ours, and the three of xDSL's that are of use with them."""

TARGETS = {
    **_table("xdsl.targets.", {"mlir": "mlir:MLIRTarget"}),
    **_table(
        "infini_ir.tools.",
        {
            "llvm": "outputs:LlvmOutput",
            "asm": "outputs:AsmOutput",
            "triton": "outputs:TritonOutput",
        },
    ),
    **_table(
        "infini_ir.targets.",
        {
            "ascend": "ascend.output:AscendOutput",
            "cambricon": "cambricon.output:BangOutput",
            "cuda-c": "cuda_c.output:CudaCOutput",
            "kunlun": "kunlun.output:XpuOutput",
        },
    ),
}
"""Forms in which `infini-opt` prints a module."""


def pipeline(name: str, device: str = "cpu") -> tuple[Any, ...]:
    """The passes of a named pipeline, made: `graph`, `tile` (from graph to the legalised form
    that the target `device` emits) or `default`, which is one after the other.
    """
    from infini_ir.targets.registry import make

    target = make(device, cache=False)
    parts: list[Any] = []
    if name in ("graph", "default"):
        from infini_ir.passes.graph.pipeline import graph_pipeline

        parts += graph_pipeline(
            target.composites,
            quantized_weights=target.quantized_weights,
            integer_products=target.integer_products,
            winograd=target.winograd,
        )
    if name in ("tile", "default"):
        from infini_ir.lowering.graph_to_tile import GraphToTilePass

        parts += [GraphToTilePass(), *target.passes()]
    return tuple(parts)


PIPELINES = ("default", "graph", "tile")
"""What `pipeline` accepts."""
