"""Every way in which a model file can be wrong gives one clear line."""

import os
import random
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper, numpy_helper
from onnx_models import imported, model

from infini_ir.dialects.context import compiler_context
from infini_ir.frontends.onnx.importer import import_model
from infini_ir.utils.errors import ModelError

RELU = "g (float[2] x) => (float[2] y) { y = Relu(x) }"


def refuse(source, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        import_model(source, compiler_context())
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path):
    refuse(tmp_path / "none.onnx", "cannot read model .*none.onnx")
    refuse(tmp_path, "cannot read model")
    (tmp_path / "empty.onnx").write_bytes(b"")
    refuse(tmp_path / "empty.onnx", "the file is empty")
    refuse(b"", "the file is empty")


def test_bytes_that_are_no_model():
    refuse(b"\x89PNG\r\n\x1a\nnot a model", "not an ONNX model")
    refuse(onnx.ModelProto(ir_version=8).SerializeToString(), "it has no graph")


def test_truncated_and_corrupted_models_never_raise_anything_else():
    proto = model(RELU)
    proto.graph.initializer.append(numpy_helper.from_array(np.ones(9, np.float32), "w"))
    data = proto.SerializeToString()
    chance = random.Random(7)
    broken = [data[: len(data) * i // 40] for i in range(1, 40)]
    for _ in range(200):
        changed = bytearray(data)
        for _ in range(chance.randint(1, 8)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        broken.append(bytes(changed))
    broken += [chance.randbytes(64) for _ in range(50)]
    refused = 0
    for candidate in broken:
        try:
            import_model(candidate, compiler_context())
        except ModelError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 100


@pytest.mark.parametrize(("opset", "ir"), [(99, 10), (0, 10), (21, 2), (21, 99)])
def test_unknown_versions(opset: int, ir: int):
    refuse(model(RELU, opset=opset, ir=ir), "version|opset")


def test_no_opset():
    proto = model(RELU)
    del proto.opset_import[:]
    refuse(proto, "does not say its opset")


def test_unsupported_operators_are_listed_together():
    proto = model(RELU)
    proto.graph.node.append(helper.make_node("Nope", ["y"], ["z"], name="first"))
    proto.graph.node.append(helper.make_node("Other", ["y"], ["q"], domain="com.acme"))
    proto.graph.node.append(helper.make_node("Nope", ["y"], ["r"], name="second"))
    refuse(proto, "ai.onnx:Nope version 21 .*'first', 'second'.*com.acme:Other")


def test_operators_in_subgraphs_are_checked():
    branch = helper.make_graph(
        [helper.make_node("Nope", [], ["o"], name="deep")],
        "b",
        [],
        [helper.make_tensor_value_info("o", 1, None)],
    )
    proto = model("g (bool c) => (float[2] y) { y = Identity(c) }")
    proto.graph.node.append(
        helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch)
    )
    refuse(proto, "Nope version 21 .*'deep'")


def test_names_and_order():
    proto = model("g (float[2] x) => (float[2] y) { y = Add(x, ghost) }")
    refuse(proto, "'y' .Add.: input 'ghost' is not defined")
    refuse(model("g (float[2] x) => (float[2] z) { y = Relu(x) }"), "output 'z' is not defined")
    refuse(
        model("g (float[2] x) => (float[2] y) { y = Relu(x) y = Neg(x) }"),
        "'y' is defined twice",
    )
    proto = model("g (float[2] x) => (float[2] y) { y = Add(x, z) z = Relu(y) }")
    proto.graph.node[0].name, proto.graph.node[1].name = "a", "b"
    refuse(proto, "nodes '[ab]', '[ab]' depend on each other")
    proto = model(RELU)
    proto.graph.input.append(proto.graph.input[0])
    refuse(proto, "input 'x' is defined twice")


def test_nodes_that_do_not_fit_name_the_node():
    proto = model("g (float[2] x, float[3] y) => (float[2] z) { z = Add(x, y) }")
    proto.graph.node[0].name = "sum"
    refuse(proto, "node 'sum' .Add.: sizes 2 and 3 do not broadcast")
    refuse(model("g (float[2] x) => (float[2] z) { z = Add(x) }"), r"\(Add\)")
    refuse(model("g (float[2] x) => (float[2] z) { z = Cast(x) }"), "attribute 'to' is missing")
    refuse(
        model("g (float[2] x) => (float[2] z) { z = Transpose<perm=[3,4]>(x) }"), "Transpose"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("g (float[2,3] a, double[3,4] b) => (float[2,4] y) { y = MatMul(a, b) }", "one type"),
        ("g (float[2,3] a, int32[3,4] b) => (float[2,4] y) { y = MatMul(a, b) }", "takes no i32|one type"),
        ("g (bool[1,1,4,4] a, bool[1,1,3,3] b) => (bool[1,1,2,2] y) { y = Conv(a, b) }", "takes no i1"),
        ("g (int8[2,3] a) => (int8[2,3] y) { y = Softmax(a) }", "takes no i8"),
        ("g (float[2,3] a, float16[2,3] b) => (float[4,3] y) { y = Concat<axis=0>(a, b) }", "one type"),
        ("g (float[2,3] a, float[2,3] b) => (float[2,3] y) { y = Relu(a, b) }", "takes 1 inputs"),
    ],
)  # fmt: skip
def test_types_that_an_operator_cannot_have(text: str, message: str):
    refuse(model(text), message)


def test_attributes_of_another_type():
    proto = model("g (float[2,3] a) => (float[2,3] y) { y = Elu<alpha = 1.5>(a) }")
    (alpha,) = proto.graph.node[0].attribute
    alpha.CopyFrom(helper.make_attribute("alpha", [1, 2]))
    refuse(proto, "attribute 'alpha' is of type INTS, not FLOAT")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="wants /dev/zero")
def test_files_without_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("infini_ir.frontends.onnx.loading.LARGEST_FILE", 1 << 20)
    refuse(Path("/dev/zero"), "no ONNX model")


def test_what_moves_elements_takes_any_type():
    for text in (
        "g (float8e5m2[2,3] a) => (float8e5m2[4,3] y) { y = Concat<axis=0>(a, a) }",
        "g (bfloat16[2,3] a) => (bfloat16[2,3] y) { y = Softmax(a) }",
    ):
        import_model(model(text, opset=13), compiler_context())


def test_starts_and_ends_may_be_of_two_types():
    text = """g (float[6] a, int64[1] start, int32[1] end) => (float[n] y) {
        y = Slice(a, start, end) }"""
    import_model(model(text), compiler_context())


@pytest.mark.parametrize(
    "text",
    [
        # The input is a parameter, but of a version of the file that lists those as inputs.
        "g () => (float[2] y) <float[2] x = {1, 2}> { y = Relu(x) }",
        "g (float[2, 3] x) => (float[4] y) { y = Reshape<shape = [4]>(x) }",
    ],
)
def test_old_models_that_cannot_be_converted(text: str):
    old = model(text, opset=6, ir=3)
    refuse(old, "cannot convert opset 6")


def test_inputs_without_a_usable_type():
    proto = model(RELU)
    proto.graph.input[0].ClearField("type")
    refuse(proto, "input 'x': its type")
    proto = model(RELU)
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    refuse(proto, "does not give its rank")
    imported(proto, {"x": (2,)})
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.COMPLEX64
    refuse(proto, "COMPLEX64 is not supported")


def with_weight(tensor: TensorProto) -> onnx.ModelProto:
    proto = model("g (float[4] x) => (float[4] y) { y = Add(x, w) }")
    proto.graph.initializer.append(tensor)
    return proto


def test_initializers_whose_data_does_not_fit():
    short = numpy_helper.from_array(np.ones(4, np.float32), "w")
    short.raw_data = short.raw_data[:-1]
    refuse(with_weight(short), "tensor 'w': shape .* takes 16 bytes, but 15 are stored")
    few = helper.make_tensor("w", TensorProto.FLOAT, [4], [1, 2, 3, 4])
    del few.float_data[2:]
    refuse(with_weight(few), "takes 4 elements, but 2 are stored")
    negative = numpy_helper.from_array(np.ones(4, np.float32), "w")
    negative.dims[0] = -4
    refuse(with_weight(negative), "negative size")
    huge = numpy_helper.from_array(np.ones(4, np.float32), "w")
    huge.dims[0] = 1 << 60
    refuse(with_weight(huge), "but 16 are stored")
    unknown = numpy_helper.from_array(np.ones(4, np.float32), "w")
    unknown.data_type = 77
    refuse(with_weight(unknown), "element type 77")


def external(tmp_path: Path, **changes: str) -> Path:
    """A model with 4 numbers at offset 8 of `data.bin`, its reference changed."""
    tensor = numpy_helper.from_array(np.float32([1, 2, 3, 4]), "w")
    entries = {"location": "data.bin", "offset": "8", "length": "16"} | changes
    external_data_helper.set_external_data(tensor, entries["location"])
    del tensor.external_data[:]
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    tensor.ClearField("raw_data")
    (tmp_path / "data.bin").write_bytes(bytes(8) + np.float32([1, 2, 3, 4]).tobytes())
    path = tmp_path / "m.onnx"
    path.write_bytes(with_weight(tensor).SerializeToString())
    return path


def test_external_data_is_read(tmp_path: Path):
    text = str(import_model(external(tmp_path), compiler_context()))
    assert "graph.constant <[1.0, 2.0, 3.0, 4.0]>" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"location": "missing.bin"}, "does not exist"),
        ({"location": "../data.bin"}, "must lie in the model's folder"),
        ({"location": "/etc/passwd"}, "must lie in the model's folder"),
        ({"location": ""}, "must lie in the model's folder"),
        ({"offset": "16"}, "takes bytes 16 to 32 of data.bin, which has only 24"),
        ({"offset": "-8"}, "takes bytes"),
        ({"offset": "x"}, "not a number"),
        ({"length": "12"}, "takes 16 bytes, but its external data has 12"),
    ],
)
def test_external_data_that_is_wrong(tmp_path: Path, changes: dict[str, str], message: str):
    refuse(external(tmp_path, **changes), message)


def test_external_data_may_not_link_out(tmp_path: Path):
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    path = external(inner, location="link.bin")
    os.symlink(tmp_path / "secret.bin", inner / "link.bin")
    refuse(path, "links out of the model's folder")


def test_external_data_of_a_model_given_as_bytes(tmp_path: Path):
    refuse(external(tmp_path).read_bytes(), "has no folder")


def test_large_external_weights_are_mapped(tmp_path: Path):
    tensor = numpy_helper.from_array(np.arange(1000, dtype=np.float32), "w")
    proto = model("g (float[1000] x) => (float[1000] y) { y = Add(x, w) }")
    proto.graph.initializer.append(tensor)
    path = tmp_path / "m.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    ctx = compiler_context()
    import_model(path, ctx)
    assert not ctx.weights.array("w").flags.writeable  # a view of the mapped file
    assert ctx.weights.array("w")[999] == 999
