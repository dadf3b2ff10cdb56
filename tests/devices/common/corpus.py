"""Modules of the graph dialect as projects of a target."""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp

from infini_ir.dialects.context import CompilerContext
from infini_ir.lowering.graph_to_tile import GraphToTilePass
from infini_ir.passes.graph.pipeline import graph_pipeline
from infini_ir.targets.c_project.project import Project
from infini_ir.targets.target import Target


def project_of(module: ModuleOp, ctx: CompilerContext, target: Target) -> Project:
    """The project of a module, which is verified after every pass of the target."""
    for graph_pass in (
        *graph_pipeline(target.composites, quantized_weights=target.quantized_weights),
        GraphToTilePass(),
    ):
        graph_pass.apply(ctx, module)
    for target_pass in target.passes():
        target_pass.apply(ctx, module)
        module.verify()
    project = target.build(module, ctx)
    assert isinstance(project, Project)
    return project
