"""Every instruction that an XPU core has, as emitted and run on the functional model."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.parser import Parser

from infini_ir.dialects.context import compiler_context
from infini_ir.passes.buffer.machine import CoreMachine
from infini_ir.targets.kunlun.limits import MACHINE
from tests.devices.common.instruction_cases import InstructionCase, cases, module_text
from tests.devices.kunlun.runner import run_module


def has(machine: CoreMachine, case: InstructionCase) -> bool:
    name, dtype = case.needs
    if name == "cast":
        source, target = dtype.split()
        return (source, target) in machine.casts
    return machine.has(name, dtype)


CASES = [case for case in cases() if has(MACHINE, case)]


@pytest.fixture(scope="module")
def inputs() -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(7)
    return {case.name: case.draw(rng) for case in CASES}


@pytest.fixture(scope="module")
def results(inputs: dict[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
    given = {
        f"c{i}_{j}": array
        for i, c in enumerate(CASES)
        for j, array in enumerate(inputs[c.name])
    }
    ctx = compiler_context()
    module = Parser(ctx, module_text(CASES)).parse_module()
    outputs = run_module(module, ctx, given)
    return {case.name: outputs[f"y{i}"] for i, case in enumerate(CASES)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_instruction(
    case: InstructionCase, inputs: dict[str, list[np.ndarray]], results: dict[str, np.ndarray]
) -> None:
    case.check(results[case.name], inputs[case.name])
