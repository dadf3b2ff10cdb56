"""Symbolic sizes as Triton text."""

from __future__ import annotations

from collections.abc import Callable

from infini_ir.targets.nvidia.indices import NARROW
from infini_ir.targets.nvidia.values import Text, number_text
from infini_ir.utils.symbolic import Dim

SYMBOL_LIMIT = 1 << 29
"""What symbols stay below in kernels that compute positions in 32 bits."""


class SizeTexts:
    """
    The text of sizes in one kernel; remembers which symbols it needed.

    Symbols are 64-bit arguments; `narrow` makes them 32-bit ones, and only products of them
    are computed in 64 bits.
    """

    def __init__(self, name_of: Callable[[str], str], *, narrow: bool) -> None:
        self.narrow = narrow
        self.symbols: dict[str, str] = {}
        self._name_of = name_of

    @property
    def symbol_type(self) -> str:
        return "int32" if self.narrow else "int64"

    def text(self, dim: Dim) -> Text:
        """The size as an expression."""
        if dim.value is not None:
            wide = abs(dim.value) >= NARROW
            return number_text(dim.value, "int64" if wide else "int32")
        if dim.name is not None:
            return self._symbol(dim.name)
        bound = self.bound(dim)
        wide = bound is None or bound >= NARROW
        parts: list[str] = []
        for monomial, coefficient in dim.terms:
            sign = "-" if coefficient < 0 else "+"
            body = self._product(monomial, abs(coefficient), wide)
            parts.append(f"{sign} {body}" if parts else ("-" if sign == "-" else "") + body)
        type = "int64" if wide or not self.narrow else "int32"
        atom = len(parts) == 1 and "*" not in parts[0] and not parts[0].startswith("-")
        return Text(" ".join(parts), type, atom, bound=bound, natural=dim.is_nonnegative())

    def _symbol(self, name: str) -> Text:
        if name not in self.symbols:
            self.symbols[name] = self._name_of(name)
        bound = SYMBOL_LIMIT if self.narrow else None
        return Text(self.symbols[name], self.symbol_type, bound=bound, natural=True)

    def bound(self, dim: Dim) -> int | None:
        """What the magnitude of a size stays below, if that is known."""
        if dim.value is not None:
            return abs(dim.value)
        if not self.narrow:
            return None
        total = 0
        for monomial, coefficient in dim.terms:
            bound = abs(coefficient)
            for atom, power in monomial:
                own = SYMBOL_LIMIT if isinstance(atom, str) else self._call_bound(atom)
                if own is None:
                    return None
                bound *= own**power
            total += bound
        return total

    def _call_bound(self, atom: tuple[str, Dim, Dim]) -> int | None:
        bounds = [self.bound(part) for part in atom[1:]]
        return None if None in bounds else max(b for b in bounds if b is not None)

    def _product(self, monomial: tuple, coefficient: int, wide: bool) -> str:
        factors: list[str] = []
        for atom, power in monomial:
            text = self._atom(atom)
            if wide and self.narrow and not factors and text.type != "int64":
                text = Text(text.to("int64"), "int64")
            factors += [text.operand] * power
        if coefficient != 1 or not factors:
            factors.append(str(coefficient))
        return " * ".join(factors)

    def _atom(self, atom: str | tuple[str, Dim, Dim]) -> Text:
        if isinstance(atom, str):
            return self._symbol(atom)
        function, left, right = atom
        a, b = self.text(left), self.text(right)
        type = "int64" if "int64" in (a.type, b.type) else "int32"
        natural = left.is_nonnegative() and right.is_nonnegative()
        if function in ("min", "max"):
            name = "tl.minimum" if function == "min" else "tl.maximum"
            return Text(f"{name}({a.text}, {b.text})", type, natural=natural)
        if natural:
            symbol = "//" if function == "floordiv" else "%"
            return Text(f"({a.operand} {symbol} {b.operand})", type, natural=True)
        rest = f"(({a.operand} % {b.operand} + {b.operand}) % {b.operand})"
        if function == "mod":
            return Text(rest, type, natural=True)
        return Text(f"(({a.operand} - {rest}) // {b.operand})", type)
