"""Powers that are products of roots: a constant exponent of some quarters."""

from collections.abc import Callable

from infini_ir.passes.tile.math_expansion.builder import Scalar

ROOTS = (0.25, 0.5, -0.5, -0.75)
"""Exponents that roots are cheaper for than logarithms."""


def expand_power_by_roots(
    x: Scalar, exponent: float, rsqrt: Callable[[Scalar], Scalar]
) -> Scalar:
    """x to the power `exponent`, one of `ROOTS`. Largest error: 1.7 ulp; of -0.5 that of
    `rsqrt`, which is 1 / sqrt(x) and may be two places wrong.

    The special cases are those of C99 Annex F: a zero has no sign here, and -inf is inf.
    """
    b = x.b
    infinity = float("inf")
    x = x + 0.0
    x = b.select(x.eq(-infinity), infinity, x)
    if exponent < 0:
        root = rsqrt(x)
        return root if exponent == -0.5 else _corrected(x, root)
    root = b.sqrt(x)
    return root if exponent == 0.5 else b.sqrt(root)


def _corrected(x: Scalar, root: Scalar) -> Scalar:
    """x**-0.75 from x**-0.5 = root * (1 + h)**-0.5 with 1 - h = x * root**2: to first order
    root**1.5 * (1 + 0.75 * h)."""
    b = x.b
    high = x * root
    low = b.fma(x, root, -high)
    h = b.fma(-high, root, 1.0) - low * root
    power = root * b.sqrt(root)
    return b.select(b.abs(h).lt(1.0), b.fma(power, h * 0.75, power), power)
