"""Where a value lies: elements of some memory, picked by an offset and strides.

Transposing, broadcasting, slicing, sliding windows and most reshapes of a placed value are
only other placements of the same memory: they cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from xdsl.ir import SSAValue

from infini_ir.dialects.graph.shaping import window_count
from infini_ir.dialects.tile.types import ViewType, dense_strides
from infini_ir.utils.symbolic import ONE, ZERO, Dim, product

Size = int | Dim


def dims(values: Sequence[Size]) -> tuple[Dim, ...]:
    """Sizes as `Dim`s."""
    return tuple(Dim.of(value) for value in values)


@dataclass(frozen=True)
class Placement:
    """
    Elements of the memory `root` (a view of the host program): the element at position p is
    `offset + sum(p[i] * strides[i])` elements after the beginning of the root.

    Placements are equal when they are the same elements of the same root in the same order.
    `root` is None for values that are computed from positions (see `Placement.positions`).
    """

    root: SSAValue | None
    offset: Dim
    shape: tuple[Dim, ...]
    strides: tuple[Dim, ...]
    dtype: str

    @staticmethod
    def of(root: SSAValue) -> Placement:
        """The whole of a view of the host program that is its own root."""
        memory = root.type
        assert isinstance(memory, ViewType), memory
        return Placement(root, ZERO, memory.shape, memory.strides, memory.dtype)

    @staticmethod
    def positions(shape: Sequence[Size], axis: int, dtype: str) -> Placement:
        """No memory: the value at a position is the position along `axis`."""
        sizes = dims(shape)
        strides = tuple(ONE if i == axis else ZERO for i in range(len(sizes)))
        return Placement(None, ZERO, sizes, strides, dtype)

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def view_type(self) -> ViewType:
        """The type of a view of these elements."""
        return ViewType.of(self.shape, self.dtype, self.strides)

    def element_count(self) -> Dim:
        return product(self.shape)

    def is_empty(self) -> bool:
        """Whether it surely has no elements."""
        return any(size is ZERO for size in self.shape)

    def is_dense(self) -> bool:
        """Row-major without gaps; the strides of axes of size 1 do not matter."""
        dense = dense_strides(self.shape)
        return self.root is not None and all(
            stride is wanted or size is ONE
            for size, stride, wanted in zip(self.shape, self.strides, dense, strict=True)
        )

    def same_elements(self, other: Placement) -> bool:
        """Equal but for the strides of axes of size 1."""
        return (
            self.root is other.root
            and self.offset is other.offset
            and self.shape == other.shape
            and all(
                a is b or size is ONE
                for size, a, b in zip(self.shape, self.strides, other.strides, strict=True)
            )
        )

    # Other placements of the same memory

    def transposed(self, perm: Sequence[int]) -> Placement:
        """Axis i of the result is axis `perm[i]`."""
        return replace(
            self,
            shape=tuple(self.shape[axis] for axis in perm),
            strides=tuple(self.strides[axis] for axis in perm),
        )

    def broadcast(self, shape: Sequence[Size]) -> Placement:
        """Repeated to a shape, aligned at the right; only literal sizes 1 repeat."""
        sizes = dims(shape)
        lead = len(sizes) - self.rank
        strides = [ZERO] * lead
        for own, stride, wanted in zip(self.shape, self.strides, sizes[lead:], strict=True):
            strides.append(ZERO if own is ONE and wanted is not ONE else stride)
        return replace(self, shape=sizes, strides=tuple(strides))

    def sliced(
        self,
        starts: Sequence[Size],
        steps: Sequence[int] | None,
        sizes: Sequence[Size],
    ) -> Placement:
        """Elements `start + i * step` of each axis; steps may be negative, None is all 1."""
        steps = steps if steps is not None else [1] * self.rank
        offset = self.offset
        strides: list[Dim] = []
        for start, step, stride in zip(starts, steps, self.strides, strict=True):
            offset = offset + stride * start
            strides.append(stride * step)
        return replace(self, offset=offset, shape=dims(sizes), strides=tuple(strides))

    def sliced_axis(self, axis: int, start: Size, size: Size) -> Placement:
        """`size` elements of one axis from `start` on."""
        starts: list[Size] = [0] * self.rank
        sizes: list[Size] = list(self.shape)
        starts[axis], sizes[axis] = start, size
        return self.sliced(starts, None, sizes)

    def indexed(self, axis: int, position: Size) -> Placement:
        """One position of an axis; the axis is gone."""
        kept = [i for i in range(self.rank) if i != axis]
        return replace(
            self,
            offset=self.offset + self.strides[axis] * position,
            shape=tuple(self.shape[i] for i in kept),
            strides=tuple(self.strides[i] for i in kept),
        )

    def window(
        self,
        axes: Sequence[int],
        sizes: Sequence[Size],
        strides: Sequence[int],
        dilations: Sequence[int],
    ) -> Placement:
        """Sliding windows: the listed axes count windows, last axes are inside a window."""
        shape, steps = list(self.shape), list(self.strides)
        for axis, size, stride, dilation in zip(axes, sizes, strides, dilations, strict=True):
            shape[axis] = window_count(shape[axis], size, stride, dilation)
            shape.append(Dim.of(size))
            steps.append(steps[axis] * dilation)
            steps[axis] = steps[axis] * stride
        return replace(self, shape=tuple(shape), strides=tuple(steps))

    def reshaped(self, shape: Sequence[Size]) -> Placement | None:
        """Another shape in row-major order, or None where no strides give it."""
        sizes = dims(shape)
        if sizes == self.shape:
            return self
        if self.is_empty():
            return replace(self, shape=sizes, strides=dense_strides(sizes))
        strides = _reshaped_strides(_runs(self.shape, self.strides), sizes)
        return None if strides is None else replace(self, shape=sizes, strides=strides)

    def dropped(self, axes: Sequence[int]) -> Placement:
        """Without the listed axes, whose first position is kept."""
        kept = [i for i in range(self.rank) if i not in axes]
        return self.transposed(kept)


def _runs(shape: Sequence[Dim], strides: Sequence[Dim]) -> list[tuple[Dim, Dim]]:
    """(size, stride) of the largest groups of neighbouring axes that are one axis."""
    runs: list[tuple[Dim, Dim]] = []
    for size, stride in zip(shape, strides, strict=True):
        if size is ONE:
            continue
        if runs and runs[-1][1] is stride * size:
            runs[-1] = (runs[-1][0] * size, stride)
        else:
            runs.append((size, stride))
    return runs


def _reshaped_strides(
    runs: list[tuple[Dim, Dim]], sizes: Sequence[Dim]
) -> tuple[Dim, ...] | None:
    if len(runs) == 1:
        # One run takes any shape, also one whose size is equal only by a fact.
        return tuple(stride * runs[0][1] for stride in dense_strides(sizes))
    rest, step = runs.pop() if runs else (ONE, ONE)
    strides: list[Dim] = []
    for size in reversed(sizes):
        if size is not ONE and rest is ONE and runs:
            rest, step = runs.pop()
        smaller = rest.exact_divide(size)
        if smaller is None:
            return None
        strides.append(step)
        rest, step = smaller, step * size
    return tuple(reversed(strides)) if rest is ONE and not runs else None
