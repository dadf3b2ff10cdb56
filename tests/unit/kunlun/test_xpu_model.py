"""The functional model of XPU C catches planted faults; what a device cannot do is refused."""

from __future__ import annotations

import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from infini_ir.dialects.context import compiler_context
from infini_ir.models.kernels import cases
from infini_ir.targets.kunlun.target import KunlunTarget
from infini_ir.utils.errors import OptionError
from tests.devices.common.corpus import project_of
from tests.devices.kunlun.runner import BUILDER, INCLUDE

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")

FAULTS = (
    (2, "missing mfence: end of the kernel"),
    (4, "address space: GM2LM"),
    (5, "bounds: GM2LM"),
    (6, "size: GM2LM"),
    (7, "size: GM2LM"),
    (8, "race: LM2GM"),
    (9, "race: GM2LM"),
)


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("faults") / "faults"
    source = Path(__file__).parent / "xpu_faults.cpp"
    command = ["g++", "-std=c++17", "-O1", "-Wall", "-Wextra", f"-I{INCLUDE}", "-w"]
    subprocess.run([*command, str(source), "-o", str(program)], check=True)
    return program


def run(program: Path, case: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(program), str(case)], capture_output=True, text=True)


def test_a_right_kernel_runs(faults: Path) -> None:
    done = run(faults, 0)
    assert (done.returncode, done.stderr) == (0, "")


def test_using_what_has_not_arrived_gives_wrong_numbers(faults: Path) -> None:
    assert run(faults, 1).returncode == 3


@pytest.mark.parametrize(("case", "message"), FAULTS)
def test_a_fault_is_named(faults: Path, case: int, message: str) -> None:
    done = run(faults, case)
    assert done.returncode == 66
    assert f"XPU model: {message}" in done.stderr


def test_global_memory_is_only_copied(faults: Path) -> None:
    assert run(faults, 3).returncode == -signal.SIGSEGV


def test_every_kernel_is_a_source_without_globals() -> None:
    case = next(case for case in cases() if case.name == "scatter-add-f32")
    ctx = compiler_context()
    project = project_of(case.module(ctx), ctx, KunlunTarget())
    kernels = [text for path, text in project.sources.items() if path.endswith(".xpu")]
    assert all(text.count("__global__") == 1 for text in kernels)
    assert sum("no atomic" in text.lower() for text in kernels) == 1
    inputs = case.inputs()
    outputs = BUILDER.run(project, inputs)
    assert case.error([outputs[name] for name in case.outputs], inputs) < 1


def test_unknown_architectures_are_refused() -> None:
    with pytest.raises(OptionError, match="xpu3"):
        KunlunTarget("xpu1")


def test_sources_are_what_the_compiler_of_the_device_takes() -> None:
    """Headers of the host before those of the device, pointers to global memory said to be
    such, no function that xtdk_math.h lacks: compiled as they are, nothing included before."""
    case = next(case for case in cases() if case.name == "math-rounding-f32")
    ctx = compiler_context()
    project = project_of(case.module(ctx), ctx, KunlunTarget())
    launches = [text for path, text in project.sources.items() if path.endswith(".xpu")]
    assert all("reinterpret_cast<__global_ptr__ float*>(v0)" in text for text in launches)
    replace(BUILDER, precompiled="").build(project)
    cmake = project.text("CMakeLists.txt")
    assert "--xpu-arch=xpu3 -O2 -fno-builtin" in cmake
    assert "-only" not in cmake


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('#include "xpu/kernel/xtdk.h"', "headers of the host come before"),
        ('#include "xpu/runtime.h"\n#include "xpu/kernel/xtdk_math.h"\n'
         "float f(float x) { return sqrtf(x); }", "poisoned"),
    ],
)  # fmt: skip
def test_the_model_refuses_sources(tmp_path: Path, line: str, message: str) -> None:
    source = tmp_path / "kernel.cpp"
    source.write_text(f"{line}\n")
    done = subprocess.run(
        ["g++", "-std=c++17", "-fsyntax-only", f"-I{INCLUDE}", str(source)],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert message in done.stderr
