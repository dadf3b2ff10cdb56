"""Whole networks on every accelerator's model, against the processor of this machine.

The small variants, with images of 64 x 64: a functional model takes a second for what a
device does in microseconds. `INFINI_FULL_MODELS=1` runs the networks as they are.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import numpy as np
import onnx
import pytest

import infini_ir
from infini_ir.models import zoo
from tests.devices.checks import MODELS, record
from tests.devices.test_corpus import FOLDERS, TARGETS

FULL = bool(os.environ.get("INFINI_FULL_MODELS"))
TOLERANCE = 1e-4
"""Of the largest element: sums of many products, in another order."""
PIXELS = 64


def small_images(source: Path, folder: Path) -> Path:
    """The model for smaller images, as a file of its own."""
    model = onnx.load(source)
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value = PIXELS
    del model.graph.value_info[:]
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("target", TARGETS)
def test_model(target: str, name: str, tmp_path: Path):
    model = zoo.models(small=not FULL)[name]
    if (missing := model.missing()) is not None:
        pytest.skip(missing)
    source, inputs = Path(str(model.source())), model.inputs(0, len(model.sizes) > 1)
    if "image" in inputs and not FULL:
        source = small_images(source, tmp_path)
        inputs = {"image": inputs["image"][:, :, :PIXELS, :PIXELS].copy()}
    wanted = infini_ir.compile(str(source))(inputs)
    runner = import_module(f"tests.devices.{FOLDERS.get(target, target)}.runner")
    given = runner.run_case(str(source), inputs)
    for key, want in wanted.items():
        assert np.abs(given[key] - want).max() <= TOLERANCE * np.abs(want).max()
    record(target, name, "f32", "model")
