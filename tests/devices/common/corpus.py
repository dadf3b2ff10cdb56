"""Cases of the kernel corpus as projects of a target."""

from __future__ import annotations

from infini_ir.dialects.context import compiler_context
from infini_ir.lowering.graph_to_tile import GraphToTilePass
from infini_ir.models.kernels import KernelCase
from infini_ir.passes.graph.pipeline import graph_pipeline
from infini_ir.targets.c_project.project import Project
from infini_ir.targets.target import Target


def project_of(case: KernelCase, target: Target) -> Project:
    """The project of one case; the module is verified after every pass of the target."""
    ctx = compiler_context()
    module = case.module(ctx)
    for graph_pass in (*graph_pipeline(target.composites), GraphToTilePass()):
        graph_pass.apply(ctx, module)
    for target_pass in target.passes():
        target_pass.apply(ctx, module)
        module.verify()
    project = target.build(module, ctx)
    assert isinstance(project, Project)
    return project
