"""Running models on the functional model of an MLU, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from xdsl.dialects.builtin import ModuleOp

import infini_ir
from infini_ir.dialects.context import CompilerContext
from infini_ir.targets.c_project.project import Project
from infini_ir.targets.cambricon.target import CambriconTarget
from tests.devices.common.build import Builder

INCLUDE = Path(__file__).parent / "include"
ARCHITECTURES = {"mlu590": 592, "mlu370": 372}


def builder(architecture: str = "mlu590", *defines: str) -> Builder:
    """What builds projects against the model of one chip."""
    arch = f"__BANG_ARCH__={ARCHITECTURES[architecture]}"
    return Builder((INCLUDE,), (arch, *defines), precompiled="bang.h")


def run_case(
    source: object, inputs: Mapping[str, np.ndarray], architecture: str = "mlu590"
) -> dict[str, np.ndarray]:
    """The outputs, by name, of a model (as of `infini_ir.compile`) on the functional model."""
    project = infini_ir.compile(source, target=f"cambricon:{architecture}")
    assert isinstance(project, Project)
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
