"""The interpreter does what the operations' docstrings say, rule by rule."""

from collections.abc import Callable, Sequence
from math import inf, nan, pi
from typing import Any

import numpy as np
import pytest
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, Region
from xdsl.parser import Parser

from infini_ir.dialects import graph
from infini_ir.dialects.context import compiler_context
from infini_ir.dialects.graph import TensorType
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.interpreters.graph import evaluate_op, interpret
from infini_ir.interpreters.graph.elementwise import erf
from infini_ir.interpreters.graph.reducing import philox
from infini_ir.utils import dtypes
from infini_ir.utils.errors import InputError, ModelError
from infini_ir.utils.weights import WeightStore

Make = Callable[..., Operation]


def array(values: Any, dtype: str = "f32") -> np.ndarray:
    if dtype.startswith("ui"):
        return np.array(values, np.uint64).astype(dtypes.numpy_dtype(dtype))
    return np.array(values).astype(dtypes.numpy_dtype(dtype))


def run(make: Make, *inputs: np.ndarray, **options: Any) -> list[np.ndarray]:
    """The results of one operation on arrays of fixed shapes."""
    types = [TensorType.of(x.shape, dtypes.dtype_name(x.dtype)) for x in inputs]
    block = Block(arg_types=types)
    op = make(*block.args)
    op.verify()
    given = dict(zip(block.args, inputs, strict=True))
    return evaluate_op(op, [given[operand] for operand in op.operands], **options)


def first(make: Make, *inputs: np.ndarray, **options: Any) -> np.ndarray:
    return run(make, *inputs, **options)[0]


def same(actual: np.ndarray, wanted: Any) -> None:
    """Equal, NaN with NaN, and of the wanted array's dtype if it is one."""
    if isinstance(wanted, np.ndarray):
        assert actual.dtype == wanted.dtype
    wide = [np.asarray(x) for x in (actual, wanted)]
    wide = [x.astype(np.float64) if x.dtype.kind in "Vf" else x for x in wide]
    np.testing.assert_array_equal(*wide)


# Elementwise


@pytest.mark.parametrize(
    "op,dtype,a,b,wanted",
    [
        (graph.AddOp, "i8", [127, -128], [1, -1], [-128, 127]),
        (graph.SubOp, "ui8", [0], [1], [255]),
        (graph.MulOp, "i32", [1 << 30], [4], [0]),
        (graph.DivOp, "i8", [7, -7, 7, -7, -128, 5], [2, 2, -2, -2, -1, 0], [3, -3, -3, 3, -128, 0]),
        (graph.DivOp, "ui8", [200, 3], [7, 0], [28, 0]),
        (graph.RemOp, "i8", [7, -7, 7, -7, -128, 5], [2, 2, -2, -2, -1, 0], [1, -1, 1, -1, 0, 0]),
        (graph.RemOp, "f32", [5.5, -5.5, 1], [2, 2, 0], [1.5, -1.5, nan]),
        (graph.PowOp, "i32", [2, 3, 2, 1, -1, -1, 0, 7], [10, 21, 32, -3, -3, -2, -1, 0], [1024, 1870418611, 0, 1, -1, 1, 0, 1]),
        (graph.PowOp, "f32", [nan, 1, -8, 0], [0, nan, 0.5, -1], [1, 1, nan, inf]),
        (graph.MaxOp, "f32", [1, nan, 2], [nan, 1, 3], [nan, nan, 3]),
        (graph.MinOp, "bf16", [1, nan, 2], [nan, 1, 3], [nan, nan, 2]),
        (graph.MaxOp, "i1", [True, False], [False, False], [True, False]),
        (graph.Atan2Op, "f64", [0.0, -0.0, 0.0], [-1, -1, 1], [pi, -pi, 0]),
        (graph.XorOp, "i8", [5], [3], [6]),
        (graph.ShlOp, "i8", [1, 1, 1, 64], [7, 8, -1, 1], [-128, 0, 0, -128]),
        (graph.ShrOp, "i8", [-128, -128, 64, -1], [7, 8, 99, -1], [-1, -1, 0, -1]),
        (graph.ShrOp, "ui8", [128, 128, 255], [7, 8, 200], [1, 0, 0]),
    ],
)  # fmt: skip
def test_binary(op: type, dtype: str, a: list, b: list, wanted: list) -> None:
    same(first(op, array(a, dtype), array(b, dtype)), array(wanted, dtype))


@pytest.mark.parametrize(
    "op,dtype,x,wanted",
    [
        (graph.NegOp, "i8", [-128, 1], [-128, -1]),
        (graph.AbsOp, "i8", [-128, -1], [-128, 1]),
        (graph.NegOp, "ui8", [1], [255]),
        (graph.RoundOp, "f32", [0.5, 1.5, 2.5, -0.5], [0, 2, 2, 0]),
        (graph.SqrtOp, "f32", [-1, 4], [nan, 2]),
        (graph.RsqrtOp, "f32", [0, 4], [inf, 0.5]),
        (graph.LogOp, "f32", [0, -1, 1], [-inf, nan, 0]),
        (graph.SigmoidOp, "f32", [-1000, 0, 1000], [0, 0.5, 1]),
        (graph.TanhOp, "f32", [-inf, inf], [-1, 1]),
        (graph.NotOp, "i1", [True, False], [False, True]),
        (graph.NotOp, "i8", [0, 5], [-1, -6]),
        # exp(1) in f32 is 2.7182817; rounded once to bf16 it is 2.71875.
        (graph.ExpOp, "bf16", [1], [2.71875]),
    ],
)
def test_unary(op: type, dtype: str, x: list, wanted: list) -> None:
    same(first(op, array(x, dtype)), array(wanted, dtype))


def test_erf_is_accurate() -> None:
    import math

    x = np.concatenate([np.linspace(-7, 7, 4001), [1e-300, -1e-9, 0.0078125, inf, -inf]])
    exact = np.array([math.erf(v) for v in x])
    np.testing.assert_allclose(erf(x), exact, rtol=4e-16, atol=0)
    assert np.isnan(erf(np.array([nan])))[0]


def test_compare_with_nan_is_true_of_ne_only() -> None:
    a, b = array([nan, 1]), array([nan, 1])
    for predicate, wanted in (("eq", 0), ("ne", 1), ("lt", 0), ("le", 0), ("gt", 0), ("ge", 0)):
        result = first(lambda x, y: graph.CompareOp(predicate, x, y), a, b)  # noqa: B023
        assert result[0] == wanted
    assert first(lambda x, y: graph.CompareOp("ge", x, y), a, b)[1]


def test_select_ignores_the_other_side() -> None:
    result = first(graph.SelectOp, array([1, 0], "i1"), array([1, nan]), array([nan, 2]))
    same(result, array([1, 2]))


@pytest.mark.parametrize(
    "x,given,wanted,result",
    [
        ([1.9, -1.9, nan, inf, -inf, 300], "f32", "i8", [1, -1, 0, 127, -128, 127]),
        ([-3.0, 1e30], "f32", "ui64", [0, 2**64 - 1]),
        ([1e30, -1e30], "f64", "i64", [2**63 - 1, -(2**63)]),
        ([9.0, -9.0, nan], "f32", "i4", [7, -8, 0]),
        ([300, -1], "i32", "ui8", [44, 255]),
        ([17, -9], "i32", "i4", [1, 7]),
        ([15, 3], "ui4", "i8", [15, 3]),
        ([-8, 7], "i4", "f32", [-8, 7]),
        ([0.0, -0.0, nan, 0.1], "f32", "i1", [False, False, True, True]),
        ([True, False], "i1", "f16", [1, 0]),
        ([70000.0, 1.0], "f32", "f16", [inf, 1]),
        ([16777217], "i32", "f32", [16777216]),
        # Through f32 it would become a tie, and round to 2**25.
        ([(1 << 25) + (1 << 17) + 1], "i32", "bf16", [(1 << 25) + (1 << 18)]),
    ],
)
def test_cast(x: list, given: str, wanted: str, result: list) -> None:
    same(first(lambda v: graph.CastOp(v, wanted), array(x, given)), array(result, wanted))


def test_cast_to_f8_saturates_or_not() -> None:
    x = array([1e9, -1e9, inf, nan, 464, 465, 0.3])
    for name, limit, over in (("f8E4M3FN", 448, nan), ("f8E5M2", 57344, inf)):
        kept = first(lambda v: graph.CastOp(v, name), x).astype(np.float32)  # noqa: B023
        same(kept[:4], array([limit, -limit, limit, nan]))
        loose = first(lambda v: graph.CastOp(v, name, saturate=False), x)  # noqa: B023
        same(loose.astype(np.float32)[0], array(over))
    same(first(lambda v: graph.CastOp(v, "f4E2M1FN"), array([9.0, 0.75])), [6, 1])


def test_cast_to_a_power_of_two() -> None:
    x = array([1.0, 1.4, 1.5, 3.0, 1.6, 0.0, -1.0, nan])
    wanted = {
        # Halves go to the even exponent field: that of 2, which is 128.
        None: [1, 1, 2, 2, 2, 2.0**-127, nan, nan],
        "up": [1, 2, 2, 4, 2, 2.0**-127, nan, nan],
        "down": [1, 1, 1, 2, 1, 2.0**-127, nan, nan],
    }
    for rounding, result in wanted.items():
        given = first(lambda v: graph.CastOp(v, "f8E8M0FNU", rounding=rounding), x)  # noqa: B023
        same(given, result)


def test_bitcast() -> None:
    same(first(lambda v: graph.BitcastOp(v, "ui32"), array([1.0])), array([0x3F800000], "ui32"))
    bits = array([[0x3F80, 0x4000]], "ui16")
    same(first(lambda v: graph.BitcastOp(v, "bf16"), bits), array([[1, 2]], "bf16"))


# Shapes and data movement


def test_iota_broadcast_reshape() -> None:
    same(first(lambda: graph.IotaOp([2, 3], "bf16", 1)), array([[0, 1, 2]] * 2, "bf16"))
    same(first(lambda x: graph.BroadcastOp(x, [2, 2, 3]), array([[1], [2]])).sum(), 18)
    assert first(lambda x: graph.ReshapeOp(x, [0, 7]), array(np.zeros((3, 0)))).shape == (0, 7)


def test_slice_steps_and_clamped_starts() -> None:
    x = array(np.arange(10), "i64")
    same(first(lambda v: graph.SliceOp(v, [9], [4], [-3]), x), [9, 6, 3, 0])
    for start, wanted in ((-5, [0, 1, 2]), (4, [4, 5, 6]), (99, [7, 8, 9])):
        got = first(lambda v, s: graph.SliceOp(v, [s], [3]), x, array(start, "i64"))
        same(got, wanted)
    got = first(lambda v, s: graph.SliceOp(v, [s], [3], [-2]), x, array(1, "i64"))
    same(got, [4, 2, 0])
    got = first(lambda v, s: graph.SliceOp(v, [s], [3], [-2]), x, array(50, "i64"))
    same(got, [9, 7, 5])
    assert first(lambda v, s: graph.SliceOp(v, [s], [0]), x, array(99, "i64")).shape == (0,)


def test_insert_slice_clamps_and_leaves_its_operand() -> None:
    x, update = array(np.zeros(5)), array([1, 2])
    for start, wanted in ((-9, [1, 2, 0, 0, 0]), (99, [0, 0, 0, 1, 2])):
        got = first(
            lambda v, u, s: graph.InsertSliceOp(v, u, [s]), x, update, array(start, "i64")
        )
        same(got, wanted)
    assert not x.any()


@pytest.mark.parametrize("lo", range(-4, 3))
@pytest.mark.parametrize("hi", range(-4, 3))
@pytest.mark.parametrize("interior", range(3))
def test_pad(lo: int, hi: int, interior: int) -> None:
    line = [9.0] * (2 * interior + 3)
    line[:: interior + 1] = [1, 2, 3]
    wide = [9.0] * 4 + line + [9.0] * 4
    wanted = wide[4 - lo : len(wide) - 4 + hi]
    if lo + hi + len(line) >= 0:
        make: Make = lambda v, z: graph.PadOp(v, z, [lo], [hi], [interior])  # noqa: E731
        same(first(make, array([1, 2, 3]), array(9.0)), array(wanted))


def test_window() -> None:
    x = array(np.arange(9))
    got = first(lambda v: graph.WindowOp(v, [0], [3], [2], [2]), x)
    same(got, [[0, 2, 4], [2, 4, 6], [4, 6, 8]])
    wide = array(np.arange(12).reshape(3, 4))
    got = first(lambda v: graph.WindowOp(v, [1, 0], [2, 3]), wide)
    assert got.shape == (1, 3, 2, 3)
    same(got[0, 1, 1], [2, 6, 10])


# Indexing


def test_gather_clamps() -> None:
    x = array([[1, 2], [3, 4], [5, 6]])
    got = first(lambda v, i: graph.GatherOp(v, i, 0), x, array([-7, 1, 7], "i32"))
    same(got, array([[1, 2], [3, 4], [5, 6]]))
    got = first(lambda v, i: graph.GatherOp(v, i, 0), x, array(2**64 - 1, "ui64"))
    same(got, array([5, 6]))
    got = first(graph.GatherNdOp, x, array([[9, -1], [1, 1]], "i64"))
    same(got, array([5, 4]))
    got = first(lambda v, i: graph.GatherNdOp(v, i, 1), x, array([[1], [0], [5]], "i64"))
    same(got, array([2, 3, 6]))


@pytest.mark.parametrize(
    "combine,wanted",
    [("set", [4, 0, 3]), ("add", [6, 0, 3]), ("mul", [0, 0, 0]), ("max", [4, 0, 3]), ("min", [0, 0, 0])],
)  # fmt: skip
def test_scatter_drops_outside_and_the_last_set_wins(combine: str, wanted: list) -> None:
    indices, updates = array([[0], [3], [2], [-1], [0]], "i64"), array([2, 7, 3, 7, 4])
    got = first(
        lambda x, i, u: graph.ScatterNdOp(combine, x, i, u), array([0, 0, 0]), indices, updates
    )
    same(got, array(wanted))


def test_scatter_rows_and_whole() -> None:
    x = array(np.zeros((2, 2)), "bf16")
    one = array([[1, 2]], "bf16")
    got = first(lambda *v: graph.ScatterNdOp("add", *v), x, array([[1]], "i32"), one)
    same(got, array([[0, 0], [1, 2]], "bf16"))
    whole = array(np.ones((1, 2, 2)), "bf16")
    got = first(lambda *v: graph.ScatterNdOp("set", *v), x, np.zeros((1, 0), np.int64), whole)
    assert got.all()


def test_sort_is_stable_both_ways_with_nan_greatest() -> None:
    x = array([2, nan, 1, 2, inf, nan], "f16")
    positions = array(np.arange(6), "i64")
    for descending, wanted in ((False, [2, 0, 3, 4, 1, 5]), (True, [1, 5, 4, 0, 3, 2])):
        order = run(
            lambda a, b: graph.SortOp([a, b], 0, descending=descending),  # noqa: B023
            x,
            positions,
        )[1]
        same(order, wanted)
    keys = [array([1, 0, 1, 0], "i8"), array([5, 6, 4, 6], "i8"), array([0, 1, 2, 3], "i64")]
    same(run(lambda *v: graph.SortOp(v, 0, keys=2), *keys)[2], [1, 3, 2, 0])


def test_nonzero_defines_its_symbol() -> None:
    symbols: dict[str, int] = {}
    x = array([[0, 3], [nan, 0]])
    same(first(lambda v: graph.NonzeroOp(v, "K"), x, symbols=symbols), [[0, 1], [1, 0]])
    assert symbols == {"K": 2}
    assert first(lambda v: graph.NonzeroOp(v, "K"), array(5.0)).shape == (0, 1)


# Reductions


def test_reductions_of_nothing() -> None:
    for kind, dtype, wanted in (
        ("sum", "f32", 0), ("prod", "f16", 1), ("max", "bf16", -inf), ("min", "f64", inf),
        ("max", "i8", -128), ("min", "ui8", 255), ("max", "i1", False), ("min", "i1", True),
    ):  # fmt: skip
        got = first(lambda x: graph.ReduceOp(kind, x, [0]), array(np.zeros((0, 2)), dtype))  # noqa: B023
        same(got, array([wanted] * 2, dtype))


def test_reductions() -> None:
    x = array(np.full(4096, 1), "f16")
    same(first(lambda v: graph.ReduceOp("sum", v, [0]), x), array(4096, "f16"))
    same(first(lambda v: graph.ReduceOp("max", v, [0]), array([1, nan, 3])), array(nan))
    same(
        first(lambda v: graph.ReduceOp("sum", v, [0]), array([100, 100], "i8")),
        array(-56, "i8"),
    )
    got = first(
        lambda v: graph.ReduceOp("sum", v, [0, 2], keep=True), array(np.ones((2, 3, 4)))
    )
    same(got, array(np.full((1, 3, 1), 8)))


def test_arg_reduce() -> None:
    x = array([[1, 3, 3, 0], [1, nan, 3, nan]])
    same(first(lambda v: graph.ArgReduceOp("max", v, 1), x), [1, 1])
    same(first(lambda v: graph.ArgReduceOp("max", v, 1, last=True), x), [2, 3])
    same(first(lambda v: graph.ArgReduceOp("min", v, 1), x), [3, 1])
    with pytest.raises(InputError, match="axis 0 is empty"):
        first(lambda v: graph.ArgReduceOp("max", v, 0), array(np.zeros((0, 2))))


@pytest.mark.parametrize(
    "kind,exclusive,reverse,wanted",
    [
        ("sum", False, False, [1, 3, 6]),
        ("sum", True, False, [0, 1, 3]),
        ("sum", False, True, [6, 5, 3]),
        ("sum", True, True, [5, 3, 0]),
        ("prod", True, False, [1, 1, 2]),
        ("max", True, False, [-inf, 1, 2]),
        ("min", False, True, [1, 2, 3]),
    ],
)
def test_cumulative(kind: str, exclusive: bool, reverse: bool, wanted: list) -> None:
    make: Make = lambda v: graph.CumulativeOp(kind, v, 0, exclusive=exclusive, reverse=reverse)  # noqa: E731
    same(first(make, array([1, 2, 3])), array(wanted))
    assert first(make, array([])).shape == (0,)


def test_dot_accumulates_wide() -> None:
    a = array(np.full((1, 4096), 1), "f16")
    same(first(lambda x: graph.DotOp(x, x, contract=([1], [1])), a), array([[4096]], "f16"))
    b = array([[127, -128]], "i8")
    wide = first(lambda x: graph.DotOp(x, x, contract=([1], [1]), dtype="i32"), b)
    same(wide, array([[32513]], "i32"))
    narrow = first(lambda x: graph.DotOp(x, x, contract=([1], [1])), b)
    same(narrow, array([[1]], "i8"))
    big = array([[2**31 - 1, 2**31 - 1]], "i32")
    same(first(lambda x: graph.DotOp(x, x, contract=([1], [1])), big), array([[2]], "i32"))


def test_dot_axes() -> None:
    a, b = (
        np.random.default_rng(0).random((2, 3, 4, 5)),
        np.random.default_rng(1).random((5, 2, 6, 3)),
    )
    got = first(
        lambda x, y: graph.DotOp(x, y, batch=([1], [3]), contract=([3, 0], [0, 1])), a, b
    )
    np.testing.assert_allclose(got, np.einsum("abcd,daeb->bce", a, b), rtol=1e-12)
    empty = first(lambda x: graph.DotOp(x, x, contract=([1], [1])), array(np.zeros((2, 0))))
    same(empty, array(np.zeros((2, 2))))


def test_philox_known_answers() -> None:
    """The reference outputs published with the algorithm."""
    ones = 0xFFFFFFFF
    cases = [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([ones] * 4, [ones] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ]
    for counter, key, wanted in cases:
        got = philox([np.array([word]) for word in counter], key)
        assert [int(word[0]) for word in got] == wanted


def test_rng_goes_on_where_it_stopped() -> None:
    state = array([7, 2**64 - 1], "ui64")
    bits, after = run(lambda s: graph.RngOp(s, [3, 3]), state)
    same(after, array([7, 2], "ui64"))
    head, middle = run(lambda s: graph.RngOp(s, [4]), state)
    tail = first(lambda s: graph.RngOp(s, [5]), middle)
    same(bits.ravel(), np.concatenate([head, tail]))


# Programs


def parse(text: str) -> ModuleOp:
    module = Parser(compiler_context(), text).parse_module()
    module.verify()
    return module


def test_symbols_facts_and_bind() -> None:
    module = parse("""
    func.func @main(%x: !graph.tensor<[B, S], f32>, %y: !graph.tensor<[B + 1], f32>,
        %k: !graph.tensor<[], i64>) -> !graph.tensor<[K, B*S], f32>
        attributes {graph.where = #graph.facts<S le 4>} {
      graph.bind %k as "K" where #graph.facts<K ge 2> : !graph.tensor<[], i64>
      %0 = graph.reshape %x : (!graph.tensor<[B, S], f32>) -> !graph.tensor<[1, B*S], f32>
      %1 = graph.broadcast %0 : (!graph.tensor<[1, B*S], f32>) -> !graph.tensor<[K, B*S], f32>
      func.return %1 : !graph.tensor<[K, B*S], f32>
    }""".replace("where #graph.facts<", "where <"))  # fmt: skip
    x, y = array(np.ones((2, 3))), array(np.ones(3))
    assert interpret(module, [x, y, array(3, "i64")])[0].shape == (3, 6)
    for inputs, message in (
        ([x, y[:2], array(3, "i64")], r"shape \[2\], wants \[3\]"),
        ([x, y, array(1, "i64")], "needs K ge 2"),
        ([x, y, array(-1, "i64")], "must not be negative"),
        ([array(np.ones((2, 5))), y, array(3, "i64")], "needs S le 4"),
        ([x, y.astype(np.float64), array(3, "i64")], "dtype float64, wants f32"),
        ([x, y], "takes 3 inputs"),
        ([x, y[None], array(3, "i64")], "rank 2"),
    ):
        with pytest.raises(InputError, match=message):
            interpret(module, inputs)
    with pytest.raises(ModelError, match="no function 'other'"):
        interpret(module, [], function="other")


def region(types: Sequence[TensorType], body: Callable[..., Sequence]) -> Region:
    block = Block(arg_types=types)
    builder = GraphBuilder(block)
    builder.yield_(body(builder, *block.args))
    return Region(block)


def program(types: Sequence[TensorType], body: Callable[..., Sequence]) -> ModuleOp:
    block = Block(arg_types=types)
    builder = GraphBuilder(block)
    outs = body(builder, *block.args)
    builder.insert(func.ReturnOp(*outs))
    signature = (types, [value.type for value in outs])
    module = ModuleOp([func.FuncOp("main", signature, Region(block))])
    module.verify()
    return module


T = TensorType.of
I64, BOOL = T([], "i64"), T([], "i1")


def test_if_defines_sizes() -> None:
    def body(b: GraphBuilder, c: Any, x: Any) -> Sequence:
        then = region([], lambda b: [b.slice(x, [0], [2])])
        otherwise = region([], lambda b: [b.neg(x)])
        return b.insert(graph.IfOp(c, [T(["K"], "f32")], then, otherwise, ["K"])).results

    module = program([BOOL, T(["N"], "f32")], body)
    x = array([1, 2, 3])
    same(interpret(module, [np.asarray(True), x])[0], array([1, 2]))
    same(interpret(module, [np.asarray(False), x])[0], array([-1, -2, -3]))


def test_while() -> None:
    def body(b: GraphBuilder, n: Any) -> Sequence:
        condition = region([I64], lambda b, v: [b.compare("lt", v, 100)])
        step = region([I64], lambda b, v: [b.mul(v, 2)])
        return b.insert(graph.WhileOp([n], condition, step)).results

    module = program([I64], body)
    same(interpret(module, [np.asarray(3)])[0], 192)
    same(interpret(module, [np.asarray(100)])[0], 100)


def test_scan_and_until() -> None:
    vector, scalar = T(["S"], "f32"), T([], "f32")

    def scan(until: str | None) -> ModuleOp:
        def step(b: GraphBuilder, i: Any, total: Any, x: Any) -> Sequence:
            new = b.add(total, x)
            end = [b.compare("lt", new, 5.0)] if until else []
            return [*end, new, b.mul(new, 2.0)]

        def body(b: GraphBuilder, first: Any, x: Any) -> Sequence:
            loop = region([I64, scalar, scalar], step)
            stacks = [T([until or "S"], "f32")]
            return b.insert(graph.ScanOp([first], [x], "S", stacks, loop, until)).results

        return program([scalar, vector], body)

    x = array([1, 2, 3, 4])
    total, stack = interpret(scan(None), [array(0.0), x])
    same(total, array(10))
    same(stack, array([2, 6, 12, 20]))
    total, stack = interpret(scan("K"), [array(0.0), x])
    same(stack, array([2, 6, 12]))
    total, stack = interpret(scan("K"), [array(7.0), x[:0]])
    same(total, array(7.0))
    assert stack.shape == (0,)


def test_fusion_runs_its_region() -> None:
    def body(b: GraphBuilder, x: Any) -> Sequence:
        inner = region([x.type], lambda b, v: [b.exp(b.neg(v))])
        return b.insert(graph.FusionOp([x], [x.type], inner)).results

    module = program([T(["N"], "f32")], body)
    same(interpret(module, [array([0, 0])])[0], array([1, 1]))


def test_weights_and_f64_mode() -> None:
    store = WeightStore()
    handle = store.add("w", array([1 / 3], "f16"))

    def body(b: GraphBuilder, x: Any) -> Sequence:
        w = b.insert(graph.WeightOp(handle, T([1], "f16"))).out
        return [b.mul(b.mul(x, w), 0.001), b.cast(b.bitcast(x, "ui16"), "f32")]

    module = program([T([1], "f16")], body)
    x = array([3], "f16")
    assert interpret(module, [x], store)[0].dtype == np.float16
    exact, bits = interpret(module, [x], store, precision="f64")
    wanted = 3.0 * float(np.float16(1 / 3)) * float(np.float16(0.001))
    assert exact.dtype == np.float64
    assert exact[0] == wanted
    assert bits[0] == 0x4200
    with pytest.raises(ModelError, match="has no data"):
        interpret(module, [x])


def test_storage_types_move() -> None:
    for name in ("i4", "ui4", "i2", "f8E4M3FN", "f4E2M1FN"):
        x = array([[1, 0], [1, 1]], name)
        same(first(lambda v: graph.TransposeOp(v, [1, 0]), x), x.T)
        same(first(lambda v: graph.ConcatOp([v, v], 0), x), np.concatenate([x, x]))
        same(first(lambda v: graph.WindowOp(v, [0], [2]), x), x.T[None])
