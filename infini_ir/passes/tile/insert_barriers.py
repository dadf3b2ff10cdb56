"""Barriers where one worker may read or overwrite what another has written or reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from infini_ir.dialects.tile import KernelOp, program, view_type
from infini_ir.passes.tile.footprints import Footprint, disjoint, footprint_of
from infini_ir.passes.tile.regions import regions_of, root_of
from infini_ir.utils.dtypes import item_size

Written = Mapping[str, frozenset[int]]
"""Positions of the views that each kernel writes, by its name."""


@dataclass(frozen=True)
class Access:
    """Memory that a launch touches. Ranges of bytes in the arena, or a root of its own."""

    root: SSAValue
    writes: bool
    serial: bool
    begin: int | None
    end: int | None
    """Bytes in the arena, None where not known."""
    footprint: Footprint | None = None
    """The elements of the root, None where not known."""

    def conflicts(self, other: Access) -> bool:
        """Whether the order of the two matters and is not given by their worker."""
        if not (self.writes or other.writes) or (self.serial and other.serial):
            return False
        return self._overlaps(other)

    def _overlaps(self, other: Access) -> bool:
        if self.root is other.root:
            mine, theirs = self.footprint, other.footprint
            return mine is None or theirs is None or not disjoint(mine, theirs)
        if not (_in_arena(self.root) and _in_arena(other.root)):
            return False
        if self.begin is None or self.end is None or other.begin is None or other.end is None:
            return True
        return self.begin < other.end and other.begin < self.end


@dataclass
class _State:
    pending: list[Access] = field(default_factory=list)


@dataclass(frozen=True)
class InsertBarriersPass(ModulePass):
    """
    Puts `tile.barrier` before a launch, or a read of memory by the host program, that
    touches memory which an operation since the last barrier writes, or writes memory that
    one reads. Memory that the plan lets two values share counts as one; parts of one value
    that have no element in common, such as what is inside a border and the border, do not. Launches on the one
    serial worker keep their order by themselves. Regions of control operations end with a
    barrier, and begin with the read of the flag that led to them.
    """

    name = "tile-insert-barriers"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        kernels = [k for k in op.body.block.ops if isinstance(k, KernelOp)]
        written = {kernel.sym_name.data: kernel.written() for kernel in kernels}
        for entry in op.body.block.ops:
            if isinstance(entry, program.ProgramOp):
                _fence(entry.body.block, _State(), written)


def _fence(block: Block, state: _State, written: Written) -> None:
    for op in list(block.ops):
        if isinstance(op, program.BarrierOp):
            state.pending.clear()
            continue
        if isinstance(op, program.LoopOp) and _is_serial(op):
            # One worker does all of it; the others pass through.
            accesses = [a for inner in op.walk() for a in _accesses(inner, written)]
            if any(new.conflicts(old) for new in accesses for old in state.pending):
                _barrier(op, state)
            state.pending.extend(accesses)
            continue
        if op.regions:
            _barrier(op, state)
            flags = [_access(operand, False, False) for operand in op.operands]
            for inner in regions_of(op):
                # All workers have yet to read the flag that led here.
                _fence(inner, _State(list(flags)), written)
                # A loop's next iteration, or what follows, must see all of this one.
                if inner.last_op is None or not isinstance(inner.last_op, program.BarrierOp):
                    inner.add_op(program.BarrierOp())
            state.pending = [] if isinstance(op, program.IfOp) else flags
            continue
        accesses = _accesses(op, written)
        if any(new.conflicts(old) for new in accesses for old in state.pending):
            _barrier(op, state)
        state.pending.extend(accesses)


def _is_serial(loop: program.LoopOp) -> bool:
    """Whether only launches on the one serial worker touch memory in a loop."""
    return loop.until is None and all(
        op.serial is not None
        if isinstance(op, program.LaunchOp)
        else not isinstance(
            op, program.LibraryOp | program.BindOp | program.IfOp | program.WhileOp
        )
        and not (isinstance(op, program.LoopOp) and op.until is not None)
        and not (isinstance(op, program.AllocOp) and op.dynamic is not None)
        for op in loop.walk()
    )


def _barrier(op: Operation, state: _State) -> None:
    if state.pending:
        Rewriter.insert_op(program.BarrierOp(), InsertPoint.before(op))
        state.pending.clear()


def _accesses(op: Operation, written: Written) -> list[Access]:
    if isinstance(op, program.LaunchOp):
        writes, serial = written[op.kernel.string_value()], op.serial is not None
        return [_access(view, index in writes, serial) for index, view in enumerate(op.views)]
    if isinstance(op, program.LibraryOp):
        writes = op.written()
        return [_access(view, index in writes, False) for index, view in enumerate(op.views)]
    if isinstance(op, program.BindOp):
        return [_access(op.value, False, False)]
    return []


def _access(view: SSAValue, writes: bool, serial: bool) -> Access:
    root = root_of(view)
    begin = end = None
    owner = root.owner
    if isinstance(owner, program.AllocOp) and owner.offset is not None:
        begin = owner.offset.data[0].value
        size = view_type(root).element_count().value
        if begin is not None and size is not None:
            end = begin + size * item_size(view_type(root).dtype)
    return Access(root, writes, serial, begin, end, footprint_of(view))


def _in_arena(root: SSAValue) -> bool:
    return isinstance(root.owner, program.AllocOp) and root.owner.dynamic is None
