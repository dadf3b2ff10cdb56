"""Kernels in buffer form give what the same kernels on tiles give."""

from dataclasses import replace

import numpy as np
import pytest
import tile_cases
from buffer_runs import buffer_form, planned_form, run_buffer_form
from tile_programs import TileProgram, random, reference

from infini_ir.dialects.tile import Combine
from infini_ir.passes.buffer.machines import TEST

UNSPLIT = ("scans", "overwritten_operands")
"""Kernels that need a row of unknown size whole."""
CASES = [name for name in tile_cases.CASES if not name.startswith(UNSPLIT)]
PLANNED = [
    name
    for name in CASES
    if name.startswith(("softmax", "normalised", "attention", "two_axis", "column", "carried"))
]
POOR = replace(
    TEST,
    name="poor core",
    instructions=frozenset(
        (name, dtype)
        for name, dtype in TEST.instructions
        if dtype == "f32" and name in ("add", "mul", "sub", "div", "max", "min", "exp", "ln",
                                       "sqrt", "fill", "copy", "select", "compare_lt",
                                       "compare_ne", "compare_eq", "compare_le")
    ),
    casts=frozenset({("f16", "f32"), ("f32", "f16")}),
    combines=frozenset(),
    strided_copies=False,
    granule=64,
    alignment=128,
    mask_bits=8,
    queues={},
)  # fmt: skip
"""A core that leaves most to the scalar unit."""
RICH = replace(
    TEST,
    name="rich core",
    instructions=TEST.instructions
    | {("dot", f"{a}x{b}") for a in ("f16", "f32") for b in ("f16", "f32")}
    | {("div_scalar", "f32"), ("sub_scalar", "f32"), ("neg", "f32"), ("reduce_add", "i32")},
    combines=frozenset((c, d) for c in Combine for d in ("f32", "f16", "i32")),
    reduce_carries_nan=True,
)


LONG = ("attention", "product_of_maps")
"""Cases that take the interpreter long, of which the first inputs must do."""


def check(case: tile_cases.Case, module, machine=TEST, *, inputs_of: str = "") -> None:
    chosen = case.inputs[:2] if inputs_of.startswith(LONG) else case.inputs
    for inputs in chosen:
        wanted = reference(case.program, inputs)
        given = run_buffer_form(module, inputs, case.program.ctx, machine)
        for one, other in zip(given, wanted, strict=True):
            if other.dtype.kind in "fV":
                np.testing.assert_allclose(
                    one.astype(np.float64),
                    other.astype(np.float64),
                    rtol=max(case.rtol, 1e-5),
                    atol=case.atol,
                )
            else:
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", CASES)
def test_small_tiles(name: str):
    case = tile_cases.CASES[name]()
    check(case, buffer_form(case.program.module, case.program.ctx), inputs_of=name)


@pytest.mark.parametrize("name", PLANNED)
def test_planned_tiles(name: str):
    case = tile_cases.CASES[name]()
    check(case, planned_form(case.program.module, case.program.ctx), inputs_of=name)


@pytest.mark.parametrize("machine", [POOR, RICH], ids=lambda machine: machine.name)
@pytest.mark.parametrize(
    "name",
    [
        "elementwise[f32]", "elementwise[f16]", "elementwise[i8]", "strided_operands[f32]",
        "tile_axes_out_of_order", "reductions[max-f32]", "reductions[add-i32]",
        "softmax[f16]", "two_products", "scattered[add]", "scattered[max]",
    ],
)  # fmt: skip
def test_other_machines(name: str, machine):
    case = tile_cases.CASES[name]()
    check(case, buffer_form(case.program.module, case.program.ctx, machine), machine)


@pytest.mark.parametrize("dtype", ["f32", "i32", "ui8", "i1", "f64"])
@pytest.mark.parametrize("kind", ["add", "max"])
def test_scans(dtype: str, kind: str):
    """Of known sizes; both ways, along both axes."""
    shape = [5, 33]
    p = TileProgram([(shape, dtype)], [(shape, dtype)] * 4)
    k = p.kernel("scans", p.views, [], [])
    x = k.load(k.views[0], [0, 0], [0, 1], shape)
    options = [(axis, exclusive) for axis in (0, 1) for exclusive in (False, True)]
    for view, (axis, exclusive) in zip(k.views[1:], options, strict=True):
        scanned = k.scan(kind, x, axis, exclusive=exclusive, reverse=exclusive)
        k.store(scanned, view, [0, 0], [0, 1])
    p.launch(k, p.views)
    case = tile_cases.Case(p, [[random(shape, dtype)]], rtol=1e-4, atol=1e-4)
    check(case, buffer_form(p.module, p.ctx))
