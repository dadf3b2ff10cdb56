"""Kernels from tiles to instructions of an MLU core: the pass `cambricon-lower`."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from infini_ir.dialects import tile
from infini_ir.passes.buffer.kernel_lowering import lower_kernel
from infini_ir.passes.buffer.placement import place
from infini_ir.passes.buffer.plan import BufferPlanPass
from infini_ir.passes.buffer.tile_to_buffer import too_large
from infini_ir.targets.cambricon.limits import MACHINE
from infini_ir.targets.cambricon.prefetch import prefetch
from infini_ir.utils.errors import CompileError


@dataclass(frozen=True)
class CambriconLowerPass(ModulePass):
    """
    Plans every kernel, and rewrites it into its buffer form. Where NRAM has room for two of
    what a loop loads, the loop loads ahead.

    Raises `CompileError` where NRAM does not suffice.
    """

    name = "cambricon-lower"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        BufferPlanPass(MACHINE).apply(ctx, op)
        for kernel in op.body.block.ops:
            if isinstance(kernel, tile.KernelOp):
                _lower(kernel)


def _lower(kernel: tile.KernelOp) -> None:
    lower_kernel(kernel, MACHINE)
    ahead = kernel.clone()
    if prefetch(ahead) and place(ahead, MACHINE)[0] <= MACHINE.vector_bytes:
        body = ahead.body.detach_block(0)
        kernel.body.detach_block(0)
        kernel.body.add_block(body)
        return
    taken, largest = place(kernel, MACHINE)
    if taken > MACHINE.vector_bytes:
        raise CompileError(too_large(kernel, MACHINE, taken, largest))
