"""Lowered programs compute what the graph computes, on the tile interpreter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from xdsl.dialects import func
from xdsl.dialects.builtin import FunctionType, ModuleOp
from xdsl.ir import Block, Region, SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.context import compiler_context
from infini_ir.dialects.graph import TensorType
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.interpreters.graph import interpret
from infini_ir.interpreters.tile import interpret_program
from infini_ir.lowering.graph_to_tile import GraphToTilePass
from infini_ir.passes.graph.fuse import GraphFusePass
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import Dim

SMALL = {"BM": 3, "BN": 4, "BK": 2, "BH": 2, "BW": 3, "BR": 2, "BC": 3}
"""Tile sizes that leave a rest everywhere."""
RNG = np.random.default_rng(0)
Build = Callable[..., SSAValue | Sequence[SSAValue]]


def floats(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


def module_of(types: Sequence[TensorType], build: Build) -> ModuleOp:
    """A module whose main is what `build(builder, *arguments)` makes."""
    block = Block(arg_types=list(types))
    made = build(GraphBuilder(block), *block.args)
    outs = [made] if isinstance(made, SSAValue) else list(made)
    block.add_op(func.ReturnOp(*outs))
    kind = FunctionType.from_lists(list(types), [out.type for out in outs])
    return ModuleOp([func.FuncOp("main", kind, Region(block))])


def check(
    shapes: Sequence[tuple[Sequence[int | str], str]],
    build: Build,
    arrays: Sequence[np.ndarray],
    *,
    tolerance: float = 1e-5,
    fuse: bool = False,
) -> ModuleOp:
    """Lower, and compare with the graph interpreter; gives the lowered module."""
    ctx = compiler_context()
    module = module_of([TensorType.of(shape, dtype) for shape, dtype in shapes], build)
    module.verify()
    wanted = interpret(module, arrays, ctx)
    if fuse:
        GraphFusePass().apply(ctx, module)
    GraphToTilePass().apply(ctx, module)
    module.verify()
    given = interpret_program(module, arrays, ctx, parameters=SMALL, check_races=True)
    for left, right in zip(given, wanted, strict=True):
        assert left.dtype == right.dtype
        a, b = (np.asarray(v).astype(np.float64) for v in (left, right))
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    return module


def launches(module: ModuleOp) -> list[str]:
    """The kernels that the program launches, in order."""
    return [
        op.kernel.string_value() for op in module.walk() if op.name == "tile.launch"
    ]  # fmt: skip


# Elementwise ------------------------------------------------------------------------------

ARITHMETIC = [name for name in dtypes.NAMES if name not in dtypes.STORAGE_ONLY]


def samples(dtype: str, count: int = 40) -> np.ndarray:
    """Numbers of an element type, its extremes and special values first."""
    numpy = dtypes.numpy_dtype(dtype)
    if dtype == "i1":
        return RNG.integers(0, 2, count).astype(bool)
    if dtypes.is_float(dtype):
        values = RNG.standard_normal(count) * 3
        values[:8] = [0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 70000]
        with np.errstate(over="ignore"):
            return values.astype(numpy)
    bits, unsigned = int(dtype.lstrip("ui")), dtype.startswith("u")
    low, high = (0, 1 << bits) if unsigned else (-(1 << (bits - 1)), 1 << (bits - 1))
    wide = np.uint64 if dtype == "ui64" else np.int64
    values = RNG.integers(low, high, count, dtype=wide)
    values[:4] = [0, 1, low, high - 1]
    values[4] = high - 1 if unsigned else -1
    return values.astype(numpy)


def kind_of(dtype: str) -> str:
    return "bool" if dtype == "i1" else "float" if dtypes.is_float(dtype) else "integer"


def tolerance_of(dtype: str) -> float:
    return 2e-2 if dtype in ("f16", "bf16") else 1e-5


@pytest.mark.parametrize("op", graph.UNARY_OPS, ids=lambda op: op.name)
def test_unary(op: Any) -> None:
    for dtype in ARITHMETIC:
        if kind_of(dtype) in op.KINDS:
            check(
                [(["N"], dtype)],
                lambda b, x: b.unary(op, x),
                [samples(dtype)],
                tolerance=tolerance_of(dtype),
            )


@pytest.mark.parametrize("op", graph.BINARY_OPS, ids=lambda op: op.name)
def test_binary(op: Any) -> None:
    for dtype in ARITHMETIC:
        if kind_of(dtype) not in op.KINDS:
            continue
        left, right = samples(dtype), samples(dtype)
        RNG.shuffle(right)
        pairs = [right]
        if kind_of(dtype) == "integer":
            low = 0 if dtype.startswith("u") else -3
            pairs.append(RNG.integers(low, 9, left.size).astype(left.dtype))
        for other in pairs:
            check(
                [(["N"], dtype)] * 2,
                lambda b, x, y: b.binary(op, x, y),
                [left, other],
                tolerance=tolerance_of(dtype),
            )


@pytest.mark.parametrize("dtype", ARITHMETIC)
def test_compare_and_select(dtype: str) -> None:
    left, right = samples(dtype), samples(dtype)
    right[:10] = left[:10]
    for predicate in ("eq", "ne", "lt", "le", "gt", "ge"):
        check(
            [(["N"], dtype)] * 2,
            lambda b, x, y, p=predicate: b.select(b.compare(p, x, y), x, y),
            [left, right],
            tolerance=0,
        )


@pytest.mark.parametrize("given", dtypes.NAMES)
def test_cast(given: str) -> None:
    for wanted in dtypes.NAMES:
        check(
            [(["N"], given)], lambda b, x, w=wanted: b.cast(x, w), [samples(given)], tolerance=0
        )


def test_empty_and_scalar_domains() -> None:
    check([([], "f32")], lambda b, x: b.exp(x), [floats()])
    check([(["N", 0], "f32")], lambda b, x: b.exp(x), [floats(3, 0)])
    check([([1, 1], "f32")], lambda b, x: b.exp(x), [floats(1, 1)])


def test_views_of_operands_cost_nothing() -> None:
    def build(b: GraphBuilder, x: SSAValue, v: SSAValue) -> SSAValue:
        turned = b.transpose(x, [2, 0, 1])
        return b.add(b.slice(turned, [0, 1, 2], [3, 3, 2]), v)

    shapes = [(["M", 5, 3], "f32"), ([2], "f32")]
    module = check(shapes, build, [floats(4, 5, 3), floats(2)], fuse=True)
    assert launches(module) == ["add"]


# Reductions -------------------------------------------------------------------------------

REDUCED = [([2], True), ([0, 2], False), ([0, 1, 2], False), ([1], False), ([], False)]


@pytest.mark.parametrize("kind", ["sum", "prod", "max", "min"])
@pytest.mark.parametrize(("axes", "keep"), REDUCED)
def test_reduce(kind: str, axes: list[int], keep: bool) -> None:
    for dtype, numbers in (
        ("f32", floats(2, 3, 8)),
        ("f16", floats(2, 3, 8, dtype=np.float16)),
        ("ui8", RNG.integers(0, 255, (2, 3, 8)).astype(np.uint8)),
    ):
        check(
            [(["B", "S", 8], dtype)],
            lambda b, x: b.reduce(kind, x, axes, keep=keep),
            [numbers],
            tolerance=1e-2 if dtype == "f16" else 1e-4,
        )


def test_reduce_nothing() -> None:
    check([(["B", 0], "f32")], lambda b, x: b.reduce("max", x, [1]), [floats(3, 0)])
    check([(["B", "S"], "f32")], lambda b, x: b.reduce("sum", x, [1]), [floats(3, 0)])


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("log", [False, True])
def test_softmax(axis: int, log: bool) -> None:
    module = check(
        [(["B", 5, "S"], "f32")],
        lambda b, x: b.softmax(x, axis, log=log),
        [floats(2, 5, 7)],
    )
    assert launches(module) == ["softmax"]


def test_layer_norm_of_a_sum() -> None:
    def build(b: GraphBuilder, x: SSAValue, r: SSAValue, s: SSAValue) -> Sequence[SSAValue]:
        op = b.insert(graph.LayerNormOp(b.add(x, r), s, s, 2, 1e-5))
        return op.out, op.mean, op.inverse_std

    shape = (["B", "S", 8], "f32")
    arrays = [floats(2, 3, 8), floats(2, 3, 8), floats(8)]
    module = check([shape, shape, ([8], "f32")], build, arrays, fuse=True)
    assert launches(module) == ["layer_norm"]


# Products ---------------------------------------------------------------------------------

DOTS = [
    (["N"], ["N"], ([], []), ([0], [0])),
    (["N"], ["M"], ([], []), ([], [])),
    ([4, "N"], ["N"], ([], []), ([1], [0])),
    ([4, 0], [0, 3], ([], []), ([1], [0])),
    ([1, 1], [1, 1], ([], []), ([1], [0])),
    (["N", 3, 2], [2, "N", 5], ([0], [1]), ([2], [0])),
    (["N", 3, 2], [4, 2, 5], ([], []), ([2], [1])),
    ([3, "N", 2], [4, 2, 3], ([], []), ([2, 0], [1, 2])),
    (["B", "N", 2, 6], ["B", "N", 2, 6], ([0, 2], [0, 2]), ([3], [3])),
]


@pytest.mark.parametrize(("left", "right", "batch", "contract"), DOTS)
@pytest.mark.parametrize("dtype", ["f32", "f16", "i32"])
def test_dot(left: list, right: list, batch: Any, contract: Any, dtype: str) -> None:
    sizes = {"N": 5, "M": 3, "B": 2}
    arrays = [
        (floats(*[sizes.get(n, n) for n in shape]) * 3).astype(dtypes.numpy_dtype(dtype))
        for shape in (left, right)
    ]
    check(
        [(left, dtype), (right, dtype)],
        lambda b, x, y: b.dot(x, y, batch=batch, contract=contract),
        arrays,
        tolerance=1e-2 if dtype == "f16" else 1e-4,
    )


def test_dot_with_epilogue() -> None:
    def build(b: GraphBuilder, x: SSAValue, w: SSAValue, v: SSAValue) -> SSAValue:
        product = b.dot(x, w, contract=([2], [1]))
        return b.tanh(b.add(product, v))

    module = check(
        [(["B", "S", 6], "f32"), ([5, 6], "f32"), ([5], "f32")],
        build,
        [floats(2, 3, 6), floats(5, 6), floats(5)],
        fuse=True,
    )
    assert launches(module) == ["dot"]


# Windows ----------------------------------------------------------------------------------

SPATIAL = [
    ([1, 1], [1, 1], [0, 0], [0, 0], [1, 1]),
    ([2, 2], [1, 1], [1, 1], [1, 1], [1, 1]),
    ([1, 2], [2, 1], [1, 0], [0, 2], [1, 1]),
    ([1, 1], [1, 1], [2, 2], [1, 1], [2, 3]),
    ([1, 1], [1, 1], [-1, 0], [0, -1], [1, 1]),
]


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize(
    ("groups", "inner", "outer"), [(1, 3, 5), (2, 4, 6), (4, 4, 4), (3, 3, 6)]
)
@pytest.mark.parametrize("spatial", SPATIAL)
def test_conv(layout: str, groups: int, inner: int, outer: int, spatial: Any) -> None:
    strides, dilations, lo, hi, spread = spatial
    first = layout == "channels_first"
    x = ["N", inner, "H", 7] if first else ["N", "H", 7, inner]
    w = (outer, inner // groups, 3, 2) if first else (3, 2, inner // groups, outer)
    array = floats(2, inner, 6, 7) if first else floats(2, 6, 7, inner)
    check(
        [(x, "f32"), (w, "f32"), ([outer], "f32")],
        lambda b, x, w, c: (
            b.insert(
                graph.ConvOp(
                    x,
                    w,
                    c,
                    layout=layout,
                    groups=groups,
                    strides=strides,
                    dilations=dilations,
                    lo=lo,
                    hi=hi,
                    input_dilation=spread,
                )
            ).out
        ),
        [array, floats(*w), floats(outer)],
        tolerance=1e-4,
    )


POOLS = [
    ([2, 2], [2, 2], [1, 1], [0, 0], [0, 0], None),
    ([3, 3], [2, 2], [1, 1], [1, 1], [2, 2], [1, 1]),
    ([3, 2], [1, 2], [2, 1], [2, 0], [2, 1], None),
]


@pytest.mark.parametrize("kind", ["max", "sum", "avg"])
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("window", POOLS)
def test_pool(kind: str, layout: str, window: Any) -> None:
    sizes, strides, dilations, lo, hi, count = window
    first = layout == "channels_first"
    check(
        [(["N", 3, "H", 7] if first else ["N", "H", 7, 3], "f32")],
        lambda b, x: (
            b.insert(
                graph.PoolOp(
                    kind,
                    x,
                    sizes,
                    layout=layout,
                    strides=strides,
                    dilations=dilations,
                    lo=lo,
                    hi=hi,
                    count_hi=count if kind == "avg" else None,
                )
            ).out
        ),
        [floats(2, 3, 6, 7) if first else floats(2, 6, 7, 3)],
    )


def test_operands_are_computed_where_they_belong() -> None:
    """Two convolutions into one concat and one padded by the next: only borders are filled."""

    def conv(b: GraphBuilder, x: SSAValue, w: SSAValue) -> SSAValue:
        op = graph.ConvOp(x, w, layout="channels_last", lo=[1, 1], hi=[1, 1])
        return b.insert(op).out

    def build(b: GraphBuilder, x: SSAValue, w: SSAValue) -> SSAValue:
        first = conv(b, x, w)
        second = conv(b, first, w)
        return b.concat([conv(b, second, w), b.exp(second)], 3)

    image = ["N", 6, 7, 4]
    shapes = [(image, "f32"), ([3, 3, 4, 4], "f32")]
    arrays = [floats(2, 6, 7, 4), floats(3, 3, 4, 4) / 6]
    module = check(shapes, build, arrays, tolerance=1e-3)
    copies = [name for name in launches(module) if name.startswith("copy")]
    assert len(copies) == 1, "of the program's input into its border"


# Joins ------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [-3, 0, 2, 100])
def test_run_time_starts(start: int) -> None:
    def build(b: GraphBuilder, x: SSAValue, u: SSAValue, i: SSAValue) -> Sequence[SSAValue]:
        return (
            b.insert_slice(b.exp(x), u, [0, i]),
            b.insert_slice(x, u, [0, 3]),
            b.slice(x, [0, i], [3, 3], [1, -2]),
        )

    shapes = [([3, 6], "f32"), ([3, 2], "f32"), ([], "i64")]
    check(shapes, build, [floats(3, 6), floats(3, 2), np.array(start)])


def test_pads() -> None:
    def build(b: GraphBuilder, x: SSAValue, v: SSAValue) -> Sequence[SSAValue]:
        e = b.exp(x)
        return (
            b.pad(e, v, [1, 2], [0, 2]),
            b.pad(e, v, [0, -2], [-1, 3]),
            b.pad(x, v, [1, -1], [-1, 1], [1, 2]),
        )

    check([(["B", 6], "f32"), ([], "f32")], build, [floats(3, 6), floats()])


def test_outputs_that_are_other_values() -> None:
    def build(b: GraphBuilder, x: SSAValue) -> Sequence[SSAValue]:
        y = b.neg(x)
        return (
            x,
            y,
            y,
            b.transpose(y, [1, 0]),
            b.constant(np.arange(3)),
            b.iota([2, "B"], "f32", 1),
        )

    check([(["B", 6], "f32")], build, [floats(3, 6)])


# Control flow -----------------------------------------------------------------------------


def region(types: Sequence[TensorType], build: Build) -> Region:
    block = Block(arg_types=list(types))
    builder = GraphBuilder(block)
    made = build(builder, *block.args)
    builder.yield_([made] if isinstance(made, SSAValue) else list(made))
    return Region(block)


@pytest.mark.parametrize("condition", [True, False])
def test_if_of_different_sizes(condition: bool) -> None:
    def build(b: GraphBuilder, c: SSAValue, x: SSAValue) -> SSAValue:
        def positions(b: GraphBuilder) -> SSAValue:
            found = b.nonzero(b.cast(x, "i1"), "Q")
            return b.cast(b.reshape(found, [graph.tensor_type(found).shape[1]]), "f32")

        op = graph.IfOp(
            c,
            [TensorType.of(["K"], "f32")],
            region([], lambda b: b.concat([x, x], 0)),
            region([], positions),
            ["K"],
        )
        return b.neg(b.insert(op).outs[0])

    check([([], "i1"), (["N"], "f32")], build, [np.array(condition), floats(5)])


def test_while() -> None:
    vector, number = TensorType.of(["N"], "f32"), TensorType.of([], "i64")

    def build(b: GraphBuilder, x: SSAValue, n: SSAValue) -> Sequence[SSAValue]:
        op = graph.WhileOp(
            [x, n],
            region([vector, number], lambda b, a, k: b.compare("gt", k, 0)),
            region([vector, number], lambda b, a, k: (b.add(a, x), b.sub(k, 1))),
        )
        return b.insert(op).outs

    check([(["N"], "f32"), ([], "i64")], build, [floats(5), np.array(3)])


def test_scan_swaps_carried_values() -> None:
    vector, number = TensorType.of(["N"], "f32"), TensorType.of([], "i64")

    def body(b: GraphBuilder, i: SSAValue, h: SSAValue, g: SSAValue, x: SSAValue):
        return b.mul(b.add(g, x), b.cast(i, "f32")), h, b.add(g, x)

    def build(b: GraphBuilder, h: SSAValue, g: SSAValue, xs: SSAValue) -> Sequence[SSAValue]:
        stacked = TensorType.of(["S", "N"], "f32")
        types = [number, vector, vector, vector]
        op = graph.ScanOp([h, g], [xs], Dim.symbol("S"), [stacked], region(types, body))
        return b.insert(op).outs

    shapes = [(["N"], "f32"), (["N"], "f32"), (["S", "N"], "f32")]
    for steps in (4, 1, 0):
        check(shapes, build, [floats(5), floats(5), floats(steps, 5)])


@pytest.mark.parametrize("limit", [2.0, 100.0])
def test_scan_until(limit: float) -> None:
    scalar, number = TensorType.of([], "f32"), TensorType.of([], "i64")

    def body(b: GraphBuilder, i: SSAValue, a: SSAValue, x: SSAValue) -> Sequence[SSAValue]:
        after = b.add(a, 1)
        return b.compare("lt", after, limit), after, b.exp(x)

    def build(b: GraphBuilder, a: SSAValue, xs: SSAValue) -> Sequence[SSAValue]:
        types = [number, scalar, TensorType.of(["N"], "f32")]
        stacked = TensorType.of(["Z", "N"], "f32")
        op = graph.ScanOp([a], [xs], Dim.symbol("S"), [stacked], region(types, body), until="Z")
        return b.insert(op).outs

    check([([], "f32"), (["S", "N"], "f32")], build, [floats() * 0, floats(4, 5)])
