"""Copies between local and global memory in the buffer interpreter."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from xdsl.ir import Operation

from infini_ir.dialects.buffer import memory
from infini_ir.dialects.tile import Combine
from infini_ir.interpreters.buffer.local import Lanes
from infini_ir.interpreters.tile.memory import Array, Memory
from infini_ir.utils.errors import ModelError

if TYPE_CHECKING:
    from infini_ir.interpreters.buffer.kernel import Core

COMBINE: dict[Combine, Callable[[Array, Array], Array]] = {
    Combine.set: lambda old, new: new,
    Combine.add: np.add,
    Combine.mul: np.multiply,
    Combine.max: np.maximum,
    Combine.min: np.minimum,
}


def _slice(
    core: Core, op: memory.CopyOp
) -> tuple[Memory, tuple[int | slice, ...], list[int]] | None:
    """The part of a view that moves, and how many elements of each axis; None for nothing."""
    held: Memory = core.values[op.view]
    extents = [core.index(e) for e in op.extents]
    if any(extent <= 0 for extent in extents):
        return None
    where: list[int | slice] = [core.index(o) for o in op.offsets]
    for axis, position in enumerate(where):
        count = extents[op.axis_list.index(axis)] if axis in op.axis_list else 1
        assert isinstance(position, int)
        if position < 0 or position + count > held.shape[axis]:
            raise ModelError(
                f"positions {position} to {position + count - 1} are outside axis {axis} of "
                f"size {held.shape[axis]}"
            )
        if axis in op.axis_list:
            where[axis] = slice(position, position + count)
    return held, tuple(where), extents


def _order(op: memory.CopyOp) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """From the view's order of axes to that of the copy, and back."""
    axes = op.axis_list
    back = tuple(sorted(range(len(axes)), key=lambda i: axes[i]))
    there = tuple(back.index(i) for i in range(len(axes)))
    return there, back


def _rows(
    core: Core, op: memory.CopyOp, extents: list[int]
) -> list[tuple[tuple[int, ...], int]]:
    """Each row: the indices of its outer axes, and where it lies in local memory."""
    start = core.index(op.local_offset)
    outer, pitches = extents[:-1], op.pitch_list
    if pitches and pitches[-1] != 1 and extents[-1] > 1:
        raise ModelError("elements of a row are neighbours in local memory")
    return [
        (at, start + sum(i * p for i, p in zip(at, pitches[:-1], strict=True)))
        for at in itertools.product(*map(range, outer))
    ]


def copy_in(core: Core, op: memory.CopyInOp) -> None:
    """Bytes into local memory, row by row."""
    part = _slice(core, op)
    if part is None:
        return
    held, where, extents = part
    data = np.array(held.array[where]).transpose(_order(op)[0])
    local = core.local(op.local)
    for at, begin in _rows(core, op, extents):
        row = np.atleast_1d(data[at])
        local.write(begin, _held(row))


def _held(row: Array) -> Lanes:
    size = np.dtype(row.dtype).itemsize
    kind = f"i{size}" if row.dtype.kind in "ub" else row.dtype
    return Lanes(np.ascontiguousarray(row).view(kind), np.ones(len(row), np.bool_))


def copy_out(core: Core, op: memory.CopyOutOp) -> None:
    """Bytes out of local memory, all of which somebody wrote."""
    part = _slice(core, op)
    if part is None:
        return
    held, where, extents = part
    local = core.local(op.local)
    dtype = held.array.dtype
    data = np.empty(extents, dtype)
    for at, begin in _rows(core, op, extents):
        count = extents[-1] if extents else 1
        row = local.read(begin, count).demand("stores")
        data[at] = row.view(dtype) if extents else row.view(dtype)[0]
    array = held.array
    array[where] = COMBINE[op.combine.data](array[where], data.transpose(_order(op)[1]))


RULES: dict[type[Operation], Callable[[Core, Any], None]] = {
    memory.CopyInOp: copy_in,
    memory.CopyOutOp: copy_out,
}
