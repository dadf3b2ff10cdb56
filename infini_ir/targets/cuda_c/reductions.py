"""How two elements are combined in a reduction or an accumulating store."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import Attribute

from infini_ir.targets.cuda_c.scalars import NARROW, is_float, is_unsigned, scalar_type

_FUNCTORS = {"add": "Add", "mul": "Mul", "max": "Max", "min": "Min"}
_OF_BOOLS = {"add": "Or", "mul": "And", "max": "Or", "min": "And"}


@dataclass(frozen=True)
class Combiner:
    """add, mul, max or min on one element type; max and min carry NaN. Narrow floats are
    combined in `float` and rounded at the end."""

    kind: str
    element: Attribute

    @property
    def scalar(self) -> str:
        """The type of an element in scalar code."""
        return scalar_type(self.element)

    @property
    def type(self) -> str:
        """The type of a partial result."""
        if self.scalar in NARROW:
            return "float"
        return f"u{self.scalar}" if is_unsigned(self.element) else self.scalar

    @property
    def functor(self) -> str:
        """The prelude's name for it."""
        return (_OF_BOOLS if self.scalar == "bool" else _FUNCTORS)[str(self.kind)]

    def neutral(self) -> str:
        """The value that changes nothing."""
        if self.type == "bool":
            return "true" if self.functor == "And" else "false"
        if self.kind in ("add", "mul"):
            number = 0 if self.kind == "add" else 1
            if is_float(self.type):
                return f"{number}.0f" if self.type == "float" else f"{number}.0"
            return str(number)
        return f"{'lowest' if self.kind == 'max' else 'highest'}<{self.type}>()"

    def apply(self, a: str, b: str) -> str:
        """The combination of two values of `type`."""
        if is_float(self.type) and self.kind in ("add", "mul"):
            return f"{a} {'+' if self.kind == 'add' else '*'} {b}"
        return f"{self.functor}::combine({a}, {b})"

    def read(self, value: str) -> str:
        """An element as a partial result."""
        if self.scalar in NARROW:
            return f"widen({value})"
        return value if self.type == self.scalar else f"static_cast<{self.type}>({value})"

    def give(self, total: str) -> str:
        """A result as an element."""
        if self.scalar in NARROW:
            return f"convert<{self.scalar}>({total})"
        return total if self.type == self.scalar else f"static_cast<{self.scalar}>({total})"
