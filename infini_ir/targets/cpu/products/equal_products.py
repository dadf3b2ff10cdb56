"""Products of one shape one after the other, as one loop around one register tile.

An algorithm by tiles (`lowering.kernels.winograd`) has a product for each point of a
transformed tile: the left factors are the results of one map, the right ones lie next to
each other along an axis of one view. Written out they would be as many copies of the same
machine code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.targets.cpu.kernel.sources import MemorySource
from infini_ir.targets.cpu.llvm.scalars import llvm_type, memory_of
from infini_ir.targets.cpu.llvm.writer import ZERO, V, integer
from infini_ir.targets.cpu.products.register_tile import Panels, Product, run
from infini_ir.utils.dtypes import item_size
from infini_ir.utils.symbolic import product

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter


@dataclass
class EqualProducts:
    """Products of all results of a map with neighbouring slices of a view."""

    dots: list[tile.DotOp]
    loads: list[tile.LoadOp]
    """Of the right factors, [k, n]: all of k, from 0 on."""
    transform: tile.MapOp
    axis: int
    """Of the view, along which the slices follow one another from 0 on."""

    @property
    def view(self) -> SSAValue:
        return self.loads[0].view


def match(first: Operation) -> EqualProducts | None:
    """The products that begin with an operation, if they are equal ones."""
    if not isinstance(first, tile.DotOp) or not isinstance(first.lhs.owner, tile.MapOp):
        return None
    dots = _following(first)
    loads = [dot.rhs.owner for dot in dots]
    transform = first.lhs.owner
    if len(dots) < 2 or tuple(dot.lhs for dot in dots) != tuple(transform.outs):
        return None
    if any(dot.acc is not first.acc or dot.transposed is not None for dot in dots):
        return None
    right = [load for load in loads if isinstance(load, tile.LoadOp)]
    if len(right) != len(dots) or not isinstance(first.acc.owner, tile.FullOp):
        return None
    axis = _counting_axis(right)
    return None if axis is None else EqualProducts(dots, right, transform, axis)


def in_kernel(kernel: tile.KernelOp) -> EqualProducts | None:
    """The first equal products of a kernel."""
    for op in kernel.body.block.ops:
        if (found := match(op)) is not None:
            return found
    return None


def _following(first: tile.DotOp) -> list[tile.DotOp]:
    """The products from one on that only loads and constants stand between."""
    dots = [first]
    op = first.next_op
    while isinstance(op, tile.DotOp | tile.LoadOp | arith.ConstantOp | tile.SizeOp):
        if isinstance(op, tile.DotOp):
            dots.append(op)
        op = op.next_op
    return dots


def _counting_axis(loads: list[tile.LoadOp]) -> int | None:
    """The axis along which loads of one view count 0, 1, 2, .., all else being equal."""
    first = loads[0]
    if len(first.axis_list) != 2 or _number(first.offsets[first.axis_list[0]]) != 0:
        return None
    axes = [axis for axis in range(len(first.offsets)) if axis not in first.axis_list]
    if len(axes) != 1:
        return None
    for number, load in enumerate(loads):
        same = all(
            load.offsets[axis] is first.offsets[axis]
            or _number(load.offsets[axis]) == _number(first.offsets[axis]) is not None
            for axis in first.axis_list
        )
        if load.view is not first.view or load.axis_list != first.axis_list or not same:
            return None
        if _number(load.offsets[axes[0]]) != number:
            return None
    return axes[0]


def _number(value: SSAValue) -> int | None:
    owner = value.owner
    if isinstance(owner, arith.ConstantOp) and isinstance(owner.value, IntegerAttr):
        return owner.value.value.data
    return None


def emit(e: KernelEmitter, group: EqualProducts) -> None:
    """All products of a group, into scratch memory."""
    first = group.dots[0]
    e.prepare(first.lhs)
    e.prepare(first.acc)
    left = e.sources[first.lhs]
    assert isinstance(left, MemorySource), "a map with several products is kept"
    results = [e.scratch_tile(dot.out) for dot in group.dots]
    for dot, memory in zip(group.dots, results, strict=True):
        e.sources[dot.out] = memory
    left_step, result_step = _distance(e, first.lhs), _distance(e, first.out)
    panels, panel_step = _panels(e, group)

    def one(point: V) -> None:
        level = e.enter()
        moved = _moved(e, left, point, left_step), _moved(e, results[0], point, result_step)
        pointer = e.f.gep(panels.pointer, e.f.mul(point, panel_step), memory_of(panels.element))
        following = e.f.gep(pointer, panel_step, memory_of(panels.element))
        described = _product(e, first, *moved, replace(panels, pointer=pointer))
        described.following = following
        run(e, described)
        e.leave(level)

    e.f.loop(integer(len(group.dots)), one, hint="point")


def _moved(e: KernelEmitter, memory: MemorySource, point: V, step: V) -> MemorySource:
    pointer = e.f.gep(memory.pointer, e.f.mul(point, step), memory_of(memory.element))
    return replace(memory, pointer=pointer)


def _product(
    e: KernelEmitter, dot: tile.DotOp, left: MemorySource, result: MemorySource, panels: Panels
) -> Product:
    """One product; rows that lie evenly in memory are one axis, whatever the tile's shape."""
    extents = e.extents(dot.lhs)
    rows = list(range(len(extents) - 1))
    counts = extents[:-1]
    if len(rows) == 2 and _even(left, extents[1]) and _even(result, extents[1]):
        rows, counts = [1], [e.f.mul(*counts)]
    written = replace(result, strides=(*(result.strides[r] for r in rows), result.strides[-1]))
    return Product(
        left.pointer,
        [left.strides[row] for row in rows],
        [left.strides[-1]],
        left.element,
        left.align,
        False,
        panels,
        [extents[-1]],
        counts,
        e.extents(dot.rhs)[1],
        llvm_type(tile.tile_type(dot.acc).element),
        lambda point: e.element(dot.acc, point),
        lambda point, value: written.store(e, point, value),
        e.plan.strip,
        e.plan.vectors,
        1,
    )


def _even(memory: MemorySource, inner: V) -> bool:
    outer, step = memory.strides[0].number, memory.strides[1].number
    known = None not in (outer, step, inner.number)
    return known and outer == int(inner.number or 0) * int(step or 0)


def _distance(e: KernelEmitter, value: SSAValue) -> V:
    """Elements from a scratch tile to the next one like it."""
    type = tile.tile_type(value)
    item = item_size(type.dtype)
    size = product(dim.substitute(e.plan.substitution) for dim in type.shape) * item
    return e.sizes.of((size + 63) // 64 * 64 // item)


def _panels(e: KernelEmitter, group: EqualProducts) -> tuple[Panels, V]:
    """The right factor of the first product, and the step to the next one's."""
    load = group.loads[0]
    view = tile.view_type(load.view)
    depth_axis, column_axis = load.axis_list
    element, align, width = llvm_type(view.element), item_size(view.dtype), view.panel_width
    if not width:
        pointer, strides = e.slice_address(load.view, load.offsets, load.axis_list)
        step = e.sizes.of(view.strides[group.axis])
        return Panels(pointer, [strides[0]], element, align, 0, ZERO, False), step
    # Packed: [points, panels, k, width]; the program's n offset is a multiple of the width.
    depth = e.sizes.of(view.shape[depth_axis] * width)
    panel = e.f.udiv(e.scalar(load.offsets[column_axis]), integer(width))
    pointer = e.f.gep(e.view(load.view), e.f.mul(panel, depth), memory_of(element))
    step = e.f.mul(depth, e.sizes.of((view.shape[column_axis] + (width - 1)) // width))
    return Panels(pointer, [integer(width)], element, align, width, depth, False), step
