"""The extents of a kernel's tiles: how much of each capacity holds a value.

The value of an axis is that of the access which cut it; what nothing cuts yet (a splat, a
map made of positions) is open and takes the extent that its user needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xdsl.ir import Block, Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile import tile_type, view_type
from infini_ir.dialects.tile.base import yielded
from infini_ir.targets.nvidia.indices import IndexRanges
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import Dim


@dataclass(frozen=True)
class Extent:
    """The part of an axis that an access leaves: from `offset` to the end of `size`, at most
    `capacity` elements."""

    offset: SSAValue
    size: Dim
    capacity: int
    full: bool
    """Whether it is known to be the whole capacity; never of an axis without elements, which
    has a lane that must be left out."""


Axes = tuple[Extent | None, ...]
"""The extents of a tile's axes; None for an open one."""


class Extents:
    """The extents of every tile and of every store of a legalised kernel."""

    def __init__(self, kernel: tile.KernelOp) -> None:
        self.name = kernel.sym_name.data
        self.ranges = IndexRanges(kernel)
        self._axes: dict[SSAValue, Axes] = {}
        self._block(kernel.body.block)

    def of(self, value: SSAValue) -> Axes:
        """The extents of a tile."""
        return self._axes.get(value) or (None,) * tile_type(value).rank

    def of_access(self, op: tile.LoadOp | tile.StoreOp) -> tuple[Extent, ...]:
        """The extents of what a load reads or a store writes."""
        held = op.out if isinstance(op, tile.LoadOp) else op.value
        view, capacities = view_type(op.view), tile_type(held).shape
        return tuple(
            self._extent(op.offsets[axis], view.shape[axis], capacity)
            for axis, capacity in zip(op.axis_list, capacities, strict=True)
        )

    def _extent(self, offset: SSAValue, size: Dim, capacity: Dim) -> Extent:
        known = self.capacity(capacity)
        full = known > 0 and self.ranges.reaches(offset, capacity, size)
        return Extent(offset, size, known, full)

    def capacity(self, dim: Dim) -> int:
        """A capacity, which must be a number by now."""
        if dim.value is None:
            raise CompileError(
                f"kernel '{self.name}' has a tile axis of capacity {dim}; run tile-split-axis "
                "and nvidia-plan before it is emitted"
            )
        return dim.value

    def _block(self, block: Block) -> None:
        for op in block.ops:
            self._visit(op)

    def _visit(self, op: Operation) -> None:
        if isinstance(op, tile.LoadOp):
            self._axes[op.out] = self.of_access(op)
        elif isinstance(op, tile.MapOp):
            axes = self._common(tile_type(op.outs[0]).rank, op.inputs, op.dim_lists)
            for out in op.outs:
                self._axes[out] = axes
        elif isinstance(op, tile.GatherOp):
            self._axes[op.out] = self._common(
                tile_type(op.out).rank, op.positions, op.dim_lists
            )
        elif isinstance(op, tile.ReduceOp):
            kept = [e for i, e in enumerate(self.of(op.x)) if i not in op.axis_list]
            self._axes[op.out] = tuple(kept)
        elif isinstance(op, tile.ScanOp):
            self._axes[op.out] = self.of(op.x)
        elif isinstance(op, tile.DotOp):
            columns = self.of(op.rhs)[1 if op.transposed is None else 0]
            product = (*self.of(op.lhs)[:-1], columns)
            self._axes[op.out] = _meet([product, self.of(op.acc)])
        elif isinstance(op, tile.ForOp):
            self._loop(op)

    def _common(
        self, rank: int, values: Sequence[SSAValue], dims: Sequence[Sequence[int]]
    ) -> Axes:
        covers: list[Axes] = []
        for value, axes in zip(values, dims, strict=True):
            if isinstance(value.type, tile.TileType):
                spread: list[Extent | None] = [None] * rank
                for axis, extent in zip(axes, self.of(value), strict=True):
                    spread[axis] = extent
                covers.append(tuple(spread))
        return _meet([(None,) * rank, *covers])

    def _loop(self, op: tile.ForOp) -> None:
        """What a loop carries: cut by what it begins with, else by what an iteration gives,
        unless that is cut anew in every iteration."""
        block = op.body.block
        carried = [self.of(value) for value in op.carried]
        inside = set(_defined(block))
        for _ in range(2):
            self._axes.update(zip(block.args[1:], carried, strict=True))
            self._block(block)
            given = [self.of(value) for value in yielded(op.body)]
            carried = [
                tuple(
                    before if before is not None or after is None or after.offset in inside
                    else after
                    for before, after in zip(start, end, strict=True)
                )
                for start, end in zip(carried, given, strict=True)
            ]  # fmt: skip
        self._axes.update(zip(op.outs, carried, strict=True))


def _defined(block: Block) -> Iterable[SSAValue]:
    yield from block.args
    for op in block.walk():
        yield from op.results
        for region in op.regions:
            for inner in region.blocks:
                yield from inner.args


def _meet(candidates: Sequence[Axes]) -> Axes:
    """One extent for each axis: those that meet are equal, so one that is known to be full
    says so for all."""
    axes: list[Extent | None] = []
    for extents in zip(*candidates, strict=True):
        known = [extent for extent in extents if extent is not None]
        full = [extent for extent in known if extent.full]
        axes.append(next(iter([*full, *known]), None))
    return tuple(axes)
