"""How tiles lie in local memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from xdsl.dialects.builtin import IndexType, IntegerType
from xdsl.ir import Attribute, SSAValue

from infini_ir.dialects.graph.types import element_name
from infini_ir.dialects.tile.types import scalar_of
from infini_ir.passes.buffer.builder import Size


def held_dtype(element: Attribute) -> str:
    """The element type in which local memory holds a tile's elements: bools are bytes,
    unsigned integers signless."""
    scalar = scalar_of(element)
    if isinstance(scalar, IndexType):
        return "i32"
    return "i8" if scalar == IntegerType(1) else element_name(scalar)


def pitched(shape: Sequence[int], granule: int) -> tuple[int, ...]:
    """How far apart elements lie along each axis, rows beginning at multiples of a granule."""
    strides: list[int] = []
    step = 1
    for axis, size in reversed(list(enumerate(shape))):
        strides.append(step)
        step *= -(-size // granule) * granule if axis == len(shape) - 1 else size
    return tuple(reversed(strides))


def room(shape: Sequence[int], granule: int) -> int:
    """Elements that a tile of this shape takes, the gaps between rows included."""
    total = 1
    for size in shape[:-1]:
        total *= size
    return total * (-(-shape[-1] // granule) * granule if shape else granule)


@dataclass(eq=False)
class Rows:
    """
    Elements in local memory that cover some axes of a tile, in the tile's order; along the
    others they repeat. `owned`: nobody else will read them, so they may be overwritten once
    `uses` are done.
    """

    local: SSAValue
    dtype: str
    """Element type in local memory; `i1` for a mask."""
    axes: tuple[int, ...]
    strides: tuple[int, ...]
    owned: bool = True
    uses: int = 0
    scalars: dict[object, SSAValue] = field(default_factory=dict)

    def stride(self, axis: int) -> int:
        """How far apart elements lie along an axis."""
        return self.strides[self.axes.index(axis)]


@dataclass(eq=False)
class TileValue:
    """
    A tile: rows of its own, or one scalar everywhere. `covers` lists the axes that the rows
    have; `extents` how many elements there are along each axis of the tile.
    """

    shape: tuple[int, ...]
    element: Attribute
    extents: tuple[Size, ...]
    rows: Rows | None = None
    scalar: SSAValue | None = None

    @property
    def dtype(self) -> str:
        """The element type in local memory."""
        return held_dtype(self.element)

    @property
    def rank(self) -> int:
        return len(self.shape)

    def is_whole(self) -> bool:
        """Whether it lies in rows that cover all its axes in order."""
        return self.rows is not None and self.rows.axes == tuple(range(self.rank))
