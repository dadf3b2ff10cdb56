"""Kernels compiled for several processors against the tile interpreter."""

from __future__ import annotations

import pytest
from tile_cases import CASES
from tile_programs import CPUS, build, reference, run_native, same


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("cpu", CPUS)
def test_same_as_the_interpreter(name, cpu):
    case = CASES[name]()
    built = build(case.program, cpu)
    for inputs in case.inputs:
        wanted = reference(case.program, inputs)
        given = run_native(built, inputs)
        for number, (one, other) in enumerate(zip(given, wanted, strict=True)):
            shapes = [a.shape for a in inputs]
            same(one, other, f"output {number} of {shapes}", case.rtol, case.atol, case.exact)
