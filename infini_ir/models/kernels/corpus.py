"""All cases: every kernel in the element types it is wanted in, at odd and known sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np

from infini_ir.models.kernels import graphs
from infini_ir.models.kernels import references as ref
from infini_ir.models.kernels.case import Input, KernelCase

FLOATS = ("f32", "f16", "bf16")
_ONNX_NUMBERS = {"f32": 1, "f16": 10, "bf16": 16}
"""What ONNX calls the types."""
Rng = np.random.Generator
Shape = tuple[int, ...]


@cache
def _all() -> tuple[KernelCase, ...]:
    parts = (_elementwise, _conversions, _reductions, _normalisations, _products, _convolutions,
             _copies, _lookups, _attention, _selection)  # fmt: skip
    return tuple(case for part in parts for case in part())


def cases(kernel: str | None = None, dtype: str | None = None) -> list[KernelCase]:
    """The cases of a kernel and of an element type; all where none is named."""
    return [c for c in _all() if kernel in (None, c.kernel) and dtype in (None, c.dtype)]


def kernels() -> list[str]:
    """The names of the kernels, in order."""
    return list(dict.fromkeys(case.kernel for case in _all()))


def _case(
    kernel: str,
    dtype: str,
    given: Mapping[str, Any],
    body: str,
    reference: Any,
    *,
    variant: str = "",
    out: Mapping[str, str] | None = None,
    **options: Any,
) -> KernelCase:
    """`given`: shapes, or `Input`s for other types and draws than the case's."""
    inputs = {
        name: spec if isinstance(spec, Input) else Input(tuple(spec), dtype)
        for name, spec in given.items()
    }
    name = "-".join(part for part in (kernel, variant, dtype) if part)
    return KernelCase(
        name, kernel, dtype, inputs, out or {"y": dtype}, body, reference, **options
    )


def _positive(rng: Rng, shape: Shape) -> np.ndarray:
    return rng.uniform(0.1, 4, shape)


def _below(limit: int) -> Any:
    return lambda rng, shape: rng.integers(0, limit, shape)


def _with_rubbish(rng: Rng, shape: Shape) -> np.ndarray:
    """Normal numbers with NaN, infinities and zeros among them."""
    x = rng.standard_normal(shape)
    flat = x.reshape(-1)
    flat[:6] = (np.nan, np.inf, -np.inf, 0.0, -0.0, np.nan)
    return x


# Elementwise


def _elementwise() -> Iterator[KernelCase]:
    for dtype in FLOATS:
        yield _case(
            "elementwise",
            dtype,
            {"x": ("M", 77), "z": ("M", 77), "b": (77,)},
            "a = Mul(x, z) c = Add(a, b) d = Sigmoid(c) e = Mul(d, x) f = Max(e, z) "
            "y = Sub(f, b)",
            lambda x, z, b: np.maximum(ref.sigmoid(x * z + b) * x, z) - b,
            sizes={"M": 13},
        )
    yield _case(
        "elementwise",
        "f32",
        {"x": ("M", 1, 5), "z": (3, 1), "s": (1,)},
        "a = Add(x, z) y = Mul(a, s)",
        lambda x, z, s: (x + z) * s,
        variant="broadcast",
        sizes={"M": 4},
    )
    yield _case(
        "elementwise",
        "f32",
        {"x": (4096,)},
        "a = Relu(x) b = Add(a, x) y = Abs(b)",
        lambda x: np.abs(np.maximum(x, 0) + x),
        variant="divides",
    )
    yield from _functions()
    yield _case(
        "elementwise",
        "i32",
        {"x": ("M", 33), "z": Input(("M", 33), "i32", lambda r, s: r.integers(1, 9, s))},
        "a = Mul(x, z) b = Add(a, x) c = Div(b, z) d = Mod(c, z) y = Max(d, x)",
        lambda x, z: np.maximum(np.mod(np.trunc((x * z + x) / z).astype(int), z), x),
        sizes={"M": 5},
    )
    yield _case(
        "elementwise",
        "i64",
        {"x": (50,), "z": (50,)},
        "a = Mul(x, z) y = Sub(a, x)",
        lambda x, z: x * z - x,
    )


_FUNCTIONS = {
    "exponential": (
        "a = Exp(x) b = Tanh(x) c = Sigmoid(x) d = Softplus(x) e = Elu(x)",
        lambda x: (
            np.exp(x),
            np.tanh(x),
            ref.sigmoid(x),
            np.log1p(np.exp(x)),
            np.where(x > 0, x, np.expm1(x)),
        ),
        None,
    ),
    "logarithm": (
        "a = Log(x) b = Sqrt(x) c = Reciprocal(x) d = Pow(x, x)",
        lambda x: (np.log(x), np.sqrt(x), 1 / x, x**x),
        _positive,
    ),
    "trigonometric": (
        "a = Sin(x) b = Cos(x) c = Atan(x) d = Erf(x) e = Gelu(x)",
        lambda x: (np.sin(x), np.cos(x), np.arctan(x), ref.erf(x), ref.gelu(x)),
        None,
    ),
    "rounding": (
        "a = Floor(x) b = Ceil(x) c = Round(x) d = Abs(x) e = Neg(x) f = Sign(x)",
        lambda x: (np.floor(x), np.ceil(x), np.round(x), np.abs(x), -x, np.sign(x)),
        lambda rng, shape: rng.integers(-9, 9, shape) / 2,
    ),
}


def _functions() -> Iterator[KernelCase]:
    for variant, (body, reference, draw) in _FUNCTIONS.items():
        for dtype in FLOATS:
            yield _case(
                "math",
                dtype,
                {"x": Input((203,), dtype, draw)},
                body,
                reference,
                variant=variant,
                out=dict.fromkeys("abcdef"[: body.count("=")], dtype),
            )
    yield _case(
        "math",
        "f32",
        {"x": Input((40,), "f32", _with_rubbish)},
        "a = Exp(x) b = Tanh(x) d = Sigmoid(x) e = Abs(x)",
        lambda x: (np.exp(x), np.tanh(x), ref.sigmoid(x), np.abs(x)),
        variant="nan",
        out=dict.fromkeys("abde", "f32"),
    )


def _conversions() -> Iterator[KernelCase]:
    kinds = ("f16", "bf16", "i32", "i8", "i64")
    numbers = {"f16": 10, "bf16": 16, "i32": 6, "i8": 3, "i64": 7, "f32": 1, "i1": 9}
    body = " ".join(f"{name} = Cast<to={numbers[t]}>(x)" for name, t in zip("abcde", kinds))
    yield _case(
        "cast",
        "f32",
        {"x": Input((101,), "f32", lambda r, s: r.integers(-200, 200, s) / 4)},
        body,
        lambda x: (x, x, np.trunc(x), np.trunc(x), np.trunc(x)),
        out=dict(zip("abcde", kinds, strict=True)),
    )
    for dtype in ("f16", "bf16", "i32", "i8", "i1"):
        yield _case(
            "cast",
            dtype,
            {"x": Input((101,), dtype, _below(2) if dtype == "i1" else None)},
            "y = Cast<to=1>(x) z = Cast<to=9>(x)",
            lambda x: (x.astype(np.float64), x != 0),
            out={"y": "f32", "z": "i1"},
        )
    for dtype in FLOATS:
        yield _case(
            "select",
            dtype,
            {"x": ("M", 19), "z": ("M", 19), "c": Input(("M", 1), "i1")},
            "l = Less(x, z) e = GreaterOrEqual(x, z) n = Not(c) o = And(l, n) p = Or(o, e) "
            "y = Where(p, x, z) w = Where(c, z, x)",
            lambda x, z, c: (
                np.where(((x < z) & ~c.astype(bool)) | (x >= z), x, z),
                np.where(c, z, x),
            ),
            out={"y": dtype, "w": dtype},
            sizes={"M": 7},
        )


# Rows


def _reductions() -> Iterator[KernelCase]:
    for dtype in FLOATS:
        yield _case(
            "reduce-rows",
            dtype,
            {"x": ("M", 77)},
            "k = Constant<value_ints=[1]>() a = ReduceSum<keepdims=0>(x, k) "
            "b = ReduceMax<keepdims=0>(x, k) c = ReduceMean<keepdims=0>(x, k)",
            lambda x: (x.sum(1), x.max(1), x.mean(1)),
            out=dict.fromkeys("abc", dtype),
            sizes={"M": 9},
        )
        yield _case(
            "reduce-columns",
            dtype,
            {"x": ("M", 45)},
            "k = Constant<value_ints=[0]>() a = ReduceSum<keepdims=0>(x, k) "
            "b = ReduceMin<keepdims=0>(x, k)",
            lambda x: (x.sum(0), x.min(0)),
            out={"a": dtype, "b": dtype},
            sizes={"M": 29},
        )
    yield _case(
        "reduce-rows",
        "f32",
        {"x": ("M", "N")},
        "k = Constant<value_ints=[1]>() y = ReduceSum<keepdims=0>(x, k)",
        lambda x: x.sum(1),
        variant="symbolic",
        sizes={"M": 3, "N": 5003},
    )
    yield _case(
        "reduce-rows",
        "f32",
        {"x": ("M", "N")},
        "y = ReduceL2<keepdims=0>(x)",
        lambda x: np.sqrt((x * x).sum()),
        variant="all",
        sizes={"M": 30, "N": 41},
    )
    yield _case(
        "reduce-rows",
        "i32",
        {"x": ("M", 60)},
        "k = Constant<value_ints=[1]>() a = ReduceSum<keepdims=0>(x, k) "
        "b = ReduceMax<keepdims=0>(x, k)",
        lambda x: (x.sum(1), x.max(1)),
        out={"a": "i32", "b": "i32"},
        sizes={"M": 4},
    )


def _normalisations() -> Iterator[KernelCase]:
    for dtype in FLOATS:
        rows = {"x": ("M", 192), "g": (192,), "b": (192,)}
        yield _case(
            "softmax", dtype, {"x": ("M", 77)}, "y = Softmax(x)", ref.softmax, sizes={"M": 5}
        )
        yield _case(
            "layer-norm",
            dtype,
            rows,
            "y = LayerNormalization(x, g, b)",
            ref.layer_norm,
            sizes={"M": 5},
        )
        yield _case(
            "rms-norm",
            dtype,
            {"x": ("M", 192), "g": (192,)},
            "y = RMSNormalization(x, g)",
            ref.rms_norm,
            sizes={"M": 5},
        )
        yield _case(
            "group-norm",
            dtype,
            {"x": ("M", 12, 5, 7), "g": (12,), "b": (12,)},
            "y = GroupNormalization<num_groups=3>(x, g, b)",
            lambda x, g, b: ref.group_norm(x, g, b, 3),
            sizes={"M": 2},
            tolerance=2e-2 if dtype == "bf16" else 0.0,
        )
    yield _case(
        "softmax",
        "f32",
        {"x": ("M", "N")},
        "y = Softmax(x)",
        ref.softmax,
        variant="symbolic",
        sizes={"M": 3, "N": 9001},
    )
    yield _case(
        "softmax",
        "f32",
        {"x": ("M", 1024)},
        "y = LogSoftmax(x)",
        lambda x: np.log(ref.softmax(x)),
        variant="log",
        sizes={"M": 4},
    )
    yield _case(
        "layer-norm",
        "f32",
        {"x": ("M", 384), "r": ("M", 384), "g": (384,), "b": (384,)},
        "s = Add(x, r) y = LayerNormalization(s, g, b)",
        lambda x, r, g, b: ref.layer_norm(x + r, g, b),
        variant="residual",
        sizes={"M": 6},
    )


# Products


def _products() -> Iterator[KernelCase]:
    for dtype in FLOATS:
        yield _case(
            "matmul",
            dtype,
            {"x": ("M", 64), "w": (64, 128), "b": (128,)},
            "a = MatMul(x, w) c = Add(a, b) y = Gelu(c)",
            lambda x, w, b: ref.gelu(x @ w + b),
            variant="gelu",
            sizes={"M": 50},
        )
        yield _case(
            "matmul",
            dtype,
            {"x": (37, 45), "w": (45, 29), "r": (37, 29)},
            "a = MatMul(x, w) c = Add(a, r) y = Relu(c)",
            lambda x, w, r: np.maximum(x @ w + r, 0),
            variant="odd",
        )
        yield _case(
            "batched-matmul",
            dtype,
            {"x": ("B", 3, 17, 32), "w": ("B", 3, 17, 32)},
            "t = Transpose<perm=[0, 1, 3, 2]>(w) y = MatMul(x, t)",
            lambda x, w: x @ w.swapaxes(-1, -2),
            sizes={"B": 2},
        )
        yield _case(
            "matmul",
            dtype,
            {"x": (1, 256), "w": (256, 512)},
            "y = MatMul(x, w)",
            np.matmul,
            variant="vector",
        )
    yield _case(
        "matmul",
        "f32",
        {"x": ("M", 128), "w": (128, 256)},
        "y = MatMul(x, w)",
        np.matmul,
        variant="plain",
        sizes={"M": 128},
    )
    yield _case(
        "matmul",
        "f32",
        {"x": (8, 2048), "w": (2048, 32)},
        "y = MatMul(x, w)",
        np.matmul,
        variant="long",
    )
    for dtype in ("f32", "f16"):
        yield _case(
            "int8-matmul",
            dtype,
            {"x": ("M", 64), "w": Input((64, 96), "i8"), "s": Input((96,), dtype, _positive)},
            "d = DequantizeLinear<axis=1>(w, s) y = MatMul(x, d)",
            lambda x, w, s: x @ (w * s),
            sizes={"M": 21},
        )
    yield from _quantised()


def _quantised() -> Iterator[KernelCase]:
    """Products with 8-bit weights that the model holds."""

    def held(shape: tuple[int, ...], dtype: str, draw: Any = None) -> Input:
        return Input(shape, dtype, draw, constant=True)

    for dtype in FLOATS:
        yield _case(
            "int8-matmul",
            dtype,
            {"x": ("M", 64), "w": held((64, 96), "i8"), "s": held((96,), "f32", _positive)},
            "w1 = Cast<to=1>(w) d1 = Mul(w1, s) "
            f"d = Cast<to={_ONNX_NUMBERS[dtype]}>(d1) y = MatMul(x, d)",
            lambda x, w, s: x @ (w * s),
            variant="weight",
            sizes={"M": 21},
        )
    for dtype in ("f32", "f16"):
        yield _case(
            "int8-matmul",
            dtype,
            {
                "x": ("M", 72),
                "w": held((104, 72), "ui8"),
                "s": held((104,), dtype, _positive),
                "z": held((104,), "ui8"),
                "b": held((104,), dtype),
            },
            "d = DequantizeLinear<axis=0>(w, s, z) g = Gemm<transB=1>(x, d, b) y = Relu(g)",
            lambda x, w, s, z, b: np.maximum(
                x @ _unquantised(w, s[:, None], z[:, None]).T + b, 0
            ),
            variant="zero-points",
            sizes={"M": 21},
        )
        yield _case(
            "int8-matmul",
            dtype,
            {
                "x": ("M", 128),
                "w": held((128, 80), "ui8"),
                "s": held((4, 80), dtype, _positive),
                "z": held((4, 80), "ui8"),
            },
            "d = DequantizeLinear<axis=0, block_size=32>(w, s, z) y = MatMul(x, d)",
            lambda x, w, s, z: x @ _unquantised(w, np.repeat(s, 32, 0), np.repeat(z, 32, 0)),
            variant="blocks",
            sizes={"M": 21},
        )


def _unquantised(w: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
    return (w.astype(np.float64) - zero) * scale


def _convolutions() -> Iterator[KernelCase]:
    for dtype in ("f32", "f16"):
        image = {"x": ("B", 8, 14, 14)}
        yield _case(
            "convolution",
            dtype,
            {**image, "w": (24, 8, 3, 3), "b": (24,)},
            "c = Conv<pads=[1, 1, 1, 1]>(x, w, b) y = Relu(c)",
            lambda x, w, b: np.maximum(ref.conv(x, w, pad=1) + b[:, None, None], 0),
            sizes={"B": 2},
        )
        yield _case(
            "convolution",
            dtype,
            {"x": (1, 16, 14, 14), "w": (32, 16, 1, 1), "r": (1, 32, 7, 7)},
            "c = Conv<strides=[2, 2]>(x, w) y = Add(c, r)",
            lambda x, w, r: ref.conv(x, w, stride=2) + r,
            variant="strided",
        )
        yield _case(
            "depthwise-convolution",
            dtype,
            {"x": ("B", 20, 9, 11), "w": (20, 1, 3, 3)},
            "c = Conv<pads=[1, 1, 1, 1], group=20>(x, w) y = Clip(c)",
            lambda x, w: ref.conv(x, w, pad=1, groups=20),
            sizes={"B": 1},
        )
        yield _case(
            "pooling",
            dtype,
            {"x": ("B", 12, 15, 15)},
            "a = MaxPool<kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]>(x) "
            "b = AveragePool<kernel_shape=[3, 3], strides=[3, 3]>(x) c = GlobalAveragePool(x)",
            lambda x: (
                ref.windows(x, 3, 2, 1, -np.inf).max((4, 5)),
                ref.windows(x, 3, 3, 0, 0).mean((4, 5)),
                x.mean((2, 3), keepdims=True),
            ),
            out=dict.fromkeys("abc", dtype),
            sizes={"B": 2},
        )
    yield _case(
        "convolution",
        "f32",
        {"x": (1, 8, 10, 10), "w": (12, 4, 3, 3)},
        "y = Conv<group=2>(x, w)",
        lambda x, w: ref.conv(x, w, groups=2),
        variant="grouped",
    )


# Moving


def _copies() -> Iterator[KernelCase]:
    for dtype in ("f32", "f16", "i8", "i64"):
        yield _case(
            "transpose",
            dtype,
            {"x": ("B", 6, 9, 21)},
            "y = Transpose<perm=[0, 2, 3, 1]>(x)",
            lambda x: x.transpose(0, 2, 3, 1),
            sizes={"B": 3},
        )
    yield _case(
        "copy",
        "f32",
        {"x": ("M", 40), "z": ("M", 7)},
        "s = Constant<value_ints=[3]>() e = Constant<value_ints=[38]>() "
        "a = Constant<value_ints=[1]>() t = Constant<value_ints=[5]>() "
        "p = Slice(x, s, e, a, t) y = Concat<axis=1>(p, z, x)",
        lambda x, z: np.concatenate([x[:, 3:38:5], z, x], 1),
        sizes={"M": 11},
    )


def _lookups() -> Iterator[KernelCase]:
    for dtype in FLOATS:
        yield _case(
            "embedding",
            dtype,
            {"t": (50, 48), "i": Input(("B", "S"), "i64", _below(50))},
            "y = Gather(t, i)",
            lambda t, i: t[i],
            sizes={"B": 2, "S": 7},
        )
        yield _case(
            "scatter-add",
            dtype,
            {
                "x": ("N", 24),
                "i": Input(("S", 1), "i64", _below(9)),
                "u": ("S", 24),
            },
            'y = ScatterND<reduction="add">(x, i, u)',
            ref.scatter_add,
            sizes={"N": 9, "S": 20},
            tolerance={"f16": 4e-3, "bf16": 3e-2}.get(dtype, 0.0),
        )
    yield _case(
        "gather",
        "f32",
        {"x": (6, 30), "i": Input((6, 11), "i64", _below(30))},
        "y = GatherElements<axis=1>(x, i)",
        lambda x, i: np.take_along_axis(x, i, 1),
    )
    yield _case(
        "scatter-add",
        "f32",
        {"x": (6, 30), "i": Input((6, 11), "i64", _below(30)), "u": (6, 11)},
        'y = ScatterElements<axis=1, reduction="add">(x, i, u)',
        ref.scatter_elements_add,
        variant="elements",
    )


def _attention() -> Iterator[KernelCase]:
    for dtype in FLOATS:
        tolerance = {"f16": 4e-3, "bf16": 3e-2}.get(dtype, 0.0)
        yield _case(
            "rotary",
            dtype,
            {
                "x": ("B", 4, "S", 32),
                "c": (40, 16),
                "s": (40, 16),
                "p": Input(("B", "S"), "i64", _below(40)),
            },
            "y = RotaryEmbedding(x, c, s, p)",
            ref.rotary,
            sizes={"B": 2, "S": 9},
        )
        yield _case(
            "attention-prefill",
            dtype,
            {"q": ("B", 6, "S", 64), "k": ("B", 2, "S", 64), "v": ("B", 2, "S", 64)},
            "y = Attention<is_causal=1>(q, k, v)",
            lambda q, k, v: ref.attention(q, k, v, causal=True, scale=0.125),
            sizes={"B": 1, "S": 45},
            tolerance=tolerance,
        )
        yield _case(
            "attention-decode",
            dtype,
            {
                "q": ("B", 6, 1, 64),
                "k": Input((12, 16, 2, 64), dtype),
                "v": Input((12, 16, 2, 64), dtype),
                "t": Input(("B", 3), "i64", lambda r, s: r.permutation(12)[: s[0] * 3]
                           .reshape(s)),
                "n": Input(("B",), "i64", lambda r, s: np.array([37, 48][: s[0]])),
            },
            "",
            ref.paged_attention,
            variant="paged",
            graph=graphs.paged_attention,
            sizes={"B": 2},
            tolerance=tolerance,
        )  # fmt: skip
    yield _case(
        "attention-prefill",
        "f32",
        {"q": (1, 4, 24, 32), "k": (1, 4, 24, 32), "v": (1, 4, 24, 32), "m": (24, 24)},
        "y = Attention<scale=0.125>(q, k, v, m)",
        lambda q, k, v, m: (
            ref.softmax(q @ k.swapaxes(-1, -2) * 0.125 + m) @ v
        ),
        variant="bias",
    )  # fmt: skip


def _selection() -> Iterator[KernelCase]:
    for dtype in FLOATS:
        yield _case(
            "argmax",
            dtype,
            {"x": ("M", 77)},
            "y = ArgMax<axis=1, keepdims=0>(x)",
            lambda x: x.argmax(1),
            out={"y": "i64"},
            sizes={"M": 6},
        )
    yield _case(
        "top-k",
        "f32",
        {"x": ("M", 100)},
        "k = Constant<value_ints=[5]>() y, i = TopK(x, k)",
        lambda x: ref.top(x, 5),
        out={"y": "f32", "i": "i64"},
        sizes={"M": 4},
    )
    for dtype in ("f32", "f16"):
        yield _case(
            "cumulative-sum",
            dtype,
            {"x": ("M", 130)},
            "a = Constant<value_int=1>() y = CumSum(x, a)",
            lambda x: x.cumsum(1),
            sizes={"M": 5},
            tolerance=1e-2 if dtype == "f16" else 0.0,
        )
    yield _case(
        "random",
        "f32",
        {"state": Input((2,), "ui64", lambda r, s: r.integers(1, 1 << 40, s))},
        "",
        ref.random_bits,
        out={"bits": "ui32", "next": "ui64"},
        graph=graphs.random_bits,
    )
