"""Which axes of a kernel's tiles are one: those that maps, loops and products lay together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from xdsl.ir import Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile.base import yielded

Place = tuple[SSAValue, int]
"""An axis of one tile."""


class TileAxes:
    """
    The classes of tile axes of a kernel. Axes are in one class where an operation demands
    that they have one extent: an input of a map and its result, a carried tile and what the
    loop gives, the contracted axes of a product. Two loads are not, of themselves.
    """

    def __init__(self, kernel: tile.KernelOp) -> None:
        self._parents: dict[Place, Place] = {}
        self._places: list[Place] = []
        for op in kernel.body.walk():
            for value in (*op.results, *_arguments(op)):
                if isinstance(value.type, tile.TileType):
                    self._places += [(value, axis) for axis in range(value.type.rank)]
        for op in kernel.body.walk():
            for left, right in joined_axes(op):
                self._join(left, right)
        self._classes: dict[Place, list[Place]] = {}
        for place in self._places:
            self._classes.setdefault(self.find(place), []).append(place)

    def find(self, place: Place) -> Place:
        """The axis that stands for the class of this one."""
        while place in self._parents:
            place = self._parents[place]
        return place

    def members(self, place: Place) -> dict[SSAValue, tuple[int, ...]]:
        """The tiles with an axis in the class of this one, and which of their axes."""
        found: dict[SSAValue, tuple[int, ...]] = {}
        for value, axis in self._classes.get(self.find(place), ()):
            found[value] = (*found.get(value, ()), axis)
        return found

    def places(self) -> Sequence[Place]:
        """All axes of all tiles, in the order of the kernel."""
        return self._places

    def _join(self, left: Place, right: Place) -> None:
        left, right = self.find(left), self.find(right)
        if left != right:
            self._parents[right] = left


def reductions_along(
    kernel: tile.KernelOp, axis: Mapping[SSAValue, int]
) -> dict[tile.ReduceOp, int]:
    """The reductions along an axis at a kernel's top level, and how many of them one after
    the other each needs, itself counted."""
    found: dict[tile.ReduceOp, int] = {}
    depth: dict[SSAValue, int] = {}
    for op in kernel.body.block.ops:
        before = max((depth.get(value, 0) for value in op.operands), default=0)
        if isinstance(op, tile.ReduceOp) and axis.get(op.x) in op.axis_list:
            before += 1
            found[op] = before
        depth.update(dict.fromkeys(op.results, before))
    return found


def _arguments(op: Operation) -> Sequence[SSAValue]:
    """The tiles that a loop's region takes."""
    return op.body.block.args if isinstance(op, tile.ForOp) else ()


def joined_axes(op: Operation) -> Iterator[tuple[Place, Place]]:
    """Pairs of axes that an operation demands to be of one extent."""
    if isinstance(op, tile.MapOp):
        first = op.outs[0]
        for out in op.outs[1:]:
            yield from _whole(first, out)
        yield from _covered(op.inputs, op.dim_lists, first)
    elif isinstance(op, tile.GatherOp):
        yield from _covered(op.positions, op.dim_lists, op.out)
    elif isinstance(op, tile.ScatterOp):
        yield from _covered(op.positions, op.dim_lists, op.value)
    elif isinstance(op, tile.ReduceOp):
        kept = [axis for axis in range(tile.tile_type(op.x).rank) if axis not in op.axis_list]
        for number, axis in enumerate(kept):
            yield (op.x, axis), (op.out, number)
    elif isinstance(op, tile.ScanOp):
        yield from _whole(op.x, op.out)
    elif isinstance(op, tile.DotOp):
        yield from _of_dot(op)
    elif isinstance(op, tile.ForOp):
        given = yielded(op.body)
        for number, value in enumerate(op.carried):
            for other in (op.body.block.args[number + 1], given[number], op.outs[number]):
                yield from _whole(value, other)


def _whole(left: SSAValue, right: SSAValue) -> Iterator[tuple[Place, Place]]:
    for axis in range(tile.tile_type(left).rank):
        yield (left, axis), (right, axis)


def _covered(
    values: Sequence[SSAValue], dims: Sequence[Sequence[int]], result: SSAValue
) -> Iterator[tuple[Place, Place]]:
    for value, axes in zip(values, dims, strict=True):
        for number, axis in enumerate(axes):
            yield (value, number), (result, axis)


def _of_dot(op: tile.DotOp) -> Iterator[tuple[Place, Place]]:
    k, n = (0, 1) if op.transposed is None else (1, 0)
    last = tile.tile_type(op.lhs).rank - 1
    for axis in range(last):
        yield (op.lhs, axis), (op.acc, axis)
    yield (op.lhs, last), (op.rhs, k)
    yield (op.rhs, n), (op.acc, last)
    yield from _whole(op.acc, op.out)
