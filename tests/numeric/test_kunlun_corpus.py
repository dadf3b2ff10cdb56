"""Every kernel of the corpus on the functional model of an XPU."""

from __future__ import annotations

import pytest

from infini_ir.models.kernels import KernelCase, cases
from infini_ir.targets.kunlun.target import KunlunTarget
from tests.devices.common.corpus import project_of
from tests.devices.kunlun.runner import BUILDER


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_kernel(case: KernelCase) -> None:
    project, inputs = project_of(case, KunlunTarget()), case.inputs()
    outputs = BUILDER.run(project, inputs)
    assert case.error([outputs[name] for name in case.outputs], inputs) <= 1
