"""The process that runs Triton's interpreter: asked by `runner`, one pickle a line of work."""

from __future__ import annotations

import pickle
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from xdsl.dialects.builtin import ModuleOp

from infini_ir.dialects.context import CompilerContext, compiler_context
from infini_ir.frontends.onnx.backend import BackendRep
from infini_ir.frontends.onnx.importer import import_model, output_descriptions
from infini_ir.frontends.onnx.specialize import Given, Runner
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
    passes = (
        *graph_pipeline(target.composites, quantized_weights=target.quantized_weights),
        GraphToTilePass(),
        *target.passes(),
    )
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


def run_onnx(content: bytes, inputs: list[Any], seconds: int) -> list[Any]:
    """The outputs of an ONNX model, given as bytes, by the executor over the fake driver.
    Raises `TimeoutError` after so many seconds."""
    model = onnx.load_model_from_string(content)

    def build(given: Given) -> tuple[Runner, Sequence[str]]:
        ctx = compiler_context()
        module = import_model(model, ctx, inputs=given or None)
        outputs = output_descriptions(module)
        lower(module, ctx)

        def run(arrays: Sequence[Any]) -> list[np.ndarray]:
            return run_twice(module, ctx, list(arrays))

        return run, outputs

    def stop(*_: Any) -> None:
        raise TimeoutError(f"did not end in {seconds} seconds")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        return list(BackendRep(model, build).run(inputs))
    finally:
        signal.alarm(0)


def run_tile_case(name: str) -> list[list[np.ndarray]]:
    """The outputs of a case of `tests/numeric/tile_cases`, for each of its inputs."""
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
    "run_onnx": run_onnx,
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
