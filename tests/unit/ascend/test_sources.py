"""The headers that Ascend projects are made of, and what the model says of kernels without
their synchronisation."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import infini_ir.targets.ascend
from infini_ir.models.kernels import cases
from tests.devices.ascend.runner import BUILDER, INCLUDE, compile_case
from tests.devices.common.build import RunError

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")

SOURCES = Path(infini_ir.targets.ascend.__file__).parent / "sources"
HERE = Path(__file__).parent


def test_products_of_every_type_and_layout(tmp_path: Path) -> None:
    program = tmp_path / "products"
    flags = ["-std=c++17", "-O1", "-Wall", f"-I{INCLUDE}", f"-I{SOURCES}"]
    source = str(HERE / "product_cases.cpp")
    subprocess.run(["g++", *flags, source, "-o", str(program)], check=True)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("right\n", "")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("softmax-f32", r"Sync<AscendC::HardEvent::V_S>\(\);"),
        ("softmax-f32", r"VectorBarrier\(\);"),
        ("softmax-f32", r"queue_2\.EnQue\(.*\);"),
        ("softmax-f32", r"queue\.FreeTensor\(.*\);"),
    ],
)
def test_a_kernel_without_its_synchronisation_is_found(name: str, line: str) -> None:
    case = next(case for case in cases() if case.name == name)
    project = compile_case(case)
    text, count = re.subn(rf"^    {line}\n", "", project.text("kernels.cpp"), flags=re.M)
    assert count
    broken = replace(project, sources={**project.sources, "kernels.cpp": text})
    with pytest.raises(RunError, match="Ascend C model: rule"):
        BUILDER.run(broken, case.inputs())


def test_kernels_of_a_file_are_of_one_kind() -> None:
    """The vendor's build takes a file's first KERNEL_TASK_TYPE_DEFAULT for all its kernels."""
    project = compile_case(next(case for case in cases() if case.name == "matmul-gelu-f32"))
    kinds = {
        path: set(re.findall(r"KERNEL_TASK_TYPE_DEFAULT\((\w+)\)", text))
        for path, text in project.sources.items()
        if path.startswith("kernels") and path.endswith(".cpp")
    }
    assert kinds == {
        "kernels.cpp": {"KERNEL_TYPE_AIV_ONLY"},
        "kernels_cube.cpp": {"KERNEL_TYPE_AIC_ONLY"},
    }
    assert "set(KERNEL_SOURCES kernels.cpp kernels_cube.cpp)" in project.text("CMakeLists.txt")
    assert "static_cast<uint8_t*>(v0)" in project.text("kernels.cpp")
