"""Powers by roots and 1 / sqrt(x) in compiled code, in units of the last place."""

import numpy as np
import onnx
import onnx.parser
import pytest

import infini_ir

SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 4.0, 1e-45, -1e-45, 1.2e-38, 3.4e38]


def _compiled(body, size, cpu="native"):
    text = f"""<ir_version: 9, opset_import: ["": 20]>
        f (float[{size}] x) => (float[{size}] y) {{ {body} }}"""
    model = onnx.parser.parse_model(text)
    return infini_ir.compile(model, target=f"cpu:{cpu}" if cpu != "native" else "cpu")


def _inputs():
    patterns = np.arange(0, 1 << 32, 1 << 15, dtype=np.uint64).astype(np.uint32)
    numbers = np.concatenate([np.linspace(0.25, 4, 1 << 16), SPECIAL]).astype(np.float32)
    return np.concatenate([patterns.view(np.float32), numbers])


def _places(got, exact):
    rounded = exact.astype(np.float32)
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    place = np.spacing(np.abs(np.where(np.isfinite(rounded), rounded, 1)))
    error = np.abs(got - exact) / place
    return np.where(same, 0, np.where(np.isnan(error), np.inf, error))


@pytest.mark.parametrize("cpu", ["native", "x86-64-v3"])
def test_square_roots_are_rounded_as_they_should_be(cpu):
    """Every eighth mantissa of [1, 4), which stand for all, and numbers of all sizes."""
    mantissas = np.arange(0x3F800000, 0x40800000, 8, dtype=np.uint32).view(np.float32)
    x = np.concatenate([mantissas, _inputs()])
    got = _compiled("y = Sqrt(x)", x.size, cpu)(x)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(got, np.sqrt(x))
    np.testing.assert_array_equal(np.signbit(got[x == 0]), np.signbit(x[x == 0]))


@pytest.mark.parametrize("exponent", [0.25, 0.5, -0.5, 0.75, -0.75])
@pytest.mark.parametrize("cpu", ["native", "x86-64-v3"])
def test_powers_by_roots(exponent, cpu):
    x = _inputs()
    body = f"e = Constant <value_float = {exponent}> () y = Pow(x, e)"
    got = _compiled(body, x.size, cpu)(x)
    with np.errstate(all="ignore"):
        # numpy takes the root of -inf for 0.5.
        exact = np.power(np.where(np.isinf(x), np.inf, x).astype(np.float64), exponent)
        assert _places(got, exact).max() < 2
        zero = got[x == 0]
    assert not np.signbit(zero).any()


@pytest.mark.parametrize("beta", [0.5, 0.75])
def test_division_by_powers(beta):
    x = np.abs(_inputs())
    body = f"e = Constant <value_float = {beta}> () p = Pow(x, e) y = Div(x, p)"
    got = _compiled(body, x.size)(x)
    with np.errstate(all="ignore"):
        wide = x.astype(np.float64)
        finite = np.isfinite(x) & (x > 0)
        exact = np.power(wide, 1 - beta)
        assert _places(got, exact)[finite].max() < 3
    assert np.isnan(got[~finite]).all()


@pytest.mark.parametrize("size", [1, 2, 4, 5])
@pytest.mark.parametrize("shape", [(2, 19, 3, 5), (1, 1, 1, 1), (1, 48, 7, 1)])
@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_local_response_normalization(size, shape, precision):
    dims = ", ".join(map(str, shape))
    text = f"""<ir_version: 9, opset_import: ["": 20]>
        f (float[{dims}] x) => (float[{dims}] y) {{
            y = LRN <size = {size}, alpha = 0.02, beta = 0.75, bias = 1.5> (x)
        }}"""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=shape) * np.exp(3 * rng.normal(size=shape))).astype(np.float32)
    got = infini_ir.compile(onnx.parser.parse_model(text), precision=precision)(x)
    wide = x.astype(np.float64)
    before = (size - 1) // 2
    padded = np.pad(wide**2, [(0, 0), (before, size - 1 - before), (0, 0), (0, 0)])
    near = sum(padded[:, i : i + shape[1]] for i in range(size))
    exact = wide / (1.5 + 0.02 / size * near) ** 0.75
    np.testing.assert_allclose(got, exact, rtol=1e-6 if precision == "f32" else 2e-2)
