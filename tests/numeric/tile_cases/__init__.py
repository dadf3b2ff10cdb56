"""Kernels of every form that the lowering makes, and inputs of awkward sizes for them."""

from tile_cases import elementwise, gathers, loops, movement, products, reductions
from tile_cases.registry import CASES, Case

__all__ = [
    "CASES",
    "Case",
    "elementwise",
    "gathers",
    "loops",
    "movement",
    "products",
    "reductions",
]
