"""Models that are compiled for values of their inputs when they are called."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser

import infini_ir
from infini_ir.frontends.onnx.errors import SpecializationNeeded
from infini_ir.frontends.onnx.specialize import SpecializingModel
from infini_ir.runtime.model import CompiledModel
from infini_ir.utils.errors import ArtifactError, InputError, SizeError

F = np.float32
X = np.arange(6, dtype=F).reshape(2, 3)

SUM = "g (float[2,N] x, int64[1] axes) => (float[] y) { y = ReduceSum(x, axes) }"
RESHAPE = "g (float[A,B] x, int64[2] s) => (float[C,D] y) { y = Reshape(x, s) }"
TWO = """g (float[A] x, int64[1] axes) => (float[] y, float[] z) {
    y = ReduceSum(x, axes) z = Neg(x) }"""


def model(text: str) -> onnx.ModelProto:
    return parser.parse_model('<ir_version: 10, opset_import: ["" : 21]>\n' + text)


@pytest.fixture(scope="module")
def total() -> SpecializingModel:
    made = infini_ir.compile(model(SUM))
    assert isinstance(made, SpecializingModel)
    return made


def test_each_set_of_values_is_compiled_once(total: SpecializingModel):
    for axis in (0, 1, 0, -1):
        result = total(X, np.array([axis]))
        np.testing.assert_allclose(result, X.sum(axis=axis, keepdims=True))
    wider = np.ones((2, 5), F)
    assert total(wider, np.array([0])).shape == (1, 5)
    assert total.report() == {"programs": 3, "values": ["axes"], "sizes": []}


@pytest.mark.parametrize("size", ["batch size", "é", "%1", "", "1st"])
def test_sizes_and_inputs_of_any_name(size: str):
    proto = model(SUM)
    proto.graph.input[0].name = proto.graph.node[0].input[0] = "serving:0"
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = size
    made = infini_ir.compile(proto)
    result = made({"serving:0": X, "axes": np.array([1])})["y"]
    np.testing.assert_allclose(result, X.sum(axis=1, keepdims=True))


def test_it_is_called_as_a_compiled_model_is(total: SpecializingModel):
    axes = np.array([1])
    for result in (
        total(X, axes=axes),
        total(axes=axes, x=X),
        total({"x": X, "axes": axes})["y"],
    ):
        assert result.tolist() == [[3], [12]]
    assert [str(spec) for spec in total.inputs] == ["x: f32[2, N]", "axes: i64[1]"]
    y, z = infini_ir.compile(model(TWO))(X[0], np.array([0]))
    assert (y.tolist(), z.tolist()) == ([3], [0, -1, -2])


def test_the_callers_array_may_change(total: SpecializingModel):
    axes = np.array([0])
    total(X, axes)
    axes[0] = 1
    assert total(X, axes).shape == (2, 1)


@pytest.mark.parametrize(
    ("arrays", "named", "message"),
    [
        ((X,), {}, "input 'axes' is missing"),
        ((X, np.array([0]), X), {}, "3 inputs were given"),
        ((X,), {"axis": X}, "there is no input 'axis'"),
        ((X, np.array([0])), {"x": X}, "by position and by name"),
        ((X, None), {}, "'axes' is None"),
        ((X, np.array([0], np.int32)), {}, "axes"),
        ((X[:1], np.array([0])), {}, "x"),
    ],
)
def test_wrong_calls_are_refused(total: SpecializingModel, arrays, named, message):
    with pytest.raises(InputError, match=message):
        total(*arrays, **named)


def test_what_needs_one_program_is_refused(total: SpecializingModel, tmp_path: Path):
    with pytest.raises(ArtifactError, match=r"the values of input 'axes' must be known"):
        total.save(tmp_path / "model.infini")
    with pytest.raises(SpecializationNeeded, match="axes"):
        _ = total.outputs
    with pytest.raises(SpecializationNeeded, match="axes"):
        total.ir("tile")


def test_given_values_make_one_program(tmp_path: Path):
    made = infini_ir.compile(model(SUM), inputs={"axes": np.array([1])})
    assert isinstance(made, CompiledModel)
    made.save(tmp_path / "model.infini")
    assert infini_ir.load(tmp_path / "model.infini")(X).tolist() == [[3], [12]]


def test_a_path_is_read_again(tmp_path: Path):
    onnx.save(model(SUM), tmp_path / "model.onnx")
    assert infini_ir.compile(tmp_path / "model.onnx")(X, np.array([0])).tolist() == [[3, 5, 7]]


def test_a_size_to_be_found_out():
    reshape = infini_ir.compile(model(RESHAPE))
    assert isinstance(reshape, CompiledModel)
    assert reshape(X, np.array([3, 2])).shape == (3, 2)
    for _ in range(2):
        assert reshape(X, np.array([-1, 2])).shape == (3, 2)
    assert reshape(X, s=np.array([1, -1])).shape == (1, 6)
    assert reshape(X, np.array([0, -1])).shape == (2, 3)
    assert reshape(X, np.array([6, 1])).shape == (6, 1)
    with pytest.raises(SizeError):
        reshape(X, np.array([4, 2]))
    with pytest.raises(SizeError):
        reshape(X, np.array([-2, 3]))


def test_a_sequence_of_any_length():
    joined = infini_ir.compile(
        model("g (seq(float[N]) s) => (float[M] y, seq(float[K]) t) "
              "{ y = ConcatFromSequence<axis=0>(s) t = SequenceErase(s) }")
    )  # fmt: skip
    for count in (1, 3, 2):
        arrays = [np.full(i + 1, i, F) for i in range(count)]
        y, t = joined(arrays)
        np.testing.assert_array_equal(y, np.concatenate(arrays))
        assert [item.tolist() for item in t] == [item.tolist() for item in arrays[:-1]]
    with pytest.raises(SpecializationNeeded):
        _ = joined.inputs


def test_an_optional_that_may_be_absent():
    text = """g (optional(float[N]) o) => (bool h) { h = OptionalHasElement(o) }"""
    has = infini_ir.compile(model(text))
    assert bool(has(X[0])) and not bool(has(None))
