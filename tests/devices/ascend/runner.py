"""Compiling models for Ascend and running the projects against the functional model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from infini_ir.dialects.context import CompilerContext, compiler_context
from infini_ir.frontends.onnx.importer import import_model
from infini_ir.lowering.graph_to_tile import GraphToTilePass
from infini_ir.models.kernels.case import KernelCase
from infini_ir.passes.graph.pipeline import graph_pipeline
from infini_ir.targets.ascend.target import AscendTarget
from infini_ir.targets.c_project.project import Project
from tests.devices.common.build import Builder

INCLUDE = Path(__file__).parent / "include"

BUILDER = Builder((INCLUDE,), precompiled="kernel_operator.h")


def compile_module(module: ModuleOp, ctx: CompilerContext, *, library: bool = False) -> Project:
    """The project of a module of the graph dialect."""
    target = AscendTarget(library=library)
    for compiler_pass in (
        *graph_pipeline(target.composites, quantized_weights=target.quantized_weights),
        GraphToTilePass(),
        *target.passes(),
    ):
        compiler_pass.apply(ctx, module)
        module.verify()
    return target.build(module, ctx)


def compile_case(case: KernelCase, *, library: bool = False) -> Project:
    """The project of a case of the kernel corpus."""
    ctx = compiler_context()
    return compile_module(case.module(ctx), ctx, library=library)


def run_case(
    source: object, inputs: Mapping[str, np.ndarray], *, library: bool = False
) -> dict[str, np.ndarray]:
    """Outputs of an ONNX model, or of a case of the corpus, run against the model of the
    device. Raises `RunError` with the rule that a kernel breaks."""
    if isinstance(source, KernelCase):
        project = compile_case(source, library=library)
    else:
        ctx = compiler_context()
        project = compile_module(import_model(source, ctx), ctx, library=library)  # pyright: ignore
    return BUILDER.run(project, inputs)
