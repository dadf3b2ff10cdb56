"""How many elements a tile has along each axis."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Block, BlockArgument, Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile import tile_type, view_type
from infini_ir.passes.buffer.builder import Builder, Size
from infini_ir.passes.tile.tile_axes import Place, TileAxes
from infini_ir.utils.symbolic import Dim


@dataclass(frozen=True)
class Cut:
    """An access whose slice a view's end may cut: min(capacity, size - offset)."""

    size: Dim
    offset: SSAValue
    capacity: int


class Extents:
    """
    The extents of a kernel's tiles. Axes that operations lay together have one extent, that
    of any access among them; where there is none (nothing but positions and constants) an
    axis has its capacity.
    """

    def __init__(self, kernel: tile.KernelOp) -> None:
        self._kernel = kernel
        self._axes = TileAxes(kernel)
        self._cuts: dict[Place, list[Cut]] = {}
        self._known: dict[tuple[Dim, SSAValue, int], tuple[Size, Block]] = {}
        for kind in (tile.LoadOp, tile.StoreOp):
            for op in kernel.body.walk():
                if isinstance(op, kind):
                    self._note(op, op.out if isinstance(op, tile.LoadOp) else op.value)

    def _note(self, op: tile.LoadOp | tile.StoreOp, held: SSAValue) -> None:
        """What an access says of its tile; stores come after all loads."""
        for number in range(tile_type(held).rank):
            place = self._axes.find((held, number))
            self._cuts.setdefault(place, []).append(cut_of(op, number))

    def is_open(self, value: SSAValue) -> bool:
        """Whether an axis takes its capacity, for want of anything that says how many
        elements there are."""
        places = [(value, number) for number in range(tile_type(value).rank)]
        return any(not self._cuts.get(self._axes.find(place)) for place in places)

    def of(
        self, value: SSAValue, b: Builder, env: dict[SSAValue, SSAValue]
    ) -> tuple[Size, ...]:
        """A tile's extents; `env` says what the kernel's scalars have become."""
        shape = tile_type(value).shape
        return tuple(
            self._axis((value, number), size.value or 0, b, env)
            for number, size in enumerate(shape)
        )

    def _axis(
        self, place: Place, capacity: int, b: Builder, env: dict[SSAValue, SSAValue]
    ) -> Size:
        cuts = self._cuts.get(self._axes.find(place), [])
        sizes = [self.known(cut) for cut in cuts]
        for size in sizes:
            if size is not None:
                return size
        own = [c for c in cuts if isinstance(place[0].owner, tile.LoadOp) and c == cut_of(*_at(place))]  # fmt: skip
        for cut in (*own, *cuts):
            if cut.offset in env and _is_seen(env[cut.offset], b):
                return self.emit(cut, b, env)
        return capacity

    def known(self, cut: Cut) -> int | None:
        """The extent, where it does not depend on the program."""
        constant = _constant(cut.offset)
        if constant is not None:
            if cut.size.value is not None:
                return max(0, min(cut.capacity, cut.size.value - constant))
            whole = (cut.size - constant - cut.capacity).is_nonnegative()
            return cut.capacity if whole and constant >= 0 else None
        walk = self._walk(cut.offset)
        if walk is None:
            return None
        bound, step = walk
        inside = (cut.size - bound).is_nonnegative() and cut.capacity <= step
        return cut.capacity if inside and (bound % step).value == 0 else None

    def positive(self, cut: Cut) -> bool:
        """Whether there is at least one element."""
        walk = self._walk(cut.offset)
        if walk is not None:
            return (cut.size - walk[0]).is_nonnegative()
        constant = _constant(cut.offset)
        return constant is not None and (cut.size - constant - 1).is_nonnegative()

    def _walk(self, offset: SSAValue) -> tuple[Dim, int] | None:
        """Bound and step of a grid axis or loop that an offset walks."""
        if not isinstance(offset, BlockArgument):
            return None
        if offset in self._kernel.offsets:
            number = self._kernel.offsets.index(offset)
            step = self._kernel.steps.data[number].value
            return self._kernel.bounds.data[number], step or 1
        loop = offset.owner.parent_op()
        if isinstance(loop, tile.ForOp) and offset is loop.body.block.args[0]:
            bound = dim_of(loop.to)
            return None if bound is None else (bound, loop.step_size.value or 1)
        return None

    def emit(self, cut: Cut, b: Builder, env: dict[SSAValue, SSAValue]) -> Size:
        """Code for an extent; one for each place in the kernel is enough."""
        known = self.known(cut)
        if known is not None:
            return known
        key = (cut.size, cut.offset, cut.capacity)
        if key in self._known and b.inside(self._known[key][1]):
            return self._known[key][0]
        rest = b.sub(b.size(cut.size), env[cut.offset])
        extent = b.minimum(rest, cut.capacity)
        if not self.positive(cut):
            extent = b.maximum(extent, 0)
        self._known[key] = (extent, b.block)
        return extent


def cut_of(op: tile.LoadOp | tile.StoreOp, number: int) -> Cut:
    """What cuts an axis of an access."""
    axis = op.axis_list[number]
    held = op.out if isinstance(op, tile.LoadOp) else op.value
    capacity = tile_type(held).shape[number].value
    return Cut(view_type(op.view).shape[axis], op.offsets[axis], capacity or 0)


def _at(place: Place) -> tuple[tile.LoadOp, int]:
    owner = place[0].owner
    assert isinstance(owner, tile.LoadOp)
    return owner, place[1]


def _is_seen(value: SSAValue, b: Builder) -> bool:
    owner = value.owner
    block = owner.parent if isinstance(owner, Operation) else owner
    # Constants stand nowhere yet.
    return block is None or b.inside(block)


def _constant(value: SSAValue) -> int | None:
    owner = value.owner
    if isinstance(owner, arith.ConstantOp) and isinstance(owner.value, IntegerAttr):
        return owner.value.value.data
    return None


def dim_of(value: SSAValue) -> Dim | None:
    """The symbolic size that an index is, where that is known."""
    owner = value.owner
    if isinstance(owner, tile.SizeOp):
        return owner.dim
    constant = _constant(value)
    return None if constant is None else Dim.of(constant)
