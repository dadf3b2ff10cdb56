"""Plans of their own for few rows: products whose number of rows is known only in a call.

A plan for a thousand rows leaves most of a device idle when there is one, as in decoding; a
second kernel, launched where there are few, has tiles for that.
"""

from __future__ import annotations

from dataclasses import dataclass

from infini_ir.dialects import tile
from infini_ir.targets.nvidia.work import Work
from infini_ir.utils.symbolic import PARAMETERS

FEW = 64
"""Rows of one product that count as few: a tile of tensor cores, or less."""
FEW_IN_TURN = 16
"""The same of products in turn, as in attention."""
WORTH = 1.1
"""How much faster a second plan must be by the cost model."""


@dataclass(frozen=True)
class FewRows:
    """When a kernel has few rows."""

    axis: int
    """Of the grid."""
    most: int
    assumed: dict[str, int]
    """Values of the symbols with which there are so many."""


def few_rows(kernel: tile.KernelOp, work: Work, rows: tuple[str, ...]) -> FewRows | None:
    """Few rows of a kernel whose products' rows are these parameters; None where their number
    is known, or is the length of what is contracted too."""
    axes = [i for i, step in enumerate(kernel.steps.data) if step.name in rows]
    if len(rows) != 1 or len(axes) != 1:
        return None
    bound = kernel.bounds.data[axes[0]]
    symbols = sorted(bound.symbols())
    others = [
        work.bounds[name].symbols() - {*PARAMETERS} for name in work.bounds if name not in rows
    ]
    if not symbols or any(names and names <= {*symbols} for names in others):
        return None
    most = FEW if len(work.products) == 1 else FEW_IN_TURN
    assumed = dict.fromkeys(symbols, 1) | {symbols[0]: most}
    if not 0 < bound.evaluate(assumed) <= most:
        return None
    return FewRows(axes[0], most, assumed)
