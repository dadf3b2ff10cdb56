"""A kernel for vector cores: from its buffer form to Ascend C."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.buffer import Queue, local_type, memory
from infini_ir.targets.ascend.instructions import emit_block
from infini_ir.targets.ascend.machine import COMPARE_SLACK, VECTOR_CORE
from infini_ir.targets.ascend.writer import KernelWriter, c_type
from infini_ir.targets.c_project.expressions import c_comment, grid_axes, grid_size
from infini_ir.targets.c_project.signatures import KernelSignature
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import ONE, Dim

RESERVED = (
    "pipe", "memory", "scratch", "program", "programs", "rest", "blocks", "half", "AscendC",
    "half_t", "bf16_t", "Order", "Sync", "floor_div", "floor_mod", "smaller", "larger",
)  # fmt: skip
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


def kernel_head(kernel: tile.KernelOp, signature: KernelSignature, kind: str) -> list[str]:
    """The lines before a kernel's views."""
    names = signature.symbol_names()
    arguments = [f"GM_ADDR {view}_address" for view in signature.views]
    arguments += [
        f"{'' if symbol in names.symbols else ''}int64_t {names.symbol(symbol)}"
        for symbol in signature.symbols
    ]
    origin = [f"// {c_comment(kernel.origin.data)}"] if kernel.origin is not None else []
    return [
        *origin,
        f'extern "C" __global__ __aicore__ void {signature.name}({", ".join(arguments)}) {{',
        f"  KERNEL_TASK_TYPE_DEFAULT({kind});",
        "  AscendC::TPipe pipe;",
    ]


def declare_views(kernel: tile.KernelOp, signature: KernelSignature, w: KernelWriter) -> None:
    """The global memory of each view, with its size where it is known from the sizes."""
    for view, name in zip(kernel.views, signature.views, strict=True):
        type = tile.view_type(view)
        kind = c_type(type.element)
        w.values[view] = name
        address = f"reinterpret_cast<__gm__ {kind}*>({name}_address)"
        w.line(f"AscendC::GlobalTensor<{kind}> {name};")
        span = _span(type)
        size = f", {w.names.expression(span)}" if span is not None else ""
        w.line(f"{name}.SetGlobalBuffer({address}{size});")


def _span(type: tile.ViewType) -> Dim | None:
    """Elements from a view's first to its last; None where some lie before the first."""
    if any(not stride.is_nonnegative() for stride in type.strides):
        return None
    if type.is_dense():
        return type.element_count()
    total = ONE
    for size, stride in zip(type.shape, type.strides, strict=True):
        total = total + (size - 1) * stride
    return total


@dataclass
class program_loop:  # noqa: N801 - used as a context manager, like a function
    """The loop over the programs of this core, with the grid's offsets."""

    kernel: tile.KernelOp
    w: KernelWriter

    def __enter__(self) -> None:
        kernel, w = self.kernel, self.w
        programs = w.names.expression(grid_size(kernel))
        w.line(f"const int64_t programs = {programs};")
        head = (
            "for (int64_t program = AscendC::GetBlockIdx(); program < programs; "
            "program += AscendC::GetBlockNum())"
        )
        self.block = w.block(head)
        self.block.__enter__()
        used = [bool(list(offset.uses)) for offset in kernel.offsets]
        if not any(used):
            return
        axes = list(zip(kernel.offsets, grid_axes(kernel), kernel.steps.data, strict=True))
        last = len(axes) - 1
        before = ONE
        for place in range(last, -1, -1):
            offset, count, step = axes[place]
            text = "program" if before is ONE else f"program / ({w.names.expression(before)})"
            if place:
                text = f"{text} % ({w.names.expression(count)})"
            if step is not ONE:
                text = f"{text} * {w.stride(step)}"
            if used[place]:
                w.line(f"const int64_t {w.name(offset, 'ijklmn'[place % 6])} = {text};")
            before = before * count

    def __exit__(self, *error: object) -> None:
        self.block.__exit__(None, None, None)


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


def launch_function(
    kernel: tile.KernelOp, signature: KernelSignature, *, cube: bool = False
) -> str:
    """What the host program calls: as many blocks as there are cores and programs."""
    names = signature.symbol_names()
    size = names.expression(grid_size(kernel))
    cores = "(cores + 1) / 2" if cube else "cores"
    arguments = [f"static_cast<GM_ADDR>({view})" for view in signature.views]
    arguments += [names.symbol(symbol) for symbol in signature.symbols]
    call = ", ".join([signature.name, "blocks", "nullptr", "stream", *arguments])
    return "\n".join(
        [
            f"{signature.head()} {{",
            f"  const int64_t programs = {size};",
            "  if (programs <= 0) return;",
            f"  const int64_t blocks = smaller({cores}, programs);",
            f"  INFINI_LAUNCH({call});",
            "}",
        ]
    )
