"""Which elements of its memory a view has, to know that two views share none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from infini_ir.dialects.tile import program, view_type

MOST_RUNS = 64
"""Runs of elements into which a footprint is taken apart; of more, the hull counts."""

Run = tuple[int, int]
"""Elements from the first number to before the second."""


@dataclass(frozen=True)
class Footprint:
    """The elements `offset + sum(i[k] * stride[k])`, with i[k] below size[k], of a memory.
    Strides are positive and sizes more than 1; `empty` where there are none."""

    offset: int
    axes: tuple[tuple[int, int], ...]
    """(stride, size), the longest stride first."""
    empty: bool = False

    def last(self) -> int:
        return self.offset + sum(stride * (size - 1) for stride, size in self.axes)


def footprint_of(view: SSAValue) -> Footprint | None:
    """The elements of a view among those of its root; None where sizes are not known."""
    offset = 0
    shape, strides = view_type(view).shape, view_type(view).strides
    while isinstance(view.owner, program.AliasOp):
        moved = view.owner.offset.data[0].value
        if moved is None:
            return None
        offset += moved
        view = view.owner.source
    axes: list[tuple[int, int]] = []
    for size, stride in ((n.value, s.value) for n, s in zip(shape, strides, strict=True)):
        if size is None or stride is None:
            return None
        if size == 0:
            return Footprint(0, (), empty=True)
        if stride < 0:
            offset += stride * (size - 1)
        if stride and size > 1:
            axes.append((abs(stride), size))
    return Footprint(offset, tuple(sorted(axes, reverse=True)))


def disjoint(a: Footprint, b: Footprint) -> bool:
    """Whether two views surely have no element in common.

    Their elements are compared modulo each of their strides: a border and what is inside
    it, or two blocks of the channels of an image, differ in their place in a row.
    """
    if a.empty or b.empty or a.last() < b.offset or b.last() < a.offset:
        return True
    periods = {stride for stride, _ in (*a.axes, *b.axes)}
    return any(
        not _meet(_runs(a, period), _runs(b, period)) for period in periods if period > 1
    )


def _runs(footprint: Footprint, period: int) -> list[Run]:
    """The elements modulo a period."""
    axes = [(stride, size) for stride, size in footprint.axes if stride % period]
    length = 1
    while axes and axes[-1][0] <= length:
        stride, size = axes.pop()
        length += stride * (size - 1)
    starts = [footprint.offset % period]
    for number, (stride, size) in enumerate(axes):
        if len(starts) * size > MOST_RUNS:
            length += sum(s * (n - 1) for s, n in axes[number:])
            break
        starts = [start + stride * i for start in starts for i in range(size)]
    return list(_wrapped(starts, length, period))


def _wrapped(starts: Sequence[int], length: int, period: int) -> Iterable[Run]:
    for start in starts:
        begin = start % period
        if length >= period:
            yield 0, period
        elif begin + length > period:
            yield begin, period
            yield 0, begin + length - period
        else:
            yield begin, begin + length


def _meet(a: Sequence[Run], b: Sequence[Run]) -> bool:
    return any(x[0] < y[1] and y[0] < x[1] for x in a for y in b)
