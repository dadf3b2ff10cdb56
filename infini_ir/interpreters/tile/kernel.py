"""Running kernels: every program of the grid in turn, tiles as numpy slices."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import DictionaryAttr, IntegerAttr
from xdsl.ir import Block, Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile import tile_type, view_type
from infini_ir.interpreters import scalar
from infini_ir.interpreters.tile.memory import (
    Array,
    Memory,
    RaceLog,
    Tile,
    as_element,
    common_extent,
    element_dtype,
    meet,
    signless,
    spread,
)
from infini_ir.utils.errors import ModelError
from infini_ir.utils.symbolic import Dim

DEFAULT_PARAMETERS = {"BM": 3, "BH": 3, "BW": 5, "BN": 5, "BK": 3, "BR": 3, "BC": 5}
"""Tile sizes where no plan gives them: small and odd, so that edges are exercised."""


def run_kernel(
    kernel: tile.KernelOp,
    views: Sequence[Array | Memory],
    symbols: Mapping[str, int] | None = None,
    parameters: Mapping[str, int] | None = None,
    *,
    check_races: bool = False,
) -> None:
    """
    Run a kernel's whole grid on views, in order. The views may be strided numpy arrays;
    those that the kernel writes are changed. Symbols that are not given take the sizes of
    the views. The kernel's plan gives the tile sizes, else `parameters`, else the defaults.

    Raises `ModelError` where tiles do not fit or, with `check_races`, programs are not
    independent.
    """
    memories = [v if isinstance(v, Memory) else Memory.of_array(v) for v in views]
    sizes = {**DEFAULT_PARAMETERS, **(parameters or {}), **planned_parameters(kernel)}
    sizes.update(_sizes_of_views(kernel, memories))
    sizes.update(symbols or {})
    races = RaceLog(kernel.sym_name.data) if check_races else None
    axes = [
        range(0, bound.evaluate(sizes), step.evaluate(sizes))
        for bound, step in zip(kernel.bounds.data, kernel.steps.data, strict=True)
    ]
    constant: dict[SSAValue, Any] = dict(zip(kernel.views, memories, strict=True))
    with np.errstate(all="ignore"):
        for number, offsets in enumerate(itertools.product(*axes)):
            if races is not None:
                races.program = number
            values = dict(constant)
            values.update(zip(kernel.offsets, map(np.int64, offsets), strict=True))
            _Program(sizes, values, races).run(kernel.body.block)


def planned_parameters(kernel: tile.KernelOp) -> dict[str, int]:
    """The tile sizes that a kernel's plan fixes."""
    plan = kernel.plan.data if isinstance(kernel.plan, DictionaryAttr) else {}
    return {
        name: plan[name].value.data  # pyright: ignore[reportAttributeAccessIssue]
        for name in DEFAULT_PARAMETERS
        if isinstance(plan.get(name), IntegerAttr)
    }


def _sizes_of_views(kernel: tile.KernelOp, memories: Sequence[Memory]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for value, memory in zip(kernel.views, memories, strict=True):
        for dim, size in zip(view_type(value).shape, memory.shape, strict=True):
            if dim.name is not None:
                sizes.setdefault(dim.name, size)
    return sizes


class _Program:
    """One program of a grid: the values it has computed so far."""

    def __init__(
        self, sizes: Mapping[str, int], values: dict[SSAValue, Any], races: RaceLog | None
    ) -> None:
        self.sizes = sizes
        self.values = values
        self.races = races

    def run(self, block: Block) -> tuple[SSAValue, ...]:
        """Run a block; returns the operands of its terminator."""
        for op in block.ops:
            if isinstance(op, tile.YieldOp):
                return tuple(op.values)
            rule = _RULES.get(type(op))
            if rule is not None:
                rule(self, op)
            elif scalar.can_run(op):
                scalar.run_op(op, self.values)
            else:
                raise ModelError(f"'{op.name}' is not an operation of a kernel")
        return ()

    def sizes_of(self, dims: Sequence[Dim]) -> tuple[int, ...]:
        return tuple(dim.evaluate(self.sizes) for dim in dims)

    def memory(self, view: SSAValue) -> Memory:
        return self.values[view]

    def tile(self, value: SSAValue) -> Tile:
        return self.values[value]

    def index(self, value: SSAValue) -> int:
        return int(self.values[value])

    def give(self, result: SSAValue, data: Array, is_open: Sequence[bool]) -> None:
        element = element_dtype(tile_type(result).element)
        self.values[result] = Tile(as_element(data, element), tuple(is_open))


def _slices(
    p: _Program, memory: Memory, offsets: Sequence[SSAValue], sizes: Mapping[int, int]
) -> tuple[tuple[int | slice, ...] | None, list[int]]:
    """Where an access falls, as an index of the view's array (None where nothing is, so that
    a position may be outside), and the extent of its tile."""
    where: list[int | slice] = []
    extent: dict[int, int] = {}
    outside = ""
    for axis, value in enumerate(offsets):
        start, size = p.index(value), memory.shape[axis]
        if axis in sizes:
            stop = min(start + sizes[axis], size)
            where.append(slice(start, stop))
            extent[axis] = max(stop - start, 0)
        else:
            where.append(start)
        if start < 0 or (axis not in sizes and start >= size):
            outside = f"position {start} is outside axis {axis} of size {size}"
    shape = [extent[axis] for axis in sizes]
    if outside and 0 not in shape:
        raise ModelError(outside)
    return None if outside else tuple(where), shape


def _in_view_order(axes: Sequence[int]) -> tuple[int, ...]:
    """The permutation that takes a tile of these axes to the view's order of axes."""
    return tuple(sorted(range(len(axes)), key=lambda i: axes[i]))


def _load(p: _Program, op: tile.LoadOp) -> None:
    memory, axes = p.memory(op.view), op.axis_list
    capacity = p.sizes_of(tile_type(op.out).shape)
    where, extent = _slices(p, memory, op.offsets, dict(zip(axes, capacity, strict=True)))
    if where is None:
        p.values[op.out] = Tile.sized(np.empty(extent, memory.flat.dtype))
        return
    if p.races is not None:
        p.races.read(memory, where)
    order = np.argsort(_in_view_order(axes)) if axes else ()
    p.values[op.out] = Tile.sized(np.array(memory.array[where]).transpose(order))


def _store(p: _Program, op: tile.StoreOp) -> None:
    memory, axes = p.memory(op.view), op.axis_list
    capacity = p.sizes_of(tile_type(op.value).shape)
    where, extent = _slices(p, memory, op.offsets, dict(zip(axes, capacity, strict=True)))
    data = p.tile(op.value).cut(extent).data.transpose(_in_view_order(axes))
    if where is None:
        return
    if p.races is not None:
        p.races.write(memory, where)
    array = memory.array
    array[where] = _COMBINE[op.combine.data](array[where], data)


_COMBINE: dict[tile.Combine, Callable[[Array, Array], Array]] = {
    tile.Combine.set: lambda old, new: new,
    tile.Combine.add: np.add,
    tile.Combine.mul: np.multiply,
    tile.Combine.max: np.maximum,
    tile.Combine.min: np.minimum,
}


def _positions(
    p: _Program,
    positions: Sequence[SSAValue],
    dims: Sequence[Sequence[int]],
    extent: Sequence[int],
) -> list[Array]:
    """The position operands, spread over a tile of that extent."""
    result: list[Array] = []
    for value, axes in zip(positions, dims, strict=True):
        held = p.values[value]
        array = spread(held, axes, extent) if isinstance(held, Tile) else np.asarray(held)
        result.append(np.broadcast_to(array.astype(np.int64), tuple(extent)))
    return result


def _covers(
    p: _Program, values: Sequence[SSAValue], dims: Sequence[Sequence[int]]
) -> list[tuple[Tile, Sequence[int]]]:
    pairs = [(p.values[value], axes) for value, axes in zip(values, dims, strict=True)]
    return [(held, axes) for held, axes in pairs if isinstance(held, Tile)]


def _gather(p: _Program, op: tile.GatherOp) -> None:
    memory, capacity = p.memory(op.view), p.sizes_of(tile_type(op.out).shape)
    extent, is_open = common_extent(capacity, _covers(p, op.positions, op.dim_lists))
    where = _positions(p, op.positions, op.dim_lists, extent)
    for axis, array in enumerate(where):
        size = memory.shape[axis]
        if any(is_open):
            # What lies beyond the extent that the user will need is never looked at.
            where[axis] = np.clip(array, 0, max(size - 1, 0))
        elif np.any((array < 0) | (array >= size)):
            raise ModelError(f"a gathered position is outside axis {axis} of size {size}")
    if p.races is not None:
        p.races.read(memory, tuple(where))
    p.give(op.out, memory.array[tuple(where)].reshape(extent), is_open)


def _scatter(p: _Program, op: tile.ScatterOp) -> None:
    memory, held = p.memory(op.view), p.tile(op.value)
    covers = [(held, range(held.data.ndim)), *_covers(p, op.positions, op.dim_lists)]
    extent, _ = common_extent(p.sizes_of(tile_type(op.value).shape), covers)
    data = held.cut(extent).data.reshape(-1)
    where = [a.reshape(-1) for a in _positions(p, op.positions, op.dim_lists, extent)]
    inside = np.ones(data.shape, np.bool_)
    for array, size in zip(where, memory.shape, strict=True):
        inside &= (array >= 0) & (array < size)
    places = tuple(array[inside] for array in where)
    if p.races is not None:
        p.races.write(memory, places)
    combine, array = _COMBINE[op.combine.data], memory.array
    for number, value in enumerate(data[inside]):
        place = tuple(int(axis[number]) for axis in places)
        array[place] = combine(array[place], value)


def _full(p: _Program, op: tile.FullOp) -> None:
    shape = p.sizes_of(tile_type(op.out).shape)
    p.give(op.out, np.full(shape, p.values[op.scalar]), (True,) * len(shape))


def _open(p: _Program, op: tile.OpenOp) -> None:
    data = p.tile(op.x).data
    p.give(op.out, data, (True,) * data.ndim)


def _map(p: _Program, op: tile.MapOp) -> None:
    capacity = p.sizes_of(tile_type(op.outs[0]).shape)
    extent, is_open = common_extent(capacity, _covers(p, op.inputs, op.dim_lists))
    block = op.body.block
    for argument, value, dims in zip(block.args, op.inputs, op.dim_lists, strict=True):
        held = p.values[value]
        array = spread(held, dims, extent) if isinstance(held, Tile) else np.asarray(held)
        p.values[argument] = signless(array)
    for inner in block.ops:
        if isinstance(inner, tile.YieldOp):
            for out, value in zip(op.outs, inner.values, strict=True):
                p.give(out, np.broadcast_to(p.values[value], extent), is_open)
        elif isinstance(inner, tile.CoordOp):
            axis = inner.axis.value.data
            shape = [extent[axis] if a == axis else 1 for a in range(len(extent))]
            p.values[inner.out] = np.arange(extent[axis], dtype=np.int64).reshape(shape)
        else:
            scalar.run_op(inner, p.values)


def _limit(dtype: np.dtype, *, highest: bool) -> Any:
    if dtype == np.bool_:
        return highest
    if dtype.kind in "iu":
        return np.iinfo(dtype).max if highest else np.iinfo(dtype).min
    return dtype.type(np.inf if highest else -np.inf)


def _reduce(p: _Program, op: tile.ReduceOp) -> None:
    held, kind, axes = p.tile(op.x), op.kind.data, op.axis_list
    data, dtype = held.data, held.data.dtype
    if kind is tile.ReduceKind.add:
        out = np.add.reduce(data, axis=axes, dtype=dtype)
    elif kind is tile.ReduceKind.mul:
        out = np.multiply.reduce(data, axis=axes, dtype=dtype)
    elif kind is tile.ReduceKind.max:
        out = np.maximum.reduce(data, axis=axes, initial=_limit(dtype, highest=False))
    else:
        out = np.minimum.reduce(data, axis=axes, initial=_limit(dtype, highest=True))
    is_open = [o for axis, o in enumerate(held.open) if axis not in axes]
    p.give(op.out, np.asarray(out), is_open)


_SCAN: dict[tile.ReduceKind, np.ufunc] = {
    tile.ReduceKind.add: np.add,
    tile.ReduceKind.mul: np.multiply,
    tile.ReduceKind.max: np.maximum,
    tile.ReduceKind.min: np.minimum,
}


def _neutral(kind: tile.ReduceKind, dtype: np.dtype) -> Any:
    if kind in (tile.ReduceKind.add, tile.ReduceKind.mul):
        return dtype.type(kind is tile.ReduceKind.mul)
    return _limit(dtype, highest=kind is tile.ReduceKind.min)


def _scan(p: _Program, op: tile.ScanOp) -> None:
    held, kind = p.tile(op.x), op.kind.data
    data = np.moveaxis(held.data, op.along, 0)
    if op.reverse is not None:
        data = data[::-1]
    out = _SCAN[kind].accumulate(data, axis=0, dtype=data.dtype)
    if op.exclusive is not None and len(out):
        out = np.concatenate([np.full_like(out[:1], _neutral(kind, data.dtype)), out[:-1]])
    if op.reverse is not None:
        out = out[::-1]
    p.give(op.out, np.moveaxis(out, 0, op.along), held.open)


def _dot(p: _Program, op: tile.DotOp) -> None:
    lhs, rhs, acc = p.tile(op.lhs), p.tile(op.rhs), p.tile(op.acc)
    if op.transposed is not None:
        rhs = Tile(rhs.data.T, rhs.open[::-1])
    k, _ = meet((lhs.data.shape[-1], lhs.open[-1]), (rhs.data.shape[0], rhs.open[0]))
    dtype = acc.data.dtype
    product = np.matmul(lhs.data[..., :k].astype(dtype), rhs.data[:k].astype(dtype))
    whole = Tile(product, (*lhs.open[:-1], rhs.open[1]))
    extent, is_open = common_extent(
        acc.data.shape, [(t, range(t.data.ndim)) for t in (whole, acc)]
    )
    total = whole.cut(extent).data + acc.cut(extent).data
    p.give(op.out, total, is_open)


def _for(p: _Program, op: tile.ForOp) -> None:
    block = op.body.block
    position, *arguments = block.args
    carried = [p.tile(value) for value in op.carried]
    for k in range(0, p.index(op.to), op.step_size.evaluate(p.sizes)):
        p.values[position] = np.int64(k)
        p.values.update(zip(arguments, carried, strict=True))
        carried = [p.tile(value) for value in p.run(block)]
    p.values.update(zip(op.outs, carried, strict=True))


def _size(p: _Program, op: tile.SizeOp) -> None:
    p.values[op.out] = np.int64(op.dim.evaluate(p.sizes))


def _read(p: _Program, op: tile.ReadOp) -> None:
    memory = p.memory(op.view)
    where, _ = _slices(p, memory, op.offsets, {})
    assert where is not None, "a single position is inside"
    if p.races is not None:
        p.races.read(memory, where)
    p.values[op.out] = signless(np.array(memory.array[where]))


_RULES: dict[type[Operation], Callable[[_Program, Any], None]] = {
    tile.LoadOp: _load,
    tile.StoreOp: _store,
    tile.GatherOp: _gather,
    tile.ScatterOp: _scatter,
    tile.FullOp: _full,
    tile.OpenOp: _open,
    tile.MapOp: _map,
    tile.ReduceOp: _reduce,
    tile.ScanOp: _scan,
    tile.DotOp: _dot,
    tile.ForOp: _for,
    tile.SizeOp: _size,
    tile.ReadOp: _read,
}
