"""Scattered stores: a place in memory for every element of a tile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infini_ir.dialects import tile
from infini_ir.targets.cpu.kernel import overwriting
from infini_ir.targets.cpu.kernel.sources import MemorySource, Point, element_type_of, is_signed
from infini_ir.targets.cpu.llvm.reductions import Combiner
from infini_ir.targets.cpu.llvm.scalars import stored_type
from infini_ir.targets.cpu.llvm.writer import ZERO, V
from infini_ir.utils import dtypes

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter

ONE_BIT = V("true", "i1")


def emit_scatter(e: KernelEmitter, op: tile.ScatterOp) -> None:
    """Elements one by one, in row-major order, those inside the view."""
    overwriting.keep_before(e, [op])
    e.prepare(op.value)
    memory = tile.view_type(op.view)
    strides = [e.sizes.of(d) for d in memory.strides]
    limits = [e.sizes.of(d) for d in memory.shape]
    item = dtypes.item_size(memory.dtype)
    extents = e.extents(op.value)

    def write(point: Point) -> None:
        positions = [
            e.position(operand, dims, point).value
            for operand, dims in zip(op.positions, op.dim_lists, strict=True)
        ]
        inside = ONE_BIT
        index = ZERO
        for position, stride, limit in zip(positions, strides, limits, strict=True):
            fits = e.f.assign(f"icmp ult i64 {position.text}, {limit.text}", "i1")
            inside = e.f.assign(f"and i1 {inside.text}, {fits.text}", "i1")
            index = e.f.add(index, e.f.mul(position, stride))
        pointer = e.f.gep(e.view(op.view), index, stored_type(memory.element))
        cell = MemorySource(pointer, (), element_type_of(op.value), item, is_signed(op.value))
        e.f.when(inside, lambda: _combine_at(e, op, cell, point), "scatter")

    e.nest(extents, range(len(extents)), [None] * len(extents), write)


def _combine_at(e: KernelEmitter, op: tile.ScatterOp, cell: MemorySource, point: Point) -> None:
    level = e.enter()
    value = e.element(op.value, point)
    if op.combine.data != tile.Combine.set:
        combiner = Combiner(op.combine.data, tile.tile_type(op.value).element)
        value = combiner.apply(e.f, cell.at(e, ()), value)
    cell.store(e, (), value)
    e.leave(level)
