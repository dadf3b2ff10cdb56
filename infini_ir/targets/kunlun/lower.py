"""Kernels from tiles to instructions of an XPU core: the pass `kunlun-lower`."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from infini_ir.passes.buffer.plan import BufferPlanPass
from infini_ir.passes.buffer.tile_to_buffer import TileToBufferPass
from infini_ir.targets.kunlun.limits import MACHINE


@dataclass(frozen=True)
class KunlunLowerPass(ModulePass):
    """
    Plans every kernel, and rewrites it into its buffer form.

    Raises `CompileError` where local memory does not suffice.
    """

    name = "kunlun-lower"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        BufferPlanPass(MACHINE).apply(ctx, op)
        TileToBufferPass(MACHINE).apply(ctx, op)
