"""Products left to CNNL: which kernels, and their calls in the host program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass

from infini_ir.dialects import tile
from infini_ir.dialects.tile import program
from infini_ir.passes.tile.contraction import find_contraction
from infini_ir.passes.tile.use_library import use_library
from infini_ir.targets.c_project.expressions import c_string
from infini_ir.targets.c_project.host import HostProgram

TYPES = ("f32", "f16", "bf16")


@dataclass(frozen=True)
class UseCnnlPass(ModulePass):
    """Leaves matrix products of one float type, accumulated in f32, to CNNL; what follows
    them becomes a kernel of its own."""

    name = "cambricon-use-cnnl"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for kernel in list(op.body.block.ops):
            if isinstance(kernel, tile.KernelOp) and _fits(kernel):
                use_library(kernel, op)


def _fits(kernel: tile.KernelOp) -> bool:
    contraction = find_contraction(kernel)
    if contraction is None or contraction.loads is None:
        return False
    types = [tile.view_type(load.view).dtype for load in contraction.loads]
    return types[0] == types[1] and types[0] in TYPES and contraction.accumulator.dtype == "f32"


def emit_call(host: HostProgram, op: Operation) -> None:
    """A call of `library_matmul` in `model.cpp`."""
    assert isinstance(op, program.LibraryOp)
    types = [tile.view_type(view) for view in op.views]
    sizes = [host.size(dim) for type in types for dim in (*type.shape, *type.strides)]
    pointers = ", ".join(host.pointer(view) for view in op.views)
    names = ", ".join(c_string(type.dtype) for type in (types[0], types[2]))
    host.line("{")
    host.line(
        "  void library_matmul(Stream, const char*, const char*, int, const int64_t*, "
        "const void*, const void*, void*);"
    )
    host.line(f"  const int64_t sizes[] = {{{', '.join(sizes)}}};")
    host.line(f"  library_matmul(call.stream, {names}, {types[0].rank}, sizes, {pointers});")
    host.line('  call.launched("cnnlBatchMatMulEx");')
    host.line("}")


def library_source() -> str:
    """`library.cpp`."""
    path = Path(__file__).parent / "sources" / "library.cpp"
    return path.read_text(encoding="utf-8")
