"""Products left to cuBLAS: which kernels, and their calls in the host program."""

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
from infini_ir.targets.c_project.expressions import c_string
from infini_ir.targets.c_project.host import HostProgram
from infini_ir.utils.symbolic import ONE

TYPES = {"f16": "f32", "bf16": "f32", "f32": "f32", "f64": "f64"}
"""Element types of factors, and in which their products are summed."""


@dataclass(frozen=True)
class UseBlasPass(ModulePass):
    """Leaves matrix products to cuBLAS where nothing but a rounding to the factors' type
    follows; others have an epilogue of ours, or are no products of matrices."""

    name = "cuda-c-use-blas"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for kernel in list(op.body.block.ops):
            if isinstance(kernel, tile.KernelOp):
                contraction = find_contraction(kernel)
                if contraction is not None and _fits(contraction):
                    use_library(kernel, op, cut=False)


def _fits(contraction: Contraction) -> bool:
    """Whether factors and result have one type, one batch axis at most, and neighbours along
    an axis of the matrices."""
    kernel = contraction.kernel
    if contraction.loads is None or kernel.grid_rank > 3:
        return False
    stores = [op for op in kernel.body.walk() if isinstance(op, tile.StoreOp)]
    if len(stores) != 1:
        return False
    accesses = [*contraction.loads, stores[0]]
    dtypes = {tile.view_type(access.view).dtype for access in accesses}
    if len(dtypes) != 1 or TYPES.get(dtypes.pop()) != contraction.accumulator.dtype:
        return False
    batch = [
        offset
        for axis, offset in enumerate(kernel.offsets)
        if axis not in contraction.grid_axes
    ]
    for access in accesses:
        strides = tile.view_type(access.view).strides
        units = [
            stride is ONE and offset not in batch
            for stride, offset in zip(strides, access.offsets, strict=True)
        ]
        if not any(units):
            return False
    last = tile.view_type(stores[0].view).strides[-1]
    return last is ONE


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
    host.line("}")


def library_source() -> str:
    """`library.cpp`."""
    path = Path(__file__).parent / "sources" / "library.cpp"
    return path.read_text(encoding="utf-8")
