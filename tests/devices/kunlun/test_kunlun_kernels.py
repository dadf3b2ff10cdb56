"""Every kernel of the corpus, and models, on the functional model of an XPU."""

from __future__ import annotations

import numpy as np
import pytest

import infini_ir
from infini_ir.models.kernels import KernelCase, cases
from infini_ir.models.zoo import models
from infini_ir.targets.kunlun.target import KunlunTarget
from tests.devices.checks import MODELS, record
from tests.devices.common.corpus import project_of
from tests.devices.kunlun.runner import BUILDER, run_case


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_kernel(case: KernelCase) -> None:
    project, inputs = project_of(case, KunlunTarget()), case.inputs()
    outputs = BUILDER.run(project, inputs)
    assert case.error([outputs[name] for name in case.outputs], inputs) <= 1
    record("kunlun", case.kernel, case.dtype, "model")


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_model(name: str) -> None:
    """Small variants of whole models, against the CPU target."""
    model = models(small=True)[name]
    if (reason := model.missing()) is not None:
        pytest.skip(reason)
    source, inputs = model.source(), model.inputs()
    wanted = infini_ir.compile(source)(inputs)
    given = run_case(source, inputs)
    for key, want in zip(given, wanted.values(), strict=True):
        least = model.tolerance * np.abs(want).max()
        np.testing.assert_allclose(given[key], want, rtol=0, atol=least)
    record("kunlun", name, "f32", "model")
