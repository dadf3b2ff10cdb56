"""Running models on the functional model of CUDA C++, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from xdsl.dialects.builtin import ModuleOp

import infini_ir
from infini_ir.dialects.context import CompilerContext
from infini_ir.targets.c_project.project import Project
from infini_ir.targets.cuda_c.target import CudaCTarget
from tests.devices.common.build import Builder

INCLUDE = Path(__file__).parent / "include"
FLAGS = ("-Wno-unknown-pragmas", "-ffp-contract=off")
"""Unrolling is the vendors' compilers' business; products and sums are rounded one by one."""


def builder(warp_size: int = 32) -> Builder:
    """What builds projects against the model with warps of a size."""
    return Builder(
        (INCLUDE,), (f"INFINI_WARP={warp_size}",), flags=FLAGS, precompiled="cuda_runtime.h"
    )


def run_case(
    source_or_module: object, inputs: Mapping[str, np.ndarray], warp_size: int = 32
) -> dict[str, np.ndarray]:
    """The outputs, by name, of a model (as of `infini_ir.compile`) on the functional model."""
    project = infini_ir.compile(source_or_module, target="cuda-c")
    assert isinstance(project, Project)
    return builder(warp_size).run(project, inputs)


def run_module(
    module: ModuleOp,
    ctx: CompilerContext,
    inputs: Mapping[str, np.ndarray],
    warp_size: int = 32,
) -> dict[str, np.ndarray]:
    """The outputs of a tile program: planned, written, built and run."""
    target = CudaCTarget()
    for tile_pass in target.passes():
        tile_pass.apply(ctx, module)
    return builder(warp_size).run(target.build(module, ctx), inputs)
