"""Kernels on the functional model of an MLU, beside the corpus on its default chip."""

from __future__ import annotations

import pytest

from infini_ir.models.kernels import KernelCase, cases
from tests.devices.cambricon.runner import run_case
from tests.devices.checks import record

ELSEWHERE = (
    "softmax-f32",
    "elementwise-divides-f32",
    "matmul-gelu-f16",
    "attention-prefill-f16",
)
PRODUCTS = [case for case in cases() if "matmul" in case.name]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_kernel_on_mlu370(name: str) -> None:
    case = next(case for case in cases() if case.name == name)
    inputs = case.inputs()
    outputs = run_case(case, inputs, "mlu370")
    assert case.error([outputs[name] for name in case.outputs], inputs) < 1


@pytest.mark.parametrize("case", PRODUCTS, ids=lambda case: case.name)
def test_product_by_the_library(case: KernelCase) -> None:
    inputs = case.inputs()
    outputs = run_case(case, inputs, library=True)
    assert case.error([outputs[name] for name in case.outputs], inputs) < 1
    record("cambricon", case.kernel, case.dtype, "model")
