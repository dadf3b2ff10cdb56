"""Blocks of a product's rows that programs take, and strips of a register tile over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from infini_ir.targets.cpu.features import CpuFeatures
from infini_ir.targets.cpu.products.register_tile import FEW_ROWS

BLOCK_STRIPS = 10
"""Strips of a block whose rows are of a symbolic number: 128 rows, which many have, are one block."""

LINE_STRIPS = 4
"""The same of a block in a line of a symbolic width."""

MOST_STRIPS = 5
"""Strips of rows that take turns at the parts of a panel, at most."""

LINES = 4
"""Lines of a block of which there is a symbolic number."""


def row_blocks(
    rows: Sequence[int | None], limit: int, pieces: int
) -> tuple[dict[str, int], tuple[int, int]]:
    """Row blocks for about so many programs, and the register tile's rows, of at most `limit`.
    There are one or two row axes; None is a symbolic size."""
    if len(rows) == 1:
        size = rows[0]
        if size is None:
            return {"BM": BLOCK_STRIPS * limit}, (1, limit)
        block = divide(size, pieces, limit)
        return {"BM": block}, (1, even_strip(block, limit))
    height, width = rows
    if width is None:
        return {"BH": 1, "BW": LINE_STRIPS * limit}, (1, limit)
    block = LINES if height is None else divide(height, pieces, 1)
    return {"BH": block, "BW": max(1, width)}, flat_strip(block, width, limit)


def few_strips(
    rows: Sequence[int | None], strip: tuple[int, int], row_bytes: int, features: CpuFeatures
) -> bool:
    """Whether strips along one row axis are few enough to take turns at the parts of a panel, with
    all rows of the left operand in the second cache meanwhile."""
    size = rows[0] if len(rows) == 1 else None
    return (
        size is not None
        and size <= MOST_STRIPS * strip[1]
        and size * row_bytes <= features.l2_bytes // 2
    )


def covered(parameters: Mapping[str, int], row_count: int) -> int:
    """Rows of a block, of all that there are."""
    if "BM" in parameters:
        return min(parameters["BM"], row_count)
    return parameters["BH"] * parameters["BW"]


def flat_strip(height: int, width: int, limit: int) -> tuple[int, int]:
    """The register tile over two row axes: whole lines where several fit, else a part of one."""
    if width >= limit or width < 1:
        return 1, even_strip(width, limit)
    return max(1, min(limit // width, height)), width


def even_strip(size: int, limit: int) -> int:
    """Rows of strips that cover an axis evenly, at most `limit`."""
    return max(1, -(-size // max(1, -(-size // limit))))


def efficiency(size: int, limit: int) -> float:
    """The share of a register tile's work that counts, for strips over an axis."""
    strip = even_strip(size, limit)
    whole, rest = divmod(size, strip)
    if 0 < rest < FEW_ROWS:  # strips of two sizes next to each other, instead of a small one
        strip = size / (whole + 1)
        whole, rest = whole + 1, 0
    spent = whole * max(strip, FEW_ROWS) + (max(rest, FEW_ROWS) if rest else 0)
    return size / spent * min(1.0, strip / limit + 0.3) if spent else 1.0


def divide(size: int, pieces: int, limit: int) -> int:
    """A block of an axis: a divisor near size / pieces whose strips waste little."""
    if size <= 1:
        return 1
    candidates = [p for p in range(1, min(size, 4 * pieces) + 1) if size % p == 0]

    def score(p: int) -> tuple[float, float]:
        useful = round(efficiency(size // p, limit), 1) if limit > 1 else 1.0
        nearness = min(p, pieces) / max(p, pieces)
        return useful * (0.5 + nearness), nearness

    best = max(candidates, key=score)
    if best * 4 < pieces and size >= 4 * pieces * limit:
        # No divisor near: blocks of whole strips, and one shorter block at the end.
        return max(limit, size // pieces // limit * limit)
    return size // best
