"""Matrix products compiled for several processors against numpy in double precision."""

from __future__ import annotations

import numpy as np
import pytest
from product_cases import Product, chosen_sizes
from tile_programs import CPUS, GROUPED_CPUS, build, legalised, run_native, same

from infini_ir.interpreters.tile import interpret_program

SMALL = [
    Product((m,), (k,), n, weight=number % 2 == 0, epilogue=("", "bias", "both")[number % 3])
    for number, (m, k, n) in enumerate(chosen_sizes(17, 0))
]
SYMBOLIC = [
    Product((m,), (k,), n, weight=number % 2 == 1, symbolic=True)
    for number, (m, k, n) in enumerate(chosen_sizes(17, 1)[:6])
]
FORMS = [
    Product((5, 9), (7,), 33),
    Product((5, 9), (7,), 33, weight=True, epilogue="both"),
    Product((3, 17), (3, 3, 5), 20, weight=True, epilogue="bias"),
    Product((2, 3, 15), (2, 7), 40, weight=True),
    Product((6, 14), (3, 13), 64, symbolic=True, weight=True, epilogue="residual"),
    Product((9,), (5, 4, 3), 50, epilogue="two"),
    Product((9,), (11,), 18, batch=(2, 3), epilogue="bias"),
    Product((9,), (11,), 50, batch=(2, 3), weight=True),
    Product((1,), (70,), 900, weight=True),
    Product((2,), (33,), 500, weight=True, epilogue="both"),
    Product((4,), (20,), 300, batch=(3,), weight=True, shared=True),
    Product((1,), (20,), 130, batch=(2,), weight=True),
    Product((40,), (17,), 21, column_stride=3),
    Product((3,), (5,), 300, a="i64", b="i64", acc="i64", weight=True),
    Product((3,), (5,), 300, acc="f64", weight=True),
    Product((3,), (5,), 300, a="f64", b="f64", acc="f64", weight=True),
    Product((40,), (300,), 700, weight=True),
    Product((40,), (30,), 1000, a="i64", b="i64", acc="i64", weight=True),
    Product((40,), (30,), 1000, acc="f64", weight=True),
    Product((60,), (5000,), 70, weight=True, epilogue="both"),
    Product((33,), (7001,), 70, epilogue="bias"),
    Product((8,), (0,), 5),
    Product((0,), (3,), 5),
    Product((4,), (3,), 0),
]
TYPES = [
    Product((15,), (19,), 37, a=a, b=b, acc=acc, out=out, weight=weight, epilogue=epilogue)
    for a, b, acc, out in [
        ("f16", "f16", "f32", "f16"),
        ("bf16", "bf16", "f32", "bf16"),
        ("f64", "f64", "f64", "f64"),
        ("f32", "f32", "f64", "f64"),
        ("i8", "i8", "i32", "i32"),
        ("ui8", "i8", "i32", "i32"),
        ("i32", "i32", "i32", "i32"),
        ("i64", "i64", "i64", "i64"),
        ("i32", "i32", "i64", "i64"),
        ("f32", "bf16", "f32", "f32"),
    ]
    for weight, epilogue in ((False, ""), (True, "bias"))
]

LONG = [
    Product((33,), (8192,), 70, weight=True),
    Product((1,), (8192,), 100, weight=True),
    Product((40,), (8190,), 33, symbolic=True),
    Product((3, 9), (3, 3, 911), 48, weight=True, epilogue="bias"),
    Product((5,), (128, 64), 20),
    Product((4,), (600,), 400, weight=True),
    Product((6,), (1030,), 96, weight=True, epilogue="both"),
    Product((29,), (530,), 70, weight=True),
    Product((16,), (1040,), 400, weight=True, epilogue="both"),
    Product((27,), (1207,), 399, weight=True, epilogue="two"),
    Product((127,), (131,), 129, weight=True, epilogue="bias"),
    Product((5,), (700,), 300, weight=True, symbolic=True),
    Product((13,), (513,), 65, weight=True, symbolic=True, epilogue="bias"),
]
"""Sums of many products."""

GROUPED = [
    Product(m, k, n, a=a, b=b, acc=acc, **form)
    for a, b, acc in [
        ("bf16", "bf16", "f32"),
        ("i8", "i8", "i32"),
        ("ui8", "i8", "i32"),
        ("i8", "ui8", "i32"),
        ("ui8", "ui8", "i32"),
    ]
    for m, k, n, form in [
        ((64,), (128,), 64, {"weight": True}),
        ((15,), (19,), 37, {}),
        ((17,), (70,), 100, {"weight": True, "epilogue": "both"}),
        ((100,), (300,), 130, {"weight": True, "epilogue": "bias"}),
        ((77,), (1088,), 48, {"weight": True, "symbolic": True}),
        ((33,), (65,), 31, {"symbolic": True}),
        ((7, 7), (3, 3 * 64), 64, {"weight": True, "epilogue": "both"}),
        ((14, 14), (3, 3 * 64), 50, {"weight": True, "epilogue": "two"}),
        ((3, 28), (2, 128), 33, {"weight": True}),
        ((2, 56), (3, 64), 64, {"weight": True}),
        ((5, 21), (2, 2, 21), 64, {"weight": True, "symbolic": True}),
        ((33,), (11,), 50, {"weight": True, "batch": (2, 3)}),
        ((9,), (33,), 50, {"batch": (3,), "shared": True}),
        ((40,), (17,), 21, {"column_stride": 3}),
        ((1,), (70,), 900, {"weight": True}),
        ((8,), (0,), 5, {}),
        ((130,), (2100,), 300, {"weight": True}),
        ((100,), (1030,), 333, {"epilogue": "both"}),
        ((70,), (1024,), 300, {"batch": (2,)}),
        ((300,), (1030,), 200, {"weight": True, "epilogue": "two"}),
        ((9, 14), (3, 3, 128), 300, {"epilogue": "bias"}),
    ]
]
"""Types whose products are summed by groups of neighbours along k."""


def run(product: Product, cpu: str, threads: int = 1) -> None:
    built = build(product.program, cpu)
    inputs = product.inputs()
    given = run_native(built, inputs, threads)
    tolerance = product.tolerance()
    for number, (one, other) in enumerate(zip(given, product.wanted(inputs), strict=True)):
        scale = float(np.max(np.abs(other.astype(np.float64)), initial=1.0))
        same(one, other, f"output {number}", tolerance, tolerance * scale)


@pytest.mark.parametrize("product", [*SMALL, *SYMBOLIC, *FORMS, *TYPES], ids=str)
def test_native(product):
    run(product, "native")


@pytest.mark.parametrize("product", LONG, ids=str)
@pytest.mark.parametrize("cpu", CPUS)
def test_long_sums(product, cpu):
    """Sums of thousands of products are nearly as exact as those of some hundred."""
    built, inputs = build(product.program, cpu), product.inputs()
    given = run_native(built, inputs, 1)[0].astype(np.float64)
    exact = product.exact(inputs)[0]
    assert np.sqrt(np.mean((given - exact) ** 2) / np.mean(exact**2)) < 8e-7


def test_long_sums_on_several_threads():
    """Their parts do not depend on who computes them."""
    for product in LONG:
        built, inputs = build(product.program, "native"), product.inputs()
        one, *others = (run_native(built, inputs, threads)[0] for threads in (1, 2, 3))
        for other in others:
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("cpu", ["x86-64-v4", "cascadelake", "sapphirerapids"])
@pytest.mark.parametrize(
    "product",
    [p for p in (*FORMS, *GROUPED) if p.weight and len(p.k) + len(p.batch) > 1],
    ids=str,
)
def test_packed_weights_are_interpreted(product, cpu):
    """The view's type says all of its layout: batches outside the panels, groups inside."""
    module, ctx = legalised(product.program, cpu, until="cpu-pack-weights")
    assert ", panel " in str(module)
    inputs = product.inputs()
    given = interpret_program(module, inputs, ctx)
    tolerance = product.tolerance()
    for number, (one, other) in enumerate(zip(given, product.wanted(inputs), strict=True)):
        scale = float(np.max(np.abs(other.astype(np.float64)), initial=1.0))
        same(one, other, f"output {number}", tolerance, tolerance * scale)


@pytest.mark.parametrize("product", GROUPED, ids=str)
def test_groups(product):
    run(product, "native")


@pytest.mark.parametrize("product", GROUPED[::5], ids=str)
def test_groups_on_several_threads(product):
    for threads in (2, 3, 5):
        run(product, "native", threads)


@pytest.mark.parametrize("type", ["bf16", "i8"])
def test_all_ends_of_k(type):
    acc = "f32" if type == "bf16" else "i32"
    for k in range(1, 71):
        run(Product((17,), (k,), 18, a=type, b=type, acc=acc, weight=k % 2 == 0), "native")


@pytest.mark.parametrize(("m", "k", "n"), [(33, 70, 95), (256, 31, 161), (17, 257, 33)])
@pytest.mark.parametrize("threads", [1, 3, 5])
def test_computed_columns_in_turn(m, k, n, threads):
    """Two panels at a time of a right operand that is no weight, with columns left over."""
    run(Product((m,), (k,), n, a="bf16", b="bf16"), "native", threads)


PARTED = [
    Product((m,), k, n, a="bf16", b="bf16", out=out, weight=True, epilogue=epilogue)
    for m, k, n, out, epilogue in [
        (530, (800,), 1333, "bf16", "both"),
        (513, (1000,), 1100, "f32", "two"),
        (700, (3, 300), 1280, "bf16", ""),
        (516, (4160,), 288, "f32", "bias"),
    ]
]
"""Products on the matrix unit whose weights are not in the second cache: k goes by parts, rows
and columns are left over, and lines of results begin anywhere or at multiples of 64 bytes."""


@pytest.mark.parametrize("product", PARTED, ids=str)
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_parts_of_k(product, threads):
    run(product, "native", threads)


@pytest.mark.parametrize("product", PARTED, ids=str)
def test_large_weights_are_passed_in_parts(product):
    module, _ = legalised(product.program, "sapphirerapids", until="cpu-pack-weights")
    assert "part = 16" in str(module)


def test_parts_do_not_depend_on_threads():
    product = PARTED[0]
    built, inputs = build(product.program, "native"), product.inputs()
    first = run_native(built, inputs, 1)
    for threads in (2, 3):
        for one, other in zip(first, run_native(built, inputs, threads), strict=True):
            assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize(
    "product", [SMALL[0], SYMBOLIC[1], *FORMS[:9], *TYPES[::3], *GROUPED[::7]], ids=str
)
@pytest.mark.parametrize("cpu", CPUS[1:])
def test_other_processors(product, cpu):
    run(product, cpu)


FEW = [
    Product((m,), (k,), n, a=a, b=b, acc="f32" if a == "bf16" else "i32", weight=True)
    for a, b in [("bf16", "bf16"), ("i8", "i8"), ("ui8", "i8"), ("ui8", "ui8")]
    for m, k, n in [(1, 1, 1), (1, 70, 33), (2, 64, 16), (3, 5, 100), (0, 4, 8), (5, 0, 17)]
]
"""Few rows, and axes of size 0 and 1."""


@pytest.mark.parametrize("product", [*GROUPED, *FEW], ids=str)
@pytest.mark.parametrize("cpu", [*GROUPED_CPUS, *CPUS[1:]])
def test_groups_in_vectors(product, cpu):
    run(product, cpu, threads=1 + len(str(product)) % 5)


STRIPS = [
    Product((m,), (k,), n, a=a, b=b, acc=acc, weight=True, epilogue=epilogue)
    for a, b, acc, k in [
        ("bf16", "bf16", "f32", 1543),
        ("ui8", "i8", "i32", 2600),
        ("ui8", "ui8", "i32", 3077),
    ]
    for m, n, epilogue in [(16, 700, ""), (29, 530, "both"), (67, 500, "bias")]
]
"""Few strips of rows and weights that are not in the second cache: strips take turns at parts
of k, the last of which is shorter."""


@pytest.mark.parametrize("product", STRIPS, ids=str)
@pytest.mark.parametrize("cpu", GROUPED_CPUS)
@pytest.mark.parametrize("threads", [1, 3])
def test_strips_take_turns_in_vectors(product, cpu, threads):
    if cpu == "znver4":
        module, _ = legalised(product.program, cpu, until="cpu-plan")
        assert "strips take turns" in str(module)
    run(product, cpu, threads)


@pytest.mark.parametrize("product", FEW, ids=str)
def test_few_rows_of_groups(product):
    run(product, "native")


@pytest.mark.parametrize("cpu", [*GROUPED_CPUS, "native"])
@pytest.mark.parametrize("type", ["bf16", "i8", "ui8"])
def test_all_ends_of_k_in_vectors(type, cpu):
    acc = "f32" if type == "bf16" else "i32"
    for k in range(1, 71, 3):
        run(Product((3,), (k,), 18, a=type, b=type, acc=acc, weight=k % 2 == 0), cpu)


@pytest.mark.parametrize("cpu", [*GROUPED_CPUS, *CPUS[1:]])
@pytest.mark.parametrize("a", [0, 127, 128, 255])
@pytest.mark.parametrize("b", [-128, -1, 127])
def test_largest_bytes(cpu, a, b):
    """No sum on the way saturates."""
    product = Product((2,), (4096,), 32, a="ui8", b="i8", acc="i32")
    inputs = [np.full((2, 4096), a, np.uint8), np.full((4096, 32), b, np.int8)]
    (given,) = run_native(build(product.program, cpu), inputs, 1)
    assert np.all(given == 4096 * a * b)
