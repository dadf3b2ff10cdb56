"""Whole models: what the compiled program computes is what onnxruntime computes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import infini_ir
from infini_ir.models.zoo import Arrays, Model, models

THREADS = 2
SMALL = models(small=True)
LARGE = models()
FULL_SIZE = [name for name, model in LARGE.items() if model.has_small]


def reference(source: Path | onnx.ModelProto, inputs: list[Arrays]) -> list[list[np.ndarray]]:
    """What onnxruntime computes for each of the inputs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = THREADS
    data = source.SerializeToString() if isinstance(source, onnx.ModelProto) else str(source)
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return [[np.asarray(y) for y in session.run(None, arrays)] for arrays in inputs]


def check(model: Model) -> None:
    """Compile once, and compare on every case of sizes."""
    if reason := model.missing():
        pytest.skip(f"{model.name}: {reason}")
    source = model.source()
    inputs = [model.inputs(case, case) for case in range(len(model.sizes))]
    compiled = infini_ir.compile(source, threads=THREADS)
    for arrays, expected in zip(inputs, reference(source, inputs), strict=True):
        outputs = compiled(arrays)
        for (name, actual), wanted in zip(outputs.items(), expected, strict=True):
            compare(name, actual, wanted, model.tolerance)


def compare(name: str, actual: np.ndarray, wanted: np.ndarray, tolerance: float) -> None:
    assert actual.shape == wanted.shape, name
    assert actual.dtype == wanted.dtype, name
    largest = np.abs(wanted).max()
    assert np.isfinite(largest) and largest > 0, f"{name}: the reference says nothing"
    error = np.abs(actual.astype(np.float64) - wanted).max() / largest
    assert error <= tolerance, f"{name} is off by {error:.1e} of its largest element"


@pytest.mark.parametrize("name", SMALL)
def test_model(name: str):
    check(SMALL[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL_SIZE)
def test_full_size(name: str):
    check(LARGE[name])


@pytest.mark.parametrize("name", ("light_squeezenet", "light_inception_v1"))
def test_errors_are_like_those_of_onnxruntime(name: str):
    """Against float64, in the largest element, ours are at most twice theirs; on average of
    some inputs, since those of one are a matter of chance."""
    pytest.importorskip("torch")
    model = LARGE[name]
    source = model.source()
    assert isinstance(source, onnx.ModelProto)
    compiled = infini_ir.compile(source, threads=THREADS)
    inputs = [model.inputs(seed) for seed in range(5)]
    shares: list[float] = []
    for arrays, (theirs,), exact in zip(
        inputs, reference(source, inputs), _in_float64(source, inputs), strict=True
    ):
        ours = next(iter(compiled(arrays).values()))
        shares.append(float(np.abs(ours - exact).max() / np.abs(theirs - exact).max()))
    assert np.exp(np.mean(np.log(shares))) <= 2


def _in_float64(source: onnx.ModelProto, inputs: list[Arrays]) -> list[np.ndarray]:
    """What PyTorch computes, in one process for all inputs."""
    import torch

    from infini_ir.tools.engines.onnx_in_torch import OnnxModule

    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / "model.onnx"
        onnx.save(source, path)
        module = OnnxModule(str(path), list(inputs[0])).eval().double()
        results: list[np.ndarray] = []
        for arrays in inputs:
            (result, *_) = module(*(torch.from_numpy(x).double() for x in arrays.values()))
            results.append(result.numpy())
    return results


def test_saved_model_computes_the_same(tmp_path: Path):
    model = SMALL["light_squeezenet"]
    compiled = infini_ir.compile(model.source(), threads=THREADS)
    compiled.save(tmp_path / "model.infini")
    loaded = infini_ir.load(tmp_path / "model.infini", threads=THREADS)
    assert loaded.inputs == compiled.inputs
    assert loaded.outputs == compiled.outputs
    arrays = model.inputs(1)
    expected = compiled(arrays)
    for name, output in loaded(arrays).items():
        np.testing.assert_array_equal(output, expected[name])


def test_saved_model_with_symbolic_sizes(tmp_path: Path):
    model = SMALL["bert_dynamic"]
    if reason := model.missing():
        pytest.skip(f"{model.name}: {reason}")
    compiled = infini_ir.compile(model.source(), threads=THREADS)
    compiled.save(tmp_path / "model.infini")
    loaded = infini_ir.load(tmp_path / "model.infini", threads=1)
    for case in range(len(model.sizes)):
        arrays = model.inputs(0, case)
        expected = compiled(arrays)
        for name, output in loaded(arrays).items():
            compare(name, output, expected[name], model.tolerance)
