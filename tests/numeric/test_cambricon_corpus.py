"""Every kernel of the corpus on the functional model of an MLU."""

from __future__ import annotations

import pytest

from infini_ir.models.kernels import KernelCase, cases
from infini_ir.targets.cambricon.target import CambriconTarget
from tests.devices.cambricon.runner import builder
from tests.devices.common.corpus import project_of

BUILDER = builder()


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_kernel(case: KernelCase) -> None:
    project, inputs = project_of(case, CambriconTarget()), case.inputs()
    outputs = BUILDER.run(project, inputs)
    assert case.error([outputs[name] for name in case.outputs], inputs) <= 1


@pytest.mark.parametrize("name", ["softmax-f32", "elementwise-divides-f32", "matmul-gelu-f16"])
def test_kernel_on_mlu370(name: str) -> None:
    case = next(case for case in cases() if case.name == name)
    project, inputs = project_of(case, CambriconTarget("mlu370")), case.inputs()
    outputs = builder("mlu370").run(project, inputs)
    assert case.error([outputs[name] for name in case.outputs], inputs) <= 1
