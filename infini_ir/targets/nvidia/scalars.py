"""Scalar `arith` and `math` operations as Triton expressions: a table of one rule an operation.

A scalar is one element of a tile; the expression computes the whole tile. Integers are
signless, as in the scalar code: what differs for unsigned ones reinterprets the bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import IndexType
from xdsl.dialects.utils.fast_math import FastMathFlag
from xdsl.ir import Attribute, Operation

from infini_ir.targets.nvidia.casts import (
    as_unsigned,
    bitcast,
    cast_index,
    convert,
    extend_signed,
    extend_unsigned,
    from_unsigned,
    result_type,
    to_signed,
    to_unsigned,
    truncate,
)
from infini_ir.targets.nvidia.indices import NARROW
from infini_ir.targets.nvidia.values import Text, bits_of, number_text
from infini_ir.utils.errors import CompileError

Rule = Callable[[Operation, Sequence[Text]], Text]


def scalar_text(op: Operation, operands: Sequence[Text]) -> tuple[Text, ...]:
    """The expressions of an operation's results.

    Raises `CompileError` for an operation that has no rule.
    """
    several = _SEVERAL.get(type(op))
    if several is not None:
        return several(op, operands)
    rule = _RULES.get(type(op))
    if rule is None:
        raise CompileError(
            f"'{op.name}' has no form in Triton; expand it with tile-expand-math"
        )
    if all(operand.literal for operand in operands):
        known = _folded(op, operands)
        if known is not None:
            return (known,)
        operands = [operand.typed() for operand in operands]
    return (rule(op, operands),)


def _folded(op: Operation, operands: Sequence[Text]) -> Text | None:
    """The number that an operation on known sizes and positions gives."""
    type = op.results[0].type
    if isinstance(op, arith.ExtFOp):
        return convert(op, operands)
    if isinstance(op, arith.IndexCastOp) and operands[0].type != "int1":
        return number_text(
            int(operands[0].text), "int32" if _is_index(type) else result_type(op)
        )
    fold = _FOLDS.get(op.__class__) if _is_index(type) else None
    if fold is None:
        return None
    value = fold(*(int(operand.text) for operand in operands))
    return number_text(value, "int64" if abs(value) >= NARROW else "int32")


def _is_index(type: Attribute) -> bool:
    return isinstance(type, IndexType)


_FOLDS: dict[type[Operation], Callable[[int, int], int]] = {
    arith.AddiOp: lambda a, b: a + b,
    arith.SubiOp: lambda a, b: a - b,
    arith.MuliOp: lambda a, b: a * b,
    arith.MinSIOp: min,
    arith.MaxSIOp: max,
}


def _expression(text: str, type: str, operands: Sequence[Text], *, atom: bool) -> Text:
    return Text(text, type, atom=atom, plain=all(v.plain for v in operands) and bool(operands))


# Operators ----------------------------------------------------------------------------------


def _float(symbol: str) -> Rule:
    def emit(op: Operation, v: Sequence[Text]) -> Text:
        text = f"{v[0].operand} {symbol} {v[1].operand}"
        return _expression(text, result_type(op), v, atom=False)

    return emit


def _integer(symbol: str, bound: Callable[[int, int], int]) -> Rule:
    """Wrapping arithmetic. Indices that may leave 32 bits are computed in 64."""

    def emit(op: Operation, v: Sequence[Text]) -> Text:
        if not isinstance(op.results[0].type, IndexType):
            text = f"{v[0].operand} {symbol} {v[1].operand}"
            return _expression(text, result_type(op), v, atom=False)
        known = None
        if v[0].bound is not None and v[1].bound is not None:
            known = bound(v[0].bound, v[1].bound)
        natural = symbol != "-" and v[0].natural and v[1].natural
        left, type = _widened(v, known)
        text = f"{left} {symbol} {v[1].operand}"
        plain = v[0].plain and v[1].plain
        return Text(text, type, False, False, plain, known, natural)

    return emit


def _widened(v: Sequence[Text], known: int | None) -> tuple[str, str]:
    """The left operand of index arithmetic, and the type of the result."""
    if known is not None and known < NARROW:
        return v[0].operand, "int64" if "int64" in (v[0].type, v[1].type) else "int32"
    if "int64" in (v[0].type, v[1].type):
        return v[0].operand, "int64"
    return v[0].to("int64"), "int64"


def _add(op: Operation, v: Sequence[Text]) -> Text:
    if result_type(op) == "int1":
        return _expression(f"{v[0].operand} ^ {v[1].operand}", "int1", v, atom=False)
    return _integer("+", lambda a, b: a + b)(op, v)


def _subtract(op: Operation, v: Sequence[Text]) -> Text:
    if result_type(op) == "int1":
        return _expression(f"{v[0].operand} ^ {v[1].operand}", "int1", v, atom=False)
    if v[0].literal and v[0].text == "0" and not isinstance(op.results[0].type, IndexType):
        return _expression(f"-{v[1].operand}", result_type(op), v, atom=False)
    return _integer("-", lambda a, b: a + b)(op, v)


def _multiply(op: Operation, v: Sequence[Text]) -> Text:
    if result_type(op) == "int1":
        return _expression(f"{v[0].operand} & {v[1].operand}", "int1", v, atom=False)
    return _integer("*", lambda a, b: a * b)(op, v)


def _bitwise(symbol: str) -> Rule:
    def emit(op: Operation, v: Sequence[Text]) -> Text:
        ones = "True" if result_type(op) == "int1" else "-1"
        for one, other in (v, v[::-1]):
            if symbol == "^" and one.literal and one.text == ones and not other.literal:
                return _expression(f"~{other.operand}", result_type(op), v, atom=False)
        text = f"{v[0].operand} {symbol} {v[1].operand}"
        type = "int64" if "int64" in (v[0].type, v[1].type) else v[0].type
        return _expression(text, type, v, atom=False)

    return emit


def _in_unsigned(symbol: str) -> Rule:
    """Quotient, remainder or right shift of unsigned numbers."""

    def emit(op: Operation, v: Sequence[Text]) -> Text:
        type = "int64" if "int64" in (v[0].type, v[1].type) else v[0].type
        if v[0].natural and v[1].natural:
            text = f"{v[0].operand} {symbol} {v[1].operand}"
            plain = v[0].plain and v[1].plain
            return Text(text, type, False, False, plain, v[0].bound, natural=True)
        left, right = (as_unsigned(_as_type(x, type)) for x in v)
        return _expression(
            f"({left} {symbol} {right}).to(tl.{type}, bitcast=True)", type, (), atom=True
        )

    return emit


def _as_type(value: Text, type: str) -> Text:
    return value if value.type == type else Text(value.to(type), type)


def _signed(symbol: str) -> Rule:
    """Truncating division and its remainder, and arithmetic shifts."""

    def emit(op: Operation, v: Sequence[Text]) -> Text:
        type = "int64" if "int64" in (v[0].type, v[1].type) else v[0].type
        text = f"{v[0].operand} {symbol} {v[1].operand}"
        plain = v[0].plain and v[1].plain
        natural = v[0].natural and v[1].natural
        return Text(text, type, False, False, plain, v[0].bound, natural)

    return emit


def _shift_left(op: Operation, v: Sequence[Text]) -> Text:
    if isinstance(op.results[0].type, IndexType):
        return _expression(f"{v[0].to('int64')} << {v[1].operand}", "int64", (), atom=False)
    return _expression(f"{v[0].operand} << {v[1].operand}", result_type(op), v, atom=False)


def _extremum(function: str) -> Rule:
    def emit(op: Operation, v: Sequence[Text]) -> Text:
        if v[0].type == "int1":
            # As signed numbers true is -1, and so the lesser.
            symbol = "|" if function == "minimum" else "&"
            return _expression(f"{v[0].operand} {symbol} {v[1].operand}", "int1", v, atom=False)
        type = "int64" if "int64" in (v[0].type, v[1].type) else v[0].type
        text = f"tl.{function}({v[0].text}, {v[1].text})"
        known = None
        if v[0].bound is not None and v[1].bound is not None:
            known = max(v[0].bound, v[1].bound)
        both = v[0].natural and v[1].natural
        either = v[0].natural or v[1].natural
        natural = both if function == "minimum" else either
        return Text(text, type, bound=known, natural=natural)

    return emit


def _unsigned_extremum(function: str) -> Rule:
    def emit(op: Operation, v: Sequence[Text]) -> Text:
        if v[0].type == "int1":
            symbol = "&" if function == "minimum" else "|"
            return _expression(f"{v[0].operand} {symbol} {v[1].operand}", "int1", v, atom=False)
        if v[0].natural and v[1].natural:
            return _extremum(function)(op, v)
        type = v[0].type
        text = f"tl.{function}({as_unsigned(v[0])}, {as_unsigned(v[1])})"
        return Text(f"{text}.to(tl.{type}, bitcast=True)", type)

    return emit


def _float_extremum(function: str, *, nan: bool) -> Rule:
    def emit(op: Operation, v: Sequence[Text]) -> Text:
        rule = ", propagate_nan=tl.PropagateNan.ALL" if nan else ""
        return Text(f"tl.{function}({v[0].text}, {v[1].text}{rule})", result_type(op))

    return emit


# Comparisons and choice ---------------------------------------------------------------------

_SYMBOLS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_INTEGER_PREDICATES = ("eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge")
_FLOAT_PREDICATES = (
    "false", "oeq", "ogt", "oge", "olt", "ole", "one", "ord",
    "ueq", "ugt", "uge", "ult", "ule", "une", "uno", "true",
)  # fmt: skip
_OPPOSITES = {"gt": "<=", "ge": "<", "lt": ">=", "le": ">"}


def _compare_integers(op: Operation, v: Sequence[Text]) -> Text:
    assert isinstance(op, arith.CmpiOp)
    predicate = _INTEGER_PREDICATES[op.predicate.value.data]
    symbol = _SYMBOLS[predicate[-2:]]
    a, b = v
    if predicate.startswith("s") and a.type == "int1":
        # As signed numbers true is -1.
        a, b = b, a
    if not predicate.startswith("u") or (a.natural and b.natural):
        text = f"{a.operand} {symbol} {b.operand}"
    elif predicate == "ult" and b.natural:
        text = f"({a.operand} >= 0) & ({a.operand} < {b.operand})"
    elif a.type == "int1":
        text = f"{a.to('int8')} {symbol} {b.to('int8')}"
    else:
        type = "int64" if "int64" in (a.type, b.type) else a.type
        text = f"{as_unsigned(_as_type(a, type))} {symbol} {as_unsigned(_as_type(b, type))}"
    return _expression(text, "int1", v, atom=False)


def _compare_floats(op: Operation, v: Sequence[Text]) -> Text:
    assert isinstance(op, arith.CmpfOp)
    predicate = _FLOAT_PREDICATES[op.predicate.value.data]
    a, b = v[0].operand, v[1].operand
    if predicate in ("false", "true"):
        text = f"{a} != {a}" if predicate == "false" else f"({a} == {a}) | ({a} != {a})"
        text = f"({text}) & ({a} == {a})" if predicate == "false" else text
    elif predicate == "ord":
        text = f"({a} == {a}) & ({b} == {b})"
    elif predicate == "uno":
        text = f"({a} != {a}) | ({b} != {b})"
    elif predicate == "one":
        text = f"({a} < {b}) | ({a} > {b})"
    elif predicate == "ueq":
        text = f"~(({a} < {b}) | ({a} > {b}))"
    elif predicate == "une" or predicate.startswith("o"):
        text = f"{a} {_SYMBOLS[predicate[1:]]} {b}"
    else:
        text = f"~({a} {_OPPOSITES[predicate[1:]]} {b})"
    return _expression(text, "int1", v, atom=False)


def _select(op: Operation, v: Sequence[Text]) -> Text:
    condition, on_true, on_false = v
    if on_true.literal and on_false.literal:
        on_true = on_true.typed()
    type = on_true.type if on_true.type != "int32" else on_false.type
    known = None
    if on_true.bound is not None and on_false.bound is not None:
        known = max(on_true.bound, on_false.bound)
    text = f"tl.where({condition.text}, {on_true.text}, {on_false.text})"
    return Text(text, type, bound=known, natural=on_true.natural and on_false.natural)


# Functions ----------------------------------------------------------------------------------


def _call(name: str) -> Rule:
    def emit(op: Operation, v: Sequence[Text]) -> Text:
        return Text(f"{name}({', '.join(x.text for x in v)})", result_type(op))

    return emit


def _tensor_call(name: str) -> Rule:
    """A function that takes no bare numbers."""

    def emit(op: Operation, v: Sequence[Text]) -> Text:
        return Text(f"{name}({', '.join(x.typed().text for x in v)})", result_type(op))

    return emit


def _divide(op: Operation, v: Sequence[Text]) -> Text:
    """IEEE division; Triton's own of f32 is approximate."""
    if result_type(op) == "float32":
        return Text(f"tl.div_rn({v[0].text}, {v[1].text})", "float32")
    return _float("/")(op, v)


def _square_root(op: Operation, v: Sequence[Text]) -> Text:
    name = "tl.sqrt_rn" if result_type(op) == "float32" else "tl.sqrt"
    return Text(f"{name}({v[0].text})", result_type(op))


def _exponential(op: Operation, v: Sequence[Text]) -> Text:
    """The hardware's own where an approximation is allowed."""
    flags = op.properties.get("fastmath")
    fast = isinstance(flags, arith.FastMathFlagsAttr) and (
        FastMathFlag.APPROX_FUNC in flags.data
    )
    return _tensor_call("tl.exp" if fast else "libdevice.exp")(op, v)


def _add_extended(op: Operation, v: Sequence[Text]) -> tuple[Text, ...]:
    type = v[0].type
    total = Text(f"{v[0].operand} + {v[1].operand}", type, atom=False)
    carry = f"({total.text}).to(tl.u{type}, bitcast=True) < {as_unsigned(v[0])}"
    return total, Text(carry, "int1", atom=False)


def _multiply_extended(op: Operation, v: Sequence[Text]) -> tuple[Text, ...]:
    """Low and high half of a product of unsigned numbers."""
    type, (a, b) = v[0].type, (x.typed() for x in v)
    low = Text(f"{a.operand} * {b.operand}", type, atom=False)
    if bits_of(type) >= 32:
        high = f"tl.umulhi({as_unsigned(a)}, {as_unsigned(b)}).to(tl.{type}, bitcast=True)"
    else:
        wide = f"({as_unsigned(a)}.to(tl.uint32) * {as_unsigned(b)}.to(tl.uint32))"
        high = f"({wide} >> {bits_of(type)}).to(tl.{type})"
    return low, Text(high, type)


_SEVERAL: dict[type[Operation], Callable[[Operation, Sequence[Text]], tuple[Text, ...]]] = {
    arith.AddUIExtendedOp: _add_extended,
    arith.MulUIExtendedOp: _multiply_extended,
}

_RULES: dict[type[Operation], Rule] = {
    arith.AddfOp: _float("+"),
    arith.SubfOp: _float("-"),
    arith.MulfOp: _float("*"),
    arith.DivfOp: _divide,
    arith.NegfOp: lambda op, v: Text(f"-{v[0].operand}", result_type(op), atom=False),
    arith.MaximumfOp: _float_extremum("maximum", nan=True),
    arith.MinimumfOp: _float_extremum("minimum", nan=True),
    arith.MaxnumfOp: _float_extremum("maximum", nan=False),
    arith.MinnumfOp: _float_extremum("minimum", nan=False),
    arith.AddiOp: _add,
    arith.SubiOp: _subtract,
    arith.MuliOp: _multiply,
    arith.DivSIOp: _signed("//"),
    arith.DivUIOp: _in_unsigned("//"),
    arith.RemSIOp: _signed("%"),
    arith.RemUIOp: _in_unsigned("%"),
    arith.AndIOp: _bitwise("&"),
    arith.OrIOp: _bitwise("|"),
    arith.XOrIOp: _bitwise("^"),
    arith.ShLIOp: _shift_left,
    arith.ShRSIOp: _signed(">>"),
    arith.ShRUIOp: _in_unsigned(">>"),
    arith.MaxSIOp: _extremum("maximum"),
    arith.MinSIOp: _extremum("minimum"),
    arith.MaxUIOp: _unsigned_extremum("maximum"),
    arith.MinUIOp: _unsigned_extremum("minimum"),
    arith.CmpiOp: _compare_integers,
    arith.CmpfOp: _compare_floats,
    arith.SelectOp: _select,
    arith.ExtFOp: convert,
    arith.TruncFOp: convert,
    arith.ExtSIOp: extend_signed,
    arith.ExtUIOp: extend_unsigned,
    arith.TruncIOp: truncate,
    arith.SIToFPOp: convert,
    arith.UIToFPOp: from_unsigned,
    arith.FPToSIOp: to_signed,
    arith.FPToUIOp: to_unsigned,
    arith.BitcastOp: bitcast,
    arith.IndexCastOp: cast_index,
    math.AbsFOp: _call("tl.abs"),
    math.AbsIOp: _call("tl.abs"),
    math.AtanOp: _tensor_call("libdevice.atan"),
    math.Atan2Op: _tensor_call("libdevice.atan2"),
    math.CeilOp: _call("tl.ceil"),
    math.CopySignOp: _tensor_call("libdevice.copysign"),
    math.ErfOp: _tensor_call("libdevice.erf"),
    math.ExpOp: _exponential,
    math.Exp2Op: _tensor_call("libdevice.exp2"),
    math.ExpM1Op: _tensor_call("libdevice.expm1"),
    math.FloorOp: _call("tl.floor"),
    math.FmaOp: _call("tl.fma"),
    math.LogOp: _tensor_call("libdevice.log"),
    math.Log10Op: _tensor_call("libdevice.log10"),
    math.Log1pOp: _tensor_call("libdevice.log1p"),
    math.Log2Op: _tensor_call("libdevice.log2"),
    math.PowFOp: _tensor_call("libdevice.pow"),
    math.RoundOp: _tensor_call("libdevice.round"),
    math.RoundEvenOp: _tensor_call("libdevice.rint"),
    math.RsqrtOp: _tensor_call("libdevice.rsqrt"),
    math.SqrtOp: _square_root,
    math.TanhOp: _tensor_call("libdevice.tanh"),
    math.TruncOp: _tensor_call("libdevice.trunc"),
}

NATIVE_MATH: tuple[str, ...] = tuple(
    sorted(op.name for op in _RULES if op.name.startswith("math."))
)
"""Functions that stay as they are: Triton's own, and those of libdevice, which are within 4
units in the last place. Sine, cosine and tangent of libdevice reduce great arguments in a
stack frame, so the expansions are taken instead."""
