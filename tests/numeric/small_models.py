"""Models of one or a few operators, of odd sizes: kernels that no program by hand stands for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper, parser

Array = np.ndarray


@dataclass(frozen=True)
class SmallModel:
    """A model in ONNX's text form; `weights` are shapes of what it stores, in f32, or arrays."""

    name: str
    text: str
    weights: tuple[tuple[str, tuple[int, ...] | Array], ...] = ()

    def model(self) -> onnx.ModelProto:
        rng = np.random.default_rng(3)
        made = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 23]> m {self.text}')
        for name, given in self.weights:
            array = given
            if isinstance(array, tuple):
                array = rng.normal(0, 0.3, array).astype(np.float32)
            made.graph.initializer.append(numpy_helper.from_array(array, name))
        return made

    def inputs(self, seed: int = 0) -> list[Array]:
        rng = np.random.default_rng(seed)
        shapes = [
            [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in self.model().graph.input
        ]
        return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


_SCALE = np.float32(0.05)
_BYTES = np.random.default_rng(4).integers(-127, 128, (9, 5, 3, 3)).astype(np.int8)
_QUANTIZED = (
    "{ p = QuantizeLinear(x, s, z) a = DequantizeLinear(p, s, z) b = DequantizeLinear(w, s) "
    "c = Conv<pads=[1,1,1,1], strides=[2,1]>(a, b) q = QuantizeLinear(c, s, z) "
    "y = DequantizeLinear(q, s, z) }"
)

MODELS = (
    SmallModel(
        "lstm",
        "(float[5,3,7] x) => (float[5,2,3,9] y, float[2,3,9] h, float[2,3,9] c) "
        '{ y, h, c = LSTM<hidden_size=9, direction="bidirectional">(x, w, r, b) }',
        (("w", (2, 36, 7)), ("r", (2, 36, 9)), ("b", (2, 72))),
    ),
    SmallModel(
        "lstm_of_one_row",
        "(float[17,1,33] x) => (float[17,1,1,40] y) { y = LSTM<hidden_size=40>(x, w, r) }",
        (("w", (1, 160, 33)), ("r", (1, 160, 40))),
    ),
    SmallModel(
        "gru",
        "(float[6,2,5] x) => (float[6,1,2,11] y) "
        "{ y = GRU<hidden_size=11, linear_before_reset=1>(x, w, r, b) }",
        (("w", (1, 33, 5)), ("r", (1, 33, 11)), ("b", (1, 66))),
    ),
    SmallModel(
        "direct_convolution",
        "(float[2,3,13,11] x) => (float[2,21,7,11] y) "
        "{ t = Conv<pads=[2,2,2,2], strides=[2,1]>(x, w, b) y = Relu(t) }",
        (("w", (21, 3, 5, 5)), ("b", (21,))),
    ),
    SmallModel(
        "grouped_convolution",
        "(float[1,12,9,7] x) => (float[1,20,9,7] y) "
        "{ y = Conv<pads=[2,2,2,2], dilations=[2,2], group=4>(x, w) }",
        (("w", (20, 3, 3, 3)),),
    ),
    SmallModel(
        "transposed_convolution",
        "(float[1,5,6,4] x) => (float[1,7,13,9] y) { y = ConvTranspose<strides=[2,2]>(x, w) }",
        (("w", (5, 7, 3, 3)),),
    ),
    SmallModel(
        "convolution_of_bytes",
        f"(float[1,5,10,13] x) => (float[1,9,5,13] y) {_QUANTIZED}",
        (("w", _BYTES), ("s", np.array(_SCALE)), ("z", np.array(0, np.int8))),
    ),
    SmallModel(
        "average_pool",
        "(float[1,37,9,7] x) => (float[1,37,5,4] y) "
        "{ y = AveragePool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(x) }",
    ),
    SmallModel(
        "layer_normalisation",
        "(float[3,5,37] x) => (float[3,5,37] y) { y = LayerNormalization(x, w, b) }",
        (("w", (37,)), ("b", (37,))),
    ),
    SmallModel(
        "group_normalisation",
        "(float[2,12,5,7] x) => (float[2,12,5,7] y) "
        "{ y = GroupNormalization<num_groups=3>(x, w, b) }",
        (("w", (12,)), ("b", (12,))),
    ),
    SmallModel("softmax_in_the_middle", "(float[3,19,21] x) => (float[3,19,21] y) { y = Softmax<axis=1>(x) }"),
    SmallModel("size_1", "(float[1,1,1] x) => (float[1,1,1] y) { t = Softmax(x) y = Erf(t) }"),
    SmallModel(
        "sorted",
        "(float[5,3,23] x) => (float[5,3,4] y, int64[5,3,4] i) { y, i = TopK(x, k) }",
        (("k", np.array([4])),),
    ),
    SmallModel(
        "running_sums_backwards",
        "(float[3,70,5] x) => (float[3,70,5] y) { y = CumSum<reverse=1, exclusive=1>(x, a) }",
        (("a", np.array(1)),),
    ),
    SmallModel(
        "transpositions",
        "(float[7,33,5,18] x) => (float[18,33,7,5] y, float[5,18,7,33] u) "
        "{ y = Transpose<perm=[3,1,0,2]>(x) u = Transpose<perm=[2,3,0,1]>(x) }",
    ),
    SmallModel(
        "functions",
        "(float[13,29] x) => (float[13,29] y) "
        '{ a = Gelu<approximate="tanh">(x) b = Erf(a) c = Sigmoid(x) d = Mish(c) e = Add(b, d) '
        "f = Sin(e) y = Softplus(f) }",
    ),
    SmallModel(
        "resized",
        "(float[1,5,7,9] x) => (float[1,5,14,13] y) "
        '{ y = Resize<mode="linear">(x, none, none, s) }',
        (("none", np.zeros(0, np.float32)), ("s", np.array([1, 5, 14, 13]))),
    ),
    SmallModel(
        "attention",
        "(float[1,3,17,20] q, float[1,3,29,20] k, float[1,3,29,12] v) => (float[1,3,17,12] y) "
        "{ y = Attention<is_causal=1>(q, k, v) }",
    ),
)  # fmt: skip
