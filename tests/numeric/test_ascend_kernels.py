"""Every kernel of the corpus as Ascend C, run against the functional model of the device."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from infini_ir.models.kernels import cases
from infini_ir.models.kernels.case import KernelCase
from infini_ir.targets.ascend.target import AscendTarget
from infini_ir.utils.errors import OptionError
from tests.devices.ascend.runner import BUILDER, compile_case
from tests.devices.checks import record

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")

LIBRARY = ("matmul-vector-f16", "batched-matmul-f32", "batched-matmul-bf16", "matmul-plain-f32")


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_kernel(case: KernelCase) -> None:
    project = compile_case(case)
    inputs = case.inputs()
    outputs = BUILDER.run(project, inputs)
    assert case.error(list(outputs.values()), inputs) <= 1
    record("ascend", case.kernel, case.dtype, "model")


@pytest.mark.parametrize("name", LIBRARY)
def test_products_by_the_library(name: str) -> None:
    case = next(case for case in cases() if case.name == name)
    project = compile_case(case, library=True)
    assert "library_matmul(" in project.text("model.cpp")
    assert "kernels_cube.cpp" not in project.sources
    inputs = case.inputs()
    outputs = BUILDER.run(project, inputs)
    assert case.error(list(outputs.values()), inputs) <= 1


def test_products_with_an_epilogue_stay_our_own() -> None:
    case = next(case for case in cases() if case.name == "matmul-gelu-f16")
    project = compile_case(case, library=True)
    assert "library.cpp" not in project.sources
    assert "KERNEL_TYPE_AIC_ONLY" in project.text("kernels_cube.cpp")


def test_a_project_says_how_it_is_built() -> None:
    project = compile_case(next(case for case in cases() if case.name == "softmax-f32"))
    cmake = project.text("CMakeLists.txt")
    assert "ascendc_library(kernels STATIC ${KERNEL_SOURCES})" in cmake
    assert "--npu-arch=dav-2201" in cmake
    assert "set(KERNEL_SOURCES kernels.cpp)" in cmake
    assert "set_env.sh" in project.text("README.md")
    assert "softmax_kernel" in project.texts["source"]


def test_other_architectures_are_not_known() -> None:
    assert AscendTarget("").architecture == "910b"
    with pytest.raises(OptionError, match="unknown Ascend '310p'; there are: 910b"):
        AscendTarget("310p")


@pytest.mark.skipif(
    "INFINI_ACL_HEADERS" not in os.environ,
    reason="INFINI_ACL_HEADERS names no folder that holds acl/acl.h of CANN",
)
def test_host_code_type_checks_against_the_vendors_headers(tmp_path: Path) -> None:
    case = next(case for case in cases() if case.name == "softmax-f32")
    project = compile_case(case)
    for name, text in project.sources.items():
        (tmp_path / name).write_text(text)
    include = os.environ["INFINI_ACL_HEADERS"]
    for name in ("device.cpp", "model.cpp", "runtime.cpp", "main.cpp"):
        command = ["g++", "-std=c++17", "-fsyntax-only", f"-I{include}", str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert not re.search(r"\berror\b", done.stderr), done.stderr[:2000]
        assert done.returncode == 0, done.stderr[:2000]
