"""The numpy evaluator of scalar regions."""

from fractions import Fraction

import numpy as np
import pytest
from xdsl.context import Context
from xdsl.dialects import arith, builtin, math, scf, test
from xdsl.parser import Parser

from infini_ir.interpreters.scalar import fma, run_region


def _run(arguments, body, *inputs):
    context = Context()
    for dialect in (arith.Arith, builtin.Builtin, math.Math, scf.Scf, test.Test):
        context.load_dialect(dialect)
    text = f'"test.op"() ({{ ^bb0({arguments}): {body} }}) : () -> ()'
    module = Parser(context, text).parse_module()
    return run_region(module.body.block.first_op.regions[0].block, inputs)[0]


A = np.array([7, -7, 5, -128, -128, 0], np.int8)
B = np.array([2, 2, 0, -1, 127, 9], np.int8)


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("addi", [9, -5, 5, 127, -1, 9]),
        ("divsi", [3, -3, 0, -128, -1, 0]),
        ("divui", [3, 124, 0, 0, 1, 0]),
        ("remsi", [1, -1, 0, 0, -1, 0]),
        ("remui", [1, 1, 0, -128, 1, 0]),
        ("floordivsi", [3, -4, 0, -128, -2, 0]),
        ("ceildivsi", [4, -3, 0, -128, -1, 0]),
        ("shli", [28, -28, 5, 0, 0, 0]),
        ("shrsi", [1, -2, 5, -1, -1, 0]),
        ("shrui", [1, 62, 5, 0, 0, 0]),
        ("maxui", [7, -7, 5, -1, -128, 9]),
        ("minsi", [2, -7, 0, -128, -128, 0]),
    ],
)
def test_integer_operations(op, expected):
    got = _run("%a: i8, %b: i8", f"%r = arith.{op} %a, %b : i8 scf.yield %r : i8", A, B)
    assert got.dtype == np.int8
    assert got.tolist() == expected


def test_comparisons_casts_and_constants():
    unsigned = "%c = arith.cmpi ult, %a, %b : i8 scf.yield %c : i1"
    assert _run("%a: i8, %b: i8", unsigned, A, B).tolist() == [
        False,
        False,
        False,
        True,
        False,
        True,
    ]
    widen = "%c = arith.extui %a : i8 to i32 scf.yield %c : i32"
    assert _run("%a: i8", widen, A).tolist() == [7, 249, 5, 128, 128, 0]
    bits = "%c = arith.constant 2139095040 : i32 %f = arith.bitcast %c : i32 to f32 scf.yield %f : f32"
    assert _run("", bits) == np.inf
    convert = "%c = arith.fptosi %a : f32 to i8 scf.yield %c : i8"
    values = np.array([1.9, -1.9, 1e9, np.nan], np.float32)
    assert _run("%a: f32", convert, values).tolist() == [1, -1, 127, 0]
    narrow = "%c = arith.truncf %a : f32 to bf16 scf.yield %c : bf16"
    assert _run("%a: f32", narrow, np.float32([1.00390625])).astype(np.float32).tolist() == [
        1.0
    ]


def test_nan_and_signed_zero_of_minimum():
    a, b = np.float32([0.0, np.nan, 1]), np.float32([-0.0, 1, np.nan])
    smallest = _run(
        "%a: f32, %b: f32", "%r = arith.minimumf %a, %b : f32 scf.yield %r : f32", a, b
    )
    assert np.signbit(smallest[0])
    assert np.isnan(smallest[1:]).all()
    number = _run(
        "%a: f32, %b: f32", "%r = arith.minnumf %a, %b : f32 scf.yield %r : f32", a, b
    )
    assert number[1:].tolist() == [1, 1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fma_rounds_once(dtype):
    random = np.random.default_rng(0)
    scale = dtype(2.0) ** random.integers(-60, 60, (3, 500))
    a, b, c = (random.standard_normal((3, 500)) * scale).astype(dtype)
    c[:250] = -(a * b)[:250]
    got = fma(a, b, c)
    exact = [
        Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z)) for x, y, z in zip(a, b, c)
    ]
    for value, rational in zip(got, exact):
        below, above = np.nextafter(value, dtype(-np.inf)), np.nextafter(value, dtype(np.inf))
        error = abs(Fraction(float(value)) - rational)
        assert error <= abs(Fraction(float(below)) - rational)
        assert error <= abs(Fraction(float(above)) - rational)
