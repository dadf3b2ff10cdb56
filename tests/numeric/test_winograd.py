"""3x3 convolutions by tiles of 2 x 2 results against sums in double precision."""

from __future__ import annotations

import numpy as np
import pytest
from convolution_cases import CONVOLUTIONS, Convolution
from tile_programs import CPUS, build, run_native

from infini_ir.interpreters.tile import interpret_program
from infini_ir.lowering.kernels.winograd import transform_filters

SMALL = {"BH": 2, "BW": 3, "BN": 4, "BC": 3, "BR": 2}
"""Tile sizes that leave a rest everywhere."""


def error(given: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(given - wanted).max() / max(np.abs(wanted).max(), 1e-3))


@pytest.mark.parametrize("conv", CONVOLUTIONS, ids=str)
def test_lowered(conv: Convolution):
    assert "winograd_3x3" in str(conv.module)
    inputs = conv.inputs()
    given = interpret_program(conv.module, inputs, conv.ctx, parameters=SMALL, check_races=True)
    assert error(given[0], conv.wanted(inputs)) < 2e-6
    assert error(conv.interpreted(inputs), conv.wanted(inputs)) < 2e-6


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("conv", CONVOLUTIONS, ids=str)
def test_compiled(conv: Convolution, cpu: str):
    inputs = conv.inputs()
    (given,) = run_native(build(conv, cpu), inputs)
    assert error(given, conv.wanted(inputs)) < 2e-6


def test_threads_do_not_matter():
    conv = Convolution((14, 23), 20, 96, count=2, residual=True)
    inputs, built = conv.inputs(), build(conv)
    first = run_native(built, inputs, 1)[0]
    for threads in range(2, 6):
        np.testing.assert_array_equal(run_native(built, inputs, threads)[0], first)


def test_error_is_that_of_the_direct_sum():
    """Lavin and Gray find that the error is smaller; twice the direct one is too much."""
    fewer, direct = (
        Convolution((28, 28), 256, 32, winograd=winograd, scale=0.05)
        for winograd in (True, False)
    )
    inputs = fewer.inputs()
    wanted = fewer.wanted(inputs)
    errors = [error(run_native(build(c), inputs)[0], wanted) for c in (fewer, direct)]
    assert errors[0] <= 2 * errors[1]


def test_not_finite_values_stay_in_their_tile():
    """As in the sum itself, but for the other results of a tile."""
    conv = Convolution((8, 8), 4, 4, residual=False)
    inputs = conv.inputs()
    inputs[0][0, 0, 0, 0] = np.nan
    (given,) = run_native(build(conv), inputs)
    assert np.isfinite(given[0, 4:, 4:]).all()


def test_filters_are_transformed_in_double_precision():
    w = np.random.default_rng(3).standard_normal((3, 3, 2, 2)).astype(np.float32)
    given = transform_filters(w)
    assert given.shape == (16, 2, 2) and given.dtype == np.float32
    np.testing.assert_array_equal(given[0], w[0, 0])
    np.testing.assert_array_equal(given[15], w[2, 2])
    middle = w.astype(np.float64).sum((0, 1)) / 4
    np.testing.assert_array_equal(given[5], middle.astype(np.float32))
