"""Local memory, its queues, synchronisation, and copies to and from global memory."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import DenseArrayBase, IndexType, IntegerAttr, IntegerType, i64
from xdsl.ir import Operation, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    var_operand_def,
)
from xdsl.utils.exceptions import VerifyException

from infini_ir.dialects.buffer.types import (
    LocalType,
    Pipe,
    PipeAttr,
    Queue,
    QueueAttr,
    local_type,
)
from infini_ir.dialects.graph.base import ints, ints_of
from infini_ir.dialects.tile.accesses import Combine, CombineAttr
from infini_ir.dialects.tile.types import ViewType, scalar_of, view_type

Value = SSAValue | Operation
IntsConstraint = DenseArrayBase.constr(i64)


@irdl_op_definition
class AllocOp(IRDLOperation):
    """
    Local memory for the whole kernel, at a byte offset of its space once that is planned.
    Allocations may share bytes where their uses never overlap in time; those of queues
    share with nobody and take `depth` times their size from `at` on.

        %u = buffer.alloc at 256 : !buffer.local<1024, f32, vector>
        %q = buffer.alloc at 8192 queue input depth 2 : !buffer.local<1024, f32, vector>
    """

    name = "buffer.alloc"
    at = opt_prop_def(IntegerAttr.constr(i64))
    queue = opt_prop_def(QueueAttr)
    depth = opt_prop_def(IntegerAttr.constr(i64))
    out = result_def(LocalType)
    assembly_format = "(`at` $at^)? (`queue` $queue^ `depth` $depth)? attr-dict `:` type($out)"

    def __init__(
        self,
        type: LocalType,
        at: int | None = None,
        queue: Queue | None = None,
        depth: int = 1,
    ):
        super().__init__(
            properties={
                "at": None if at is None else IntegerAttr(at, i64),
                "queue": None if queue is None else QueueAttr(queue),
                "depth": None if queue is None else IntegerAttr(depth, i64),
            },
            result_types=[type],
        )

    @property
    def offset(self) -> int | None:
        """Its first byte in its space, once planned."""
        return None if self.at is None else self.at.value.data

    @property
    def slots(self) -> int:
        """How many slots it has: the depth of a queue, else one."""
        return 1 if self.depth is None else self.depth.value.data

    def verify_(self) -> None:
        if (self.queue is None) != (self.depth is None):
            raise VerifyException("a queue has a depth, and only a queue")
        if self.slots < 1:
            raise VerifyException("a queue has a slot")


@irdl_op_definition
class AcquireOp(IRDLOperation):
    """
    The next free slot of a queue: the producer's later instructions wait until the
    consumer's instructions before the `free` of the slot's last use have ended.

        %s = buffer.acquire %q : !buffer.local<1024, f32, vector> -> !buffer.local<1024, f32, vector>
    """

    name = "buffer.acquire"
    queue = operand_def(LocalType)
    out = result_def(LocalType)
    assembly_format = "$queue attr-dict `:` type($queue) `->` type($out)"

    def __init__(self, queue: Value):
        super().__init__(operands=[queue], result_types=[SSAValue.get(queue).type])

    def verify_(self) -> None:
        owner = self.queue.owner
        if not isinstance(owner, AllocOp) or owner.queue is None:
            raise VerifyException("a slot comes from an allocation that is a queue")
        if self.out.type != self.queue.type:
            raise VerifyException("a slot has the type of its queue")


class SlotOp(IRDLOperation):
    """What marks the life of a slot."""

    slot = operand_def(LocalType)

    def __init__(self, slot: Value):
        super().__init__(operands=[slot])

    def verify_(self) -> None:
        if not isinstance(self.slot.owner, AcquireOp):
            raise VerifyException("wants a slot that was acquired")


@irdl_op_definition
class EnqueueOp(SlotOp):
    """The producer has issued all it writes to the slot: `buffer.enqueue %s : type`."""

    name = "buffer.enqueue"
    assembly_format = "$slot attr-dict `:` type($slot)"


@irdl_op_definition
class DequeueOp(SlotOp):
    """
    The consumer's later instructions wait until the producer's instructions before the
    slot's `enqueue` have ended: `buffer.dequeue %s : type`. Each slot that is acquired is
    enqueued, dequeued and freed once, in the same block, in the order of acquisition.
    """

    name = "buffer.dequeue"
    assembly_format = "$slot attr-dict `:` type($slot)"


@irdl_op_definition
class FreeOp(SlotOp):
    """The consumer has issued all it does with the slot: `buffer.free %s : type`."""

    name = "buffer.free"
    assembly_format = "$slot attr-dict `:` type($slot)"


@irdl_op_definition
class SyncOp(IRDLOperation):
    """
    Instructions of the second pipe after this wait until all instructions of the first
    pipe before this have ended. With the same pipe twice, a barrier inside it.

        buffer.sync vector to scalar
    """

    name = "buffer.sync"
    source = prop_def(PipeAttr)
    target = prop_def(PipeAttr)
    assembly_format = "$source `to` $target attr-dict"

    def __init__(self, source: Pipe, target: Pipe):
        super().__init__(properties={"source": PipeAttr(source), "target": PipeAttr(target)})


class CopyOp(IRDLOperation):
    """
    What copies between local and global memory share.

    `axes` are the view's axes that move, outermost first; `extents` how many elements of
    each; `pitches` how far apart they lie in local memory (elements). The view's other
    axes are at their offsets. Element (i, j) lies at local[o + i*pitch0 + j*pitch1] and at
    the view's [offsets + (i, j)], where the view type's strides say how far apart elements
    are in global memory: the inner count is the last extent, the inner stride
    `strides[axes[-1]]`, any stride may be negative or 0. Not a byte outside the slice is
    touched, in either memory where pitches leave gaps. An extent of 0 (or less) moves
    nothing, and the offsets may then be anywhere. With no axes one element moves.

    Local and view have the same element type, but for signedness, and for bools: `i1` in a
    view are bytes, `i8`, in local memory.
    """

    view = operand_def(ViewType)
    offsets = var_operand_def(IndexType)
    local = operand_def(LocalType)
    local_offset = operand_def(IndexType)
    extents = var_operand_def(IndexType)
    axes = prop_def(IntsConstraint)
    pitches = prop_def(IntsConstraint)

    @property
    def axis_list(self) -> tuple[int, ...]:
        return ints_of(self.axes)

    @property
    def pitch_list(self) -> tuple[int, ...]:
        return ints_of(self.pitches)

    def verify_(self) -> None:
        memory, axes = view_type(self.view), self.axis_list
        if len(self.offsets) != memory.rank:
            raise VerifyException(f"{len(self.offsets)} offsets for {memory}")
        if any(not 0 <= axis < memory.rank for axis in axes) or len(set(axes)) != len(axes):
            raise VerifyException(f"{list(axes)} are not axes of {memory}")
        if not len(axes) == len(self.extents) == len(self.pitch_list):
            raise VerifyException("wants an extent and a pitch for each axis")
        element = local_type(self.local).element
        wanted = scalar_of(memory.element)
        if element != (IntegerType(8) if wanted == IntegerType(1) else wanted):
            raise VerifyException(f"{memory} does not move to {self.local.type}")


@irdl_op_definition
class CopyInOp(CopyOp):
    """
    Global memory to local memory; see `CopyOp`.

        buffer.copy_in %u[%o], %x[%i, %j] axes [0, 1] extents (%r, %n) pitches [1024, 1]
            : !buffer.local<8192, f32, vector>, !tile.view<[M, N], f32>
    """

    name = "buffer.copy_in"
    local = operand_def(LocalType)
    local_offset = operand_def(IndexType)
    view = operand_def(ViewType)
    offsets = var_operand_def(IndexType)
    extents = var_operand_def(IndexType)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    assembly_format = (
        "$local `[` $local_offset `]` `,` $view `[` $offsets `]` `axes` $axes "
        "`extents` `(` $extents `)` `pitches` $pitches attr-dict `:` type($local) `,` type($view)"
    )

    def __init__(
        self,
        local: Value,
        local_offset: Value,
        view: Value,
        offsets: Sequence[Value],
        axes: Sequence[int],
        extents: Sequence[Value],
        pitches: Sequence[int],
    ):
        super().__init__(
            operands=[local, local_offset, view, list(offsets), list(extents)],
            properties={"axes": ints(axes), "pitches": ints(pitches)},
        )


@irdl_op_definition
class CopyOutOp(CopyOp):
    """
    Local memory to global memory; see `CopyOp`. `add`, `max` and `min` combine with what is
    there, in the element type, atomically.

        buffer.copy_out set %y[%i, %j], %u[%o] axes [0, 1] extents (%r, %n) pitches [1024, 1]
            : !tile.view<[M, N], f32>, !buffer.local<8192, f32, vector>
    """

    name = "buffer.copy_out"
    combine = prop_def(CombineAttr)
    view = operand_def(ViewType)
    offsets = var_operand_def(IndexType)
    local = operand_def(LocalType)
    local_offset = operand_def(IndexType)
    extents = var_operand_def(IndexType)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    assembly_format = (
        "$combine $view `[` $offsets `]` `,` $local `[` $local_offset `]` `axes` $axes "
        "`extents` `(` $extents `)` `pitches` $pitches attr-dict `:` type($view) `,` type($local)"
    )

    def __init__(
        self,
        view: Value,
        offsets: Sequence[Value],
        local: Value,
        local_offset: Value,
        axes: Sequence[int],
        extents: Sequence[Value],
        pitches: Sequence[int],
        combine: Combine = Combine.set,
    ):
        super().__init__(
            operands=[view, list(offsets), local, local_offset, list(extents)],
            properties={
                "axes": ints(axes),
                "pitches": ints(pitches),
                "combine": CombineAttr(combine),
            },
        )


MEMORY_OPS = (
    AllocOp, AcquireOp, EnqueueOp, DequeueOp, FreeOp, SyncOp, CopyInOp, CopyOutOp,
)  # fmt: skip
