"""Kernels around one matrix product, and where the product ends and its epilogue begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects import arith
from xdsl.dialects.builtin import FloatAttr, IntegerAttr
from xdsl.ir import Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile.base import yielded


@dataclass
class Contraction:
    """A kernel that is loops around one dot, and what follows them."""

    kernel: tile.KernelOp
    loops: list[tile.ForOp]
    """The loops over the contracted axes, the outermost first; each carries the accumulator."""

    dot: tile.DotOp
    grid_axes: tuple[int, ...]
    """The grid axis that each axis of the accumulator lies along."""

    @property
    def result(self) -> SSAValue:
        """The sum over all contracted axes."""
        return self.loops[0].outs[0]

    @property
    def accumulator(self) -> tile.TileType:
        return tile.tile_type(self.result)

    @property
    def loads(self) -> tuple[tile.LoadOp, tile.LoadOp] | None:
        """The loads of the two factors, None where one is computed in the kernel."""
        left, right = self.dot.lhs.owner, self.dot.rhs.owner
        if isinstance(left, tile.LoadOp) and isinstance(right, tile.LoadOp):
            return left, right
        return None

    @property
    def starts_at_zero(self) -> bool:
        """Whether the accumulator begins as zeros."""
        start = self.loops[0].carried[0].owner
        return isinstance(start, tile.FullOp) and is_zero_constant(start.scalar)

    @property
    def plain_store(self) -> tile.StoreOp | None:
        """The store, where the kernel does nothing to the product but write it."""
        uses = [use.operation for use in self.result.uses]
        stores = [op for op in self.kernel.body.walk() if isinstance(op, tile.StoreOp)]
        if len(stores) != 1 or uses != stores or any(map(_scatters, self.kernel.body.walk())):
            return None
        return stores[0] if stores[0].combine.data is tile.Combine.set else None


def _scatters(op: Operation) -> bool:
    return isinstance(op, tile.ScatterOp)


def is_zero_constant(value: SSAValue) -> bool:
    """Whether a scalar is the constant zero."""
    op = value.owner
    if not isinstance(op, arith.ConstantOp):
        return False
    return isinstance(op.value, FloatAttr | IntegerAttr) and op.value.value.data == 0


def find_contraction(kernel: tile.KernelOp) -> Contraction | None:
    """The product of a kernel that has one: perfectly nested loops, one carried tile."""
    outer = [op for op in kernel.body.block.ops if _holds_dot(op)]
    if len(outer) != 1 or not isinstance(outer[0], tile.ForOp):
        return None
    loops: list[tile.ForOp] = []
    current: Operation = outer[0]
    while isinstance(current, tile.ForOp):
        inner = [op for op in current.body.block.ops if _holds_dot(op)]
        if len(inner) != 1 or len(current.carried) != 1:
            return None
        if yielded(current.body) != tuple(inner[0].results):
            return None
        if not _takes(inner[0], current.body.block.args[1]) or _has_effects(current):
            return None
        loops.append(current)
        current = inner[0]
    assert isinstance(current, tile.DotOp)
    axes = _grid_axes(kernel, tile.tile_type(current.acc))
    return None if axes is None else Contraction(kernel, loops, current, axes)


def _holds_dot(op: Operation) -> bool:
    return any(isinstance(inner, tile.DotOp) for inner in op.walk())


def _takes(op: Operation, carried: SSAValue) -> bool:
    """Whether an inner loop or the dot goes on with the carried tile, its only use."""
    start = op.acc if isinstance(op, tile.DotOp) else op.operands[1]
    return start is carried and len(list(carried.uses)) == 1


def _has_effects(op: Operation) -> bool:
    return any(isinstance(inner, tile.StoreOp | tile.ScatterOp) for inner in op.walk())


def _grid_axes(kernel: tile.KernelOp, accumulator: tile.TileType) -> tuple[int, ...] | None:
    """The grid axes with the accumulator's capacities as steps. From the last on, as the
    axes of batches, which may have steps like theirs, come first."""
    found: list[int] = []
    axis = kernel.grid_rank
    for capacity in reversed(accumulator.shape):
        axis -= 1
        while axis >= 0 and kernel.steps.data[axis] is not capacity:
            axis -= 1
        if axis < 0:
            return None
        found.append(axis)
    return tuple(reversed(found))


def needed_by(
    kernel: tile.KernelOp, ends: Sequence[Operation], without: Operation | None = None
) -> set[Operation]:
    """The operations of a kernel's top level that these need, themselves among them; not
    `without`, nor what only that needs."""
    top = kernel.body.block
    found: set[Operation] = set()
    waiting = list(ends)
    while waiting:
        op = waiting.pop()
        if op in found or op is without:
            continue
        found.add(op)
        for inner in op.walk():
            for operand in inner.operands:
                owner = operand.owner
                if isinstance(owner, Operation) and owner.parent is top:
                    waiting.append(owner)
    return found
