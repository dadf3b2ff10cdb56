"""Kernels with computed positions, scans, sorts and attention, against the graph interpreter."""

import numpy as np
import pytest

from infini_ir.dialects import graph
from infini_ir.dialects.graph import TensorType
from infini_ir.utils.dtypes import numpy_dtype
from tests.numeric.special_kernels import compare

T = TensorType.of
rng = np.random.default_rng(7)


def _floats(*shape: int, dtype: str = "f4") -> np.ndarray:
    return rng.normal(size=shape).astype(dtype)


@pytest.mark.parametrize(
    ("shape", "axis", "count"),
    [
        ((7, 11), 0, (4,)),
        ((7, 11), 1, (2, 3)),
        ((5, 4, 6), 1, ()),
        ((5, 4, 6), 1, (7,)),
        ((5,), 0, ()),
        ((5, 1), 0, (3,)),
        ((3, 0), 0, (2,)),
        ((3, 4), 0, (0,)),
        ((0, 4), 0, (2,)),
    ],
)
@pytest.mark.parametrize("dtype", ["i64", "i32", "ui8", "ui64"])
def test_gather(shape, axis, count, dtype):
    names = ["A", "B", "C"][: len(shape)]
    # An axis that is surely empty gives zeros.
    sizes = [n if s or i != axis else 0 for i, (n, s) in enumerate(zip(names, shape))]
    numpy = {"i64": "i8", "i32": "i4", "ui8": "u1", "ui64": "u8"}[dtype]
    low = 0 if dtype.startswith("u") else -3
    indices = rng.integers(low, 14, size=count).astype(numpy)
    if dtype == "ui64" and indices.size:
        indices.reshape(-1)[0] = 2**64 - 1
    compare(
        [T(sizes, "f32"), T(["I", "J"][: len(count)], dtype)],
        lambda b, x, i: [b.gather(x, i, axis)],
        [_floats(*shape), indices],
    )


@pytest.mark.parametrize(
    ("shape", "indices", "batch"),
    [
        ((4, 5, 6), (3, 2), 0),
        ((4, 5, 6), (3, 1), 0),
        ((4, 5, 6), (3, 3), 0),
        ((4, 5, 6), (4, 7, 1), 1),
        ((4, 5, 6), (4, 7, 2), 1),
        ((4, 5, 6), (4, 5, 2, 1), 2),
        ((4, 5), (3, 0), 0),
        ((4, 5), (2,), 0),
        ((4, 5), (4, 1), 1),
    ],
)
def test_gather_nd(shape, indices, batch):
    compare(
        [T(shape, "i16"), T(indices, "i64")],
        lambda b, x, i: [b.gather_nd(x, i, batch)],
        [rng.integers(-99, 99, size=shape).astype("i2"), rng.integers(-1, 6, size=indices)],
    )


def _values(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers with equals among them and, in floats, NaN and infinities."""
    if dtype == "bool":
        return rng.integers(0, 2, size=shape).astype(bool)
    x = rng.integers(-4, 5, size=shape)
    if np.dtype(dtype).kind == "u":
        return (x * 31).astype(dtype)
    if np.dtype(dtype).kind == "i":
        return x.astype(dtype)
    x = x.astype(dtype)
    special = rng.random(size=shape)
    return np.where(special < 0.1, np.nan, np.where(special > 0.95, np.inf, x)).astype(dtype)


NAMES = {
    "f4": "f32",
    "f2": "f16",
    "f8": "f64",
    "i1": "i8",
    "u1": "ui8",
    "i8": "i64",
    "bool": "i1",
}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize(
    ("shape", "axis"), [((7,), 0), ((3, 8), 1), ((8, 7), 0), ((3, 4, 7), 1), ((1, 4, 1), 1)]
)
def test_cumulative(shape, axis, exclusive, reverse):
    for kind, dtype in (("sum", "f4"), ("sum", "f2"), ("prod", "i1"), ("max", "u1"),
                        ("min", "f4"), ("sum", "i8"), ("max", "bool")):  # fmt: skip
        compare(
            [T(shape, NAMES[dtype])],
            lambda b, x, kind=kind: [
                b.cumulative(kind, x, axis, exclusive=exclusive, reverse=reverse)
            ],
            [_values(dtype, shape)],
            rtol=1e-3 if dtype == "f2" else 1e-5,
        )


def test_cumulative_of_nothing():
    for shape, axis in (((0, 3), 0), ((3, 0), 0)):
        types = [T(["M", "N"], "f32")]
        compare(types, lambda b, x, a=axis: [b.cumulative("sum", x, a)], [_floats(*shape)])


@pytest.mark.parametrize("dtype", ["f4", "f2", "i1", "u1", "bool"])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("shape", "axis"), [((9,), 0), ((6, 9), 1), ((9, 6), 0), ((2, 9, 7), 1), ((4, 1), 1)]
)
def test_arg_reduce(shape, axis, last, dtype):
    for kind in ("max", "min"):
        for keep in (False, True):
            compare(
                [T(["A", "B", "C"][: len(shape)], NAMES[dtype])],
                lambda b, x, kind=kind, keep=keep: [
                    b.arg_reduce(kind, x, axis, last=last, keep=keep)
                ],
                [_values(dtype, shape)],
            )


def test_arg_reduce_of_a_transposed_operand():
    compare(
        [T(["A", "B"], "f32")],
        lambda b, x: [b.arg_reduce("max", b.transpose(x, [1, 0]), 1)],
        [_values("f4", (5, 9))],
    )


@pytest.mark.parametrize("dtype", ["f4", "f2", "i8", "bool"])
@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 4), (0, 3), (), (1, 1)])
def test_nonzero(shape, dtype):
    names = ["A", "B", "C"][: len(shape)]
    compare([T(names, NAMES[dtype])], lambda b, x: [b.nonzero(x, "K")], [_values(dtype, shape)])


@pytest.mark.parametrize("shape", [(), (1,), (4,), (11,), (3, 5), (0,)])
def test_rng(shape):
    state = np.array([0x123456789ABCDEF0, 2**64 - 2], np.uint64)
    compare([T([2], "ui64")], lambda b, s: list(b.rng(s, shape)), [state])


@pytest.mark.parametrize("combine", ["set", "add", "mul", "max", "min"])
@pytest.mark.parametrize(
    ("shape", "indices"),
    [
        ((7,), (11, 1)),
        ((7, 8), (4, 1)),
        ((5, 4), (12, 2)),
        ((5, 4), (2, 6, 2)),
        ((5, 4, 3), (2, 3, 1)),
        ((5, 4, 3), (6, 2)),
        ((5, 4), (2,)),
        ((5, 4), (1,)),
        ((5, 4), (3, 0)),
        ((0, 4), (3, 1)),
        ((5, 4), (0, 1)),
    ],
)
def test_scatter_nd(shape, indices, combine):
    updates = (*indices[:-1], *shape[indices[-1] :])
    for dtype, index in (("f4", "i4"), ("u1", "u1"), ("i8", "i8")):
        low = 0 if index == "u1" else -2
        compare(
            [T(shape, NAMES[dtype]), T(indices, {"i4": "i32", "u1": "ui8", "i8": "i64"}[index]),
             T(updates, NAMES[dtype])],
            lambda b, x, i, u: [b.scatter_nd(combine, x, i, u)],
            [_values(dtype, shape), rng.integers(low, 8, size=indices).astype(index),
             _values(dtype, updates)],
        )  # fmt: skip


def test_scatter_nd_to_nothing():
    compare(
        [T(["N", "D"], "f32"), T(["K", 1], "i64"), T(["K", "D"], "f32")],
        lambda b, x, i, u: [b.scatter_nd("add", x, i, u)],
        [_floats(0, 5), rng.integers(0, 6, size=(3, 1)), _floats(3, 5)],
    )


def test_scatter_nd_in_place():
    """The operand is computed where the result is."""
    module = compare(
        [T(["N", "D"], "f32"), T(["K", 1], "i64"), T(["K", "D"], "f32")],
        lambda b, x, i, u: [b.scatter_nd("add", b.neg(x), i, u)],
        [_floats(6, 5), rng.integers(0, 6, size=(9, 1)), _floats(9, 5)],
    )
    assert str(module).count("tile.kernel") == 2


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((7,), 0), ((3, 9), 1), ((9, 3), 0), ((2, 5, 3), 1), ((1, 1), 1), ((0, 3), 0), ((70,), 0)],
)
@pytest.mark.parametrize("known", [False, True])
def test_sort(shape, axis, descending, known):
    sizes = shape if known else ["A", "B", "C"][: len(shape)]
    for dtype in ("f4", "f2", "u1", "i8", "bool"):
        compare(
            [T(sizes, NAMES[dtype]), T(sizes, "i64")],
            lambda b, x, p: list(b.sort([x, p], axis, descending=descending)),
            [_values(dtype, shape), np.arange(np.prod(shape)).reshape(shape)],
        )


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("size", [33, 64, 65, 128, 129, 300])
def test_sort_long(size, descending):
    x = _values("f4", (2, size))
    for types in ([T([2, size], "f32"), T([2, size], "i64")],
                  [T(["A", "B"], "f32"), T(["A", "B"], "i64")]):  # fmt: skip
        compare(
            types,
            lambda b, x, p: list(b.sort([x, p], 1, descending=descending)),
            [x, np.arange(2 * size).reshape(2, size)],
            parameters={"BC": 37},
        )


@pytest.mark.parametrize("descending", [False, True])
def test_sort_by_several_keys(descending):
    shape = (90, 2)
    compare(
        [T(["N", 2], "i8"), T(["N", 2], "f32"), T(["N", 2], "i64")],
        lambda b, x, y, p: list(b.sort([x, y, p], 0, keys=2, descending=descending)),
        [_values("i1", shape), _values("f4", shape), np.arange(180).reshape(shape)],
        parameters={"BC": 17},
    )


ATTENTION = [
    {},
    {"causal": True},
    {"causal": True, "window": 3},
    {"window": 2},
    {"softcap": 2.0},
    {"kv_len": True},
    {"kv_len": True, "causal": True},
    {"offset": True, "causal": True},
    {"offset": True, "causal": True, "kv_len": True, "window": 4, "softcap": 1.5},
]


@pytest.mark.parametrize("options", ATTENTION, ids=str)
@pytest.mark.parametrize("bias", [None, "f32", "i1"])
@pytest.mark.parametrize(
    ("heads", "groups", "queries"), [(4, 2, 7), (2, 2, 1), (4, 1, 1), (3, 3, 4)]
)
def test_attention(heads, groups, queries, bias, options):
    batch, keys, width, value_width = 2, 9, 5, 6
    types = [T(["B", heads, queries if queries == 1 else "S", width], "f32"),
             T(["B", groups, "T", width], "f32"),
             T(["B", groups, "T", value_width], "f32")]  # fmt: skip
    inputs = [_floats(batch, heads, queries, width), _floats(batch, groups, keys, width),
              _floats(batch, groups, keys, value_width)]  # fmt: skip
    extra = []
    if bias is not None:
        shape = (batch, 1, 1, keys) if bias == "i1" else (1, heads, queries, keys)
        sizes = ["B", 1, 1, "T"] if bias == "i1" else [1, heads, types[0].shape[2], "T"]
        extra.append("bias")
        types.append(T(sizes, bias))
        values = _floats(*shape) if bias == "f32" else rng.random(size=shape) < 0.7
        inputs.append(values)
    if "kv_len" in options:
        extra.append("kv_len")
        types.append(T(["B"], "i64"))
        inputs.append(np.array([4, 9]))
        # What lies past the valid keys must not matter.
        inputs[1][0, :, 4:] = np.nan
        inputs[2][0, :, 4:] = np.nan
    if "offset" in options:
        extra.append("offset")
        types.append(T([], "i64"))
        inputs.append(np.array(-1))
    settings = {k: v for k, v in options.items() if k not in ("kv_len", "offset")}

    def build(b, q, k, v, *rest):
        op = graph.AttentionOp(q, k, v, scale=0.4, **dict(zip(extra, rest)), **settings)
        return [b.insert(op).out]

    compare(types, build, inputs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f64"])
def test_attention_of_other_types_and_layouts(dtype):
    """q, k and v as [B, S, H, D] memory; results rounded once."""
    numpy = numpy_dtype(dtype)
    inputs = [_floats(2, 6, 4, 8).astype(numpy), _floats(2, 7, 2, 8).astype(numpy),
              _floats(2, 7, 2, 8).astype(numpy)]  # fmt: skip
    types = [T(["B", "S", 4, 8], dtype), *[T(["B", "T", 2, 8], dtype)] * 2]

    def build(b, *operands):
        q, k, v = (b.transpose(x, [0, 2, 1, 3]) for x in operands)
        op = graph.AttentionOp(q, k, v, scale=0.3, causal=True)
        return [b.transpose(b.insert(op).out, [0, 2, 1, 3])]

    tolerance = {"f16": 2e-3, "bf16": 2e-2, "f64": 1e-9}[dtype]
    module = compare(types, build, inputs, rtol=tolerance, atol=tolerance)
    assert str(module).count("tile.kernel") == 1


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(
    ("queries", "page", "dtype"), [(1, 8, "f32"), (1, 3, "f16"), (4, 5, "f32")]
)
def test_attention_over_pages(queries, page, dtype, native):
    """Pages in any order; past the valid keys lies rubbish."""
    rng = np.random.default_rng(queries)
    array = numpy_dtype(dtype)
    q = rng.standard_normal((3, 6, queries, 16)).astype(array)
    k, v = rng.standard_normal((2, 11, page, 2, 16)).astype(array)
    table = rng.permutation(11)[:9].reshape(3, 3)
    length = np.array([queries, 2 * page + 1, 3 * page])
    k[table[0, -1]] = v[table[0, -1]] = np.nan
    types = [TensorType.of(x.shape, dtype) for x in (q, k, v)]
    types += [TensorType.of(["B", "N"], "i64"), TensorType.of(["B"], "i64")]
    types[0] = TensorType.of(["B", *q.shape[1:]], dtype)
    compare(
        types,
        lambda b, q, k, v, t, n: [b.insert(graph.PagedAttentionOp(q, k, v, t, n, 0.3)).out],
        [q, k, v, table, length],
        rtol=1e-5 if dtype == "f32" else 2e-3,
        atol=1e-5 if dtype == "f32" else 2e-3,
        native=native,
    )


def test_attention_to_nothing():
    types = [T(["B", 2, "S", 4], "f32"), *[T(["B", 2, "T", 4], "f32")] * 2]
    for sizes in ((1, 3, 0), (0, 3, 2), (1, 0, 2)):
        batch, queries, keys = sizes
        compare(
            types,
            lambda b, q, k, v: [b.insert(graph.AttentionOp(q, k, v, scale=1.0)).out],
            [_floats(batch, 2, queries, 4), *[_floats(batch, 2, keys, 4) for _ in "kv"]],
        )


def _native_cases():
    """Each kernel once as machine code, with sizes larger than its tiles."""
    n, x = 5000, T(["A", "B"], "f32")
    wide, tall = _values("f4", (5, n)), _values("f4", (n, 5))
    indices = rng.integers(-2, n + 2, size=(n, 1))
    yield (
        "gather rows",
        [x, T(["K"], "i64")],
        lambda b, x, i: [b.gather(x, i, 0)],
        [tall, indices[:, 0]],
    )
    yield (
        "gather",
        [x, T(["K"], "i64")],
        lambda b, x, i: [b.gather(x, i, 1)],
        [wide, indices[:, 0]],
    )
    for kind in ("set", "add"):
        yield (
            f"scatter rows {kind}",
            [x, T(["K", 1], "i64"), T(["K", "B"], "f32")],
            lambda b, x, i, u, kind=kind: [b.scatter_nd(kind, x, i, u)],
            [_floats(n, 5), indices, _floats(n, 5)],
        )
    yield (
        "scatter",
        [T(["A"], "f32"), T(["K", 1], "i32"), T(["K"], "f32")],
        lambda b, x, i, u: [b.scatter_nd("add", x, i, u)],
        [_floats(n), indices.astype("i4"), _floats(n)],
    )
    for axis in (0, 1):
        yield f"scan {axis}", [x], lambda b, x, a=axis: [b.cumulative("max", x, a)], [wide]
        yield f"scan tall {axis}", [x], lambda b, x, a=axis: [b.cumulative("max", x, a)], [tall]
        for data in (wide, tall):
            yield (
                f"position {axis} of {data.shape}",
                [x],
                lambda b, x, a=axis: [
                    b.arg_reduce("max", x, a),
                    b.arg_reduce("min", x, a, last=True),
                ],
                [data],
            )
        yield (
            f"sort {axis}",
            [x],
            lambda b, x, a=axis: list(b.sort([x], a, descending=True)),
            [wide],
        )
    yield "nonzero", [x], lambda b, x: [b.nonzero(x, "K")], [wide]
    yield (
        "random",
        [T([2], "ui64")],
        lambda b, s: list(b.rng(s, [n])),
        [np.array([7, 2**63], np.uint64)],
    )
    sizes = [T(["B", 4, "S", 20], "f32"), *[T(["B", 2, "T", 20], "f32")] * 2]
    yield (
        "attention",
        sizes,
        lambda b, q, k, v: [b.insert(graph.AttentionOp(q, k, v, scale=0.2, causal=True)).out],
        [_floats(1, 4, 70, 20), _floats(1, 2, 130, 20), _floats(1, 2, 130, 20)],
    )


@pytest.mark.parametrize("case", list(_native_cases()), ids=lambda case: case[0])
def test_machine_code(case):
    _, types, build, inputs = case
    compare(types, build, inputs, rtol=1e-4, atol=1e-4, native=True)
