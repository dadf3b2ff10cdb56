"""Waits between the pipes of a core: the pass `buffer-insert-sync`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import scf
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from infini_ir.dialects import tile
from infini_ir.dialects.buffer import Pipe, Queue, memory
from infini_ir.dialects.tile import ViewType
from infini_ir.passes.buffer.accesses import Access, accesses_of, pipe_of
from infini_ir.passes.buffer.machine import CoreMachine
from infini_ir.passes.buffer.machines import named
from infini_ir.passes.buffer.overlaps import Overlaps, queue_of

Key = tuple[SSAValue, Pipe, bool]
"""Memory, who touched it last, and whether by writing."""
State = dict[Key, frozenset[Pipe]]
"""The last touches, and the pipes that already wait for each."""


@dataclass(frozen=True)
class BufferInsertSyncPass(ModulePass):
    """
    Puts `buffer.sync` before each instruction that touches what another pipe touches, one
    of them writing, and that nothing before makes wait. Local memory that shares bytes
    counts as one. A program's copies out come before its later copies in of the same view.
    A program of the grid may begin while the last one's instructions still run, so that the
    body counts as a loop; what other programs do to global memory is their own.

    Before a loop goes what its first turn would wait for, so that later turns do not.
    """

    name = "buffer-insert-sync"
    machine: str | CoreMachine = "test"
    """The core, or the name of one."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        machine = named(self.machine)
        for kernel in op.body.block.ops:
            if isinstance(kernel, tile.KernelOp) and machine.concurrent:
                synchronise(kernel, machine)


PRUNED = 64
"""Waits of a kernel up to which it is worth while to look for those that others imply."""


def synchronise(kernel: tile.KernelOp, machine: CoreMachine) -> None:
    """Insert the waits of one kernel."""
    inserter = _Inserter(kernel, machine)
    inserter.kernel()
    inserter.inserts = False
    inserted = [op for op in kernel.body.walk() if isinstance(op, memory.SyncOp)]
    for op in inserted if len(inserted) <= PRUNED else ():
        following, block = op.next_op, op.parent
        assert following is not None and block is not None
        op.detach()
        try:
            inserter.kernel()
        except _MissingError:
            block.insert_op_before(op, following)


class _MissingError(Exception):
    """A wait that is not there."""


class _Inserter:
    def __init__(self, kernel: tile.KernelOp, machine: CoreMachine) -> None:
        self.machine = machine
        self.overlaps = Overlaps(kernel, machine)
        self.body = kernel.body.block
        self.inserts = True
        """Whether what is missing is inserted, or an error."""
        self.touched: dict[Operation, list[tuple[Pipe, Access]]] = {}

    def kernel(self) -> None:
        """The body, as often as it takes for the end of one program to meet the next."""
        end = self.block(self.body, {})
        local = {k: known for k, known in end.items() if not isinstance(k[0].type, ViewType)}
        self.block(self.body, local)

    def block(self, block: Block, state: State) -> State:
        """Insert into a block that begins in a state; the state that it ends in."""
        state = dict(state)
        for op in list(block.ops):
            if isinstance(op, memory.SyncOp):
                _wait(state, op.source.data, op.target.data)
            elif isinstance(op, scf.ForOp):
                state = self._loop(op, state)
            elif isinstance(op, scf.IfOp):
                ends = [self.block(b, state) for r in op.regions for b in r.blocks]
                for end in ends:
                    state = _merged(state, end)
            elif isinstance(op, memory.AcquireOp):
                # The queue keeps what was done to the slot apart from what comes.
                for key in [key for key in state if key[0] is op.out]:
                    del state[key]
            elif isinstance(op, memory.EnqueueOp | memory.FreeOp):
                self._hand_over(op, state)
            elif isinstance(op, memory.DequeueOp):
                _take_over(op, state)
            else:
                self._instruction(op, state)
        return state

    def _instruction(self, op: Operation, state: State) -> None:
        pipe = pipe_of(op)
        if pipe is None:
            return
        accesses = accesses_of(op)
        self._insert(op, state, pipe, accesses)
        for access in accesses:
            state[access.value, pipe, access.writes] = frozenset()

    def _insert(
        self, op: Operation, state: State, pipe: Pipe, accesses: Iterable[Access]
    ) -> None:
        for source in self._needed(state, pipe, accesses):
            self._sync(op, state, source, pipe)

    def _sync(self, op: Operation, state: State, source: Pipe, pipe: Pipe) -> None:
        if not self.inserts:
            raise _MissingError
        sync = memory.SyncOp(source, pipe)
        sync.location = op.location
        Rewriter.insert_op(sync, InsertPoint.before(op))
        _wait(state, source, pipe)

    def _needed(self, state: State, pipe: Pipe, accesses: Iterable[Access]) -> list[Pipe]:
        """The pipes that an instruction must wait for."""
        sources: list[Pipe] = []
        for access in accesses:
            for value in self.overlaps.of(access.value):
                for source in Pipe:
                    for writes in (True, False):
                        known = state.get((value, source, writes))
                        if known is None or pipe in known or not (writes or access.writes):
                            continue
                        if source is pipe and pipe in self.machine.in_order:
                            continue
                        if source not in sources:
                            sources.append(source)
        return sources

    def _hand_over(self, op: memory.EnqueueOp | memory.FreeOp, state: State) -> None:
        """Only the pipe that gives the slot away may still be at work on it."""
        queue = queue_of(op.slot)
        pipe = queue.producer if isinstance(op, memory.EnqueueOp) else queue.consumer
        for source in self._needed(state, pipe, [Access(op.slot, True)]):
            if source is not pipe:
                self._sync(op, state, source, pipe)

    def _loop(self, op: scf.ForOp, state: State) -> State:
        for pipe, access in self._inside(op) if self.inserts else ():
            for source in self._needed(state, pipe, [access]):
                self._sync(op, state, source, pipe)
        begin = state
        while True:
            end = self.block(op.body.block, begin)
            merged = _merged(begin, end)
            if merged == begin:
                return merged
            begin = merged

    def _inside(self, op: Operation) -> list[tuple[Pipe, Access]]:
        """All that a loop touches, slots that it takes itself left out."""
        if op not in self.touched:
            found: dict[tuple[Pipe, SSAValue, bool], None] = {}
            own = {inner.out for inner in op.walk() if isinstance(inner, memory.AcquireOp)}
            for inner in op.walk():
                pipe = pipe_of(inner)
                for access in accesses_of(inner) if pipe is not None else ():
                    if access.value not in own:
                        assert pipe is not None
                        found[pipe, access.value, access.writes] = None
            self.touched[op] = [(p, Access(value, writes)) for p, value, writes in found]
        return self.touched[op]


def _wait(state: State, source: Pipe, target: Pipe) -> None:
    """The target knows what the source did, and what the source knew."""
    for key, known in state.items():
        if target not in known and (key[1] is source or source in known):
            state[key] = known | {target}


def _take_over(op: memory.DequeueOp, state: State) -> None:
    queue: Queue = queue_of(op.slot)
    for key, known in state.items():
        if key[0] is op.slot and key[1] is queue.producer:
            state[key] = known | {queue.consumer}


def _merged(left: State, right: State) -> State:
    """What may have happened on either way, and is known on both."""
    result = dict(left)
    for key, known in right.items():
        result[key] = result[key] & known if key in result else known
    return result
