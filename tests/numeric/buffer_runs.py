"""Kernels in buffer form against the same kernels on tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from infini_ir.dialects import tile
from infini_ir.dialects.context import CompilerContext
from infini_ir.interpreters.buffer import CoreLimits, run_buffer_kernel
from infini_ir.interpreters.tile import interpret_program
from infini_ir.interpreters.tile.kernel import DEFAULT_PARAMETERS
from infini_ir.passes.buffer.insert_sync import BufferInsertSyncPass
from infini_ir.passes.buffer.machine import CoreMachine
from infini_ir.passes.buffer.machines import TEST
from infini_ir.passes.buffer.parameters import parameters_of, set_parameters
from infini_ir.passes.buffer.plan import BufferPlanPass
from infini_ir.passes.buffer.tile_to_buffer import TileToBufferPass, to_buffer
from infini_ir.passes.buffer.verify_sync import verify_synchronised
from infini_ir.passes.tile.expand_math import ExpandMathPass
from infini_ir.passes.tile.split_axis import SplitAxisPass

NATIVE = ("math.exp", "math.log", "math.sqrt")


def limits_of(machine: CoreMachine) -> CoreLimits:
    return CoreLimits(
        machine.vector_bytes,
        machine.alignment,
        machine.mask_bits,
        machine.max_count,
        machine.reduce_carries_nan,
    )


def buffer_form(
    module: ModuleOp,
    ctx: CompilerContext,
    machine: CoreMachine = TEST,
    parameters: Mapping[str, int] | None = None,
) -> ModuleOp:
    """A copy of a tile program whose kernels are in buffer form."""
    module = module.clone()
    ExpandMathPass(native=NATIVE, float_only=True).apply(ctx, module)
    SplitAxisPass().apply(ctx, module)
    numbers = {**DEFAULT_PARAMETERS, **(parameters or {})}
    for kernel in module.body.block.ops:
        if isinstance(kernel, tile.KernelOp):
            set_parameters(kernel, {name: numbers[name] for name in parameters_of(kernel)})
            to_buffer(kernel, machine)
    module.verify()
    return module


def planned_form(
    module: ModuleOp, ctx: CompilerContext, machine: CoreMachine = TEST
) -> ModuleOp:
    """As a target would have it: planned, lowered, its pipes synchronised and checked."""
    module = module.clone()
    ExpandMathPass(native=NATIVE, float_only=True).apply(ctx, module)
    BufferPlanPass(machine).apply(ctx, module)
    TileToBufferPass(machine).apply(ctx, module)
    BufferInsertSyncPass(machine).apply(ctx, module)
    module.verify()
    for kernel in module.body.block.ops:
        if isinstance(kernel, tile.KernelOp):
            verify_synchronised(kernel, machine)
    return module


def run_buffer_form(
    module: ModuleOp,
    inputs: Sequence[np.ndarray],
    ctx: CompilerContext,
    machine: CoreMachine = TEST,
) -> list[np.ndarray]:
    """Run a program whose kernels are in buffer form."""
    limits = limits_of(machine)
    return interpret_program(
        module,
        inputs,
        ctx,
        runner=lambda kernel, views, symbols: run_buffer_kernel(kernel, views, symbols, limits),
    )
