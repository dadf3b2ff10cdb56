"""Weights inside a model file stay in the file until they are used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import infini_ir
from infini_ir.frontends.onnx.embedded import SMALLEST, without_weights
from infini_ir.frontends.onnx.loading import load_model
from infini_ir.utils.errors import ModelError

ROWS, COLUMNS = 96, 200
WEIGHT = np.random.default_rng(0).standard_normal((ROWS, COLUMNS)).astype(np.float32)
assert WEIGHT.nbytes >= SMALLEST


def model(weight: onnx.TensorProto, opset: int = 20) -> onnx.ModelProto:
    bias = numpy_helper.from_array(np.arange(COLUMNS, dtype=np.float32), "b")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, ROWS])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, COLUMNS])
    graph = helper.make_graph(nodes, "g", [x], [y], [weight, bias])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def saved(folder: Path, proto: onnx.ModelProto) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_large_raw_data_becomes_a_reference(tmp_path):
    path = saved(tmp_path, model(numpy_helper.from_array(WEIGHT, "w")))
    light = without_weights(path)
    assert light is not None
    assert len(light) < path.stat().st_size - WEIGHT.nbytes + 200
    graph = onnx.ModelProto.FromString(light).graph
    weight, bias = graph.initializer
    entries = {entry.key: entry.value for entry in weight.external_data}
    offset, length = int(entries["offset"]), int(entries["length"])
    assert (weight.name, list(weight.dims)) == ("w", [ROWS, COLUMNS])
    assert entries["location"] == "model.onnx"
    assert path.read_bytes()[offset : offset + length] == WEIGHT.tobytes()
    assert numpy_helper.to_array(bias)[-1] == COLUMNS - 1
    assert [node.op_type for node in graph.node] == ["MatMul", "Add"]


def test_the_compiled_model_is_the_same(tmp_path):
    proto = model(numpy_helper.from_array(WEIGHT, "w"))
    x = np.random.default_rng(1).standard_normal((3, ROWS)).astype(np.float32)
    path = saved(tmp_path, proto)
    from_file = infini_ir.compile(path)(x)
    assert np.array_equal(from_file, infini_ir.compile(proto)(x))
    link = tmp_path / "elsewhere"
    link.mkdir()
    (link / "other.onnx").symlink_to(path)
    assert np.array_equal(from_file, infini_ir.compile(link / "other.onnx")(x))


def test_a_file_replaced_after_compiling_changes_nothing(tmp_path):
    path = saved(tmp_path, model(numpy_helper.from_array(WEIGHT, "w")))
    compiled = infini_ir.compile(path)
    x = np.ones((3, ROWS), np.float32)
    before = compiled(x)
    path.write_bytes(b"")
    assert np.array_equal(before, compiled(x))


@pytest.mark.parametrize("what", ["small", "typed", "old"])
def test_left_as_it_is(tmp_path, what):
    weight = numpy_helper.from_array(WEIGHT, "w")
    if what == "small":
        weight = numpy_helper.from_array(WEIGHT[:4], "w")
    if what == "typed":
        weight = helper.make_tensor("w", TensorProto.FLOAT, WEIGHT.shape, WEIGHT.ravel())
    path = saved(tmp_path, model(weight, opset=6 if what == "old" else 20))
    loaded = load_model(path)[0].graph.initializer[0]
    assert loaded.data_location == TensorProto.DEFAULT
    assert np.array_equal(
        numpy_helper.to_array(loaded), WEIGHT[:4] if what == "small" else WEIGHT
    )


@pytest.mark.parametrize("cut", [1, 100, WEIGHT.nbytes // 2])
def test_a_file_cut_short_is_refused(tmp_path, cut):
    path = saved(tmp_path, model(numpy_helper.from_array(WEIGHT, "w")))
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ModelError, match=r"model\.onnx"):
        infini_ir.compile(path)


def test_not_a_message(tmp_path):
    path = tmp_path / "noise.onnx"
    path.write_bytes(np.random.default_rng(0).bytes(1 << 17))
    assert without_weights(path) is None
    with pytest.raises(ModelError, match="not an ONNX model"):
        load_model(path)
