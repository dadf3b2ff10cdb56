"""Every kernel of the corpus, and models, on the functional model of an MLU."""

from __future__ import annotations

import numpy as np
import pytest

import infini_ir
from infini_ir.models.kernels import KernelCase, cases
from infini_ir.models.zoo import models
from infini_ir.targets.cambricon.target import CambriconTarget
from tests.devices.cambricon.runner import builder, run_case
from tests.devices.checks import MODELS, record
from tests.devices.common.corpus import project_of

BUILDER = builder()


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_kernel(case: KernelCase) -> None:
    project, inputs = project_of(case, CambriconTarget()), case.inputs()
    outputs = BUILDER.run(project, inputs)
    assert case.error([outputs[name] for name in case.outputs], inputs) <= 1
    record("cambricon", case.kernel, case.dtype, "model")


@pytest.mark.parametrize("name", ["softmax-f32", "elementwise-divides-f32", "matmul-gelu-f16"])
def test_kernel_on_mlu370(name: str) -> None:
    case = next(case for case in cases() if case.name == name)
    project, inputs = project_of(case, CambriconTarget("mlu370")), case.inputs()
    outputs = builder("mlu370").run(project, inputs)
    assert case.error([outputs[name] for name in case.outputs], inputs) <= 1


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
    record("cambricon", name, "f32", "model")
