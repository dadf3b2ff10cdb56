"""Products left to aclnn: which kernels, and their calls in the host program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass

from infini_ir.dialects import tile
from infini_ir.dialects.tile import program
from infini_ir.passes.tile.contraction import Contraction, find_contraction
from infini_ir.passes.tile.use_library import use_library
from infini_ir.targets.ascend.cube_plan import direct_store, fits_cube
from infini_ir.targets.c_project.expressions import c_string
from infini_ir.targets.c_project.host import HostProgram


@dataclass(frozen=True)
class UseAclnnPass(ModulePass):
    """Leaves matrix products to aclnn where nothing but a rounding to the operands' type
    follows; others have an epilogue of ours, or are no products of matrices."""

    name = "ascend-use-aclnn"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for kernel in list(op.body.block.ops):
            if not isinstance(kernel, tile.KernelOp):
                continue
            contraction = find_contraction(kernel)
            if contraction is not None and _fits_aclnn(contraction):
                use_library(kernel, op, cut=False)


def _fits_aclnn(contraction: Contraction) -> bool:
    """Whether operands and result have one type."""
    if not fits_cube(contraction):
        return False
    store, loads = direct_store(contraction), contraction.loads
    assert loads is not None
    return store is not None and (
        tile.view_type(store.view).dtype == tile.view_type(loads[0].view).dtype
    )


def emit_call(host: HostProgram, op: Operation) -> None:
    """A call of `library_matmul` in `model.cpp`."""
    assert isinstance(op, program.LibraryOp)
    types = [tile.view_type(view) for view in op.views]
    sizes = [host.size(dim) for type in types for dim in (*type.shape, *type.strides)]
    pointers = ", ".join(host.pointer(view) for view in op.views)
    host.line("{")
    host.line(
        "  void library_matmul(Stream, const char*, int, const int64_t*, const void*, "
        "const void*, void*);"
    )
    host.line(f"  const int64_t sizes[] = {{{', '.join(sizes)}}};")
    arguments = f"{c_string(types[0].dtype)}, {types[0].rank}, sizes, {pointers}"
    host.line(f"  library_matmul(call.stream, {arguments});")
    host.line('  call.launched("aclnnMatmul");')
    host.line("}")


def library_source() -> str:
    """`library.cpp`."""
    path = Path(__file__).parent / "sources" / "library.cpp"
    return path.read_text(encoding="utf-8")
