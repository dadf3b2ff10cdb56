"""Models in bf16: within a few roundings of what they are in f32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import infini_ir
from infini_ir.models.zoo import models
from infini_ir.runtime.model import CompiledModel
from infini_ir.utils.errors import ArtifactError, OptionError
from tests.models.test_models import THREADS, reference

TOLERANCE = 3e-2
"""Of the largest element. A rounding to bf16 moves a value by 2**-9 of it at most; roundings
are independent, and a few dozen follow each other in these models."""
LOOSE = {"yolox_nano": 0.2}
"""It gives sizes of boxes in pixels, exponentials of what is rounded."""
SMALL = models(small=True)


@pytest.mark.parametrize("name", SMALL)
def test_small_model(name: str):
    model = SMALL[name]
    if reason := model.missing():
        pytest.skip(f"{model.name}: {reason}")
    source = model.source()
    inputs = [model.inputs(case, case) for case in range(len(model.sizes))]
    compiled = infini_ir.compile(source, precision="bf16", threads=THREADS)
    for arrays, expected in zip(inputs, reference(source, inputs), strict=True):
        outputs = compiled(arrays)
        for (title, actual), wanted in zip(outputs.items(), expected, strict=True):
            assert actual.dtype == wanted.dtype and actual.shape == wanted.shape, title
            error = np.abs(actual.astype(np.float64) - wanted).max() / np.abs(wanted).max()
            allowed = LOOSE.get(name, TOLERANCE)
            assert error <= allowed, f"{title} is off by {error:.1e} of its largest element"


def test_saved_model_computes_the_same(tmp_path: Path):
    model = SMALL["light_squeezenet"]
    compiled = infini_ir.compile(model.source(), precision="bf16", threads=THREADS)
    compiled.save(tmp_path / "model.infini")
    loaded = infini_ir.load(tmp_path / "model.infini", threads=THREADS)
    assert loaded.inputs == compiled.inputs
    arrays = model.inputs(1)
    expected = compiled(arrays)
    for name, output in loaded(arrays).items():
        np.testing.assert_array_equal(output, expected[name])


@pytest.mark.parametrize("target", ("cpu:x86-64-v3", "cpu:x86-64-v4"))
@pytest.mark.parametrize("name", ("light_shufflenet", "bert_dynamic"))
def test_processors_without_bf16(name: str, target: str):
    model = SMALL[name]
    if reason := model.missing():
        pytest.skip(reason)
    arrays = model.inputs(0)
    try:
        compiled = infini_ir.compile(
            model.source(), target=target, precision="bf16", threads=THREADS
        )
    except ArtifactError as reason:
        pytest.skip(str(reason))
    assert isinstance(compiled, CompiledModel)
    (expected,) = reference(model.source(), [arrays])
    for given, wanted in zip(compiled(arrays).values(), expected, strict=True):
        assert np.abs(given - wanted).max() <= TOLERANCE * np.abs(wanted).max()


def test_weights_take_half_the_memory(tmp_path: Path):
    model, sizes = SMALL["light_squeezenet"], {}
    for precision in ("f32", "bf16"):
        path = tmp_path / f"{precision}.infini"
        infini_ir.compile(model.source(), precision=precision, threads=1).save(path)
        sizes[precision] = path.stat().st_size
    assert sizes["bf16"] < 0.6 * sizes["f32"]


@pytest.mark.parametrize("target", ("nvidia", "ascend", "cuda-c"))
def test_targets_without_it_refuse(target: str):
    with pytest.raises(OptionError, match="has no precision bf16; those that do: cpu"):
        infini_ir.compile("model.onnx", target=target, precision="bf16")


def test_semantics_are_checked_to_its_rounding():
    model = SMALL["mlp"]
    if reason := model.missing():
        pytest.skip(reason)
    infini_ir.compile(model.source(), precision="bf16", threads=1, check_semantics=True)


# Single programs --------------------------------------------------------------------------


def run(nodes: list[onnx.NodeProto], inputs: dict[str, np.ndarray], outputs: list[str], **w):
    """A model of the nodes, computed in bf16 and by onnxruntime."""
    kinds = {np.dtype("f4"): 1, np.dtype("i8"): 7}
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [
            onnx.helper.make_tensor_value_info(n, kinds[x.dtype], x.shape)
            for n, x in inputs.items()
        ],
        [onnx.helper.make_value_info(n, onnx.TypeProto()) for n in outputs],
        [onnx.numpy_helper.from_array(x, n) for n, x in w.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    model = onnx.shape_inference.infer_shapes(model)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    wanted = [np.asarray(y) for y in session.run(None, inputs)]
    given = infini_ir.compile(model, precision="bf16", threads=THREADS)(inputs)
    return list(given.values()), wanted


def test_masked_rows_stay_finite():
    """The least f32 would be infinite in bf16: a row without keys is the mean in f32."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 64, 64), np.float32)
    mask = np.zeros((2, 1, 64), np.int64)
    mask[0, :, 40:] = 1
    node = onnx.helper.make_node
    nodes = [
        node("Cast", ["mask"], ["kept"], to=1),
        node("Sub", ["one", "kept"], ["hidden"]),
        node("Mul", ["hidden", "least"], ["bias"]),
        node("MatMul", ["x", "w"], ["y"]),
        node("Add", ["y", "bias"], ["z"]),
        node("Softmax", ["z"], ["p"], axis=-1),
        node("MatMul", ["p", "x"], ["out"]),
    ]
    constants = {
        "one": np.float32(1),
        "least": np.float32(np.finfo(np.float32).min),
        "w": rng.standard_normal((64, 64), np.float32) / 8,
    }
    (given,), (wanted,) = run(nodes, {"x": x, "mask": mask}, ["out"], **constants)
    assert np.isfinite(given).all()
    assert np.abs(given - wanted).max() <= TOLERANCE * np.abs(wanted).max()


def test_positions_are_exact():
    """Angles of positions: a bf16 position from 256 on would be wrong by one."""
    positions = np.arange(4096, dtype=np.int64).reshape(64, 64)
    node = onnx.helper.make_node
    nodes = [
        node("Cast", ["positions"], ["p"], to=1),
        node("MatMul", ["p", "w"], ["angles"]),
        node("Sin", ["angles"], ["out"]),
    ]
    w = (np.eye(64) / 100).astype(np.float32)
    (given,), (wanted,) = run(nodes, {"positions": positions}, ["out"], w=w)
    np.testing.assert_allclose(given, wanted, atol=1e-4)


def test_rows_with_nan_and_infinity():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 64), np.float32)
    x[1, 2], x[3, 4], x[5, 6] = np.nan, np.inf, -np.inf
    w, u = (np.abs(rng.standard_normal((64, 64), np.float32)) + 0.1 for _ in range(2))
    node = onnx.helper.make_node
    nodes = [
        node("MatMul", ["x", "w"], ["y"]),
        node("Relu", ["y"], ["z"]),
        node("MatMul", ["z", "u"], ["out"]),
    ]
    (given,), (wanted,) = run(nodes, {"x": x}, ["out"], w=w, u=u)
    np.testing.assert_array_equal(np.isnan(given), np.isnan(wanted))
    np.testing.assert_array_equal(np.isinf(given), np.isinf(wanted))
    finite = np.isfinite(wanted)
    error = np.abs(given[finite] - wanted[finite]).max()
    assert error <= TOLERANCE * np.abs(wanted[finite]).max()
