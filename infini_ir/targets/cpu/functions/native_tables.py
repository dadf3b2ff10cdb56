"""erf and tanh by piecewise polynomials whose coefficients lie in registers.

The argument's magnitude is cut into intervals of equal width, the last beyond where the
function rounds to 1. The nearest middle of an interval is found by adding a number so large
that the sum has no fraction bits; its low bits are the interval's number, and permutations of
registers look up the coefficients of the polynomial around the middle. The first interval
gives f(t) = t + t * (f(t) / t - 1), so that small results are as exact as others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from infini_ir.targets.cpu.functions.vectors import MAGIC, Vectors
from infini_ir.targets.cpu.llvm.writer import V


@dataclass(frozen=True)
class Saturating:
    """An odd function that rises to 1."""

    function: Callable[[float], float]
    width: float
    """Of an interval; few bits, so that its multiples are exact."""
    intervals: int
    limit: float
    """From here on it is 1; below the end of the last interval."""
    degree: int = 6

    @cached_property
    def tables(self) -> list[list[float]]:
        """For each power the coefficients by interval: interpolations in Chebyshev's points,
        which are near the best."""
        rows = [self._near_zero(), *(self._around(i) for i in range(1, self.intervals))]
        return [[row[power] for row in rows] for power in range(self.degree + 1)]

    def _around(self, interval: int) -> list[float]:
        middle = interval * self.width
        return self._interpolated(lambda h: self.function(middle + h), self.degree)

    def _near_zero(self) -> list[float]:
        def rest(t: float) -> float:
            return self.function(t) / t - 1 if abs(t) > 1e-6 else self.function(1e-6) / 1e-6 - 1

        return [0.0, *self._interpolated(rest, self.degree - 1)]

    def _interpolated(self, function: Callable[[float], float], degree: int) -> list[float]:
        half = self.width / 2
        fit = Chebyshev.interpolate(np.vectorize(function, [float]), degree, [-half, half])
        found = [float(c) for c in fit.convert(kind=Polynomial).coef]
        return found + [0.0] * (degree + 1 - len(found))

    def at(self, e: Vectors, x: V) -> V:
        """The function of a vector; NaN for NaN."""
        t = e.at_most(e.abs(x), self.limit)
        shifted = e.fma(t, e.number(1 / self.width), e.number(MAGIC))
        middle = e.sub(shifted, e.number(MAGIC))
        h = e.fma(middle, e.number(-self.width), t)
        index = e.cast(shifted, "i32")
        first, *others = (e.look_up(index, table) for table in self.tables)
        p = others[-1]
        for coefficient in others[-2::-1]:
            p = e.fma(p, h, coefficient)
        first = e.select(e.compare("oeq", middle, e.number(0.0)), t, first)
        return e.copysign(e.fma(p, h, first), x)


_ERF = Saturating(math.erf, 65 / 256, 16, 3.92)
_TANH = Saturating(math.tanh, 75 / 256, 32, 9.02)


def native_erf(e: Vectors, x: V) -> V:
    """Error function. Largest error: 1.56 ulp."""
    return _ERF.at(e, x)


def native_tanh(e: Vectors, x: V) -> V:
    """Hyperbolic tangent. Largest error: 1.07 ulp."""
    return _TANH.at(e, x)
