"""Every kernel of the corpus on every accelerator's model, against f64."""

from __future__ import annotations

from importlib import import_module

import pytest

from infini_ir.models.kernels import KernelCase, cases
from infini_ir.targets.registry import ENTRIES
from tests.devices.checks import record

FOLDERS = {"cuda-c": "cuda"}
"""Where a target's runner lies, if not in a folder of its name."""
TARGETS = [name for name in ENTRIES if name != "cpu"]


def run(target: str, case: KernelCase) -> float:
    """The error of a case on a target's model, as a share of what is allowed."""
    runner = import_module(f"tests.devices.{FOLDERS.get(target, target)}.runner")
    inputs = case.inputs()
    given = runner.run_case(case, inputs)
    return case.error([given[name] for name in case.outputs], inputs)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
@pytest.mark.parametrize("target", TARGETS)
def test_kernel(target: str, case: KernelCase):
    assert run(target, case) < 1
    record(target, case.kernel, case.dtype, "model")
