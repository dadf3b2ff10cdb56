"""Lower one function to tile, run it in the tile interpreter or natively, and compare with
the graph interpreter."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Region, SSAValue

from infini_ir.dialects.context import CompilerContext, compiler_context
from infini_ir.dialects.graph import TensorType
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.interpreters.graph.run import interpret
from infini_ir.interpreters.tile import interpret_program
from infini_ir.lowering.graph_to_tile import GraphToTilePass
from infini_ir.runtime.model import CompiledModel
from infini_ir.targets.cpu.target import CpuTarget

Build = Callable[..., Sequence[SSAValue]]


def graph_module(types: Sequence[TensorType], build: Build) -> ModuleOp:
    """`main` of a builder function `build(builder, *arguments)`."""
    block = Block(arg_types=list(types))
    results = build(GraphBuilder(block), *block.args)
    block.add_op(func.ReturnOp(*results))
    signature = (list(types), [value.type for value in results])
    return ModuleOp([func.FuncOp("main", signature, Region(block))])


def compare(
    types: Sequence[TensorType],
    build: Build,
    inputs: Sequence[np.ndarray],
    *,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    parameters: dict[str, int] | None = None,
    native: bool = False,
) -> ModuleOp:
    """Check lowered code, interpreted or as machine code, against the graph interpreter;
    returns the lowered module."""
    ctx = compiler_context()
    module = graph_module(types, build)
    module.verify()
    wanted = interpret(module, inputs, ctx)
    GraphToTilePass().apply(ctx, module)
    module.verify()
    if native:
        given = run_native(module.clone(), inputs, ctx)
    else:
        given = interpret_program(module, inputs, ctx, parameters=parameters, check_races=True)
    check_arrays(given, wanted, rtol, atol)
    return module


def run_native(
    module: ModuleOp, inputs: Sequence[np.ndarray], ctx: CompilerContext
) -> list[np.ndarray]:
    """Compile a tile module for this machine, and run it."""
    target = CpuTarget(cache=False)
    for current in target.passes():
        current.apply(ctx, module)
    module.verify()
    result = CompiledModel(target.build(module, ctx))(*inputs)
    return [result] if isinstance(result, np.ndarray) else list(result)


def check_arrays(
    given: Sequence[np.ndarray], wanted: Sequence[np.ndarray], rtol: float, atol: float
) -> None:
    """The same shapes and types, and values within tolerances; integers are the same."""
    assert len(given) == len(wanted)
    for one, other in zip(given, wanted, strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype
        if other.dtype.kind in "fV":
            one, other = one.astype(np.float64), other.astype(np.float64)
            np.testing.assert_allclose(one, other, rtol=rtol, atol=atol)
        else:
            np.testing.assert_array_equal(one, other)
