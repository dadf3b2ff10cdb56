"""Passes on tile programs: the results before and after are the same."""

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from infini_ir.dialects import tile
from infini_ir.dialects.tile import ViewType
from infini_ir.interpreters.tile.kernel import run_kernel
from infini_ir.lowering.kernel_builder import KernelBuilder
from infini_ir.passes.tile.split_axis import SplitAxisPass, split_axes
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import PARAMETERS
from tests.numeric.pass_checks import check_pass

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
    "normalised": "(float[M,N] x) => (float[M,N] y) { m = ReduceMean<axes=[1]>(x) d = Sub(x,m)"
    " q = Mul(d,d) v = ReduceMean<axes=[1]>(q) s = Sqrt(v) y = Div(d,s) }",
    "max_half": "(float16[M,N] x) => (float16[M] y) { a = Constant<value_ints=[1]>() "
    "y = ReduceMax<keepdims=0>(x,a) }",
    "max_integer": "(int32[M,N] x) => (int32[M] y) { a = Constant<value_ints=[1]>() "
    "y = ReduceMax<keepdims=0>(x,a) }",
    "min_unsigned": "(uint8[M,N] x) => (uint8[M] y) { a = Constant<value_ints=[1]>() "
    "y = ReduceMin<keepdims=0>(x,a) }",
    "any_true": "(bool[M,N] x) => (bool[M] y) { a = Constant<value_ints=[1]>() "
    "y = ReduceMax<keepdims=0>(x,a) }",
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
