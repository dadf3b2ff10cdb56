"""Running models on the functional model of an XPU, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from infini_ir.dialects.context import CompilerContext, compiler_context
from infini_ir.frontends.onnx.importer import import_model
from infini_ir.models.kernels import KernelCase
from infini_ir.targets.kunlun.target import KunlunTarget
from tests.devices.common.build import Builder
from tests.devices.common.corpus import project_of

INCLUDE = Path(__file__).parent / "include"

# What a kernel does not write in its local memory is not zero.
BUILDER = Builder(
    (INCLUDE,), flags=("-ftrivial-auto-var-init=pattern",), precompiled="xpu/runtime.h"
)


def run_case(source: object, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs, by name, of a case of the corpus or of an ONNX model on the functional
    model. Raises `RunError` with the rule that a kernel breaks."""
    ctx = compiler_context()
    module = source.module(ctx) if isinstance(source, KernelCase) else import_model(source, ctx)  # pyright: ignore
    return BUILDER.run(project_of(module, ctx, KunlunTarget()), inputs)


def run_module(
    module: ModuleOp, ctx: CompilerContext, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The outputs of a module whose kernels are in buffer form with all memory placed."""
    return BUILDER.run(KunlunTarget().build(module, ctx), inputs)
