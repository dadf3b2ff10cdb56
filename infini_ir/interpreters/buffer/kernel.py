"""Running kernels in buffer form: every program of the grid, one instruction at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from xdsl.dialects import scf
from xdsl.ir import Block, Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.buffer import memory
from infini_ir.dialects.tile import view_type
from infini_ir.interpreters import scalar
from infini_ir.interpreters.buffer import copies, instructions
from infini_ir.interpreters.buffer.local import CoreLimits, Local, LocalMemory, place_of
from infini_ir.interpreters.tile.memory import Array, Memory, signless
from infini_ir.utils.errors import ModelError


def run_buffer_kernel(
    kernel: tile.KernelOp,
    views: Sequence[Array | Memory],
    symbols: Mapping[str, int] | None = None,
    limits: CoreLimits | None = None,
) -> None:
    """
    Run a kernel's whole grid on views, which change where it writes them. Symbols that are
    not given take the sizes of the views.

    Raises `ModelError` where local memory is read before it is written, an operand is not
    aligned or not inside, or a queue is misused.
    """
    memories = [v if isinstance(v, Memory) else Memory.of_array(v) for v in views]
    sizes: dict[str, int] = {}
    for value, held in zip(kernel.views, memories, strict=True):
        for dim, size in zip(view_type(value).shape, held.shape, strict=True):
            if dim.name is not None:
                sizes.setdefault(dim.name, size)
    sizes.update(symbols or {})
    axes = [
        range(0, bound.evaluate(sizes), step.evaluate(sizes))
        for bound, step in zip(kernel.bounds.data, kernel.steps.data, strict=True)
    ]
    core = Core(sizes, LocalMemory(limits or CoreLimits()))
    with np.errstate(all="ignore"):
        for offsets in itertools.product(*axes):
            core.memory.forget()
            core.values = dict(zip(kernel.views, memories, strict=True))
            core.values.update(zip(kernel.offsets, map(np.int64, offsets), strict=True))
            core.run(kernel.body.block)
            core.end()


class Core:
    """One core: its memory, and the values that the program has computed so far."""

    def __init__(self, sizes: Mapping[str, int], local: LocalMemory) -> None:
        self.sizes = sizes
        self.memory = local
        self.values: dict[SSAValue, Any] = {}
        self.turns: dict[SSAValue, int] = {}
        """How often each queue has been acquired from."""
        self.states: dict[SSAValue, str] = {}
        """What was last done with each slot."""

    def run(self, block: Block) -> None:
        """Run a block."""
        for op in block.ops:
            try:
                self._step(op)
            except ModelError as error:
                if str(error).startswith("'"):
                    raise
                raise ModelError(f"'{op.name}': {error}") from None

    def _step(self, op: Operation) -> None:
        rule = _RULES.get(type(op))
        if rule is not None:
            rule(self, op)
        elif scalar.can_run(op):
            scalar.run_op(op, self.values)
        elif not isinstance(op, scf.YieldOp | memory.SyncOp):
            raise ModelError("is not an operation of the buffer form")

    def end(self) -> None:
        """The program is done: every slot must be free."""
        for state in self.states.values():
            if state != "freed":
                raise ModelError(f"a slot of a queue is left {state}")

    def index(self, value: SSAValue) -> int:
        """An index, or an integer, of the scalar unit."""
        return int(self.values[value])

    def local(self, value: SSAValue) -> Local:
        """Local memory, which must not be a slot that nobody may touch."""
        held = self.values[value]
        if self.states.get(value) == "freed":
            raise ModelError("touches a slot of a queue that was freed")
        if isinstance(value.owner, memory.AllocOp) and value.owner.queue is not None:
            raise ModelError("touches a queue, not a slot of it")
        return held


def _alloc(core: Core, op: memory.AllocOp) -> None:
    core.values[op.out] = place_of(core.memory, op)


def _acquire(core: Core, op: memory.AcquireOp) -> None:
    if core.states.get(op.out, "freed") != "freed":
        raise ModelError("acquires a slot while the last one is not free")
    owner = op.queue.owner
    assert isinstance(owner, memory.AllocOp)
    turn = core.turns.get(op.queue, 0)
    core.turns[op.queue] = turn + 1
    core.values[op.out] = place_of(core.memory, owner, turn % owner.slots)
    held = core.values[op.out]
    first, last = held.span(0, held.type.count)
    core.memory.valid[first:last] = False
    core.states[op.out] = "acquired"


def _mark(before: str, after: str) -> Callable[[Core, Any], None]:
    def run(core: Core, op: memory.EnqueueOp | memory.DequeueOp | memory.FreeOp) -> None:
        state = core.states.get(op.slot)
        if state != before:
            raise ModelError(f"wants a slot that is {before}, not {state}")
        core.states[op.slot] = after

    return run


def _for(core: Core, op: scf.ForOp) -> None:
    for i in range(core.index(op.lb), core.index(op.ub), core.index(op.step)):
        core.values[op.body.block.args[0]] = np.int64(i)
        core.run(op.body.block)


def _if(core: Core, op: scf.IfOp) -> None:
    region = op.true_region if bool(core.values[op.cond]) else op.false_region
    if region.blocks:
        core.run(region.block)


def _size(core: Core, op: tile.SizeOp) -> None:
    core.values[op.out] = np.int64(op.dim.evaluate(core.sizes))


def _read(core: Core, op: tile.ReadOp) -> None:
    held = core.values[op.view]
    at = tuple(core.index(o) for o in op.offsets)
    for axis, (position, size) in enumerate(zip(at, held.shape, strict=True)):
        if not 0 <= position < size:
            raise ModelError(f"position {position} is outside axis {axis} of size {size}")
    core.values[op.out] = signless(np.array(held.array[at]))


_RULES: dict[type[Operation], Callable[[Core, Any], None]] = {
    memory.AllocOp: _alloc,
    memory.AcquireOp: _acquire,
    memory.EnqueueOp: _mark("acquired", "enqueued"),
    memory.DequeueOp: _mark("enqueued", "dequeued"),
    memory.FreeOp: _mark("dequeued", "freed"),
    scf.ForOp: _for,
    scf.IfOp: _if,
    tile.SizeOp: _size,
    tile.ReadOp: _read,
    **copies.RULES,
    **instructions.RULES,
}
