"""Loads of loops one iteration ahead, beside the computing: double buffers."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import IndexType, IntegerAttr, UnitAttr
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.traits import is_side_effect_free

from infini_ir.dialects import tile
from infini_ir.dialects.buffer import LocalType, Pipe, local_type, memory

AHEAD = "ahead"
"""Attribute of a copy that runs beside what follows it, up to the next sync of its pipe."""


def prefetch(kernel: tile.KernelOp) -> bool:
    """
    Rewrite loops of a kernel whose local memory has no places yet. A tile that is loaded at
    the beginning of each iteration, and used inside the loop only, gets two places: while an
    iteration computes with one, the next iteration's load fills the other. Whether there was
    any.
    """
    loops = [op for op in kernel.body.walk() if isinstance(op, scf.ForOp)]
    rewritten = [_Loop(loop).rewrite() for loop in loops]
    return any(rewritten)


@dataclass(frozen=True)
class _Load:
    """A copy that can be made ahead, with what works out its operands."""

    copy: memory.CopyInOp
    alloc: memory.AllocOp
    slice: tuple[Operation, ...]


class _Loop:
    def __init__(self, loop: scf.ForOp) -> None:
        self.loop = loop
        self.body = loop.body.block
        self.index = self.body.args[0]

    def rewrite(self) -> bool:
        """Rewrite the loop where it can be; whether it could."""
        if any(isinstance(op, memory.CopyOutOp) for op in self.loop.walk()):
            return False  # what a later iteration loads may be what an earlier one stored
        loads = [
            load
            for op in self.body.ops
            if isinstance(op, memory.CopyInOp) and (load := self._load(op)) is not None
        ]
        if not loads:
            return False
        turn = self._turn()
        for load in loads:
            self._two_places(load, turn)
        self._before(loads)
        self._inside(loads, turn)
        for load in loads:
            Rewriter.erase_op(load.copy)
        return True

    # What can be made ahead

    def _load(self, copy: memory.CopyInOp) -> _Load | None:
        alloc = copy.local.owner
        if not isinstance(alloc, memory.AllocOp) or alloc.queue is not None:
            return None
        users = [use.operation for use in alloc.out.uses]
        if not all(self._is_inside(user) and _has_offsets(user) for user in users):
            return None
        first = min((self._in_body(user) for user in users), key=self._number)
        slice_ = self._slice(copy)
        return _Load(copy, alloc, slice_) if first is copy and slice_ is not None else None

    def _is_inside(self, op: Operation) -> bool:
        return self.loop.is_ancestor(op)

    def _in_body(self, op: Operation) -> Operation:
        while op.parent is not self.body:
            parent = op.parent_op()
            assert parent is not None, "checked to be inside"
            op = parent
        return op

    def _number(self, op: Operation) -> int:
        return self.body.get_operation_index(op)

    def _slice(self, copy: memory.CopyInOp) -> tuple[Operation, ...] | None:
        """The operations of the body that a copy's operands come from, in order; None where
        one of them does more than work out a number."""
        found: set[Operation] = set()
        pending = [v for v in copy.operands if v is not copy.local]
        while pending:
            owner = pending.pop().owner
            if not isinstance(owner, Operation) or owner.parent is not self.body:
                if isinstance(owner, Operation) and self._is_inside(owner):
                    return None
                continue
            if owner in found:
                continue
            pure = isinstance(owner, tile.ReadOp) or is_side_effect_free(owner)
            if not pure or owner.regions or _touches_local(owner):
                return None
            found.add(owner)
            pending += owner.operands
        return tuple(sorted(found, key=self._number))

    # The new loop

    def _turn(self) -> SSAValue:
        """0 and 1 in turns, at the beginning of the body."""
        two = arith.ConstantOp(IntegerAttr.from_index_int_value(2))
        done = arith.SubiOp(self.index, self.loop.lb)
        number = arith.DivSIOp(done.result, self.loop.step)
        turn = arith.RemSIOp(number.result, two.result)
        Rewriter.insert_op([two, done, number, turn], InsertPoint.at_start(self.body))
        return turn.result

    def _two_places(self, load: _Load, turn: SSAValue) -> None:
        """Twice the memory, outside the loop; what uses it finds the place of its turn."""
        count = local_type(load.alloc.out).count
        size = arith.ConstantOp(IntegerAttr.from_index_int_value(count))
        shift = arith.MuliOp(turn, size.result)
        assert isinstance(turn.owner, Operation)
        Rewriter.insert_op([size, shift], InsertPoint.after(turn.owner))
        for use in list(load.alloc.out.uses):
            if use.operation is load.copy:
                continue
            offset = use.operation.operands[use.index + 1]
            moved = arith.AddiOp(offset, shift.result)
            Rewriter.insert_op(moved, InsertPoint.before(use.operation))
            use.operation.operands[use.index + 1] = moved.result
        type = local_type(load.alloc.out)
        double = memory.AllocOp(LocalType.of(2 * count, type.element, type.space))
        Rewriter.insert_op(double, InsertPoint.before(self.loop))
        load.alloc.out.replace_all_uses_with(double.out)
        Rewriter.erase_op(load.alloc)

    def _before(self, loads: list[_Load]) -> None:
        """The first iteration's loads, if there is one."""
        some = arith.CmpiOp(self.loop.lb, self.loop.ub, "slt")
        block = Block([memory.SyncOp(Pipe.vector, Pipe.copy_in)])
        self._copies(loads, block, self.loop.lb, None)
        guard = scf.IfOp(some.result, [], Region(block))
        Rewriter.insert_op([some, guard], InsertPoint.before(self.loop))

    def _inside(self, loads: list[_Load], turn: SSAValue) -> None:
        """At the beginning of the body: wait, then load for the next iteration."""
        assert isinstance(turn.owner, Operation)
        one = arith.ConstantOp(IntegerAttr.from_index_int_value(1))
        other = arith.SubiOp(one.result, turn)
        following = arith.AddiOp(self.index, self.loop.step)
        more = arith.CmpiOp(following.result, self.loop.ub, "slt")
        block = Block()
        self._copies(loads, block, following.result, other.result)
        guard = scf.IfOp(more.result, [], Region(block))
        waits = [
            memory.SyncOp(Pipe.copy_in, Pipe.vector),
            memory.SyncOp(Pipe.vector, Pipe.copy_in),
        ]
        ops = [*waits, one, other, following, more, guard]
        Rewriter.insert_op(ops, InsertPoint.after(turn.owner))

    def _copies(
        self, loads: list[_Load], block: Block, index: SSAValue, turn: SSAValue | None
    ) -> None:
        """Copies for the iteration at `index` into the places of a turn (None is 0)."""
        mapped: dict[SSAValue, SSAValue] = {self.index: index}
        for load in loads:
            for op in load.slice:
                if op.results[0] not in mapped:
                    block.add_op(op.clone(mapped))
            copy = load.copy.clone(mapped)
            copy.attributes[AHEAD] = UnitAttr()
            if turn is not None:
                count = local_type(load.copy.local).count // 2
                size = arith.ConstantOp(IntegerAttr.from_index_int_value(count))
                shift = arith.MuliOp(turn, size.result)
                moved = arith.AddiOp(copy.local_offset, shift.result)
                block.add_ops([size, shift, moved])
                copy.operands[1] = moved.result
            block.add_op(copy)
        block.add_op(scf.YieldOp())


def _touches_local(op: Operation) -> bool:
    return any(isinstance(value.type, LocalType) for value in op.operands)


def _has_offsets(op: Operation) -> bool:
    """Whether an offset follows each local operand."""
    operands = list(op.operands)
    following = zip(operands, [*operands[1:], None], strict=True)
    return all(
        after is not None and isinstance(after.type, IndexType)
        for value, after in following
        if isinstance(value.type, LocalType)
    )
