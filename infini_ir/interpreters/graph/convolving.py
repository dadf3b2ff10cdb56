"""Direct rules of convolution and pooling: a sum or maximum over filter taps, each one a
strided slice of the padded operand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from infini_ir.dialects import graph
from infini_ir.dialects.graph import Layout, ints_of, tensor_type
from infini_ir.interpreters.graph.elementwise import divide
from infini_ir.interpreters.graph.reducing import (
    contraction_type,
    finish_contraction,
    identity,
)
from infini_ir.interpreters.graph.scope import Array, Rule, Scope
from infini_ir.interpreters.graph.shaping import pad


def _channels_first(x: Array, layout: Layout) -> Array:
    return x if layout is Layout.channels_first else np.moveaxis(x, -1, 1)


def _taps(
    sizes: Sequence[int],
    counts: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Each position in the window, and the slice of spatial axes that it reads."""
    for tap in product(*map(range, sizes)):
        slices = (
            slice(i * d, i * d + (n - 1) * s + 1, s)
            for i, d, n, s in zip(tap, dilations, counts, strides, strict=True)
        )
        yield tap, tuple(slices)


def _conv(op: graph.ConvOp, operands: list[Array], scope: Scope) -> Array:
    layout, groups = op.layout.data, op.groups.value.data
    x = _channels_first(operands[0], layout)
    w = operands[1]
    if layout is Layout.channels_last:
        w = np.moveaxis(w, (-1, -2), (0, 1))
    out = tensor_type(op.out).dtype
    work = contraction_type(x, w, math.prod(w.shape[1:]))
    x, w = x.astype(work, copy=False), w.astype(work, copy=False)
    lo, hi = scope.sizes(op.lo.data, op), scope.sizes(op.hi.data, op)
    interior = [d - 1 for d in ints_of(op.input_dilation)]
    x = pad(x, op.border_value, (0, 0, *lo), (0, 0, *hi), (0, 0, *interior))
    counts = _channels_first_shape(scope.shape(op.out), layout)[2:]
    result = _correlate(x, w, groups, counts, ints_of(op.strides), ints_of(op.dilations))
    if op.bias is not None:
        bias = scope.widen(operands[2]).astype(work, copy=False)
        result = result + bias.reshape(-1, *[1] * len(counts))
    if layout is Layout.channels_last:
        result = np.moveaxis(result, 1, -1)
    return finish_contraction(result, out, scope)


def _channels_first_shape(shape: tuple[int, ...], layout: Layout) -> tuple[int, ...]:
    return shape if layout is Layout.channels_first else (shape[0], shape[-1], *shape[1:-1])


def _correlate(
    x: Array,
    w: Array,
    groups: int,
    counts: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> Array:
    """x: [N, C, spatial..] already padded, w: [O, C/groups, kernel..]."""
    batch, outer, inner = x.shape[0], w.shape[0], w.shape[1]
    points = math.prod(counts)
    total = np.zeros((batch, groups, outer // groups, points), x.dtype)
    if not total.size:
        return total.reshape(batch, outer, *counts)
    filters = w.reshape(groups, outer // groups, inner, *w.shape[2:])
    for tap, where in _taps(w.shape[2:], counts, strides, dilations):
        part = x[(slice(None), slice(None), *where)].reshape(batch, groups, inner, points)
        weights = np.ascontiguousarray(filters[(..., *tap)])
        if inner == 1:
            total += weights * part
        else:
            total += np.matmul(weights, part)
    return total.reshape(batch, outer, *counts)


def _pool(op: graph.PoolOp, operands: list[Array], scope: Scope) -> Array:
    layout, kind = op.layout.data, op.kind.data.name
    x = _channels_first(scope.widen(operands[0]), layout)
    sizes, strides, dilations = map(ints_of, (op.sizes, op.strides, op.dilations))
    lo, hi = scope.sizes(op.lo.data, op), scope.sizes(op.hi.data, op)
    counts = _channels_first_shape(scope.shape(op.out), layout)[2:]
    filler = identity("max" if kind == "max" else "sum", x.dtype)
    padded = pad(x, filler, (0, 0, *lo), (0, 0, *hi))
    result = np.full((*x.shape[:2], *counts), filler, x.dtype)
    combine = np.maximum if kind == "max" else np.add
    if result.size:
        for _, where in _taps(sizes, counts, strides, dilations):
            result = combine(result, padded[(slice(None), slice(None), *where)])
    if kind == "avg":
        result = divide(result, _elements(op, x.shape[2:], counts, scope).astype(x.dtype))
    if layout is Layout.channels_last:
        result = np.moveaxis(result, 1, -1)
    return result.astype(operands[0].dtype, copy=False)


def _elements(
    op: graph.PoolOp, spatial: Sequence[int], counts: Sequence[int], scope: Scope
) -> Array:
    """How many elements each window averages over."""
    sizes, strides, dilations = map(ints_of, (op.sizes, op.strides, op.dilations))
    lo = scope.sizes(op.lo.data, op)
    extra = scope.sizes(op.count_hi.data, op) if op.count_hi is not None else None
    total = np.ones((), np.int64)
    for i, count in enumerate(counts):
        start = np.arange(count)[:, None] * strides[i] - lo[i]
        position = start + np.arange(sizes[i])[None, :] * dilations[i]
        end = spatial[i] + (extra[i] if extra is not None else 0)
        real = (position < end) & ((position >= 0) | (extra is not None))
        total = total[..., None] * real.sum(axis=1)
    return total


RULES: dict[type, Rule] = {graph.ConvOp: _conv, graph.PoolOp: _pool}
