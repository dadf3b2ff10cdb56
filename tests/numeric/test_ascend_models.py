"""Small variants of whole models as Ascend projects, run against the functional model."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from infini_ir.models.zoo import models
from tests.devices.ascend.runner import run_case
from tests.devices.checks import record

MODELS = ("mobilenetv2", "resnet50", "minilm", "gpt2", "llama_block")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="no g++"),
]


@pytest.mark.parametrize("name", MODELS)
def test_model(name: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    model = models(small=True)[name]
    missing = model.missing()
    if missing is not None:
        pytest.skip(missing)
    source, inputs = model.source(), model.inputs()
    given = list(run_case(source, inputs).values())
    content = str(source) if not hasattr(source, "graph") else source.SerializeToString()  # pyright: ignore
    wanted = runtime.InferenceSession(content).run(None, inputs)
    for got, want in zip(given, wanted, strict=True):
        scale = float(np.abs(want).max())
        assert float(np.abs(got.astype(np.float64) - want).max()) <= model.tolerance * scale
    record("ascend", name, "f32", "model")
