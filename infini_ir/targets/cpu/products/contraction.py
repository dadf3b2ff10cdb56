"""Matrix products: loops `for k.. { dot(load, load, acc) }` as register-tiled micro-kernels.

A *strip* is a few rows by a few vectors of the result, held in registers over all of k. For
each k it loads one element of A a row (broadcast) and one panel row of B, and multiplies
and adds. What follows the product (bias, activation, residual) is computed on the registers
before they are stored. The shapes are those of Goto and van de Geijn (2008); rows of a
convolution are output pixels, whose inputs lie at constant distances.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr, IntegerType, Signedness
from xdsl.ir import Attribute, Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile.types import group_runs
from infini_ir.targets.cpu.kernel.sources import (
    MemorySource,
    Point,
    Source,
    point_key,
)
from infini_ir.targets.cpu.llvm.scalars import llvm_type, memory_of, scalar_operations
from infini_ir.targets.cpu.llvm.writer import ZERO, V, integer
from infini_ir.targets.cpu.products import computed_factor, grouped_nest, sliced_factor
from infini_ir.targets.cpu.products.partial_sums import LONGEST
from infini_ir.targets.cpu.products.register_tile import Panels, Product, accumulator_lanes, run
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import Dim, product

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter


@dataclass
class Nest:
    """A contraction as written in a kernel: loops around one dot of two loads."""

    loops: list[tile.ForOp]
    dot: tile.DotOp
    lhs: tile.LoadOp
    rhs: tile.LoadOp
    """The load of the right operand, or of what it is computed from."""
    factor: tile.MapOp | None = None
    """What computes the right operand from loads."""

    @property
    def whole(self) -> bool:
        """Whether the dot takes the whole of the innermost contracted axis."""
        return self.lhs.offsets[self.lhs.axis_list[-1]] not in self.variables

    @property
    def depth_axis(self) -> int:
        """Which axis of the right operand's view the dot contracts."""
        return self.rhs.axis_list[1 - self.column_axis]

    @property
    def outer(self) -> tile.ForOp:
        return self.loops[0]

    @property
    def variables(self) -> list[SSAValue]:
        """The contracted positions, outermost first."""
        return [loop.body.block.args[0] for loop in self.loops]

    @property
    def column_axis(self) -> int:
        """Which axis of the right tile is n."""
        return 1 if self.dot.transposed is None else 0


@dataclass
class NestSource(Source):
    """The result of a nest: not computed before the store that wants it, then in registers."""

    nest: Nest
    registers: dict[object, V] = field(default_factory=dict)

    def at(self, e: KernelEmitter, point: Point) -> V:
        return self.registers[point_key(point)]


def match(op: tile.ForOp) -> Nest | None:
    """The nest that begins at a loop, if it is one."""
    loops: list[tile.ForOp] = []
    current: Operation | None = op
    loads: dict[SSAValue, tile.LoadOp] = {}
    while isinstance(current, tile.ForOp):
        if len(current.carried) != 1 or (
            loops and current.carried[0] is not loops[-1].body.block.args[1]
        ):
            return None
        loops.append(current)
        inner: Operation | None = None
        for child in current.body.block.ops:
            if isinstance(child, tile.LoadOp):
                loads[child.out] = child
            elif isinstance(child, tile.ForOp | tile.DotOp):
                if inner is not None:
                    return None
                inner = child
            elif not isinstance(
                child, tile.YieldOp | tile.SizeOp | tile.MapOp | arith.ConstantOp
            ):
                return None
        if inner is None or tile.yielded(current.body) != (inner.results[0],):
            return None
        current = inner
    assert isinstance(current, tile.DotOp)
    lhs, rhs = loads.get(current.lhs), loads.get(current.rhs)
    if lhs is None or current.acc is not loops[-1].body.block.args[1]:
        return None
    if tile.tile_type(current.acc).rank not in (2, 3):
        return None
    if rhs is not None:
        return Nest(loops, current, lhs, rhs)
    found = computed_factor.find(current.rhs, loads)
    if found is None or current.transposed is not None:
        return None
    return Nest(loops, current, lhs, found[1], found[0])


def emit(e: KernelEmitter, nest: Nest) -> bool:
    """Take the nest on: its code is emitted with the store that uses it."""
    e.sources[nest.outer.outs[0]] = NestSource(nest)
    return True


def nest_counts(e: KernelEmitter, nest: Nest) -> list[V]:
    """How often each loop of a nest runs; their variables are 0 from here on."""
    for loop in nest.loops:
        e.scalars[loop.body.block.args[0]] = ZERO
        for child in loop.body.block.ops:
            if isinstance(child, tile.SizeOp | arith.ConstantOp):
                e._operation(child)
    counts = [e.scalar(loop.to) for loop in nest.loops]
    if nest.whole:
        counts.append(e.sizes.of(tile.view_type(nest.rhs.view).shape[nest.depth_axis]))
    return counts


def nest_product(
    e: KernelEmitter,
    nest: Nest,
    finish: Callable[[Point, V], None],
    part: tuple[V, V] | None = None,
) -> Product:
    """The product that a nest describes, at the current program; with `part`, only for so
    many positions of its one loop, from a first one on."""
    counts = nest_counts(e, nest)
    variables = nest.variables
    if part is not None:
        e.scalars[variables[0]] = part[0]
    a_pointer, a_tile_strides = e.slice_address(
        nest.lhs.view, nest.lhs.offsets, nest.lhs.axis_list
    )
    a_view, b_view = tile.view_type(nest.lhs.view), tile.view_type(nest.rhs.view)
    accumulator = tile.tile_type(nest.dot.acc)
    a_rows = list(a_tile_strides[:-1])
    rows = e.access_extents(nest.lhs.view, nest.lhs.offsets, nest.lhs.axis_list, nest.lhs.out)[
        :-1
    ]
    columns = e.access_extents(
        nest.rhs.view, nest.rhs.offsets, nest.rhs.axis_list, nest.rhs.out
    )[nest.column_axis]
    plan = e.plan
    initial = nest.outer.carried[0]
    e.prepare(initial)
    panels = _panels(e, nest, variables, counts, columns, b_view)
    following = None
    if part is not None:
        if b_view.panel_width:
            panels, following = _part_of(e, panels, part, counts[0], columns)
        counts = [part[1]]
    product = Product(
        a_pointer,
        a_rows,
        [
            *(stride_of(e, nest.lhs, variable) for variable in variables),
            *a_tile_strides[-1 : None if nest.whole else -1],
        ],
        llvm_type(a_view.element),
        max(1, item_bytes(a_view)),
        is_unsigned(a_view.element),
        panels,
        counts,
        rows,
        columns,
        llvm_type(accumulator.element),
        lambda point: e.element(initial, point),
        finish,
        plan.strip,
        plan.vectors,
        plan.panels,
        following=following,
        long=True,
        turns=_turns(e, nest) if part is None else 0,
    )
    if nest.factor is not None:
        loops = computed_factor.FactorLoops(nest, b_view.panel_group > 1)
        product.loops = sliced_factor.loops_of(e, loops, product)
    return product


def item_bytes(view: tile.ViewType) -> int:
    from infini_ir.utils.dtypes import item_size

    return item_size(view.dtype)


def is_unsigned(element: Attribute) -> bool:
    return isinstance(element, IntegerType) and (
        element.signedness.data == Signedness.UNSIGNED or element.width.data == 1
    )


def stride_of(e: KernelEmitter, load: tile.LoadOp, variable: SSAValue) -> V:
    """How far a step of a loop moves in a load's memory."""
    total = ZERO
    for offset, stride in zip(load.offsets, tile.view_type(load.view).strides, strict=True):
        if offset is variable:
            total = e.f.add(total, e.sizes.of(stride))
    return total


def _panels(
    e: KernelEmitter,
    nest: Nest,
    variables: Sequence[SSAValue],
    counts: list[V],
    columns: V,
    view: tile.ViewType,
) -> Panels:
    element, align = llvm_type(view.element), item_bytes(view)
    unsigned = is_unsigned(view.element)
    width = view.panel_width
    if not width:
        pointer, tile_strides = e.slice_address(
            nest.rhs.view, nest.rhs.offsets, nest.rhs.axis_list
        )
        strides = [stride_of(e, nest.rhs, variable) for variable in variables]
        if nest.whole:
            strides.append(tile_strides[1 - nest.column_axis])
        step = tile_strides[nest.column_axis]
        if step.number != 1:
            source = MemorySource(pointer, (*strides, step), element, align)
            pointer, strides = _gathered(e, nest, source, counts, columns)
        return Panels(pointer, strides, element, align, 0, ZERO, unsigned)
    # Packed: [batch.., panels, k.., width]; the program's n offset is a multiple of the width.
    axes = nest.rhs.axis_list
    depth = integer(width)
    strides: list[V] = []
    if view.panel_group > 1:
        # Elements of 4 bits, eight in the 32 bits of a lane.
        element, align = "i32", 4
        size = int(counts[-1].number or 0)
        counts = [*counts[:-1], integer(math.prod(group_runs(size, view.panel_group)))]
    for count in reversed(counts):
        strides.insert(0, depth)
        depth = e.f.mul(depth, count)
    n_offset = e.scalar(nest.rhs.offsets[axes[1]])
    panel = e.f.udiv(n_offset, integer(width))
    index = e.f.mul(panel, depth)
    batch_stride = e.f.mul(depth, e.sizes.of((view.shape[axes[1]] + (width - 1)) // width))
    outside = [
        axis
        for axis, offset in enumerate(nest.rhs.offsets)
        if axis != axes[1] and offset not in variables and not (nest.whole and axis == axes[0])
    ]
    if outside != list(range(view.panel_batch)):
        raise CompileError(f"{view} has other batch axes than the product that reads it")
    for axis in reversed(outside):
        index = e.f.add(index, e.f.mul(e.scalar(nest.rhs.offsets[axis]), batch_stride))
        batch_stride = e.f.mul(batch_stride, e.sizes.of(view.shape[axis]))
    pointer = e.f.gep(e.view(nest.rhs.view), index, memory_of(element))
    count = product(view.shape).value
    size = None if count is None else count * item_bytes(view)
    return Panels(pointer, strides, element, align, width, depth, unsigned, size)


def _part_of(
    e: KernelEmitter, panels: Panels, part: tuple[V, V], count: V, columns: V
) -> tuple[Panels, V]:
    """Packed panels from some k on, and where the panel lies that is read after the last of
    them: the first one's next part, or after the last part the next program's first."""
    memory, stride = memory_of(panels.element), panels.k_strides[0]
    first = e.f.gep(panels.pointer, e.f.mul(part[0], stride), memory)
    end = e.f.add(part[0], part[1])
    number = e.f.udiv(e.f.add(columns, integer(panels.width - 1)), integer(panels.width))
    beyond = e.f.mul(number, panels.panel_stride)
    step = e.f.select(e.f.compare("slt", end, count), e.f.mul(end, stride), beyond)
    return replace(panels, pointer=first), e.f.gep(panels.pointer, step, memory)


def _gathered(
    e: KernelEmitter, nest: Nest, source: MemorySource, counts: list[V], columns: V
) -> tuple[V, list[V]]:
    """A right operand whose n is not contiguous, copied to scratch as [k.., n]."""
    type = tile.tile_type(nest.rhs.out)
    width = type.shape[nest.column_axis].substitute(e.plan.substitution)
    sizes = [loop_bound(loop) for loop in nest.loops]
    if nest.whole:
        sizes.append(tile.view_type(nest.rhs.view).shape[nest.depth_axis])
    pointer = e.scratch(product([*sizes, width]) * item_bytes(tile.view_type(nest.rhs.view)))
    strides: list[V] = []
    step = e.sizes.of(width)
    for count in reversed(counts):
        strides.insert(0, step)
        step = e.f.mul(step, count)
    target = MemorySource(pointer, (*strides, integer(1)), source.element, source.align)
    e.copy(source, target, [*counts, columns])
    return pointer, strides


def loop_bound(loop: tile.ForOp) -> Dim:
    owner = loop.to.owner
    if isinstance(owner, tile.SizeOp):
        return owner.dim
    if isinstance(owner, arith.ConstantOp) and isinstance(owner.value, IntegerAttr):
        return Dim.of(owner.value.value.data)
    raise CompileError("the bound of a contraction loop is neither a size nor a constant")


def pending_nest(e: KernelEmitter, value: SSAValue) -> NestSource | None:
    """The one nest, not yet computed, that a stored value is an elementwise function of."""
    found: list[NestSource] = []

    def visit(value: SSAValue) -> bool:
        source = e.sources.get(value)
        if isinstance(source, NestSource):
            if source not in found:
                found.append(source)
            return True
        owner = value.owner
        if isinstance(owner, tile.MapOp) and owner not in e.kept:
            rank = tile.tile_type(owner.outs[0]).rank
            for operand, dims in zip(owner.inputs, owner.dim_lists, strict=True):
                if isinstance(operand.type, tile.TileType):
                    before = len(found)
                    if not visit(operand):
                        return False
                    if len(found) > before and dims != tuple(range(rank)):
                        return False
        elif isinstance(owner, tile.ReduceOp):
            return not _depends_on_nest(e, owner.x)
        return True

    return found[0] if visit(value) and len(found) == 1 else None


def _depends_on_nest(e: KernelEmitter, value: SSAValue) -> bool:
    if isinstance(e.sources.get(value), NestSource):
        return True
    owner = value.owner
    if isinstance(owner, tile.MapOp | tile.ReduceOp):
        return any(
            _depends_on_nest(e, operand)
            for operand in owner.operands
            if isinstance(operand.type, tile.TileType)
        )
    return False


def emit_with_stores(
    e: KernelEmitter, source: NestSource, targets: Sequence[tuple[SSAValue, MemorySource]]
) -> None:
    """Compute a nest strip by strip, storing what follows from it."""

    def finish(point: Point, value: V) -> None:
        source.registers[point_key(point)] = value
        # All are computed first: a store may write what another's value is loaded from.
        results = [e.element(target, point) for target, _ in targets]
        for result, (_, memory) in zip(results, targets, strict=True):
            memory.store(e, point, result)

    def expect(point: Point) -> None:
        for _, memory in targets:
            if memory.strides[-1].number == 1:
                address = memory.address(e, point, memory_of(memory.element))
                e.f.prefetch(address, level=1, writing=True)

    level = e.enter()
    cost = sum(_finish_cost(e, target) for target, _ in targets)
    if e.plan.unit:
        grouped_nest.run(e, source.nest, finish, cost)
    else:
        described = nest_product(e, source.nest, finish)
        described.expect = expect
        described.finish_cost = cost
        run(e, described)
    e.leave(level)
    source.registers.clear()


def _finish_cost(e: KernelEmitter, value: SSAValue) -> int:
    owner = value.owner
    if not isinstance(owner, tile.MapOp) or isinstance(e.sources.get(value), MemorySource):
        return 0
    own = scalar_operations(owner.body.block)
    tiles = [v for v in owner.inputs if isinstance(v.type, tile.TileType)]
    return own + sum(_finish_cost(e, operand) for operand in tiles)


def materialize(e: KernelEmitter, value: SSAValue, source: NestSource) -> None:
    """Compute a nest into scratch memory."""
    memory = e.scratch_tile(value)
    if in_parts(e, source.nest):
        _accumulate(e, source.nest, value, memory)
    else:
        emit_with_stores(e, source, [(value, memory)])
    e.sources[value] = memory


def in_parts(e: KernelEmitter, nest: Nest) -> bool:
    """Whether a program does the contracted axis in parts, so that what a part reads of both
    operands stays in the L2 cache. Sums of parts are kept in scratch memory."""
    return e.plan.outer == "parts" and _divided(e, nest)


def _divided(e: KernelEmitter, nest: Nest) -> bool:
    """Whether the plan has the contracted axis done in parts."""
    plain = not nest.whole and nest.factor is None and not e.plan.unit
    if not plain or len(nest.loops) != 1 or "BK" not in e.plan.parameters:
        return False
    view, depth = tile.view_type(nest.rhs.view), loop_bound(nest.outer).value
    unit = view.panel_width or view.strides[nest.rhs.axis_list[nest.column_axis]].value == 1
    return bool(unit) and depth is not None and e.plan.parameters["BK"] < depth


def _turns(e: KernelEmitter, nest: Nest) -> int:
    """Steps of k that strips take by turns, at most those that a register sums; 0: all."""
    return min(LONGEST, e.plan.parameters["BK"]) if _divided(e, nest) else 0


def _accumulate(e: KernelEmitter, nest: Nest, value: SSAValue, memory: MemorySource) -> None:
    """Compute a nest into memory, part by part of its contracted axis."""
    initial, size = nest.outer.carried[0], e.plan.parameters["BK"]
    depth = loop_bound(nest.outer).value
    assert depth is not None
    e.prepare(initial)
    e.sweep([(initial, memory)], e.extents(value))
    type = llvm_type(tile.tile_type(value).element)
    zero = V("zeroinitializer", type, accumulator_lanes(e, type))

    def finish(point: Point, part: V) -> None:
        old, prefix = memory.at(e, point), "f" if part.is_float else ""
        kind = part.full_type
        total = e.f.assign(f"{prefix}add {kind} {old.text}, {part.text}", type, part.lanes)
        memory.store(e, point, total)

    def add(start: V) -> None:
        level = e.enter()
        count = integer(size)
        if depth % size:
            count = e.f.min(count, e.f.sub(integer(depth), start))
        described = nest_product(e, nest, finish, (start, count))
        described.initial = lambda point: zero
        run(e, described)
        e.leave(level)

    e.f.loop(integer(depth), add, step=size, hint="part")


def emit_dot(e: KernelEmitter, op: tile.DotOp) -> None:
    """A product of tiles that is not a plain nest: operands in memory, result in scratch."""
    lhs = in_memory(e, op.lhs)
    rhs = in_memory(e, op.rhs, transposed=op.transposed is not None)
    e.prepare(op.acc)
    memory = e.scratch_tile(op.out)
    lhs_extents, rhs_extents = e.extents(op.lhs), e.extents(op.rhs)
    if op.transposed is not None:
        rhs_extents.reverse()

    def finish(point: Point, value: V) -> None:
        memory.store(e, point, value)

    product = Product(
        lhs.pointer,
        list(lhs.strides[:-1]),
        [lhs.strides[-1]],
        lhs.element,
        lhs.align,
        is_unsigned(tile.tile_type(op.lhs).element),
        Panels(
            rhs.pointer,
            [rhs.strides[0]],
            rhs.element,
            rhs.align,
            0,
            ZERO,
            is_unsigned(tile.tile_type(op.rhs).element),
        ),
        [lhs_extents[-1]],
        lhs_extents[:-1],
        rhs_extents[1],
        llvm_type(tile.tile_type(op.acc).element),
        lambda point: e.element(op.acc, point),
        finish,
        e.plan.strip,
        e.plan.vectors,
        1,
    )
    level = e.enter()
    run(e, product)
    e.leave(level)
    e.sources[op.out] = memory


def in_memory(e: KernelEmitter, value: SSAValue, *, transposed: bool = False) -> MemorySource:
    """A tile as memory with stride 1 along its last axis (its first, when transposed, which
    the result then has last)."""
    e.prepare(value)
    source = e.sources[value]
    if (
        isinstance(source, MemorySource)
        and not transposed
        and (source.strides[-1].number == 1 or len(source.strides) > 2)
    ):
        return source
    if isinstance(source, MemorySource) and transposed and unit_rows(source):
        return MemorySource(source.pointer, source.strides[::-1], source.element, source.align)
    memory = e.scratch_tile(value)
    extents = e.extents(value)
    if not transposed:
        e.sweep([(value, memory)], extents)
        return memory
    shape = [d.substitute(e.plan.substitution) for d in tile.tile_type(value).shape]
    column = MemorySource(
        memory.pointer, (integer(1), e.sizes.of(shape[0])), memory.element, memory.align
    )
    e.sweep([(value, column)], extents)
    return MemorySource(
        memory.pointer, (e.sizes.of(shape[0]), integer(1)), memory.element, memory.align
    )


def unit_rows(source: MemorySource) -> bool:
    """Whether neighbours along the first axis are neighbours in memory."""
    return bool(source.strides) and source.strides[0].number == 1
