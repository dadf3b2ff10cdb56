"""MatMulNBits and GatherBlockQuantized against onnxruntime's results and f64."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import infini_ir
from infini_ir.utils.errors import ModelError

OPSETS = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
FLOATS = {np.float32: TensorProto.FLOAT, np.float16: TensorProto.FLOAT16}


def packed(elements: np.ndarray, bits: int) -> np.ndarray:
    """Elements along the last axis as bytes, the first in the low bits."""
    if bits == 8:
        return elements.astype(np.uint8)
    if elements.shape[-1] % 2:
        elements = np.append(elements, np.zeros((*elements.shape[:-1], 1), int), -1)
    return (elements[..., 0::2] | elements[..., 1::2] << 4).astype(np.uint8)


class Product:
    """x [.., K] times a weight [K, N] in blocks along K."""

    def __init__(
        self, k: int, n: int, block: int, bits: int = 4, zeros: str = "", bias: bool = False,
        dtype: type = np.float32,
    ) -> None:  # fmt: skip
        rng = np.random.default_rng(k + n + block)
        blocks = -(-k // block)
        self.k, self.n, self.dtype = k, n, dtype
        q = rng.integers(0, 1 << bits, (n, blocks * block))
        scale = rng.uniform(0.001, 0.02, (n, blocks)).astype(dtype)
        zero = np.full((n, blocks), 1 << (bits - 1))
        self.inits = {
            "q": packed(q.reshape(n, blocks, block), bits),
            "scale": scale.reshape(-1),
        }
        if zeros:
            zero = rng.integers(0, 1 << bits, (n, blocks))
            stored = packed(zero, bits) if zeros == "packed" else zero.astype(dtype)
            self.inits["zero"] = stored.reshape(-1) if zeros == "packed" else stored
        self.bias = rng.standard_normal(n).astype(dtype) if bias else np.zeros(n, dtype)
        names = ["x", "q", "scale", "zero" if zeros else ""]
        if bias:
            self.inits["bias"] = self.bias
            names += ["", "bias"]
        self.names = names
        self.attributes = {"K": k, "N": n, "bits": bits, "block_size": block}
        wide = np.repeat(scale.astype(np.float64), block, 1)
        self.weight = ((q - np.repeat(zero, block, 1)) * wide)[:, :k].T

    def model(self, shape: list[int | str]) -> onnx.ModelProto:
        node = helper.make_node(
            "MatMulNBits", self.names, ["y"], domain="com.microsoft", **self.attributes
        )
        return model(node, self.inits, FLOATS[self.dtype], shape, [*shape[:-1], self.n])

    def check(self, shape: list[int | str], **options: object) -> None:
        made = self.model(shape)
        sizes = [3 if isinstance(size, str) else size for size in shape]
        x = np.random.default_rng(1).standard_normal(sizes).astype(self.dtype)
        y = infini_ir.compile(made, **options)(x)
        wide = x.astype(np.float64)
        magnitude = np.abs(wide) @ np.abs(self.weight) + np.abs(self.bias)
        wanted = wide @ self.weight + self.bias
        allowed = 3e-3 if self.dtype is np.float16 else 3e-6
        assert np.all(np.abs(y - wanted) <= allowed * magnitude + 1e-30)
        # onnxruntime may quantise x as well.
        assert np.all(np.abs(y - theirs(made, x)) <= 2e-2 * magnitude + 1e-30)


def model(node, inits, code, shape, out, input_code: int | None = None) -> onnx.ModelProto:
    tensors = [
        value if isinstance(value, onnx.TensorProto) else numpy_helper.from_array(value, name)
        for name, value in inits.items()
    ]
    x = helper.make_tensor_value_info("x", input_code or code, shape)
    y = helper.make_tensor_value_info("y", code, out)
    graph = helper.make_graph([node], "g", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=OPSETS, ir_version=10)


def theirs(made: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("zeros", ["", "packed", "float"])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(("k", "n", "block"), [(64, 48, 32), (256, 33, 64), (384, 70, 128)])
def test_products(k: int, n: int, block: int, bits: int, zeros: str):
    if bits == 8 and zeros == "float":
        pytest.skip("onnxruntime has no such kernel")
    product = Product(k, n, block, bits, zeros)
    for shape in ([1, k], [5, k], [2, 7, k], ["m", k]):
        product.check(shape)


def test_bias_and_depths_with_a_rest():
    Product(128, 20, 32, bias=True).check([3, 128])
    Product(100, 20, 32, zeros="packed").check([3, 100])
    Product(96, 40, 32, 8, "packed", bias=True).check(["m", 96])


def test_halves():
    Product(128, 20, 32, zeros="packed", dtype=np.float16).check([3, 128])


def test_as_many_bits_as_the_model_has():
    product = Product(1024, 512, 32)
    compiled = infini_ir.compile(product.model([1, 1024]))
    assert compiled.program.metadata.weights_size <= 1024 * 512 // 2 + 4 * 1024 * 16 + 4096


def test_reordered_rows_are_refused():
    product = Product(64, 16, 32)
    product.names += [""] * (4 - len(product.names)) + ["order"]
    product.inits["order"] = np.arange(64, dtype=np.int32) // 32
    product.check([2, 64])
    product.inits["order"] = product.inits["order"][::-1].copy()
    with pytest.raises(ModelError, match="g_idx"):
        infini_ir.compile(product.model([2, 64]))


def test_other_widths_are_refused():
    product = Product(64, 16, 32)
    product.attributes["bits"] = 2
    with pytest.raises(ModelError, match="2 bits"):
        infini_ir.compile(product.model([2, 64]))


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("kind", ["ui4", "i4", "ui8", "bytes"])
def test_tables(kind: str, zeros: bool):
    rng = np.random.default_rng(0)
    rows, columns, block = 9, 64, 32
    low, high = (-8, 8) if kind == "i4" else (0, 256 if kind == "ui8" else 16)
    q = rng.integers(low, high, (rows, columns))
    zero = rng.integers(low, high, (rows, columns // block))
    scale = rng.uniform(0.001, 0.02, zero.shape).astype(np.float32)
    if kind in ("ui4", "i4"):
        code = TensorProto.UINT4 if kind == "ui4" else TensorProto.INT4
        store = [
            helper.make_tensor(name, code, v.shape, packed(v & 15, 4).tobytes(), raw=True)
            for name, v in (("q", q), ("zero", zero))
        ]
    else:
        store = [packed(v, 8 if kind == "ui8" else 4) for v in (q, zero)]
    inits = {"q": store[0], "scale": scale, **({"zero": store[1]} if zeros else {})}
    given = {"bits": 8 if kind == "ui8" else 4} if kind in ("ui8", "bytes") else {}
    node = helper.make_node(
        "GatherBlockQuantized", ["q", "x", "scale", *(["zero"] if zeros else [])], ["y"],
        domain="com.microsoft", gather_axis=0, quantize_axis=1, block_size=block, **given,
    )  # fmt: skip
    made = model(
        node, inits, TensorProto.FLOAT, [2, 3], [2, 3, columns], input_code=TensorProto.INT64
    )
    x = rng.integers(-rows, rows, (2, 3))
    y = infini_ir.compile(made)(x)
    assert np.allclose(y, theirs(made, x), rtol=1e-6, atol=1e-7)
