"""The longest axis that a kernel reduces along, where programs may share it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile import tile_type, view_type
from infini_ir.passes.tile.chunk_loops import inexact
from infini_ir.passes.tile.chunk_ops import is_zero
from infini_ir.passes.tile.tile_axes import Place, TileAxes, reductions_along
from infini_ir.utils.symbolic import Dim

ASSUMED = 1024
"""What a symbol counts as where its value is not known."""

WHOLE = -1
"""The home of a tile axis that shows a whole axis of a view."""

_PLAIN = (tile.LoadOp, tile.MapOp, tile.FullOp, tile.ReduceOp, tile.SizeOp, tile.StoreOp)


@dataclass(frozen=True)
class LongAxis:
    """One class of tile axes, all of which begin at zero and show whole axes of views."""

    kernel: tile.KernelOp
    size: Dim
    axis: dict[SSAValue, int]
    """The tiles that have the axis, and which of their axes it is."""
    levels: dict[tile.ReduceOp, int]
    """The reductions along it; each needs none, or those of lower levels."""
    homes: dict[tile.ReduceOp, tuple[int, ...]]
    """The grid axis along which each axis of a result lies, or `WHOLE`."""
    row_stores: tuple[tile.StoreOp, ...]
    """What stores tiles that have the axis."""
    other_stores: tuple[tile.StoreOp, ...]

    @property
    def loads(self) -> list[tile.LoadOp]:
        """The loads along the axis."""
        return [value.owner for value in self.axis if isinstance(value.owner, tile.LoadOp)]

    @property
    def stages(self) -> int:
        """Kernels that it becomes: one for each level of reductions, one for what follows."""
        return max(self.levels.values()) + 1 + bool(self.row_stores and self.other_stores)

    def along(self, op: tile.LoadOp | tile.StoreOp) -> int:
        """The axis of the view that an access walks along the axis."""
        value = op.out if isinstance(op, tile.LoadOp) else op.value
        return op.axis_list[self.axis[value]]

    def producers(self, ends: Sequence[Operation]) -> list[Operation]:
        """All that makes the tiles of the axis that these use, in order."""
        found: set[Operation] = set()
        waiting = list(ends)
        while waiting:
            for operand in waiting.pop().operands:
                owner = operand.owner
                if operand in self.axis and isinstance(owner, Operation) and owner not in found:
                    found.add(owner)
                    waiting.append(owner)
        return [op for op in self.kernel.body.block.ops if op in found]


def assumed(dim: Dim) -> int:
    """A size, where every symbol is `ASSUMED`."""
    return dim.evaluate(dict.fromkeys(dim.symbols(), ASSUMED))


def find_long_axis(kernel: tile.KernelOp) -> LongAxis | None:
    """The longest of the axes that can be shared out; None where there is none."""
    ops = list(kernel.body.block.ops)
    if not all(isinstance(op, _PLAIN) or op.name.startswith("arith.") for op in ops):
        return None
    stored = [op.view for op in ops if isinstance(op, tile.StoreOp)]
    if any(isinstance(op, tile.LoadOp) and op.view in stored for op in ops):
        return None
    axes = TileAxes(kernel)
    places = [
        (op.x, axis) for op in ops if isinstance(op, tile.ReduceOp) for axis in op.axis_list
    ]
    places.sort(key=lambda place: -assumed(tile_type(place[0]).shape[place[1]]))
    found = (_long_axis(kernel, axes, place) for place in places)
    return next((each for each in found if each is not None), None)


def _long_axis(kernel: tile.KernelOp, axes: TileAxes, place: Place) -> LongAxis | None:
    size = tile_type(place[0]).shape[place[1]]
    members = axes.members(place)
    axis = {value: own[0] for value, own in members.items()}
    doubled = any(len(own) > 1 for own in members.values())
    loads = [value for value in axis if isinstance(value.owner, tile.LoadOp)]
    packed = any(view_type(value.owner.view).panel_width for value in loads)  # pyright: ignore[reportAttributeAccessIssue]
    if doubled or packed or not loads or any(inexact(kernel, axis)):
        return None
    levels = reductions_along(kernel, axis)
    homes = {op: _homes(kernel, axes, op) for op in levels}
    known = {op: home for op, home in homes.items() if home is not None}
    if len(known) < len(homes):
        return None
    stores = [op for op in kernel.body.block.ops if isinstance(op, tile.StoreOp)]
    rows = tuple(op for op in stores if op.value in axis)
    others = tuple(op for op in stores if op.value not in axis)
    return LongAxis(kernel, size, axis, levels, known, rows, others)


def _homes(kernel: tile.KernelOp, axes: TileAxes, op: tile.ReduceOp) -> tuple[int, ...] | None:
    """Where the axes of a result lie; None where that is not known."""
    homes = [_home(kernel, axes, (op.out, axis)) for axis in range(tile_type(op.out).rank)]
    known = tuple(home for home in homes if home is not None)
    on_grid = [home for home in known if home != WHOLE]
    return known if len(known) == len(homes) and len(set(on_grid)) == len(on_grid) else None


def _home(kernel: tile.KernelOp, axes: TileAxes, place: Place) -> int | None:
    whole = None
    for value, own in axes.members(place).items():
        load = value.owner
        if not isinstance(load, tile.LoadOp):
            continue
        along, capacity = load.axis_list[own[0]], tile_type(value).shape[own[0]]
        offset, size = load.offsets[along], view_type(load.view).shape[along]
        for number, other in enumerate(kernel.offsets):
            bound, step = kernel.bounds.data[number], kernel.steps.data[number]
            if offset is other and size is bound and capacity is step:
                return number
        if is_zero(offset) and size is capacity:
            whole = WHOLE
    return whole
