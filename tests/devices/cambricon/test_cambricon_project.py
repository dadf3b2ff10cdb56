"""The CMake text of a Cambricon project, with stand-ins for the vendor's tools."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from infini_ir.dialects.context import compiler_context
from infini_ir.models.kernels import cases
from infini_ir.targets.cambricon.target import CambriconTarget
from tests.devices.cambricon.runner import INCLUDE
from tests.devices.common.corpus import project_of
from tests.devices.common.vendor_tools import build_and_run, install

pytestmark = pytest.mark.skipif(shutil.which("cmake") is None, reason="no cmake")


@pytest.mark.parametrize("library", [False, True])
def test_project_builds_and_runs(library: bool, tmp_path: Path) -> None:
    case = next(case for case in cases() if case.name == "matmul-gelu-f32")
    ctx = compiler_context()
    project = project_of(case.module(ctx), ctx, CambriconTarget(library=library))
    assert ("library.cpp" in project.sources) == library
    neuware = tmp_path / "neuware"
    install(neuware, INCLUDE, "cncc", ("cnrt", "cnnl"))
    error = build_and_run(project, case, tmp_path, {"NEUWARE_HOME": str(neuware)})
    assert error < 1
