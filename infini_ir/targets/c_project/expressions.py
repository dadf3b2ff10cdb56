"""Symbolic sizes as C++ expressions, and names that C++ takes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from infini_ir.dialects.tile import KernelOp
from infini_ir.utils.symbolic import ONE, PARAMETERS, Dim, product

_KEYWORDS = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t
char32_t class compl concept const consteval constexpr constinit const_cast continue co_await
co_return co_yield decltype default delete do double dynamic_cast else enum explicit export
extern false float for friend goto if inline int long mutable namespace new noexcept not not_eq
nullptr operator or or_eq private protected public register reinterpret_cast requires restrict
return short signed sizeof static static_assert static_cast struct switch template this
thread_local throw true try typedef typeid typename union unsigned using virtual void volatile
wchar_t while xor xor_eq
"""
_MACROS = """
BIG_ENDIAN BUFSIZ BYTE_ORDER CHAR_BIT CHAR_MAX CHAR_MIN EOF HUGE_VAL I INFINITY INT_MAX INT_MIN
LITTLE_ENDIAN LONG_MAX LONG_MIN NAN NULL RAND_MAX assert complex errno half bfloat16 linux
main major minor offsetof stderr stdin stdout unix
"""
RESERVED = frozenset(f"{_KEYWORDS} {_MACROS}".split())
"""Words that cannot name a variable in C++ or in a vendor's dialect of it."""


def c_identifier(text: str) -> str:
    """A C++ identifier as like `text` as can be; different texts may give the same."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_") or "value"
    if name[0].isdigit():
        name = f"_{name}"
    return f"{name}_" if name in RESERVED else name


@dataclass
class Names:
    """Identifiers of one scope. A symbol or a value has the same name whenever asked for; no
    two have the same."""

    taken: set[str] = field(default_factory=set)
    """Names that the scope uses for other things."""
    symbols: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    """Symbols that an expression has named."""

    @staticmethod
    def reserving(names: Iterable[str]) -> Names:
        """A scope in which `names` are taken."""
        return Names(set(names))

    def fresh(self, wish: str) -> str:
        """A new name, `wish` as an identifier where it is free."""
        stem = c_identifier(wish)
        name, count = stem, 1
        while name in self.taken:
            count += 1
            name = f"{stem}_{count}"
        self.taken.add(name)
        return name

    def symbol(self, symbol: str) -> str:
        """The identifier of a symbolic size."""
        if symbol not in self.symbols:
            self.symbols[symbol] = self.fresh(symbol)
        return self.symbols[symbol]

    def expression(self, dim: int | Dim) -> str:
        """A size as an expression of type `int64_t` (see `c_expression`)."""
        dim = Dim.of(dim)
        self.used |= dim.symbols()
        return c_expression(dim, self)


def c_expression(dim: int | Dim, names: Names) -> str:
    """
    A size as a C++ expression over `int64_t` variables, such as `4 * M * ((N + 31) / 32)`.

    Symbols are not negative, so most divisions are plain; the others, and min and max, call
    `floor_div`, `floor_mod`, `smaller` and `larger` of `sizes.h`. A sum has no parentheses
    around it: give it some where it becomes part of a larger expression (see `c_factor`).
    """
    dim = Dim.of(dim)
    if dim.value is not None:
        return _integer(dim.value)
    parts: list[str] = []
    for monomial, coefficient in dim.terms:
        factors = [_atom(atom, names) for atom, power in monomial for _ in range(power)]
        if abs(coefficient) != 1 or not factors:
            factors.insert(0, _integer(abs(coefficient)))
        text = " * ".join(factors)
        if parts:
            parts.append(f" {'-' if coefficient < 0 else '+'} {text}")
        else:
            parts.append(f"-{text}" if coefficient < 0 else text)
    return "".join(parts)


def c_factor(dim: int | Dim, names: Names) -> str:
    """The expression, in parentheses unless it is a number or a name."""
    text = c_expression(dim, names)
    return text if re.fullmatch(r"\w+(\([^()]*\))?", text) else f"({text})"


def _integer(value: int) -> str:
    # A product of two literals would be of type int: long ones say what they are.
    return str(value) if abs(value) < 1 << 31 else f"INT64_C({value})"


def _atom(atom: str | tuple[str, Dim, Dim], names: Names) -> str:
    if isinstance(atom, str):
        return names.symbol(atom)
    function, left, right = atom
    if function in ("floordiv", "mod") and left.is_nonnegative() and (right.value or 0) > 0:
        operator = "/" if function == "floordiv" else "%"
        return f"({c_factor(left, names)} {operator} {right.value})"
    called = {
        "floordiv": "floor_div",
        "mod": "floor_mod",
        "min": "smaller",
        "max": "larger",
    }[function]
    return f"{called}({c_expression(left, names)}, {c_expression(right, names)})"


def plan_parameters(kernel: KernelOp) -> dict[str, Dim]:
    """The tile sizes that a kernel's plan fixes, as replacements in its sizes."""
    plan = kernel.plan.data if kernel.plan is not None else {}
    return {
        name: Dim.of(int(getattr(value, "value").data))  # noqa: B009 - an attribute of numbers
        for name, value in plan.items()
        if name in PARAMETERS and hasattr(value, "value")
    }


def grid_axes(kernel: KernelOp) -> tuple[Dim, ...]:
    """How many steps each axis of a planned kernel's grid has."""
    known = plan_parameters(kernel)
    return tuple(
        bound.substitute(known).ceil_divide(step.substitute(known))
        for bound, step in zip(kernel.bounds.data, kernel.steps.data, strict=True)
    )


def grid_size(kernel: KernelOp) -> Dim:
    """How many programs a planned kernel's grid has."""
    return product(grid_axes(kernel)) if kernel.grid_rank else ONE


def c_string(text: str) -> str:
    """A C string literal of the text's UTF-8 bytes."""
    out: list[str] = []
    for byte in text.encode():
        char = chr(byte)
        if char in '"\\':
            out.append(f"\\{char}")
        elif char == "?":
            out.append("\\?")  # or two of them may begin a trigraph
        elif 32 <= byte < 127:
            out.append(char)
        else:
            out.append(f"\\{byte:03o}")
    return f'"{"".join(out)}"'


def c_comment(text: str) -> str:
    """Text fit for a line comment: printable, and not continued on the next line."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    return shown.replace("\\", "/").replace("??/", "/")
