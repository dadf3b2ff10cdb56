"""Conversions between scalar types as Triton expressions.

Integers are signless; a bool is a bit, -1 as a signed number. Types narrower than a byte are
the low bits of one.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import IndexType, IntegerType
from xdsl.ir import Attribute, Operation

from infini_ir.targets.nvidia.indices import NARROW
from infini_ir.targets.nvidia.values import Text, bits_of, number_text, triton_type


def result_type(op: Operation) -> str:
    """The Triton type of an operation's result."""
    return triton_type(op.results[0].type)


def as_unsigned(value: Text) -> str:
    """The bits of an integer as an unsigned number."""
    return value.typed().to(f"u{value.type}", bitcast=True)


def convert(op: Operation, v: Sequence[Text]) -> Text:
    """A conversion between floats, or of a signed integer."""
    type = result_type(op)
    if v[0].type == "int1" and type != "int1":
        # As a signed number true is -1.
        return Text(f"-{v[0].to(type)}", type, atom=False)
    widens = bits_of(v[0].type) < bits_of(type) and "float" in v[0].type
    if v[0].literal and widens and "(" not in v[0].text:
        return number_text(float(v[0].text), type)
    return Text(v[0].to(type), type) if v[0].type != type else v[0]


def extend_signed(op: Operation, v: Sequence[Text]) -> Text:
    """Sign extension."""
    type, width = result_type(op), _width(op.operands[0].type)
    if width == 1:
        return Text(f"-{v[0].to(type)}", type, atom=False)
    if width < 8:
        shift = 8 - width
        low = f"(({v[0].operand} << {shift}) >> {shift})"
        return Text(low if type == "int8" else f"{low}.to(tl.{type})", type)
    return Text(v[0].to(type), type)


def extend_unsigned(op: Operation, v: Sequence[Text]) -> Text:
    """Zero extension."""
    type, width = result_type(op), _width(op.operands[0].type)
    if width == 1:
        return Text(v[0].to(type), type, natural=True)
    if width < 8:
        low = f"({v[0].operand} & {(1 << width) - 1})"
        return Text(low if type == "int8" else f"{low}.to(tl.{type})", type, natural=True)
    if v[0].type == type:
        return v[0]
    return Text(f"{as_unsigned(v[0])}.to(tl.{type})", type, natural=True)


def truncate(op: Operation, v: Sequence[Text]) -> Text:
    """The low bits."""
    type, width = result_type(op), _width(op.results[0].type)
    if width == 1:
        return Text(f"({v[0].operand} & 1) != 0", "int1", atom=False)
    text = v[0].to(type) if v[0].type != type else v[0].operand
    if width < 8:
        text = f"({text} & {(1 << width) - 1})"
    return Text(text, type)


def _width(type: Attribute) -> int:
    if isinstance(type, IndexType):
        return 64
    if isinstance(type, IntegerType):
        return type.width.data
    return bits_of(triton_type(type))


def from_unsigned(op: Operation, v: Sequence[Text]) -> Text:
    """An unsigned integer as a float."""
    type = result_type(op)
    if v[0].type == "int1":
        return Text(v[0].to(type), type)
    return Text(f"{as_unsigned(v[0])}.to(tl.{type})", type)


def to_unsigned(op: Operation, v: Sequence[Text]) -> Text:
    """A float as an unsigned integer, which it must fit."""
    type = result_type(op)
    if type == "int1":
        return Text(f"{v[0].operand} >= 1.0", "int1", atom=False)
    return Text(f"{v[0].to('u' + type)}.to(tl.{type}, bitcast=True)", type)


def to_signed(op: Operation, v: Sequence[Text]) -> Text:
    """A float as a signed integer, which it must fit."""
    if result_type(op) == "int1":
        return Text(f"{v[0].operand} <= -1.0", "int1", atom=False)
    return convert(op, v)


def bitcast(op: Operation, v: Sequence[Text]) -> Text:
    """The same bits as another type."""
    type = result_type(op)
    if v[0].type == type:
        return v[0]
    if v[0].type == "int1":
        return Text(v[0].to(type), type)
    if type == "int1":
        return Text(f"{v[0].operand} != 0", "int1", atom=False)
    return Text(v[0].typed().to(type, bitcast=True), type)


def cast_index(op: Operation, v: Sequence[Text]) -> Text:
    """Indices are 32 bits where that is enough; an i64 made of one is 64."""
    value = v[0]
    if isinstance(op.results[0].type, IndexType):
        if value.type == "int1":
            return Text(f"-{value.to('int32')}", "int32", atom=False, bound=1)
        if value.type in ("int8", "int16"):
            return Text(value.to("int32"), "int32", bound=NARROW - 1, natural=value.natural)
        known = NARROW if value.type == "int32" else None
        return value if value.literal else Text(
            value.text, value.type, value.atom, False, value.plain, known, value.natural
        )  # fmt: skip
    type = result_type(op)
    if value.literal or value.type == type:
        return Text(value.text, type, value.atom, value.literal, value.plain, value.bound, value.natural)  # fmt: skip
    if type == "int1":
        return Text(f"({value.operand} & 1) != 0", "int1", atom=False)
    return Text(value.to(type), type, natural=value.natural, bound=value.bound)
