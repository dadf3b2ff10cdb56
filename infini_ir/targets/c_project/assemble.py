"""From a legalised module and a target's texts to a project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from infini_ir.dialects.context import CompilerContext
from infini_ir.dialects.dims import DimsAttr
from infini_ir.runtime.metadata import WeightEntry
from infini_ir.targets.c_project.device import DeviceRuntime
from infini_ir.targets.c_project.documents import Toolchain, cmake_lists, readme
from infini_ir.targets.c_project.expressions import c_string
from infini_ir.targets.c_project.host import Handler, HostProgram
from infini_ir.targets.c_project.project import Project, ProjectMetadata
from infini_ir.targets.c_project.signatures import (
    KernelSignature,
    kernels_header,
    signatures_of,
)
from infini_ir.targets.c_project.weights_file import place_weights, table_digest
from infini_ir.targets.programs import (
    program_of,
    remove_unused,
    signature_of,
    symbols_of,
    weight_names,
)
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import Dim

PRODUCER = "infini-ir 0.1.0"
MAXIMUM_RANK = 16
"""`INFINI_MAX_RANK` of `infini.h`."""
STATIC_FILES = (
    "infini.h", "runtime.h", "runtime.cpp", "sizes.h", "device.h", "npy.h", "npy.cpp",
    "main.cpp",
)  # fmt: skip
"""The same in every project; they lie in the folder `sources` beside this file."""


def make_project(
    module: ModuleOp,
    ctx: CompilerContext,
    *,
    target: str,
    architecture: str,
    runtime: DeviceRuntime,
    toolchain: Toolchain,
    kernels: Mapping[str, str],
    report: dict[str, Any] | None = None,
    texts: Mapping[str, str] | None = None,
    alignment: int = 64,
    signatures: Mapping[str, KernelSignature] | None = None,
    operations: Mapping[type[Operation], Handler] | None = None,
) -> Project:
    """
    The project around a target's kernels.

    `kernels`: the target's files, text by path. `alignment`: of weights, in bytes.
    `signatures`: launch functions by the kernel's name, where they are not those of
    `signatures_of(module)`. `operations`: what the target's own operations of the host
    program become (see `HostProgram`).

    Raises `CompileError` for weights without data and for operations without a form.
    """
    remove_unused(module)
    entry = program_of(module)
    table = _weights(module, ctx, alignment)
    inputs, outputs = signature_of(entry)
    for spec in (*inputs, *outputs):
        if len(spec.shape) > MAXIMUM_RANK:
            raise CompileError(
                f"'{spec.name}' has {len(spec.shape)} dimensions; a project's inputs and "
                f"outputs have at most {MAXIMUM_RANK}"
            )
    arena = entry.attributes.get("arena")
    metadata = ProjectMetadata(
        target=target,
        architecture=architecture,
        inputs=inputs,
        outputs=outputs,
        symbols=symbols_of(entry),
        arena=arena.data[0] if isinstance(arena, DimsAttr) else Dim.of(0),
        weights=table,
        alignment=alignment,
        producer=PRODUCER,
        report=dict(report or {}),
    )
    launches = signatures if signatures is not None else signatures_of(module)
    offsets = {weight.name: weight.offset for weight in table}
    host = HostProgram(entry, launches, offsets, operations or {})
    sources = {
        "CMakeLists.txt": cmake_lists(toolchain, kernels),
        "README.md": readme(metadata, toolchain, kernels),
        "model.cpp": model_source(host, metadata),
        "kernels.h": kernels_header(module, launches),
        **kernels,
        "device.cpp": runtime.source(),
        **runtime.extra,
        **{name: static_source(name) for name in STATIC_FILES},
    }
    return Project(metadata, sources, ctx.weights, {} if texts is None else texts)


def static_source(name: str) -> str:
    """One of the files that every project has."""
    return (Path(__file__).parent / "sources" / name).read_text(encoding="utf-8")


def model_source(host: HostProgram, metadata: ProjectMetadata) -> str:
    """`model.cpp`: the host program, and what the runtime must know of the model."""
    program = host.text()
    rows = [
        f"{'inputs' if metadata.inputs else 'nullptr'}, {len(metadata.inputs)}",
        f"{'outputs' if metadata.outputs else 'nullptr'}, {len(metadata.outputs)}",
        f"{metadata.weights_size}, {c_string(table_digest(metadata.weights).hex())}",
        f"{host.block_count}",
    ]
    description = ",\n    ".join(rows)
    return (
        "// The host program: every call of the model runs `run_program`, which starts the\n"
        f"// kernels of kernels.h in order. Written by {metadata.producer}.\n\n"
        '#include "kernels.h"\n#include "runtime.h"\n\n'
        f"{program}\n"
        f"const infini::Description infini::description = {{\n    {description},\n}};\n"
    )


def _weights(module: ModuleOp, ctx: CompilerContext, alignment: int) -> tuple[WeightEntry, ...]:
    store, names = ctx.weights, weight_names(module)
    for name in names:
        if name not in store:
            raise CompileError(
                f"weight '{name}' has no data; compile from the model, not from its text"
            )
    return place_weights(((n, store.dtype(n), store.shape(n)) for n in names), alignment)
