"""nvcc takes the kernels, and no thread's values go to local memory."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from infini_ir.compiler import Compilation, Options
from infini_ir.models.kernels import KernelCase, cases
from infini_ir.targets.c_project.project import Project
from tests.devices.checks import record

pytestmark = pytest.mark.skipif(
    shutil.which("nvcc") is None, reason="nvcc is not installed: CUDA C++ is not compiled"
)

KERNELS = (
    "matmul-plain-f32", "matmul-gelu-f16", "int8-matmul-f16", "attention-prefill-bf16",
    "attention-decode-paged-f16", "convolution-f16", "softmax-f32", "cumulative-sum-f32",
    "layer-norm-bf16", "top-k-f32",
)  # fmt: skip
CASES = [case for case in cases() if case.name in KERNELS]


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_compiles_without_spills(architecture: str, tmp_path: Path) -> None:
    """The kernels of several cases in one file, for the compiler's start takes seconds."""
    text, project = "", None
    for number, case in enumerate(CASES):
        project = _project(case)
        body = project.text("kernels.cu").split('#include "prelude.h"')[1]
        renamed = re.sub(r"\blaunch_(\w+)\(", rf"launch_\1_{number}(", body)
        text += f"namespace case_{number} {{\n{renamed}\n}}\n"
    assert project is not None
    for name in ("prelude.h", "vendor.h", "sizes.h", "device.h"):
        (tmp_path / name).write_text(project.text(name))
    source = tmp_path / "kernels.cu"
    source.write_text(f'#include "device.h"\n#include "prelude.h"\n{text}')
    command = ["nvcc", "-std=c++17", "-O3", "--fmad=false", f"-arch={architecture}"]
    done = subprocess.run(
        [*command, "-Xptxas", "-v", "-cubin", "-o", str(tmp_path / "k.cubin"), str(source)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    spills = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", done.stderr)
    assert spills and all(pair == ("0", "0") for pair in spills), done.stderr
    for case in CASES:
        record("cuda-c", case.kernel, case.dtype, "compiled")


def _project(case: KernelCase) -> Project:
    return Compilation(Options(target="cuda-c")).build_project(case)
