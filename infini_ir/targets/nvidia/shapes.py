"""The physical shapes of tiles: powers of two, what tensor cores take, rows laid out flat.

A product takes matrices, so the leading axes of its left operand become one: an axis of a
shape is a run of tile axes that lie flat, `rows` of a window of 8 x 16 being 128 lanes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile import tile_type
from infini_ir.passes.tile.tile_axes import Place, TileAxes
from infini_ir.utils.dtypes import item_size

PRODUCT_DEPTH = {1: 32, 2: 16, 4: 8, 8: 4}
"""The least contracted size that Triton's products take, by the bytes of an element."""
PRODUCT_DTYPES = ("f16", "bf16", "f32", "f64", "i8")
"""Elements that tensor cores multiply."""


@dataclass(frozen=True)
class Lanes:
    """One physical axis: the tile axes that lie flat on it, each a class with a capacity."""

    parts: tuple[tuple[Place, int], ...]
    size: int
    """A power of two, at least the product of the capacities."""

    @property
    def is_flat(self) -> bool:
        return len(self.parts) > 1


@dataclass(frozen=True)
class Shape:
    """How a tile lies in registers: its physical axes, and where each of its own axes is."""

    lanes: tuple[Lanes, ...]
    places: tuple[tuple[int, int], ...]
    """For each tile axis the physical axis, and the part of it."""

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(lanes.size for lanes in self.lanes)


def power_of_two(size: int) -> int:
    """The least power of two that is not below a size."""
    return 1 << max(size - 1, 0).bit_length()


class Shapes:
    """The physical shape of every tile of a kernel."""

    def __init__(self, kernel: tile.KernelOp) -> None:
        self._axes = TileAxes(kernel)
        self._least: dict[Place, int] = {}
        dots = [op for op in kernel.body.walk() if isinstance(op, tile.DotOp)]
        for dot in dots:
            self._at_least(dot)
        self._capacities: dict[Place, int] = {}
        for place in self._axes.places():
            name, size = self._axes.find(place), tile_type(place[0]).shape[place[1]].value
            self._capacities[name] = max(self._capacities.get(name, 1), size or 1)
        self._groups = self._flat_groups(kernel, dots)

    def of(self, value: SSAValue) -> Shape:
        """The shape of a tile."""
        lanes: list[Lanes] = []
        places: list[tuple[int, int]] = []
        for axis in range(tile_type(value).rank):
            name = self._axes.find((value, axis))
            found = self._lanes(name)
            if not (found.is_flat and lanes and lanes[-1] == found):
                lanes.append(found)
            part = [part for part, _ in found.parts].index(name)
            places.append((len(lanes) - 1, part))
        return Shape(tuple(lanes), tuple(places))

    def _at_least(self, dot: tile.DotOp) -> None:
        dtype = tile_type(dot.lhs).dtype
        if is_product(dot):
            last = self._axes.find((dot.lhs, tile_type(dot.lhs).rank - 1))
            least = PRODUCT_DEPTH[item_size(dtype)]
            self._least[last] = max(self._least.get(last, 1), least)

    def _lanes(self, name: Place) -> Lanes:
        for group in self._groups:
            if name in group:
                parts = tuple((part, self._capacities[part]) for part in group)
                count = 1
                for _, capacity in parts:
                    count *= capacity
                return Lanes(parts, power_of_two(count))
        capacity = self._capacities[name]
        return Lanes(((name, capacity),), power_of_two(max(capacity, self._least.get(name, 1))))

    def _flat_groups(
        self, kernel: tile.KernelOp, dots: Sequence[tile.DotOp]
    ) -> list[tuple[Place, ...]]:
        groups: list[tuple[Place, ...]] = []
        for dot in dots:
            rank = tile_type(dot.lhs).rank
            group = tuple(self._axes.find((dot.lhs, axis)) for axis in range(rank - 1))
            if rank > 2 and group not in groups:
                groups.append(group)
        return [group for group in groups if self._stays_together(kernel, group)]

    def _stays_together(self, kernel: tile.KernelOp, group: tuple[Place, ...]) -> bool:
        """Whether no tile has the axes of a group in another order or apart, and nothing
        takes some of them away."""
        for op in kernel.body.walk():
            for value in op.results:
                if not isinstance(value.type, tile.TileType):
                    continue
                names = [self._axes.find((value, axis)) for axis in range(value.type.rank)]
                found = [name for name in names if name in group]
                start = names.index(found[0]) if found else 0
                together = tuple(names[start : start + len(group)]) == group
                if len(found) > 1 and not (together and len(found) == len(group)):
                    return False
            if isinstance(op, tile.ReduceOp):
                gone = {self._axes.find((op.x, axis)) for axis in op.axis_list} & set(group)
                if gone and gone != set(group):
                    return False
        return True


def is_product(op: tile.DotOp) -> bool:
    """Whether tensor cores can do a product, as its operands' elements are."""
    lhs, rhs = tile_type(op.lhs).dtype, tile_type(op.rhs).dtype
    acc = tile_type(op.acc).dtype
    if lhs == "i8" or rhs == "i8":
        return lhs == rhs and acc == "i32"
    floats = all(dtype in PRODUCT_DTYPES for dtype in (lhs, rhs, acc))
    return floats and "f64" not in ({lhs, rhs, acc} if len({lhs, rhs, acc}) > 1 else ())
