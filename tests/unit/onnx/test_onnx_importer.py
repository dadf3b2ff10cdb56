"""Inputs, weights, names, functions and locations of imported models."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import imported, model, results, signature, text_of
from xdsl.dialects.builtin import FileLineColLoc, NameLoc

from infini_ir.dialects import graph
from infini_ir.dialects.context import compiler_context
from infini_ir.frontends.onnx.importer import import_model
from infini_ir.frontends.onnx.registry import find_operator, operator, supported
from infini_ir.utils.dtypes import numpy_dtype
from infini_ir.utils.errors import ModelError


def test_named_sizes_become_symbols():
    text = text_of(
        "g (float[batch,3] x, float[batch,1] y) => (float[batch,3] z) { z = Add(x, y) }"
    )
    assert '!graph.tensor<[batch, 3], f32> {graph.name = "x"}' in text
    assert 'graph.name = "z"' in text
    assert "graph.where" not in text


def test_unnamed_sizes_get_fresh_symbols():
    proto = model("g (float[N] x) => (float[N] y) { y = Relu(x) }")
    proto.graph.input[0].type.tensor_type.shape.dim[0].ClearField("dim_param")
    assert "[x_dim0]" in text_of(proto)


@pytest.mark.parametrize(
    ("name", "symbol"),
    [("batch size", "batch_size"), ("2N", "_2N"), ("min", "min_"), ("?", "x_dim0")],
)
def test_odd_size_names_become_identifiers(name: str, symbol: str):
    proto = model("g (float[N] x) => (float[N] y) { y = Relu(x) }")
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = name
    assert f"[{symbol}]" in text_of(proto)


def test_size_expressions_are_read():
    proto = model("g (float[P] a, float[T] b) => (float[T] y) { y = Concat<axis=0>(a, b) }")
    proto.graph.input[1].type.tensor_type.shape.dim[0].dim_param = "P + 1"
    assert "!graph.tensor<[2*P + 1], f32>" in text_of(proto)


def test_an_expression_of_undefined_symbols_is_one_symbol():
    proto = model("g (float[T] b) => (float[T] y) { y = Relu(b) }")
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "past + 1"
    assert "[past___1]" in text_of(proto)


def test_sizes_that_must_be_equal_become_facts():
    text = text_of("g (float[N] x, float[M] y) => (float[N] z) { z = Add(x, y) }")
    assert "N eq M" in text


def test_initializers_among_inputs_stay_weights():
    proto = model("g (float[2] x, float[2] w) => (float[2] y) { y = Add(x, w) }", ir=3, opset=8)
    proto.graph.initializer.append(numpy_helper.from_array(np.float32([1, 2]), "w"))
    module, _ = imported(proto)
    assert signature(module).count("f32") == 2


def test_large_tensors_are_weights_and_small_ones_constants():
    proto = model("g (float[300] x) => (float[300] y) { z = Add(x, big) y = Mul(z, small) }")
    proto.graph.initializer.append(numpy_helper.from_array(np.ones(300, np.float32), "big"))
    proto.graph.initializer.append(numpy_helper.from_array(np.float32(2), "small"))
    module, ctx = imported(proto)
    assert 'graph.weight "big"' in str(module)
    assert "graph.constant <[2.0]>" in str(module)
    assert ctx.weights.names() == ("big",)


def test_sparse_initializers_are_made_dense():
    proto = model("g (float[4] x) => (float[4] y) { y = Add(x, w) }")
    values = helper.make_tensor("w", TensorProto.FLOAT, [2], [5.0, 7.0])
    places = helper.make_tensor("i", TensorProto.INT64, [2], [1, 3])
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4]))
    [y] = results(proto, [np.zeros(4, np.float32)])
    assert y.tolist() == [0, 5, 0, 7]


@pytest.mark.parametrize(
    ("code", "dtype"),
    [
        (TensorProto.BFLOAT16, "bf16"),
        (TensorProto.FLOAT16, "f16"),
        (TensorProto.FLOAT8E4M3FN, "f8E4M3FN"),
        (TensorProto.INT4, "i4"),
        (TensorProto.UINT4, "ui4"),
        (TensorProto.UINT2, "ui2"),
        (TensorProto.FLOAT4E2M1, "f4E2M1FN"),
    ],
)
@pytest.mark.parametrize("raw", [False, True])
def test_narrow_types_keep_their_values(code: int, dtype: str, raw: bool):
    numbers = [1, 2, 3, 0, 1]
    tensor = helper.make_tensor("w", code, [5], numbers)
    if raw:
        tensor = numpy_helper.from_array(numpy_helper.to_array(tensor), "w")
    proto = model("g () => (float[5] y) { y = Cast<to=1>(w) }")
    proto.graph.initializer.append(tensor)
    assert str(numpy_dtype(dtype)) in str(numpy_helper.to_array(tensor).dtype)
    [y] = results(proto, [])
    assert y.tolist() == numbers


def test_outputs_may_be_inputs_or_initializers():
    proto = model("g (float[2] x) => (float[2] x, float[2] w) { unused = Relu(x) }")
    proto.graph.initializer.append(numpy_helper.from_array(np.float32([3, 4]), "w"))
    x, w = results(proto, [np.float32([1, 2])])
    assert (x.tolist(), w.tolist()) == ([1, 2], [3, 4])


def test_given_shapes_replace_symbols_everywhere():
    text = "g (float[N,4] x, float[N] y) => (float[N,4] z) { z = Relu(x) }"
    module, _ = imported(text, {"x": (8, 4)})
    assert "[N" not in str(module)
    module, _ = imported(text, {"x": ("M", 4)})
    assert "!graph.tensor<[M], f32>" in str(module)


def test_given_values_are_no_arguments():
    module, _ = imported(
        "g (float[4] x, int64[2] s) => (float[M,K] y) { y = Reshape(x, s) }",
        {"s": np.array([2, 2])},
    )
    assert "(!graph.tensor<[4], f32>) -> !graph.tensor<[2, 2], f32>" in signature(module)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"q": (1,)}, "there is no input 'q'"),
        ({"x": (1, 2)}, "has 1 axes, not 2"),
        ({"x": np.zeros(3, np.int32)}, "it is f32, not int32"),
        ({"x": (-1,)}, "negative"),
        ({"y": (3,)}, "size 2, not 3"),
        ({"x": 5}, "neither a shape nor an array"),
    ],
)
def test_given_shapes_must_fit(given: dict, message: str):
    text = "g (float[N] x, float[2] y) => (float[N] z) { z = Relu(x) }"
    with pytest.raises(ModelError, match=message):
        imported(text, given)


FUNCTIONS = """
<domain: "local", opset_import: ["" : 21]>
scaled <factor: float = 2.0> (x) => (y) {
  f = Constant<value_float: float = @factor>()
  y = Mul(x, f)
}
<domain: "local", opset_import: ["" : 21, "local" : 1]>
twice (x, b) => (y) { t = local.scaled(x) y = Sum(t, b) }
"""


def test_local_functions_are_inlined_with_their_defaults():
    text = """g (float[2] x) => (float[2] y, float[2] z) {
        y = local.scaled<factor=3.0>(x)
        z = local.twice(x)
    }"""
    y, z = results(text, [np.float32([1, 2])], extra=FUNCTIONS)
    assert (y.tolist(), z.tolist()) == ([3, 6], [2, 4])


def test_a_function_that_calls_itself_is_refused():
    loop = '<domain: "local", opset_import: ["local" : 1]> f (x) => (y) { y = local.f(x) }'
    with pytest.raises(ModelError, match="does one call itself"):
        imported("g (float[2] x) => (float[2] y) { y = local.f(x) }", extra=loop)


@pytest.mark.parametrize(
    ("text", "arrays"),
    [
        ("g (float[3] x) => (float[3] y) { y = Softplus(x) }", [np.float32([-1, 0, 2])]),
        (
            "g (float[2,3] x, int64[2] t) => (float y) { y = NegativeLogLikelihoodLoss(x, t) }",
            [np.float32([[1, 2, 3], [4, 5, 6]]), np.int64([0, 2])],
        ),
    ],
)
def test_the_standards_definition_serves_where_we_have_none(text, arrays, monkeypatch):
    [ours] = results(text, arrays)
    unknown = text.split("y = ")[1].split("(")[0]

    def without(domain: str, name: str, opset: int):
        return None if name == unknown else find_operator(domain, name, opset)

    monkeypatch.setattr("infini_ir.frontends.onnx.scope.find_operator", without)
    [theirs] = results(text, arrays)
    np.testing.assert_allclose(theirs, ours, rtol=1e-6)


def test_unsorted_nodes_are_put_in_order():
    proto = model("g (float[2] x) => (float[2] z) { y = Relu(x) z = Neg(y) }")
    nodes = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend(reversed(nodes))
    [z] = results(proto, [np.float32([-1, 2])])
    assert z.tolist() == [0, -2]
    assert proto.graph.node[0].op_type == "Neg"  # the caller's model is left alone


def test_old_opsets_are_converted():
    proto = model("g (float[2,3] x, float[2] b) => (float[2,3] y) { y = Add(x, b) }", opset=6)
    node = proto.graph.node[0]
    node.attribute.extend(
        [helper.make_attribute("broadcast", 1), helper.make_attribute("axis", 0)]
    )
    del proto.opset_import[1]
    [y] = results(proto, [np.zeros((2, 3), np.float32), np.float32([1, 2])])
    assert y.tolist() == [[1] * 3, [2] * 3]


def test_operations_carry_their_nodes_location():
    proto = model("g (float[2] x) => (float[2] z) { y = Relu(x) z = Neg(y) }")
    proto.graph.node[1].name = "negate"
    module, _ = imported(proto)
    [neg] = [op for op in module.walk() if isinstance(op, graph.NegOp)]
    assert isinstance(neg.location, NameLoc)
    assert isinstance(neg.location.location, FileLineColLoc)
    assert neg.location.desc.data == "negate"
    assert (neg.location.location.filename.data, neg.location.location.line.data) == (
        "<model>",
        2,
    )


def test_printed_modules_parse_again():
    from xdsl.parser import Parser

    module, ctx = imported("g (float[B,S,4] x) => (float[B,S,4] y) { y = Softmax<axis=-1>(x) }")
    assert str(Parser(ctx, str(module)).parse_module()) == str(module)


def test_the_registry_picks_the_newest_version_that_serves():
    @operator("TestOnly", since=3, domain="test.registry")
    def older(n): ...

    @operator("TestOnly", since=5, domain="test.registry")
    def newer(n): ...

    found = [find_operator("test.registry", "TestOnly", opset) for opset in (2, 3, 4, 5, 9)]
    assert found == [None, older, older, newer, newer]
    assert find_operator("ai.onnx", "Relu", 21) is find_operator("", "Relu", 21)
    assert ("test.registry", "TestOnly", (3, 5)) in supported()


def test_models_are_read_from_files_and_bytes(tmp_path):
    proto = model("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    onnx.save(proto, tmp_path / "m.onnx")
    from_file = import_model(tmp_path / "m.onnx", compiler_context())
    from_bytes = import_model(proto.SerializeToString(), compiler_context())
    assert str(from_file) == str(from_bytes) == text_of(proto)
