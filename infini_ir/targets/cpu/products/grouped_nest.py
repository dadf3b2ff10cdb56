"""Contraction nests as products of groups: where their operands lie, and what multiplies them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from infini_ir.dialects import tile
from infini_ir.dialects.tile.types import GROUPS
from infini_ir.targets.cpu.kernel.sources import Point
from infini_ir.targets.cpu.llvm.scalars import llvm_type
from infini_ir.targets.cpu.llvm.writer import V, integer
from infini_ir.targets.cpu.products import amx, amx_parts, contraction, grouped_lanes
from infini_ir.targets.cpu.products.grouped import (
    Depth,
    GroupedPanels,
    GroupedProduct,
    Strided,
    depth_of,
    gathered_panels,
    packed_panels,
    panels_in_turn,
)

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter
    from infini_ir.targets.cpu.products.contraction import Nest


def run(
    e: KernelEmitter, nest: Nest, finish: Callable[[Point, V], None], finish_cost: int
) -> None:
    """The code of a nest at the current program; `finish` takes the results, with so many
    scalar operations for each."""
    counts = contraction.nest_counts(e, nest)
    dims = [contraction.loop_bound(loop) for loop in nest.loops]
    depth = depth_of(e, counts, dims, e.plan.group)
    left, right = nest.lhs, nest.rhs
    pointer, strides = e.slice_address(left.view, left.offsets, left.axis_list)
    steps = [contraction.stride_of(e, left, variable) for variable in nest.variables]
    bits = "i16" if depth.group == 2 else "i8"
    a_type, b_type = tile.view_type(left.view), tile.view_type(right.view)
    rows = e.access_extents(left.view, left.offsets, left.axis_list, left.out)[:-1]
    capacity = [d.substitute(e.plan.substitution) for d in tile.tile_type(left.out).shape[:-1]]
    columns = e.access_extents(right.view, right.offsets, right.axis_list, right.out)[
        nest.column_axis
    ]
    initial = nest.outer.carried[0]
    e.prepare(initial)
    accumulator = llvm_type(tile.tile_type(nest.dot.acc).element)

    def total(point: Point, value: V) -> None:
        finish(point, _added(e, value, e.element(initial, point)))

    product = GroupedProduct(
        Strided(pointer, list(strides[:-1]), steps[:-1], steps[-1], bits),
        _right(e, nest, depth, columns, bits),
        depth,
        rows,
        capacity,
        columns,
        tile.tile_type(right.out).shape[nest.column_axis].substitute(e.plan.substitution),
        accumulator,
        (contraction.is_unsigned(a_type.element), contraction.is_unsigned(b_type.element)),
        total,
    )
    if e.plan.unit == "lanes":
        grouped_lanes.run(e, product, finish_cost)
    elif e.plan.part:
        amx_parts.run(e, product)
    else:
        amx.run(e, product)


def _added(e: KernelEmitter, value: V, initial: V) -> V:
    """What a product begins with, added at its end."""
    if initial.number == 0:
        return value
    wide = e.f.splat(initial, value.lanes)
    instruction = "fadd" if value.is_float else "add"
    return e.f.assign(f"{instruction} {value.typed}, {wide.text}", value.type, value.lanes)


def _right(e: KernelEmitter, nest: Nest, depth: Depth, columns: V, bits: str) -> GroupedPanels:
    load = nest.rhs
    view = tile.view_type(load.view)
    if view.panel_width:
        return _packed(e, nest, depth)
    pointer, strides = e.slice_address(load.view, load.offsets, load.axis_list)
    steps = [contraction.stride_of(e, load, variable) for variable in nest.variables]
    source = Strided(pointer, [strides[nest.column_axis]], steps[:-1], steps[-1], bits)
    if amx.columns_pass_once(e.plan):
        return panels_in_turn(e, source, depth)
    capacity = tile.tile_type(load.out).shape[nest.column_axis]
    return gathered_panels(e, source, depth, columns, capacity.substitute(e.plan.substitution))


def _packed(e: KernelEmitter, nest: Nest, depth: Depth) -> GroupedPanels:
    """A weight in panels, [batch.., panels, k.., groups, 16, group], from the program's first
    column on, which is a multiple of 16."""
    load = nest.rhs
    view = tile.view_type(load.view)
    panels = packed_panels(e, e.view(load.view), depth)
    axis = load.axis_list[1]
    number = e.f.udiv(e.scalar(load.offsets[axis]), integer(GROUPS))
    each = e.sizes.of((view.shape[axis] + (GROUPS - 1)) // GROUPS)
    for other in reversed(range(view.rank)):
        if load.offsets[other] not in nest.variables and other != axis:
            number = e.f.add(number, e.f.mul(e.scalar(load.offsets[other]), each))
            each = e.f.mul(each, e.sizes.of(view.shape[other]))
    panels.pointer = e.f.gep(panels.pointer, e.f.mul(number, panels.panel_stride), "i8")
    return panels
