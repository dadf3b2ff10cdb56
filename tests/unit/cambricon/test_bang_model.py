"""The functional model of BANG C gives the right numbers and catches planted faults."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
INCLUDE = HERE.parents[1] / "devices" / "cambricon" / "include"

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")

FAULTS = (
    (1, "count: __bang_add"),
    (2, "alignment: __bang_add"),
    (3, "overlap: __bang_abs"),
    (4, "address space: __memcpy"),
    (5, "address space: __bang_add"),
    (6, "bounds: __bang_abs"),
    (7, "bounds: __memcpy"),
    (8, "bounds: __memcpy"),
    (9, "missing sync: __bang_abs"),
    (10, "missing sync: __memcpy_async"),
    (11, "missing sync: __bang_write_zero"),
    (12, "missing sync: __memcpy_async"),
    (13, "missing sync: end of the kernel"),
    (14, "race: __memcpy"),
    (15, "race: __memcpy"),
    (16, "address space: __bang_matmul"),
    (17, "count: __bang_matmul"),
    (18, "unsupported: __sync_all"),
)


def build(source: str, folder: Path, *flags: str) -> Path:
    program = folder / Path(source).stem
    command = ["g++", "-std=c++17", "-O1", "-Wall", "-Wextra", *flags, f"-I{INCLUDE}"]
    subprocess.run([*command, str(HERE / source), "-o", str(program)], check=True)
    return program


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("model_faults.cpp", tmp_path_factory.mktemp("faults"))


def run(program: Path, case: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(program), str(case)], capture_output=True, text=True)


def test_a_right_kernel_runs(faults: Path) -> None:
    done = run(faults, 0)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("case", "message"), FAULTS)
def test_a_fault_is_named(faults: Path, case: int, message: str) -> None:
    done = run(faults, case)
    assert done.returncode == 66
    assert f"MLU model: {message}" in done.stderr


def test_scalar_access_outside_memory_ends_the_program(faults: Path) -> None:
    assert run(faults, 19).returncode == -signal.SIGSEGV


def test_values(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(build("model_values.cpp", tmp_path))], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_on_chip_memory_is_limited(tmp_path: Path) -> None:
    program = build("model_values.cpp", tmp_path, "-D__MLU_NRAM_SIZE__=240")
    done = subprocess.run([str(program)], capture_output=True, text=True)
    assert done.returncode == 66
    assert "MLU model: NRAM size" in done.stderr


def test_division_is_not_on_mlu370(tmp_path: Path) -> None:
    source = tmp_path / "division.cpp"
    source.write_text(
        "#include <bang.h>\n__nram__ __attribute__((aligned(128))) float rows[64];\n"
        "int main() { __bang_div(rows, rows, rows, 64); }\n"
    )
    command = ["g++", "-std=c++17", "-fsyntax-only", f"-I{INCLUDE}", str(source)]
    assert subprocess.run(command, capture_output=True).returncode == 0
    older = [*command, "-D__BANG_ARCH__=372"]
    assert subprocess.run(older, capture_output=True).returncode != 0
