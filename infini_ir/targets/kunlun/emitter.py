"""Kernels in buffer form as XPU C: one source a kernel, with its launch function."""

from __future__ import annotations

from collections.abc import Mapping

from xdsl.dialects.builtin import ModuleOp

from infini_ir.dialects import tile
from infini_ir.dialects.buffer import local_type, memory
from infini_ir.dialects.tile import Combine
from infini_ir.dialects.tile.types import view_type
from infini_ir.targets.c_project.core_instructions import HANDLERS
from infini_ir.targets.c_project.core_kernel import CoreKernel, Handler, memory_type
from infini_ir.targets.c_project.expressions import c_comment
from infini_ir.targets.c_project.signatures import KernelSignature
from infini_ir.targets.kunlun.limits import CORES_OF_CLUSTER, LOCAL_BYTES, MACHINE, STACK_BYTES
from infini_ir.utils.errors import CompileError

_WORDS = """
core_id core_num cluster_id cluster_num local_memory cores_of_all core programs clusters dot
copy_in copy_out copy_out_add copy_out_mul copy_out_max copy_out_min copy_row select_rows
mask_not mask_and mask_or mask_xor mask_from_bytes mask_to_bytes reduce_add reduce_max
reduce_min transpose_rows read_element number opposite sum_of difference_of product_of
quotient_of larger_of smaller_of widen infinity not_a_number saturate quotient magnitude
floor_div floor_mod smaller larger mfence exponential logarithm square_root reciprocal_root
larger_but_nan smaller_but_nan absolute with_sign whole_towards_zero whole_below whole_above
whole_nearest
"""
RESERVED = frozenset(_WORDS.split())
"""Names that the kernels' text uses for other things than values."""


def kernel_sources(
    module: ModuleOp, signatures: Mapping[str, KernelSignature]
) -> dict[str, str]:
    """Every kernel's file, by name: the compiler takes one kernel a source."""
    sources: dict[str, str] = {}
    for op in module.body.block.ops:
        if isinstance(op, tile.KernelOp):
            signature = signatures[op.sym_name.data]
            parts = [_HEAD, kernel_source(op, signature), launch_source(op, signature)]
            sources[f"kernel_{signature.name}.xpu"] = "\n".join(parts)
    return sources


_HEAD = """\
#include "kernels.h"
#include "xpu/runtime.h"

#include "core.h"

// A launch; a functional model brings its own.
#ifndef INFINI_LAUNCH
#define INFINI_LAUNCH(kernel, clusters, cores, stream, ...) \\
  kernel<<<clusters, cores, stream>>>(__VA_ARGS__)
#endif
"""


def _read(writer: CoreKernel, op: tile.ReadOp) -> None:
    """Global memory is only copied from."""
    text = f"read_element({writer.address(op.view, op.offsets)})"
    boolean = memory_type(view_type(op.view).element) == "int8_t" and str(op.out.type) == "i1"
    writer.define(op.out, f"{text} != 0" if boolean else text)


_HANDLERS: dict[type, Handler] = {**HANDLERS, tile.ReadOp: _read}


def _local_bytes(kernel: tile.KernelOp) -> int:
    ends = [0]
    for op in kernel.walk():
        if isinstance(op, memory.AllocOp):
            local = local_type(op.out)
            size = MACHINE.bytes_of(local.count, local.dtype)
            ends.append((op.offset or 0) + op.slots * size)
    if max(ends) > LOCAL_BYTES - STACK_BYTES:
        raise CompileError(
            f"kernel '{kernel.sym_name.data}' wants {max(ends)} bytes of local memory, "
            f"{LOCAL_BYTES - STACK_BYTES} are there; give it smaller tiles"
        )
    return max(ends)


def _parameters(kernel: tile.KernelOp, signature: KernelSignature) -> list[tuple[str, str]]:
    """Pointers to global memory; sizes as long long, which host and device agree on."""
    names = signature.symbol_names()
    return [
        *(
            (f"{memory_type(view_type(view).element)}*", name)
            for view, name in zip(kernel.views, signature.views, strict=True)
        ),
        *(("long long", names.symbol(symbol)) for symbol in signature.symbols),
    ]


def kernel_source(kernel: tile.KernelOp, signature: KernelSignature) -> str:
    """One kernel's function."""
    writer = CoreKernel(kernel, signature, _HANDLERS, reserved=RESERVED)
    size = _local_bytes(kernel)
    if size:
        # 64-bit elements: the array is aligned for all of them.
        writer.line(f"__local__ long long words[{-(-size // 8)}];")
        writer.line("char* const local_memory = reinterpret_cast<char*>(words);")
    for op in kernel.body.block.ops:
        if isinstance(op, memory.AllocOp):
            writer.operation(op)
    writer.line("const int64_t core = cluster_id() * core_num() + core_id();")
    writer.line("const int64_t cores_of_all = cluster_num() * core_num();")
    writer.programs("core", "cores_of_all", skip=memory.AllocOp)
    parameters = ", ".join(
        f"__global_ptr__ {t} {n}" if t.endswith("*") else f"{t} {n}"
        for t, n in _parameters(kernel, signature)
    )
    origin = f"// {c_comment(kernel.origin.data)}\n" if kernel.origin is not None else ""
    head = f"{origin}__global__ void kernel_{signature.name}({parameters}) {{"
    return "\n".join([head, *writer.lines, "}", ""])


def _combines(kernel: tile.KernelOp) -> bool:
    """Whether the kernel changes what is in global memory, which must not be done by two
    cores at a time."""
    return any(
        isinstance(op, memory.CopyOutOp) and op.combine.data is not Combine.set
        for op in kernel.walk()
    )


def launch_source(kernel: tile.KernelOp, signature: KernelSignature) -> str:
    """One kernel's launch function."""
    writer = CoreKernel(kernel, signature, _HANDLERS, reserved=RESERVED)
    arguments = ", ".join(
        f"reinterpret_cast<__global_ptr__ {type}>({name})"
        if type.endswith("*")
        else f"static_cast<{type}>({name})"
        for type, name in _parameters(kernel, signature)
    )
    if _combines(kernel):
        shape = ["  // No atomic operations on global memory: one core does it all."]
        clusters, cores = "1", "1"
    else:
        count = f"(smaller(programs, cores) + {CORES_OF_CLUSTER - 1}) / {CORES_OF_CLUSTER}"
        shape = [f"  const int clusters = static_cast<int>({count});"]
        clusters, cores = "clusters", str(CORES_OF_CLUSTER)
    unused = ["  (void)cores;"] if clusters == "1" else []
    return "\n".join(
        [
            f"{signature.head()} {{",
            f"  const int64_t programs = {writer.grid_size()};",
            "  if (programs <= 0) return;",
            *shape,
            *unused,
            f"  INFINI_LAUNCH(kernel_{signature.name}, {clusters}, {cores}, "
            "static_cast<XPUStream>(stream),",
            f"                {arguments});",
            "}",
            "",
        ]
    )
