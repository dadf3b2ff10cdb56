"""Scalar expressions that are the same in every device's C++."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.ir import Operation

NARROW = ("half_t", "bf16_t")
"""16-bit floats: computed with in `float`, each result rounded."""

Emitter = Callable[[Operation, Sequence[str], str], str]
"""(operation, operands, the result's C++ type) -> expression"""

INTEGER_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=", "<", "<=", ">", ">=")
"""Operators by the predicate of `arith.cmpi`; from the sixth on operands are unsigned."""


def wide(operands: Sequence[str], name: str) -> list[str]:
    """Floats of a type as those that are computed with."""
    return [f"widen({v})" for v in operands] if name in NARROW else list(operands)


def float_operator(symbol: str, rounded: Callable[[str, str], str]) -> Emitter:
    """An operator between floats. `rounded`: (text, type) -> the text, rounded to the type."""

    def emit(op: Operation, v: Sequence[str], name: str) -> str:
        a, b = wide(v, name)
        return rounded(f"{a} {symbol} {b}", name)

    return emit


def call(function: str) -> Emitter:
    """A function template of the result's type."""

    def emit(op: Operation, v: Sequence[str], name: str) -> str:
        return f"{function}<{name}>({', '.join(v)})"

    return emit
