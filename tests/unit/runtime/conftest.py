"""The hand-written programs, built once."""

import numpy as np
import pytest
from native_programs import ADD, FIRST_HALF, SUM_AND_DIFFERENCE, add_signature, build

from infini_ir.runtime.program import Program
from infini_ir.runtime.signature import TensorSpec
from infini_ir.utils.weights import WeightStore


@pytest.fixture(scope="session")
def add_program() -> Program:
    """y = x + 1 over f32[N], with three weights."""
    store = WeightStore()
    store.add("one", np.ones((), np.float32))
    store.add("big", np.arange(3000, dtype=np.int64).reshape(3, 1000).T)
    store.add("empty", np.zeros((0, 4), np.float16))
    return build(ADD, store, **add_signature())


@pytest.fixture(scope="session")
def half_program() -> Program:
    """y = x[:N // 2], its size known to the program alone; and y's size is K."""
    return build(
        FIRST_HALF,
        inputs=(TensorSpec.of("x", "f32", "N"),),
        outputs=(TensorSpec.of("y", "f32", "K"),),
        symbols=("N", "K"),
    )


@pytest.fixture(scope="session")
def sum_program() -> Program:
    """x + z and x - z over f32[N]."""
    return build(
        SUM_AND_DIFFERENCE,
        inputs=tuple(TensorSpec.of(name, "f32", "N") for name in "xz"),
        outputs=tuple(TensorSpec.of(name, "f32", "N") for name in "sd"),
        symbols=("N",),
    )
