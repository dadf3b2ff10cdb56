"""Passes on tile programs: the results before and after are the same."""

import re
from collections.abc import Sequence

import ml_dtypes
import numpy as np
import pytest
from xdsl.dialects.builtin import DictionaryAttr, IntegerAttr, ModuleOp, StringAttr, i64
from xdsl.ir import SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile import ViewType, program, view_type
from infini_ir.interpreters.tile.kernel import run_kernel
from infini_ir.lowering.kernel_builder import KernelBuilder
from infini_ir.passes.tile.cut_epilogue import CutEpiloguePass
from infini_ir.passes.tile.insert_barriers import InsertBarriersPass
from infini_ir.passes.tile.lay_out_weights import LayOutWeightsPass
from infini_ir.passes.tile.plan_memory import PlanMemoryPass
from infini_ir.passes.tile.split_axis import SplitAxisPass, split_axes
from infini_ir.passes.tile.split_k import SplitKPass, largest_split
from infini_ir.passes.tile.use_library import UseLibraryPass
from infini_ir.utils.dtypes import dtype_name
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import PARAMETERS
from tests.numeric.pass_checks import check_module, check_pass, lower
from tests.numeric.tile_programs import TileProgram

rng = np.random.default_rng(11)
TILES = ({}, dict.fromkeys(PARAMETERS, 1), dict.fromkeys(PARAMETERS, 7))


def _floats(*shape: int, dtype: str = "f4") -> np.ndarray:
    return rng.normal(size=shape).astype(dtype)


def _capacities(module: ModuleOp) -> set[str]:
    return {
        name
        for op in module.walk()
        for value in op.results
        if isinstance(value.type, tile.TileType)
        for dim in value.type.shape
        for name in dim.symbols()
    }


ROWS = {
    "softmax": "(float[M,N] x) => (float[M,N] y) { y = Softmax<axis=-1>(x) }",
    "log_softmax": "(float[M,N] x) => (float[M,N] y) { y = LogSoftmax<axis=0>(x) }",
    "half_softmax": "(float16[M,N] x) => (float16[M,N] y) { y = Softmax<axis=-1>(x) }",
    "argmax": "(float[M,N] x) => (int64[M,1] y) { y = ArgMax<axis=1>(x) }",
    "arg_last": "(float[M,N] x) => (int64[M] y) "
    "{ y = ArgMin<axis=1,keepdims=0,select_last_index=1>(x) }",
    "sum_rows": "(float[M,N] x) => (float[M,1] y) { a = Constant<value_ints=[1]>() "
    "y = ReduceSum(x,a) }",
    "sum_columns": "(float[M,N] x) => (float[N] y) { a = Constant<value_ints=[0]>() "
    "y = ReduceSum<keepdims=0>(x,a) }",
    "sum_all": "(float[M,N] x) => (float y) { y = ReduceSum<keepdims=0>(x) }",
    "mean_all": "(float[M,N] x) => (float y) { y = ReduceMean<keepdims=0>(x) }",
    "sum_outer": "(float[M,N,K] x) => (float[N] y) { a = Constant<value_ints=[0,2]>() "
    "y = ReduceSum<keepdims=0>(x,a) }",
    "sum_middle": "(float[M,N,K] x) => (float[M,K] y) { a = Constant<value_ints=[1]>() "
    "y = ReduceSum<keepdims=0>(x,a) }",
    "normalised": "(float[M,N] x) => (float[M,N] y) { a = Constant<value_ints=[1]>() "
    "m = ReduceMean(x,a) d = Sub(x,m) q = Mul(d,d) v = ReduceMean(q,a) w = Add(v,v) "
    "s = Exp(w) y = Div(d,s) }",
    "max_half": "(float16[M,N] x) => (float16[M] y) { a = Constant<value_ints=[1]>() "
    "y = ReduceMax<keepdims=0>(x,a) }",
    "max_integer": "(int32[M,N] x) => (int32[M] y) { a = Constant<value_ints=[1]>() "
    "y = ReduceMax<keepdims=0>(x,a) }",
    "min_unsigned": "(uint8[M,N] x) => (uint8[M] y) { a = Constant<value_ints=[1]>() "
    "y = ReduceMin<keepdims=0>(x,a) }",
    "any_true": "(bool[M,N] x) => (bool[M] y) { a = Constant<value_ints=[1]>() "
    "y = ReduceMax<keepdims=0>(x,a) }",
    "group_norm": "(float[M,4,N,K] x) => (float[M,4,N,K] y) { g = Constant<value_floats="
    "[1.0,2.0,3.0,4.0]>() y = GroupNormalization<num_groups=2>(x,g,g) }",
    "batch_statistics": "(float[M,N,K] x) => (float[1,N,1] y) { "
    "a = Constant<value_ints=[0,2]>() m = ReduceMean(x,a) d = Sub(x,m) q = Mul(d,d) "
    "y = ReduceMean(q,a) }",
    "cumulative": "(float[M,N] x) => (float[M,N] y) { a = Constant<value_int=1>() "
    "s = CumSum<exclusive=1,reverse=1>(x,a) y = Softmax<axis=0>(s) }",
    "product": "(float[M,N] x) => (float[M] y) { a = Constant<value_ints=[1]>() "
    "y = ReduceProd<keepdims=0>(x,a) }",
}


def _inputs(text: str, sizes: dict[str, int]) -> list[np.ndarray]:
    """Random arrays for a model with one input."""
    kind, dims = text[1:].split("[")[0], text.split("[")[1].split("]")[0]
    shape = [sizes[d] if d in sizes else int(d) for d in dims.split(",")]
    if kind in ("float", "float16"):
        return [_floats(*shape, dtype={"float": "f4", "float16": "f2"}[kind])]
    if kind == "bool":
        return [rng.integers(0, 2, shape).astype(np.bool_)]
    low = 0 if kind.startswith("u") else -100
    return [rng.integers(low, 100, shape).astype(kind)]


@pytest.mark.parametrize("name", ROWS)
def test_symbolic_rows_go_by_chunks(name: str):
    inputs = [
        _inputs(ROWS[name], {"M": m, "N": n, "K": k})
        for m, n, k in ((3, 17, 5), (1, 1, 1), (5, 2, 33))
    ]
    half = "float16" in ROWS[name]
    module = check_pass(
        ROWS[name],
        inputs,
        SplitAxisPass(),
        parameters=TILES,
        rtol=2e-3 if half else 2e-5,
        atol=1e-3 if half else 2e-6,
    )
    assert _capacities(module) <= set(PARAMETERS)


def test_known_rows_change_only_beyond_the_limit():
    text = "(float[M,50] x) => (float[M,50] y) { y = Softmax<axis=-1>(x) }"
    inputs = [[_floats(3, 50)]]
    module = check_pass(text, inputs, SplitAxisPass(limit=50), parameters=TILES)
    assert not any(isinstance(op, tile.ForOp) for op in module.walk())
    module = check_pass(text, inputs, SplitAxisPass(limit=49), parameters=TILES)
    assert sum(isinstance(op, tile.ForOp) for op in module.walk()) == 3


def _run(k: KernelBuilder, *views: np.ndarray, **sizes: int) -> list[np.ndarray]:
    copies = [view.copy() for view in views]
    run_kernel(k.op, copies, parameters=sizes)
    return copies


def _check(k: KernelBuilder, *views: np.ndarray, limit: int = 4) -> KernelBuilder:
    """A kernel does the same after its tiles have been cut to chunks."""
    wanted = _run(k, *views)
    split_axes(k.op, limit)
    k.op.verify()
    for size in (1, 2, 5, 100):
        given = _run(k, *views, **dict.fromkeys(PARAMETERS, size))
        for one, other in zip(given, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    return k


def _kernel(*types: tuple[list[int | str], str]) -> KernelBuilder:
    return KernelBuilder("k", [ViewType.of(*type) for type in types], [], [])


def test_products_over_an_unknown_axis_carry_the_accumulator():
    k = _kernel((["N"], "f32"), ([6, "K"], "f32"), (["K", 3], "f32"), ([6, 3], "f32"))
    _, a, b, y = k.views
    start = k.full(2.0, [6, 3], "f32")
    product = k.dot(
        k.load(a, [0, 0], [0, 1], [6, "K"]), k.load(b, [0, 0], [0, 1], ["K", 3]), start
    )
    k.store(product, y, [0, 0], [0, 1])
    arrays = _floats(1), _floats(6, 11), _floats(11, 3), _floats(6, 3)
    _check(k, *arrays, limit=18)
    assert [op.name for op in k.op.body.block.ops].count("tile.for") == 1


def test_a_free_axis_of_a_product_goes_by_chunks():
    k = _kernel((["M", 5], "f32"), ([5, "N"], "f32"), (["M", "N"], "f32"))
    a, b, y = k.views
    lhs, rhs = k.load(a, [0, 0], [0, 1], ["M", 5]), k.load(b, [0, 0], [0, 1], [5, "N"])
    k.store(k.dot(lhs, rhs, k.full(0.0, ["M", "N"], "f32")), y, [0, 0], [0, 1])
    _check(k, _floats(7, 5), _floats(5, 9), np.zeros((7, 9), "f4"), limit=64)


def test_positions_move_with_the_chunk():
    k = _kernel((["N"], "f32"), (["N"], "i64"), (["N"], "f32"), ([], "i64"))
    table, index, y, total = k.views
    places = k.load(index, [0], [0], ["N"])
    taken = k.gather(table, [places], [[0]], ["N"])
    moved, own = k.map(
        [taken, places],
        [[0], [0]],
        ["f32", "i64"],
        ["N"],
        lambda s, x, p: [
            s.add(x, s.from_index(s.coord(0), "f32")),
            s.add(p, s.from_index(s.coord(0), "i64")),
        ],
    )
    k.store(k.reduce("max", own, [0]), total, [], [])
    k.scatter(moved, y, [places], [[0]])
    order = rng.permutation(13)
    _check(k, _floats(13), order, np.zeros(13, "f4"), np.zeros((), "i8"))


def test_a_reduction_of_positions_alone_ends_with_the_axis():
    k = _kernel((["N"], "f32"), ([], "i64"), ([], "f32"))
    _, total, count = k.views
    (own,) = k.map([], [], ["i64"], ["N"], lambda s: [s.from_index(s.coord(0), "i64")])
    k.store(k.reduce("add", own, [0]), total, [], [])
    ones = k.full(1.0, ["N"], "f32")
    k.store(k.reduce("add", ones, [0]), count, [], [])
    _check(k, _floats(13), np.zeros((), "i8"), np.zeros((), "f4"))


def test_independent_reductions_share_a_loop():
    k = _kernel((["M", "N"], "f32"), (["M"], "f32"), (["M"], "f32"))
    x, low, high = k.views
    row = k.load(x, [0, 0], [0, 1], ["M", "N"])
    k.store(k.reduce("min", row, [1]), low, [0], [0])
    k.store(k.reduce("max", row, [1]), high, [0], [0])
    _check(k, _floats(6, 11), np.zeros(6, "f4"), np.zeros(6, "f4"))
    assert sum(isinstance(op, tile.ForOp) for op in k.op.body.walk()) == 2


def test_values_made_before_a_loop_are_computed_inside_it():
    k = _kernel((["N"], "f32"), ([3, "N"], "f32"), ([3], "f32"))
    x, w, y = k.views
    row = k.load(x, [0], [0], ["N"])

    def step(number, total):
        weights = k.load(w, [number, 0], [1], ["N"])
        (products,) = k.map(
            [row, weights], [[0], [0]], ["f32"], ["N"], lambda s, a, b: [s.mul(a, b)]
        )
        sum_ = k.reduce("add", products, [0])
        k.store(sum_, y, [number], [])
        return list(k.map([total, sum_], [[], []], ["f32"], [], lambda s, a, b: [s.add(a, b)]))

    k.for_(3, 1, [k.full(0.0, [], "f32")], step)
    _check(k, _floats(11), _floats(3, 11), np.zeros(3, "f4"))


def test_a_part_of_a_view_is_cut_by_a_divisor():
    k = _kernel(([40], "f32"), ([], "f32"), ([30], "f32"))
    x, total, y = k.views
    part = k.load(x, [5], [0], [30])
    k.store(k.reduce("add", part, [0]), total, [], [])
    k.store(part, y, [0], [0])
    _check(k, _floats(40), np.zeros((), "f4"), np.zeros(30, "f4"), limit=8)
    loops = [op for op in k.op.body.walk() if isinstance(op, tile.ForOp)]
    assert {op.step_size.value for op in loops} == {6}


def test_what_is_overwritten_in_place_goes_by_chunks():
    k = _kernel((["N"], "f32"))
    (x,) = k.views
    (twice,) = k.map(
        [k.load(x, [0], [0], ["N"])], [[0]], ["f32"], ["N"], lambda s, a: [s.add(a, a)]
    )
    k.store(twice, x, [0], [0])
    _check(k, _floats(11))


def test_a_row_that_is_read_again_after_it_was_overwritten_is_an_error():
    k = _kernel((["N"], "f32"), ([], "f32"))
    x, y = k.views
    row = k.load(x, [0], [0], ["N"])
    (twice,) = k.map([row], [[0]], ["f32"], ["N"], lambda s, a: [s.add(a, a)])
    k.store(twice, x, [0], [0])
    (scaled,) = k.map(
        [row, k.load(x, [0], [], [])], [[0], []], ["f32"], ["N"], lambda s, a, b: [s.mul(a, b)]
    )
    k.store(k.reduce("add", scaled, [0]), y, [], [])
    with pytest.raises(CompileError, match=r"kernel 'k'.*'tile.load'.*overwrites"):
        split_axes(k.op, 4)


def test_a_carried_row_is_an_error():
    k = _kernel((["N"], "f32"), ([3, "N"], "f32"))
    y, x = k.views

    def step(number, total):
        row = k.load(x, [number, 0], [1], ["N"])
        return list(
            k.map([total, row], [[0], [0]], ["f32"], ["N"], lambda s, a, b: [s.add(a, b)])
        )

    (total,) = k.for_(3, 1, [k.full(0.0, ["N"], "f32")], step)
    k.store(total, y, [0], [0])
    with pytest.raises(
        CompileError, match=r"kernel 'k'.*'tile.for'.*axis of N elements.*carries"
    ):
        split_axes(k.op, 4)


def test_the_axis_reduced_first_becomes_the_inner_loop():
    """A loop over the other would carry a tile of unknown size."""
    k = _kernel((["M", "N"], "f32"), (["N"], "f32"))
    x, y = k.views
    k.store(k.reduce("add", k.load(x, [0, 0], [0, 1], ["M", "N"]), [0]), y, [0], [0])
    _check(k, _floats(7, 9), np.zeros(9, "f4"))


PRODUCTS = {
    "gelu": "(float[M,24] x, float[24,17] w, float[17] b) => (float[M,17] y) "
    "{ z = MatMul(x,w) t = Add(z,b) y = Gelu(t) }",
    "half": "(float16[M,24] x, float16[24,17] w, float16[17] b) => (float16[M,17] y) "
    "{ z = MatMul(x,w) y = Add(z,b) }",
    "residual": "(float[M,24] x, float[24,17] w, float[M,17] r) => (float[M,17] y) "
    "{ z = MatMul(x,w) t = Relu(z) y = Add(t,r) }",
    "batched": "(float[M,5,24] x, float[M,24,3] w, float[M,5,3] r) => (float[M,5,3] y) "
    "{ z = MatMul(x,w) y = Mul(z,r) }",
    "heads": "(float[M,5,2,6] x, float[M,7,2,6] w, float[M,2,5,7] r) => (float[M,2,5,7] y) "
    "{ a = Transpose<perm=[0,2,1,3]>(x) b = Transpose<perm=[0,2,3,1]>(w) z = MatMul(a,b) "
    "y = Add(z,r) }",
    "convolution": "(float[M,3,9,7] x, float[16,3,3,3] w, float[16] b) => "
    "(float[M,16,9,7] y) { z = Conv<pads=[1,1,1,1]>(x,w,b) y = Relu(z) }",
    "strided": "(float[M,3,9,7] x, float[16,3,3,3] w, float[16] b) => "
    "(float[M,16,4,3] y) { z = Conv<strides=[2,2]>(x,w,b) y = Sigmoid(z) }",
    "inside_a_loop": "(float[M,4] x, float[4,4] w) => (float[M,4] y) { "
    "n = Constant<value_int=3>() c = Constant<value=bool {1}>() "
    "y = Loop<body = b (int64 i, bool k, float[M,4] v) => (bool l, float[M,4] o) "
    "{ l = Identity(k) z = MatMul(v,w) o = Tanh(z) }>(n,c,x) }",
}


def _arrays(text: str, m: int) -> list[np.ndarray]:
    """Random arrays for the inputs of a model."""
    arrays: list[np.ndarray] = []
    for kind, dims in re.findall(r"(\w+)\[([^]]*)\]", text[: text.index("=>")]):
        shape = [m if d == "M" else int(d) for d in dims.split(",")]
        arrays.append(_floats(*shape, dtype="f2" if kind == "float16" else "f4"))
    return arrays


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_are_cut_from_what_follows(name: str):
    text = PRODUCTS[name]
    half = "float16" in text
    module = check_pass(
        text,
        [_arrays(text, m) for m in (5, 1)],
        CutEpiloguePass(),
        parameters=({}, dict.fromkeys(PARAMETERS, 7)),
        rtol=5e-3 if half else 1e-4,
        atol=1e-2 if half else 1e-5,
    )
    names = [op.sym_name.data for op in module.body.block.ops if isinstance(op, tile.KernelOp)]
    assert any(name.endswith("_product") for name in names), names
    assert any(name.endswith("_epilogue") for name in names), names


def test_a_product_alone_is_not_cut():
    text = "(float[M,24] x, float[24,17] w) => (float[M,17] y) { y = MatMul(x,w) }"
    module = check_pass(text, [_arrays(text, 3)], CutEpiloguePass(), native=False)
    assert sum(isinstance(op, tile.KernelOp) for op in module.body.block.ops) == 1


def _read_weight(
    p: TileProgram, view: SSAValue, out: SSAValue, axes: Sequence[int], *, reduces: bool = False
) -> None:
    """Launch a kernel that takes tiles of these axes of a weight to an output."""
    shape = view_type(view).shape
    k = p.kernel("read", [view, out], [shape[i] for i in range(len(shape)) if i not in axes],
                 [1] * (len(shape) - len(axes)))  # fmt: skip
    k.op.properties["sym_name"] = StringAttr(f"read_{len(list(p.module.body.block.ops))}")
    offsets = iter(k.offsets)
    where = [0 if i in axes else next(offsets) for i in range(len(shape))]
    value = k.load(k.views[0], where, axes, [shape[i] for i in axes])
    if reduces:
        most = k.reduce("max", value, [])
        (value,) = k.map(
            [value, most], [range(len(axes))] * 2, ["f32"], k.shape_of(value),
            lambda s, a, b: [s.add(a, b)],
        )  # fmt: skip
    k.store(value, k.views[1], where, axes)
    p.launch(k, [view, out])


def _check_layout(p: TileProgram, contiguous: int, copies: int) -> None:
    module = check_module(p.module, p.ctx, [[]], LayOutWeightsPass())
    loads = [op for op in module.walk() if isinstance(op, tile.LoadOp)]
    assert contiguous == sum(
        view_type(load.view).strides[load.axis_list[-1]].value == 1 for load in loads
    )
    names = {op.handle.data for op in module.walk() if isinstance(op, program.WeightOp)}
    assert copies == len(names - {"w"}), names


def test_a_permuted_weight_is_stored_in_the_order_of_its_tiles():
    p = TileProgram([], [([4, 3, 5], "f32")])
    weight = p.weight("w", _floats(5, 4, 3))
    seen = p.alias(weight, [4, 3, 5], [3, 1, 12])
    _read_weight(p, seen, p.views[0], [1, 2])
    _check_layout(p, 1, 1)


def test_the_order_of_the_tile_counts_and_not_that_of_the_view():
    p = TileProgram([], [([4, 5], "f32")])
    weight = p.weight("w", _floats(5, 4))
    # A row of an embedding: a column of the view, whose elements are neighbours.
    _read_weight(p, p.alias(weight, [4, 5], [1, 4]), p.views[0], [0])
    _check_layout(p, 1, 0)


@pytest.mark.parametrize("dtype", ["f2", "u1", "i8", ml_dtypes.bfloat16, ml_dtypes.float8_e5m2])
def test_a_part_of_a_weight_with_axes_that_stand_still(dtype):
    array = rng.integers(0, 100, (6, 7)).astype(dtype)
    p = TileProgram([], [([2, 3, 4], dtype_name(array.dtype))])
    weight = p.weight("w", array)
    part = p.alias(p.alias(weight, [5, 7], offset=7), [2, 3, 4], [0, 1, 7], offset=2)
    _read_weight(p, part, p.views[0], [1, 2])
    _check_layout(p, 1, 1)


@pytest.mark.parametrize("reduces", [False, True])
def test_a_second_order_is_for_kernels_that_compute(reduces):
    p = TileProgram([], [([5, 4], "f32"), ([4, 5], "f32"), ([4, 5], "f32")])
    weight = p.weight("w", _floats(5, 4))
    _read_weight(p, weight, p.views[0], [0, 1])
    for out in p.views[1:]:
        turned = p.alias(weight, [4, 5], [1, 4])
        _read_weight(p, turned, out, [0, 1], reduces=reduces)
    _check_layout(p, 3 if reduces else 1, 1 if reduces else 0)


def test_kernels_of_other_weights_keep_theirs():
    p = TileProgram([], [([4, 5], "f32"), ([4, 5], "f32")])
    weight, buffer = p.weight("w", _floats(5, 4)), p.weight("v", _floats(20))
    turned = p.alias(weight, [4, 5], [1, 4])
    k = p.kernel("read", [turned, p.views[0]], [4], [1])
    k.store(k.load(k.views[0], [k.offsets[0], 0], [1], [5]), k.views[1], [k.offsets[0], 0], [1])
    p.launch(k, [turned, p.views[0]])
    p.launch(k, [p.alias(buffer, [4, 5], [1, 4]), p.views[1]])
    check_module(p.module, p.ctx, [[]], LayOutWeightsPass())
    names = [op.handle.data for op in p.module.walk() if isinstance(op, program.WeightOp)]
    assert len(names) == 2 and not {"w", "v"} & set(names)


def test_a_scan_across_the_chunks_stays_and_one_along_them_is_an_error():
    for axis in (0, 1):
        k = _kernel(([6, "N"], "f32"), ([6, "N"], "f32"))
        x, y = k.views
        tile_ = k.load(x, [0, 0], [0, 1], [6, "N"])
        k.store(k.scan("add", tile_, axis, exclusive=True), y, [0, 0], [0, 1])
        if axis == 0:
            _check(k, _floats(6, 11), _floats(6, 11), limit=8)
        else:
            with pytest.raises(CompileError, match=r"'tile.scan'.*N elements"):
                split_axes(k.op, 8)


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_are_split_along_the_contracted_axis(name: str):
    text = PRODUCTS[name]
    half = "float16" in text
    module, ctx = lower(text)
    kernels = [op for op in module.body.block.ops if isinstance(op, tile.KernelOp)]
    parts = {op.sym_name.data: largest_split(op, 8) for op in kernels}
    assert max(parts.values()) > 1
    check_module(
        module,
        ctx,
        [_arrays(text, m) for m in (5, 1)],
        SplitKPass(tuple(f"{name}={count}" for name, count in parts.items())),
        parameters=({}, dict.fromkeys(PARAMETERS, 7)),
        rtol=5e-3 if half else 1e-4,
        atol=1e-2 if half else 1e-5,
    )
    names = [op.sym_name.data for op in module.body.block.ops if isinstance(op, tile.KernelOp)]
    assert any(name.endswith("_partial") for name in names), names


def test_a_product_alone_is_split_as_its_plan_asks():
    module, ctx = lower(
        "(float[M,24] x, float[24,17] w) => (float[M,17] y) { y = MatMul(x,w) }"
    )
    (kernel,) = [op for op in module.body.block.ops if isinstance(op, tile.KernelOp)]
    assert largest_split(kernel, 5) == 4
    plan = {"split_k": IntegerAttr(3, i64), "BM": IntegerAttr(2, i64)}
    kernel.properties["plan"] = DictionaryAttr(plan)
    inputs = [[_floats(5, 24), _floats(24, 17)]]
    check_module(module, ctx, inputs, SplitKPass(), rtol=1e-4, atol=1e-5)
    partial = next(op for op in module.body.block.ops if isinstance(op, tile.KernelOp))
    assert partial.plan is not None and set(partial.plan.data) == {"BM"}


@pytest.mark.parametrize("depth", ["25", "K"])
def test_an_axis_that_cannot_be_split_is_an_error(depth: str):
    text = f"(float[M,{depth}] x, float[{depth},17] w) => (float[M,17] y) {{ y = MatMul(x,w) }}"
    module, ctx = lower(text)
    with pytest.raises(CompileError, match="kernel 'dot' cannot be split into 4 parts"):
        SplitKPass(("dot=4",)).apply(ctx, module)


LIBRARY = {
    **{name: (PRODUCTS[name], 1, 1) for name in ("gelu", "half", "residual", "batched", "heads")},
    "inside_a_loop": (PRODUCTS["inside_a_loop"], 1, None),
    "convolution": (PRODUCTS["convolution"], 0, None),
    "alone": ("(float[M,24] x, float[24,17] w) => (float[M,17] y) { y = MatMul(x,w) }", 1, 0),
    "rounded": (
        "(float16[M,24] x, float16[24,17] w) => (float16[M,17] y) { y = MatMul(x,w) }", 1, 0,
    ),
    "transposed": (
        "(float[24,M] x, float[17,24] w) => (float[M,17] y) "
        "{ y = Gemm<transA=1,transB=1>(x,w) }", 1, None,
    ),
    "shared": ("(float[M,5,24] x, float[24,3] w) => (float[M,5,3] y) { y = MatMul(x,w) }", 1, 0),
    "vector": ("(float[M,24] x, float[24] w) => (float[M] y) { y = MatMul(x,w) }", 1, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", LIBRARY)
def test_products_become_library_calls(name: str):
    text, calls, kernels = LIBRARY[name]
    half = "float16" in text
    module = check_pass(
        text,
        [_arrays(text, m) for m in (5, 1)],
        UseLibraryPass(),
        native=False,
        rtol=5e-3 if half else 1e-4,
        atol=1e-2 if half else 1e-5,
    )
    ops = list(module.walk())
    assert sum(isinstance(op, program.LibraryOp) for op in ops) == calls
    assert not calls or not any(isinstance(op, tile.DotOp) for op in ops)
    if kernels is not None:
        assert sum(isinstance(op, tile.KernelOp) for op in ops) == kernels


def test_library_calls_are_planned_and_fenced():
    text = PRODUCTS["gelu"]
    passes = (UseLibraryPass(), PlanMemoryPass(), InsertBarriersPass())
    module = check_pass(text, [_arrays(text, 5)], *passes, native=False, rtol=1e-4, atol=1e-5)
    entry = next(op for op in module.walk() if isinstance(op, program.ProgramOp))
    names = [op.name for op in entry.body.block.ops]
    call = names.index("tile.library")
    assert names[call:] == ["tile.library", "tile.barrier", "tile.launch"]


def test_the_cpu_has_no_library():
    text = LIBRARY["alone"][0]
    with pytest.raises(CompileError, match="library call 'matmul' of y: the cpu target"):
        check_pass(text, [_arrays(text, 5)], UseLibraryPass(), rtol=1e-4, atol=1e-5)


def test_products_stay_where_they_are_not_to_be_cut():
    module, ctx = lower(PRODUCTS["gelu"])
    UseLibraryPass(cut=False).apply(ctx, module)
    UseLibraryPass(("another",)).apply(ctx, module)
    assert not any(isinstance(op, program.LibraryOp) for op in module.walk())


def test_columns_go_by_chunks_of_rows():
    """An axis across neighbours in memory leaves room to them; one along them does not."""
    inputs = [[_floats(37, 5)]]
    columns = ROWS["sum_columns"].replace("M,N", "37,N")
    module = check_pass(
        columns, inputs, SplitAxisPass(symbolic=False, beside=8), parameters=TILES
    )
    assert sum(isinstance(op, tile.ForOp) for op in module.walk()) == 1
    rows = ROWS["sum_rows"].replace("M,N", "M,5")
    module = check_pass(rows, inputs, SplitAxisPass(symbolic=False, beside=4), parameters=TILES)
    assert not any(isinstance(op, tile.ForOp) for op in module.walk())


def test_columns_that_have_to_be_whole_stay_so():
    text = "(float[37,N] x) => (float[37,N] y) { a = Constant<value_int=0>() y = CumSum(x,a) }"
    check_pass(text, [[_floats(37, 5)]], SplitAxisPass(beside=4), parameters=TILES[:1])
