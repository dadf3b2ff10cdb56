"""Reductions long enough that programs share them out, on every accelerator's model."""

from importlib import import_module
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser

from tests.devices.test_corpus import FOLDERS, TARGETS

AXIS = "a = Constant<value_ints=[{}]>() "
MODELS = {
    "columns": (
        f"(float[6001,64] x) => (float[64] y) {{{AXIS.format(0)} "
        "y = ReduceMean<keepdims=0>(x, a) }",
        (6001, 64),
        lambda x: x.mean(0),
    ),
    "all": (
        "(float16[M,600] x) => (float16 y) { y = ReduceMax<keepdims=0>(x) }",
        (701, 600),
        lambda x: x.max(),
    ),
    "positions": (
        "(float[2,150001] x) => (int64[2,1] y) { y = ArgMax<axis=1>(x) }",
        (2, 150001),
        lambda x: x.argmax(1)[:, None],
    ),
    "softmax": (
        "(float[2,150000] x) => (float[2,150000] y) { y = Softmax(x) }",
        (2, 150000),
        lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True),
    ),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("target", TARGETS)
def test_long_reduction(target: str, name: str, tmp_path: Path):
    text, shape, reference = MODELS[name]
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 23]> m {text}')
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    dtype = np.float16 if "float16" in text else np.float32
    x = np.random.default_rng(3).standard_normal(shape).astype(dtype)
    runner = import_module(f"tests.devices.{FOLDERS.get(target, target)}.runner")
    (given,) = runner.run_case(str(path), {"x": x}).values()
    wanted = reference(x.astype(np.float64))
    np.testing.assert_allclose(given, wanted, rtol=1e-4, atol=1e-6)
