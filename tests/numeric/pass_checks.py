"""Run a pass on a lowered model, and compare what the tile interpreter gives before and
after, and what the machine gives after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import numpy_helper, parser
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from infini_ir.dialects.context import CompilerContext, compiler_context
from infini_ir.frontends.onnx.importer import import_model
from infini_ir.interpreters.tile import interpret_program
from infini_ir.lowering.graph_to_tile import GraphToTilePass
from infini_ir.passes.graph.pipeline import graph_pipeline
from infini_ir.targets.cpu.target import COMPOSITES
from tests.numeric.special_kernels import check_arrays, run_native

Arrays = Sequence[np.ndarray]


def lower(
    text: str, weights: Mapping[str, np.ndarray] | None = None
) -> tuple[ModuleOp, CompilerContext]:
    """A model in ONNX's text form as a tile program."""
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 23]>\nm {text}')
    for name, array in (weights or {}).items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    ctx = compiler_context()
    module = import_model(model, ctx)
    for current in (*graph_pipeline(COMPOSITES), GraphToTilePass()):
        current.apply(ctx, module)
    return module, ctx


def check_pass(
    text: str,
    inputs: Sequence[Arrays],
    *passes: ModulePass,
    parameters: Sequence[Mapping[str, int]] = ({},),
    native: bool = True,
    rtol: float = 1e-5,
    atol: float = 1e-6,
) -> ModuleOp:
    """Compare a model's results before and after passes on each of the inputs, with each of
    the tile sizes; gives the rewritten module."""
    module, ctx = lower(text)
    return check_module(
        module, ctx, inputs, *passes, parameters=parameters, native=native, rtol=rtol, atol=atol
    )


def check_module(
    module: ModuleOp,
    ctx: CompilerContext,
    inputs: Sequence[Arrays],
    *passes: ModulePass,
    parameters: Sequence[Mapping[str, int]] = ({},),
    native: bool = True,
    rtol: float = 1e-5,
    atol: float = 1e-6,
) -> ModuleOp:
    """`check_pass` of a tile program."""
    wanted = [interpret_program(module, arrays, ctx) for arrays in inputs]
    for current in passes:
        current.apply(ctx, module)
        module.verify()
    for arrays, results in zip(inputs, wanted, strict=True):
        for sizes in parameters:
            given = interpret_program(
                module, arrays, ctx, parameters=dict(sizes), check_races=True
            )
            check_arrays(given, results, rtol, atol)
    if native:
        for arrays, results in zip(inputs, wanted, strict=True):
            check_arrays(run_native(module.clone(), arrays, ctx), results, rtol, atol)
    return module
