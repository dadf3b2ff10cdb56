"""Elementwise rules. Narrow floats compute in f32 and round once; integers never trap."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from infini_ir.dialects import graph
from infini_ir.dialects.graph import tensor_type
from infini_ir.interpreters.graph.conversion import convert, reinterpret
from infini_ir.interpreters.graph.scope import Array, Rule, Scope


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) without overflow on either side."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small).astype(x.dtype) / (1 + small)


_ERF_STEP = 1 / 64
_ERF_LIMIT = 6.0
_ERF_TERMS = 8


@cache
def _erf_table() -> Array:
    """Taylor coefficients of erf around each multiple of the step in [0, limit].

    The derivatives of exp(-x*x) are Hermite polynomials times itself:
    H0 = 1, H1 = 2x, H(k+1) = 2x Hk - 2k H(k-1), with alternating sign.
    """
    centre = np.arange(int(_ERF_LIMIT / _ERF_STEP) + 1) * _ERF_STEP
    table = np.zeros((_ERF_TERMS, centre.size))
    table[0] = [math.erf(x) for x in centre]
    density = 2 / math.sqrt(math.pi) * np.exp(-centre * centre)
    before, hermite = np.zeros_like(centre), np.ones_like(centre)
    for k in range(_ERF_TERMS - 1):
        table[k + 1] = (-1) ** k * density * hermite / math.factorial(k + 1)
        before, hermite = hermite, 2 * centre * hermite - 2 * k * before
    return table


def erf(x: Array) -> Array:
    """Gauss error function, computed in f64 (error under 2e-16) and rounded to x's dtype."""
    wide = np.abs(x.astype(np.float64))
    inside = np.where(wide < _ERF_LIMIT, wide, _ERF_LIMIT)
    index = np.rint(inside / _ERF_STEP).astype(np.int64)
    offset, table = inside - index * _ERF_STEP, _erf_table()
    total = table[-1][index]
    for row in table[-2::-1]:
        total = total * offset + row[index]
    total = np.where(np.isnan(wide), np.nan, np.minimum(total, 1.0))
    return np.copysign(total, x.astype(np.float64)).astype(x.dtype)


def divide(a: Array, b: Array) -> Array:
    """Integers: toward zero, x/0 = 0, lowest/-1 = lowest."""
    if a.dtype.kind == "f":
        return np.divide(a, b)
    one = a.dtype.type(1)
    safe = np.where((b == 0) | _is_minus_one(b), one, b)
    quotient = np.floor_divide(a, safe)
    toward_zero = (quotient < 0) & (quotient * safe != a)
    quotient = np.where(toward_zero, quotient + one, quotient)
    quotient = np.where(_is_minus_one(b), np.negative(a), quotient)
    return np.where(b == 0, a.dtype.type(0), quotient)


def _is_minus_one(b: Array) -> Array:
    return (b == -1) if b.dtype.kind == "i" else np.zeros(b.shape, bool)


def _remainder(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return np.fmod(a, b)
    # x rem 0 is defined as 0, and x rem -1 is 0, which hardware may trap on.
    safe = np.where((b == 0) | _is_minus_one(b), a.dtype.type(1), b)
    return np.fmod(a, safe)


def _power(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return np.power(a, b)
    if b.dtype.kind == "u":
        return np.power(a, b)
    positive = np.power(a, np.where(b < 0, b.dtype.type(0), b))
    odd = (b & 1) != 0
    inverse = np.where(a == 1, 1, np.where(a == -1, np.where(odd, -1, 1), 0)).astype(a.dtype)
    return np.where(b < 0, inverse, positive)


def _shift_left(a: Array, b: Array) -> Array:
    inside = (b >= 0) & (b < 8 * a.dtype.itemsize)
    return np.where(inside, np.left_shift(a, np.where(inside, b, 0).astype(b.dtype)), 0)


def _shift_right(a: Array, b: Array) -> Array:
    inside = (b >= 0) & (b < 8 * a.dtype.itemsize)
    last = a.dtype.type(8 * a.dtype.itemsize - 1)
    filled = np.right_shift(a, last) if a.dtype.kind == "i" else np.zeros_like(a)
    return np.where(inside, np.right_shift(a, np.where(inside, b, 0).astype(b.dtype)), filled)


_UNARY: dict[type[graph.UnaryOp], Callable[[Array], Array]] = {
    graph.NegOp: np.negative,
    graph.AbsOp: np.abs,
    graph.FloorOp: np.floor,
    graph.CeilOp: np.ceil,
    graph.RoundOp: np.rint,
    graph.SqrtOp: np.sqrt,
    graph.RsqrtOp: lambda x: 1 / np.sqrt(x),
    graph.ExpOp: np.exp,
    graph.Expm1Op: np.expm1,
    graph.LogOp: np.log,
    graph.Log1pOp: np.log1p,
    graph.SinOp: np.sin,
    graph.CosOp: np.cos,
    graph.TanOp: np.tan,
    graph.TanhOp: np.tanh,
    graph.SigmoidOp: sigmoid,
    graph.ErfOp: erf,
    graph.NotOp: np.invert,
}

_BINARY: dict[type[graph.BinaryOp], Callable[[Array, Array], Array]] = {
    graph.AddOp: np.add,
    graph.SubOp: np.subtract,
    graph.MulOp: np.multiply,
    graph.DivOp: divide,
    graph.RemOp: _remainder,
    graph.PowOp: _power,
    graph.MaxOp: np.maximum,
    graph.MinOp: np.minimum,
    graph.Atan2Op: np.arctan2,
    graph.AndOp: np.bitwise_and,
    graph.OrOp: np.bitwise_or,
    graph.XorOp: np.bitwise_xor,
    graph.ShlOp: _shift_left,
    graph.ShrOp: _shift_right,
}

_COMPARE: dict[str, Callable[[Array, Array], Array]] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


def _elementwise(function: Callable[..., Array]) -> Rule:
    def rule(op: graph.GraphOp, operands: list[Array], scope: Scope) -> Array:
        result = function(*map(scope.widen, operands))
        return np.asarray(result).astype(operands[0].dtype, copy=False)

    return rule


def _compare(op: graph.CompareOp, operands: list[Array], scope: Scope) -> Array:
    return _COMPARE[op.predicate.data.name](*map(scope.widen, operands))


def _select(op: graph.SelectOp, operands: list[Array], scope: Scope) -> Array:
    return np.where(*operands)


def _cast(op: graph.CastOp, operands: list[Array], scope: Scope) -> Array:
    rounding = op.rounding.data.name if op.rounding is not None else None
    saturate = op.saturate is not None
    wanted = tensor_type(op.out).dtype
    return convert(operands[0], wanted, scope, saturate=saturate, rounding=rounding)


def _bitcast(op: graph.BitcastOp, operands: list[Array], scope: Scope) -> Array:
    return reinterpret(operands[0], tensor_type(op.x).dtype, tensor_type(op.out).dtype, scope)


RULES: dict[type, Rule] = {
    **{op: _elementwise(function) for op, function in _UNARY.items()},
    **{op: _elementwise(function) for op, function in _BINARY.items()},
    graph.CompareOp: _compare,
    graph.SelectOp: _select,
    graph.CastOp: _cast,
    graph.BitcastOp: _bitcast,
}
