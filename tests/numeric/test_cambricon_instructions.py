"""Every instruction that an MLU core has, as emitted and run on the functional model."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.parser import Parser

from infini_ir.dialects.context import compiler_context
from infini_ir.passes.buffer.machine import CoreMachine
from infini_ir.targets.cambricon.limits import MACHINE
from tests.devices.cambricon.runner import run_module
from tests.devices.common.instruction_cases import InstructionCase, cases, module_text


def has(machine: CoreMachine, case: InstructionCase) -> bool:
    name, dtype = case.needs
    if name == "cast":
        source, target = dtype.split()
        return (source, target) in machine.casts
    return machine.has(name, dtype)


CASES = [case for case in cases() if has(MACHINE, case)]
Results = dict[str, dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def inputs() -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(7)
    return {case.name: case.draw(rng) for case in CASES}


@pytest.fixture(scope="module")
def results(inputs: dict[str, list[np.ndarray]]) -> Results:
    given = {
        f"c{i}_{j}": array
        for i, c in enumerate(CASES)
        for j, array in enumerate(inputs[c.name])
    }
    found: Results = {}
    for chip in ("mlu590", "mlu370"):
        ctx = compiler_context()
        module = Parser(ctx, module_text(CASES)).parse_module()
        module.verify()
        outputs = run_module(module, ctx, given, chip)
        found[chip] = {case.name: outputs[f"y{i}"] for i, case in enumerate(CASES)}
    return found


@pytest.mark.parametrize("chip", ["mlu590", "mlu370"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_instruction(
    case: InstructionCase, chip: str, inputs: dict[str, list[np.ndarray]], results: Results
) -> None:
    case.check(results[chip][case.name], inputs[case.name])
