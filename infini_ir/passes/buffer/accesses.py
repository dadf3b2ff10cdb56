"""What each operation of the buffer form reads and writes, and on which pipe."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.buffer import LocalType, Pipe, memory, rows, vector


@dataclass(frozen=True)
class Access:
    """Memory that an instruction touches: local memory, or a view of global memory."""

    value: SSAValue
    writes: bool


def pipe_of(op: Operation) -> Pipe | None:
    """The pipe that does an instruction; None for what is none."""
    if isinstance(op, memory.CopyInOp):
        return Pipe.copy_in
    if isinstance(op, memory.CopyOutOp):
        return Pipe.copy_out
    if isinstance(op, rows.ExtractOp | rows.InsertOp | tile.ReadOp):
        return Pipe.scalar
    if isinstance(op, rows.DotOp):
        return Pipe.matrix
    if isinstance(op, (*vector.VECTOR_OPS, rows.ReduceOp, rows.TransposeOp)):
        return Pipe.vector
    return None


def accesses_of(op: Operation) -> list[Access]:
    """What an instruction reads and writes."""
    if pipe_of(op) is None:
        return []
    if isinstance(op, memory.CopyInOp):
        return [Access(op.local, True), Access(op.view, False)]
    if isinstance(op, memory.CopyOutOp):
        return [Access(op.view, True), Access(op.local, False)]
    if isinstance(op, tile.ReadOp):
        return [Access(op.view, False)]
    written = _written(op)
    found = [Access(value, True) for value in written]
    for value in op.operands:
        reads = isinstance(value.type, LocalType) and (
            value not in written or _twice(op, value)
        )
        if reads and not any(a.value is value and not a.writes for a in found):
            found.append(Access(value, False))
    return found


def _twice(op: Operation, value: SSAValue) -> bool:
    """Whether what is written is read as well."""
    if isinstance(op, rows.DotOp):
        return True
    return sum(operand is value for operand in op.operands) > 1


def _written(op: Operation) -> list[SSAValue]:
    if isinstance(op, rows.ExtractOp):
        return []
    if isinstance(op, rows.DotOp):
        return [op.acc, *op.work]
    written = [op.dst if isinstance(op, rows.InsertOp) else op.operands[0]]
    if isinstance(op, rows.ReduceOp | rows.TransposeOp):
        written += op.work
    return written
