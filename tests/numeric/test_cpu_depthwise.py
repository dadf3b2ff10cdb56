"""Depthwise convolutions and pools in compiled code: odd sizes, channels first and last."""

from itertools import product

import numpy as np
import onnx
import onnx.parser
import pytest
from tile_programs import all_threads

import infini_ir

SHAPES = (
    # channels, height, width, window, stride, dilation, pad
    (1, 5, 5, 3, 1, 1, 1),
    (3, 7, 9, 3, 2, 1, 1),
    (16, 14, 14, 3, 1, 1, 1),
    (17, 6, 37, 3, 2, 1, 0),
    (64, 7, 7, 3, 1, 1, 1),
    (33, 9, 20, 5, 1, 1, 2),
    (40, 12, 33, 3, 1, 2, 2),
    (144, 5, 56, 3, 1, 1, 1),
    (8, 1, 1, 3, 1, 1, 1),
    (24, 3, 300, 3, 1, 1, 1),
)


def _model(shape, kind, after, dtype="float"):
    c, h, w, k, s, d, p = shape
    out = [(size + 2 * p - d * (k - 1) - 1) // s + 1 for size in (h, w)]
    window = f"strides = [{s}, {s}], dilations = [{d}, {d}], pads = [{p}, {p}, {p}, {p}]"
    if kind == "conv":
        body = f"t = Conv <group = {c}, {window}> (x, f, b)"
    else:
        body = f"t = MaxPool <kernel_shape = [{k}, {k}], {window}> (x)"
    text = f"""<ir_version: 10, opset_import: ["": 22]>
        m ({dtype}[2, {c}, {h}, {w}] x) => ({dtype}[2, {c}, {out[0]}, {out[1]}] y)
        {{ {body} y = {after} }}"""
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(1)
    f, b = rng.normal(size=(c, 1, k, k)), rng.normal(size=c)
    kinds = {"float": onnx.TensorProto.FLOAT, "bfloat16": onnx.TensorProto.BFLOAT16}
    for name, array in (("f", f), ("b", b)) if kind == "conv" else ():
        values = array.astype(np.float32).ravel().tolist()
        tensor = onnx.helper.make_tensor(name, kinds[dtype], array.shape, values)
        model.graph.initializer.append(tensor)
    return model, f.astype(np.float32).astype(np.float64), b.astype(np.float32), out


def _exact(x, f, b, shape, kind, out):
    k, s, d, p = shape[3:]
    filler = 0 if kind == "conv" else -np.inf
    x = np.pad(x.astype(np.float64), [(0, 0), (0, 0), (p, p), (p, p)], constant_values=filler)
    taps = [
        x[
            :,
            :,
            i * d : i * d + s * (out[0] - 1) + 1 : s,
            j * d : j * d + s * (out[1] - 1) + 1 : s,
        ]
        * (f[:, 0, i, j][:, None, None] if kind == "conv" else 1)
        for i, j in product(range(k), range(k))
    ]
    return sum(taps) + b[:, None, None] if kind == "conv" else np.max(taps, axis=0)


@pytest.mark.parametrize("cpu", ["cpu", "cpu:x86-64-v3"])
@pytest.mark.parametrize("kind", ["conv", "pool"])
@pytest.mark.parametrize("shape", SHAPES)
def test_windows(shape, kind, cpu):
    model, f, b, out = _model(shape, kind, "Relu (t)")
    x = np.random.default_rng(0).normal(size=(2, *shape[:3])).astype(np.float32)
    with all_threads(5):
        results = [
            infini_ir.compile(model, target=cpu, threads=threads)(x) for threads in (1, 2, 5)
        ]
    exact = np.maximum(_exact(x, f, b, shape, kind, out), 0)
    np.testing.assert_allclose(results[0], exact, rtol=1e-5, atol=1e-5)
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


@pytest.mark.parametrize("shape", SHAPES[1:8])
def test_windows_of_bf16(shape):
    model, f, b, out = _model(shape, "conv", "Relu (t)", "bfloat16")
    compiled = infini_ir.compile(model)
    x = np.random.default_rng(0).normal(size=(2, *shape[:3])).astype(np.float32)
    x = (x.view(np.uint32) & 0xFFFF0000).view(np.float32)
    kind = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.BFLOAT16)
    got = np.asarray(compiled(x.astype(kind))).astype(np.float32)
    rounded = [np.asarray(a).astype(kind).astype(np.float64) for a in (f, b)]
    exact = np.maximum(_exact(x, *rounded, shape, "conv", out), 0)
    np.testing.assert_allclose(got, exact, rtol=2e-2, atol=2e-2)
