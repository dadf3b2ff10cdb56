"""Small models of each element type, and with control flow, compiled through the backend.

Floats are compared with the same network in f64, integers with numpy exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import parser

from infini_ir.frontends.onnx import backend
from infini_ir.utils.dtypes import numpy_dtype

RNG = np.random.default_rng(3)


def run(graph: str, inputs: Sequence[Any], *, opset: int = 21) -> tuple[Any, ...]:
    """The outputs of a model given by the text of its graph."""
    header = f'<ir_version: 10, opset_import: ["" : {opset}]>\n'
    return backend.prepare(parser.parse_model(header + graph)).run(list(inputs))


# Floats

NETWORK = """network ({t}[B,1,H,W] x, {t}[4,1,3,3] w, {t}[4] c, {t}[N,5] v) => ({t}[B,5] y, {t}[B] m) {{
    a = Conv<pads=[1,1,1,1]>(x, w, c)
    s = Sigmoid(a)
    g = Mul(a, s)
    p = AveragePool<kernel_shape=[2,2], strides=[2,2]>(g)
    f = Flatten(p)
    h = MatMul(f, v)
    y = Softmax<axis=1>(h)
    k = Constant<value_ints=[1]>()
    m = ReduceMax<keepdims=0>(h, k)
}}"""

TOLERANCES = {"double": 1e-12, "float": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}
NUMPY = {"double": "f64", "float": "f32", "float16": "f16", "bfloat16": "bf16"}


def network_in_f64(x: np.ndarray, w: np.ndarray, c: np.ndarray, v: np.ndarray):
    batch, _, height, width = x.shape
    wide = np.pad(x[:, 0], ((0, 0), (1, 1), (1, 1)))
    taps = np.lib.stride_tricks.sliding_window_view(wide, (3, 3), axis=(1, 2))
    a = np.einsum("bhwij,oij->bohw", taps, w[:, 0]) + c[:, None, None]
    g = a / (1 + np.exp(-a))
    halves = g.reshape(batch, 4, height // 2, 2, width // 2, 2)
    h = halves.mean(axis=(3, 5)).reshape(batch, -1) @ v
    e = np.exp(h - h.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True), h.max(1)


@pytest.mark.parametrize("dtype", list(TOLERANCES))
@pytest.mark.parametrize("size", [(1, 6, 4), (3, 4, 10)], ids=str)
def test_a_network_of_each_float_type(dtype: str, size: tuple[int, int, int]):
    batch, height, width = size
    shapes = [(batch, 1, height, width), (4, 1, 3, 3), (4,), (height * width, 5)]
    kind = numpy_dtype(NUMPY[dtype])
    inputs = [(RNG.standard_normal(shape) / 2).astype(kind) for shape in shapes]
    outputs = run(NETWORK.format(t=dtype), inputs)
    wanted = network_in_f64(*(array.astype(np.float64) for array in inputs))
    for given, right in zip(outputs, wanted, strict=True):
        assert given.dtype == kind
        scale = np.abs(right).max()
        assert np.abs(given.astype(np.float64) - right).max() <= TOLERANCES[dtype] * scale


# Integers

WHOLE = """whole ({t}[N,6] x, {t}[6] d, {t}[6,3] w, int64[K] rows) => ({t}[N,6] q, {t}[N,6] r, {t}[K,3] m, {t}[N] s, bool[N,6] l) {{
    q = Div(x, d)
    r = Mod(x, d)
    picked = Gather<axis=0>(x, rows)
    m = MatMul(picked, w)
    k = Constant<value_ints=[1]>()
    s = ReduceSum<keepdims=0>(x, k)
    l = Less(r, q)
}}"""


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "uint64"])
def test_whole_numbers(dtype: str):
    kind = np.dtype(dtype)
    low = 0 if kind.kind == "u" else -1000
    x = RNG.integers(low, 1000, (4, 6)).astype(kind)
    d = np.array([1, 2, 3, 7, 10, 999], kind)
    w = RNG.integers(0, 50, (6, 3)).astype(kind)
    rows = np.array([3, 0, -1])
    q, r, m, s, less = run(WHOLE.format(t=dtype), [x, d, w, rows])
    wanted = np.trunc(x.astype(np.float64) / d).astype(kind)
    np.testing.assert_array_equal(q, wanted)
    np.testing.assert_array_equal(r, np.mod(x, d))
    np.testing.assert_array_equal(m, x[rows] @ w)
    np.testing.assert_array_equal(s, x.sum(1, dtype=kind))
    np.testing.assert_array_equal(less, np.mod(x, d) < wanted)
    assert {a.dtype for a in (q, r, m, s)} == {kind}


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint8", "uint16"])
def test_narrow_numbers_wrap(dtype: str):
    kind = np.dtype(dtype)
    limits = np.iinfo(kind)
    x = RNG.integers(limits.min, limits.max, (3, 37), endpoint=True).astype(kind)
    y = RNG.integers(limits.min, limits.max, (3, 37), endpoint=True).astype(kind)
    text = """g ({t}[A,B] x, {t}[A,B] y) => ({t}[A,B] a, {t}[A,B] b, {t}[A,B] c, {t}[A,B] d, int32[A,B] e) {{
        a = Add(x, y) b = Mul(x, y) c = Max(x, y) d = Sub(x, y) e = Cast<to=6>(x) }}"""
    results = run(text.format(t=dtype), [x, y])
    for given, right in zip(
        results, (x + y, x * y, np.maximum(x, y), x - y, x.astype(np.int32)), strict=True
    ):
        np.testing.assert_array_equal(given, right)
        assert given.dtype == right.dtype


def test_integer_products_of_bytes():
    a = RNG.integers(0, 255, (5, 40)).astype(np.uint8)
    b = RNG.integers(-128, 127, (40, 9)).astype(np.int8)
    text = """g (uint8[M,K] a, int8[K,N] b, uint8 z) => (int32[M,N] y) {
        y = MatMulInteger(a, b, z) }"""
    [y] = run(text, [a, b, np.uint8(7)])
    np.testing.assert_array_equal(y, (a.astype(np.int32) - 7) @ b.astype(np.int32))


# Control flow, sequences, optionals

F = np.float32


def test_a_choice_of_branches():
    text = """g (bool c, float[N] x) => (float[M] y) {
        y = If (c) <
            then_branch = t () => (float[N] p) { p = Exp(x) },
            else_branch = e () => (float[N] q) { n = Neg(x) q = Add(n, x) }
        > }"""
    x = np.array([0, 1, 2], F)
    np.testing.assert_allclose(run(text, [np.array(True), x])[0], np.exp(x), rtol=1e-6)
    np.testing.assert_array_equal(run(text, [np.array(False), x])[0], np.zeros(3, F))


LOOP = """g (int64 n, bool go, float[N] x, float limit) => (float[N] y, float[T,N] ys) {
    y, ys = Loop (n, go, x) <body = b (int64 i, bool c, float[N] a) => (bool d, float[N] z, float[N] out) {
        z = Add(a, a)
        top = ReduceMax<keepdims=0>(z)
        d = Less(top, limit)
        out = Identity(a)
    }> }"""


@pytest.mark.parametrize(("limit", "steps"), [(1e9, 5), (10.0, 3), (0.0, 1)])
def test_a_loop_that_may_end_early(limit: float, steps: int):
    x = np.array([0.5, 1.5, -1], F)
    y, ys = run(LOOP, [np.array(5), np.array(True), x, np.array(limit, F)])
    np.testing.assert_array_equal(y, x * 2**steps)
    np.testing.assert_array_equal(ys, np.stack([x * 2**i for i in range(steps)]))


def test_a_loop_of_no_iterations():
    x = np.array([1, 2], F)
    y, ys = run(LOOP, [np.array(0), np.array(True), x, np.array(9, F)])
    assert (y.tolist(), ys.shape) == ([1, 2], (0, 2))


@pytest.mark.parametrize("dtype", ["float", "float16", "int32"])
def test_a_scan_with_state(dtype: str):
    kind = np.dtype({"float": "f4", "float16": "f2", "int32": "i4"}[dtype])
    text = f"""g ({dtype}[N] first, {dtype}[T,N] xs) => ({dtype}[N] last, {dtype}[T,N] sums) {{
        last, sums = Scan <num_scan_inputs=1, body = b ({dtype}[N] a, {dtype}[N] x)
            => ({dtype}[N] s, {dtype}[N] o) {{ s = Add(a, x) o = Identity(s) }}> (first, xs) }}"""
    first, xs = np.array([1, 2, 3], kind), np.arange(12).reshape(4, 3).astype(kind)
    last, sums = run(text, [first, xs])
    np.testing.assert_array_equal(sums, first + np.cumsum(xs, 0, dtype=kind))
    np.testing.assert_array_equal(last, sums[-1])


def test_sequences_and_optionals():
    text = """g (seq(float[N]) s, optional(float[N]) o, int64 at)
        => (float[M] y, seq(float[K]) rest, bool given, float[L] x) {
        rest = SequenceErase(s, at)
        y = ConcatFromSequence<axis=0>(rest)
        given = OptionalHasElement(o)
        x = SequenceAt(s, at)
    }"""
    arrays = [np.full(i + 1, i, F) for i in range(3)]
    for at in (0, 2, -1):
        y, rest, given, x = run(text, [arrays, arrays[0] if at else None, np.array(at)])
        kept = [a for i, a in enumerate(arrays) if i != at % 3]
        np.testing.assert_array_equal(y, np.concatenate(kept))
        assert [a.tolist() for a in rest] == [a.tolist() for a in kept]
        assert bool(given) == bool(at) and x.tolist() == arrays[at].tolist()


def test_one_node():
    node = onnx.helper.make_node("Clip", ["x", "", "high"], ["y"])
    [y] = backend.run_node(node, [np.array([1, 5], F), np.array(3, F)])
    assert y.tolist() == [1, 3]


@pytest.mark.parametrize("type", ["float8e5m2", "float8e4m3fn", "float4e2m1"])
def test_floats_of_few_bits_are_padded(type):
    """Their constants are bits, as LLVM has no such types."""
    dtype = numpy_dtype({
        "float8e5m2": "f8E5M2", "float8e4m3fn": "f8E4M3FN", "float4e2m1": "f4E2M1FN",
    }[type])  # fmt: skip
    x = np.array([[1, 2, 3, -4]]).astype(dtype)
    pads = "<int64[4] s = {0, 1, 0, 2}>"
    (y,) = run(
        f"g ({type}[1,4] x) => ({type}[n,m] y) {pads} {{ y = Pad(x, s) }}", [x], opset=23
    )
    np.testing.assert_array_equal(y.astype(np.float32), [[0, 1, 2, 3, -4, 0, 0]])
