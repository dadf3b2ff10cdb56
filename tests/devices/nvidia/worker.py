"""The process that runs Triton's interpreter: asked by `runner`, one pickle a line of work."""

from __future__ import annotations

import pickle
import sys
import traceback
from pathlib import Path

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from infini_ir.dialects.context import CompilerContext, compiler_context
from infini_ir.frontends.onnx.importer import import_model
from infini_ir.lowering.graph_to_tile import GraphToTilePass
from infini_ir.models.kernels import cases
from infini_ir.passes.graph.pipeline import graph_pipeline
from infini_ir.targets.nvidia.target import NvidiaTarget
from infini_ir.targets.programs import program_of, signature_of
from tests.devices.nvidia.interpreter import run_program
from tests.devices.nvidia.triton_device import run_twice

sys.path.append(str(Path(__file__).parents[2] / "numeric"))

Arrays = dict[str, np.ndarray]


def lower(module: ModuleOp, ctx: CompilerContext) -> None:
    """From the graph dialect to what the emitter takes."""
    target = NvidiaTarget(cache=False)
    passes = (*graph_pipeline(target.composites), GraphToTilePass(), *target.passes())
    for each in passes:
        each.apply(ctx, module)
    module.verify()


def run_case(name: str, inputs: Arrays) -> Arrays:
    """The outputs of a case of the corpus."""
    case = next(case for case in cases() if case.name == name)
    ctx = compiler_context()
    module = case.module(ctx)
    lower(module, ctx)
    outputs = run_program(module, list(inputs.values()), ctx)
    return dict(zip(case.outputs, outputs, strict=True))


def run_case_on_driver(name: str, inputs: Arrays) -> Arrays:
    """The outputs of a case of the corpus by the executor, over the fake driver."""
    case = next(case for case in cases() if case.name == name)
    ctx = compiler_context()
    module = case.module(ctx)
    lower(module, ctx)
    outputs = run_twice(module, ctx, list(inputs.values()))
    return dict(zip(case.outputs, outputs, strict=True))


def run_model(path: str, inputs: Arrays) -> Arrays:
    """The outputs of an ONNX file by the executor, over the fake driver."""
    ctx = compiler_context()
    module = import_model(path, ctx)
    lower(module, ctx)
    names = [spec.name for spec in signature_of(program_of(module))[1]]
    outputs = run_twice(module, ctx, list(inputs.values()), calls=1)
    return dict(zip(names, outputs, strict=True))


def run_tile_case(name: str) -> list[list[np.ndarray]]:
    """The outputs of a case of `tests/numeric/tile_cases.py`, for each of its inputs."""
    from tile_cases import CASES

    case = CASES[name]()
    module, ctx = case.program.module.clone(), compiler_context()
    ctx.weights = case.program.ctx.weights
    for each in NvidiaTarget(cache=False).passes():
        each.apply(ctx, module)
        module.verify()
    return [run_program(module, inputs, ctx) for inputs in case.inputs]


FUNCTIONS = {
    "run_case": run_case,
    "run_case_on_driver": run_case_on_driver,
    "run_model": run_model,
    "run_tile_case": run_tile_case,
}


def main() -> None:
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    while True:
        try:
            function, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = (True, FUNCTIONS[function](*arguments))
        except Exception:
            answer = (False, traceback.format_exc())
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    main()
