"""Rules of constants, shapes and data movement. Results may be views; nothing is written to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from infini_ir.dialects import graph
from infini_ir.dialects.dims import FactsAttr
from infini_ir.dialects.graph import ints_of, tensor_type
from infini_ir.interpreters.graph.conversion import convert
from infini_ir.interpreters.graph.scope import Array, Rule, Scope, where
from infini_ir.utils.errors import InputError, ModelError, SizeError
from infini_ir.utils.symbolic import Dim


def _constant(op: graph.ConstantOp, operands: list[Array], scope: Scope) -> Array:
    return scope.carry(op.array(), tensor_type(op.out).dtype)


def _weight(op: graph.WeightOp, operands: list[Array], scope: Scope) -> Array:
    name = op.handle.data
    if scope.weights is None:
        raise ModelError(
            f"{where(op)}: weight '{name}' has no data; run with the store it was added to"
        )
    return scope.carry(scope.weights.array(name), tensor_type(op.out).dtype)


def _iota(op: graph.IotaOp, operands: list[Array], scope: Scope) -> Array:
    shape, axis = scope.shape(op.out), op.axis.value.data
    line = convert(np.arange(shape[axis], dtype=np.int64), tensor_type(op.out).dtype, scope)
    along = [1] * len(shape)
    along[axis] = shape[axis]
    return np.broadcast_to(line.reshape(along), shape)


def _broadcast(op: graph.BroadcastOp, operands: list[Array], scope: Scope) -> Array:
    return np.broadcast_to(operands[0], scope.shape(op.out))


def _reshape(op: graph.ReshapeOp, operands: list[Array], scope: Scope) -> Array:
    shape = scope.shape(op.out)
    if operands[0].size != np.prod(shape, dtype=np.int64):
        raise InputError(
            f"{where(op)}: {list(operands[0].shape)} has {operands[0].size} elements and does "
            f"not reshape to {list(shape)}; give inputs whose sizes satisfy the model's facts"
        )
    return operands[0].reshape(shape)


def _transpose(op: graph.TransposeOp, operands: list[Array], scope: Scope) -> Array:
    return operands[0].transpose(op.permutation)


def _concat(op: graph.ConcatOp, operands: list[Array], scope: Scope) -> Array:
    return np.concatenate(operands, axis=op.axis.value.data)


def _starts(
    op: graph.SliceOp | graph.InsertSliceOp,
    given: Sequence[Array],
    limits: Sequence[int],
    sizes: Sequence[int],
    steps: Sequence[int],
    scope: Scope,
) -> list[int]:
    """Where a slice begins on each axis; run-time starts clamped so that it fits."""
    starts = list(scope.sizes(op.starts.data, op))
    for axis, value in zip(op.dynamic_axes, given, strict=True):
        reach = max(sizes[axis] - 1, 0) * abs(steps[axis])
        low, high = (0, limits[axis] - 1 - reach)
        if steps[axis] < 0:
            low, high = reach, limits[axis] - 1
        starts[axis] = max(low, min(int(value), high))
    for axis, (start, size, step) in enumerate(zip(starts, sizes, steps, strict=True)):
        last = start + (size - 1) * step
        if size and (min(start, last) < 0 or max(start, last) >= limits[axis]):
            raise InputError(
                f"{where(op)}: elements {start} to {last} of axis {axis}, which has "
                f"{limits[axis]}, do not exist; give inputs of fitting sizes"
            )
    return starts


def _slices(starts: Sequence[int], sizes: Sequence[int], steps: Sequence[int]) -> tuple:
    slices = []
    for start, size, step in zip(starts, sizes, steps, strict=True):
        stop = start + size * step
        slices.append(slice(start, None if stop < 0 else stop, step) if size else slice(0, 0))
    return tuple(slices)


def _slice(op: graph.SliceOp, operands: list[Array], scope: Scope) -> Array:
    x, sizes, steps = operands[0], scope.shape(op.out), op.step_list
    starts = _starts(op, operands[1:], x.shape, sizes, steps, scope)
    return x[_slices(starts, sizes, steps)]


def _insert_slice(op: graph.InsertSliceOp, operands: list[Array], scope: Scope) -> Array:
    x, update = operands[:2]
    steps = [1] * x.ndim
    starts = _starts(op, operands[2:], x.shape, update.shape, steps, scope)
    result = x.copy()
    result[_slices(starts, update.shape, steps)] = update
    return result


def pad(
    x: Array,
    value: Array | float,
    lo: Sequence[int],
    hi: Sequence[int],
    interior: Sequence[int] | None = None,
) -> Array:
    """`x` with elements of `value` around (cropped where negative) and in between."""
    interior = interior if interior is not None else [0] * x.ndim
    stretched = [n + max(n - 1, 0) * c for n, c in zip(x.shape, interior, strict=True)]
    shape = [n + a + b for n, a, b in zip(stretched, lo, hi, strict=True)]
    result = np.full(shape, value, dtype=x.dtype)
    target, source = [], []
    for n, size, low, step in zip(x.shape, shape, lo, (c + 1 for c in interior), strict=True):
        # Element i lands at low + i * step, if that is inside.
        first = max(0, -(low // step)) if low < 0 else 0
        end = min(n, -(-(size - low) // step)) if size > low else first
        end = max(end, first)
        source.append(slice(first, end))
        begin = low + first * step
        target.append(slice(begin, begin + (end - first - 1) * step + 1, step))
        if end == first:
            return result
    result[tuple(target)] = x[tuple(source)]
    return result


def _pad(op: graph.PadOp, operands: list[Array], scope: Scope) -> Array:
    scope.shape(op.out)
    lo, hi = scope.sizes(op.lo.data, op), scope.sizes(op.hi.data, op)
    return pad(operands[0], operands[1], lo, hi, op.interior_list)


def window(
    x: Array,
    axes: Sequence[int],
    counts: Sequence[int],
    sizes: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> Array:
    """A read-only view of sliding windows, their positions as new last axes."""
    shape, steps = list(x.shape), list(x.strides)
    inner: list[int] = []
    for axis, count, stride, dilation in zip(axes, counts, strides, dilations, strict=True):
        inner.append(x.strides[axis] * dilation)
        shape[axis], steps[axis] = count, x.strides[axis] * stride
    return np.lib.stride_tricks.as_strided(
        x, [*shape, *sizes], [*steps, *inner], writeable=False
    )


def _window(op: graph.WindowOp, operands: list[Array], scope: Scope) -> Array:
    axes, shape = ints_of(op.axes), scope.shape(op.out)
    counts = [shape[axis] for axis in axes]
    sizes = scope.sizes(op.sizes.data, op)
    if 0 in shape:
        return np.empty(shape, operands[0].dtype)
    return window(operands[0], axes, counts, sizes, ints_of(op.strides), ints_of(op.dilations))


def _dim(op: graph.DimOp, operands: list[Array], scope: Scope) -> Array:
    return np.asarray(scope.size(op.dim, op), dtype=np.int64)


def _bind(op: graph.BindOp, operands: list[Array], scope: Scope) -> Sequence[Array]:
    size = int(operands[0])
    if size < 0:
        raise SizeError(
            f"{where(op)}: size '{op.symbol.data}' is {size}; a size must not be negative, "
            "check the input that gives it"
        )
    scope.symbols[op.symbol.data] = size
    if op.facts is not None:
        check_facts(op.facts, scope, where(op))
    return ()


_RELATIONS = {"eq": int.__eq__, "le": int.__le__, "ge": int.__ge__}


def holds(fact: tuple[Dim, str, Dim], symbols: Mapping[str, int]) -> bool:
    """Whether a fact is true of the given sizes."""
    left, relation, right = fact
    return _RELATIONS[relation](left.evaluate(symbols), right.evaluate(symbols))


def check_facts(facts: FactsAttr, scope: Scope, what: str) -> None:
    """Raise `InputError` for the first fact that does not hold."""
    for left, relation, right in facts.data:
        sizes = scope.size(left), scope.size(right)
        if not holds((left, relation, right), scope.symbols):
            raise InputError(
                f"{what}: the model needs {left} {relation} {right}, but they are {sizes[0]} "
                f"and {sizes[1]}; give inputs of sizes that satisfy this"
            )


RULES: dict[type, Rule] = {
    graph.ConstantOp: _constant,
    graph.WeightOp: _weight,
    graph.IotaOp: _iota,
    graph.BroadcastOp: _broadcast,
    graph.ReshapeOp: _reshape,
    graph.TransposeOp: _transpose,
    graph.ConcatOp: _concat,
    graph.SliceOp: _slice,
    graph.InsertSliceOp: _insert_slice,
    graph.PadOp: _pad,
    graph.WindowOp: _window,
    graph.DimOp: _dim,
    graph.BindOp: _bind,
}
