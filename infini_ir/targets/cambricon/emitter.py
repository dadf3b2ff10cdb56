"""Kernels in buffer form as BANG C: one source with all kernels and their launch functions."""

from __future__ import annotations

from collections.abc import Mapping

from xdsl.dialects.builtin import ModuleOp

from infini_ir.dialects import tile
from infini_ir.dialects.buffer import local_type, memory
from infini_ir.dialects.tile.types import view_type
from infini_ir.targets.c_project.core_instructions import HANDLERS
from infini_ir.targets.c_project.core_kernel import CoreKernel, memory_type
from infini_ir.targets.c_project.expressions import c_comment
from infini_ir.targets.c_project.signatures import KernelSignature
from infini_ir.targets.cambricon.limits import MACHINE

_WORDS = """
taskId taskDim coreId coreDim clusterId clusterDim local_memory scratch filter strip operand dot
LANES STRIP MATRIX_BYTES SCRATCH_BYTES NRAM_BYTES POOL programs unions dim infinity
not_a_number round_up widen copy_in copy_in_ahead wait_for_copies wait_for_computing copy_out copy_out_add copy_row select_rows mask_not
mask_and mask_or mask_xor mask_from_bytes mask_to_bytes reduce_add reduce_max reduce_min
floor_div floor_mod smaller larger saturate quotient magnitude exponential logarithm
square_root reciprocal_root larger_but_nan smaller_but_nan absolute with_sign
whole_towards_zero whole_below whole_above whole_nearest
"""
RESERVED = frozenset(_WORDS.split())
"""Names that the kernels' text uses for other things than values."""

TASKS_OF_UNION = 4
"""Cores of a cluster, which a Union1 task takes."""


def kernels_source(module: ModuleOp, signatures: Mapping[str, KernelSignature]) -> str:
    """The text of `kernels.mlu`."""
    kernels = [op for op in module.body.block.ops if isinstance(op, tile.KernelOp)]
    size = max((_nram_bytes(kernel) for kernel in kernels), default=0)
    parts = [_HEAD, _MEMORY.format(bytes=size)] if size else [_HEAD]
    for kernel in kernels:
        signature = signatures[kernel.sym_name.data]
        parts += [kernel_source(kernel, signature), launch_source(kernel, signature)]
    return "\n".join(parts)


def _nram_bytes(kernel: tile.KernelOp) -> int:
    """Bytes of NRAM that a planned kernel's allocations reach to."""
    ends = [0]
    for op in kernel.walk():
        if isinstance(op, memory.AllocOp):
            local = local_type(op.out)
            size = MACHINE.bytes_of(local.count, local.dtype)
            ends.append((op.offset or 0) + op.slots * size)
    return max(ends)


_HEAD = """\
// All kernels. Every core runs every tasks-th program of a kernel's grid.
#include "core.h"
#include "kernels.h"

// A launch; a functional model brings its own.
#ifndef INFINI_LAUNCH
#define INFINI_LAUNCH(kernel, dim, type, queue, ...) kernel<<<dim, type, queue>>>(__VA_ARGS__)
#endif
"""

_MEMORY = """\
constexpr int64_t NRAM_BYTES = {bytes};

// 128 KB of NRAM are the stack's.
static_assert(NRAM_BYTES + SCRATCH_BYTES + 128 * 1024 <= __MLU_NRAM_SIZE__ * 1024,
              "the kernels want more NRAM than this chip has");
static_assert(MATRIX_BYTES <= __MLU_WRAM_SIZE__ * 1024,
              "the kernels want more WRAM than this chip has");

__nram__ INFINI_ALIGNED char local_memory[NRAM_BYTES];
"""


def _parameters(kernel: tile.KernelOp, signature: KernelSignature) -> list[tuple[str, str]]:
    names = signature.symbol_names()
    return [
        *(
            (f"{memory_type(view_type(view).element)}*", name)
            for view, name in zip(kernel.views, signature.views, strict=True)
        ),
        *(("int64_t", names.symbol(symbol)) for symbol in signature.symbols),
    ]


def kernel_source(kernel: tile.KernelOp, signature: KernelSignature) -> str:
    """One kernel's function."""
    writer = CoreKernel(kernel, signature, HANDLERS, "float", RESERVED)
    allocations = [op for op in kernel.body.block.ops if isinstance(op, memory.AllocOp)]
    for op in allocations:
        writer.operation(op)
    writer.programs("taskId", "taskDim", skip=memory.AllocOp)
    parameters = ", ".join(f"{t} {n}" for t, n in _parameters(kernel, signature))
    origin = f"// {c_comment(kernel.origin.data)}\n" if kernel.origin is not None else ""
    head = f"{origin}__mlu_global__ void kernel_{signature.name}({parameters}) {{"
    return "\n".join([head, *writer.lines, "}", ""])


def launch_source(kernel: tile.KernelOp, signature: KernelSignature) -> str:
    """One kernel's launch function: a Union1 task, no larger than its grid wants."""
    writer = CoreKernel(kernel, signature, HANDLERS, "float", RESERVED)
    total = writer.grid_size()
    arguments = [
        f"static_cast<{type}>({name})" if type.endswith("*") else name
        for type, name in _parameters(kernel, signature)
    ]
    return "\n".join(
        [
            f"{signature.head()} {{",
            f"  const int64_t programs = {total};",
            "  if (programs <= 0) return;",
            f"  const int64_t unions = (smaller(programs, cores) + {TASKS_OF_UNION - 1}) / "
            f"{TASKS_OF_UNION};",
            f"  const cnrtDim3_t dim = {{{TASKS_OF_UNION}, static_cast<unsigned int>(unions), 1}};",
            f"  INFINI_LAUNCH(kernel_{signature.name}, dim, cnrtFuncTypeUnion1,",
            f"                static_cast<cnrtQueue_t>(stream), {', '.join(arguments)});",
            "}",
            "",
        ]
    )
