"""A target for tests: the kernels of `RandomProgram` as plain C++ loops on the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tile_programs import TileProgram
from xdsl.dialects.builtin import ModuleOp

from infini_ir.dialects import tile
from infini_ir.dialects.context import CompilerContext
from infini_ir.dialects.tile import view_type
from infini_ir.passes.tile.plan_memory import PlanMemoryPass
from infini_ir.targets.c_project.assemble import make_project
from infini_ir.targets.c_project.device import DeviceRuntime
from infini_ir.targets.c_project.project import Project
from infini_ir.targets.c_project.signatures import KernelSignature, signatures_of
from infini_ir.utils.symbolic import product
from tests.devices.common.host_device import HOST_RUNTIME, HOST_TOOLCHAIN

Views = Sequence[str]


def make(p: TileProgram, **options: Any) -> Project:
    """The project of a program put together by hand."""
    return make_of(p.module.clone(), p.ctx, **options)


def make_of(
    module: ModuleOp,
    ctx: CompilerContext,
    runtime: DeviceRuntime = HOST_RUNTIME,
    **options: Any,
) -> Project:
    """The project of a module whose kernels are of the kinds in `KERNELS`."""
    PlanMemoryPass().apply(ctx, module)
    module.verify()
    return make_project(
        module,
        ctx,
        target="loops",
        architecture="host",
        runtime=runtime,
        toolchain=HOST_TOOLCHAIN,
        kernels={"kernels.cpp": kernels_text(module)},
        **options,
    )


def kernels_text(module: ModuleOp) -> str:
    """All kernels of a module, with their launch functions."""
    signatures = signatures_of(module)
    parts = [HEAD]
    for op in module.body.block.ops:
        if isinstance(op, tile.KernelOp):
            parts.append(kernel_text(op, signatures[op.sym_name.data]))
    return "\n".join(parts)


HEAD = """\
#include "kernels.h"
#include "sizes.h"

#ifndef INFINI_LAUNCH
#define INFINI_LAUNCH(kernel, stream, ...) kernel(__VA_ARGS__)
#endif

template <class T>
static T sum(const T* x, int64_t count) {
  T total = 0;
  for (int64_t i = 0; i < count; ++i) total += x[i];
  return total;
}
"""


def kernel_text(kernel: tile.KernelOp, signature: KernelSignature) -> str:
    names = signature.symbol_names()
    kind = signature.name.rstrip("0123456789_")
    counts = [names.expression(product(view_type(view).shape)) for view in kernel.views]
    types = [
        {"f32": "float", "i1": "bool", "i64": "int64_t"}[view_type(v).dtype]
        for v in kernel.views
    ]
    body = KERNELS[kind](signature.views, counts)
    given = signature.arguments()
    typed = [
        (f"{types[i]}* " if i < len(types) else "[[maybe_unused]] int64_t ") + name
        for i, (_, name) in enumerate(given)
    ]
    casts = [
        f"static_cast<{types[i]}*>({name})" if i < len(types) else name
        for i, (_, name) in enumerate(given)
    ]
    head = (
        signature.head().replace("Stream stream", "Stream").replace("int64_t cores", "int64_t")
    )
    return (
        f"static void {signature.name}({', '.join(typed)}) {{\n  {body}\n}}\n\n"
        f"{head} {{\n  INFINI_LAUNCH({signature.name}, stream, {', '.join(casts)});\n}}\n"
    )


def _mix(v: Views, n: Views) -> str:
    return (
        f"const float a = sum({v[0]}, {n[0]}) * 0.31f, b = sum({v[1]}, {n[1]}) * -0.17f;\n"
        f"  for (int64_t i = 0; i < {n[2]}; ++i) {v[2]}[i] = a + b + float(i) * 0.01f;"
    )


KERNELS: dict[str, Callable[[Views, Views], str]] = {
    "mix": _mix,
    "flag": lambda v, n: f"*{v[1]} = sum({v[0]}, {n[0]}) > 0;",
    "zero": lambda v, n: f"*{v[0]} = 0;",
    "count": lambda v, n: f"*{v[0]} += 1;",
    "test": lambda v, n: f"*{v[2]} = *{v[0]} < 3 && *{v[1]} < 1;",
}
