"""Places for local memory: what is never in use at the same time shares bytes."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects.builtin import IntegerAttr, i64
from xdsl.ir import Block, Operation
from xdsl.rewriter import InsertPoint, Rewriter

from infini_ir.dialects import tile
from infini_ir.dialects.buffer import local_type, memory
from infini_ir.dialects.buffer.types import LocalType
from infini_ir.passes.buffer.machine import CoreMachine


@dataclass
class Life:
    """An allocation, its bytes, and the steps between which it is in use."""

    op: memory.AllocOp
    size: int
    first: int
    last: int
    offset: int = 0

    def meets(self, other: Life) -> bool:
        """Whether both are in use at some step."""
        return self.first <= other.last and other.first <= self.last


def place(kernel: tile.KernelOp, machine: CoreMachine) -> tuple[int, memory.AllocOp | None]:
    """
    Give every allocation an offset, those of one type at one offset made one, all at the
    beginning of the kernel. Queues stand behind the rest. Gives the bytes taken, and the
    largest allocation.
    """
    lives = _lives(kernel, machine)
    shared = [life for life in lives if life.op.queue is None]
    queues = [life for life in lives if life.op.queue is not None]
    top = _first_fit(shared)
    for life in queues:
        life.offset = top
        top += life.size * life.op.slots
    _hoist(kernel, lives)
    largest = max(lives, key=lambda x: x.size * x.op.slots, default=None)
    return top, None if largest is None else largest.op


def _lives(kernel: tile.KernelOp, machine: CoreMachine) -> list[Life]:
    begin: dict[Operation, int] = {}
    end: dict[Operation, int] = {}
    step = 0

    def number(block: Block) -> None:
        nonlocal step
        for op in block.ops:
            step += 1
            begin[op] = step
            for region in op.regions:
                for inner in region.blocks:
                    number(inner)
            step += bool(op.regions)
            end[op] = step

    number(kernel.body.block)
    lives: list[Life] = []
    for op in kernel.body.walk():
        if not isinstance(op, memory.AllocOp):
            continue
        block = op.parent
        assert block is not None
        # What is used in a loop inside the allocation's block is needed until it ends.
        used = [_ancestor(use.operation, block) for use in op.out.uses]
        type = local_type(op.out)
        size = machine.bytes_of(type.count, type.dtype)
        steps = [begin[u] for u in used] or [begin[op]]
        last = max((end[u] for u in used), default=begin[op])
        lives.append(Life(op, size, min(steps), last))
    return lives


def _ancestor(op: Operation, block: Block) -> Operation:
    while op.parent is not block:
        parent = op.parent_op()
        assert parent is not None, "the allocation dominates its uses"
        op = parent
    return op


def _first_fit(lives: list[Life]) -> int:
    """The lowest free place for each, the largest first; the bytes taken."""
    placed: list[Life] = []
    for life in sorted(lives, key=lambda x: (-x.size, x.first)):
        offset = 0
        for other in sorted((p for p in placed if p.meets(life)), key=lambda p: p.offset):
            if offset + life.size <= other.offset:
                break
            offset = max(offset, other.offset + other.size)
        life.offset = offset
        placed.append(life)
    return max((life.offset + life.size for life in lives), default=0)


def _hoist(kernel: tile.KernelOp, lives: list[Life]) -> None:
    known: dict[tuple[LocalType, int], memory.AllocOp] = {}
    made: list[memory.AllocOp] = []
    for life in sorted(lives, key=lambda x: x.offset):
        key = (local_type(life.op.out), life.offset)
        if life.op.queue is None and key in known:
            life.op.out.replace_all_uses_with(known[key].out)
            Rewriter.erase_op(life.op)
            continue
        life.op.detach()
        life.op.properties["at"] = IntegerAttr(life.offset, i64)
        known[key] = life.op
        made.append(life.op)
    block = kernel.body.block
    if made:
        Rewriter.insert_op(made, InsertPoint.at_start(block))
