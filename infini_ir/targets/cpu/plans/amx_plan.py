"""The plan of a product on the matrix unit: what stays in the second cache, what is shared out.

A program keeps columns of the right operand in the second cache while strips of rows pass them.
Where rows are few, all of them stay there while the columns, a layer's weights, pass once.
Of large products of bf16 a program keeps rows, and columns pass them in parts of k, each of
which stays in the first cache meanwhile (`amx_parts`).
"""

from __future__ import annotations

from dataclasses import dataclass

from infini_ir.dialects import tile
from infini_ir.targets.cpu.features import CpuFeatures
from infini_ir.targets.cpu.plans.plan import Plan
from infini_ir.targets.cpu.plans.product_sizes import (
    PROGRAMS,
    UNKNOWN_DEPTH,
    ProductSizes,
    columns_first,
    looped_depth,
    named,
    product_sizes,
)
from infini_ir.targets.cpu.products import contraction, grouped
from infini_ir.targets.cpu.products.amx import BLOCK
from infini_ir.targets.cpu.products.amx_left import ROWS
from infini_ir.utils.dtypes import item_size

FEW_ROWS, SOME_ROWS = 64, 256
"""Rows of a program at least; rows up to which all of them stay while columns pass."""

LEAST_COLUMNS = 128
"""Columns of a program at least: rows are copied and results begun for each program anew."""

PART = 16
"""Runs of k of two panels that stay in the first cache: 32 KiB."""

LEAST_PARTED, LEAST_RUNS = 512, 24
"""Rows, and runs of k, from which on a product is done in parts of k."""

ONE_TILE = 0.6
"""What a strip of one tile costs, of two."""


@dataclass(frozen=True)
class _Shape(ProductSizes):
    """Sizes of a product, and bytes."""

    depth_bytes: int
    """Of a column of the right operand."""
    left_bytes: int
    """Of the left operand's elements that all rows take; windows share most of theirs."""


def plan_amx(
    kernel: tile.KernelOp, nest: contraction.Nest, features: CpuFeatures, weight: bool = False
) -> Plan | None:
    """The plan of a kernel around one product that the matrix unit can do, else None; of
    whose right operand it may be known to be a `weight`, in panels."""
    a, b = tile.view_type(nest.lhs.view), tile.view_type(nest.rhs.view)
    group = grouped.group_of(a.element, b.element, tile.tile_type(nest.dot.acc).element)
    if nest.factor is not None or grouped.unit_for(group, features) != "amx":
        return None
    shape = _shape(kernel, nest)
    if _rows_stay(shape, features):
        pieces = _pieces(shape.column_count, -(-PROGRAMS // shape.outer), LEAST_COLUMNS)
        return Plan(
            {**named(kernel, _row_blocks(shape, 1)), **_columns(shape, pieces)},
            (1, BLOCK),
            reason="rows stay in L2, columns pass them",
            unit="amx",
            group=group,
        )
    kept = features.l2_bytes // 2 // max(1, shape.depth_bytes)
    if weight and looped_depth(nest) and _in_parts(shape, group, features):
        return _parted(kernel, shape, features)
    pieces = -(-shape.column_count // max(BLOCK, kept))
    lines = _pieces(shape.row_count, -(-PROGRAMS // (shape.outer * pieces)), FEW_ROWS)
    columns = _columns(shape, pieces)
    return Plan(
        {**named(kernel, _row_blocks(shape, lines)), **columns},
        (1, BLOCK),
        order=columns_first(kernel, nest),
        reason=f"{columns['BN']} columns stay in L2, rows pass them",
        unit="amx",
        outer="rows",
        group=group,
    )


def _rows_stay(shape: _Shape, features: CpuFeatures) -> bool:
    """Whether all rows are few enough to stay in the second cache."""
    return shape.row_count <= SOME_ROWS and shape.left_bytes <= features.l2_bytes * 3 // 4


def _in_parts(shape: _Shape, group: int, features: CpuFeatures) -> bool:
    """Whether parts of k pay: the weight is not in the second cache, so that neither operand
    is read once, and blocks of results are whole lines, which those of bytes are not."""
    sizes = [*shape.rows, shape.columns]
    if len(sizes) != 2 or None in sizes or group != 2:
        return False
    runs = shape.depth // (ROWS * group)
    large = shape.row_count >= LEAST_PARTED and runs >= LEAST_RUNS
    return large and shape.column_count * shape.depth_bytes > features.l2_bytes


def _parted(kernel: tile.KernelOp, shape: _Shape, features: CpuFeatures) -> Plan:
    """Rows as tiles in half the second cache, panels pass them part by part."""
    rows = max(BLOCK, features.l2_bytes // 2 // shape.depth_bytes // BLOCK * BLOCK)
    lines = -(-shape.row_count // rows)
    columns = _columns(shape, -(-PROGRAMS // lines))
    return Plan(
        {**named(kernel, {"BM": _whole(shape.row_count, lines)}), **columns},
        (1, BLOCK),
        reason=f"{rows} rows stay in L2, parts of columns pass them in L1",
        unit="amx",
        part=PART,
        group=2,
    )


def _whole(size: int, pieces: int) -> int:
    """A share of so many pieces in whole strips."""
    return -(-size // (pieces * BLOCK)) * BLOCK


def _pieces(size: int, wanted: int, least: int) -> int:
    """So many pieces as wanted, but none smaller than `least`."""
    return max(1, min(wanted, size // least))


def _columns(shape: _Shape, pieces: int) -> dict[str, int]:
    return {"BN": _share(shape.column_count, pieces), "BK": max(1, shape.depth)}


def _shape(kernel: tile.KernelOp, nest: contraction.Nest) -> _Shape:
    a, b = tile.view_type(nest.lhs.view), tile.view_type(nest.rhs.view)
    sizes = product_sizes(kernel, nest, looped_depth(nest))
    channels = a.shape[nest.lhs.axis_list[-1]].value or UNKNOWN_DEPTH
    taps = max(1, sizes.depth // max(1, channels))
    left = sizes.row_count * sizes.depth * item_size(a.dtype) // taps
    return _Shape(**vars(sizes), depth_bytes=sizes.depth * item_size(b.dtype), left_bytes=left)


def _share(size: int, pieces: int) -> int:
    """A share of so many pieces in whole blocks; pieces that divide the size where some do."""
    groups = -(-size // BLOCK)
    best = min(
        (p for p in range(1, min(groups, 2 * pieces) + 1) if groups % p == 0 or p == pieces),
        key=lambda p: max(p, pieces) / min(p, pieces) + (groups % p > 0),
    )
    return max(1, -(-groups // best)) * BLOCK


def _row_blocks(shape: _Shape, pieces: int) -> dict[str, int]:
    if len(shape.rows) == 1:
        size = shape.rows[0]
        return {"BM": 4 * BLOCK if size is None else _divide(size, pieces)}
    height, width = shape.rows
    if width is None:
        return {"BH": 1, "BW": 4 * BLOCK}
    if height is None:
        return {"BH": 4, "BW": max(1, width)}
    lines = [h for h in range(1, height + 1) if height % h == 0] or [1]

    def score(h: int) -> float:
        block = _efficiency(h * width)
        near = min(height // h, pieces) / max(height // h, pieces)
        return block * (0.5 + near)

    return {"BH": max(lines, key=score), "BW": max(1, width)}


def _divide(size: int, pieces: int) -> int:
    """A block of rows: a divisor near size / pieces that fills tiles, or whole strips and
    fewer at the end."""
    candidates = [p for p in range(1, min(size, 4 * pieces) + 1) if size % p == 0] or [1]

    def score(p: int) -> float:
        return _efficiency(size // p) * (0.5 + min(p, pieces) / max(p, pieces))

    best = max(candidates, key=score)
    if best * 2 < pieces and size >= 2 * pieces * BLOCK:
        return max(BLOCK, size // pieces // BLOCK * BLOCK)
    return max(1, size // best)


def _efficiency(rows: int) -> float:
    """The share of a strip's work that counts."""
    tiles = -(-rows // ROWS)
    cost = tiles // 2 + ONE_TILE * (tiles % 2)
    return rows / BLOCK / cost if cost else 1.0
