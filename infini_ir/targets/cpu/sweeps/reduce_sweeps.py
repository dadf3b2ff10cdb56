"""Reductions of a tile: each lane on its own, or lanes along the reduced axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infini_ir.dialects import tile
from infini_ir.targets.cpu.kernel.sources import Coordinate, Point
from infini_ir.targets.cpu.llvm.reductions import Combiner
from infini_ir.targets.cpu.llvm.scalars import scalar_operations
from infini_ir.targets.cpu.llvm.writer import ZERO, V, integer
from infini_ir.targets.cpu.products import across
from infini_ir.targets.cpu.sweeps import byte_windows

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import Kept, KernelEmitter

UNROLL_LIMIT = 64
"""Elements of a reduction inside another loop up to which it is written out."""

CHAINS = 4
"""Partial results that a long reduction goes on with in turn, so that it does not wait for each
combination to end."""

QUICK_OPERATIONS = 6
"""Operations for an element that take less time than a combination: two begin in a cycle, one
ends after four."""


def reduce_at(e: KernelEmitter, op: tile.ReduceOp, point: Point) -> V:
    """The reduction at a point of the kept axes."""
    combiner = Combiner(op.kind.data, tile.tile_type(op.x).element)
    extents = e.extents(op.x)
    axes = op.axis_list
    kept_points = iter(point)
    full: list[Coordinate | None] = [
        None if axis in axes else next(kept_points) for axis in range(len(extents))
    ]
    if any(c is not None and c.vector for c in full):
        return _reduce_lanes(e, op, combiner, extents, full)
    return _reduce_scalar(e, op, combiner, extents, full)


def _reduce_lanes(
    e: KernelEmitter,
    op: tile.ReduceOp,
    combiner: Combiner,
    extents: list[V],
    point: list[Coordinate | None],
) -> V:
    """Each lane reduces on its own."""
    window = byte_windows.byte_window(e, op.out)
    if window is not None:
        return byte_windows.sum_at(e, window, [c for c in point if c is not None])
    axes = list(op.axis_list)
    counts = [extents[a].number for a in axes]
    total = 1
    for count in counts:
        total = total * int(count) if count is not None else UNROLL_LIMIT + 1
    neutral = e.f.splat(combiner.neutral(), e.lanes)
    if total <= UNROLL_LIMIT and across.axis_of(e, op.x) is None:
        return _written_out(e, op, combiner, extents, point, axes, neutral)
    cells = [e.f.alloca(neutral.full_type) for _ in range(CHAINS)]
    for cell in cells:
        e.f.store(neutral, cell, 64)

    def add(full: Point, cell: V) -> None:
        old = e.f.load(cell, neutral.type, e.lanes, 64)
        value = e.f.splat(_reduced_element(e, op, full, e.keeping), e.lanes)
        e.f.store(combiner.apply(e.f, old, value), cell, 64)

    last = axes[-1]

    def row(base: Point) -> None:
        def at(position: V, cell: V) -> None:
            level = e.enter()
            coordinate = Coordinate(position)
            add(tuple(coordinate if a == last else c for a, c in enumerate(base)), cell)
            e.leave(level)

        def several(position: V) -> None:
            for i, cell in enumerate(cells):
                at(e.f.add(position, integer(i)), cell)

        extent = extents[last]
        whole = _whole(e, extent, CHAINS)
        e.f.loop(whole, several, step=CHAINS, hint="chains")
        e.f.loop(extent, lambda i: at(i, cells[0]), start=whole, hint="chain")

    e.nest(extents, axes[:-1], point, row)
    return _combined(e, combiner, cells, neutral.type)


def _whole(e: KernelEmitter, extent: V, step: int) -> V:
    """The multiple of a power of two that an extent has room for."""
    if extent.number is not None:
        return integer(int(extent.number) // step * step)
    return e.f.assign(f"and i64 {extent.text}, {-step}", "i64")


def _combined(e: KernelEmitter, combiner: Combiner, cells: list[V], type: str) -> V:
    """The vectors of a power of two of cells as one."""
    found = [e.f.load(cell, type, e.lanes, 64) for cell in cells]
    while len(found) > 1:
        pairs = zip(found[::2], found[1::2], strict=True)
        found = [combiner.apply(e.f, a, b) for a, b in pairs]
    return found[0]


def _is_quick(op: tile.ReduceOp) -> bool:
    """Whether elements come faster than one chain of combinations takes them in."""
    owner = op.x.owner
    if isinstance(owner, tile.MapOp):
        return scalar_operations(owner.body.block) <= QUICK_OPERATIONS
    return isinstance(owner, tile.LoadOp)


def _written_out(
    e: KernelEmitter,
    op: tile.ReduceOp,
    combiner: Combiner,
    extents: list[V],
    point: list[Coordinate | None],
    axes: list[int],
    neutral: V,
) -> V:
    points: list[list[Coordinate | None]] = [point]
    for axis in axes:
        points = [
            [*p[:axis], Coordinate(integer(i)), *p[axis + 1 :]]
            for p in points
            for i in range(int(extents[axis].number or 0))
        ]
    total: V | None = None
    for full in points:
        filled = tuple(c for c in full if c is not None)
        value = e.f.splat(e.element(op.x, filled), e.lanes)
        total = value if total is None else combiner.apply(e.f, total, value)
    return total if total is not None else neutral


def _reduce_scalar(
    e: KernelEmitter,
    op: tile.ReduceOp,
    combiner: Combiner,
    extents: list[V],
    point: list[Coordinate | None],
) -> V:
    """Lanes along the last reduced axis, combined at the end."""
    axis = max(op.axis_list, key=lambda a: (extents[a].number != 1, a))
    outer = [a for a in op.axis_list if a != axis]
    neutral = combiner.neutral()
    wide = e.f.splat(neutral, e.lanes)
    chains = CHAINS if _is_quick(op) else 1
    cells = [e.f.alloca(wide.full_type) for _ in range(chains)]
    scalar_cell = e.f.alloca(neutral.type)
    for cell in cells:
        e.f.store(wide, cell, 64)
    e.f.store(neutral, scalar_cell, 8)
    kept = e.kept_of(op.x)
    keeping = kept is not None and kept.pending and len(op.axis_list) == len(extents)

    def row(base: Point) -> None:
        def at(coordinate: Coordinate, cell: V) -> None:
            full = tuple(coordinate if a == axis else c for a, c in enumerate(base))
            value = _reduced_element(e, op, full, kept if keeping else e.keeping)
            _accumulate(e, combiner, value, coordinate, cell, scalar_cell, wide)

        def several(position: V) -> None:
            for i, cell in enumerate(cells):
                level = e.enter()
                at(Coordinate(e.f.add(position, integer(i * e.lanes)), True), cell)
                e.leave(level)

        start = ZERO
        if chains > 1:
            start = _whole(e, extents[axis], chains * e.lanes)
            e.f.loop(start, several, step=chains * e.lanes, hint="chains")
        e.vector_loop(extents[axis], lambda c: at(c, cells[0]), start=start)

    e.nest(extents, outer, point, row)
    if keeping:
        assert isinstance(op.x.owner, tile.MapOp)
        e.settle(op.x.owner)
    lanes = combiner.across(e.f, _combined(e, combiner, cells, neutral.type))
    return combiner.apply(e.f, lanes, e.f.load(scalar_cell, neutral.type, 1, 8))


def _reduced_element(e: KernelEmitter, op: tile.ReduceOp, point: Point, kept: Kept | None) -> V:
    value = e.element(op.x, point)
    if kept is not None:
        owner = op.x.owner
        assert isinstance(owner, tile.MapOp)
        for out, memory in zip(owner.outs, kept.memory, strict=True):
            memory.store(e, point, e.element(out, point))
    return value


def _accumulate(
    e: KernelEmitter,
    combiner: Combiner,
    value: V,
    coordinate: Coordinate,
    vectors: V,
    scalars: V,
    neutral: V,
) -> None:
    if not coordinate.vector:
        old = e.f.load(scalars, neutral.type, 1, 8)
        e.f.store(combiner.apply(e.f, old, value), scalars, 8)
        return
    value = e.f.splat(value, e.lanes)
    if e.mask is not None:
        text = f"select {e.mask.typed}, {value.typed}, {neutral.typed}"
        value = e.f.assign(text, value.type, value.lanes)
    old = e.f.load(vectors, neutral.type, e.lanes, 64)
    e.f.store(combiner.apply(e.f, old, value), vectors, 64)
