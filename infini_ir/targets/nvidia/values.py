"""Python text of values in an emitted kernel, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from math import isinf, isnan

import numpy as np
from xdsl.dialects.builtin import FloatAttr, IndexType, IntegerAttr, IntegerType
from xdsl.ir import Attribute

from infini_ir.dialects.graph.types import element_name

_TRITON = {
    "f16": "float16",
    "bf16": "bfloat16",
    "f32": "float32",
    "f64": "float64",
    "i1": "int1",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
}
POINTERS = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32", "float64": "fp64"}


def triton_type(element: Attribute) -> str:
    """The Triton type that scalars of an element type are computed in: unsigned integers
    are signless, what only stores is its byte."""
    if isinstance(element, IndexType):
        return "int64"
    if isinstance(element, IntegerType) and element.width.data in (1, 8, 16, 32, 64):
        return f"int{element.width.data}"
    return _TRITON.get(element_name(element), "int8")


def memory_type(element: Attribute) -> str:
    """The Triton type of elements in memory: a bool is a byte."""
    held = triton_type(element)
    return "int8" if held == "int1" else held


def pointer_type(element: Attribute) -> str:
    """The type of a pointer to elements, as in a signature."""
    held = memory_type(element)
    return f"*{POINTERS.get(held) or held.replace('int', 'i')}"


def bits_of(type: str) -> int:
    """How many bits a Triton type has."""
    return int("".join(c for c in type if c.isdigit()))


@dataclass(frozen=True)
class Text:
    """An expression: its Python text, its Triton type, and what is known of it."""

    text: str
    type: str
    atom: bool = True
    """Whether it stands beside an operator without parentheses."""
    literal: bool = False
    """Whether it is a Python number, which takes the type of what it meets."""
    plain: bool = False
    """Whether it may be a Python number when the kernel runs interpreted."""
    bound: int | None = None
    """What its magnitude does not exceed, if that is known."""
    natural: bool = False
    """Whether it is known not to be negative."""

    @property
    def operand(self) -> str:
        """The text as an operand of an operator."""
        return self.text if self.atom else f"({self.text})"

    def to(self, type: str, *, bitcast: bool = False) -> str:
        """The text of a conversion."""
        extra = ", bitcast=True" if bitcast else ""
        if self.literal or self.plain:
            return f"tl.cast({self.typed().text}, tl.{type}{extra})"
        return f"{self.operand}.to(tl.{type}{extra})"

    def typed(self) -> Text:
        """The same with its own type, where it is a bare number."""
        if not self.literal:
            return self
        return Text(f"tl.full((), {self.text}, tl.{self.type})", self.type)


def number_text(value: float | int | bool, type: str) -> Text:
    """A literal."""
    if type == "int1":
        return Text(str(bool(value)), type, literal=True, plain=True)
    if "float" not in type:
        text = str(int(value))
        known = abs(int(value))
        return Text(
            text,
            type,
            atom=value >= 0,
            literal=True,
            plain=True,
            bound=known,
            natural=value >= 0,
        )
    if isnan(value) or isinf(value):
        text = f'float("{value}")'
        return Text(text, type, literal=True, plain=True)
    text = str(np.float32(value)) if type != "float64" else repr(float(value))
    if float(text) != value and type != "float64" and np.float32(float(text)) != value:
        text = repr(float(value))
    return Text(text, type, atom=value >= 0, literal=True, plain=True)


def constant_text(attribute: Attribute, type: Attribute) -> Text:
    """The literal of an `arith.constant`."""
    if isinstance(attribute, FloatAttr):
        return number_text(attribute.value.data, triton_type(type))
    assert isinstance(attribute, IntegerAttr)
    if isinstance(type, IndexType):
        wide = abs(attribute.value.data) >= 1 << 31
        return number_text(attribute.value.data, "int64" if wide else "int32")
    return number_text(attribute.value.data, triton_type(type))
