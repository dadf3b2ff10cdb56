"""Evaluate straight-line scalar `arith` and `math` code on numpy arrays.

A scalar becomes an array (any shape, broadcast against the others), one element a lane, so
one call runs a region over a whole tile. Values have the dtype of their IR type: signless
`iN` is numpy `intN`, `i1` is bool, `index` is int64, and the unsigned operations reinterpret
the bits. Nothing traps: integer division by zero gives 0, a conversion out of range gives
some value.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, FloatAttr, IndexType, IntegerAttr
from xdsl.ir import Attribute, Block, Operation, SSAValue

from infini_ir.utils.dtypes import numpy_dtype

Array = np.ndarray
Rule = Callable[..., Array]


def run_region(block: Block, inputs: Sequence[Array]) -> list[Array]:
    """Run `block` with its arguments bound to `inputs`; returns what its yield passes on.

    The last operation is the terminator, of any name that ends in `yield` or `return`.
    Values from outside the block must be constants.
    """
    values: dict[SSAValue, Array] = {}
    for argument, value in zip(block.args, inputs, strict=True):
        values[argument] = np.asarray(value, dtype=dtype_of(argument.type))
    with np.errstate(all="ignore"):
        for op in block.ops:
            if op.name.endswith(("yield", "return")):
                return [_value(operand, values) for operand in op.operands]
            run_op(op, values)
    raise ValueError("the block has no terminator")


def run_op(op: Operation, values: dict[SSAValue, Array]) -> None:
    """Evaluate one operation, adding its results to `values`."""
    if isinstance(op, arith.ConstantOp):
        values[op.result] = _constant(op)
        return
    operands = [_value(operand, values) for operand in op.operands]
    if op.name in _MULTIPLE:
        results = _MULTIPLE[op.name](*operands)
    elif isinstance(op, arith.CmpiOp | arith.CmpfOp):
        table = _CMPI if isinstance(op, arith.CmpiOp) else _CMPF
        results = (table[op.predicate.value.data](*operands),)
    elif op.name in _CASTS:
        results = (_CASTS[op.name](operands[0], dtype_of(op.results[0].type)),)
    elif op.name in _RULES:
        results = (_RULES[op.name](*operands),)
    else:
        raise TypeError(f"no rule to evaluate '{op.name}'")
    for result, value in zip(op.results, results, strict=True):
        values[result] = np.asarray(value).astype(dtype_of(result.type), copy=False)


def can_run(op: Operation) -> bool:
    """Whether `run_op` has a rule for `op`."""
    return (
        isinstance(op, arith.ConstantOp | arith.CmpiOp | arith.CmpfOp)
        or op.name in _MULTIPLE
        or op.name in _CASTS
        or op.name in _RULES
    )


def dtype_of(type_: Attribute) -> np.dtype:
    """The numpy dtype of a scalar IR type (of the elements, for a shaped one)."""
    if isinstance(type_, IndexType):
        return np.dtype(np.int64)
    element = getattr(type_, "element_type", type_)
    return numpy_dtype(str(element))


def _value(value: SSAValue, values: dict[SSAValue, Array]) -> Array:
    if value not in values and isinstance(value.owner, arith.ConstantOp):
        values[value] = _constant(value.owner)
    return values[value]


def _constant(op: arith.ConstantOp) -> Array:
    dtype = dtype_of(op.result.type)
    if isinstance(op.value, IntegerAttr):
        number = op.value.value.data
        if dtype == np.bool_:
            return np.asarray(bool(number & 1))
        if dtype.kind != "i":
            return np.asarray(number).astype(dtype)
        wrapped = np.asarray(number & ((1 << 8 * dtype.itemsize) - 1), dtype=_unsigned(dtype))
        return wrapped.view(dtype)
    if isinstance(op.value, FloatAttr):
        return np.asarray(op.value.value.data).astype(dtype)
    if isinstance(op.value, DenseIntOrFPElementsAttr):
        return (
            np.asarray(list(op.value.get_values())).astype(dtype).reshape(op.value.get_shape())
        )
    raise TypeError(f"no rule to evaluate a constant {op.value}")


# Integers ---------------------------------------------------------------------------------


def _unsigned(dtype: np.dtype) -> np.dtype:
    return np.dtype(f"u{dtype.name}") if dtype.kind == "i" else dtype


def _bits(x: Array) -> Array:
    """The value with its bits read as unsigned."""
    return x.view(_unsigned(x.dtype))


def _on_unsigned(rule: Rule) -> Rule:
    return lambda a, b: rule(_bits(a), _bits(b)).view(a.dtype)


def _compare_unsigned(rule: Rule) -> Rule:
    return lambda a, b: rule(_bits(a), _bits(b))


def _on_bits_or_bool(rule: Rule, bool_rule: Rule) -> Rule:
    """numpy's arithmetic on bools is not modulo 2, so bools have a rule of their own."""
    return lambda a, b: bool_rule(a, b) if a.dtype == np.bool_ else rule(a, b)


def _divide_truncating(a: Array, b: Array) -> Array:
    """Quotient towards zero; 0 where the divisor is 0."""
    if a.dtype == np.bool_:
        return a & b
    safe = np.where(b == 0, b.dtype.type(1), b)
    floor = np.floor_divide(a, safe)
    inexact = floor * safe != a
    quotient = floor + (inexact & ((a < 0) != (safe < 0))).astype(a.dtype)
    return np.where(b == 0, a.dtype.type(0), quotient)


def _remainder_truncating(a: Array, b: Array) -> Array:
    """Remainder with the dividend's sign; 0 where the divisor is 0."""
    if a.dtype == np.bool_:
        return a & ~b
    safe = np.where(b == 0, b.dtype.type(1), b)
    return np.where(b == 0, a.dtype.type(0), np.fmod(a, safe))


def _divide_floor(a: Array, b: Array) -> Array:
    safe = np.where(b == 0, b.dtype.type(1), b)
    return np.where(b == 0, a.dtype.type(0), np.floor_divide(a, safe))


def _divide_ceil(a: Array, b: Array) -> Array:
    safe = np.where(b == 0, b.dtype.type(1), b)
    floor = np.floor_divide(a, safe)
    rounded = floor + (floor * safe != a).astype(a.dtype)
    return np.where(b == 0, a.dtype.type(0), rounded)


def _shift(rule: Rule, *, unsigned: bool) -> Rule:
    """A shift by the width or more gives 0, or the sign when arithmetic."""

    def shift(a: Array, b: Array) -> Array:
        if a.dtype == np.bool_:
            return a & ~b
        width = 8 * a.dtype.itemsize
        amount, values = _bits(b), (_bits(a) if unsigned else a)
        inside = rule(values, np.minimum(amount, width - 1).astype(values.dtype))
        filler = (
            values.dtype.type(0)
            if unsigned
            else np.where(a < 0, a.dtype.type(-1), a.dtype.type(0))
        )
        return np.where(amount < width, inside, filler).astype(values.dtype).view(a.dtype)

    return shift


def _multiply_extended(*, signed: bool) -> Callable[[Array, Array], tuple[Array, Array]]:
    """Low and high halves of the product, in exact Python integers for 64 bits."""

    def multiply(a: Array, b: Array) -> tuple[Array, Array]:
        width = 8 * a.dtype.itemsize
        x, y = (a, b) if signed else (_bits(a), _bits(b))
        product = x.astype(object) * y.astype(object)
        mask = (1 << width) - 1
        low = np.asarray(product & mask).astype(_unsigned(a.dtype)).view(a.dtype)
        high = np.asarray((product >> width) & mask).astype(_unsigned(a.dtype)).view(a.dtype)
        return low, high

    return multiply


def _add_extended(a: Array, b: Array) -> tuple[Array, Array]:
    total = a ^ b if a.dtype == np.bool_ else a + b
    return total, (a & b) if a.dtype == np.bool_ else _bits(total) < _bits(a)


def _count_bits(x: Array) -> Array:
    return np.bitwise_count(_bits(x)).astype(x.dtype)


def _leading_zeros(x: Array) -> Array:
    width = 8 * x.dtype.itemsize
    bits = _bits(x).copy()
    shift = 1
    while shift < width:
        bits |= bits >> bits.dtype.type(shift)
        shift *= 2
    return (width - np.bitwise_count(bits)).astype(x.dtype)


def _trailing_zeros(x: Array) -> Array:
    return np.bitwise_count(~_bits(x) & (_bits(x) - _bits(x).dtype.type(1))).astype(x.dtype)


def _integer_power(a: Array, b: Array) -> Array:
    result, base, exponent = np.ones_like(a), a.copy(), np.maximum(b, 0)
    while np.any(exponent):
        result = np.where(exponent & 1, result * base, result)
        base, exponent = base * base, exponent >> 1
    unit = np.where(a == -1, np.where(b & 1, a, -a), 0)
    return np.where(b < 0, np.where(a == 1, a, unit), result).astype(a.dtype)


# Floats -----------------------------------------------------------------------------------


def fma(a: Array, b: Array, c: Array) -> Array:
    """`a * b + c` rounded once.

    f32 goes through f64, where the product is exact, and a sum rounded to odd. f64 is the
    algorithm of Boldo and Melquiond (Emulation of a FMA and correctly rounded sums, 2008) on
    error-free products, and exact rationals in the lanes where those could under- or overflow.
    """
    a, b, c = np.broadcast_arrays(a, b, c)
    if a.dtype == np.float64:
        return _fma64(a, b, c)
    wide = [x.astype(np.float64) for x in (a, b, c)]
    return _add_to_odd(wide[0] * wide[1], wide[2]).astype(a.dtype)


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _add_to_odd(a: Array, b: Array) -> Array:
    """The f64 sum rounded to odd, so that a second rounding is right."""
    total, error = _two_sum(a, b)
    bits = np.asarray(total).view(np.int64)
    nudge = np.isfinite(total) & (error != 0) & (bits & 1 == 0)
    step = np.where((error > 0) == (total > 0), 1, -1)
    return np.where(nudge, bits + step, bits).view(np.float64)


def _two_product(a: Array, b: Array) -> tuple[Array, Array]:
    def split(x: Array) -> tuple[Array, Array]:
        scaled = x * 134217729.0
        high = scaled - (scaled - x)
        return high, x - high

    product = a * b
    ah, al = split(a)
    bh, bl = split(b)
    return product, al * bl - (((product - ah * bh) - al * bh) - ah * bl)


def _fma64(a: Array, b: Array, c: Array) -> Array:
    high, low = _two_product(a, b)
    partial, partial_low = _two_sum(c, low)
    total, total_low = _two_sum(high, partial)
    result = np.asarray(total + _add_to_odd(partial_low, total_low))

    def safe(x: Array, low: int, high: int) -> Array:
        exponent = np.frexp(x)[1]
        return (x == 0) | ((exponent > low) & (exponent < high))

    product = a * b
    easy = (
        safe(a, -900, 900)
        & safe(b, -900, 900)
        & safe(c, -1000, 1000)
        & safe(product, -800, 1000)
    )
    zero = (a == 0) | (b == 0) | (c == 0) & np.isfinite(product) & safe(product, -1000, 2000)
    finite = np.isfinite(a) & np.isfinite(b) & np.isfinite(c)
    result = np.where(finite & ~zero, result, product + c)
    hard = finite & ~zero & ~easy
    if np.any(hard):
        exact = [_exact_fma(*lane) for lane in zip(a[hard], b[hard], c[hard])]
        result[hard] = exact
    return result


def _exact_fma(a: float, b: float, c: float) -> float:
    total = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    try:
        rounded = float(total)
    except OverflowError:
        rounded = np.inf if total > 0 else -np.inf
    # An exact zero from nonzero terms is +0; an underflow keeps the sign.
    return -0.0 if rounded == 0 and total < 0 else rounded


def _minimum(x: Array, y: Array) -> Array:
    """IEEE 754-2019 minimum: NaN wins, -0 is below +0."""
    equal = np.where(np.signbit(x), x, y)
    return np.where(x == y, equal, np.minimum(x, y)).astype(x.dtype)


def _maximum(x: Array, y: Array) -> Array:
    equal = np.where(np.signbit(x), y, x)
    return np.where(x == y, equal, np.maximum(x, y)).astype(x.dtype)


def _erf(x: Array) -> Array:
    from math import erf

    return np.vectorize(erf, otypes=[np.float64])(x.astype(np.float64)).astype(x.dtype)


def _round_half_away(x: Array) -> Array:
    whole = np.trunc(x)
    return np.copysign(
        whole + np.where(np.abs(x - whole) >= 0.5, np.copysign(1, x), 0), x
    ).astype(x.dtype)


def _in_f64(rule: Rule) -> Rule:
    """Evaluate in f64 and round back: the reference for a narrower type."""

    def evaluate(*operands: Array) -> Array:
        wide = rule(*(x.astype(np.float64) if x.dtype.kind != "i" else x for x in operands))
        return np.asarray(wide).astype(operands[0].dtype)

    return evaluate


def _float_to_int(x: Array, dtype: np.dtype) -> Array:
    """Towards zero; NaN gives 0 and values out of range saturate."""
    info = np.iinfo(dtype)
    wide = np.where(np.isnan(x), 0.0, x.astype(np.float64))
    inside = np.where((wide >= float(info.min)) & (wide < float(info.max)), wide, 0.0).astype(
        dtype
    )
    clipped = np.where(wide >= float(info.max), dtype.type(info.max), inside)
    return np.where(wide < float(info.min), dtype.type(info.min), clipped)


def _fptosi(x: Array, dtype: np.dtype) -> Array:
    return x.astype(np.float64) <= -1 if dtype == np.bool_ else _float_to_int(x, dtype)


def _fptoui(x: Array, dtype: np.dtype) -> Array:
    if dtype == np.bool_:
        return x.astype(np.float64) >= 1
    return _float_to_int(x, _unsigned(dtype)).view(dtype)


def _sign_extend(x: Array, dtype: np.dtype) -> Array:
    return -x.astype(dtype) if x.dtype == np.bool_ else x.astype(dtype)


def _truncate(x: Array, dtype: np.dtype) -> Array:
    return x & 1 != 0 if dtype == np.bool_ else x.astype(dtype)


def _sitofp(x: Array, dtype: np.dtype) -> Array:
    return (-x.astype(np.int8) if x.dtype == np.bool_ else x).astype(dtype)


_CASTS: dict[str, Callable[[Array, np.dtype], Array]] = {
    "arith.bitcast": lambda x, dtype: x.view(dtype),
    "arith.extf": lambda x, dtype: x.astype(dtype),
    "arith.truncf": lambda x, dtype: x.astype(dtype),
    "arith.sitofp": _sitofp,
    "arith.uitofp": lambda x, dtype: _bits(x).astype(dtype),
    "arith.fptosi": _fptosi,
    "arith.fptoui": _fptoui,
    "arith.extsi": _sign_extend,
    "arith.extui": lambda x, dtype: _bits(x).astype(dtype),
    "arith.trunci": _truncate,
    "arith.index_cast": lambda x, dtype: (
        _sign_extend(x, dtype) if x.dtype == np.bool_ else _truncate(x, dtype)
    ),
}

_CMPI: tuple[Rule, ...] = (
    np.equal,
    np.not_equal,
    np.less,
    np.less_equal,
    np.greater,
    np.greater_equal,
    _compare_unsigned(np.less),
    _compare_unsigned(np.less_equal),
    _compare_unsigned(np.greater),
    _compare_unsigned(np.greater_equal),
)
"""By predicate number: eq, ne, slt, sle, sgt, sge, ult, ule, ugt, uge."""


def _unordered(a: Array, b: Array) -> Array:
    return (a != a) | (b != b)


_CMPF: tuple[Rule, ...] = (
    lambda a, b: np.zeros(np.broadcast(a, b).shape, np.bool_),
    np.equal,
    np.greater,
    np.greater_equal,
    np.less,
    np.less_equal,
    lambda a, b: (a != b) & ~_unordered(a, b),
    lambda a, b: ~_unordered(a, b),
    lambda a, b: (a == b) | _unordered(a, b),
    lambda a, b: ~(a <= b),
    lambda a, b: ~(a < b),
    lambda a, b: ~(a >= b),
    lambda a, b: ~(a > b),
    np.not_equal,
    _unordered,
    lambda a, b: np.ones(np.broadcast(a, b).shape, np.bool_),
)
"""By predicate number: false, oeq, ogt, oge, olt, ole, one, ord, ueq, ugt, uge, ult, ule, une,
uno, true."""

_MULTIPLE: dict[str, Callable[..., tuple[Any, ...]]] = {
    "arith.addui_extended": _add_extended,
    "arith.mului_extended": _multiply_extended(signed=False),
    "arith.mulsi_extended": _multiply_extended(signed=True),
}

_RULES: dict[str, Rule] = {
    "arith.addi": _on_bits_or_bool(np.add, np.not_equal),
    "arith.subi": _on_bits_or_bool(np.subtract, np.not_equal),
    "arith.muli": _on_bits_or_bool(np.multiply, np.logical_and),
    "arith.divsi": _divide_truncating,
    "arith.divui": _on_unsigned(_divide_truncating),
    "arith.remsi": _remainder_truncating,
    "arith.remui": _on_unsigned(_remainder_truncating),
    "arith.floordivsi": _divide_floor,
    "arith.ceildivsi": _divide_ceil,
    "arith.ceildivui": _on_unsigned(_divide_ceil),
    "arith.minsi": np.minimum,
    "arith.maxsi": np.maximum,
    "arith.minui": _on_unsigned(np.minimum),
    "arith.maxui": _on_unsigned(np.maximum),
    "arith.andi": np.bitwise_and,
    "arith.ori": np.bitwise_or,
    "arith.xori": np.bitwise_xor,
    "arith.shli": _shift(np.left_shift, unsigned=True),
    "arith.shrui": _shift(np.right_shift, unsigned=True),
    "arith.shrsi": _shift(np.right_shift, unsigned=False),
    "arith.select": np.where,
    "arith.addf": np.add,
    "arith.subf": np.subtract,
    "arith.mulf": np.multiply,
    "arith.divf": np.divide,
    "arith.remf": np.fmod,
    "arith.negf": np.negative,
    "arith.maximumf": _maximum,
    "arith.minimumf": _minimum,
    "arith.maxnumf": np.fmax,
    "arith.minnumf": np.fmin,
    "math.absf": np.abs,
    "math.absi": np.abs,
    "math.acos": _in_f64(np.arccos),
    "math.acosh": _in_f64(np.arccosh),
    "math.asin": _in_f64(np.arcsin),
    "math.asinh": _in_f64(np.arcsinh),
    "math.atan": _in_f64(np.arctan),
    "math.atan2": _in_f64(np.arctan2),
    "math.atanh": _in_f64(np.arctanh),
    "math.cbrt": _in_f64(np.cbrt),
    "math.ceil": np.ceil,
    "math.copysign": np.copysign,
    "math.cos": _in_f64(np.cos),
    "math.cosh": _in_f64(np.cosh),
    "math.ctlz": _leading_zeros,
    "math.ctpop": _count_bits,
    "math.cttz": _trailing_zeros,
    "math.erf": _erf,
    "math.exp": _in_f64(np.exp),
    "math.exp2": _in_f64(np.exp2),
    "math.expm1": _in_f64(np.expm1),
    "math.floor": np.floor,
    "math.fma": fma,
    "math.fpowi": _in_f64(np.power),
    "math.ipowi": _integer_power,
    "math.log": _in_f64(np.log),
    "math.log10": _in_f64(np.log10),
    "math.log1p": _in_f64(np.log1p),
    "math.log2": _in_f64(np.log2),
    "math.powf": _in_f64(np.power),
    "math.round": _round_half_away,
    "math.roundeven": np.rint,
    "math.rsqrt": _in_f64(lambda x: 1 / np.sqrt(x)),
    "math.sin": _in_f64(np.sin),
    "math.sinh": _in_f64(np.sinh),
    "math.sqrt": np.sqrt,
    "math.tan": _in_f64(np.tan),
    "math.tanh": _in_f64(np.tanh),
    "math.trunc": np.trunc,
}
