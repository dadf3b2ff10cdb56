"""Checking that the pipes of a kernel wait for one another where they must."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from xdsl.dialects import scf
from xdsl.ir import Block, Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.buffer import Pipe, memory
from infini_ir.dialects.tile import ViewType
from infini_ir.passes.buffer.accesses import accesses_of, pipe_of
from infini_ir.passes.buffer.machine import CoreMachine
from infini_ir.passes.buffer.overlaps import Overlaps, queue_of
from infini_ir.utils.errors import CompileError

TURNS = 3
"""Turns of each loop that are followed: enough to meet the slots of a queue again."""


def verify_synchronised(kernel: tile.KernelOp, machine: CoreMachine) -> None:
    """
    Follow the instructions that a core issues over a few programs and turns of loops, each
    pipe with a clock, and demand that any two that touch the same memory, one of them
    writing, are ordered. Raises `CompileError` that names both.
    """
    clocks = _Clocks(kernel, machine)
    for program in range(TURNS):
        clocks.program = program
        for op in _trace(kernel.body.block):
            clocks.step(op)


def _trace(block: Block) -> Iterator[Operation]:
    for op in block.ops:
        if isinstance(op, scf.ForOp):
            for _ in range(TURNS):
                yield from _trace(op.body.block)
        elif isinstance(op, scf.IfOp):
            for region in op.regions:
                for inner in region.blocks:
                    yield from _trace(inner)
        else:
            yield op


@dataclass
class _Touch:
    op: Operation
    pipe: Pipe
    time: int
    writes: bool
    program: int


@dataclass
class _Slot:
    enqueued: dict[Pipe, int] = field(default_factory=dict)
    touches: list[_Touch] = field(default_factory=list)


class _Clocks:
    """What each pipe knows to be done: for every pipe, the number of its instructions."""

    def __init__(self, kernel: tile.KernelOp, machine: CoreMachine) -> None:
        self.kernel = kernel
        self.machine = machine
        self.overlaps = Overlaps(kernel, machine)
        self.program = 0
        self.time: dict[Pipe, int] = dict.fromkeys(Pipe, 0)
        self.done: dict[Pipe, dict[Pipe, int]] = {p: dict.fromkeys(Pipe, 0) for p in Pipe}
        self.touches: dict[SSAValue, list[_Touch]] = {}
        self.slots: dict[SSAValue, _Slot] = {}
        self.freed: dict[SSAValue, list[dict[Pipe, int]]] = {}

    def step(self, op: Operation) -> None:
        """One operation, as the scalar unit comes to it."""
        if isinstance(op, memory.SyncOp):
            self._join(op.target.data, self._ended(op.source.data))
        elif isinstance(op, memory.AcquireOp):
            self._acquire(op)
        elif isinstance(op, memory.EnqueueOp):
            self.slots[op.slot].enqueued = self._ended(queue_of(op.slot).producer)
        elif isinstance(op, memory.DequeueOp):
            self._join(queue_of(op.slot).consumer, self.slots[op.slot].enqueued)
        elif isinstance(op, memory.FreeOp):
            self._free(op)
        else:
            self._instruction(op)

    def _ended(self, pipe: Pipe) -> dict[Pipe, int]:
        """What is known when all that a pipe was given so far has ended."""
        return {**self.done[pipe], pipe: self.time[pipe]}

    def _join(self, pipe: Pipe, known: dict[Pipe, int]) -> None:
        own = self.done[pipe]
        for other, time in known.items():
            own[other] = max(own[other], time)

    def _acquire(self, op: memory.AcquireOp) -> None:
        owner = op.queue.owner
        assert isinstance(owner, memory.AllocOp)
        freed = self.freed.setdefault(op.queue, [])
        if len(freed) >= owner.slots:
            self._join(queue_of(op.out).producer, freed[-owner.slots])
        self.slots[op.out] = _Slot()
        self.touches.pop(op.out, None)

    def _free(self, op: memory.FreeOp) -> None:
        acquired = op.slot.owner
        assert isinstance(acquired, memory.AcquireOp)
        consumer = queue_of(op.slot).consumer
        for touch in self.touches.get(op.slot, []):
            if touch.pipe is not consumer and self.done[consumer][touch.pipe] < touch.time:
                raise self._error(touch, op)
        self.freed[acquired.queue].append(self._ended(consumer))

    def _instruction(self, op: Operation) -> None:
        pipe = pipe_of(op)
        if pipe is None:
            return
        self.time[pipe] += 1
        found = accesses_of(op)
        for access in found:
            for value in self.overlaps.of(access.value):
                for touch in self.touches.get(value, []):
                    if self._meets(touch, op, value, access.writes):
                        self._demand(touch, op, pipe)
        for access in found:
            touch = _Touch(op, pipe, self.time[pipe], access.writes, self.program)
            known = self.touches.setdefault(access.value, [])
            # A later touch of the same kind speaks for those before it.
            known[:] = [t for t in known if (t.pipe, t.writes) != (pipe, access.writes)]
            known.append(touch)

    def _meets(self, touch: _Touch, op: Operation, value: SSAValue, writes: bool) -> bool:
        if touch.op is op and touch.time == self.time[touch.pipe]:
            return False
        if isinstance(value.type, ViewType) and touch.program != self.program:
            return False
        return touch.writes or writes

    def _demand(self, touch: _Touch, op: Operation, pipe: Pipe) -> None:
        if touch.pipe is pipe and pipe in self.machine.in_order:
            return
        if self.done[pipe][touch.pipe] < touch.time:
            raise self._error(touch, op)

    def _error(self, touch: _Touch, op: Operation) -> CompileError:
        return CompileError(
            f"kernel '{self.kernel.sym_name.data}': '{op.name}' does not wait for "
            f"'{touch.op.name}' of the {touch.pipe} pipe, which touches the same memory; "
            "run buffer-insert-sync"
        )
