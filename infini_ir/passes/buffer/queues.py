"""Queues: local memory that one pipe fills while another still works on what was there."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Block, Operation
from xdsl.rewriter import InsertPoint, Rewriter

from infini_ir.dialects import tile
from infini_ir.dialects.buffer import Pipe, Queue, local_type, memory
from infini_ir.passes.buffer.accesses import accesses_of, pipe_of
from infini_ir.passes.buffer.machine import CoreMachine


def make_queues(kernel: tile.KernelOp, machine: CoreMachine) -> None:
    """
    Turn allocations into queues where that lets copies run beside the vector unit: filled by
    one pipe, then emptied by another, once each time their block runs.
    """
    left = {
        kind: number for kind, number in machine.queues.items() if machine.makes_queues(kind)
    }
    allocations = [op for op in kernel.body.walk() if isinstance(op, memory.AllocOp)]
    # Inner loops run most often.
    allocations.sort(key=_nesting, reverse=True)
    for op in allocations:
        queue = _kind(op)
        if queue is not None and left.get(queue, 0) > 0:
            left[queue] -= 1
            _convert(op, queue, machine.depth)


def _nesting(op: Operation) -> int:
    depth, parent = 0, op.parent_op()
    while parent is not None:
        depth, parent = depth + 1, parent.parent_op()
    return depth


def _users(op: memory.AllocOp) -> list[tuple[Operation, Operation]]:
    """Each user, and what it is or is in, in the allocation's block, in order."""
    block = op.parent
    assert block is not None
    order = {inner: number for number, inner in enumerate(block.ops)}
    users = [(use.operation, _in_block(use.operation, block)) for use in op.out.uses]
    return sorted(users, key=lambda pair: order[pair[1]])


def _in_block(op: Operation, block: Block) -> Operation:
    while op.parent is not block:
        parent = op.parent_op()
        assert parent is not None, "the allocation dominates its uses"
        op = parent
    return op


def _kind(op: memory.AllocOp) -> Queue | None:
    """The queue that an allocation can be."""
    users = _users(op)
    pipes = [pipe_of(user) for user, _ in users]
    if not users or any(pipe is None for pipe in pipes) or op.queue is not None:
        return None
    for queue in Queue:
        filling = [at for (_, at), p in zip(users, pipes, strict=True) if p is queue.producer]
        emptying = [at for (_, at), p in zip(users, pipes, strict=True) if p is queue.consumer]
        if len(filling) + len(emptying) != len(users) or not filling or not emptying:
            continue
        if any(at in emptying for at in filling) or not filling[-1].is_before_in_block(
            emptying[0]
        ):
            continue
        if _writes_first(op, users, queue) and _copies_stand_here(users, queue):
            return queue
    return None


def _copies_stand_here(users: Sequence[tuple[Operation, Operation]], queue: Queue) -> bool:
    """Whether copies stand in the block itself: what is in a loop or branch may not run."""
    return all(
        user is at or pipe_of(user) is Pipe.vector
        for user, at in users
        if pipe_of(user) in (queue.producer, queue.consumer)
    )


def _writes_first(
    op: memory.AllocOp, users: Sequence[tuple[Operation, Operation]], queue: Queue
) -> bool:
    """Whether the copies out of what the vector unit fills, or the copies in, are all that
    the other side does: a consumer by copying never writes."""
    for user, _ in users:
        writes = any(a.value is op.out and a.writes for a in accesses_of(user))
        if pipe_of(user) is queue.consumer and queue is not Queue.input and writes:
            return False
        if pipe_of(user) is queue.producer and queue is not Queue.output and not writes:
            return False
    return True


def _convert(op: memory.AllocOp, queue: Queue, depth: int) -> None:
    users = _users(op)
    filling = [at for user, at in users if pipe_of(user) is queue.producer]
    emptying = [at for user, at in users if pipe_of(user) is queue.consumer]
    block = op.parent
    assert block is not None
    made = memory.AllocOp(local_type(op.out), None, queue, depth)
    slot = memory.AcquireOp(made)
    made.location = slot.location = op.location
    Rewriter.insert_op(made, InsertPoint.before(op))
    Rewriter.insert_op(slot, InsertPoint.before(filling[0]))
    op.out.replace_all_uses_with(slot.out)
    Rewriter.erase_op(op)
    marks = (
        (memory.EnqueueOp(slot), InsertPoint.after(filling[-1])),
        (memory.DequeueOp(slot), InsertPoint.before(emptying[0])),
        (memory.FreeOp(slot), InsertPoint.after(emptying[-1])),
    )
    for mark, point in marks:
        mark.location = slot.location
        Rewriter.insert_op(mark, point)
