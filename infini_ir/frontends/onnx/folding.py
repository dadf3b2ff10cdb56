"""Evaluation of graph operations on known numbers, and on symbolic elements.

Symbolic elements are `Dim`, bool, or any other object for one that is not known; a rule
gives None for a result that it cannot tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product as cartesian
from typing import Any

import numpy as np
from xdsl.ir import Operation

from infini_ir.dialects import graph
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.utils import dtypes
from infini_ir.utils.errors import InfiniError
from infini_ir.utils.symbolic import ONE, ZERO, Dim, maximum, minimum


def fold_numbers(op: Operation, arrays: Sequence[np.ndarray]) -> list[np.ndarray] | None:
    """The results for known operands, by the reference interpreter."""
    if isinstance(op, graph.ConstantOp):
        return [op.array()]
    if isinstance(op, graph.DimOp | graph.WeightOp) or (not op.operands and not _is_iota(op)):
        return None
    move = _MOVES.get(type(op))
    if move is not None and type(op) not in (graph.GatherOp, graph.CastOp):
        moved = move(op, *arrays)
        return None if moved is None else [moved]
    from infini_ir.interpreters.graph import evaluate_op

    try:
        with np.errstate(all="ignore"):
            return [np.asarray(result) for result in evaluate_op(op, list(arrays))]
    except (InfiniError, LookupError, ValueError, TypeError, ArithmeticError):
        # A missing fold costs speed, never correctness.
        return None


def _is_iota(op: Operation) -> bool:
    return isinstance(op, graph.IotaOp)


def fold_symbols(op: Operation, arrays: Sequence[np.ndarray]) -> np.ndarray | None:
    """The one result as an object array; None elements and None are not known."""
    if isinstance(op, graph.DimOp):
        return _objects([op.dim], ())
    rule = _MOVES.get(type(op))
    if rule is not None:
        return rule(op, *(_as_objects(a) for a in arrays))
    if not _integral(op):
        return None
    operands = [_as_objects(array) for array in arrays]
    if isinstance(op, graph.ReduceOp):
        return _reduce(op, operands[0])
    element = _ELEMENTS.get(type(op))
    if element is None:
        return None
    shape = tensor_type(op.results[0]).static_shape()
    values = [element(op, *row) for row in zip(*(a.flat for a in operands), strict=True)]
    return _objects(values, shape)


def _objects(values: Sequence[Any], shape: tuple[int, ...]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array.reshape(shape)


def _as_objects(array: np.ndarray) -> np.ndarray:
    if array.dtype == object:
        return array
    if array.dtype == np.bool_:
        return _objects([bool(v) for v in array.flat], array.shape)
    if dtypes.is_integer(dtypes.dtype_name(array.dtype)):
        return _objects([Dim.of(int(v)) for v in array.flat], array.shape)
    return _objects([None] * array.size, array.shape)


def _integral(op: Operation) -> bool:
    kinds = [tensor_type(v).dtype for v in (*op.operands, *op.results)]
    return not any(dtypes.is_float(kind) for kind in kinds)


# Data movement


def _broadcast(op: graph.BroadcastOp, x: np.ndarray) -> np.ndarray:
    return np.broadcast_to(x, tensor_type(op.out).static_shape()).copy()


def _reshape(op: graph.ReshapeOp, x: np.ndarray) -> np.ndarray:
    return x.reshape(tensor_type(op.out).static_shape())


def _slice(op: graph.SliceOp, x: np.ndarray, *dynamic: np.ndarray) -> np.ndarray | None:
    if dynamic:
        return None
    index = []
    sizes = tensor_type(op.out).static_shape()
    for start, step, size in zip(op.starts.data, op.step_list, sizes, strict=True):
        assert start.value is not None
        index.append(start.value + step * np.arange(size))
    return x[np.ix_(*index)] if index else x


def _gather(op: graph.GatherOp, x: np.ndarray, indices: np.ndarray) -> np.ndarray | None:
    axis = op.axis.value.data
    places = [i.value if isinstance(i, Dim) else None for i in indices.flat]
    if any(place is None for place in places) or not x.shape[axis]:
        return None
    clamped = np.clip(np.array(places, np.int64), 0, x.shape[axis] - 1)
    # One axis of indices: numpy turns a 0-d array of objects into its object.
    return np.take(x, clamped, axis).reshape(tensor_type(op.out).static_shape())


def _cast(op: graph.CastOp, x: np.ndarray) -> np.ndarray | None:
    if not _integral(op):
        return None
    target, source = tensor_type(op.out).dtype, tensor_type(op.x).dtype
    if target == source:
        return x
    if target == "i1":
        return _objects([_truth(e) for e in x.flat], x.shape)
    if source == "i1":
        values = [(ONE if e else ZERO) if isinstance(e, bool) else None for e in x.flat]
        return _objects(values, x.shape)
    # Sizes are taken to fit 32 bits; narrower types wrap too soon to follow.
    return x if target in ("i64", "i32", "ui64", "ui32") else None


_MOVES: dict[type[Operation], Callable[..., np.ndarray | None]] = {
    graph.BroadcastOp: _broadcast,
    graph.ReshapeOp: _reshape,
    graph.TransposeOp: lambda op, x: np.transpose(x, op.permutation),
    graph.ConcatOp: lambda op, *xs: np.concatenate(xs, op.axis.value.data),
    graph.SliceOp: _slice,
    graph.GatherOp: _gather,
    graph.CastOp: _cast,
}


# Arithmetic on elements


def _on_sizes(function: Callable[[Dim, Dim], Any]) -> Callable[..., Any]:
    def rule(op: Operation, *elements: Any) -> Any:
        if all(isinstance(e, Dim) for e in elements):
            return function(*elements)
        return None

    return rule


def _divide(a: Dim, b: Dim) -> Dim | None:
    if a.value is not None and b.value is not None:
        if not b.value:
            return ZERO
        quotient = abs(a.value) // abs(b.value)
        return Dim.of(quotient if (a.value < 0) == (b.value < 0) else -quotient)
    exact = a.exact_divide(b) if b.value else None
    if exact is not None:
        return exact
    if b.value is not None and b.value > 0 and a.is_nonnegative():
        return a // b
    return None


def _remainder(a: Dim, b: Dim) -> Dim | None:
    if a.value is not None and b.value is not None:
        return Dim.of(int(np.fmod(a.value, b.value))) if b.value else ZERO
    if b.value is not None and b.value > 0 and a.is_nonnegative():
        return a % b
    return None


def _compare(op: graph.CompareOp, a: Any, b: Any) -> bool | None:
    predicate = str(op.predicate.data.value)
    if isinstance(a, bool) and isinstance(b, bool):
        a, b = Dim.of(int(a)), Dim.of(int(b))
    if not isinstance(a, Dim) or not isinstance(b, Dim):
        return None
    return compare_sizes(predicate, a, b)


def compare_sizes(predicate: str, a: Dim, b: Dim) -> bool | None:
    """Whether the relation holds for all values of the symbols, or for none; else None."""
    if predicate in ("le", "gt"):
        return compare_sizes("ge" if predicate == "le" else "lt", b, a)
    above, below = a - b, b - a
    if predicate in ("eq", "ne"):
        if a is b:
            return predicate == "eq"
        if (above - 1).is_nonnegative() or (below - 1).is_nonnegative():
            return predicate == "ne"
        return None
    if above.is_nonnegative():
        return predicate == "ge"
    if (below - 1).is_nonnegative():
        return predicate == "lt"
    return None


def _truth(element: Any) -> bool | None:
    if isinstance(element, bool):
        return element
    return compare_sizes("ne", element, ZERO) if isinstance(element, Dim) else None


def _select(op: Operation, condition: Any, a: Any, b: Any) -> Any:
    if isinstance(condition, bool):
        return a if condition else b
    return a if a is b else None


def _on_bools(
    bools: Callable[..., bool | None], numbers: Callable[..., int]
) -> Callable[..., Any]:
    """A logical operation: on bools (None is unknown), on known integers otherwise."""

    def rule(op: Operation, *elements: Any) -> Any:
        if tensor_type(op.results[0]).dtype == "i1":
            return bools(*(e if isinstance(e, bool) else None for e in elements))
        if all(isinstance(e, Dim) and e.is_constant for e in elements):
            return Dim.of(numbers(*(e.value for e in elements)))
        return None

    return rule


def _and(a: bool | None, b: bool | None) -> bool | None:
    if a is False or b is False:
        return False
    return None if a is None or b is None else True


def _or(a: bool | None, b: bool | None) -> bool | None:
    if a or b:
        return True
    return None if a is None or b is None else False


_ELEMENTS: dict[type[Operation], Callable[..., Any]] = {
    graph.NegOp: _on_sizes(lambda a: -a),  # pyright: ignore[reportArgumentType]
    graph.AbsOp: _on_sizes(lambda a: maximum(a, -a)),  # pyright: ignore[reportArgumentType]
    graph.AddOp: _on_sizes(lambda a, b: a + b),
    graph.SubOp: _on_sizes(lambda a, b: a - b),
    graph.MulOp: _on_sizes(lambda a, b: a * b),
    graph.DivOp: _on_sizes(_divide),
    graph.RemOp: _on_sizes(_remainder),
    graph.MaxOp: _on_sizes(maximum),
    graph.MinOp: _on_sizes(minimum),
    graph.CompareOp: _compare,
    graph.SelectOp: _select,
    graph.AndOp: _on_bools(_and, lambda a, b: a & b),
    graph.OrOp: _on_bools(_or, lambda a, b: a | b),
    graph.XorOp: _on_bools(
        lambda a, b: None if a is None or b is None else a != b, lambda a, b: a ^ b
    ),
    graph.NotOp: _on_bools(lambda a: None if a is None else not a, lambda a: ~a),
}

_COMBINE: dict[str, Callable[[Dim, Dim], Dim]] = {
    "sum": lambda a, b: a + b,
    "prod": lambda a, b: a * b,
    "max": maximum,
    "min": minimum,
}


def _reduce(op: graph.ReduceOp, x: np.ndarray) -> np.ndarray | None:
    kind, shape = str(op.kind.data.value), tensor_type(op.out).static_shape()
    if tensor_type(op.x).dtype == "i1" or (not x.size and kind in ("max", "min")):
        return None
    kept = [axis for axis in range(x.ndim) if axis not in op.axis_list]
    groups: list[Any] = []
    moved = x.transpose([*kept, *op.axis_list])
    for place in cartesian(*(range(x.shape[axis]) for axis in kept)):
        groups.append(_combine(kind, list(moved[place].flat) if kept else list(moved.flat)))
    return _objects(groups, shape)


def _combine(kind: str, elements: list[Any]) -> Dim | None:
    total: Dim | None = {"sum": ZERO, "prod": ONE}.get(kind)
    for element in elements:
        if not isinstance(element, Dim):
            return None
        total = element if total is None else _COMBINE[kind](total, element)
    return total
