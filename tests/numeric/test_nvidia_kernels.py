"""Kernels of every form as Triton text, in Triton's interpreter, against the tile interpreter."""

from __future__ import annotations

import pytest
from tile_cases import CASES
from tile_programs import reference, same

from tests.devices.nvidia.runner import ask

WHOLE = [name for name in CASES if name.startswith(("scans", "overwritten_operands"))]
"""Kernels that need a row of unknown size at once, which no program has room for."""


@pytest.mark.parametrize("name", [name for name in CASES if name not in WHOLE])
def test_same_as_the_interpreter(name: str) -> None:
    case = CASES[name]()
    results = ask("run_tile_case", name)
    for inputs, given in zip(case.inputs, results, strict=True):
        wanted = reference(case.program, inputs)
        for number, (one, other) in enumerate(zip(given, wanted, strict=True)):
            shapes = [a.shape for a in inputs]
            same(one, other, f"output {number} of {shapes}", case.rtol, case.atol, case.exact)


@pytest.mark.parametrize("name", WHOLE)
def test_rows_of_unknown_size_that_cannot_be_cut_are_refused(name: str) -> None:
    with pytest.raises(RuntimeError, match=r"CompileError.*make that size known"):
        ask("run_tile_case", name)
