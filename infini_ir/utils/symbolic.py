"""Symbolic sizes: interned integer polynomials over named symbols.

A `Dim` is a polynomial with integer coefficients over *atoms*: symbols (non-negative by
definition) and `floordiv(a, b)`, `mod(a, b)`, `min(a, b)`, `max(a, b)` of other
polynomials. Construction normalises, and equal expressions are the same object, so
comparing two sizes is comparing two references.

Text: `P + S`, `4*K - 1`, `floordiv(S - 1, 2) + 1`, `max(A, B)`. `Dim.parse(str(d)) is d`.

This file imports nothing of the compiler: the runtime evaluates sizes with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from weakref import WeakValueDictionary

FUNCTIONS = ("floordiv", "mod", "min", "max")
"""Names of the functions an expression may call; no symbol may be called so."""

PARAMETERS = ("BM", "BH", "BW", "BN", "BK", "BR", "BC")
"""Names of the tile sizes of kernels, which a target's plan fixes; no model symbol may be
called so."""

_Call = tuple[str, "Dim", "Dim"]
_Atom = str | _Call
_Monomial = tuple[tuple[_Atom, int], ...]
_Terms = tuple[tuple[_Monomial, int], ...]

_interned: WeakValueDictionary[_Terms, Dim] = WeakValueDictionary()

_small: dict[int, Dim] = {}
"""Numbers from 0 to `_SMALL` that were asked for: most sizes and strides are such."""
_SMALL = 4096


class Dim:
    """One symbolic size. Immutable, interned: `a + b is b + a`."""

    __slots__ = ("__weakref__", "_text", "terms", "value")

    terms: _Terms
    value: int | None
    """The number, when the expression is constant."""

    def __init__(self) -> None:
        raise TypeError("use Dim.of, Dim.symbol or Dim.parse")

    # Construction

    @staticmethod
    def _make(terms: dict[_Monomial, int]) -> Dim:
        items = [(m, c) for m, c in terms.items() if c]
        items.sort(key=_monomial_key)
        key = tuple(items)
        known = _interned.get(key)
        if known is not None:
            return known
        dim = object.__new__(Dim)
        dim.terms = key
        dim.value = None if any(m for m, _ in key) else (key[0][1] if key else 0)
        dim._text = None
        _interned[key] = dim
        return dim

    @staticmethod
    def of(value: int | str | Dim) -> Dim:
        """A size from an integer, the text of an expression, or itself."""
        if isinstance(value, Dim):
            return value
        if isinstance(value, str):
            return Dim.parse(value)
        return Dim._number(int(value))

    @staticmethod
    def _number(value: int) -> Dim:
        known = _small.get(value)
        if known is None:
            known = Dim._make({(): value})
            if 0 <= value <= _SMALL:
                _small[value] = known
        return known

    @staticmethod
    def symbol(name: str) -> Dim:
        """The symbol `name` (an identifier that is not one of `FUNCTIONS`)."""
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_$.]*", name) or name in FUNCTIONS:
            raise ValueError(f"'{name}' cannot name a symbolic size")
        return Dim._make({((name, 1),): 1})

    @staticmethod
    def parse(text: str) -> Dim:
        """Read an expression; `ValueError` says what is wrong with it."""
        return _Parser(text).parse()

    # Facts

    @property
    def is_constant(self) -> bool:
        return self.value is not None

    @property
    def is_symbol(self) -> bool:
        """Whether this is one bare symbol."""
        return self.name is not None

    @property
    def name(self) -> str | None:
        """The symbol's name, when this is one bare symbol."""
        if len(self.terms) == 1:
            monomial, coefficient = self.terms[0]
            if coefficient == 1 and len(monomial) == 1 and monomial[0][1] == 1:
                atom = monomial[0][0]
                return atom if isinstance(atom, str) else None
        return None

    def symbols(self) -> frozenset[str]:
        """Names of all symbols in the expression, those inside atoms included."""
        names: set[str] = set()
        for monomial, _ in self.terms:
            for atom, _ in monomial:
                if isinstance(atom, str):
                    names.add(atom)
                else:
                    names |= atom[1].symbols() | atom[2].symbols()
        return frozenset(names)

    def is_nonnegative(self) -> bool:
        """True where it is sure that no value of the symbols makes this negative."""
        return all(c >= 0 for _, c in self.terms) and all(
            _atom_nonnegative(atom) for m, _ in self.terms for atom, _ in m
        )

    # Evaluation and substitution

    def evaluate(self, values: Mapping[str, int]) -> int:
        """The number for given symbol values. `KeyError` names a missing symbol."""
        if self.value is not None:
            return self.value
        total = 0
        for monomial, coefficient in self.terms:
            product = coefficient
            for atom, power in monomial:
                product *= _atom_value(atom, values) ** power
            total += product
        return total

    def substitute(self, replacements: Mapping[str, Dim]) -> Dim:
        """The expression with some symbols replaced."""
        if self.value is not None or not (self.symbols() & replacements.keys()):
            return self
        total = ZERO
        for monomial, coefficient in self.terms:
            product = Dim.of(coefficient)
            for atom, power in monomial:
                base = _substitute_atom(atom, replacements)
                for _ in range(power):
                    product = product * base
            total = total + product
        return total

    def exact_divide(self, other: int | Dim) -> Dim | None:
        """`self / other` where the polynomial division leaves no remainder, else None."""
        divisor = Dim.of(other)
        if divisor.value == 0:
            return None
        if divisor is ONE:
            return self
        quotient, rest = ZERO, self
        lead, lead_coefficient = divisor._leading()
        while rest.terms:
            monomial, coefficient = rest._leading()
            factor = _divide_monomial(monomial, lead)
            if factor is None or coefficient % lead_coefficient:
                return None
            step = Dim._make({factor: coefficient // lead_coefficient})
            quotient, rest = quotient + step, rest - step * divisor
        return quotient

    def _leading(self) -> tuple[_Monomial, int]:
        """The leading term in a graded lexicographic order (a monomial order, so that
        division ends)."""
        atoms = sorted({a for m, _ in self.terms for a, _ in m}, key=_atom_key)

        def grade(term: tuple[_Monomial, int]) -> tuple[int, tuple[int, ...]]:
            powers = dict(term[0])
            return sum(powers.values()), tuple(powers.get(a, 0) for a in atoms)

        return max(self.terms, key=grade)

    # Arithmetic

    def __add__(self, other: int | Dim) -> Dim:
        other = Dim.of(other)
        if self.value is not None and other.value is not None:
            return Dim._number(self.value + other.value)
        terms = dict(self.terms)
        for monomial, coefficient in other.terms:
            terms[monomial] = terms.get(monomial, 0) + coefficient
        return Dim._make(terms)

    def __neg__(self) -> Dim:
        if self.value is not None:
            return Dim._number(-self.value)
        return Dim._make({m: -c for m, c in self.terms})

    def __sub__(self, other: int | Dim) -> Dim:
        other = Dim.of(other)
        if self.value is not None and other.value is not None:
            return Dim._number(self.value - other.value)
        return self + (-other)

    def __rsub__(self, other: int) -> Dim:
        return Dim.of(other) - self

    def __mul__(self, other: int | Dim) -> Dim:
        other = Dim.of(other)
        if self.value is not None and other.value is not None:
            return Dim._number(self.value * other.value)
        terms: dict[_Monomial, int] = {}
        for left, a in self.terms:
            for right, b in other.terms:
                product = _multiply_monomials(left, right)
                terms[product] = terms.get(product, 0) + a * b
        return Dim._make(terms)

    __radd__ = __add__
    __rmul__ = __mul__

    def __floordiv__(self, other: int | Dim) -> Dim:
        """Division rounding down; a constant divisor must not be 0."""
        divisor = Dim.of(other)
        if divisor.value == 0:
            raise ZeroDivisionError(f"{self} floordiv 0")
        exact = self.exact_divide(divisor)
        if exact is not None:
            return exact
        whole, rest = self._split_multiple(divisor)
        if rest.value is not None and divisor.value is not None:
            return whole + rest.value // divisor.value
        return whole + _call("floordiv", rest, divisor)

    def __mod__(self, other: int | Dim) -> Dim:
        """`self - other * (self // other)`, in [0, other) for a positive divisor."""
        divisor = Dim.of(other)
        if divisor.value == 0:
            raise ZeroDivisionError(f"{self} mod 0")
        if self.exact_divide(divisor) is not None:
            return ZERO
        _, rest = self._split_multiple(divisor)
        if rest.value is not None and divisor.value is not None:
            return Dim.of(rest.value % divisor.value)
        return _call("mod", rest, divisor)

    def _split_multiple(self, divisor: Dim) -> tuple[Dim, Dim]:
        """(q, r) with self = q * divisor + r, whole terms moved into q."""
        if divisor.value is None:
            return ZERO, self
        whole: dict[_Monomial, int] = {}
        rest: dict[_Monomial, int] = {}
        for monomial, coefficient in self.terms:
            q, r = divmod(coefficient, divisor.value)
            whole[monomial], rest[monomial] = q, r
        return Dim._make(whole), Dim._make(rest)

    def ceil_divide(self, other: int | Dim) -> Dim:
        """Division rounding up."""
        divisor = Dim.of(other)
        return (self + divisor - 1) // divisor

    def __repr__(self) -> str:
        return f"Dim({str(self)!r})"

    def __str__(self) -> str:
        if self._text is None:
            self._text = _text(self)
        return self._text

    def __reduce__(self) -> tuple[Callable[[str], Dim], tuple[str]]:
        return Dim.parse, (str(self),)


def minimum(left: int | Dim, right: int | Dim) -> Dim:
    """The smaller of two sizes."""
    return _extremum("min", Dim.of(left), Dim.of(right))


def maximum(left: int | Dim, right: int | Dim) -> Dim:
    """The larger of two sizes."""
    return _extremum("max", Dim.of(left), Dim.of(right))


def product(dims: Iterable[int | Dim]) -> Dim:
    """The product of sizes; 1 for none."""
    result = ONE
    for dim in dims:
        result = result * dim
    return result


def _extremum(function: str, left: Dim, right: Dim) -> Dim:
    difference = left - right
    if difference.is_nonnegative():
        return right if function == "min" else left
    if (-difference).is_nonnegative():
        return left if function == "min" else right
    if str(right) < str(left):
        left, right = right, left
    return _call(function, left, right)


def _call(function: str, left: Dim, right: Dim) -> Dim:
    return Dim._make({(((function, left, right), 1),): 1})


def _atom_key(atom: _Atom) -> str:
    return atom if isinstance(atom, str) else f"{atom[0]}({atom[1]}, {atom[2]})"


def _monomial_key(term: tuple[_Monomial, int]) -> tuple[bool, tuple[tuple[str, int], ...]]:
    # The constant term comes last, so that text reads `S + 1`.
    return not term[0], tuple((_atom_key(a), p) for a, p in term[0])


def _multiply_monomials(left: _Monomial, right: _Monomial) -> _Monomial:
    if not left:
        return right
    if not right:
        return left
    powers = dict(left)
    for atom, power in right:
        powers[atom] = powers.get(atom, 0) + power
    return tuple(sorted(powers.items(), key=lambda item: _atom_key(item[0])))


def _divide_monomial(left: _Monomial, right: _Monomial) -> _Monomial | None:
    powers = dict(left)
    for atom, power in right:
        if powers.get(atom, 0) < power:
            return None
        powers[atom] -= power
    return tuple((a, p) for a, p in powers.items() if p)


def _atom_nonnegative(atom: _Atom) -> bool:
    if isinstance(atom, str):
        return True
    function, left, right = atom
    if function == "max":
        return left.is_nonnegative() or right.is_nonnegative()
    if function == "mod":
        return right.is_nonnegative()
    return left.is_nonnegative() and right.is_nonnegative()


def _apply(function: str, left: int, right: int) -> int:
    if function == "floordiv":
        return left // right if right else 0
    if function == "mod":
        return left % right if right else 0
    return min(left, right) if function == "min" else max(left, right)


def _atom_value(atom: _Atom, values: Mapping[str, int]) -> int:
    if isinstance(atom, str):
        return values[atom]
    return _apply(atom[0], atom[1].evaluate(values), atom[2].evaluate(values))


def build_call(function: str, left: Dim, right: Dim) -> Dim:
    """The expression `function(left, right)`, simplified."""
    if function == "floordiv":
        return left // right
    if function == "mod":
        return left % right
    return _extremum(function, left, right)


def _substitute_atom(atom: _Atom, replacements: Mapping[str, Dim]) -> Dim:
    if isinstance(atom, str):
        return replacements.get(atom) or Dim.symbol(atom)
    left, right = atom[1].substitute(replacements), atom[2].substitute(replacements)
    return build_call(atom[0], left, right)


def _text(dim: Dim) -> str:
    if not dim.terms:
        return "0"
    parts: list[str] = []
    for monomial, coefficient in dim.terms:
        factors = [_atom_key(atom) for atom, power in monomial for _ in range(power)]
        magnitude = abs(coefficient)
        if magnitude != 1 or not factors:
            factors.insert(0, str(magnitude))
        sign = "-" if coefficient < 0 else "+"
        body = "*".join(factors)
        if not parts:
            parts.append(body if sign == "+" else f"-{body}")
        else:
            parts.append(f" {sign} {body}")
    return "".join(parts)


class _Parser:
    """Recursive descent over `sum := ['-'] product (('+'|'-') product)*`,
    `product := factor ('*' factor)*`, `factor := integer | name | call | '(' sum ')'`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = re.findall(r"\d+|[A-Za-z_][A-Za-z0-9_$.]*|\S", text)
        self.position = 0

    def parse(self) -> Dim:
        dim = self.sum()
        if self.position != len(self.tokens):
            raise ValueError(f"size '{self.text}': unexpected '{self.tokens[self.position]}'")
        return dim

    def accept(self, token: str) -> bool:
        if self.position < len(self.tokens) and self.tokens[self.position] == token:
            self.position += 1
            return True
        return False

    def expect(self, token: str) -> None:
        if not self.accept(token):
            raise ValueError(f"size '{self.text}': expected '{token}'")

    def sum(self) -> Dim:
        total = -self.product() if self.accept("-") else self.product()
        while True:
            if self.accept("+"):
                total = total + self.product()
            elif self.accept("-"):
                total = total - self.product()
            else:
                return total

    def product(self) -> Dim:
        result = self.factor()
        while self.accept("*"):
            result = result * self.factor()
        return result

    def factor(self) -> Dim:
        if self.position >= len(self.tokens):
            raise ValueError(f"size '{self.text}': it ends too soon")
        token = self.tokens[self.position]
        self.position += 1
        if token == "(":
            inner = self.sum()
            self.expect(")")
            return inner
        if token.isdigit():
            return Dim.of(int(token))
        if token in FUNCTIONS:
            self.expect("(")
            left = self.sum()
            self.expect(",")
            right = self.sum()
            self.expect(")")
            return build_call(token, left, right)
        return Dim.symbol(token)


ZERO = Dim.of(0)
ONE = Dim.of(1)
