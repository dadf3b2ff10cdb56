"""The functional model of CUDA C++ gives the right numbers and catches planted faults."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
INCLUDE = HERE.parents[1] / "devices" / "cuda" / "include"

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")

FAULTS = (
    (1, "uninitialised: element 63 of a shared array"),
    (2, "race: element"),
    (3, "barrier: not all threads"),
    (4, "barrier: threads meet at"),
    (5, "lanes: not all threads"),
    (6, "bounds: element 128 of a view"),
    (7, "bounds: element 64 of a shared array"),
    (8, "uninitialised: element 0 of a shared array"),
    (9, "race: element 0 of a view"),
    (10, "race: element 0 of a view"),
    (11, "race: element"),
    (12, "alignment: a group of 4"),
    (13, "shared memory: 65536 bytes"),
    (14, "memory: a copy of 1024 bytes"),
    (15, "memory: what is freed"),
)


@pytest.fixture(scope="module", params=[32, 64])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("faults") / f"faults{request.param}"
    command = ["g++", "-x", "c++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror"]
    flags = [f"-DINFINI_WARP={request.param}", f"-I{INCLUDE}", "-o", str(made)]
    subprocess.run([*command, str(HERE / "model_faults.cu"), *flags], check=True)
    return made


def run(program: Path, case: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(program), str(case)], capture_output=True, text=True)


def test_a_right_kernel_runs(program: Path) -> None:
    done = run(program, 0)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("case", "message"), FAULTS)
def test_faults_are_caught(program: Path, case: int, message: str) -> None:
    done = run(program, case)
    assert done.returncode == -signal.SIGABRT
    assert f"cuda model: {message}" in done.stderr, done.stderr
