"""Stores and scatters."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from xdsl.ir import Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.targets.cuda_c.keeping import uses_registers, wide_enough
from infini_ir.targets.cuda_c.layouts import Layout, Spread
from infini_ir.targets.cuda_c.placement import access_order
from infini_ir.targets.cuda_c.reductions import Combiner
from infini_ir.targets.cuda_c.scalars import NARROW
from infini_ir.targets.cuda_c.sources import At, MemorySource, ScalarSource, element_types
from infini_ir.targets.cuda_c.statements import Access
from infini_ir.targets.cuda_c.writer import KernelWriter
from infini_ir.utils.errors import CompileError


def store_group(k: KernelWriter, ops: list[Operation], index: int) -> list[tile.StoreOp]:
    """Neighbouring stores over the same points, which one loop can do."""
    first = ops[index]
    assert isinstance(first, tile.StoreOp)
    group = [first]
    for op in ops[index + 1 :]:
        if not isinstance(op, tile.StoreOp) or _domain(op) != _domain(first):
            break
        if _layout(k, op) != _layout(k, first) or op.view is first.view:
            break
        group.append(op)
    return group


def _domain(op: tile.StoreOp) -> object:
    view = tile.view_type(op.view)
    shape = [view.shape[axis] for axis in op.axis_list]
    offsets = [op.offsets[axis] for axis in op.axis_list]
    return tile.tile_type(op.value).shape, shape, offsets


def _layout(k: KernelWriter, op: tile.StoreOp) -> Layout | None:
    """How the stored elements are dealt out: as the registers are, else as memory lies."""
    layout = k.placement.layout(op.value)
    if uses_registers(k, op.value) or layout is None:
        return layout
    return Spread(k.placement.known_shape(op.value) or (), access_order(op), k.plan.lanes)


def stores(k: KernelWriter, group: Sequence[tile.StoreOp]) -> None:
    """One loop for stores over the same points."""
    first = group[0]
    targets = [k.slice_of(op.view, op.offsets, op.axis_list, op.value) for op in group]
    extents = k.access_extents(first.view, first.offsets, first.axis_list, first.value)
    layout = _layout(k, first)
    registers = any(uses_registers(k, op.value) for op in group)
    scalar = all(isinstance(k.sources[op.value], ScalarSource) for op in group)
    plain = all(op.combine.data == tile.Combine.set for op in group)
    options = {
        "shape": [k.size(d) for d in tile.tile_type(first.value).shape],
        "order": access_order(first),
    }

    def write(at: At) -> None:
        # All are computed first: a store may write what another's value is loaded from.
        results = [k.element(op.value, at) for op in group]
        for op, target, result in zip(group, targets, results, strict=True):
            _write(k, op, target, at, result)

    def body() -> None:
        for op in group:
            k.touch(Access(f"global {k.view(op.view)}", True, _owner(k, op, layout)))
        if plain and not scalar and not registers and wide_enough(layout):
            _in_two_loops(k, group, targets, layout, extents)
        else:
            k.sweep(layout, extents, write, registers=registers, **options)

    k.step(body)


def _in_two_loops(
    k: KernelWriter,
    group: Sequence[tile.StoreOp],
    targets: Sequence[MemorySource],
    layout: Layout | None,
    extents: Sequence[int | str],
) -> None:
    """All of a thread's elements are loaded before the first one is stored, since for all the
    compiler knows the store changes what is loaded next."""
    assert layout is not None
    names = []
    for op in group:
        names.append(k.fresh(f"{k.view(op.view)}_values"))
        k.line(f"{element_types(op.value)[0]} {names[-1]}[{layout.slots}];")

    def compute(at: At) -> None:
        for op, name in zip(group, names, strict=True):
            k.line(f"{name}[{at.slot}] = {k.element(op.value, at)};")

    def write(at: At) -> None:
        for op, target, name in zip(group, targets, names, strict=True):
            _write(k, op, target, at, f"{name}[{at.slot}]")

    k.sweep(layout, extents, compute, registers=True)
    k.sweep(layout, extents, write, registers=True)


def _owner(k: KernelWriter, op: tile.StoreOp, layout: Layout | None) -> Hashable:
    """Which thread writes which element of the view: known where the tile's place along its
    axes is the same whenever the store runs."""
    if not op.axis_list:
        return "the first thread"
    top = k.kernel.body.block
    places = [op.offsets[axis] for axis in op.axis_list]
    if layout is None or any(_block_of(place) is not top for place in places):
        return None
    return layout, op.axis_list, tuple(places)


def _block_of(value: SSAValue) -> object:
    return value.owner.parent if isinstance(value.owner, Operation) else value.owner


def _write(
    k: KernelWriter,
    op: tile.StoreOp | tile.ScatterOp,
    target: MemorySource,
    at: At,
    result: str,
) -> None:
    """Write an element, combined with what is there."""
    if op.combine.data != tile.Combine.set:
        combiner = Combiner(op.combine.data, tile.tile_type(op.value).element)
        text = f"{target.name}[{target.index(at.point)}]"
        old = k.local(target.type, f"{text} != 0" if target.type == "bool" else text)
        result = combiner.give(combiner.apply(combiner.read(old), combiner.read(result)))
    target.store(k, at, result)


# Scatters


def scatter(k: KernelWriter, op: tile.ScatterOp) -> None:
    """Elements at computed positions, those inside the view, in row-major order: the threads
    compute theirs together, and write one after another."""
    shape = k.placement.known_shape(op.value)
    if shape is None:
        raise CompileError(
            f"kernel '{k.name}' scatters a tile of unknown size ({op.value.type}); run "
            "tile-split-axis first"
        )
    layout = Spread(shape, tuple(range(len(shape))), k.plan.lanes)
    extents = _scatter_extents(k, op)
    type = element_types(op.value)[0]
    registers = uses_registers(k, op.value) or any(
        uses_registers(k, p) for p in op.positions if p in k.sources
    )
    place, value, inside = k.fresh("place"), k.fresh("value"), k.fresh("inside")
    view = tile.view_type(op.view)
    target = MemorySource(k.view(op.view), place, (), type)

    def first(slot: str) -> None:
        zero = (
            "false" if type == "bool" else f"convert<{type}>(0.0f)" if type in NARROW else "0"
        )
        k.line(f"bool {inside} = false;")
        k.line(f"int64_t {place} = 0;")
        k.line(f"{type} {value} = {zero};")

    def body(at: At) -> None:
        terms, conditions = [], []
        for operand, dims, stride, size in zip(
            op.positions, op.dim_lists, view.strides, view.shape, strict=True
        ):
            position = k.position(operand, at, dims)
            conditions.append(f"is_inside({position}, {k.size(size)})")
            terms.append(k.scaled_position(position, stride))
        k.line(f"{inside} = {' && '.join(conditions) or 'true'};")
        k.line(f"{place} = {' + '.join(terms) or '0'};")
        k.line(f"{value} = {k.element(op.value, at)};")

    def write() -> None:
        k.touch(Access(f"global {k.view(op.view)}", True))
        _sweep_in_turns(k, layout, extents, body, first, registers, op, target, value, inside)

    k.step(write)


def _sweep_in_turns(
    k, layout, extents, body, first, registers, op, target, value, inside
) -> None:
    head, point, slot, conditions = layout.open()
    for coordinate, extent, limit in zip(point, extents, layout.shape, strict=True):
        if extent != limit:
            conditions = [*conditions, f"{coordinate} < {extent}"]
    for text in head:
        k.line(text)
    first(slot)
    if conditions:
        k.line(f"if ({' && '.join(conditions)}) {{")
    level = k.enter()
    body(At(tuple(point), layout, slot))
    k.leave(level)
    if conditions:
        k.line("}")
    lanes = k.plan.lanes
    turns = min(lanes, max(1, _count(layout)))
    if lanes > 1 and turns > 1:
        k.line(f"for (int turn = 0; turn < {turns}; ++turn) {{")
    k.line(f"if ({inside}{' && thread == turn' if turns > 1 else ''}) {{")
    _write(k, op, target, At(()), value)
    k.line("}")
    if lanes > 1 and turns > 1:
        k.line(barrier_text(k))
        k.line("}")
    k.line("}")


def _count(layout: Spread) -> int:
    count = 1
    for size in layout.shape:
        count *= size
    return count


def barrier_text(k: KernelWriter) -> str:
    """A meeting of all threads of a program."""
    if k.plan.programs == 1 and k.plan.lanes > 1:
        return "__syncthreads();"
    return f"meet_lanes<{k.plan.lanes}>();"


def _scatter_extents(k: KernelWriter, op: tile.ScatterOp) -> list[int | str]:
    known = k.sized(op.value)
    for operand, dims in zip(op.positions, op.dim_lists, strict=True):
        if isinstance(operand.type, tile.TileType):
            for dim, extent in zip(dims, k.sized(operand), strict=True):
                known[dim] = extent if known[dim] is None else known[dim]
    capacity = [k.size(d) for d in tile.tile_type(op.value).shape]
    return [c if e is None else e for e, c in zip(known, capacity, strict=True)]
