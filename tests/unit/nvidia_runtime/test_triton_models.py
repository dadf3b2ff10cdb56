"""Emitted kernels under the real executor: the fake driver and Triton's interpreter."""

import pytest

from infini_ir.models.kernels import KernelCase, cases
from tests.devices.nvidia.runner import ask

KERNELS = (
    "softmax",
    "layer-norm",
    "matmul",
    "convolution",
    "transpose",
    "argmax",
    "reduce-rows",
)
CASES = [case for name in KERNELS for case in cases(name, "f32")]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_on_the_executor(case: KernelCase):
    inputs = case.inputs()
    given = ask("run_case_on_driver", case.name, inputs)
    assert case.error([given[name] for name in case.outputs], inputs) < 1
