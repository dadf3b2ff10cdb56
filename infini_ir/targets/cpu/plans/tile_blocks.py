"""The plan of an algorithm by tiles: which block of tiles, and which columns, a program takes
through transform, products and back."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from infini_ir.dialects import tile
from infini_ir.targets.cpu.features import CpuFeatures
from infini_ir.targets.cpu.plans.contraction_plan import register_tile
from infini_ir.targets.cpu.plans.plan import Plan
from infini_ir.targets.cpu.plans.row_blocks import even_strip
from infini_ir.targets.cpu.products.equal_products import EqualProducts

WORKERS = 4
"""Workers that should end together; fewer ones then do, too."""

TRANSFORM = 10.0
"""Multiply-adds in the time that making and reading a transformed element takes, in L1."""

FAR = 26.0
"""The same for an element of a right factor that comes from beyond the L2 cache."""

NEAR = 4.0
"""The same for one that is in the L2 cache."""


@dataclass(frozen=True)
class _Sizes:
    """Points of a tile, tiles along both axes, channels, columns; programs of other axes."""

    points: int
    height: int
    width: int
    depth: int
    columns: int
    outer: int


def plan_tiles(kernel: tile.KernelOp, products: EqualProducts, features: CpuFeatures) -> Plan:
    """The cheapest block: blocks divide their axes, as far as sizes are known."""
    sizes = _sizes(kernel, products)
    lanes = features.vector_bytes // 4
    limit, vectors = register_tile(features, lanes, sizes.columns)
    width = lanes * vectors
    candidates = product(
        _divisors(sizes.height),
        _divisors(sizes.width),
        _column_blocks(sizes.columns, width),
    )

    def cost(block: tuple[int, int, int]) -> float:
        return _cost(sizes, block, limit, width, features.l2_bytes)

    height, across, columns = min(candidates, key=cost)
    rows = height * across
    parameters = {"BH": height, "BW": across, "BN": columns}
    reason = f"{rows} tiles by {columns} columns at a time through all {sizes.points} products"
    return Plan(parameters, (1, even_strip(rows, limit)), vectors, 1, (), reason)


def _sizes(kernel: tile.KernelOp, products: EqualProducts) -> _Sizes:
    steps = zip(kernel.steps.data, kernel.bounds.data, strict=True)
    known = {str(step): bound.value or 64 for step, bound in steps}
    outer = known.get("1", 1)
    load = products.loads[0]
    depth = tile.view_type(load.view).shape[load.axis_list[0]].value or 64
    return _Sizes(len(products.dots), known["BH"], known["BW"], depth, known["BN"], outer)


def _cost(
    sizes: _Sizes, block: tuple[int, int, int], limit: int, width: int, cache: int
) -> float:
    """Multiply-adds of one element of one worker, everything turned into those."""
    height, across, columns = block
    rows = height * across
    programs = (
        sizes.outer * (sizes.height // height) * (sizes.width // across)
        * -(-sizes.columns // columns)
    )  # fmt: skip
    strip = even_strip(rows, limit)
    padded = -(-columns // width) * width
    # A register tile of few rows waits for its additions and for the loads of the columns.
    spent = -(-rows // strip) * max(strip + 1, 8)
    work = sizes.points * spent * sizes.depth * padded
    moved = sizes.points * rows * (sizes.depth + columns)
    factors = sizes.points * sizes.depth * padded
    work += moved * TRANSFORM * (1 + (4 * moved / cache) ** 2)
    again = 4 * (sizes.points * sizes.depth * sizes.columns) <= cache // 2
    work += factors * (NEAR if again else FAR)
    return work * -(-programs // WORKERS) * WORKERS


def _divisors(size: int) -> list[int]:
    return [d for d in range(1, size + 1) if size % d == 0]


def _column_blocks(columns: int, width: int) -> list[int]:
    """Whole panels that divide the columns, or all of them."""
    groups = columns // width
    if columns % width:
        return [columns]
    return [width * d for d in _divisors(groups)]
