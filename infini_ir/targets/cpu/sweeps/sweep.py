"""A sweep: one loop nest that computes values at all their points and writes them to memory.

Vectors run along the axis that lies consecutively in memory; values over windows, byte
products and transposed operands have sweeps of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from xdsl.ir import SSAValue

from infini_ir.dialects import tile
from infini_ir.targets.cpu.kernel.sources import Coordinate, MemorySource, Point
from infini_ir.targets.cpu.llvm.reductions import Combiner
from infini_ir.targets.cpu.llvm.writer import V
from infini_ir.targets.cpu.products import across
from infini_ir.targets.cpu.sweeps import byte_windows, turned_windows, window_sweeps
from infini_ir.targets.cpu.sweeps.interleaving import interleaved_axis, interleaving_sweep
from infini_ir.targets.cpu.sweeps.transposing import operand_axis, transposing_sweep

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter


def sweep(
    e: KernelEmitter,
    targets: Sequence[tuple[SSAValue, MemorySource]],
    extents: Sequence[V],
    combines: Sequence[tile.StoreOp | None] | None = None,
) -> None:
    """Compute values at every point of their extent and write each to its memory."""
    rank = len(extents)
    axis = _sweep_axis(e, targets[0], extents)
    plain = combines is None or all(combine is None for combine in combines)
    if axis is not None and rank > 1 and plain:
        other = operand_axis(e, targets, extents, axis)
        if other is not None:
            transposing_sweep(e, targets, extents, axis, other)
            return
        other = interleaved_axis(e, targets, extents, axis)
        if other is not None:
            interleaving_sweep(e, targets, extents, axis, other)
            return
        turned = turned_windows.find(e, targets, extents, axis)
        if turned is not None:
            turned_windows.sweep(e, targets, extents, axis, turned)
            return

    write = _writer(e, targets, combines)
    if axis is None:
        e.nest(extents, range(rank), [None] * rank, write)
        return
    outer = [a for a in range(rank) if a != axis]
    none: list[Coordinate | None] = [None] * rank
    products = [w for value, _ in targets for w in byte_windows.windows_behind(e, value)]

    def column(coordinate: Coordinate) -> None:
        for each in products if axis == rank - 1 else ():
            byte_windows.prepare(e, each, coordinate)
        e.nest(extents, outer, [*none[:axis], coordinate, *none[axis + 1 :]], write)

    if products:
        e.vector_loop(extents[axis], column)
        return
    windows = window_sweeps.find(e, [value for value, _ in targets], axis)
    if windows is not None:
        window_sweeps.sweep(e, windows, extents, axis, write)
        return

    def row(point: Point) -> None:
        def inner(coordinate: Coordinate) -> None:
            full = [*point]
            full[axis] = coordinate
            write(tuple(full))

        e.vector_loop(extents[axis], inner)

    e.nest(extents, outer, none, row)


def _sweep_axis(
    e: KernelEmitter, target: tuple[SSAValue, MemorySource], extents: Sequence[V]
) -> int | None:
    value, memory = target
    axis = across.axis_of(e, value)
    if axis is not None and memory.strides[axis].number == 1:
        return axis
    return e.vector_axis_of(memory.strides, extents)


def _writer(
    e: KernelEmitter,
    targets: Sequence[tuple[SSAValue, MemorySource]],
    combines: Sequence[tile.StoreOp | None] | None,
) -> Callable[[Point], None]:
    def write(point: Point) -> None:
        # All are computed first: a store may write what another's value is loaded from.
        results = [e.element(value, point) for value, _ in targets]
        for index, (value, memory) in enumerate(targets):
            result = results[index]
            combine = combines[index] if combines else None
            if combine is not None:
                old = memory.at(e, point)
                combiner = Combiner(combine.combine.data, tile.tile_type(value).element)
                result = combiner.apply(e.f, old, result)
            memory.store(e, point, result)

    return write
