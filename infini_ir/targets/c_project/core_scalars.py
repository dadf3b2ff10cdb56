"""Scalar arith and math operations of a core as C++ expressions over `core_scalars.h`."""

from __future__ import annotations

from collections.abc import Sequence
from math import isinf, isnan

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import (
    BFloat16Type,
    Float16Type,
    Float32Type,
    FloatAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
)
from xdsl.ir import Attribute, Operation

from infini_ir.dialects.graph.types import element_name
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
}


def scalar_type(type: Attribute) -> str:
    """
    The C++ type of a scalar; integers are signed.

    Raises `CompileError` for a type that the scalar unit of a core does not compute with.
    """
    if isinstance(type, IndexType):
        return "int64_t"
    if isinstance(type, IntegerType):
        width = type.width.data
        return "bool" if width == 1 else f"int{max(width, 8)}_t"
    name = _FLOATS.get(type.__class__)
    if name is None:
        raise CompileError(
            f"the device has no arithmetic on {element_name(type)}; use f32, or let another "
            "target run the model"
        )
    return name


def expression(op: Operation, operands: Sequence[str]) -> str:
    """The value of an arith or math operation, fit to be an operand of any other.

    Raises `CompileError` for an operation that has no C++ form here.
    """
    name = scalar_type(op.results[0].type)
    if isinstance(op, arith.ConstantOp):
        return _constant(op, name)
    emitter = _TABLE.get(op.__class__)
    if emitter is None:
        raise CompileError(f"kernel operation '{op.name}' has no scalar form on the device")
    return emitter(op, operands, name)


def _constant(op: arith.ConstantOp, name: str) -> str:
    if isinstance(op.value, IntegerAttr):
        return integer(op.value.value.data, name)
    assert isinstance(op.value, FloatAttr)
    return floating(op.value.value.data, name)


def integer(number: int, name: str) -> str:
    """An integer literal, modulo the type's range."""
    if name == "bool":
        return "true" if number & 1 else "false"
    bits = int("".join(c for c in name if c.isdigit()))
    number = (number + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))
    if number == -(1 << 63):
        return "(-INT64_C(9223372036854775807) - 1)"
    text = str(number) if abs(number) < 1 << 31 else f"INT64_C({abs(number)})"
    if number < 0:
        return f"({text})" if text.startswith("-") else f"(-{text})"
    return text


def floating(number: float, name: str) -> str:
    """A floating-point literal that reads back as the same number."""
    if name in NARROW:
        return f"narrow<{name}>({floating(number, 'float')})"
    if isnan(number):
        return "not_a_number()"
    if isinf(number):
        return "infinity()" if number > 0 else "(-infinity())"
    text = repr(float(number))
    if "." not in text and "e" not in text:
        text += ".0"
    return f"({text}f)" if text.startswith("-") else f"{text}f"


def _rounded(text: str, name: str) -> str:
    return f"narrow<{name}>({text})" if name in NARROW else f"({text})"


def _float_call(function: str) -> Emitter:
    def emit(op: Operation, v: Sequence[str], name: str) -> str:
        text = f"{function}({', '.join(wide(v, name))})"
        return _rounded(text, name) if name in NARROW else text

    return emit


def _wrapping(function: str, symbol: str) -> Emitter:
    """Modulo the range; plain on indices, which do not overflow."""

    def emit(op: Operation, v: Sequence[str], name: str) -> str:
        if isinstance(op.results[0].type, IndexType):
            return f"({v[0]} {symbol} {v[1]})"
        if name == "bool":
            return f"({v[0]} {'&&' if symbol == '*' else '!='} {v[1]})"
        return f"{function}<{name}>({v[0]}, {v[1]})"

    return emit


def _bitwise(symbol: str) -> Emitter:
    def emit(op: Operation, v: Sequence[str], name: str) -> str:
        if name == "bool":
            symbols = {"&": "&&", "|": "||", "^": "!="}
            return f"({v[0]} {symbols[symbol]} {v[1]})"
        return f"static_cast<{name}>({v[0]} {symbol} {v[1]})"

    return emit


def _float_cast(op: Operation, v: Sequence[str], name: str) -> str:
    source = scalar_type(op.operands[0].type)
    text = f"widen({v[0]})" if source in NARROW else v[0]
    return f"narrow<{name}>({text})" if name in NARROW else text


def _from_integer(op: Operation, v: Sequence[str], name: str) -> str:
    source = scalar_type(op.operands[0].type)
    value = v[0]
    if source == "bool":
        value = f"({v[0]} ? {'1' if isinstance(op, arith.UIToFPOp) else '-1'} : 0)"
    elif isinstance(op, arith.UIToFPOp):
        value = f"unsigned_of({v[0]})"
    text = f"static_cast<float>({value})"
    return f"narrow<{name}>({text})" if name in NARROW else text


def _to_integer(op: Operation, v: Sequence[str], name: str) -> str:
    text = wide(v, scalar_type(op.operands[0].type))[0]
    if name == "bool":
        return f"({text} <= -1.0f)" if isinstance(op, arith.FPToSIOp) else f"({text} >= 1.0f)"
    if isinstance(op, arith.FPToUIOp):
        return f"static_cast<{name}>(saturate<u{name}>({text}))"
    return f"saturate<{name}>({text})"


def _extend(op: Operation, v: Sequence[str], name: str) -> str:
    unsigned = isinstance(op, arith.ExtUIOp)
    if scalar_type(op.operands[0].type) == "bool":
        return f"static_cast<{name}>({v[0]} ? {1 if unsigned else -1} : 0)"
    return f"static_cast<{name}>({f'unsigned_of({v[0]})' if unsigned else v[0]})"


def _truncate(op: Operation, v: Sequence[str], name: str) -> str:
    source = scalar_type(op.operands[0].type)
    if source == name:
        return v[0]
    return f"(({v[0]} & 1) != 0)" if name == "bool" else f"static_cast<{name}>({v[0]})"


def _index_cast(op: Operation, v: Sequence[str], name: str) -> str:
    if scalar_type(op.operands[0].type) == "bool":
        return f"static_cast<{name}>({v[0]} ? -1 : 0)"
    return _truncate(op, v, name)


def _compare_integers(op: Operation, v: Sequence[str], name: str) -> str:
    assert isinstance(op, arith.CmpiOp)
    predicate = op.predicate.value.data
    symbol = INTEGER_COMPARISONS[predicate]
    if scalar_type(op.operands[0].type) == "bool":
        # A bool is 0 or -1 where it is compared as signed.
        sign = "-" if 2 <= predicate < 6 else ""
        return f"({sign}int32_t({v[0]}) {symbol} {sign}int32_t({v[1]}))"
    if predicate < 6:
        return f"({v[0]} {symbol} {v[1]})"
    return f"(unsigned_of({v[0]}) {symbol} unsigned_of({v[1]}))"


_FLOAT_COMPARISONS = (
    "false", "({a} == {b})", "({a} > {b})", "({a} >= {b})", "({a} < {b})", "({a} <= {b})",
    "({a} < {b} || {a} > {b})", "({a} == {a} && {b} == {b})", "!({a} < {b} || {a} > {b})",
    "!({a} <= {b})", "!({a} < {b})", "!({a} >= {b})", "!({a} > {b})", "({a} != {b})",
    "({a} != {a} || {b} != {b})", "true",
)  # fmt: skip


def _compare_floats(op: Operation, v: Sequence[str], name: str) -> str:
    assert isinstance(op, arith.CmpfOp)
    a, b = wide(v, scalar_type(op.operands[0].type))
    return _FLOAT_COMPARISONS[op.predicate.value.data].format(a=a, b=b)


def _negate(op: Operation, v: Sequence[str], name: str) -> str:
    return _rounded(f"-{wide(v, name)[0]}", name)


def _bitcast(op: Operation, v: Sequence[str], name: str) -> str:
    return v[0] if scalar_type(op.operands[0].type) == name else f"same_bits<{name}>({v[0]})"


_TABLE: dict[type[Operation], Emitter] = {
    arith.AddfOp: float_operator("+", _rounded),
    arith.SubfOp: float_operator("-", _rounded),
    arith.MulfOp: float_operator("*", _rounded),
    arith.DivfOp: float_operator("/", _rounded),
    arith.NegfOp: _negate,
    arith.MaximumfOp: _float_call("larger_number"),
    arith.MinimumfOp: _float_call("smaller_number"),
    arith.MaxnumfOp: _float_call("larger_but_nan"),
    arith.MinnumfOp: _float_call("smaller_but_nan"),
    arith.AddiOp: _wrapping("wrapped_sum", "+"),
    arith.SubiOp: _wrapping("wrapped_difference", "-"),
    arith.MuliOp: _wrapping("wrapped_product", "*"),
    arith.DivSIOp: call("quotient"),
    arith.DivUIOp: call("unsigned_quotient"),
    arith.RemSIOp: call("remainder_of"),
    arith.RemUIOp: call("unsigned_remainder"),
    arith.FloorDivSIOp: call("quotient_down"),
    arith.CeilDivSIOp: call("quotient_up"),
    arith.AndIOp: _bitwise("&"),
    arith.OrIOp: _bitwise("|"),
    arith.XOrIOp: _bitwise("^"),
    arith.ShLIOp: call("shifted_left"),
    arith.ShRSIOp: call("shifted_right"),
    arith.ShRUIOp: call("unsigned_shifted_right"),
    arith.MaxSIOp: call("larger_integer"),
    arith.MinSIOp: call("smaller_integer"),
    arith.MaxUIOp: call("larger_unsigned"),
    arith.MinUIOp: call("smaller_unsigned"),
    arith.CmpiOp: _compare_integers,
    arith.CmpfOp: _compare_floats,
    arith.SelectOp: lambda op, v, name: f"({v[0]} ? {v[1]} : {v[2]})",
    arith.ExtFOp: _float_cast,
    arith.TruncFOp: _float_cast,
    arith.ExtSIOp: _extend,
    arith.ExtUIOp: _extend,
    arith.TruncIOp: _truncate,
    arith.SIToFPOp: _from_integer,
    arith.UIToFPOp: _from_integer,
    arith.FPToSIOp: _to_integer,
    arith.FPToUIOp: _to_integer,
    arith.BitcastOp: _bitcast,
    arith.IndexCastOp: _index_cast,
    math.FmaOp: lambda op, v, name: _rounded("{} * {} + {}".format(*wide(v, name)), name),
    math.AbsIOp: call("magnitude"),
}

_FUNCTIONS: dict[type[Operation], str] = {
    math.AbsFOp: "absolute",
    math.CeilOp: "whole_above",
    math.CopySignOp: "with_sign",
    math.ExpOp: "exponential",
    math.FloorOp: "whole_below",
    math.LogOp: "logarithm",
    math.RoundEvenOp: "whole_nearest",
    math.RsqrtOp: "reciprocal_root",
    math.SqrtOp: "square_root",
    math.TruncOp: "whole_towards_zero",
}
"""No function of the C library: devices lack most, or have them by other names."""

_TABLE.update({op: _float_call(function) for op, function in _FUNCTIONS.items()})
