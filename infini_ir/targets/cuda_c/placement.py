"""Which values are kept, where, and which thread owns which element of them.

Values that one operation uses are computed where it needs them. Others are kept: in the
registers of the threads where every thread reads only the elements that it computed, else in
shared memory. Values that meet element by element belong to one component, and all that are
kept of it are dealt out to the threads in one way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from xdsl.dialects import arith, math
from xdsl.ir import Block, Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.targets.cuda_c.layouts import Blocks, Layout, Spread, times
from infini_ir.targets.cuda_c.plan import Plan
from infini_ir.utils.symbolic import Dim

KEEP_COST = 8
"""Scalar operations from which a value with several users is computed once and kept."""

REGISTER_SLOTS = 16
"""Elements of a value that one thread keeps in registers at most, accumulators aside."""

SHARED_ELEMENTS = 4096
"""Elements of a loaded tile that is worth keeping in shared memory to read it twice."""


@dataclass
class Placement:
    """The decisions for the values of one kernel."""

    kernel: tile.KernelOp
    plan: Plan
    parents: dict[SSAValue, SSAValue] = field(default_factory=dict)
    dots: dict[SSAValue, tile.DotOp] = field(default_factory=dict)
    """A product of each component that has one."""
    orders: dict[SSAValue, tuple[int, ...]] = field(default_factory=dict)
    _crossing: dict[SSAValue, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for op in self.kernel.body.walk():
            self._join_operation(op)
        for op in self.kernel.body.walk():
            if isinstance(op, tile.DotOp):
                self.dots[self.root(op.out)] = op
        for kind in (tile.ScatterOp, tile.StoreOp, tile.LoadOp):
            for op in self.kernel.body.walk():
                if isinstance(op, kind):
                    value = op.out if isinstance(op, tile.LoadOp) else op.value
                    self.orders.setdefault(self.root(value), access_order(op))

    # Components

    def root(self, value: SSAValue) -> SSAValue:
        """The value that stands for a component."""
        while (parent := self.parents.get(value)) is not None:
            value = parent
        return value

    def _join(self, a: SSAValue, b: SSAValue) -> None:
        a, b = self.root(a), self.root(b)
        if a is not b:
            self.parents[a] = b

    def _join_operation(self, op: Operation) -> None:
        if isinstance(op, tile.MapOp | tile.GatherOp):
            operands = op.inputs if isinstance(op, tile.MapOp) else op.positions
            for value, dims in zip(operands, op.dim_lists, strict=True):
                if is_identity(value, dims, op.results[0]):
                    self._join(value, op.results[0])
            for out in op.results[1:]:
                self._join(out, op.results[0])
        elif isinstance(op, tile.ScatterOp):
            for value, dims in zip(op.positions, op.dim_lists, strict=True):
                if is_identity(value, dims, op.value):
                    self._join(value, op.value)
        elif isinstance(op, tile.DotOp):
            self._join(op.acc, op.out)
        elif isinstance(op, tile.ForOp):
            inside = zip(op.body.block.args[1:], tile.yielded(op.body), strict=True)
            for value, out, (argument, result) in zip(op.carried, op.outs, inside, strict=True):
                for other in (out, argument, result):
                    self._join(value, other)

    # Shapes and layouts

    def shape(self, value: SSAValue) -> tuple[Dim, ...]:
        """A tile's capacity, the plan's tile sizes put in."""
        known = self.plan.substitution
        return tuple(dim.substitute(known) for dim in tile.tile_type(value).shape)

    def known_shape(self, value: SSAValue) -> tuple[int, ...] | None:
        """The capacity as numbers, None where it is not known."""
        shape = [dim.value for dim in self.shape(value)]
        return None if None in shape else tuple(n for n in shape if n is not None)

    def order(self, value: SSAValue) -> tuple[int, ...]:
        """The axes from the slowest to the fastest."""
        rank = tile.tile_type(value).rank
        return self.orders.get(self.root(value), tuple(range(rank)))

    def layout(self, value: SSAValue) -> Layout | None:
        """How the elements of a component are dealt out; None where they cannot be counted."""
        shape = self.known_shape(value)
        if shape is None:
            return None
        if self.root(value) in self.dots and shape:
            return self.blocks(shape)
        return Spread(shape, self.order(value), self.plan.lanes)

    def blocks(self, shape: tuple[int, ...]) -> Blocks:
        """The thread blocks of an accumulator."""
        rows, columns = times(shape[:-1]), shape[-1]
        down = min(self.plan.down, self.plan.lanes, power_of_two(rows))
        across = self.plan.lanes // down
        return Blocks(shape, -(-rows // down), -(-columns // across), down, across)

    # What is kept

    @cached_property
    def overwritten(self) -> frozenset[SSAValue]:
        """Views that the kernel both reads and writes."""
        views = list(self.kernel.views)
        read = {
            op.view
            for op in self.kernel.body.walk()
            if isinstance(op, tile.LoadOp | tile.GatherOp | tile.ReadOp)
        }
        return frozenset(views[i] for i in self.kernel.written() if views[i] in read)

    def keeps(self, op: Operation) -> bool:
        """Whether the results of an operation are computed once and kept."""
        if not isinstance(op, tile.LoadOp | tile.GatherOp | tile.MapOp):
            return False
        out = op.results[0]
        if tile.tile_type(out).rank == 0:
            return True
        if isinstance(op, tile.LoadOp | tile.GatherOp):
            return op.view in self.overwritten or self._keeps_loaded(op)
        return self._repeated(op) and _cost(op) > 2 and self._affordable(out)

    def _affordable(self, out: SSAValue) -> bool:
        """Whether there is room to keep a value that could be computed anew."""
        shape, layout = self.known_shape(out), self.layout(out)
        if shape is None or layout is None:
            return False
        if isinstance(layout, Blocks) or times(shape) <= SHARED_ELEMENTS:
            return True
        return layout.slots <= REGISTER_SLOTS and not self.crosses(out)

    def _keeps_loaded(self, op: tile.LoadOp | tile.GatherOp) -> bool:
        shape = self.known_shape(op.out)
        if shape is None:
            return False
        if isinstance(op, tile.LoadOp) and self.is_turned(op):
            return True
        if not self._repeated(op):
            return False
        layout = self.layout(op.out)
        assert layout is not None
        if self.crosses(op.out):
            return times(shape) <= SHARED_ELEMENTS
        return layout.slots <= REGISTER_SLOTS

    def is_turned(self, op: tile.LoadOp) -> bool:
        """Whether neighbours in memory are not neighbours among the threads that use them, so
        that a detour over shared memory pays."""
        shape = self.known_shape(op.out)
        if shape is None or len(shape) < 2 or self.root(op.out) in self.dots:
            return False
        if any(isinstance(use.operation, tile.DotOp | tile.ReduceOp) for use in op.out.uses):
            return False
        own, used = access_order(op), self.order(op.out)
        wide = min(shape[own[-1]], shape[used[-1]]) >= 8
        return own[-1] != used[-1] and wide and has_unit_stride(op, own[-1])

    def _repeated(self, op: Operation) -> bool:
        """Whether a result would be computed more than once for an element."""
        users = [use.operation for out in op.results for use in out.uses]
        if len({id(user) for user in users}) > 1 and not _one_sweep(users):
            return True
        for out in op.results:
            for use in out.uses:
                if self._inside_deeper_loop(use.operation, op) or self._spreads(use):
                    return True
        return False

    def _inside_deeper_loop(self, user: Operation, op: Operation) -> bool:
        return _block_of(user) is not _block_of(op) and not isinstance(user, tile.YieldOp)

    def _spreads(self, use) -> bool:
        """Whether a user needs each element of the value many times."""
        user = use.operation
        if isinstance(user, tile.MapOp | tile.GatherOp):
            out = user.results[0]
            return tile.tile_type(use.operation.operands[use.index]).rank < (
                tile.tile_type(out).rank
            )
        return False

    # Registers or shared memory

    def in_registers(self, value: SSAValue) -> bool:
        """Whether a kept value stays with the threads that computed its elements."""
        layout = self.layout(value)
        if layout is None or self.crosses(value):
            return False
        if isinstance(value.owner, tile.LoadOp) and self.is_turned(value.owner):
            return False
        return isinstance(layout, Blocks) or layout.slots <= REGISTER_SLOTS

    def crosses(self, value: SSAValue) -> bool:
        """Whether a thread may need elements that another one computed."""
        if value not in self._crossing:
            self._crossing[value] = False
            self._crossing[value] = any(self._use_crosses(value, use) for use in value.uses)
        return self._crossing[value]

    def _use_crosses(self, value: SSAValue, use) -> bool:
        user = use.operation
        if isinstance(user, tile.MapOp | tile.GatherOp):
            dims = user.dim_lists[use.index - (isinstance(user, tile.GatherOp))]
            if not is_identity(value, dims, user.results[0]):
                return True
            if self.keeps(user):
                return False
            return any(self.crosses(out) for out in user.results)
        if isinstance(user, tile.ReduceOp):
            return tile.tile_type(user.out).rank > 0
        if isinstance(user, tile.DotOp):
            return value is not user.acc
        if isinstance(user, tile.ScatterOp):
            return value is not user.value and not is_identity(
                value, user.dim_lists[use.index - 2], user.value
            )
        return False


def power_of_two(number: int) -> int:
    """The smallest power of two that is not below a number."""
    return 1 << max(0, number - 1).bit_length()


def is_identity(value: SSAValue, dims: Sequence[int], out: SSAValue) -> bool:
    """Whether an operand's elements meet those of the result one by one."""
    return isinstance(value.type, tile.TileType) and tuple(dims) == tuple(
        range(tile.tile_type(out).rank)
    )


def access_order(op: tile.LoadOp | tile.StoreOp | tile.ScatterOp) -> tuple[int, ...]:
    """The axes of a loaded or stored tile, those with the smallest strides last."""
    if isinstance(op, tile.ScatterOp):
        return tuple(range(tile.tile_type(op.value).rank))
    strides = [tile.view_type(op.view).strides[axis] for axis in op.axis_list]
    sizes = [1 << 62 if s.value is None or s.value == 0 else abs(s.value) for s in strides]
    return tuple(sorted(range(len(sizes)), key=lambda axis: -sizes[axis]))


def has_unit_stride(op: tile.LoadOp | tile.StoreOp, axis: int) -> bool:
    """Whether neighbours along an axis of the tile are neighbours in memory."""
    return tile.view_type(op.view).strides[op.axis_list[axis]].value == 1


def _block_of(op: Operation) -> Block | None:
    return op.parent


def _one_sweep(users: Sequence[Operation]) -> bool:
    """Whether all users are stores that one loop does."""
    return all(isinstance(user, tile.StoreOp) for user in users)


def _cost(op: tile.MapOp) -> int:
    """Scalar operations of a map, transcendental ones counted for more."""
    plain = (arith.ConstantOp, tile.YieldOp, tile.CoordOp)
    costly = (math.AbsFOp, math.FmaOp, math.FloorOp, math.CeilOp)
    return sum(
        0
        if isinstance(inner, plain)
        else (
            KEEP_COST if inner.name.startswith("math.") and not isinstance(inner, costly) else 1
        )
        for inner in op.body.block.ops
    )
