"""Several rows to a program: the results before and after are the same."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from buffer_runs import planned_form, run_buffer_form
from tile_cases import CASES
from tile_programs import TileProgram, random
from xdsl.dialects.builtin import ModuleOp, UnitAttr, f32
from xdsl.ir import SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile import program
from infini_ir.interpreters.tile import interpret_program
from infini_ir.lowering.kernel_builder import KernelBuilder
from infini_ir.lowering.scalar_builder import ScalarBuilder
from infini_ir.passes.tile.block_rows import BlockRowsPass
from infini_ir.passes.tile.split_axis import SplitAxisPass
from infini_ir.utils.symbolic import PARAMETERS
from tests.numeric.pass_checks import check_module, check_pass, lower

rng = np.random.default_rng(9)
TILES: tuple[dict[str, int], ...] = (
    {},
    dict.fromkeys(PARAMETERS, 1),
    dict.fromkeys(PARAMETERS, 7),
)
ROWS = (0, 1, 6, 7, 10)

MODELS = {
    "softmax": "(float[M,N] x) => (float[M,N] y) { y = Softmax(x) }",
    "layer_norm": "(float[M,N] x, float[N] g, float[N] b) => (float[M,N] y) "
    "{ y = LayerNormalization<axis=1>(x,g,b) }",
    "rms_norm": "(float16[M,N] x, float16[N] g) => (float16[M,N] y) "
    "{ y = RMSNormalization<axis=1>(x,g) }",
    "argmax": "(float[M,N] x) => (int64[M,1] y) { y = ArgMax<axis=1>(x) }",
    "sum": "(float[M,N] x) => (float[M] y) { a = Constant<value_ints=[1]>() "
    "y = ReduceSum<keepdims=0>(x,a) }",
    "logsumexp": "(float[M,N] x) => (float[M,1] y) { a = Constant<value_ints=[1]>() "
    "y = ReduceLogSumExp(x,a) }",
    "cumsum": "(float[M,N] x) => (float[M,N] y) { a = Constant<value_int=1>() "
    "y = CumSum(x,a) }",
    "reverse": "(float[M,N] x) => (float[M,N] y) { a = Constant<value_int=1>() "
    "y = CumSum<reverse=1,exclusive=1>(x,a) }",
}


def _steps(module: ModuleOp) -> list[str]:
    kernels = [op for op in module.body.block.ops if isinstance(op, tile.KernelOp)]
    return [str(step) for op in kernels for step in op.steps.data]


def _inputs(text: str, m: int, n: int) -> list[np.ndarray]:
    shapes = [part.split("]")[0] for part in text.split("=>")[0].split("[")[1:]]
    sizes = {"M": m, "N": n}
    dtype = "f2" if "float16" in text else "f4"
    return [
        rng.normal(size=[sizes[name] for name in shape.split(",")]).astype(dtype)
        for shape in shapes
    ]


@pytest.mark.parametrize("n", [1, 5, 12])
@pytest.mark.parametrize("name", MODELS)
def test_rows_of_known_size(name: str, n: int):
    """Any number of rows, none and one included, and then a number that is known."""
    text = MODELS[name]
    inputs = [_inputs(text, m, n) for m in ROWS]
    half = "float16" in text
    known = text.replace("N]", f"{n}]")
    options: dict[str, Any] = {
        "parameters": TILES,
        "rtol": 2e-3 if half else 1e-5,
        "atol": 1e-5,
    }
    options["native"] = n == 5
    module = check_pass(known, inputs, BlockRowsPass(), **options)
    assert n == 1 or "BR" in _steps(module)
    check_pass(known.replace("[M", "[10"), inputs[-1:], BlockRowsPass(), **options)


@pytest.mark.parametrize("limit", [1, 4])
@pytest.mark.parametrize("name", MODELS)
def test_rows_in_chunks(name: str, limit: int):
    """Rows of unknown size by chunks: loops carry a value for every row."""
    text = MODELS[name]
    sizes = [(m, n) for m in ROWS for n in (1, 8)]
    inputs = [_inputs(text, m, n) for m, n in sizes]
    tolerance = 2e-3 if "float16" in text else 1e-5
    passes = (BlockRowsPass(), SplitAxisPass(limit))
    if name == "reverse":
        passes = passes[:1]  # a scan from the end has no chunks from the start
    check_pass(text, inputs, *passes, parameters=TILES, native=False, rtol=tolerance, atol=1e-5)


@pytest.mark.parametrize("rows", ["M", "70"])
@pytest.mark.parametrize("name", MODELS)
def test_rows_on_cores_with_local_memory(name: str, rows: str):
    """Planned, lowered to instructions on rows, synchronised."""
    text = MODELS[name].replace("N]", "9]").replace("[M", f"[{rows}")
    module, ctx = lower(text)
    sizes = ROWS if rows == "M" else (70,)
    inputs = [_inputs(MODELS[name], m, 9) for m in sizes]
    wanted = [interpret_program(module, arrays, ctx) for arrays in inputs]
    BlockRowsPass().apply(ctx, module)
    form = planned_form(module, ctx)
    assert _steps(form) != ["1"]
    for arrays, results in zip(inputs, wanted, strict=True):
        for one, other in zip(run_buffer_form(form, arrays, ctx), results, strict=True):
            tolerance = 4e-3 if one.dtype == np.float16 else 1e-5
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def test_several_outer_axes():
    text = (
        "(float[2,M,5] x) => (float[2,M] y) { a = Constant<value_ints=[2]>() "
        "y = ReduceMax<keepdims=0>(x,a) }"
    )
    inputs = [[rng.normal(size=(2, m, 5)).astype("f4")] for m in (1, 9)]
    check_pass(text, inputs, BlockRowsPass(), parameters=TILES)


@pytest.mark.parametrize("name", CASES)
def test_every_form_of_kernel(name: str):
    """Also those that stay as they are."""
    case = CASES[name]()
    options = {"native": False, "rtol": case.rtol, "atol": case.atol}
    check_module(
        case.program.module, case.program.ctx, case.inputs, BlockRowsPass(), parameters=TILES,
        **options,
    )  # fmt: skip


def _program(write: Callable[[KernelBuilder], None], outputs: Sequence[Any]) -> TileProgram:
    """A kernel with a program for each row of a matrix."""
    p = TileProgram([(["M", 5], "f32"), ([5], "f32")], outputs)
    k = p.kernel("rows", p.views, ["M"], [1])
    write(k)
    p.launch(k, p.views)
    return p


def _check(p: TileProgram, step: str) -> None:
    inputs = [[random([m, 5], "f32"), random([5], "f32")] for m in ROWS]
    check_module(p.module, p.ctx, inputs, BlockRowsPass(), parameters=TILES, native=False)
    assert _steps(p.module) == [step]


def test_the_row_as_a_number():
    def write(k: KernelBuilder) -> None:
        (i,) = k.offsets
        x = k.load(k.views[0], [i, 0], [1], [5])

        def body(s: ScalarBuilder, x: SSAValue, i: SSAValue) -> list[SSAValue]:
            number = s.from_index(s.add(s.add(i, s.coord(0)), i), "f32")
            return [s.add(x, number)]

        (y,) = k.map([x, i], [[0], []], ["f32"], [5], body)
        k.store(y, k.views[2], [i, 0], [1])

    _check(_program(write, [(["M", 5], "f32")]), "BR")


def test_gathers_from_rows():
    """The last element of each row first; no position is beyond the last row."""

    def write(k: KernelBuilder) -> None:
        (i,) = k.offsets

        def body(s: ScalarBuilder) -> list[SSAValue]:
            return [s.from_index(s.sub(s.constant(4, "index"), s.coord(0)), "i64")]

        (back,) = k.map([], [], ["i64"], [5], body)
        y = k.gather(k.views[0], [i, back], [[], [0]], [5])
        k.store(y, k.views[2], [i, 0], [1])

    _check(_program(write, [(["M", 5], "f32")]), "BR")


def test_what_rows_share_is_loaded_once_and_stored_for_each():
    def write(k: KernelBuilder) -> None:
        (i,) = k.offsets
        scale = k.load(k.views[1], [0], [0], [5])
        k.store(scale, k.views[2], [i, 0], [1])

    p = _program(write, [(["M", 5], "f32")])
    _check(p, "BR")
    (load,) = (op for op in p.module.walk() if isinstance(op, tile.LoadOp))
    assert str(load.out.type) == "!tile.tile<[5], f32>"


def _scalar(k: KernelBuilder) -> None:
    (i,) = k.offsets
    x = k.load(k.views[0], [k.sub(k.sub("M", 1), i), 0], [1], [5])
    k.store(x, k.views[2], [i, 0], [1])


def _read(k: KernelBuilder) -> None:
    (i,) = k.offsets
    number = k.emit(tile.ReadOp(k.views[0], [i, k.index(0)], f32))
    x = k.emit(tile.FullOp(number, tile.TileType.of([5], "f32")))
    k.store(x, k.views[2], [i, 0], [1])


def _meet(k: KernelBuilder) -> None:
    x = k.load(k.views[0], [k.offsets[0], 0], [1], [5])
    k.store(x, k.views[2], [0, 0], [1], "add")


@pytest.mark.parametrize("write", [_scalar, _read, _meet])
def test_kernels_that_stay_as_they_are(write: Callable[[KernelBuilder], None]):
    p = _program(write, [(["M", 5], "f32")])
    before = str(p.module)
    BlockRowsPass().apply(p.ctx, p.module)
    assert str(p.module) == before


def test_only_short_rows():
    text = "(float[M,100] x) => (float[M,100] y) { y = Softmax(x) }"
    for longest, step in ((99, "1"), (100, "BR")):
        module, ctx = lower(text)
        BlockRowsPass(longest).apply(ctx, module)
        assert _steps(module) == [step]
    module, ctx = lower(text.replace("100", "N"))
    BlockRowsPass(100).apply(ctx, module)
    assert _steps(module) == ["1"]


def test_serial_launches_stay_as_they_are():
    module, ctx = lower("(float[M,9] x) => (float[M,9] y) { y = Softmax(x) }")
    for op in module.walk():
        if isinstance(op, program.LaunchOp):
            op.properties["serial"] = UnitAttr()
    BlockRowsPass().apply(ctx, module)
    assert _steps(module) == ["1"]
