"""Which local memories share bytes."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.buffer import Queue, local_type, memory
from infini_ir.passes.buffer.machine import CoreMachine


def queue_of(slot: SSAValue) -> Queue:
    """The kind of the queue that a slot is of."""
    acquired = slot.owner
    assert isinstance(acquired, memory.AcquireOp)
    owner = acquired.queue.owner
    assert isinstance(owner, memory.AllocOp) and owner.queue is not None
    return owner.queue.data


class Overlaps:
    """The allocations of a kernel, by the bytes they take."""

    def __init__(self, kernel: tile.KernelOp, machine: CoreMachine) -> None:
        spans: list[tuple[SSAValue, str, int, int]] = []
        for op in kernel.body.walk():
            if isinstance(op, memory.AllocOp) and op.queue is None:
                type = local_type(op.out)
                begin = op.offset or 0
                end = begin + machine.bytes_of(type.count, type.dtype)
                spans.append((op.out, type.space, begin, end))
        self._found: dict[SSAValue, list[SSAValue]] = {
            value: [v for v, s, b, e in spans if s == space and b < end and begin < e]
            for value, space, begin, end in spans
        }

    def of(self, value: SSAValue) -> Sequence[SSAValue]:
        """What shares bytes with a value; slots and views are themselves alone."""
        return self._found.get(value, (value,))
