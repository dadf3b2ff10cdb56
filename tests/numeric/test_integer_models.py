"""Quantised ONNX models on the CPU: integer products against exact integers, quantised
operators and networks against onnxruntime, whose results may differ by one unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tile_programs import all_threads

import infini_ir

onnxruntime = pytest.importorskip("onnxruntime")

OPSETS = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
U8, S8 = np.dtype(np.uint8), np.dtype(np.int8)
Arrays = Mapping[str, np.ndarray]


def model_of(
    nodes: Sequence[onnx.NodeProto], inputs: Arrays, constants: Arrays, output: np.dtype
) -> onnx.ModelProto:
    """A model whose only output is `y`, all sizes known."""

    def value(name: str, array: np.ndarray) -> onnx.ValueInfoProto:
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        return helper.make_tensor_value_info(name, kind, array.shape)

    graph = helper.make_graph(
        list(nodes),
        "test",
        [value(name, array) for name, array in inputs.items()],
        [helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(output), None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=OPSETS, ir_version=10)


def run(model: onnx.ModelProto, inputs: Arrays, threads: int = 2) -> np.ndarray:
    with all_threads(threads):
        compiled: Any = infini_ir.compile(model, threads=threads)
        return np.asarray(compiled(*inputs.values()))


def reference(model: onnx.ModelProto, inputs: Arrays) -> np.ndarray:
    """By onnxruntime, each operator by itself."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, ["CPUExecutionProvider"]
    )
    return session.run(None, dict(inputs))[0]


def check(model: onnx.ModelProto, inputs: Arrays, units: float = 1) -> np.ndarray:
    """Against onnxruntime, up to so many units of the result."""
    got, wanted = run(model, inputs), reference(model, inputs)
    assert got.shape == wanted.shape and got.dtype == wanted.dtype
    difference = np.abs(got.astype(np.float64) - wanted.astype(np.float64))
    assert difference.max(initial=0) <= units, difference.max()
    return wanted


def bytes_like(rng: np.random.Generator, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max + 1, shape).astype(dtype)


def scalar(value: float, dtype: Any = np.float32) -> np.ndarray:
    return np.array(value, dtype)


# Exact products


@pytest.mark.parametrize("types", [(U8, S8), (U8, U8), (S8, S8), (S8, U8)])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 7, 5), (33, 64, 48), (17, 130, 70)])
def test_integer_matmul(types: tuple[np.dtype, np.dtype], shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(1)
    m, k, n = shape
    a, b = bytes_like(rng, (2, m, k), types[0]), bytes_like(rng, (k, n), types[1])
    za, zb = bytes_like(rng, (), types[0]), bytes_like(rng, (n,), types[1])
    nodes = [helper.make_node("MatMulInteger", ["a", "b", "za", "zb"], ["y"])]
    model = model_of(nodes, {"a": a}, {"b": b, "za": za, "zb": zb}, np.dtype(np.int32))
    wanted = (a.astype(np.int64) - za) @ (b.astype(np.int64) - zb)
    np.testing.assert_array_equal(run(model, {"a": a}), wanted)


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_products_of_inputs(threads: int) -> None:
    """Neither operand and no zero point is known when compiling."""
    rng = np.random.default_rng(2)
    inputs = {
        "a": bytes_like(rng, (3, 40, 64), U8),
        "b": bytes_like(rng, (3, 64, 33), U8),
        "za": bytes_like(rng, (), U8),
        "zb": bytes_like(rng, (), U8),
    }
    nodes = [helper.make_node("MatMulInteger", list(inputs), ["y"])]
    model = model_of(nodes, inputs, {}, np.dtype(np.int32))
    a, b, za, zb = (v.astype(np.int64) for v in inputs.values())
    np.testing.assert_array_equal(run(model, inputs, threads), (a - za) @ (b - zb))


@pytest.mark.parametrize("k", [60, 64, 128])
@pytest.mark.parametrize("n", [5, 33, 128])
def test_product_with_rows(k: int, n: int) -> None:
    """The right operand lies with its contracted axis last."""
    rng = np.random.default_rng(3)
    inputs = {"a": bytes_like(rng, (2, 37, k), U8), "b": bytes_like(rng, (2, n, k), U8)}
    nodes = [
        helper.make_node("Transpose", ["b"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMulInteger", ["a", "t"], ["y"]),
    ]
    model = model_of(nodes, inputs, {}, np.dtype(np.int32))
    a, b = (v.astype(np.int64) for v in inputs.values())
    np.testing.assert_array_equal(run(model, inputs), a @ b.transpose(0, 2, 1))


def test_sums_wrap_at_32_bits() -> None:
    """255 * 255 * 40000 is beyond i32, and wraps."""
    a, b = np.full((2, 40000), 255, np.uint8), np.full((40000, 3), 255, np.uint8)
    nodes = [helper.make_node("MatMulInteger", ["a", "b"], ["y"])]
    model = model_of(nodes, {"a": a}, {"b": b}, np.dtype(np.int32))
    wanted = np.full((2, 3), 255 * 255 * 40000).astype(np.int32)
    np.testing.assert_array_equal(run(model, {"a": a}), wanted)


@pytest.mark.parametrize("m, k", [(0, 4), (3, 0)])
def test_empty_product(m: int, k: int) -> None:
    a, b = np.zeros((m, k), np.uint8), np.zeros((k, 5), np.int8)
    nodes = [helper.make_node("MatMulInteger", ["a", "b", "z"], ["y"])]
    constants = {"z": np.array(3, np.uint8)}
    model = model_of(nodes, {"a": a, "b": b}, constants, np.dtype(np.int32))
    np.testing.assert_array_equal(run(model, {"a": a, "b": b}), np.zeros((m, 5)))


# Convolutions: channels, groups, filters, kernel, strides, dilations, pads
CONVOLUTIONS: list[tuple[int, int, int, list[int], dict[str, Any]]] = [
    (3, 1, 16, [7, 7], {"strides": [2, 2], "pads": [3, 3, 3, 3]}),
    (64, 1, 24, [1, 1], {}),
    (5, 1, 7, [3, 3], {"pads": [1, 0, 2, 1]}),
    (8, 2, 6, [3, 2], {"pads": [1, 1, 1, 1], "dilations": [2, 1]}),
    (24, 24, 24, [3, 3], {"pads": [1, 1, 1, 1]}),
    (19, 19, 19, [3, 3], {"pads": [0, 1, 1, 0], "strides": [2, 2]}),
    (16, 16, 32, [5, 5], {"pads": [2, 2, 2, 2]}),
    (33, 33, 33, [3, 3], {"dilations": [2, 2], "pads": [2, 2, 2, 2]}),
]


def _conv_of(
    case: tuple[int, int, int, list[int], dict[str, Any]], types: tuple[np.dtype, np.dtype]
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    channels, groups, filters, kernel, attributes = case
    rng = np.random.default_rng(4)
    x = bytes_like(rng, (2, channels, 13, 14), types[0])
    w = bytes_like(rng, (filters, channels // groups, *kernel), types[1])
    return x, w, {"group": groups, **attributes}


def _exact_conv(x: np.ndarray, w: np.ndarray, attributes: dict[str, Any]) -> np.ndarray:
    """In f64, where the sums of these are exact."""
    inputs = {"x": x.astype(np.float64), "w": w.astype(np.float64)}
    from onnx.reference import ReferenceEvaluator

    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], **attributes)]
    model = model_of(nodes, inputs, {}, np.dtype(np.float64))
    result: Any = ReferenceEvaluator(model).run(None, inputs)
    return result[0]


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("types", [(U8, S8), (S8, S8), (U8, U8)])
def test_integer_convolution(case: Any, types: tuple[np.dtype, np.dtype]) -> None:
    x, w, attributes = _conv_of(case, types)
    zx, zw = np.array(100, types[0]), np.array(3 if types[1] == U8 else 0, types[1])
    nodes = [helper.make_node("ConvInteger", ["x", "w", "zx", "zw"], ["y"], **attributes)]
    constants = {"w": w, "zx": zx, "zw": zw}
    model = model_of(nodes, {"x": x}, constants, np.dtype(np.int32))
    centered = x.astype(np.int64) - zx, w.astype(np.int64) - zw
    np.testing.assert_array_equal(run(model, {"x": x}), _exact_conv(*centered, attributes))


def test_integer_convolution_of_unknown_zero_point() -> None:
    x, w, attributes = _conv_of(CONVOLUTIONS[2], (U8, S8))
    inputs = {"x": x, "z": np.array(9, np.uint8)}
    nodes = [helper.make_node("ConvInteger", ["x", "w", "z"], ["y"], **attributes)]
    model = model_of(nodes, inputs, {"w": w}, np.dtype(np.int32))
    wanted = _exact_conv(x.astype(np.int64) - 9, w, attributes)
    np.testing.assert_array_equal(run(model, inputs), wanted)


def _quantized_conv(
    case: Any, types: tuple[np.dtype, np.dtype], form: str
) -> tuple[Any, Arrays]:
    x, w, attributes = _conv_of(case, types)
    rng = np.random.default_rng(5)
    filters, terms = w.shape[0], int(np.prod(w.shape[1:]))
    x_scale = scalar(0.02)
    w_scale = rng.uniform(0.001, 0.02, filters).astype(np.float32)
    constants = {
        "sx": x_scale,
        "zx": np.array(117 if types[0] == U8 else -9, types[0]),
        "w": w,
        "sw": w_scale,
        "zw": np.zeros(filters, types[1]),
        "sy": scalar(0.02 * 0.01 * 100 * terms**0.5),
        "zy": np.array(131 if types[0] == U8 else 5, types[0]),
        "b": rng.integers(-5000, 5000, filters).astype(np.int32),
        "sb": x_scale * w_scale,
        "zb": np.zeros(filters, np.int32),
    }
    if form == "qop":
        names = ["x", "sx", "zx", "w", "sw", "zw", "sy", "zy", "b"]
        nodes = [helper.make_node("QLinearConv", names, ["y"], **attributes)]
        constants = {name: constants[name] for name in names[1:]}
    else:
        make = helper.make_node
        nodes = [
            make("DequantizeLinear", ["x", "sx", "zx"], ["xf"]),
            make("DequantizeLinear", ["w", "sw", "zw"], ["wf"], axis=0),
            make("DequantizeLinear", ["b", "sb", "zb"], ["bf"], axis=0),
            make("Conv", ["xf", "wf", "bf"], ["c"], **attributes),
            make("Relu", ["c"], ["r"]),
            make("QuantizeLinear", ["r", "sy", "zy"], ["y"]),
        ]
    return model_of(nodes, {"x": x}, constants, types[0]), {"x": x}


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("form", ["qdq", "qop"])
@pytest.mark.parametrize("types", [(U8, S8), (S8, S8)])
def test_quantized_convolution(case: Any, form: str, types: tuple[np.dtype, np.dtype]) -> None:
    model, inputs = _quantized_conv(case, types, form)
    wanted = check(model, inputs)
    assert len(np.unique(wanted)) > 20


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 5])
def test_results_do_not_depend_on_threads(threads: int) -> None:
    for case in CONVOLUTIONS[:5]:
        model, inputs = _quantized_conv(case, (U8, S8), "qdq")
        np.testing.assert_array_equal(run(model, inputs, threads), run(model, inputs, 1))


# Conversion


@pytest.mark.parametrize("dtype", [U8, S8])
@pytest.mark.parametrize("zero", [0, 3, 117])
def test_halves_and_saturation(dtype: np.dtype, zero: int) -> None:
    """Halves go to the even number before the zero point is added; NaN gives 0."""
    x = np.concatenate(
        [np.arange(-300, 300, 0.5), [1e9, -1e9, 3e38, -3e38, np.inf, -np.inf, -0.0, 1e-40]]
    ).astype(np.float32)
    constants = {"s": scalar(1), "z": np.array(zero, dtype), "h": scalar(0.5)}
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])]
    model = model_of(nodes, {"x": x}, constants, dtype)
    check(model, {"x": x}, units=0)
    # Behind a computation the quotient is a product.
    nodes = [
        helper.make_node("Mul", ["x", "h"], ["d"]),
        helper.make_node("QuantizeLinear", ["d", "h", "z"], ["y"]),
    ]
    model = model_of(nodes, {"x": x}, constants, dtype)
    check(model, {"x": x}, units=0)
    nan = np.array([np.nan, 1], np.float32)
    model = model_of(nodes, {"x": nan}, constants, dtype)
    np.testing.assert_array_equal(run(model, {"x": nan})[0], 0)


# Operators of onnxruntime's domain


def _triple(
    rng: np.random.Generator, name: str, shape: Sequence[int], dtype: np.dtype
) -> Arrays:
    return {
        name: bytes_like(rng, shape, dtype),
        f"s{name}": scalar(float(rng.uniform(0.01, 0.05))),
        f"z{name}": bytes_like(rng, (), dtype),
    }


OPERATORS: dict[str, tuple[list[list[int]], dict[str, Any]]] = {
    "QLinearAdd": ([[2, 3, 4, 5], [3, 1, 5]], {}),
    "QLinearMul": ([[2, 17], [2, 17]], {}),
    "QLinearSigmoid": ([[3, 33]], {}),
    "QLinearLeakyRelu": ([[3, 33]], {"alpha": 0.2}),
    "QLinearSoftmax": ([[3, 7, 33]], {"axis": -1, "opset": 13}),
    "QLinearAveragePool": (
        [[1, 5, 9, 8]],
        {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "strides": [2, 1]},
    ),
    "QLinearGlobalAveragePool": ([[2, 19, 7, 7]], {"channels_last": 0}),
    "QLinearReduceMean": ([[2, 5, 6]], {"axes": [1], "keepdims": 0}),
}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("dtype", [U8, S8])
def test_quantized_operator(name: str, dtype: np.dtype) -> None:
    if name == "QLinearReduceMean":
        pytest.skip("onnxruntime has no kernel of it on CPUs")
    shapes, attributes = OPERATORS[name]
    rng = np.random.default_rng(7)
    parts = [_triple(rng, "ab"[i], shape, dtype) for i, shape in enumerate(shapes)]
    result = {"sy": scalar(0.02), "zy": bytes_like(rng, (), dtype)}
    if name == "QLinearSoftmax":
        result = {"sy": scalar(1 / 256), "zy": np.array(np.iinfo(dtype).min, dtype)}
    names = [key for part in parts for key in part] + list(result)
    node = helper.make_node(name, names, ["y"], domain="com.microsoft", **attributes)
    inputs = {"ab"[i]: part["ab"[i]] for i, part in enumerate(parts)}
    constants = {k: v for part in parts for k, v in part.items() if k not in inputs} | result
    check(model_of([node], inputs, constants, dtype), inputs)


def test_quantized_concat_and_where() -> None:
    rng = np.random.default_rng(8)
    a, b = _triple(rng, "a", (2, 5), U8), _triple(rng, "b", (2, 3), U8)
    result = {"sy": scalar(0.03), "zy": np.array(120, np.uint8)}
    node = helper.make_node(
        "QLinearConcat", [*result, *a, *b], ["y"], domain="com.microsoft", axis=1
    )
    inputs = {"a": a["a"], "b": b["b"]}
    constants = {k: v for k, v in {**a, **b, **result}.items() if k not in inputs}
    check(model_of([node], inputs, constants, U8), inputs)
    b = _triple(rng, "b", (2, 5), U8)
    inputs = {"c": rng.integers(0, 2, (2, 5)).astype(bool), "a": a["a"], "b": b["b"]}
    constants = {k: v for k, v in {**a, **b, **result}.items() if k not in inputs}
    names = ["c", *a, *b, *result]
    node = helper.make_node("QLinearWhere", names, ["y"], domain="com.microsoft")
    check(model_of([node], inputs, constants, U8), inputs)


@pytest.mark.parametrize("quantized", [True, False])
@pytest.mark.parametrize("turned", [0, 1])
def test_quantized_gemm(quantized: bool, turned: int) -> None:
    rng = np.random.default_rng(9)
    x = bytes_like(rng, (5, 40), U8)
    w = bytes_like(rng, (24, 40) if turned else (40, 24), S8)
    constants = {
        "sx": scalar(0.02),
        "zx": np.array(90, np.uint8),
        "w": w,
        "sw": rng.uniform(0.001, 0.01, 24).astype(np.float32),
        "zw": np.zeros(24, np.int8),
        "b": rng.integers(-1000, 1000, 24).astype(np.int32),
    }
    if quantized:
        constants |= {"sy": scalar(0.1), "zy": np.array(100, np.uint8)}
    node = helper.make_node(
        "QGemm", ["x", *constants], ["y"], domain="com.microsoft", transB=turned
    )
    kind = U8 if quantized else np.dtype(np.float32)
    check(model_of([node], {"x": x}, constants, kind), {"x": x}, 1 if quantized else 1e-4)


def test_dynamic_quantization() -> None:
    """DynamicQuantizeLinear and MatMulInteger, as the dynamic quantizer writes them."""
    rng = np.random.default_rng(10)
    x = rng.standard_normal((2, 7, 40)).astype(np.float32)
    constants = {
        "w": bytes_like(rng, (40, 24), S8),
        "zw": np.array(0, np.int8),
        "s": scalar(0.01),
    }
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "sx", "zx"]),
        helper.make_node("MatMulInteger", ["q", "w", "zx", "zw"], ["p"]),
        helper.make_node("Cast", ["p"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["sx", "s"], ["m"]),
        helper.make_node("Mul", ["f", "m"], ["y"]),
    ]
    model = model_of(nodes, {"x": x}, constants, np.dtype(np.float32))
    np.testing.assert_allclose(run(model, {"x": x}), reference(model, {"x": x}), rtol=1e-5)


# Networks by onnxruntime's quantizer


def _convolutional(rng: np.random.Generator) -> tuple[onnx.ModelProto, Arrays]:
    """A residual block, a pool, a depthwise convolution and a classifier."""

    def weights(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * (2 / np.prod(shape[1:])) ** 0.5).astype(np.float32)

    make = helper.make_node
    constants = {
        "w0": weights(16, 3, 3, 3), "b0": weights(16, 1)[:, 0], "w1": weights(16, 16, 3, 3),
        "b1": weights(16, 1)[:, 0], "w2": weights(16, 1, 3, 3), "b2": weights(16, 1)[:, 0],
        "w3": weights(10, 16), "b3": weights(10, 1)[:, 0],
    }  # fmt: skip
    same = {"pads": [1, 1, 1, 1]}
    nodes = [
        make("Conv", ["x", "w0", "b0"], ["c0"], strides=[2, 2], **same),
        make("Relu", ["c0"], ["r0"]),
        make("Conv", ["r0", "w1", "b1"], ["c1"], **same),
        make("Add", ["c1", "r0"], ["a1"]),
        make("Relu", ["a1"], ["r1"]),
        make("MaxPool", ["r1"], ["p1"], kernel_shape=[3, 3], strides=[2, 2], **same),
        make("Conv", ["p1", "w2", "b2"], ["c2"], group=16, **same),
        make("Clip", ["c2", "lo", "hi"], ["r2"]),
        make("Concat", ["r2", "p1"], ["j"], axis=1),
        make("Slice", ["j", "s0", "s1", "ax"], ["k"]),
        make("GlobalAveragePool", ["k"], ["g"]),
        make("Flatten", ["g"], ["f"]),
        make("Gemm", ["f", "w3", "b3"], ["y"], transB=1),
    ]
    constants |= {"lo": scalar(0), "hi": scalar(6), "s0": np.array([8]), "s1": np.array([24])}
    constants["ax"] = np.array([1])
    x = rng.standard_normal((1, 3, 25, 23)).astype(np.float32)
    return model_of(nodes, {"x": x}, constants, np.dtype(np.float32)), {"x": x}


def _transformer(rng: np.random.Generator) -> tuple[onnx.ModelProto, Arrays]:
    """One head pair of attention with a softmax, and a GELU."""
    make = helper.make_node
    width = 32
    constants = {
        name: (rng.standard_normal((width, width)) / width**0.5).astype(np.float32)
        for name in ("wq", "wk", "wv", "wo")
    }
    constants |= {"heads": np.array([0, 0, 2, 16]), "flat": np.array([0, 0, 32])}
    constants |= {"scale": scalar(0.25), "g": np.ones(width, np.float32)}
    nodes = [
        *(make("MatMul", ["x", f"w{n}"], [f"{n}0"]) for n in "qkv"),
        *(make("Reshape", [f"{n}0", "heads"], [f"{n}1"]) for n in "qkv"),
        make("Transpose", ["q1"], ["q"], perm=[0, 2, 1, 3]),
        make("Transpose", ["k1"], ["k"], perm=[0, 2, 3, 1]),
        make("Transpose", ["v1"], ["v"], perm=[0, 2, 1, 3]),
        make("MatMul", ["q", "k"], ["s0"]),
        make("Mul", ["s0", "scale"], ["s1"]),
        make("Softmax", ["s1"], ["p"], axis=-1),
        make("MatMul", ["p", "v"], ["o0"]),
        make("Transpose", ["o0"], ["o1"], perm=[0, 2, 1, 3]),
        make("Reshape", ["o1", "flat"], ["o2"]),
        make("MatMul", ["o2", "wo"], ["o3"]),
        make("Add", ["o3", "x"], ["o4"]),
        make("LayerNormalization", ["o4", "g"], ["o5"]),
        make("Gelu", ["o5"], ["y"]),
    ]
    x = rng.standard_normal((2, 21, width)).astype(np.float32)
    return model_of(nodes, {"x": x}, constants, np.dtype(np.float32)), {"x": x}


class _Calibration:
    def __init__(self, inputs: Arrays) -> None:
        self.items = iter([dict(inputs)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.items, None)


@pytest.mark.parametrize("make", [_convolutional, _transformer])
@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
@pytest.mark.parametrize("types", ["u8s8", "s8s8", "u8u8"])
def test_quantized_network(
    make: Callable[..., Any], form: str, types: str, tmp_path: Path
) -> None:
    """Units may add up from layer to layer: the mean is near, the signal far from 0."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    kinds = {"u8": QuantType.QUInt8, "s8": QuantType.QInt8}
    model, inputs = make(np.random.default_rng(11))
    onnx.save(model, tmp_path / "float.onnx")
    quantize_static(
        tmp_path / "float.onnx",
        tmp_path / "quantized.onnx",
        _Calibration(inputs),
        quant_format=QuantFormat[form],
        per_channel=types != "u8u8",
        activation_type=kinds[types[:2]],
        weight_type=kinds[types[2:]],
    )
    quantized = onnx.load(tmp_path / "quantized.onnx")
    got, wanted = run(quantized, inputs), reference(quantized, inputs)
    error = np.abs(got - wanted)
    assert error.mean() < 0.02 * np.abs(wanted).max() and np.abs(wanted).max() > 0.1
    assert error.max() < 0.1 * np.abs(wanted).max()
