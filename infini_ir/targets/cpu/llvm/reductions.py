"""How two elements are combined in a reduction or an accumulating store."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects.builtin import IntegerType, Signedness
from xdsl.ir import Attribute

from infini_ir.targets.cpu.llvm.scalars import extremum, llvm_type
from infini_ir.targets.cpu.llvm.writer import Function, V, boolean, floating, integer


@dataclass(frozen=True)
class Combiner:
    """add, mul, max or min on one element type; max and min carry NaN."""

    kind: str
    element: Attribute

    @property
    def type(self) -> str:
        return llvm_type(self.element)

    @property
    def is_float(self) -> bool:
        return self.type in ("half", "bfloat", "float", "double")

    @property
    def unsigned(self) -> bool:
        element = self.element
        return (
            isinstance(element, IntegerType) and element.signedness.data == Signedness.UNSIGNED
        )

    def neutral(self) -> V:
        """The value that changes nothing."""
        if self.type == "i1":
            return boolean(self.kind in ("mul", "min"))
        if self.kind in ("add", "mul"):
            number = 0 if self.kind == "add" else 1
            return floating(number, self.type) if self.is_float else integer(number, self.type)
        lowest = self.kind == "max"
        if self.is_float:
            return floating(float("-inf") if lowest else float("inf"), self.type)
        bits = int(self.type[1:])
        if self.unsigned:
            return integer(0 if lowest else (1 << bits) - 1, self.type)
        return integer(-(1 << (bits - 1)) if lowest else (1 << (bits - 1)) - 1, self.type)

    def apply(self, f: Function, a: V, b: V) -> V:
        """The combination of two values, both scalars or both vectors."""
        lanes = max(a.lanes, b.lanes)
        a, b = f.splat(a, lanes), f.splat(b, lanes)
        if self.kind in ("add", "mul"):
            instruction = (
                {"add": "or", "mul": "and"}[self.kind] if self.type == "i1" else self.kind
            )
            prefix = "f" if self.is_float else ""
            return f.assign(
                f"{prefix}{instruction} {a.full_type} {a.text}, {b.text}", a.type, lanes
            )
        if self.type == "i1":
            instruction = "or" if self.kind == "max" else "and"
            return f.assign(f"{instruction} {a.full_type} {a.text}, {b.text}", a.type, lanes)
        if self.is_float:
            return extremum(f, f"{self.kind}imum", a, b)
        name = f"llvm.{'u' if self.unsigned else 's'}{self.kind}"
        return f.intrinsic(name, [a, b], a.type, lanes)

    def across(self, f: Function, vector: V) -> V:
        """The combination of all lanes."""
        lanes = vector.lanes
        while lanes > 1:
            half = lanes // 2
            parts: list[V] = []
            for begin in (0, half):
                numbers = ", ".join(f"i32 {begin + i}" for i in range(half))
                text = f"shufflevector {vector.typed}, {vector.full_type} poison, <{half} x i32> <{numbers}>"
                parts.append(f.assign(text, vector.type, half))
            if half == 1:
                parts = [
                    f.assign(
                        f"extractelement <1 x {vector.type}> {part.text}, i64 0", vector.type
                    )
                    for part in parts
                ]
            vector = self.apply(f, *parts)
            lanes = half
        return vector
