"""Running models on the functional model of an XPU, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from xdsl.dialects.builtin import ModuleOp

import infini_ir
from infini_ir.dialects.context import CompilerContext
from infini_ir.targets.c_project.project import Project
from infini_ir.targets.kunlun.target import KunlunTarget
from tests.devices.common.build import Builder

INCLUDE = Path(__file__).parent / "include"

# What a kernel does not write in its local memory is not zero.
BUILDER = Builder(
    (INCLUDE,), flags=("-ftrivial-auto-var-init=pattern",), precompiled="xpu/kernel/xtdk.h"
)


def run_case(source: object, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs, by name, of a model (as of `infini_ir.compile`) on the functional model."""
    project = infini_ir.compile(source, target="kunlun")
    assert isinstance(project, Project)
    return BUILDER.run(project, inputs)


def run_module(
    module: ModuleOp, ctx: CompilerContext, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The outputs of a module whose kernels are in buffer form with all memory placed."""
    return BUILDER.run(KunlunTarget().build(module, ctx), inputs)
