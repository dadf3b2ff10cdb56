"""Functions of f32 as compiled for this machine, against f64, in units of the last place."""

import math

import numpy as np
import pytest
from onnx import parser

import infini_ir

COUNT = 1 << 16
STEP = 4099
"""Every so manieth bit pattern: a million arguments, of all exponents."""


def _erf(x):
    return np.vectorize(math.erf, otypes=[np.float64])(x)


def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def _softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


FUNCTIONS = {
    "Exp": (np.exp, 0.95),
    "Log": (np.log, 0.95),
    "Tanh": (np.tanh, 1.2),
    "Erf": (_erf, 1.7),
    "Sin": (np.sin, 1.7),
    "Cos": (np.cos, 1.8),
    "Tan": (np.tan, 1.8),
    "Asin": (np.arcsin, 2.0),
    "Acos": (np.arccos, 1.9),
    "Atan": (np.arctan, 1.5),
    "Asinh": (np.arcsinh, 2.0),
    "Atanh": (np.arctanh, 2.0),
    "Sigmoid": (_sigmoid, 0.9),
    "Softplus": (_softplus, 1.8),
    "Sinh": (np.sinh, 2.1),
    "Cosh": (np.cosh, 2.0),
    "Acosh": (np.arccosh, 2.1),
    "Sqrt": (np.sqrt, 0.5),
    "Reciprocal": (np.reciprocal, 0.5),
}
"""The function in f64, and the largest error stated in `docs/targets.md`."""

LARGEST = {"Sin": 1e9, "Cos": 1e9, "Tan": 8e5}
"""Angles up to which the error holds; beyond, f64 too has its own."""

SPECIAL = np.array(
    [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1e-40, -1e-40, 1.1754944e-38, 1, -1],
    np.float32,
)


@pytest.fixture(autouse=True)
def _quiet():
    with np.errstate(all="ignore"):
        yield


def _compiled(name, count):
    text = f"f (float[{count}] x) => (float[{count}] y) {{ y = {name}(x) }}"
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 24]> {text}')
    return infini_ir.compile(model, threads=1)


def _ulps(got, exact):
    """Distance in last places of the exact value; 0 where both round to the same."""
    rounded = exact.astype(np.float32)
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    finite = np.abs(np.where(np.isfinite(exact), exact, 1))
    place = np.ldexp(1.0, np.maximum(np.frexp(finite)[1] - 1, -126) - 23)
    capped = np.where(np.isinf(got), np.copysign(2.0**128, got), got.astype(np.float64))
    error = np.abs(capped - exact) / place
    return np.where(same, 0, np.where(np.isnan(error), np.inf, error))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_of_all_exponents(name):
    reference, most = FUNCTIONS[name]
    run, worst = _compiled(name, COUNT), 0.0
    bits = np.arange(0, 1 << 32, STEP, dtype=np.uint64).astype(np.uint32)
    bits.resize(-(-len(bits) // COUNT) * COUNT)
    for chunk in bits.view(np.float32).reshape(-1, COUNT):
        x = np.where(np.abs(chunk) > LARGEST.get(name, np.inf), np.float32(1), chunk)
        worst = max(worst, _ulps(run(x), reference(x.astype(np.float64))).max())
    assert worst <= most


@pytest.mark.parametrize("count", [1, 3, len(SPECIAL), 17, 64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values_of_any_length(name, count):
    x = np.resize(SPECIAL, count)
    if name in LARGEST:
        x = np.where(np.isinf(x), np.float32(-2.5), x)
    got, exact = _compiled(name, count)(x), FUNCTIONS[name][0](x.astype(np.float64))
    assert _ulps(got, exact).max() <= 2
    number = ~np.isnan(exact)
    assert np.array_equal(np.signbit(got)[number], np.signbit(exact)[number])


@pytest.mark.parametrize("name", ["Sin", "Cos"])
def test_large_and_infinite_angles(name):
    x = np.concatenate([2.0 ** np.linspace(16, 40, 4000), [1e30, 3e38, np.inf, -np.inf]])
    x = x.astype(np.float32)
    got, exact = _compiled(name, len(x))(x), FUNCTIONS[name][0](x.astype(np.longdouble))
    assert np.abs(got[:4000] - exact[:4000]).max() < 2.0**-23
    assert np.abs(got[4000:4002]).max() <= 1
    assert np.isnan(got[4002:]).all()
