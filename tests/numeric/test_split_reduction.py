"""Reductions shared out among programs: the results before and after are the same."""

import numpy as np
import pytest
from onnx import parser
from xdsl.dialects.builtin import ModuleOp

import infini_ir
from infini_ir.dialects import tile
from infini_ir.dialects.tile import program
from infini_ir.passes.tile.split_axis import SplitAxisPass
from infini_ir.passes.tile.split_reduction import SplitReductionPass
from infini_ir.utils.symbolic import PARAMETERS
from tests.numeric.pass_checks import check_module, check_pass, lower
from tests.numeric.tile_programs import all_threads

rng = np.random.default_rng(5)
TILES = ({}, dict.fromkeys(PARAMETERS, 1), dict.fromkeys(PARAMETERS, 7))

AXIS = "a = Constant<value_ints=[{}]>() "
MODELS = {
    "all": "({0}[P,Q] x) => ({0} y) {{ y = {1}<keepdims=0>(x) }}",
    "columns": "({0}[P,Q] x) => ({0}[Q] y) {{ a = Constant<value_ints=[0]>() "
    "y = {1}<keepdims=0>(x,a) }}",
    "rows": "({0}[P,Q] x) => ({0}[P,1] y) {{ a = Constant<value_ints=[1]>() y = {1}(x,a) }}",
    "middle": "({0}[2,P,Q] x) => ({0}[2,Q] y) {{ a = Constant<value_ints=[1]>() "
    "y = {1}<keepdims=0>(x,a) }}",
    "outer": "({0}[P,2,Q] x) => ({0}[2] y) {{ a = Constant<value_ints=[0,2]>() "
    "y = {1}<keepdims=0>(x,a) }}",
}
KINDS = (
    ("float", "ReduceSum"),
    ("float", "ReduceMean"),
    ("float16", "ReduceL2"),
    ("float16", "ReduceMax"),
    ("int32", "ReduceMin"),
    ("int64", "ReduceSum"),
    ("uint8", "ReduceMax"),
    ("bool", "ReduceMax"),
    ("float", "ReduceProd"),
)
DTYPES = {"float": "f4", "float16": "f2"}


def _array(kind: str, *shape: int) -> np.ndarray:
    if kind in DTYPES:
        return rng.normal(size=shape).astype(DTYPES[kind])
    if kind == "bool":
        return rng.integers(0, 2, shape).astype(np.bool_)
    return rng.integers(0, 100, shape).astype(kind)


def _launches(module: ModuleOp) -> int:
    return sum(isinstance(op, program.LaunchOp) for op in module.walk())


@pytest.mark.parametrize("programs", [2, 5, 16])
@pytest.mark.parametrize(("p", "q"), [(37, 3), (40, 1), (2, 2), (16, 70)])
@pytest.mark.parametrize("shape", MODELS)
def test_sums_of_known_sizes(shape: str, p: int, q: int, programs: int):
    text = MODELS[shape].format("float", "ReduceSum").replace("P", str(p)).replace("Q", str(q))
    dims = {"middle": (2, p, q), "outer": (p, 2, q)}.get(shape, (p, q))
    split = SplitReductionPass(programs=programs, bytes=0)
    check_pass(text, [[_array("float", *dims)]], split, parameters=TILES, rtol=1e-4)


@pytest.mark.parametrize(("kind", "operation"), KINDS)
def test_every_kind_of_reduction(kind: str, operation: str):
    text = MODELS["columns"].format(kind, operation)
    text = text.replace("[P,Q]", "[101,6]").replace("[Q]", "[6]")
    x = _array(kind, 101, 6)
    if operation == "ReduceProd":
        x = (x * 0.01 + 1).astype(x.dtype)
    half = kind == "float16"
    module = check_pass(
        text,
        [[x]],
        SplitReductionPass(programs=7, bytes=0),
        parameters=TILES,
        rtol=2e-3 if half else 1e-5,
    )
    assert _launches(module) == 2


@pytest.mark.parametrize("shape", ["all", "columns", "outer"])
def test_axes_of_unknown_size(shape: str):
    """Shorter than the number of parts, of one element, of none, and longer; then by chunks."""
    text = MODELS[shape].format("float", "ReduceSum").replace("Q", "3").replace("P", "N")
    inputs = [
        [_array("float", *((n, 2, 3) if shape == "outer" else (n, 3)))]
        for n in (1, 0, 4, 29, 200)
    ]
    split = SplitReductionPass(programs=4, bytes=0)
    module = check_pass(text, inputs, split, parameters=TILES, rtol=1e-4, atol=1e-5)
    assert _launches(module) == 2
    check_pass(text, inputs, split, SplitAxisPass(), parameters=TILES, rtol=1e-4, atol=1e-5)


def test_short_axes_of_unknown_size_have_few_programs():
    module, ctx = lower(
        "(float[N,64] x) => (float[64] y) { a = Constant<value_ints=[0]>() "
        "y = ReduceSum<keepdims=0>(x,a) }"
    )
    SplitReductionPass(programs=64, bytes=1 << 18).apply(ctx, module)
    (part, _) = (op for op in module.body.block.ops if isinstance(op, tile.KernelOp))
    parts = part.bounds.data[0]
    sizes = (0, 15, 100, 1000, 5000, 1 << 20)
    assert [parts.evaluate({"N": n}) for n in sizes] == [0, 0, 6, 62, 64, 64]


def test_a_multiple_of_the_number_of_parts_has_no_rest():
    text = "(float[N,8] x) => (float y) { y = ReduceSum<keepdims=0>(x) }"
    inputs = [[_array("float", n, 8)] for n in (0, 1, 5)]
    module = check_pass(text, inputs, SplitReductionPass(programs=4, bytes=0), rtol=1e-4)
    kernels = [op for op in module.body.block.ops if isinstance(op, tile.KernelOp)]
    assert [len(kernel.views) for kernel in kernels] == [2, 2]


STAGED = {
    "argmax": "(float[3,{n}] x) => (int64[3,1] y) {{ y = ArgMax<axis=1>(x) }}",
    "argmin": "(float[3,{n}] x) => (int64[3] y) "
    "{{ y = ArgMin<axis=1,keepdims=0,select_last_index=1>(x) }}",
    "logsumexp": "(float[2,{n}] x) => (float[2] y) {{ a = Constant<value_ints=[1]>() "
    "y = ReduceLogSumExp<keepdims=0>(x,a) }}",
    "softmax": "(float[3,{n}] x) => (float[3,{n}] y) {{ y = Softmax<axis=1>(x) }}",
    "columns": "(float[{n},3] x) => (float[{n},3] y) {{ y = Softmax<axis=0>(x) }}",
    "layer_norm": "(float[2,{n}] x, float[{n}] g) => (float[2,{n}] y) "
    "{{ y = LayerNormalization<axis=1>(x,g) }}",
}


@pytest.mark.parametrize("name", STAGED)
@pytest.mark.parametrize("n", [60, 75, 79])
def test_reductions_that_need_others(name: str, n: int):
    text = STAGED[name]
    stores_rows = not name.startswith(("arg", "log"))
    launches = 1 if stores_rows and n == 79 else 3  # 79 has no parts of equal length
    text = text.format(n=n)
    shapes = [part.split("]")[0] for part in text.split("=>")[0].split("[")[1:]]
    inputs = [_array("float", *map(int, shape.split(","))) for shape in shapes]
    if name.startswith("arg"):
        inputs[0] = inputs[0].round(1)  # equal elements: the first, or the last, counts
    split = SplitReductionPass(programs=18, bytes=0)
    module = check_pass(text, [inputs], split, parameters=TILES, rtol=1e-4, atol=1e-5)
    assert _launches(module) == launches
    check_pass(text, [inputs], split, SplitAxisPass(4), parameters=TILES, rtol=1e-4, atol=1e-5)


def test_positions_on_a_long_axis_of_unknown_size():
    text = "(float[2,N] x) => (int64[2,1] y) { y = ArgMax<axis=1>(x) }"
    inputs = [[_array("float", 2, n).round(1)] for n in (1, 7, 130)]
    split = SplitReductionPass(programs=8, bytes=0)
    module = check_pass(text, inputs, split, parameters=TILES)
    assert _launches(module) == 3


UNCHANGED = (
    "(float[{n},1] x) => (float[{n},1] y) {{ a = Constant<value_ints=[1]>() "
    "y = ReduceSum(x,a) }}",
    "(float[M,{n}] x) => (float[M,1] y) {{ a = Constant<value_ints=[1]>() "
    "y = ReduceSum(x,a) }}",
    "(float[{n}] x) => (float[{n}] y) {{ y = Exp(x) }}",
    "(float[1,N] x) => (float[1,N] y) {{ y = Softmax(x) }}",
    "(float[1,{n}] x) => (float[1,{n}] y) {{ a = Constant<value_int=1>() y = CumSum(x,a) }}",
)
"""Many programs, unknown many, nothing reduced, unequal parts of rows, a scan."""


@pytest.mark.parametrize("text", UNCHANGED)
def test_kernels_that_stay_as_they_are(text: str):
    module, ctx = lower(text.format(n=1 << 20))
    before = str(module)
    SplitReductionPass(programs=64).apply(ctx, module)
    assert str(module) == before


@pytest.mark.parametrize(("rows", "launches"), [(1 << 18, 2), ((1 << 18) - 1, 1)])
def test_kernels_that_read_little_stay_as_they_are(rows: int, launches: int):
    module, ctx = lower(f"(float[{rows}] x) => (float y) {{ y = ReduceSum<keepdims=0>(x) }}")
    SplitReductionPass(programs=64).apply(ctx, module)
    assert _launches(module) == launches


def test_weights_of_a_model_are_shared_out_too():
    text = "(float[1] x) => (float[1] y) { s = ReduceMax<keepdims=0>(x) y = Add(s, x) }"
    module, ctx = lower(text)
    check_module(module, ctx, [[_array("float", 1)]], SplitReductionPass(bytes=0))


@pytest.mark.parametrize("axis", ["0", "1", "0, 1"])
def test_results_do_not_depend_on_the_number_of_threads(axis: str):
    text = (
        '<ir_version: 10, opset_import: ["" : 23]> m (float[3001,257] x) => (float[P,Q] y) '
        f"{{ a = Constant<value_ints=[{axis}]>() y = ReduceSum(x,a) }}"
    )
    x = _array("float", 3001, 257)
    model = parser.parse_model(text)
    with all_threads(5):
        first, *others = (infini_ir.compile(model, threads=n)(x) for n in (1, 2, 3, 5))
    axes = tuple(map(int, axis.split(",")))
    np.testing.assert_allclose(
        first, x.sum(axes, np.float64, keepdims=True), rtol=1e-3, atol=1e-2
    )
    for other in others:
        np.testing.assert_array_equal(first, other)
