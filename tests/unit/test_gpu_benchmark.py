"""The GPU benchmark's problems say the same in ONNX and in PyTorch; its report can be read."""

import subprocess
import sys

import pytest
import torch

import infini_ir
from benchmarks.gpu.__main__ import _row
from benchmarks.gpu.problems import TOLERANCE, Problem, problems

SMALL = [p for p in problems(quick=True) if p.bytes < 40e6 and p.operations < 3e9]


@pytest.mark.parametrize("problem", SMALL, ids=lambda p: p.name)
def test_model_computes_what_torch_does(problem: Problem):
    tensors = problem.tensors("cpu")
    given = infini_ir.compile(problem.source())(*tensors)
    want = problem.torch(*(t.double() if t.is_floating_point() else t for t in tensors))
    error = (torch.from_dlpack(_plain(given)).double() - want).abs().max() / want.abs().max()
    assert error < TOLERANCE[problem.dtype]


def _plain(array):
    """Arrays of bf16 have no DLPack of numpy's."""
    return array if array.dtype.kind == "f" else array.astype("float32")


def test_bytes_count_each_operand_once():
    add = next(p for p in problems() if p.name == "add f32")
    assert add.bytes == 3 * 4 * 8192**2
    lookup = next(p for p in problems() if p.name == "embedding bf16")
    assert lookup.bytes == 2 * 2 * 8192 * 4096 + 8 * 8192


def test_rows_of_the_report():
    row = {"name": "add", "seconds": {"infini": 1e-5, "eager": 2e-5}, "error": 1e-7}
    assert (
        _row({**row, "bandwidth_share": 0.91}) == "| add | 10.0 | 2.00 |  | 91% |  | 1.0e-07 |"
    )
    assert "failed" in _row({"name": "add", "failed": "why"})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_without_a_device():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "no CUDA device" in done.stderr
