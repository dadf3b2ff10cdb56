"""Elementwise graph operations as scalar code.

f16 and bf16 compute in f32 and round after each operation, as the operations are defined.
Integers never trap: what hardware leaves open is guarded.
"""

from __future__ import annotations

from collections.abc import Callable

from xdsl.dialects import math
from xdsl.ir import Operation, SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph import tensor_type
from infini_ir.lowering.conversions import convert, reinterpret
from infini_ir.lowering.quantizing import quantized, quantizes_in_place
from infini_ir.lowering.scalar_builder import ScalarBuilder, bits_of
from infini_ir.utils import dtypes

HALVES = ("f16", "bf16")
Scalar = SSAValue

_MATH: dict[type[Operation], type[Operation]] = {
    graph.FloorOp: math.FloorOp,
    graph.CeilOp: math.CeilOp,
    graph.RoundOp: math.RoundEvenOp,
    graph.SqrtOp: math.SqrtOp,
    graph.ExpOp: math.ExpOp,
    graph.Expm1Op: math.ExpM1Op,
    graph.LogOp: math.LogOp,
    graph.Log1pOp: math.Log1pOp,
    graph.SinOp: math.SinOp,
    graph.CosOp: math.CosOp,
    graph.TanOp: math.TanOp,
    graph.TanhOp: math.TanhOp,
    graph.ErfOp: math.ErfOp,
}


def is_elementwise(op: Operation) -> bool:
    """Whether `elementwise` has a rule for the operation."""
    return isinstance(op, graph.ELEMENTWISE_OPS) or quantizes_in_place(op)


def elementwise(s: ScalarBuilder, op: Operation, args: list[Scalar]) -> Scalar:
    """The scalar code of an elementwise operation on scalars of its operands' types."""
    if isinstance(op, graph.QuantizeOp):
        return quantized(s, args[0], op)
    dtype = tensor_type(op.operands[-1]).dtype
    if isinstance(op, graph.CastOp):
        rounding = op.rounding.data.name if op.rounding is not None else "nearest"
        wanted = tensor_type(op.out).dtype
        saturate = op.saturate is not None
        return convert(s, args[0], dtype, wanted, saturate=saturate, rounding=rounding)
    if isinstance(op, graph.BitcastOp):
        return reinterpret(s, args[0], dtype, tensor_type(op.out).dtype)
    if isinstance(op, graph.SelectOp):
        return s.select(*args)
    if dtype in HALVES:
        args = [s.widen(arg) for arg in args]
    if isinstance(op, graph.CompareOp):
        unsigned = dtypes.is_unsigned(dtype) or dtype == "i1"
        return s.compare(op.predicate.data.name, *args, unsigned=unsigned)
    wide = "f32" if dtype in HALVES else dtype
    result = (
        _UNARY[type(op)](s, args[0], wide) if len(args) == 1 else _binary(s, op, args, wide)
    )
    return s.narrow(result, dtype) if dtype in HALVES else result


def _binary(s: ScalarBuilder, op: Operation, args: list[Scalar], dtype: str) -> Scalar:
    return _BINARY[type(op)](s, args[0], args[1], dtype)


# Unary ------------------------------------------------------------------------------------


def _abs(s: ScalarBuilder, x: Scalar, dtype: str) -> Scalar:
    if dtypes.is_float(dtype):
        return s.emit(math.AbsFOp(x))
    if dtypes.is_unsigned(dtype):
        return x
    return s.max(x, s.neg(x)) if bits_of(dtype) == 1 else _integer_abs(s, x)


def _integer_abs(s: ScalarBuilder, x: Scalar) -> Scalar:
    return s.select(s.compare("lt", x, s.like(0, x)), s.neg(x), x)


def _rsqrt(s: ScalarBuilder, x: Scalar, dtype: str) -> Scalar:
    return s.div(s.constant(1.0, dtype), s.emit(math.SqrtOp(x)))


def _sigmoid(s: ScalarBuilder, x: Scalar, dtype: str) -> Scalar:
    one = s.constant(1.0, dtype)
    return s.div(one, s.add(one, s.emit(math.ExpOp(s.neg(x)))))


def _by_math(op: type[Operation]) -> Callable[[ScalarBuilder, Scalar, str], Scalar]:
    return lambda s, x, dtype: s.emit(op(x))  # pyright: ignore[reportCallIssue, reportArgumentType]


_UNARY: dict[type[Operation], Callable[[ScalarBuilder, Scalar, str], Scalar]] = {
    graph.NegOp: lambda s, x, dtype: s.neg(x),
    graph.AbsOp: _abs,
    graph.RsqrtOp: _rsqrt,
    graph.SigmoidOp: _sigmoid,
    graph.NotOp: lambda s, x, dtype: s.not_(x),
    **{graph_op: _by_math(math_op) for graph_op, math_op in _MATH.items()},
}


# Binary -----------------------------------------------------------------------------------


def _safe_divisor(
    s: ScalarBuilder, b: Scalar, dtype: str
) -> tuple[Scalar, Scalar, Scalar | None]:
    """(a divisor that never traps, whether b is 0, whether b is -1)."""
    zero = s.compare("eq", b, s.constant(0, dtype))
    if dtypes.is_unsigned(dtype):
        return s.select(zero, s.constant(1, dtype), b), zero, None
    minus = s.compare("eq", b, s.constant(-1, dtype))
    return s.select(s.or_(zero, minus), s.constant(1, dtype), b), zero, minus


def _div(s: ScalarBuilder, a: Scalar, b: Scalar, dtype: str) -> Scalar:
    if dtypes.is_float(dtype):
        return s.div(a, b)
    safe, zero, minus = _safe_divisor(s, b, dtype)
    quotient = s.div(a, safe, unsigned=dtypes.is_unsigned(dtype))
    if minus is not None:
        quotient = s.select(minus, s.neg(a), quotient)
    return s.select(zero, s.constant(0, dtype), quotient)


def _rem(s: ScalarBuilder, a: Scalar, b: Scalar, dtype: str) -> Scalar:
    if dtypes.is_float(dtype):
        return s.rem(a, b)
    # The remainder by the safe divisor 1 is 0, as it is defined for 0 and is for -1.
    safe, _, _ = _safe_divisor(s, b, dtype)
    return s.rem(a, safe, unsigned=dtypes.is_unsigned(dtype))


def _pow(s: ScalarBuilder, a: Scalar, b: Scalar, dtype: str) -> Scalar:
    if dtypes.is_float(dtype):
        return s.emit(math.PowFOp(a, b))
    signed = not dtypes.is_unsigned(dtype)
    one, zero = s.constant(1, dtype), s.constant(0, dtype)
    result, base = one, a
    count = bits_of(dtype) - signed
    for bit in range(count):
        taken = s.and_(s.shr(b, s.constant(bit, dtype), unsigned=True), one)
        result = s.select(s.compare("ne", taken, zero), s.mul(result, base), result)
        if bit + 1 < count:
            base = s.mul(base, base)
    if not signed:
        return result
    # 1 / a**n truncates to 0 but for 1 and -1.
    odd = s.compare("ne", s.and_(b, one), zero)
    minus = s.constant(-1, dtype)
    sign = s.select(odd, minus, one)
    inverse = s.select(s.compare("eq", a, minus), sign, zero)
    inverse = s.select(s.compare("eq", a, one), one, inverse)
    return s.select(s.compare("lt", b, zero), inverse, result)


def _max(s: ScalarBuilder, a: Scalar, b: Scalar, dtype: str) -> Scalar:
    return s.or_(a, b) if dtype == "i1" else s.max(a, b, unsigned=dtypes.is_unsigned(dtype))


def _min(s: ScalarBuilder, a: Scalar, b: Scalar, dtype: str) -> Scalar:
    return s.and_(a, b) if dtype == "i1" else s.min(a, b, unsigned=dtypes.is_unsigned(dtype))


def _in_width(s: ScalarBuilder, b: Scalar, dtype: str) -> Scalar:
    # A negative amount is a great unsigned one.
    return s.compare("lt", b, s.constant(bits_of(dtype), dtype), unsigned=True)


def _shl(s: ScalarBuilder, a: Scalar, b: Scalar, dtype: str) -> Scalar:
    inside, zero = _in_width(s, b, dtype), s.constant(0, dtype)
    return s.select(inside, s.shl(a, s.select(inside, b, zero)), zero)


def _shr(s: ScalarBuilder, a: Scalar, b: Scalar, dtype: str) -> Scalar:
    inside, unsigned = _in_width(s, b, dtype), dtypes.is_unsigned(dtype)
    if unsigned:
        zero = s.constant(0, dtype)
        return s.select(inside, s.shr(a, s.select(inside, b, zero), unsigned=True), zero)
    return s.shr(a, s.select(inside, b, s.constant(bits_of(dtype) - 1, dtype)))


_BINARY: dict[type[Operation], Callable[[ScalarBuilder, Scalar, Scalar, str], Scalar]] = {
    graph.AddOp: lambda s, a, b, dtype: s.add(a, b),
    graph.SubOp: lambda s, a, b, dtype: s.sub(a, b),
    graph.MulOp: lambda s, a, b, dtype: s.mul(a, b),
    graph.DivOp: _div,
    graph.RemOp: _rem,
    graph.PowOp: _pow,
    graph.MaxOp: _max,
    graph.MinOp: _min,
    graph.Atan2Op: lambda s, a, b, dtype: s.emit(math.Atan2Op(a, b)),
    graph.AndOp: lambda s, a, b, dtype: s.and_(a, b),
    graph.OrOp: lambda s, a, b, dtype: s.or_(a, b),
    graph.XorOp: lambda s, a, b, dtype: s.xor(a, b),
    graph.ShlOp: _shl,
    graph.ShrOp: _shr,
}

COSTLY: tuple[type[Operation], ...] = (
    graph.ExpOp, graph.Expm1Op, graph.LogOp, graph.Log1pOp, graph.SinOp, graph.CosOp, graph.TanOp,
    graph.TanhOp, graph.SigmoidOp, graph.ErfOp, graph.PowOp, graph.Atan2Op, graph.DivOp, graph.RemOp,
    graph.SqrtOp, graph.RsqrtOp, graph.QuantizeOp,
)  # fmt: skip
"""Operations worth keeping the results of instead of computing them twice."""
