"""From tiles to instructions on local memory: the pass `tile-to-buffer`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from xdsl.context import Context
from xdsl.dialects.builtin import IntegerAttr, ModuleOp
from xdsl.passes import ModulePass

from infini_ir.dialects import tile
from infini_ir.dialects.buffer import local_type, memory
from infini_ir.passes.buffer.kernel_lowering import lower_kernel
from infini_ir.passes.buffer.machine import CoreMachine
from infini_ir.passes.buffer.machines import named
from infini_ir.passes.buffer.parameters import parameters_of
from infini_ir.passes.buffer.placement import place
from infini_ir.passes.buffer.queues import make_queues
from infini_ir.utils.errors import CompileError


@dataclass(frozen=True)
class TileToBufferPass(ModulePass):
    """
    Rewrites every kernel whose parameters are numbers into its buffer form: each scalar
    operation of a map becomes one vector instruction over rows, each tile local memory at
    a known place. What the vector unit lacks becomes loops of the scalar unit.

    Raises `CompileError` where local memory does not suffice.
    """

    name = "tile-to-buffer"
    machine: str | CoreMachine = "test"
    """The core, or the name of one."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        machine = named(self.machine)
        for kernel in op.body.block.ops:
            if isinstance(kernel, tile.KernelOp):
                to_buffer(kernel, machine)


def to_buffer(kernel: tile.KernelOp, machine: CoreMachine) -> None:
    """Rewrite one kernel, and check that it fits. Its plan may give up queues."""
    depth = kernel.plan.data.get("depth") if kernel.plan is not None else None
    if isinstance(depth, IntegerAttr):
        machine = replace(machine, depth=min(machine.depth, depth.value.data))
    taken, largest = lowered_bytes(kernel, machine)
    if taken <= machine.vector_bytes:
        return
    raise CompileError(too_large(kernel, machine, taken, largest))


def lowered_bytes(
    kernel: tile.KernelOp, machine: CoreMachine
) -> tuple[int, memory.AllocOp | None]:
    """Rewrite one kernel; the bytes of local memory it takes, and the largest allocation."""
    left = parameters_of(kernel)
    if left:
        raise CompileError(
            f"kernel '{kernel.sym_name.data}': the parameters {', '.join(left)} are not fixed; "
            "run buffer-plan first"
        )
    lower_kernel(kernel, machine)
    make_queues(kernel, machine)
    return place(kernel, machine)


def too_large(
    kernel: tile.KernelOp, machine: CoreMachine, taken: int, largest: memory.AllocOp | None
) -> str:
    """What to say of a kernel that does not fit."""
    text = (
        f"kernel '{kernel.sym_name.data}' wants {taken} bytes of local memory, and "
        f"{machine.name} has {machine.vector_bytes}"
    )
    if largest is not None:
        type = local_type(largest.out)
        text += f"; most of it {largest.slots} x {type}"
    return text + "; make the sizes of the model's last axes smaller, or split the operation"
