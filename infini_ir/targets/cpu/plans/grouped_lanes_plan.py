"""The plan of a product of groups in vectors: the register tile, and how programs share it.

As in `contraction_plan`: where the right operand fits the second cache, rows are shared out;
otherwise columns are, and a block of rows stays in the cache while they pass.
"""

from __future__ import annotations

from dataclasses import dataclass

from infini_ir.dialects import tile
from infini_ir.dialects.tile.types import GROUPS
from infini_ir.targets.cpu.features import CpuFeatures
from infini_ir.targets.cpu.plans.plan import Plan
from infini_ir.targets.cpu.plans.product_sizes import (
    PROGRAMS,
    ProductSizes,
    columns_first,
    looped_depth,
    named,
    product_sizes,
)
from infini_ir.targets.cpu.plans.row_blocks import covered, few_strips, row_blocks
from infini_ir.targets.cpu.products import contraction, grouped
from infini_ir.targets.cpu.products.grouped_lanes import HALVES, WORD, instruction_for
from infini_ir.utils.dtypes import item_size
from infini_ir.utils.symbolic import product

COPIED_COLUMNS = 192
"""Columns of a program at least where it copies its rows first."""

MOST_PANELS = 4
"""Panels at once where rows are few."""

FEW_ROWS = {2: 2, 4: 4}
"""Rows up to which, by the size of groups, vectors take no longer than reading the weights, and
less than tiles, whose rows are mostly empty then."""


@dataclass(frozen=True)
class _Shape(ProductSizes):
    """Sizes of a product, and the register tile."""

    depth_bytes: int
    """Of a column of the right operand."""
    limit: int
    """Rows of the register tile at most."""
    panels: int
    """Its panels of 16 columns."""


def register_tile(features: CpuFeatures, instruction: str, *, wide: bool) -> tuple[int, int]:
    """(rows, panels) that keep sums in registers, and beside them a row of the panels and a
    word of the left operand; both halves of words as f32 take twice as many. `wide`: there is more than
    one panel of columns."""
    rows = 6 if features.vector_registers < 32 else 14
    if instruction == "fma":
        rows -= 2
    if features.vector_registers >= 32:
        return (rows, 2) if wide else (2 * rows - 4, 1)
    if features.vector_bytes >= 32:
        return rows, 1
    return 2, 1


def plan_few_rows(
    kernel: tile.KernelOp, nest: contraction.Nest, features: CpuFeatures
) -> Plan | None:
    """The plan in vectors of a product with so few rows that a matrix unit gains nothing."""
    a, b = tile.view_type(nest.lhs.view), tile.view_type(nest.rhs.view)
    group = grouped.group_of(a.element, b.element, tile.tile_type(nest.dot.acc).element)
    rows = product(a.shape[axis] for axis in nest.lhs.axis_list[:-1]).value
    few = rows is not None and rows <= FEW_ROWS.get(group, 0)
    return plan_lanes(kernel, nest, features) if few else None


def plan_lanes(
    kernel: tile.KernelOp, nest: contraction.Nest, features: CpuFeatures
) -> Plan | None:
    """The plan of a kernel around one product that instructions on vectors sum by groups,
    else None."""
    a, b = tile.view_type(nest.lhs.view), tile.view_type(nest.rhs.view)
    group = grouped.group_of(a.element, b.element, tile.tile_type(nest.dot.acc).element)
    instruction = instruction_for(group, features)
    if nest.factor is not None or not instruction:
        return None
    shape = _shape(kernel, nest, features, instruction)
    cache = features.l2_bytes // 2
    weights = shape.depth_bytes * shape.column_count
    wanted = max(1, -(-PROGRAMS // shape.outer))
    parameters, strip = row_blocks(shape.rows, shape.limit, wanted)
    depth = max(1, shape.depth)
    pieces = shape.row_count // max(1, covered(parameters, shape.row_count))
    enough = pieces * shape.outer >= PROGRAMS // 4
    order: tuple[int, ...] = ()
    if (
        weights <= cache
        and enough
        and None not in shape.rows
        and shape.row_count * 4 >= shape.column_count
    ):
        columns = max(GROUPS, -(-shape.column_count // GROUPS) * GROUPS)
        reason = f"right operand of {weights} bytes stays in L2, rows are shared"
    else:
        at_once = max(1, -(-shape.row_count * shape.depth_bytes // cache))
        parameters, strip = row_blocks(shape.rows, shape.limit, at_once)
        if shape.row_count * 2 > shape.limit and not _in_place(nest, group, instruction):
            wanted = max(1, min(wanted, shape.column_count // COPIED_COLUMNS))
        columns = _column_block(shape, wanted)
        order = columns_first(kernel, nest)
        reason = f"right operand of {weights} bytes is read once, columns are shared"
        part = _part(shape, group, features)
        if weights > cache and part < depth and _by_parts(shape, nest, strip, features):
            depth = part
            reason += f"; strips take turns at {depth} of k, which stay in L1"
    panels = shape.panels
    rows = strip[0] * strip[1]
    if rows * 2 <= shape.limit:
        panels = max(panels, min(MOST_PANELS, shape.limit * shape.panels // rows))
    return Plan(
        {**named(kernel, parameters), "BN": columns, "BK": depth},
        strip,
        max(1, WORD * GROUPS // features.vector_bytes),
        panels,
        order,
        reason=f"{instruction}; {reason}",
        unit="lanes",
        group=group,
    )


def _shape(
    kernel: tile.KernelOp, nest: contraction.Nest, features: CpuFeatures, instruction: str
) -> _Shape:
    b = tile.view_type(nest.rhs.view)
    sizes = product_sizes(kernel, nest, looped_depth(nest))
    wide = sizes.columns is None or sizes.columns > GROUPS
    limit, panels = register_tile(features, instruction, wide=wide)
    depth_bytes = sizes.depth * item_size(b.dtype)
    return _Shape(**vars(sizes), depth_bytes=depth_bytes, limit=limit, panels=panels)


def _in_place(nest: contraction.Nest, group: int, instruction: str) -> bool:
    """Whether groups of the left operand are read where they lie, not from a program's copy."""
    a = tile.view_type(nest.lhs.view)
    depth = contraction.loop_bound(nest.loops[-1]).value
    whole = depth is not None and depth % group == 0
    beside = a.strides[nest.lhs.axis_list[-1]].value == 1
    return whole and beside and instruction not in HALVES


def _by_parts(
    shape: _Shape, nest: contraction.Nest, strip: tuple[int, int], features: CpuFeatures
) -> bool:
    """Whether strips are too few to hide that each reads whole panels, of which the first cache
    holds no more than a part: then they take turns at the parts."""
    few = few_strips(shape.rows, strip, shape.depth_bytes, features)
    return few and len(nest.loops) == 1 and strip[1] < shape.row_count


def _part(shape: _Shape, group: int, features: CpuFeatures) -> int:
    """How much of k strips take at once: what two thirds of the first cache hold of the panels."""
    most = 2 * features.l1_bytes // (3 * WORD * GROUPS * shape.panels)
    groups = -(-shape.depth // group)
    parts = max(1, -(-groups // most))
    return -(-groups // (parts * GROUPS)) * GROUPS * group


def _column_block(shape: _Shape, pieces: int) -> int:
    """Columns of a program: whole panels, in about so many programs, of which two workers have
    about as much."""
    number = max(1, -(-shape.column_count // (GROUPS * shape.panels)))

    def cost(block: int) -> float:
        programs = -(-number // block)
        longer_share = min(number, -(-programs // 2) * block)
        return max(programs, pieces) / min(programs, pieces) * longer_share

    blocks = {-(-number // count) for count in range(1, min(number, 2 * pieces) + 1)}
    return GROUPS * shape.panels * min(sorted(blocks, reverse=True), key=cost)
