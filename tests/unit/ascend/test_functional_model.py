"""The functional model of Ascend C finds what breaks the rules, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
INCLUDE = HERE.parents[1] / "devices" / "ascend" / "include"

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")

FAULTS = {
    "oversized buffer": "on-chip memory is limited",
    "odd buffer": "buffers are whole blocks of 32 B",
    "misaligned copy": "operands are aligned",
    "missing EnQue": "EnQue comes before DeQue",
    "missing free": "each AllocTensor has one FreeTensor",
    "double free": "each AllocTensor has one FreeTensor",
    "use after free": "tensors are used between AllocTensor and FreeTensor",
    "tail overrun": "global memory is accessed inside its buffers",
    "core race": "cores do not touch what another core writes",
    "whole blocks": "DataCopy moves whole blocks of 32 B",
    "skipped queue": "pipes are synchronised",
    "missing event": "pipes are synchronised",
    "event id": "8 event ids a direction",
    "set twice": "an event is waited for before it is set again",
    "wait alone": "an event is set before it is waited for",
    "missing barrier": "dependent instructions of a pipe want PipeBarrier",
    "scalar without event": "pipes are synchronised",
    "overwritten": "pipes are synchronised",
    "atomic left on": "atomic mode ends",
    "flag left set": "every SetFlag has a WaitFlag",
    "read back": "pipes are synchronised",
    "overlap": "operands are the same or apart",
    "misaligned operand": "operands are aligned",
    "ragged compare": "Compare takes whole repeats of 256 B",
    "integer compare": "Compare of int32 knows only EQ",
    "rounding": "Cast rounds as its table says",
    "past the end": "tensors are used inside their buffer",
    "out of buffer": "operands are the same or apart",
    "scalar write": "global memory is written by copies",
    "wrong core": "vector instructions run on vector cores",
    "two kinds in a file": "kernels of a file are of one kind",
}
"""What is planted, and the rule that must be named."""

COMPILE_FAULTS = {
    "bf16 arithmetic": "LocalTensor<bfloat16_t> t; Add(t, t, t, 8);",
    "64-bit arithmetic": "LocalTensor<int64_t> t; Add(t, t, t, 8);",
    "8-bit arithmetic": "LocalTensor<int8_t> t; Muls(t, t, 2, 8);",
    "division of integers": "LocalTensor<int32_t> t; Div(t, t, t, 8);",
    "select of integers": "LocalTensor<int32_t> t; LocalTensor<uint8_t> m; "
    "Select(t, m, t, t, SELMODE::VSEL_TENSOR_TENSOR_MODE, 8);",
    "a cast there is not": "LocalTensor<int8_t> t; LocalTensor<float> f; "
    "Cast(t, f, RoundMode::CAST_TRUNC, 8);",
    "atomics of 64 bits": "SetAtomicAdd<int64_t>();",
    "parameters that narrow": "int64_t n = 8; Nd2NzParams p{1, 1, n, 0, n, 16, 1, 0}; (void)p;",
    "the C++ library": "auto f = std::numeric_limits<float>::max(); (void)f;",
    "the C library": "float f = sqrtf(2.0f); (void)f;",
}


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faults") / "faults"
    command = ["g++", "-std=c++17", "-O1", f"-I{INCLUDE}", str(HERE / "model_faults.cpp")]
    subprocess.run([*command, "-o", str(path)], check=True)
    return path


def test_a_right_program_passes(faults: Path) -> None:
    done = subprocess.run([faults], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("right\n", "")


@pytest.mark.parametrize("fault", FAULTS)
def test_finds(faults: Path, fault: str) -> None:
    done = subprocess.run([faults, fault], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"rule '{FAULTS[fault]}'" in done.stderr


@pytest.mark.parametrize("fault", COMPILE_FAULTS)
def test_does_not_compile(tmp_path: Path, fault: str) -> None:
    body = COMPILE_FAULTS[fault]
    source = tmp_path / "fault.cpp"
    source.write_text(
        f'#include "kernel_operator.h"\nusing namespace AscendC;\nvoid kernel() {{ {body} }}\n'
    )
    done = subprocess.run(
        [
            "g++",
            "-std=c++17",
            "-Werror=narrowing",
            "-fsyntax-only",
            f"-I{INCLUDE}",
            str(source),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    reasons = ("static assertion failed", "narrowing conversion", "poisoned")
    assert any(reason in done.stderr for reason in reasons)
