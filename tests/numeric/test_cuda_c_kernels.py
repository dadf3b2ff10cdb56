"""Kernels of every form, written as CUDA C++, against the tile interpreter."""

from __future__ import annotations

import shutil

import pytest
from tile_cases import CASES, Case
from tile_programs import reference, same

from infini_ir.dialects.context import compiler_context
from infini_ir.targets.c_project.project import Project
from infini_ir.targets.cuda_c.target import CudaCTarget
from infini_ir.utils.errors import CompileError
from tests.devices.cuda.runner import builder

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")

WHOLE = [name for name in CASES if name.startswith(("scans", "overwritten_operands"))]
"""Kernels that keep a tile of unknown size, for which a block has no room."""


def project_of(case: Case) -> Project:
    target, ctx = CudaCTarget(), compiler_context()
    ctx.weights = case.program.ctx.weights
    module = case.program.module.clone()
    for step in target.passes():
        step.apply(ctx, module)
        module.verify()
    return target.build(module, ctx)


@pytest.mark.parametrize("name", [name for name in CASES if name not in WHOLE])
def test_same_as_the_interpreter(name: str) -> None:
    case = CASES[name]()
    project = project_of(case)
    names = [spec.name for spec in project.metadata.inputs]
    for inputs in case.inputs:
        wanted = reference(case.program, inputs)
        given = builder().run(project, dict(zip(names, inputs, strict=True)))
        for number, (one, other) in enumerate(zip(given.values(), wanted, strict=True)):
            shapes = [a.shape for a in inputs]
            same(one, other, f"output {number} of {shapes}", case.rtol, case.atol, case.exact)


@pytest.mark.parametrize("name", WHOLE)
def test_tiles_of_unknown_size_are_refused(name: str) -> None:
    with pytest.raises(CompileError, match="known"):
        project_of(CASES[name]())
