"""Kernels for vector cores, from tiles to instructions: the pass `ascend-lower-vector`."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from infini_ir.dialects import tile
from infini_ir.dialects.context import CompilerContext
from infini_ir.passes.buffer.insert_sync import synchronise
from infini_ir.passes.buffer.plan import plan_kernel, planned
from infini_ir.passes.buffer.tile_to_buffer import to_buffer
from infini_ir.targets.ascend.cube_plan import is_cube
from infini_ir.targets.ascend.machine import VECTOR_CORE

NATIVE_MATH = (
    "math.exp", "math.log", "math.sqrt", "math.absf", "math.floor", "math.ceil",
    "math.roundeven", "math.trunc",
)  # fmt: skip
"""Functions that vector cores have instructions for."""


@dataclass(frozen=True)
class LowerVectorPass(ModulePass):
    """
    Plans every kernel that is not for cube cores, and rewrites it into the buffer form of a
    vector core, with its waits: `buffer-plan`, `tile-to-buffer` and `buffer-insert-sync` for
    that machine.

    Raises `CompileError` for a kernel that does not fit.
    """

    name = "ascend-lower-vector"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for kernel in op.body.block.ops:
            if isinstance(kernel, tile.KernelOp) and not is_cube(kernel):
                reason = plan_kernel(kernel, VECTOR_CORE)
                self._note(ctx, kernel, reason)
                to_buffer(kernel, VECTOR_CORE)
                synchronise(kernel, VECTOR_CORE)

    def _note(self, ctx: Context, kernel: tile.KernelOp, reason: str) -> None:
        if isinstance(ctx, CompilerContext):
            numbers = {k: v for k, v in planned(kernel).items() if k.startswith("B")}
            text = ", ".join(f"{k} = {v}" for k, v in numbers.items()) or "no parameters"
            ctx.decide(self.name, f"kernel {kernel.sym_name.data}", text, reason)
