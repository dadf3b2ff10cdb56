"""Timing kernel launches one by one: each is put into a program of its own, in a loop.

The loop runs inside native code, so that neither the call nor waking the threads counts.
Memory is the same in every turn: operands that fit the caches are found there.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Region, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.context import CompilerContext
from infini_ir.dialects.tile import program
from infini_ir.passes.tile.insert_barriers import InsertBarriersPass
from infini_ir.passes.tile.plan_memory import PlanMemoryPass
from infini_ir.runtime.executor import Executor
from infini_ir.targets.cpu.target import CpuTarget
from infini_ir.tools.launches import Launch
from infini_ir.utils.symbolic import Dim

TURNS = "turns_"
"""Symbol of the number of turns; no model's symbol ends so."""
_SAMPLES = 5
_SAMPLE_SECONDS = 0.02
_MOST_TURNS = 100_000


def measure_launch(
    launch: Launch,
    ctx: CompilerContext,
    target: CpuTarget,
    sizes: Mapping[str, int],
    threads: int | None,
) -> float:
    """Seconds that one turn of a launch takes; the median of some samples."""
    module, symbols = launch_module(launch)
    PlanMemoryPass().apply(ctx, module)
    InsertBarriersPass().apply(ctx, module)
    executor = Executor(target.build(module, ctx), threads)
    turns_at = symbols.index(TURNS)

    def seconds(turns: int) -> float:
        arrays = [np.zeros(sizes.get(name, 1), np.bool_) for name in symbols]
        arrays[turns_at] = np.zeros(turns, np.bool_)
        begin = time.perf_counter()
        executor.run(arrays)
        return time.perf_counter() - begin

    seconds(1)
    turns = 1
    while turns < _MOST_TURNS and (taken := seconds(turns)) < _SAMPLE_SECONDS:
        turns = min(_MOST_TURNS, max(2 * turns, int(turns * 0.8 * _SAMPLE_SECONDS / taken)))
    return statistics.median(seconds(turns) / turns for _ in range(_SAMPLES))


def launch_module(launch: Launch) -> tuple[ModuleOp, list[str]]:
    """A module with the launch in a loop, and the symbols that its inputs define in order."""
    kernel = launch.kernel.clone()
    symbols = [*_symbols(launch), TURNS]
    types = [tile.ViewType.of([name], "i1") for name in symbols]
    entry = program.ProgramOp("main", types, len(types))
    block = entry.body.block
    views: dict[SSAValue, SSAValue] = {}
    for view in launch.op.views:
        if view not in views:
            views[view] = _memory(view, block)
    turn = Block([program.LaunchOp(kernel.sym_name.data, [views[v] for v in launch.op.views])])
    if launch.op.serial is not None:
        first = turn.first_op
        assert isinstance(first, program.LaunchOp)
        first.serial = launch.op.serial
    block.add_op(program.LoopOp("turn_", Dim.symbol(TURNS), Region(turn)))
    return ModuleOp([kernel, entry]), symbols


def _symbols(launch: Launch) -> list[str]:
    names: dict[str, None] = {}
    dims = [*launch.kernel.bounds.data]
    for op in launch.kernel.walk():
        for value in (*op.results, *(a for r in op.regions for b in r.blocks for a in b.args)):
            if isinstance(value.type, tile.ViewType):
                dims += [*value.type.shape, *value.type.strides]
        if isinstance(op, tile.SizeOp):
            dims.append(op.dim)
    for dim in dims:
        names.update(dict.fromkeys(sorted(dim.symbols())))
    parameters = set(launch.plan.parameters)
    return [name for name in names if name not in parameters]


def _memory(view: SSAValue, block: Block) -> SSAValue:
    """Memory with a view's type: the model's weight itself, else scratch memory."""
    owner, type = view.owner, tile.view_type(view)
    if isinstance(owner, program.WeightOp):
        return _added(block, program.WeightOp(owner.handle.data, type))
    if type.is_dense():
        return _added(block, program.AllocOp(type))
    before = after = Dim.of(0)
    for size, stride in zip(type.shape, type.strides, strict=True):
        reach = (size - 1) * stride
        if stride.value is not None and stride.value < 0:
            before = before - reach
        else:
            after = after + reach
    whole = tile.ViewType.of([before + after + 1], type.element)
    memory = _added(block, program.AllocOp(whole))
    return _added(block, program.AliasOp(memory, before, type))


def _added(block: Block, op: program.WeightOp | program.AllocOp | program.AliasOp) -> SSAValue:
    block.add_op(op)
    return op.out
