"""The CMake text of a Kunlun project, with stand-ins for the vendor's tools."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from infini_ir.dialects.context import compiler_context
from infini_ir.models.kernels import cases
from infini_ir.targets.kunlun.target import KunlunTarget
from tests.devices.common.corpus import project_of
from tests.devices.common.vendor_tools import build_and_run, install
from tests.devices.kunlun.runner import INCLUDE

pytestmark = pytest.mark.skipif(shutil.which("cmake") is None, reason="no cmake")


def test_project_builds_and_runs(tmp_path: Path) -> None:
    case = next(case for case in cases() if case.name == "matmul-gelu-f32")
    ctx = compiler_context()
    project = project_of(case.module(ctx), ctx, KunlunTarget())
    tools = tmp_path / "tools"
    install(tools, INCLUDE, "clang++", ("xpurt",))
    places = {"XTDK_PATH": str(tools), "XPU_RUNTIME_PATH": str(tools)}
    assert build_and_run(project, case, tmp_path, places) < 1
