"""Arithmetic on whole AVX-512 vectors of f32, as expressions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from infini_ir.targets.cpu.llvm.writer import Function, V, floating, integer

LANES = 16

MAGIC = 1.5 * 2.0**23
"""Adding it rounds to an integer, which is then in the low bits of the sum."""

_EVERY = "i16 -1"
_CURRENT = "i32 4"
"""Rounding as it is set."""

_MANTISSA = 0b1111
"""Of `vgetmantps`: in [3/4, 3/2), without sign, NaN for numbers below zero."""


@dataclass(frozen=True)
class Vectors:
    """Writes into a function; values are vectors of `LANES` f32 where nothing else is said."""

    f: Function

    def assign(self, text: str, type: str = "float") -> V:
        return self.f.assign(text, type, LANES)

    def number(self, value: float) -> V:
        return self.f.splat(floating(value), LANES)

    def whole(self, value: int) -> V:
        return self.f.splat(integer(value, "i32"), LANES)

    def vector(self, values: Sequence[float]) -> V:
        """A constant of `LANES` numbers."""
        items = ", ".join(f"float {floating(value).text}" for value in values)
        return V(f"<{items}>", "float", LANES)

    # Arithmetic

    def add(self, a: V, b: V) -> V:
        return self._binary("fadd", a, b)

    def sub(self, a: V, b: V) -> V:
        return self._binary("fsub", a, b)

    def mul(self, a: V, b: V) -> V:
        return self._binary("fmul", a, b)

    def xor(self, a: V, b: V) -> V:
        return self._binary("xor", a, b)

    def fma(self, a: V, b: V, c: V) -> V:
        """a * b + c, rounded once."""
        return self.f.intrinsic("llvm.fma", [a, b, c], a.type, LANES)

    def polynomial(self, x: V, coefficients: Sequence[float]) -> V:
        """Horner's rule, coefficients from the constant term upwards."""
        result = self.number(coefficients[-1])
        for coefficient in coefficients[-2::-1]:
            result = self.fma(result, x, self.number(coefficient))
        return result

    def abs(self, x: V) -> V:
        return self.f.intrinsic("llvm.fabs", [x], x.type, LANES)

    def copysign(self, magnitude: V, sign: V) -> V:
        return self.f.intrinsic("llvm.copysign", [magnitude, sign], sign.type, LANES)

    def shift_left(self, x: V, count: int) -> V:
        return self._binary("shl", x, self.whole(count))

    def _binary(self, instruction: str, a: V, b: V) -> V:
        return self.f.assign(f"{instruction} {a.typed}, {b.text}", a.type, LANES)

    # Choices

    def compare(self, predicate: str, a: V, b: V) -> V:
        return self.f.assign(f"fcmp {predicate} {a.typed}, {b.text}", "i1", LANES)

    def select(self, condition: V, yes: V, no: V) -> V:
        return self.assign(f"select {condition.typed}, {yes.typed}, {no.typed}", yes.type)

    def at_most(self, x: V, limit: float) -> V:
        """The smaller of the two, NaN for NaN; one instruction."""
        bound = self.number(limit)
        return self.select(self.compare("olt", bound, x), bound, x)

    def at_least(self, x: V, limit: float) -> V:
        """The larger of the two, NaN for NaN; one instruction."""
        bound = self.number(limit)
        return self.select(self.compare("ogt", bound, x), bound, x)

    def any(self, condition: V) -> V:
        """Whether it holds in a lane."""
        bits = self.f.assign(f"bitcast {condition.typed} to i16", "i16")
        return self.f.assign(f"icmp ne {bits.typed}, 0", "i1")

    # Bits, exponents, tables

    def cast(self, x: V, type: str) -> V:
        """The bits of f32 as i32, and back."""
        return self.assign(f"bitcast {x.typed} to <{LANES} x {type}>", type)

    def exponent(self, x: V) -> V:
        """The largest n with 2**n at most |x|, as a float: -inf for 0."""
        return self._call(
            "mask.getexp.ps.512", [x], f"{x.full_type} zeroinitializer", _EVERY, _CURRENT
        )

    def mantissa(self, x: V) -> V:
        """m in [3/4, 3/2) of x = m * 2**n: 1 for 0 and infinity, NaN below zero."""
        return self._call(
            "mask.getmant.ps.512",
            [x],
            f"i32 {_MANTISSA}",
            f"{x.full_type} zeroinitializer",
            _EVERY,
            _CURRENT,
        )

    def look_up(self, index: V, table: Sequence[float]) -> V:
        """Entries of a table of 16 or 32 numbers at the low bits of an i32."""
        first = self.vector(table[:LANES])
        if len(table) == LANES:
            return self._call("permvar.sf.512", [first, index])
        return self._call("vpermi2var.ps.512", [first, index, self.vector(table[LANES:])])

    def _call(self, name: str, operands: Sequence[V], *rest: str) -> V:
        arguments = [*(operand.typed for operand in operands), *rest]
        types = [*(operand.full_type for operand in operands)]
        types += [text.rsplit(" ", 1)[0] for text in rest]
        full = f"<{LANES} x float>"
        self.f.module.declare(f"declare {full} @llvm.x86.avx512.{name}({', '.join(types)})")
        return self.assign(f"call {full} @llvm.x86.avx512.{name}({', '.join(arguments)})")

    # Other numbers of lanes

    def parts(self, x: V) -> list[V]:
        """Vectors of `LANES` that hold the lanes of x in order, the rest of the last zero."""
        made: list[V] = []
        for begin in range(0, x.lanes, LANES):
            lanes = range(begin, begin + LANES)
            numbers = ", ".join(f"i32 {min(i, x.lanes)}" for i in lanes)
            made.append(
                self.assign(
                    f"shufflevector {x.typed}, {x.full_type} zeroinitializer, "
                    f"<{LANES} x i32> <{numbers}>"
                )
            )
        return made

    def joined(self, parts: Sequence[V], lanes: int) -> V:
        """The first `lanes` lanes of one or two vectors."""
        numbers = ", ".join(f"i32 {i}" for i in range(lanes))
        text = f"shufflevector {parts[0].typed}, {parts[-1].typed}, <{lanes} x i32> <{numbers}>"
        return self.f.assign(text, "float", lanes)
