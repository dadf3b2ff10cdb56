"""Rules of gathers, scatters, sorting and nonzero."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from infini_ir.dialects import graph
from infini_ir.interpreters.graph.scope import Array, Rule, Scope


def clamped(indices: Array, size: int) -> Array:
    """Indices moved into [0, size)."""
    if indices.dtype == np.uint64:
        indices = np.minimum(indices, np.uint64(np.iinfo(np.int64).max))
    return np.clip(indices.astype(np.int64), 0, max(size - 1, 0))


def _gather(op: graph.GatherOp, operands: list[Array], scope: Scope) -> Array:
    x, indices = operands
    axis = op.axis.value.data
    if x.shape[axis] == 0:
        return np.zeros((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype)
    return np.take(x, clamped(indices, x.shape[axis]), axis=axis)


def _gather_nd(op: graph.GatherNdOp, operands: list[Array], scope: Scope) -> Array:
    x, indices = operands
    batch, depth = op.batch_dims.value.data, indices.shape[-1]
    rest = x.shape[batch + depth :]
    if 0 in x.shape[: batch + depth]:
        return np.zeros((*indices.shape[:-1], *rest), x.dtype)
    rank = indices.ndim - 1
    selectors = [
        np.arange(x.shape[i]).reshape([-1 if j == i else 1 for j in range(rank)])
        for i in range(batch)
    ]
    selectors += [clamped(indices[..., j], x.shape[batch + j]) for j in range(depth)]
    if not depth and not batch:
        return np.broadcast_to(x, (*indices.shape[:-1], *rest))
    picked = x[tuple(selectors)]
    return np.broadcast_to(picked, (*indices.shape[:-1], *rest))


_COMBINE = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def _scatter_nd(op: graph.ScatterNdOp, operands: list[Array], scope: Scope) -> Array:
    """Narrow floats combine in f32 and round at the end."""
    x, indices, updates = operands
    depth, kind = indices.shape[-1], op.combine.data.name
    heads, rest = x.shape[:depth], x.shape[depth:]
    tuples = int(np.prod(indices.shape[:-1], dtype=np.int64))
    flat = indices.reshape(tuples, depth).astype(np.int64)
    inside = ((flat >= 0) & (flat < np.asarray(heads, np.int64))).all(axis=1)
    pitches = [int(np.prod(heads[i + 1 :], dtype=np.int64)) for i in range(depth)]
    rows = (flat @ np.asarray(pitches, np.int64).reshape(depth, 1))[inside, 0]
    count = int(np.prod(heads, dtype=np.int64))
    values = updates.reshape(tuples, *rest)[inside]
    if kind == "set":
        result = x.reshape(count, *rest).copy()
        result[rows] = values
    else:
        result = np.array(scope.widen(x).reshape(count, *rest))
        _COMBINE[kind].at(result, rows, scope.widen(values))
    return result.reshape(x.shape).astype(x.dtype, copy=False)


def sort_order(keys: Sequence[Array], axis: int, descending: bool) -> Array:
    """Positions that sort by the first key, its ties by the next; stable, NaN greatest."""
    order = np.broadcast_to(_positions(keys[0].shape, axis), keys[0].shape)
    for key in reversed(keys):
        current = np.take_along_axis(key, order, axis)
        order = np.take_along_axis(order, _stable_order(current, axis, descending), axis)
    return order


def _positions(shape: Sequence[int], axis: int) -> Array:
    return np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))])


def _stable_order(key: Array, axis: int, descending: bool) -> Array:
    if not descending:
        return np.argsort(key, axis=axis, kind="stable")
    # Sorted backwards twice, equal elements come out in their first order.
    backwards = np.argsort(np.flip(key, axis), axis=axis, kind="stable")
    return np.flip(key.shape[axis] - 1 - backwards, axis)


def _sort(op: graph.SortOp, operands: list[Array], scope: Scope) -> Sequence[Array]:
    axis = op.axis.value.data
    keys = [scope.widen(x) for x in operands[: op.keys.value.data]]
    order = sort_order(keys, axis, op.descending is not None)
    return [np.take_along_axis(x, order, axis) for x in operands]


def _topk(op: graph.TopkOp, operands: list[Array], scope: Scope) -> Sequence[Array]:
    x, axis = operands[0], op.axis.value.data
    order = sort_order([scope.widen(x)], axis, op.largest is not None)
    first = np.take(order, np.arange(scope.shape(op.values)[axis]), axis=axis)
    return np.take_along_axis(x, first, axis), first.astype(np.int64)


def _nonzero(op: graph.NonzeroOp, operands: list[Array], scope: Scope) -> Array:
    x = scope.widen(operands[0])
    if x.ndim:
        result = np.stack(np.nonzero(x)).astype(np.int64)
    else:
        result = np.zeros((0, int(x != 0)), np.int64)
    scope.symbols[op.symbol.data] = result.shape[1]
    return result


RULES: dict[type, Rule] = {
    graph.GatherOp: _gather,
    graph.GatherNdOp: _gather_nd,
    graph.ScatterNdOp: _scatter_nd,
    graph.SortOp: _sort,
    graph.TopkOp: _topk,
    graph.NonzeroOp: _nonzero,
}
