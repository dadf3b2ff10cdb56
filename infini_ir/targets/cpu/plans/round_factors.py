"""Computed factors of products with bf16 ones, rounded to bf16: the pass `cpu-round-factors`."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import BFloat16Type, Float32Type, ModuleOp, bf16
from xdsl.ir import Block, Region
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from infini_ir.dialects import tile
from infini_ir.targets.cpu.features import CpuFeatures, named
from infini_ir.targets.cpu.functions.rough_exp import ROUNDED_TO

FEW_ROWS = 8
"""Rows below which most of a matrix unit's tile is empty."""


@dataclass(frozen=True)
class CpuRoundFactorsPass(ModulePass):
    """
    Rounds the f32 left factor of a product with a bf16 right one to bf16, where the
    processor has a matrix unit that multiplies those: the weights of an attention, as
    FlashAttention does it on any such unit. Sums stay in f32, those of the weights, too;
    exponentials that are rounded so may be less exact (their attribute `rounded_to`).

    `cpu` names the machine as `infini compile --cpu` does; "native" is this one.
    """

    name = "cpu-round-factors"
    cpu: str = "native"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if not _has_unit(named(self.cpu)):
            return
        for kernel in op.body.block.ops:
            if isinstance(kernel, tile.KernelOp) and enough_rows(kernel):
                for inner in list(kernel.body.walk()):
                    if isinstance(inner, tile.DotOp) and _is_mixed(inner):
                        _round(inner)


def multiplies_in_tiles(kernel: tile.KernelOp, features: CpuFeatures) -> bool:
    """Whether all products of a kernel are ones of bf16 that a matrix unit does."""
    dots = [op for op in kernel.body.walk() if isinstance(op, tile.DotOp)]
    return (
        _has_unit(features)
        and enough_rows(kernel)
        and all(
            isinstance(tile.tile_type(dot.lhs).element, BFloat16Type)
            and isinstance(tile.tile_type(dot.rhs).element, BFloat16Type)
            and isinstance(tile.tile_type(dot.acc).element, Float32Type)
            and tile.tile_type(dot.lhs).rank == 2
            for dot in dots
        )
    )


def _has_unit(features: CpuFeatures) -> bool:
    return features.has_amx_bf16 and features.has_avx512_bf16


def enough_rows(kernel: tile.KernelOp) -> bool:
    """Whether rows of a tile are enough for a matrix unit, as far as is known."""
    steps = zip(kernel.steps.data, kernel.bounds.data, strict=True)
    rows = [bound.value for step, bound in steps if str(step) == "BM"]
    return bool(rows) and (rows[0] is None or rows[0] >= FEW_ROWS)


def _is_mixed(dot: tile.DotOp) -> bool:
    lhs = dot.lhs.owner
    return (
        isinstance(lhs, tile.MapOp)
        and lhs.parent is dot.parent
        and isinstance(tile.tile_type(dot.lhs).element, Float32Type)
        and isinstance(tile.tile_type(dot.rhs).element, BFloat16Type)
        and isinstance(tile.tile_type(dot.acc).element, Float32Type)
    )


def _round(dot: tile.DotOp) -> None:
    owner, type = dot.lhs.owner, tile.tile_type(dot.lhs)
    assert isinstance(owner, tile.MapOp)
    block = Block(arg_types=[type.element])
    narrow = arith.TruncFOp(block.args[0], bf16)
    block.add_ops([narrow, tile.YieldOp([narrow.result])])
    axes = list(range(type.rank))
    made = tile.MapOp([dot.lhs], [axes], [tile.TileType.of(type.shape, bf16)], Region(block))
    made.location = dot.location
    Rewriter.insert_op(made, InsertPoint.after(owner))
    for op in owner.body.block.ops:
        if isinstance(op, math.ExpOp):
            op.attributes[ROUNDED_TO] = bf16
    dot.operands[0] = made.outs[0]
