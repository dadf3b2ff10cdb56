"""Rules of reductions, cumulative operations, contractions and random bits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from infini_ir.dialects import graph
from infini_ir.dialects.graph import tensor_type
from infini_ir.interpreters.graph.conversion import convert, integer_limits
from infini_ir.interpreters.graph.scope import Array, Rule, Scope, is_float_array, where
from infini_ir.utils import dtypes
from infini_ir.utils.errors import InputError


def identity(kind: str, dtype: np.dtype) -> int | float:
    """What a reduction of nothing gives."""
    if kind in ("sum", "prod"):
        return int(kind == "prod")
    if dtype == np.bool_:
        return kind == "min"
    if dtype.kind == "f":
        return -np.inf if kind == "max" else np.inf
    return integer_limits(dtypes.dtype_name(dtype))[0 if kind == "max" else 1]


def reduce(kind: str, x: Array, axes: Sequence[int], *, keep: bool = False) -> Array:
    """A reduction in x's dtype (bool, integer, f32 or f64); f32 sums accumulate in f64."""
    axis = tuple(axes)
    if kind in ("sum", "prod"):
        work = np.float64 if x.dtype == np.float32 else x.dtype
        function = np.sum if kind == "sum" else np.prod
        return np.asarray(function(x, axis=axis, dtype=work, keepdims=keep)).astype(x.dtype)
    function = np.max if kind == "max" else np.min
    return np.asarray(function(x, axis=axis, keepdims=keep, initial=identity(kind, x.dtype)))


def _reduce(op: graph.ReduceOp, operands: list[Array], scope: Scope) -> Array:
    x = operands[0]
    keep = op.keep is not None
    result = reduce(op.kind.data.name, scope.widen(x), op.axis_list, keep=keep)
    return result.astype(x.dtype, copy=False)


def _arg_reduce(op: graph.ArgReduceOp, operands: list[Array], scope: Scope) -> Array:
    x, axis = scope.widen(operands[0]), op.axis.value.data
    size, keep = x.shape[axis], op.keep is not None
    if x.size == 0:
        shape = scope.shape(op.out)
        if 0 not in shape:
            raise InputError(
                f"{where(op)}: axis {axis} is empty, so it has no {op.kind.data.name}; "
                "give inputs with at least one element there"
            )
        return np.zeros(shape, np.int64)
    function = np.argmax if op.kind.data.name == "max" else np.argmin
    if op.last is None:
        return np.asarray(function(x, axis=axis, keepdims=keep), np.int64)
    return np.asarray(size - 1 - function(np.flip(x, axis), axis=axis, keepdims=keep), np.int64)


_ACCUMULATE = {
    "sum": np.add,
    "prod": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}


def _cumulative(op: graph.CumulativeOp, operands: list[Array], scope: Scope) -> Array:
    x, axis, kind = scope.widen(operands[0]), op.axis.value.data, op.kind.data.name
    if x.shape[axis] == 0:
        return operands[0]
    if op.reverse is not None:
        x = np.flip(x, axis)
    if op.exclusive is not None:
        first = list(x.shape)
        first[axis] = 1
        head = np.full(first, identity(kind, x.dtype), x.dtype)
        kept = np.take(x, np.arange(x.shape[axis] - 1), axis=axis)
        x = np.concatenate([head, kept], axis=axis)
    narrow = x.dtype == np.float32 and kind in ("sum", "prod")
    work = np.float64 if narrow else x.dtype
    result = _ACCUMULATE[kind].accumulate(x, axis=axis, dtype=work)
    if op.reverse is not None:
        result = np.flip(result, axis)
    return result.astype(operands[0].dtype)


def contraction_type(lhs: Array, rhs: Array, terms: int) -> np.dtype:
    """The dtype to multiply and add in, so that results come out as documented.

    Floats add up in f64, as sums do: how numpy's products round differs from processor to
    processor and from column to column. Integer products go through f64 where that is exact, for speed, else through int64: the
    low bits of a sum are the same in any wider type.
    """
    if is_float_array(lhs):
        return np.dtype(np.float64)
    bound = terms * _magnitude(lhs) * _magnitude(rhs)
    return np.dtype(np.float64) if bound < 2**53 else np.dtype(np.int64)


def _magnitude(x: Array) -> int:
    if x.size == 0:
        return 0
    wide = x.astype(np.int64) if x.dtype.kind == "V" else x
    return max(abs(int(wide.max())), abs(int(wide.min())))


def finish_contraction(result: Array, out: str, scope: Scope) -> Array:
    """The sums as the result's element type: floats round, integers wrap."""
    if dtypes.is_integer(out):
        return convert(result.astype(np.int64), out, scope)
    return convert(result, out, scope)


def _dot(op: graph.DotOp, operands: list[Array], scope: Scope) -> Array:
    lhs, rhs = operands
    (lhs_batch, rhs_batch), (lhs_sum, rhs_sum) = op.batch, op.contract
    lhs_free, rhs_free = op.free()
    batch = [lhs.shape[a] for a in lhs_batch]
    rows, columns = [lhs.shape[a] for a in lhs_free], [rhs.shape[a] for a in rhs_free]
    terms = _count(lhs.shape[a] for a in lhs_sum)
    out = tensor_type(op.out).dtype
    work = contraction_type(lhs, rhs, terms)
    left = lhs.astype(work).transpose(*lhs_batch, *lhs_free, *lhs_sum)
    right = rhs.astype(work).transpose(*rhs_batch, *rhs_sum, *rhs_free)
    left = left.reshape(_count(batch), _count(rows), terms)
    right = right.reshape(_count(batch), terms, _count(columns))
    product = np.matmul(left, right).reshape((*batch, *rows, *columns))
    return finish_contraction(product, out, scope)


def _count(sizes) -> int:
    return int(np.prod(list(sizes), dtype=np.int64))


_PHILOX_ROUNDS = 10
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_KEY_STEPS = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox(counter: Sequence[Array], key: Sequence[int]) -> list[Array]:
    """Four words of Philox 4x32-10 for each counter of four words and a key of two."""
    c0, c1, c2, c3 = (np.asarray(word, np.uint64) for word in counter)
    k0, k1 = (np.uint64(word) for word in key)
    for _ in range(_PHILOX_ROUNDS):
        first, second = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (second >> _HALF) ^ c1 ^ k0,
            second & _LOW,
            (first >> _HALF) ^ c3 ^ k1,
            first & _LOW,
        )
        k0, k1 = (k0 + _KEY_STEPS[0]) & _LOW, (k1 + _KEY_STEPS[1]) & _LOW
    return [word.astype(np.uint32) for word in (c0, c1, c2, c3)]


def _rng(op: graph.RngOp, operands: list[Array], scope: Scope) -> Sequence[Array]:
    key, counter = (int(word) for word in operands[0])
    shape = scope.shape(op.bits)
    total = _count(shape)
    blocks = -(-total // 4)
    counters = np.arange(blocks, dtype=np.uint64) + np.uint64(counter)
    zero = np.zeros(blocks, np.uint64)
    words = philox(
        (counters & _LOW, counters >> _HALF, zero, zero), (key & 0xFFFFFFFF, key >> 32)
    )
    bits = np.stack(words, axis=1).reshape(-1)[:total].reshape(shape)
    following = (counter + blocks) & 0xFFFFFFFFFFFFFFFF
    return bits, np.array([key, following], np.uint64)


RULES: dict[type, Rule] = {
    graph.ReduceOp: _reduce,
    graph.ArgReduceOp: _arg_reduce,
    graph.CumulativeOp: _cumulative,
    graph.DotOp: _dot,
    graph.RngOp: _rng,
}
