"""One tile kernel as one LLVM function.

    void kernel(ptr view0, ..., ptr symbols, ptr scratch, i64 begin, i64 end)

runs the programs `begin` to `end` of the grid, numbered row-major. Inside a program the
operations become *sweeps*: one loop nest for each store, each reduction to a scalar and each
value worth keeping; whatever else is computed inside the nest that needs it. Contraction
loops have a generator of their own (`contraction`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from xdsl.dialects import arith
from xdsl.ir import Block, Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.targets.cpu.kernel import overwriting
from infini_ir.targets.cpu.kernel.carried_loops import emit_for
from infini_ir.targets.cpu.kernel.loops import LoopWriter
from infini_ir.targets.cpu.kernel.sizes import Sizes
from infini_ir.targets.cpu.kernel.sources import (
    Coordinate,
    GatherSource,
    MapSource,
    MemorySource,
    Point,
    ReduceSource,
    ScalarSource,
    Source,
    element_type_of,
    is_signed,
)
from infini_ir.targets.cpu.llvm.scalars import (
    emit_scalar,
    llvm_type,
    scalar_operations,
    stored_type,
)
from infini_ir.targets.cpu.llvm.writer import ONE, ZERO, Function, Module, V, integer
from infini_ir.targets.cpu.plans.plan import Plan
from infini_ir.targets.cpu.products import (
    across,
    amx,
    amx_across,
    amx_weights,
    contraction,
    equal_products,
    few_rows,
)
from infini_ir.targets.cpu.products.amx_operands import LeftTiles, Pairs
from infini_ir.targets.cpu.sweeps.reduce_sweeps import reduce_at
from infini_ir.targets.cpu.sweeps.scans import emit_scan
from infini_ir.targets.cpu.sweeps.scatters import emit_scatter
from infini_ir.targets.cpu.sweeps.sweep import sweep
from infini_ir.utils import dtypes
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import Dim, product

KEEP_COST = 12
"""Scalar operations from which a value with several users is computed once and kept."""


class Position(NamedTuple):
    """An index of a gather: `consecutive` lanes follow the value by 0, 1, 2, ..."""

    value: V
    consecutive: bool = False


@dataclass
class Kept:
    """A map whose results are kept in scratch memory; pending until a sweep computes them."""

    memory: list[MemorySource]
    pending: bool = True


@dataclass
class KernelEmitter(LoopWriter):
    """Writes one kernel."""

    kernel: tile.KernelOp
    module: Module
    plan: Plan
    symbol_index: dict[str, int]
    sizes: Sizes = field(init=False)
    sources: dict[SSAValue, Source] = field(default_factory=dict)
    scalars: dict[SSAValue, V] = field(default_factory=dict)
    kept: dict[Operation, Kept] = field(default_factory=dict)
    strides_of: dict[SSAValue, tuple[list[Dim], V]] = field(default_factory=dict)
    """Loop and grid offsets: (bounds they stay below, step), to know where edges cannot be."""
    operands: dict[SSAValue, MemorySource] = field(default_factory=dict)
    """Copies that were made of operands of products."""
    pairs: dict[SSAValue, Pairs] = field(default_factory=dict)
    """Left factors of products across on the matrix unit."""
    lines: dict[SSAValue, LeftTiles] = field(default_factory=dict)
    """Right factors of products across on the matrix unit that were made before their loop."""
    tile_shapes: tuple[V, ...] = ()
    """Configurations of the matrix unit: tiles of 16 rows, and some with fewer."""
    cells: dict[SSAValue, MemorySource] = field(default_factory=dict)
    """Where products are written that a loop carries."""
    deferred: dict[tile.MapOp, tile.DotOp] = field(default_factory=dict)
    """Products that are computed together with the map that follows them."""
    keeping: Kept | None = None
    """The map that the reduction being computed writes to its memory on the way."""
    loaded: dict[SSAValue, list[SSAValue]] = field(default_factory=dict)
    """Tiles that were loaded from each view and are read from it when they are needed."""
    emitted: set[Operation] = field(default_factory=set)
    scratch_bytes: Dim = field(default_factory=lambda: Dim.of(0))

    # The function

    def emit(self) -> None:
        """Write the whole function into the module."""
        self.lanes = self.features.vector_bytes // 4
        name = self.kernel.sym_name.data
        views = [f"ptr %view{i}" for i in range(len(self.kernel.views))]
        arguments = ", ".join(
            [*views, "ptr %symbols", "ptr %scratch", "i64 %begin", "i64 %end"]
        )
        self.f = self.module.function(f"define hidden void @{name}({arguments})")
        self.sizes = Sizes(self.f, self.symbol_index, self.plan.parameters)
        self.sizes.prepare(self.kernel)
        steps = [self.sizes.of(d) for d in self.kernel.steps.data]
        bounds = [self.sizes.of(d) for d in self.kernel.bounds.data]
        counts = [ceil_divide(self.f, b, s) for b, s in zip(bounds, steps, strict=True)]
        if self.plan.unit == "amx" and self.plan.across:
            amx_across.configure(self)
        self.f.loop(
            V("%end", "i64"),
            lambda i: self._program(i, counts, steps),
            start=V("%begin", "i64"),
            hint="program",
        )
        if self.plan.unit == "amx":
            amx.release(self.f)
        self.f.emit("ret void")

    def _program(self, number: V, counts: list[V], steps: list[V]) -> None:
        with_scope = self.enter()
        rest = number
        order = self.plan.order or tuple(range(len(counts)))
        for axis in reversed(order):
            count = counts[axis]
            if count.number == 1:
                position = ZERO
            elif axis == order[0]:
                position = rest
            else:
                quotient = self.f.udiv(rest, count)
                position = self.f.sub(rest, self.f.mul(quotient, count))
                rest = quotient
            if self.plan.paired and axis == len(counts) - 1 and count.number != 1:
                position = self._paired(position, count)
            offset = self.kernel.offsets[axis]
            self.scalars[offset] = self.f.mul(position, steps[axis])
            self.strides_of[offset] = ([self.kernel.bounds.data[axis]], steps[axis])
        self.block(self.kernel.body.block)
        self.leave(with_scope)

    def _paired(self, position: V, count: V) -> V:
        """0, the last, 1, the last but one, ...: neighbours have the same work together."""
        half = self.f.udiv(position, integer(2))
        other = self.f.sub(self.f.sub(count, ONE), half)
        odd = self.f.assign(f"trunc i64 {position.text} to i1", "i1")
        return self.f.assign(f"select i1 {odd.text}, i64 {other.text}, i64 {half.text}", "i64")

    # Values

    def scalar(self, value: SSAValue) -> V:
        """A scalar of the kernel body (an index, or an element read)."""
        known = self.scalars.get(value)
        if known is None:
            raise CompileError(
                f"kernel @{self.kernel.sym_name.data} uses a scalar before its definition"
            )
        return known

    def element(self, value: SSAValue, point: Point) -> V:
        return self.sources[value].at(self, point)

    def lanes_of(self, position: Position) -> V:
        value = self.f.splat(position.value, self.lanes)
        return (
            self.add_vectors(value, self.f.lane_numbers(self.lanes))
            if position.consecutive
            else value
        )

    def position(self, operand: SSAValue, dims: Sequence[int], point: Point) -> Position:
        """An index operand of a gather or scatter as an i64."""
        if operand in self.scalars:
            return Position(self._as_i64(self.scalar(operand)))
        point = tuple(point[d] for d in dims)
        unsigned = not is_signed(operand)
        consecutive = self._consecutive(operand, point, unsigned=unsigned)
        if consecutive is not None:
            return Position(consecutive, True)
        return Position(self._as_i64(self.element(operand, point), unsigned=unsigned))

    def _consecutive(self, operand: SSAValue, point: Point, *, unsigned: bool) -> V | None:
        """For a map that is just `offset + coord` of the vector axis: its first lane."""
        owner = operand.owner
        if not isinstance(owner, tile.MapOp) or not any(c.vector for c in point):
            return None
        ops = list(owner.body.block.ops)
        coords = [op for op in ops if isinstance(op, tile.CoordOp)]
        simple = all(
            isinstance(op, tile.CoordOp | arith.AddiOp | arith.IndexCastOp | tile.YieldOp)
            for op in ops
        )
        if (
            not simple
            or len(coords) != 1
            or any(isinstance(v.type, tile.TileType) for v in owner.inputs)
        ):
            return None
        if not point[coords[0].axis.value.data].vector or owner.results[0] is not operand:
            return None
        first = tuple(Coordinate(c.position) for c in point)
        mask, self.mask = self.mask, None
        value = self._as_i64(MapSource(owner, 0).at(self, first), unsigned=unsigned)
        self.mask = mask
        return value

    def _as_i64(self, value: V, *, unsigned: bool = False) -> V:
        if value.type == "i64":
            return value
        wide = "i64" if value.lanes == 1 else f"<{value.lanes} x i64>"
        extend = "zext" if unsigned else "sext"
        return self.f.assign(f"{extend} {value.typed} to {wide}", "i64", value.lanes)

    # Extents

    def extents(self, value: SSAValue) -> list[V]:
        """How large a tile's value is: its capacity where nothing says otherwise."""
        capacity = [self.sizes.of(d) for d in tile.tile_type(value).shape]
        known = self._known_extents(value)
        return [c if k is None else k for k, c in zip(known, capacity, strict=True)]

    def _known_extents(self, value: SSAValue) -> list[V | None]:
        op = value.owner
        rank = tile.tile_type(value).rank
        if isinstance(op, tile.LoadOp):
            return list(self.access_extents(op.view, op.offsets, op.axis_list, value))
        if isinstance(op, tile.MapOp | tile.GatherOp):
            operands = op.inputs if isinstance(op, tile.MapOp) else op.positions
            return self._merged(zip(operands, op.dim_lists, strict=True), rank)
        if isinstance(op, tile.ReduceOp):
            inner = self._known_extents(op.x)
            return [e for axis, e in enumerate(inner) if axis not in op.axis_list]
        if isinstance(op, tile.ScanOp):
            return self._known_extents(op.x)
        if isinstance(op, tile.DotOp):
            right = self._known_extents(op.rhs)
            return [*self._known_extents(op.lhs)[:-1], right[1 if op.transposed is None else 0]]
        if isinstance(op, tile.ForOp):
            index = next(i for i, result in enumerate(op.results) if result is value)
            return self._known_extents(op.carried[index])
        return [None] * rank

    def _merged(self, operands: object, rank: int) -> list[V | None]:
        merged: list[V | None] = [None] * rank
        for operand, dims in operands:  # pyright: ignore[reportGeneralTypeIssues]
            if isinstance(operand.type, tile.TileType):
                for dim, extent in zip(dims, self._known_extents(operand), strict=True):
                    if merged[dim] is None:
                        merged[dim] = extent
        return merged

    def access_extents(
        self, view: SSAValue, offsets: Sequence[SSAValue], axes: Sequence[int], value: SSAValue
    ) -> list[V]:
        """The extent of a slice: what its capacity leaves of the view from the offset on."""
        memory, result = tile.view_type(view), []
        for axis, capacity in zip(axes, tile.tile_type(value).shape, strict=True):
            result.append(self._extent(memory.shape[axis], offsets[axis], capacity))
        return result

    def _extent(self, size: Dim, offset: SSAValue, capacity: Dim) -> V:
        limit, total = self.sizes.of(capacity), self.sizes.of(size)
        start = self.scalar(offset)
        if start.number == 0:
            return total if capacity is size else self.f.min(limit, total)
        bound = self.strides_of.get(offset)
        below = bound is not None and any(dim is size for dim in bound[0])
        if bound is not None and below and bound[1].text == limit.text:
            exact = (
                total.number is not None
                and limit.number
                and int(total.number) % int(limit.number) == 0
            )
            if exact or limit.number == 1:
                return limit
        key = ("extent", str(size), start.text, str(capacity))
        known = self.remembered(key)
        if known is None:
            known = (self.f.min(limit, self.f.sub(total, start)),)
            self.remember(key, known)
        return known[0]

    # The body of a program

    def block(self, block: Block) -> None:
        """Emit the operations of a program or a loop body, in order."""
        ops = list(block.ops)
        index = 0
        while index < len(ops):
            op = ops[index]
            if isinstance(op, tile.StoreOp):
                group = self._store_group(ops, index)
                self._stores(group)
                self.emitted.update(group)
                index += len(group)
                continue
            if (products := equal_products.match(op)) is not None:
                last = ops.index(products.dots[-1], index)
                for between in ops[index:last]:
                    if not isinstance(between, tile.DotOp):
                        self._operation(between)
                equal_products.emit(self, products)
                self.emitted.update(ops[index : last + 1])
                index = last + 1
                continue
            self._operation(op)
            self.emitted.add(op)
            index += 1

    def _operation(self, op: Operation) -> None:
        handler = _HANDLERS.get(op.__class__)
        if handler is not None:
            handler(self, op)
        elif not isinstance(op, tile.YieldOp):
            operands = [self.scalar(operand) for operand in op.operands]
            self.scalars[op.results[0]] = emit_scalar(self.f, op, operands)

    def _load(self, op: tile.LoadOp) -> None:
        pointer, strides = self.slice_address(op.view, op.offsets, op.axis_list)
        item = dtypes.item_size(tile.view_type(op.view).dtype)
        source = MemorySource(pointer, strides, element_type_of(op.out), item)
        if not op.axis_list:
            self.sources[op.out] = ScalarSource(source.at(self, ()))
            return
        self.sources[op.out] = source
        self.loaded.setdefault(op.view, []).append(op.out)

    def slice_address(
        self, view: SSAValue, offsets: Sequence[SSAValue], axes: Sequence[int]
    ) -> tuple[V, tuple[V, ...]]:
        """Where a slice begins, and the strides of the listed axes."""
        memory = tile.view_type(view)
        strides = [self.sizes.of(d) for d in memory.strides]
        index = ZERO
        for offset, stride in zip(offsets, strides, strict=True):
            index = self.f.add(index, self.f.mul(self.scalar(offset), stride))
        pointer = self.f.gep(self.view(view), index, stored_type(memory.element))
        return pointer, tuple(strides[axis] for axis in axes)

    def view(self, view: SSAValue) -> V:
        return V(f"%view{next(i for i, v in enumerate(self.kernel.views) if v is view)}", "ptr")

    def _gather(self, op: tile.GatherOp) -> None:
        memory = tile.view_type(op.view)
        strides = tuple(self.sizes.of(d) for d in memory.strides)
        item = dtypes.item_size(memory.dtype)
        source = GatherSource(op, self.view(op.view), strides, element_type_of(op.out), item)
        self.sources[op.out] = source
        self.loaded.setdefault(op.view, []).append(op.out)

    def _full(self, op: tile.FullOp) -> None:
        self.sources[op.out] = ScalarSource(self.scalar(op.scalar))

    def _open(self, op: tile.OpenOp) -> None:
        self.sources[op.out] = self.sources[op.x]

    def make_sources(self, op: tile.MapOp) -> None:
        """The results of a map are computed where they are needed."""
        for index, out in enumerate(op.outs):
            self.sources[out] = MapSource(op, index)

    def _map(self, op: tile.MapOp) -> None:
        product = self.deferred.pop(op, None)
        if product is not None:
            across.emit(self, product, op)
            return
        self.make_sources(op)
        if self.plan.unit == "amx" and self.plan.across:
            across.prepare_operands(self, op)
        rank = tile.tile_type(op.outs[0]).rank
        if rank == 0:
            for out in op.outs:
                self.sources[out] = ScalarSource(self.element(out, ()))
        elif self._worth_keeping(op):
            self.kept[op] = Kept([self.scratch_tile(out) for out in op.outs])

    def _worth_keeping(self, op: tile.MapOp) -> bool:
        users = {use.operation for out in op.outs for use in out.uses}
        if len(users) < 2 or all(isinstance(user, tile.StoreOp) for user in users):
            return False
        if any(amx_weights.rounding_of(self, out) is not None for out in op.outs):
            return False
        costly = scalar_operations(op.body.block)
        feeds_dot = any(isinstance(user, tile.DotOp) for user in users)
        return costly > KEEP_COST or feeds_dot

    def scratch_tile(self, value: SSAValue) -> MemorySource:
        """Scratch memory for a tile at its full capacity: row-major, but for an axis that lies
        in lanes, which comes last."""
        type = tile.tile_type(value)
        shape = [d.substitute(self.plan.substitution) for d in type.shape]
        pointer = self.scratch(product(shape) * dtypes.item_size(type.dtype))
        axis = across.axis_of(self, value)
        order = list(range(len(shape)))
        if axis is not None:
            order = [*(i for i in order if i != axis), axis]
        dense = tile.dense_strides([shape[i] for i in order])
        steps = dict(zip(order, dense, strict=True))
        strides = tuple(self.sizes.of(steps[i]) for i in range(len(shape)))
        item = dtypes.item_size(type.dtype)
        return MemorySource(pointer, strides, element_type_of(value), item, is_signed(value))

    def scratch(self, size: Dim) -> V:
        """Some bytes of this worker's scratch memory, 64-byte aligned."""
        begin = self.sizes.of(self.scratch_bytes)
        pointer = self.f.assign(f"getelementptr i8, ptr %scratch, i64 {begin.text}", "ptr")
        self.scratch_bytes = self.scratch_bytes + (size + 63) // 64 * 64
        return pointer

    def _reduce(self, op: tile.ReduceOp) -> None:
        if tile.tile_type(op.out).rank == 0:
            self.prepare(op.x, but=self.kept_of(op.x))
            self.sources[op.out] = ScalarSource(reduce_at(self, op, ()))
            return
        if amx_weights.sum_and_round(self, op):
            return
        self.sources[op.out] = ReduceSource(op)
        if not self._reduces_in_place(op):
            kept = self.kept_of(op.x)
            if kept is not None and not (kept.pending and self._covers_lanes(op)):
                kept = None
            self.prepare(op.x, but=kept)
            memory = self.scratch_tile(op.out)
            self.keeping = kept
            self.sweep([(op.out, memory)], self.extents(op.out))
            self.keeping = None
            if kept is not None:
                assert isinstance(op.x.owner, tile.MapOp)
                self.settle(op.x.owner)
            self.sources[op.out] = memory

    def _covers_lanes(self, op: tile.ReduceOp) -> bool:
        """Whether lanes run along an axis that a reduction leaves: then it comes past every
        element once, in the order of memory."""
        axis = across.axis_of(self, op.x)
        return axis is not None and axis not in op.axis_list

    def reduced(self, op: tile.ReduceOp, point: Point) -> V:
        """A reduction at a point of the kept axes."""
        return reduce_at(self, op, point)

    def _reduces_in_place(self, op: tile.ReduceOp) -> bool:
        """Whether the one user needs each reduced element exactly once."""
        users = [use.operation for use in op.out.uses]
        if len(users) != 1:
            return False
        if isinstance(users[0], tile.StoreOp):
            return True
        if not isinstance(users[0], tile.MapOp):
            return False
        rank = tile.tile_type(users[0].outs[0]).rank
        consumers = [use.operation for out in users[0].outs for use in out.uses]
        covers = all(
            len(dims) == rank
            for value, dims in zip(users[0].inputs, users[0].dim_lists, strict=True)
            if value is op.out
        )
        return (
            covers
            and all(isinstance(c, tile.StoreOp) for c in consumers)
            and len(consumers) == 1
        )

    # Kept values

    def kept_of(self, value: SSAValue) -> Kept | None:
        return self.kept.get(value.owner) if isinstance(value.owner, tile.MapOp) else None

    def prepare(self, value: SSAValue, but: Kept | None = None) -> None:
        """Compute the pending values (kept maps, contractions) that a sweep needs."""
        source = self.sources.get(value)
        if isinstance(source, contraction.NestSource):
            contraction.materialize(self, value, source)
            return
        op = value.owner
        if not isinstance(op, Operation):
            return
        if isinstance(op, tile.OpenOp):
            self.prepare(op.x)
            self.sources[value] = self.sources[op.x]
            return
        kept = self.kept.get(op)
        if isinstance(op, tile.MapOp | tile.ReduceOp | tile.GatherOp) and (
            kept is None or kept.pending
        ):
            for operand in op.operands:
                if isinstance(operand.type, tile.TileType) and operand in self.sources:
                    self.prepare(operand)
        if kept is not None and kept.pending and kept is not but:
            assert isinstance(op, tile.MapOp)
            self.sweep(list(zip(op.outs, kept.memory, strict=True)), self.extents(op.outs[0]))
            self.settle(op)

    def is_computed(self, value: SSAValue) -> bool:
        """Whether a value is at hand or in scratch memory, so that its operands are not
        needed for it any more."""
        source = self.sources.get(value)
        if isinstance(source, MemorySource):
            return not isinstance(value.owner, tile.LoadOp)
        return isinstance(source, ScalarSource)

    def settle(self, op: tile.MapOp) -> None:
        """From here on the map's results are read from scratch memory."""
        kept = self.kept[op]
        kept.pending = False
        for out, memory in zip(op.outs, kept.memory, strict=True):
            self.sources[out] = memory

    # Sweeps

    def _store_group(self, ops: list[Operation], index: int) -> list[tile.StoreOp]:
        """Neighbouring stores over the same points, which one loop nest can do."""
        first = ops[index]
        assert isinstance(first, tile.StoreOp)
        group = [first]
        for op in ops[index + 1 :]:
            if not isinstance(op, tile.StoreOp) or self._domain(op) != self._domain(first):
                break
            group.append(op)
        return group

    def _domain(self, op: tile.StoreOp) -> object:
        view = tile.view_type(op.view)
        shape = [view.shape[axis] for axis in op.axis_list]
        offsets = [op.offsets[axis] for axis in op.axis_list]
        return tile.tile_type(op.value).shape, shape, offsets

    def _stores(self, group: list[tile.StoreOp]) -> None:
        overwriting.keep_before(self, group)
        targets: list[tuple[SSAValue, MemorySource]] = []
        nests = [contraction.pending_nest(self, op.value) for op in group]
        plain = all(op.combine.data == tile.Combine.set for op in group)
        nest = nests[0] if plain and all(other is nests[0] for other in nests) else None
        if nest is not None and contraction.in_parts(self, nest.nest):
            nest = None
        for op in group:
            if nest is None:
                self.prepare(op.value)
            pointer, strides = self.slice_address(op.view, op.offsets, op.axis_list)
            item = dtypes.item_size(tile.view_type(op.view).dtype)
            memory = MemorySource(
                pointer,
                strides,
                element_type_of(op.value),
                item,
                is_signed(op.value),
                passing=nest is not None and self.plan.part > 0,
            )
            targets.append((op.value, memory))
        if nest is not None:
            contraction.emit_with_stores(self, nest, targets)
            return
        first = group[0]
        extents = self.access_extents(first.view, first.offsets, first.axis_list, first.value)
        kinds = [None if op.combine.data == tile.Combine.set else op for op in group]
        self.sweep(targets, extents, kinds)

    def sweep(
        self,
        targets: Sequence[tuple[SSAValue, MemorySource]],
        extents: Sequence[V],
        combines: Sequence[tile.StoreOp | None] | None = None,
    ) -> None:
        """Compute values at every point of their extent and write each to its memory."""
        sweep(self, targets, extents, combines)

    def copy(self, source: MemorySource, target: MemorySource, extents: Sequence[V]) -> None:
        """Copy memory to memory, vectors along the last axis."""
        last = len(extents) - 1

        def row(point: Point) -> None:
            def inner(coordinate: Coordinate) -> None:
                full = (*point[:last], coordinate)
                target.store(self, full, source.at(self, full))

            self.vector_loop(extents[last], inner)

        self.nest(extents, range(last), [None] * (last + 1), row)

    # Loops, products, scalars from memory

    def _dot(self, op: tile.DotOp) -> None:
        if not across.applies(self, op):
            if few_rows.applies(self, op):
                few_rows.emit(self, op)
            else:
                contraction.emit_dot(self, op)
            return
        if amx_across.applies(self, op):
            amx_across.emit(self, op)
            return
        following = across.following_map(op)
        if following is None:
            across.emit(self, op, None)
        else:
            self.deferred[following] = op

    def _size(self, op: tile.SizeOp) -> None:
        self.scalars[op.out] = self.sizes.of(op.dim)

    def _read(self, op: tile.ReadOp) -> None:
        pointer, _ = self.slice_address(op.view, op.offsets, ())
        memory = tile.view_type(op.view)
        source = MemorySource(
            pointer, (), llvm_type(op.out.type), dtypes.item_size(memory.dtype)
        )
        self.scalars[op.out] = source.at(self, ())


_HANDLERS: dict[type[Operation], Callable[..., None]] = {
    tile.LoadOp: KernelEmitter._load,
    tile.GatherOp: KernelEmitter._gather,
    tile.FullOp: KernelEmitter._full,
    tile.OpenOp: KernelEmitter._open,
    tile.MapOp: KernelEmitter._map,
    tile.ReduceOp: KernelEmitter._reduce,
    tile.ScanOp: emit_scan,
    tile.ForOp: emit_for,
    tile.DotOp: KernelEmitter._dot,
    tile.SizeOp: KernelEmitter._size,
    tile.ReadOp: KernelEmitter._read,
    tile.ScatterOp: emit_scatter,
}


def ceil_divide(f: Function, a: V, b: V) -> V:
    return f.udiv(f.add(a, f.sub(b, ONE)), b)
