"""Expanded transcendentals against numpy in a wider type, in units of the last place."""

import math
from functools import partial

import numpy as np
import pytest
from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects import arith, builtin, func, scf
from xdsl.dialects import math as math_dialect
from xdsl.ir import Block
from xdsl.parser import Parser
from xdsl.rewriter import InsertPoint

from infini_ir.interpreters.scalar import run_region
from infini_ir.passes.tile import math_expansion as expansion
from infini_ir.passes.tile.expand_math import ExpandMathPass
from infini_ir.utils.errors import OptionError

SPECIAL = np.array(
    [0.0, -0.0, 1, -1, 0.5, -0.5, 1.5, 2, -2, 3, -3, np.inf, -np.inf, np.nan, 1e-45, -1e-45,
     1.2e-38, -1.2e-38, 1e-30, 1e30, -1e30, 3.4028235e38, -3.4028235e38, 16777217.0]
)  # fmt: skip


def _expanded(function, fmt, arity):
    block = Block(arg_types=[fmt.type] * arity)
    builder = expansion.ScalarBuilder(Builder(InsertPoint.at_end(block)))
    result = function(*(builder.wrap(argument) for argument in block.args))
    block.add_op(scf.YieldOp(result.value))
    return partial(_run, block)


def _run(block, *inputs):
    return run_region(block, inputs)[0]


def _ulps(got, exact, dtype):
    """Distance in last places of the exact value; 0 where both round to the same."""
    info = np.finfo(dtype)
    rounded = exact.astype(dtype)
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    exponent = np.maximum(
        np.frexp(np.abs(np.where(np.isfinite(exact), exact, 1)))[1] - 1, info.minexp
    )
    place = np.ldexp(exact.dtype.type(1), exponent - info.nmant)
    capped = np.where(np.isinf(got), np.copysign(exact.dtype.type(2) ** info.maxexp, got), got)
    error = np.abs(capped - exact) / place
    return np.where(same, 0, np.where(np.isnan(error), np.inf, error))


def _bit_patterns(count):
    return (
        np.arange(0, 1 << 32, (1 << 32) // count, dtype=np.uint64)
        .astype(np.uint32)
        .view(np.float32)
    )


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _erf(x):
    return np.vectorize(math.erf, otypes=[np.float64])(x)


UNARY = {
    "exp": (np.exp, -104, 89),
    "exp2": (np.exp2, -150, 128),
    "expm1": (np.expm1, -20, 89),
    "tanh": (np.tanh, -10, 10),
    "sigmoid": (_sigmoid, -104, 20),
    "erf": (_erf, -5, 5),
    "log": (np.log, 0, 4),
    "log2": (np.log2, 0, 4),
    "log10": (np.log10, 0, 4),
    "log1p": (np.log1p, -1, 4),
    "sin": (np.sin, -1e5, 1e5),
    "cos": (np.cos, -1e5, 1e5),
    "tan": (np.tan, -1e5, 1e5),
    "atan": (np.arctan, -8, 8),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 0, 10),
}
PERIODIC = {"sin", "cos", "tan"}
BINARY = {
    "powf": (np.power, expansion.expand_powf),
    "atan2": (np.arctan2, expansion.expand_atan2),
    "remf": (np.fmod, expansion.expand_remf),
}


@pytest.fixture(autouse=True)
def _quiet():
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize("name", UNARY)
def test_f32_is_within_two_places(name):
    reference, low, high = UNARY[name]
    run = _expanded(getattr(expansion, f"expand_{name}"), expansion.F32, 1)
    x = np.concatenate([_bit_patterns(1 << 15), np.linspace(low, high, 1 << 15)]).astype(
        np.float32
    )
    if name in PERIODIC:
        multiples = np.arange(1, 1 << 14) * (np.pi / 2)
        x = np.concatenate(
            [x[(np.abs(x) < 8e5) | ~np.isfinite(x)], multiples.astype(np.float32)]
        )
    assert _ulps(run(x), reference(x.astype(np.float64)), np.float32).max() < 2


@pytest.mark.parametrize("name", UNARY)
def test_f64_is_within_three_places(name):
    reference, low, high = UNARY[name]
    run = _expanded(getattr(expansion, f"expand_{name}"), expansion.F64, 1)
    random = np.random.default_rng(0)
    x = np.concatenate([random.uniform(low, high, 4000), random.uniform(max(low, -3), 3, 4000)])
    x = np.concatenate([x, x[:2000] * 2.0 ** random.uniform(-900, 0, 2000)])
    wide = np.float64 if name == "erf" else np.longdouble
    assert _ulps(run(x), reference(x.astype(wide)), np.float64).max() < 3


@pytest.mark.parametrize("fmt", [expansion.F32, expansion.F64], ids=["f32", "f64"])
@pytest.mark.parametrize("name", UNARY)
def test_special_values(name, fmt):
    run = _expanded(getattr(expansion, f"expand_{name}"), fmt, 1)
    dtype = np.float32 if fmt is expansion.F32 else np.float64
    x = SPECIAL.astype(dtype)
    if name in PERIODIC:
        x = x[~(np.abs(x) >= 1e30) | np.isinf(x)]
    got, exact = (
        run(x),
        UNARY[name][0](x.astype(np.longdouble if name != "erf" else np.float64)),
    )
    assert _ulps(got, exact, dtype).max() < 3
    number = ~np.isnan(exact)
    assert np.array_equal(np.signbit(got)[number], np.signbit(exact)[number])


@pytest.mark.parametrize("fmt", [expansion.F32, expansion.F64], ids=["f32", "f64"])
@pytest.mark.parametrize("name", BINARY)
def test_two_operands(name, fmt):
    reference, function = BINARY[name]
    run = _expanded(function, fmt, 2)
    dtype = np.float32 if fmt is expansion.F32 else np.float64
    random = np.random.default_rng(1)
    a, b = (grid.ravel() for grid in np.meshgrid(SPECIAL, SPECIAL))
    a = np.concatenate([a, random.uniform(-4, 4, 8000), 2.0 ** random.uniform(-40, 40, 8000)])
    b = np.concatenate([b, random.uniform(-4, 4, 8000), random.uniform(-3, 3, 8000)])
    a, b = a.astype(dtype), b.astype(dtype)
    exact = reference(a.astype(np.longdouble), b.astype(np.longdouble))
    got = run(a, b)
    assert _ulps(got, exact, dtype).max() < 2
    number = ~np.isnan(exact)
    assert np.array_equal(np.signbit(got)[number], np.signbit(exact)[number])


def test_remainder_is_exact_for_any_quotient():
    run = _expanded(expansion.expand_remf, expansion.F32, 2)
    random = np.random.default_rng(2)
    a, b = (
        random.integers(0, 1 << 32, (2, 1 << 16), dtype=np.uint64)
        .astype(np.uint32)
        .view(np.float32)
    )
    assert np.array_equal(run(a, b), np.fmod(a, b), equal_nan=True)


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_large_angles(name):
    run = _expanded(getattr(expansion, f"expand_{name}"), expansion.F32, 1)
    x = (2.0 ** np.linspace(19, 40, 20000)).astype(np.float32)
    assert np.abs(run(x) - UNARY[name][0](x.astype(np.float64))).max() < 2.0**-23
    assert np.abs(run(np.float32([1e20, -3e38]))).max() <= 1


@pytest.mark.parametrize("name", ["exp", "tanh", "erf"])
def test_approximate_forms(name):
    function = partial(getattr(expansion, f"expand_{name}"), approximate=True)
    run = _expanded(function, expansion.F32, 1)
    x = np.linspace(-87, 88, 1 << 16).astype(np.float32)
    x = np.concatenate([x, x / 20])
    assert _ulps(run(x), UNARY[name][0](x.astype(np.float64)), np.float32).max() < 6
    if name == "exp":
        assert np.array_equal(
            run(np.float32([-1e30, -np.inf, 89, np.inf])), [0, 0, np.inf, np.inf]
        )
    assert np.isnan(run(np.float32(np.nan)))


FLOAT_ONLY = sorted(name for name in UNARY if hasattr(expansion, f"float_{name}"))


def _by_floats(name, arity):
    block = Block(arg_types=[expansion.F32.type] * arity)
    builder = expansion.FloatBuilder(Builder(InsertPoint.at_end(block)))
    function = getattr(expansion, f"float_{name}")
    result = function(*(builder.wrap(argument) for argument in block.args))
    # On i1, masks: no bits of floats, no integers, no fused steps.
    for op in block.ops:
        assert op.name not in ("arith.bitcast", "arith.fptosi", "arith.sitofp", "math.fma")
        assert all(str(value.type) in ("f32", "i1") for value in op.results)
    block.add_op(scf.YieldOp(result.value))
    return partial(_run, block)


@pytest.mark.parametrize("name", FLOAT_ONLY)
def test_float_only_forms(name):
    reference, low, high = UNARY[name]
    run = _by_floats(name, 1)
    x = np.concatenate([_bit_patterns(1 << 15), np.linspace(low, high, 1 << 15)])
    if name in PERIODIC:
        multiples = np.arange(1, 1 << 14) * (np.pi / 2)
        x = np.concatenate([x[(np.abs(x) < 8e5) | ~np.isfinite(x)], multiples])
    x = x.astype(np.float32)
    exact = reference(x.astype(np.float64))
    error = _ulps(run(x), exact, np.float32)
    if name in ("sin", "cos"):
        error = error[~(np.abs(exact) < 1e-6)]
    assert error.max() < (200 if name == "tan" else 3)
    special = SPECIAL.astype(np.float32)
    if name in PERIODIC:
        special = special[~(np.abs(special) >= 1e30) | np.isinf(special)]
    got, exact = run(special), reference(special.astype(np.float64))
    assert _ulps(got, exact, np.float32).max() < 3
    number = ~np.isnan(exact)
    assert np.array_equal(np.signbit(got)[number], np.signbit(exact)[number])


@pytest.mark.parametrize("name", ["powf", "atan2"])
def test_float_only_forms_of_two_operands(name):
    run = _by_floats(name, 2)
    random = np.random.default_rng(3)
    a, b = (grid.ravel() for grid in np.meshgrid(SPECIAL, SPECIAL))
    a = np.concatenate([a, random.uniform(-4, 4, 8000), 2.0 ** random.uniform(-40, 40, 8000)])
    b = np.concatenate([b, random.uniform(-4, 4, 8000), random.uniform(-3, 3, 8000)])
    a, b = a.astype(np.float32), b.astype(np.float32)
    exact = BINARY[name][0](a.astype(np.float64), b.astype(np.float64))
    got = run(a, b)
    exponent = np.nan_to_num(np.abs(b * np.log(np.abs(a))), posinf=100) if name == "powf" else 0
    assert np.all(_ulps(got, exact, np.float32) < 4 + 2 * np.minimum(exponent, 100))
    number = ~np.isnan(exact)
    assert np.array_equal(np.signbit(got)[number], np.signbit(exact)[number])


def test_native_operations_stay():
    context = Context()
    for dialect in (arith.Arith, builtin.Builtin, func.Func, math_dialect.Math):
        context.load_dialect(dialect)
    text = """
    func.func @f(%a: f32, %b: f64) -> (f32, f32, f64) {
      %0 = math.exp %a : f32
      %1 = math.tanh %a : f32
      %2 = math.exp %b : f64
      func.return %0, %1, %2 : f32, f32, f64
    }
    """
    native = ("math.exp", "math.log", "math.sqrt")

    def left(current):
        module = Parser(context, text).parse_module()
        current.apply(context, module)
        names = (f"{op.name} {op.results[0].type}" for op in module.walk() if op.results)
        return sorted(name for name in names if name.startswith("math.ex"))

    assert left(ExpandMathPass(native)) == ["math.exp f32", "math.exp f64"]
    # The second exp is that of tanh; a unit without integers has no f64.
    assert left(ExpandMathPass(native, float_only=True)) == ["math.exp f32"] * 2
    with pytest.raises(OptionError, match=r"math\.log, math\.sqrt"):
        left(ExpandMathPass(("math.exp",), float_only=True))


def test_pass_expands_only_scalars_of_f32_and_f64():
    context = Context()
    for dialect in (arith.Arith, builtin.Builtin, func.Func, math_dialect.Math):
        context.load_dialect(dialect)
    text = """
    func.func @f(%a: f32, %b: f64, %h: f16) -> (f32, f32, f64, f16) {
      %0 = math.exp %a : f32
      %1 = math.tanh %a fastmath<afn> : f32
      %2 = math.powf %b, %b : f64
      %3 = math.exp %h : f16
      func.return %0, %1, %2, %3 : f32, f32, f64, f16
    }
    """
    module = Parser(context, text).parse_module()
    ExpandMathPass().apply(context, module)
    module.verify()
    left = [
        op.name for op in module.walk() if op.name in ("math.exp", "math.tanh", "math.powf")
    ]
    assert left == ["math.exp"]
    body = next(op for op in module.walk() if isinstance(op, func.FuncOp)).body.block
    results = run_region(body, [np.float32(0.5), np.float64(2.5), np.float16(1)])
    expected = [np.exp(0.5), np.tanh(0.5), 2.5**2.5, np.e]
    assert np.allclose(np.array(results, np.float64), expected, rtol=1e-3)
