"""Loaded values whose memory is written before their last use: they are copied first.

Loads emit nothing where they stand; who needs an element reads it then. That is the value
of the load as long as the program does not write the memory in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from xdsl.ir import Operation, SSAValue

from infini_ir.dialects import tile

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter

Write = tile.StoreOp | tile.ScatterOp


def keep_before(e: KernelEmitter, writes: Sequence[Write]) -> None:
    """Copy the loaded tiles that `writes`, which come next, take away from later users, or
    from themselves where they read other elements than they write."""
    for view in {write.view for write in writes}:
        for value in list(e.loaded.get(view, ())):
            if _needed_after(e, value, writes) or any(
                _reads_elsewhere(e, write.value, value, writes, aligned=True)
                for write in writes
            ):
                _keep(e, value)


def keep_before_loop(e: KernelEmitter, loop: tile.ForOp) -> None:
    """Copy the tiles loaded before a loop from memory that its body writes."""
    written = {op.view for op in loop.body.walk() if isinstance(op, Write)}
    for view in written:
        for value in list(e.loaded.get(view, ())):
            if _needed_after(e, value, ()):
                _keep(e, value)


def _keep(e: KernelEmitter, value: SSAValue) -> None:
    memory = e.scratch_tile(value)
    e.prepare(value)
    e.sweep([(value, memory)], e.extents(value))
    e.sources[value] = memory
    for values in e.loaded.values():
        if value in values:
            values.remove(value)


def _needed_after(e: KernelEmitter, value: SSAValue, now: Iterable[Operation]) -> bool:
    """Whether an operation that is not emitted yet, other than those `now`, needs a value."""
    for use in value.uses:
        user = use.operation
        if user in now or (user in e.emitted and not _is_lazy(user)):
            continue
        if not _is_lazy(user):
            return True
        if any(
            not e.is_computed(result) and _needed_after(e, result, now)
            for result in user.results
        ):
            return True
    return False


def _is_lazy(op: Operation) -> bool:
    return isinstance(op, tile.MapOp | tile.ReduceOp | tile.GatherOp | tile.OpenOp)


def _reads_elsewhere(
    e: KernelEmitter,
    value: SSAValue,
    loaded: SSAValue,
    writes: Sequence[Write],
    *,
    aligned: bool,
) -> bool:
    """Whether `value` at a point depends on `loaded` at other points than the writes'."""
    owner = value.owner
    if value is loaded:
        assert isinstance(owner, tile.LoadOp | tile.GatherOp)
        return not aligned or not all(
            _same_slice(owner, w) for w in writes if w.view is owner.view
        )
    if not isinstance(owner, Operation) or not _is_lazy(owner) or e.is_computed(value):
        return False
    identity = tuple(range(tile.tile_type(value).rank))
    dims = owner.dim_lists if isinstance(owner, tile.MapOp) else [()] * len(owner.operands)
    return any(
        _reads_elsewhere(e, operand, loaded, writes, aligned=aligned and covers == identity)
        for operand, covers in zip(owner.operands, dims, strict=False)
        if isinstance(operand.type, tile.TileType)
    )


def _same_slice(load: Operation | object, write: Write) -> bool:
    return (
        isinstance(load, tile.LoadOp)
        and isinstance(write, tile.StoreOp)
        and load.axis_list == write.axis_list
        and all(a is b for a, b in zip(load.offsets, write.offsets, strict=True))
    )
