"""Kernels compiled for several processors against the tile interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from tile_cases import CASES
from tile_programs import (
    CPUS,
    TileProgram,
    all_threads,
    build,
    random,
    reference,
    run_native,
    same,
)

from infini_ir.utils.symbolic import Dim

RUNS = [
    *((cpu, name) for cpu in CPUS[:2] for name in CASES),
    # The others make the same tails as one of the first two: a part of the cases will do.
    *((cpu, name) for i, cpu in enumerate(CPUS[2:]) for name in [*CASES][i::3]),
]


@pytest.mark.parametrize(("cpu", "name"), RUNS)
def test_same_as_the_interpreter(name, cpu):
    case = CASES[name]()
    built = build(case.program, cpu)
    for inputs in case.inputs:
        wanted = reference(case.program, inputs)
        given = run_native(built, inputs)
        for number, (one, other) in enumerate(zip(given, wanted, strict=True)):
            shapes = [a.shape for a in inputs]
            same(one, other, f"output {number} of {shapes}", case.rtol, case.atol, case.exact)


@pytest.mark.parametrize("name", [*CASES][::2])
def test_compiles_for_other_machines(name):
    assert build(CASES[name]().program, "aarch64").metadata.arch == "aarch64"


@pytest.mark.parametrize("name", CASES)
def test_threads_do_not_change_a_bit(name):
    case = CASES[name]()
    with all_threads(1):
        built = build(case.program)
    for inputs in case.inputs:
        alone = [output.tobytes() for output in run_native(built, inputs)]
        for threads in (2, 3, 5):
            together = run_native(built, inputs, threads)
            assert [output.tobytes() for output in together] == alone, threads


def test_chain_of_launches_on_many_threads():
    """Each launch reads what the one before wrote in another order, in shared memory."""
    p = TileProgram([(["N"], "f32")], [(["N"], "f32")])
    n = Dim.symbol("N")
    source = p.views[0]
    for number in range(12):
        target = p.views[1] if number == 11 else p.alloc(["N"], "f32")
        views = [p.alias(source, [n], [-1], n - 1), source, target]
        k = p.kernel(f"turn{number}", views, [n], [8])
        loaded = [k.load(v, k.offsets, [0], [8]) for v in k.views[:2]]
        (y,) = k.map(loaded, [[0], [0]], ["f32"], [8], lambda s, a, b: [s.sub(s.add(a, a), b)])
        k.store(y, k.views[2], k.offsets, [0])
        p.launch(k, views)
        source = target
    built = build(p)
    for size in (1, 8, 100, 1000):
        inputs = [random([size], "f32")]
        (wanted,) = reference(p, inputs)
        for threads in (1, 2, 4, 5):
            (given,) = run_native(built, inputs, threads)
            np.testing.assert_array_equal(given, wanted)
