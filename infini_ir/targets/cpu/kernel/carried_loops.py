"""Loops inside a program that carry tiles.

A carried tile lives in memory of the kernel's scratch; each iteration computes all the next
values before it overwrites any of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdsl.ir import SSAValue

from infini_ir.dialects import tile
from infini_ir.targets.cpu.kernel import overwriting
from infini_ir.targets.cpu.kernel.sources import (
    MemorySource,
    ScalarSource,
    Source,
    element_type_of,
    is_signed,
)
from infini_ir.targets.cpu.llvm.scalars import memory_of
from infini_ir.targets.cpu.llvm.writer import ZERO, V
from infini_ir.targets.cpu.plans.cost import upper_bounds
from infini_ir.targets.cpu.products import across, contraction
from infini_ir.utils.errors import CompileError

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter


def emit_for(e: KernelEmitter, op: tile.ForOp) -> None:
    """A contraction where the loop is one, or else its iterations one after the other."""
    nest = contraction.match(op)
    if nest is not None and contraction.emit(e, nest):
        return
    _prepare_outside(e, op)
    overwriting.keep_before_loop(e, op)
    carried = _carried_cells(e, op)
    body = op.body.block
    step = e.sizes.of(op.step_size)

    def iteration(position: V) -> None:
        level = e.enter()
        e.scalars[body.args[0]] = position
        for argument, cell in zip(body.args[1:], carried, strict=True):
            e.sources[argument] = _current(e, cell)
        e.block(body)
        _carry(e, list(tile.yielded(op.body)), carried, op)
        e.leave(level)

    limit = e.scalar(op.to)
    bounds = upper_bounds(op.to)
    e.strides_of[body.args[0]] = (bounds, step)
    if step.number is None:
        raise CompileError("the step of a loop must be known; the plan fixes it")
    across.place_in_cells(e, op, carried)
    known = [dim.value for dim in bounds if dim.value is not None]
    if known and min(known) <= int(step.number):
        # It runs once at most.
        e.f.when(e.f.compare("sgt", limit, ZERO), lambda: iteration(ZERO), "for")
    else:
        e.f.loop(limit, iteration, step=int(step.number), hint="for")
    for result, cell in zip(op.outs, carried, strict=True):
        e.sources[result] = _current(e, cell)


def _prepare_outside(e: KernelEmitter, loop: tile.ForOp) -> None:
    """Compute what a loop's body needs of the values before it: once, and also where
    the loop runs zero times, as what follows may need them too."""
    for op in loop.body.walk():
        for operand in op.operands:
            if operand in e.sources:
                e.prepare(operand)
    across.operands_before(e, loop)


def _carried_cells(e: KernelEmitter, op: tile.ForOp) -> list[MemorySource]:
    """Memory for the carried tiles, holding their initial values."""
    cells: list[MemorySource] = []
    for initial in op.carried:
        e.prepare(initial)
        type = tile.tile_type(initial)
        if type.rank == 0:
            element = element_type_of(initial)
            stored = memory_of(element)
            cell = MemorySource(e.f.alloca(stored), (), element, 1, is_signed(initial))
            cell.store(e, (), e.element(initial, ()))
        else:
            cell = e.scratch_tile(initial)
            e.sweep([(initial, cell)], e.extents(initial))
        cells.append(cell)
    return cells


def _current(e: KernelEmitter, cell: MemorySource) -> Source:
    return ScalarSource(cell.at(e, ())) if not cell.strides else cell


def _carry(
    e: KernelEmitter, values: list[SSAValue], cells: list[MemorySource], op: tile.ForOp
) -> None:
    """Store the next carried values, all computed before any is overwritten."""
    moved: list[tuple[SSAValue, MemorySource, MemorySource]] = []
    scalars: list[tuple[V, MemorySource]] = []
    for value, cell in zip(values, cells, strict=True):
        e.prepare(value)
        if not cell.strides:
            scalars.append((e.element(value, ()), cell))
        elif e.sources[value] is not cell:
            source = e.sources[value]
            if not isinstance(source, MemorySource):
                fresh = e.scratch_tile(value)
                e.sweep([(value, fresh)], e.extents(value))
                e.sources[value] = fresh
                source = fresh
            moved.append((value, source, cell))
    for value, _, cell in moved:
        e.sweep([(value, cell)], e.extents(value))
    for value, cell in scalars:
        cell.store(e, (), value)
