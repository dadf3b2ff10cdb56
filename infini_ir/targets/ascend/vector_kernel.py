"""A kernel for vector cores: from its buffer form to Ascend C."""

from __future__ import annotations

from xdsl.ir import SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.buffer import Queue, local_type, memory
from infini_ir.targets.ascend.instructions import emit_block
from infini_ir.targets.ascend.launches import (
    declare_views,
    kernel_head,
    launch_function,
    program_loop,
)
from infini_ir.targets.ascend.machine import COMPARE_SLACK, VECTOR_CORE
from infini_ir.targets.ascend.writer import RESERVED, KernelWriter, c_type
from infini_ir.targets.c_project.signatures import KernelSignature
from infini_ir.utils.errors import CompileError

POSITIONS = {Queue.input: "VECIN", Queue.output: "VECOUT"}


def vector_kernel(kernel: tile.KernelOp, signature: KernelSignature) -> str:
    """The kernel's function and its launch function."""
    w = KernelWriter(kernel.sym_name.data, signature.symbol_names())
    w.names.taken |= set(RESERVED)
    declare_views(kernel, signature, w)
    views, w.lines = w.lines, []
    local = _declare_local_memory(kernel, w)
    with program_loop(kernel, w):
        emit_block(kernel.body.block, w)
    body, w.lines = w.lines, []
    if w.scratch:
        local += [
            "  AscendC::TBuf<AscendC::TPosition::VECCALC> scratch_memory;",
            "  pipe.InitBuffer(scratch_memory, SCRATCH_BYTES);",
            "  const AscendC::LocalTensor<uint8_t> scratch = scratch_memory.Get<uint8_t>();",
        ]
    lines = [
        *kernel_head(kernel, signature, "KERNEL_TYPE_AIV_ONLY"),
        *views,
        *local,
        *body,
        "}",
    ]
    return "\n".join([*lines, "", launch_function(kernel, signature), ""])


def _declare_local_memory(kernel: tile.KernelOp, w: KernelWriter) -> list[str]:
    """Queues, and one buffer for all other local memory, which shares bytes as planned."""
    allocs = [op for op in kernel.body.walk() if isinstance(op, memory.AllocOp)]
    queues = [op for op in allocs if op.queue is not None]
    for op in queues:
        _declare_queue(op, w)
    places = [op for op in allocs if op.queue is None]
    ends = [_offset(op, queues) + _bytes(op) for op in places]
    if places:
        w.line("AscendC::TBuf<AscendC::TPosition::VECCALC> local_memory;")
        w.line(f"pipe.InitBuffer(local_memory, {max(ends) + COMPARE_SLACK});")
        w.line("const AscendC::LocalTensor<uint8_t> memory = local_memory.Get<uint8_t>();")
    for op in places:
        kind = _held(op.out)
        name = w.name(op.out, "tile")
        size = _bytes(op) // _item(kind)
        w.line(f"const auto {name} = Place<{kind}>(memory, {_offset(op, queues)}, {size});")
    lines, w.lines = w.lines, []
    return lines


def _declare_queue(op: memory.AllocOp, w: KernelWriter) -> None:
    assert op.queue is not None
    position = POSITIONS.get(op.queue.data)
    if position is None:
        raise CompileError(f"kernel '{w.kernel}': Ascend has no queue '{op.queue.data}'")
    name = w.name(op.out, "queue")
    w.line(f"AscendC::TQue<AscendC::QuePosition::{position}, {op.slots}> {name};")
    w.line(f"pipe.InitBuffer({name}, {op.slots}, {_bytes(op)});")


def _held(value: SSAValue) -> str:
    type = local_type(value)
    return "uint8_t" if type.is_mask else c_type(type.element)


def _item(kind: str) -> int:
    return {"float": 4, "half": 2, "bfloat16_t": 2, "uint8_t": 1, "int8_t": 1, "int16_t": 2,
            "int32_t": 4, "int64_t": 8}[kind]  # fmt: skip


def _bytes(op: memory.AllocOp) -> int:
    type = local_type(op.out)
    return VECTOR_CORE.bytes_of(type.count, type.dtype)


def _offset(op: memory.AllocOp, queues: list[memory.AllocOp]) -> int:
    """Where an allocation begins in the buffer of all that are no queues."""
    if op.offset is None:
        raise CompileError("local memory is not planned; run the memory plan first")
    below = sum(q.slots * _bytes(q) for q in queues if (q.offset or 0) < op.offset)
    return op.offset - below
