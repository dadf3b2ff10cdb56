"""Scalar arith and math operations as C++ expressions of the prelude's types."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from math import isinf, isnan
from struct import pack

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import (
    BFloat16Type,
    Float16Type,
    Float32Type,
    Float64Type,
    FloatAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
    Signedness,
)
from xdsl.ir import Attribute, Operation

from infini_ir.targets.c_project.scalar_forms import (
    INTEGER_COMPARISONS,
    NARROW,
    Emitter,
    call,
    float_operator,
    wide,
)
from infini_ir.utils.errors import CompileError

_FLOATS: dict[type[Attribute], str] = {
    Float16Type: "half_t",
    BFloat16Type: "bf16_t",
    Float32Type: "float",
    Float64Type: "double",
}


def scalar_type(type: Attribute) -> str:
    """The C++ type of a scalar in a kernel; integers are signless, so signed here."""
    if isinstance(type, IndexType):
        return "index_t"
    if isinstance(type, IntegerType):
        width = type.width.data
        return "bool" if width == 1 else f"int{max(width, 8)}_t"
    # Storage-only floats are carried as their bits.
    return _FLOATS.get(type.__class__, "int8_t")


def memory_type(type: Attribute) -> str:
    """The C++ type of an element in memory: a bool is a byte, any nonzero one is true."""
    name = scalar_type(type)
    if name == "bool":
        return "uint8_t"
    return f"u{name}" if is_unsigned(type) else name


def is_unsigned(type: Attribute) -> bool:
    """Whether elements compare and widen as unsigned numbers."""
    return isinstance(type, IntegerType) and type.signedness.data is Signedness.UNSIGNED


def is_float(name: str) -> bool:
    """Whether a C++ type is a floating-point one."""
    return name in ("float", "double", *NARROW)


def expression(op: Operation, operands: Sequence[str]) -> str:
    """The value of an arith or math operation.

    Raises `CompileError` for an operation that has no C++ form here.
    """
    if isinstance(op, arith.ConstantOp):
        return constant(op)
    emitter = _TABLE.get(op.__class__)
    if emitter is None:
        raise CompileError(
            f"kernel operation '{op.name}' has no CUDA C++ form; run tile-expand-math first"
        )
    return emitter(op, operands, scalar_type(op.results[0].type))


def constant(op: arith.ConstantOp) -> str:
    """A constant as a literal."""
    name = scalar_type(op.result.type)
    if isinstance(op.value, IntegerAttr):
        return integer(op.value.value.data, name)
    assert isinstance(op.value, FloatAttr)
    return floating(op.value.value.data, name)


def integer(number: int, name: str) -> str:
    """An integer literal; numbers past the type's range are taken modulo."""
    if name == "bool":
        return "true" if number & 1 else "false"
    bits = 64 if name == "index_t" else int("".join(c for c in name if c.isdigit()))
    if name.startswith("in"):
        number = (number + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))
        if number == -(1 << 63):
            return "(-9223372036854775807LL - 1)"
    return str(number) if -(1 << 31) < number < 1 << 31 else f"{number}LL"


def floating(number: float, name: str) -> str:
    """A floating-point literal that reads back as the same number."""
    if name in NARROW:
        return f"convert<{name}>({floating(number, 'float')})"
    if isnan(number):
        return f"not_a_number<{name}>()"
    if isinf(number):
        return f"{'-' if number < 0 else ''}infinity<{name}>()"
    text = _shortest(float(number)) if name == "float" else repr(float(number))
    if "." not in text and "e" not in text:
        text += ".0"
    return f"{text}f" if name == "float" else text


def _shortest(number: float) -> str:
    """The shortest decimal that is this number in f32."""
    for digits in range(1, 9):
        text = f"{number:.{digits}g}"
        with suppress(OverflowError):
            if pack("f", float(text)) == pack("f", number):
                return text
    return f"{number:.9g}"


def _rounded(text: str, name: str) -> str:
    return f"convert<{name}>({text})" if name in NARROW else text


def _float_call(function: str, *, own: bool = False) -> Emitter:
    """A function of the C library; or an `own` one of the prelude, overloaded."""

    def emit(op: Operation, v: Sequence[str], name: str) -> str:
        called = function if own or name == "double" else f"{function}f"
        return _rounded(f"{called}({', '.join(wide(v, name))})", name)

    return emit


def _wrapping(function: str, symbol: str) -> Emitter:
    """Integer arithmetic modulo; on indices plain operators, they do not overflow."""

    def emit(op: Operation, v: Sequence[str], name: str) -> str:
        if isinstance(op.results[0].type, IndexType):
            return f"{v[0]} {symbol} {v[1]}"
        if name == "bool":
            return f"{v[0]} {'&&' if symbol == '*' else '!='} {v[1]}"
        return f"{function}<{name}>({v[0]}, {v[1]})"

    return emit


def _bitwise(symbol: str) -> Emitter:
    def emit(op: Operation, v: Sequence[str], name: str) -> str:
        if name == "bool":
            symbols = {"&": "&&", "|": "||", "^": "!="}
            return f"{v[0]} {symbols[symbol]} {v[1]}"
        return f"static_cast<{name}>({v[0]} {symbol} {v[1]})"

    return emit


def _convert(op: Operation, v: Sequence[str], name: str) -> str:
    return f"convert<{name}>({v[0]})"


def _unsigned_convert(op: Operation, v: Sequence[str], name: str) -> str:
    """Operands are unsigned: their bits are read so first."""
    return f"convert<{name}>(bits({v[0]}))"


def _float_to_unsigned(op: Operation, v: Sequence[str], name: str) -> str:
    if name == "bool":
        return f"convert<double>({v[0]}) >= 1.0"
    return f"static_cast<{name}>(convert<u{name}>({v[0]}))"


def _bool_extend(op: Operation, v: Sequence[str], name: str) -> str:
    if scalar_type(op.operands[0].type) == "bool":
        return f"static_cast<{name}>({v[0]} ? -1 : 0)"
    return f"convert<{name}>({v[0]})"


def _truncate(op: Operation, v: Sequence[str], name: str) -> str:
    if name == "bool" and scalar_type(op.operands[0].type) != "bool":
        return f"({v[0]} & 1) != 0"
    return f"static_cast<{name}>({v[0]})"


def _index_cast(op: Operation, v: Sequence[str], name: str) -> str:
    if scalar_type(op.operands[0].type) == name:
        return v[0]
    return (
        _truncate(op, v, name)
        if isinstance(op.operands[0].type, IndexType)
        else (_bool_extend(op, v, name))
    )


def _compare_integers(op: Operation, v: Sequence[str], name: str) -> str:
    assert isinstance(op, arith.CmpiOp)
    predicate = op.predicate.value.data
    symbol = INTEGER_COMPARISONS[predicate]
    if predicate < 6 and scalar_type(op.operands[0].type) != "bool":
        return f"{v[0]} {symbol} {v[1]}"
    if predicate < 6:
        # A bool is 0 or -1 where it is compared as signed.
        return f"-static_cast<int>({v[0]}) {symbol} -static_cast<int>({v[1]})"
    return f"bits({v[0]}) {symbol} bits({v[1]})"


_FLOAT_COMPARISONS = (
    "false", "{a} == {b}", "{a} > {b}", "{a} >= {b}", "{a} < {b}", "{a} <= {b}",
    "{a} < {b} || {a} > {b}", "{a} == {a} && {b} == {b}", "!({a} < {b} || {a} > {b})",
    "!({a} <= {b})", "!({a} < {b})", "!({a} >= {b})", "!({a} > {b})", "{a} != {b}",
    "{a} != {a} || {b} != {b}", "true",
)  # fmt: skip


def _compare_floats(op: Operation, v: Sequence[str], name: str) -> str:
    assert isinstance(op, arith.CmpfOp)
    a, b = wide(v, scalar_type(op.operands[0].type))
    return _FLOAT_COMPARISONS[op.predicate.value.data].format(a=a, b=b)


def _select(op: Operation, v: Sequence[str], name: str) -> str:
    return f"{v[0]} ? {v[1]} : {v[2]}"


def _negate(op: Operation, v: Sequence[str], name: str) -> str:
    return _rounded(f"-({wide(v, name)[0]})", name)


def _bitcast(op: Operation, v: Sequence[str], name: str) -> str:
    if scalar_type(op.operands[0].type) == "bool":
        return f"static_cast<{name}>({v[0]} ? 1 : 0)"
    if name == "bool":
        return f"{v[0]} != 0"
    return f"bit_cast<{name}>({v[0]})"


_TABLE: dict[type[Operation], Emitter] = {
    arith.AddfOp: float_operator("+", _rounded),
    arith.SubfOp: float_operator("-", _rounded),
    arith.MulfOp: float_operator("*", _rounded),
    arith.DivfOp: float_operator("/", _rounded),
    arith.NegfOp: _negate,
    arith.MaximumfOp: _float_call("maximum", own=True),
    arith.MinimumfOp: _float_call("minimum", own=True),
    arith.MaxnumfOp: _float_call("fmax"),
    arith.MinnumfOp: _float_call("fmin"),
    arith.AddiOp: _wrapping("wrapping_add", "+"),
    arith.SubiOp: _wrapping("wrapping_sub", "-"),
    arith.MuliOp: _wrapping("wrapping_mul", "*"),
    arith.DivSIOp: call("quotient"),
    arith.DivUIOp: call("unsigned_quotient"),
    arith.RemSIOp: call("remainder_of"),
    arith.RemUIOp: call("unsigned_remainder"),
    arith.FloorDivSIOp: call("floor_divide"),
    arith.CeilDivSIOp: call("ceil_divide"),
    arith.AndIOp: _bitwise("&"),
    arith.OrIOp: _bitwise("|"),
    arith.XOrIOp: _bitwise("^"),
    arith.ShLIOp: call("shift_left"),
    arith.ShRSIOp: call("shift_right"),
    arith.ShRUIOp: call("unsigned_shift_right"),
    arith.MaxSIOp: call("larger_of"),
    arith.MinSIOp: call("smaller_of"),
    arith.MaxUIOp: call("unsigned_larger"),
    arith.MinUIOp: call("unsigned_smaller"),
    arith.CmpiOp: _compare_integers,
    arith.CmpfOp: _compare_floats,
    arith.SelectOp: _select,
    arith.ExtFOp: _convert,
    arith.TruncFOp: _convert,
    arith.ExtSIOp: _bool_extend,
    arith.ExtUIOp: _unsigned_convert,
    arith.TruncIOp: _truncate,
    arith.SIToFPOp: lambda op, v, name: (
        f"convert<{name}>({v[0]} ? -1 : 0)"
        if scalar_type(op.operands[0].type) == "bool"
        else f"convert<{name}>({v[0]})"
    ),
    arith.UIToFPOp: _unsigned_convert,
    arith.FPToSIOp: lambda op, v, name: (
        f"convert<double>({v[0]}) <= -1.0" if name == "bool" else f"convert<{name}>({v[0]})"
    ),
    arith.FPToUIOp: _float_to_unsigned,
    arith.BitcastOp: _bitcast,
    arith.IndexCastOp: _index_cast,
    math.FmaOp: _float_call("fma"),
    math.AbsIOp: call("magnitude"),
    math.CtPopOp: call("count_bits"),
    math.CountLeadingZerosOp: call("leading_zeros"),
    math.CountTrailingZerosOp: call("trailing_zeros"),
}

FUNCTIONS: dict[type[Operation], str] = {
    math.AbsFOp: "fabs",
    math.AtanOp: "atan",
    math.Atan2Op: "atan2",
    math.CeilOp: "ceil",
    math.CopySignOp: "copysign",
    math.CosOp: "cos",
    math.ErfOp: "erf",
    math.ExpOp: "exp",
    math.Exp2Op: "exp2",
    math.ExpM1Op: "expm1",
    math.FloorOp: "floor",
    math.LogOp: "log",
    math.Log10Op: "log10",
    math.Log1pOp: "log1p",
    math.Log2Op: "log2",
    math.PowFOp: "pow",
    math.RoundEvenOp: "rint",
    math.RsqrtOp: "reciprocal_root",
    math.SinOp: "sin",
    math.SqrtOp: "sqrt",
    math.TanOp: "tan",
    math.TanhOp: "tanh",
    math.TruncOp: "trunc",
}
"""The mathematical functions that every CUDA-like compiler has, to 1 or 2 ulp."""
_TABLE.update(
    {
        op: _float_call(function, own=function == "reciprocal_root")
        for op, function in FUNCTIONS.items()
    }
)

NATIVE_MATH = tuple(op.name for op in FUNCTIONS)
"""Names of the operations that need no expansion."""
