"""Running models on the functional model of an MLU, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from infini_ir.dialects.context import CompilerContext, compiler_context
from infini_ir.frontends.onnx.importer import import_model
from infini_ir.models.kernels import KernelCase
from infini_ir.targets.cambricon.target import CambriconTarget
from tests.devices.common.build import Builder
from tests.devices.common.corpus import project_of

INCLUDE = Path(__file__).parent / "include"
ARCHITECTURES = {"mlu590": 592, "mlu370": 372}


def builder(architecture: str = "mlu590", *defines: str) -> Builder:
    """What builds projects against the model of one chip."""
    arch = f"__BANG_ARCH__={ARCHITECTURES[architecture]}"
    return Builder((INCLUDE,), (arch, *defines), precompiled="bang.h")


def run_case(
    source: object,
    inputs: Mapping[str, np.ndarray],
    architecture: str = "mlu590",
    *,
    library: bool = False,
) -> dict[str, np.ndarray]:
    """The outputs, by name, of a case of the corpus or of an ONNX model on the functional
    model. Raises `RunError` with the rule that a kernel breaks."""
    ctx = compiler_context()
    module = source.module(ctx) if isinstance(source, KernelCase) else import_model(source, ctx)  # pyright: ignore
    project = project_of(module, ctx, CambriconTarget(architecture, library=library))
    return builder(architecture).run(project, inputs)


def run_module(
    module: ModuleOp,
    ctx: CompilerContext,
    inputs: Mapping[str, np.ndarray],
    architecture: str = "mlu590",
) -> dict[str, np.ndarray]:
    """The outputs of a module whose kernels are in buffer form with all memory placed."""
    project = CambriconTarget(architecture).build(module, ctx)
    return builder(architecture).run(project, inputs)
