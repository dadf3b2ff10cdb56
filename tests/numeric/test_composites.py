"""Each composite's definition gives what the interpreter computes directly."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Region, SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.context import CompilerContext
from infini_ir.dialects.graph import TensorType
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.interpreters.graph import interpret
from infini_ir.passes.graph.expand_composites import DEFINITIONS, ExpandCompositesPass
from infini_ir.utils import dtypes

FLOATS = ("f32", "f16", "bf16", "f64")
TOLERANCE = {"f32": 2e-6, "f64": 1e-13, "f16": 1.5e-3, "bf16": 1.2e-2}
Make = Callable[..., graph.GraphOp]


def module_of(make: Make, types: Sequence[TensorType]) -> ModuleOp:
    """A module whose main function is one operation."""
    block = Block(arg_types=types)
    builder = GraphBuilder(block)
    op = builder.insert(make(*block.args))
    builder.insert(func.ReturnOp(*op.results))
    results: list[SSAValue] = list(op.results)
    signature = (types, [value.type for value in results])
    module = ModuleOp([func.FuncOp("main", signature, Region(block))])
    module.verify()
    return module


def check(make: Make, types: Sequence[TensorType], inputs: Sequence[np.ndarray]) -> None:
    """Compare the direct result with that of the expansion, in both precisions."""
    module = module_of(make, types)
    constants = 0 if types[0].dtype == "f64" else 5e-7
    direct = [interpret(module, inputs, precision=p) for p in ("native", "f64")]
    ExpandCompositesPass().apply(CompilerContext(), module)
    module.verify()
    assert not any(type(op) in DEFINITIONS for op in module.walk())
    for wanted, precision in zip(direct, ("native", "f64"), strict=True):
        for a, b in zip(wanted, interpret(module, inputs, precision=precision), strict=True):
            assert a.dtype == b.dtype
            assert a.shape == b.shape
            tolerance = TOLERANCE.get(dtypes.dtype_name(a.dtype), 0)
            # Constants of a definition have the type it computes in, so f32 rounds them.
            assert_close(a, b, max(tolerance, constants) if tolerance else 0)


def assert_close(a: np.ndarray, b: np.ndarray, tolerance: float) -> None:
    """Equal up to a share of the largest finite element; NaN and infinity in place."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(x)
    np.testing.assert_array_equal(np.where(finite, 0, x), np.where(np.isfinite(y), 0, y))
    scale = np.abs(x[finite]).max(initial=0)
    np.testing.assert_allclose(y[finite], x[finite], rtol=0, atol=tolerance * max(scale, 1e-30))


def floats(shape: Sequence[int], dtype: str = "f32", seed: int = 0) -> np.ndarray:
    values = np.random.default_rng([seed, *shape]).standard_normal(shape)
    return values.astype(dtypes.numpy_dtype(dtype))


def integers(shape: Sequence[int], dtype: str, low: int, high: int) -> np.ndarray:
    values = np.random.default_rng(list(shape)).integers(low, high, shape)
    return values.astype(dtypes.numpy_dtype(dtype))


T = TensorType.of


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(2, 5, 3), (1, 1), (3, 0, 2), (0, 4), (7,)])
def test_softmax(shape: tuple[int, ...], dtype: str) -> None:
    names = [f"N{i}" for i in range(len(shape))]
    for axis in range(len(shape)):
        for log in (False, True):
            check(
                lambda x: graph.SoftmaxOp(x, axis, log=log),  # noqa: B023
                [T(names, dtype)],
                [floats(shape, dtype)],
            )


def test_softmax_of_infinities_and_nan() -> None:
    inf, nan = np.inf, np.nan
    x = np.array([[1, -inf, 2], [-inf] * 3, [inf, 0, 1], [nan, 0, 1]], np.float32)
    check(lambda x: graph.SoftmaxOp(x, 1), [T(["N", 3], "f32")], [x])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape,axis", [((2, 5, 3), 1), ((4, 7), 1), ((3, 1), 1), ((0, 4), 1)])
def test_normalisations(shape: tuple[int, ...], axis: int, dtype: str) -> None:
    names = [f"N{i}" for i in range(len(shape))]
    x, scale, bias = (
        floats(shape, dtype),
        floats(shape[axis:], dtype),
        floats(shape[axis:], dtype),
    )
    types = [T(names, dtype), T(names[axis:], dtype), T(names[axis:], dtype)]
    check(lambda x, s, b: graph.LayerNormOp(x, s, b, axis, 1e-5), types, [x, scale, bias])
    check(lambda x: graph.LayerNormOp(x, None, None, axis, 1e-5), types[:1], [x])
    check(lambda x, b: graph.LayerNormOp(x, None, b, axis, 1e-5), types[:2], [x, bias])
    check(lambda x, s: graph.RmsNormOp(x, s, axis, 1e-6), types[:2], [x, scale])
    check(lambda x: graph.RmsNormOp(x, None, axis, 1e-6), types[:1], [x])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("tanh", [False, True])
def test_gelu(dtype: str, tanh: bool) -> None:
    x = np.concatenate([floats((9,)) * 3, [0.0, -0.0, 30, -30, np.inf, np.nan]])
    x = x.astype(dtypes.numpy_dtype(dtype))
    check(lambda x: graph.GeluOp(x, tanh=tanh), [T(["N"], dtype)], [x])


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("x_type,angle_type", [("f32", "f32"), ("bf16", "f32"), ("f16", "f16")])
def test_rope(interleaved: bool, x_type: str, angle_type: str) -> None:
    for width, pairs in ((8, 4), (10, 3), (2, 1)):
        x, angle = floats((2, 3, 5, width), x_type), floats((1, 1, 5, pairs), angle_type)
        types = [T(["B", "H", "S", width], x_type), *[T([1, 1, "S", pairs], angle_type)] * 2]
        check(
            lambda x, c, s: graph.RopeOp(x, c, s, interleaved=interleaved),
            types,
            [x, angle, floats(angle.shape, angle_type, 1)],
        )


def attention_case(seed: int) -> tuple[Make, list[TensorType], list[np.ndarray]]:
    """A random attention; every feature comes up over a few seeds."""
    rng = np.random.default_rng(seed)
    flip = lambda: bool(rng.integers(2))  # noqa: E731
    b, g, shared, s, t = (int(rng.integers(1, 4)) for _ in range(5))
    d, e, h = 4, 6, g * shared
    t = t + s
    dtype = ("f32", "f16", "bf16")[seed % 3]
    arrays = [
        floats((b, h, s, d), dtype),
        floats((b, g, t, d), dtype),
        floats((b, g, t, e), dtype),
    ]
    types = [T(["B", h, "S", d], dtype), T(["B", g, "K", d], dtype), T(["B", g, "K", e], dtype)]
    options: dict = {"causal": flip(), "softcap": 5.0 if flip() else None}
    options["window"] = int(rng.integers(0, 3)) if flip() else None
    extra: list[str] = []
    if flip():
        shape = [n if flip() else 1 for n in (b, h, s, t)]
        dims = [w if n != 1 else 1 for n, w in zip(shape, ("B", h, "S", "K"), strict=True)]
        kind = "i1" if flip() else dtype
        mask = rng.integers(0, 2, shape).astype(bool)
        arrays.append(mask if kind == "i1" else floats(shape, dtype))
        types.append(T(dims, kind))
        extra.append("bias")
    if flip():
        arrays.append(rng.integers(0, t + 1, b))
        types.append(T(["B"], "i64"))
        extra.append("kv_len")
    if flip():
        arrays.append(np.asarray(int(rng.integers(-2, t))))
        types.append(T([], "i64"))
        extra.append("offset")

    def make(q: SSAValue, k: SSAValue, v: SSAValue, *rest: SSAValue) -> graph.GraphOp:
        given = dict(zip(extra, rest, strict=True))
        return graph.AttentionOp(q, k, v, scale=0.5, **options, **given)

    return make, types, arrays


@pytest.mark.parametrize("seed", range(30))
def test_attention(seed: int) -> None:
    check(*attention_case(seed))


def test_attention_that_sees_nothing_is_zero() -> None:
    types = [T(["B", 2, "S", 4], "f32"), T(["B", 2, "K", 4], "f32"), T(["B", 2, "K", 4], "f32")]
    q, k = floats((1, 2, 3, 4)), floats((1, 2, 5, 4))
    nothing = np.zeros((1, 1, 1, 5), bool)
    types_with_mask = [*types, T([1, 1, 1, "K"], "i1")]
    make: Make = lambda q, k, v, m: graph.AttentionOp(q, k, v, scale=1.0, bias=m)  # noqa: E731
    check(make, types_with_mask, [q, k, k, nothing])
    module = module_of(make, types_with_mask)
    assert not interpret(module, [q, k, k, nothing])[0].any()
    # No keys at all, no queries, and a cache that holds NaN beyond its valid keys.
    make = lambda q, k, v: graph.AttentionOp(q, k, v, scale=1.0)  # noqa: E731
    check(make, types, [q, k[:, :, :0], k[:, :, :0]])
    check(make, types, [q[:, :, :0], k, k])
    k[:, :, 3:] = np.nan
    make = lambda q, k, v, n: graph.AttentionOp(q, k, v, scale=1.0, kv_len=n)  # noqa: E731
    with_length = [*types, T(["B"], "i64")]
    check(make, with_length, [q, k, k, np.array([3])])
    assert np.isfinite(
        interpret(module_of(make, with_length), [q, k, k, np.array([3])])[0]
    ).all()


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_paged_attention(dtype: str) -> None:
    pages = floats((7, 4, 2, 8), dtype)
    table = np.array([[3, 0, 6], [5, 1, 2]], np.int32)
    lengths = np.array([9, 2])
    types = [
        T(["B", 6, "S", 8], dtype),
        *[T(["P", 4, 2, 8], dtype)] * 2,
        T(["B", "N"], "i32"),
        T(["B"], "i64"),
    ]
    check(
        lambda q, k, v, t, n: graph.PagedAttentionOp(q, k, v, t, n, 0.3),
        types,
        [floats((2, 6, 3, 8), dtype), pages, floats(pages.shape, dtype, 1), table, lengths],
    )


def conv_case(seed: int) -> tuple[Make, list[TensorType], list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 4))
    groups = int(rng.choice([1, 1, 2, 3]))
    inner, outer, batch = int(rng.integers(1, 4)), groups * int(rng.integers(1, 3)), 2
    kernel, strides, dilations, spread = (rng.integers(1, 4, n).tolist() for _ in range(4))
    lo, hi = (rng.integers(-1, 3, n).tolist() for _ in range(2))
    spatial = [
        max(4, (k - 1) * d + 1 + 2 + int(rng.integers(0, 3)))
        for k, d in zip(kernel, dilations, strict=True)
    ]
    last = bool(rng.integers(2))
    dtype = ("f32", "f16", "bf16", "f64")[seed % 4]
    names = [f"S{i}" for i in range(n)]
    if last:
        x, x_dims = (batch, *spatial, groups * inner), ["B", *names, groups * inner]
        w = (*kernel, inner, outer)
    else:
        x, x_dims = (batch, groups * inner, *spatial), ["B", groups * inner, *names]
        w = (outer, inner, *kernel)
    arrays, types = [floats(x, dtype), floats(w, dtype)], [T(x_dims, dtype), T(w, dtype)]
    if seed % 3:
        arrays.append(floats((outer,), dtype))
        types.append(T([outer], dtype))

    def make(*operands: SSAValue) -> graph.GraphOp:
        return graph.ConvOp(
            *operands,
            layout="channels_last" if last else "channels_first",
            groups=groups,
            strides=strides,
            dilations=dilations,
            lo=lo,
            hi=hi,
            input_dilation=spread,
        )

    return make, types, arrays


@pytest.mark.parametrize("seed", range(32))
def test_conv(seed: int) -> None:
    check(*conv_case(seed))


def test_conv_of_integers_and_of_nothing() -> None:
    x, w = integers((2, 4, 6), "ui8", 0, 256), integers((3, 4, 3), "i8", -128, 128)
    types = [T(["B", 4, "S"], "ui8"), T([3, 4, 3], "i8")]
    check(lambda x, w: graph.ConvOp(x, w, lo=[1], hi=[1], dtype="i32"), types, [x, w])
    check(lambda x, w: graph.ConvOp(x, w, dtype="i32"), types, [x[:0], w])
    types = [T(["B", 4], "f32"), T([3, 4], "f32")]
    check(lambda x, w: graph.ConvOp(x, w), types, [floats((2, 4)), floats((3, 4))])


@pytest.mark.parametrize("kind", ["max", "sum", "avg"])
@pytest.mark.parametrize("seed", range(8))
def test_pool(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 3))
    sizes, strides, dilations = (rng.integers(1, 4, n).tolist() for _ in range(3))
    lo, hi = ([int(rng.integers(0, size)) for size in sizes] for _ in range(2))
    count_hi = None if seed % 2 else [max(0, h - 1) for h in hi]
    layout = "channels_last" if seed % 3 == 0 else "channels_first"
    dtype = ("f32", "f16", "i32", "i8")[seed % 4]
    spatial, names = [8] * n, [f"S{i}" for i in range(n)]
    shape = (2, *spatial, 3) if layout == "channels_last" else (2, 3, *spatial)
    dims = ["B", *names, 3] if layout == "channels_last" else ["B", 3, *names]
    x = floats(shape, dtype) if dtype[0] == "f" else integers(shape, dtype, -20, 20)
    check(
        lambda x: graph.PoolOp(
            kind,
            x,
            sizes,
            layout=layout,
            strides=strides,
            dilations=dilations,
            lo=lo,
            hi=hi,
            count_hi=count_hi,
        ),
        [T(dims, dtype)],
        [x],
    )


def test_max_pool_carries_nan_and_lowest() -> None:
    x = np.array([[[np.nan, 1, -np.inf, -np.inf, -np.inf, 3]]], np.float32)
    check(lambda x: graph.PoolOp("max", x, [2], lo=[1]), [T([1, 1, "S"], "f32")], [x])


@pytest.mark.parametrize("largest", [False, True])
def test_topk(largest: bool) -> None:
    x = np.array([[1, np.nan, 3, 3, -np.inf, 1, np.nan, 3]], np.float32)
    for k in (0, 1, 5, 8):
        check(lambda x: graph.TopkOp(x, k, 1, largest=largest), [T(["N", 8], "f32")], [x])  # noqa: B023
    ties = integers((5, 4), "ui8", 0, 3)
    check(lambda x: graph.TopkOp(x, 3, 0, largest=largest), [T([5, 4], "ui8")], [ties])


SCALES = {
    "tensor": ((), None, 0),
    "axis": ((6,), 1, 0),
    "block": ((4, 3), 1, 2),
    "ragged": ((4, 2), 1, 4),
}


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("target", ["i8", "ui8", "i4", "ui4", "i16", "f8E4M3FN", "f4E2M1FN"])
def test_quantize_and_dequantize(scales: str, target: str) -> None:
    shape, axis, block = SCALES[scales]
    dims = ["N", shape[1]] if block else shape
    x = floats((4, 6)) * 40
    x[0, :4] = np.nan, np.inf, -np.inf, 2.5
    scale = np.abs(floats(shape)) + 0.1
    zero = np.ones(shape, np.int8).astype(dtypes.numpy_dtype(target))
    types = [T(["N", 6], "f32"), T(dims, "f32"), T(dims, target)]
    make: Make = lambda x, s, z: graph.QuantizeOp(x, s, z, target, axis=axis, block=block)  # noqa: E731
    check(make, types, [x, scale, zero])
    quantized = interpret(module_of(make, types), [x, scale, zero])[0]
    make = lambda x, s, z: graph.DequantizeOp(x, s, z, axis=axis, block=block)  # noqa: E731
    types = [T(["N", 6], target), T(dims, "f32"), T(dims, target)]
    check(make, types, [quantized, scale, zero])
    make = lambda x, s: graph.DequantizeOp(x, s, axis=axis, block=block)  # noqa: E731
    check(make, [T(["N", 6], target), T(dims, "f16")], [quantized, scale.astype(np.float16)])


@pytest.mark.parametrize("a_type", ["i8", "ui8"])
@pytest.mark.parametrize("batch", [(), (2, 3)])
def test_quantized_matmul(a_type: str, batch: tuple[int, ...]) -> None:
    low, high = (0, 256) if a_type == "ui8" else (-128, 128)
    a, b = (
        integers((*batch, 4, 7), a_type, low, high),
        integers((*batch, 7, 5), "i8", -128, 128),
    )
    dims = [f"B{i}" for i in range(len(batch))]
    types = [T([*dims, "M", "K"], a_type), T([*dims, "K", "N"], "i8")]
    check(graph.QuantizedMatmulOp, types, [a, b])
    zeros = [T([], a_type), T(["N"], "i8")]
    b_zero = integers((5,), "i8", -9, 9)
    inputs = [a, b, np.asarray(7, a.dtype), b_zero]
    check(graph.QuantizedMatmulOp, [*types, *zeros], inputs)
    rows = integers((4,), a_type, 0, 9)
    check(graph.QuantizedMatmulOp, [*types, T(["M"], a_type)], [a, b, rows])


def test_an_unknown_name_is_refused() -> None:
    from infini_ir.utils.errors import OptionError

    module = module_of(lambda x: graph.GeluOp(x), [T(["N"], "f32")])
    with pytest.raises(OptionError, match="'gelo' is not a composite"):
        ExpandCompositesPass(only=("gelo",)).apply(CompilerContext(), module)
    ExpandCompositesPass(keep=("gelu",)).apply(CompilerContext(), module)
    assert any(isinstance(op, graph.GeluOp) for op in module.walk())
