"""The plan of a product: how programs share it, and the register tile.

Blocks divide their axis wherever the size is known and has a fitting divisor: then every
extent is a constant, and no code for odd ends is made.
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
    named,
    product_sizes,
)
from infini_ir.targets.cpu.plans.row_blocks import covered, even_strip, few_strips, row_blocks
from infini_ir.targets.cpu.products import computed_factor, contraction, sliced_factor
from infini_ir.targets.cpu.products.partial_sums import LONGEST
from infini_ir.utils.dtypes import item_size
from infini_ir.utils.symbolic import product

LEAST_BLOCKS = 4
"""Blocks of rows from which on workers share rows."""

SHARING_STRIPS = 8
"""Strips of rows that fetch a panel together without waiting for it."""

MOST_PANELS = 4
"""Panels at once at most."""

STREAMED_BLOCKS = 8
"""Blocks of rows from which on each is taken through all of the right operand."""

FEW_STRIPS = 3
"""Strips of rows that are too few to share the fetching of panels from memory."""

PART_UNIT = 16
"""Parts of a contracted axis are multiples of this: a cache line of the left operand."""


@dataclass(frozen=True)
class Shape(ProductSizes):
    """A product as the plan sees it."""

    item: int
    """Bytes of an element of the right operand."""
    lanes: int
    limit: int
    """Rows of the register tile at most."""
    vectors: int


def register_tile(features: CpuFeatures, lanes: int, columns: int | None) -> tuple[int, int]:
    """(rows, vectors) that keep the accumulators in registers."""
    wide = columns is None or columns > lanes
    if features.vector_registers >= 32:
        return (14, 2) if wide else (24, 1)
    return (6, 2) if wide else (12, 1)


def plan_contraction(
    kernel: tile.KernelOp, nest: contraction.Nest, features: CpuFeatures
) -> Plan:
    """The plan of a kernel around one product."""
    shape = _shape(kernel, nest, features)
    weights = shape.depth * shape.column_count * shape.item
    cache = features.l2_bytes // 2
    wanted = max(1, -(-PROGRAMS // shape.outer))
    parameters, strip = row_blocks(shape.rows, shape.limit, wanted)
    if len(shape.rows) == 1 and covered(parameters, shape.row_count) == shape.rows[0]:
        parameters, strip = _uneven_rows(shape, min(wanted, LEAST_BLOCKS))
    pieces = -(-shape.row_count // max(1, covered(parameters, shape.row_count)))
    rows_enough = pieces * shape.outer >= LEAST_BLOCKS
    # Rows of a symbolic number share badly: the last block may have any size.
    rows_known = None not in shape.rows or shape.column_count < 4 * shape.lanes
    order: tuple[int, ...] = ()
    depth, by_panels = shape.depth, False
    if (
        weights <= cache
        and rows_enough
        and rows_known
        and shape.row_count * 4 >= shape.column_count
    ):
        columns = shape.column_count if shape.columns is not None else _whole_panels(shape)
        reason = f"right operand of {weights} bytes stays in L2, rows are shared"
    else:
        if streamed := _streamed(shape, cache):
            parameters, strip, columns = streamed
            parameters = {**named(kernel, parameters), "BN": columns, "BK": depth}
            reason = f"rows of the left operand stay in L2, {weights} bytes pass by"
            return Plan(parameters, strip, shape.vectors, reason=reason)
        in_parts = _divisible_depth(nest)
        parameters, strip, depth = _blocks(shape, cache, in_parts=in_parts)
        # Two thirds of the first cache.
        longest = 2 * features.l1_bytes // (3 * shape.lanes * shape.vectors * shape.item)
        longest = min(LONGEST, longest)
        by_panels = (
            in_parts
            and weights > cache
            and shape.depth > longest
            and _by_panels(shape, strip, features)
        )
        if by_panels:
            depth = _part(shape.depth, longest)
        columns = _column_block(shape, wanted)
        if depth < shape.depth and not by_panels:
            # Few programs, as all of a row block's left operand is read by each; their sums
            # take a quarter of the cache.
            pieces = -(-shape.row_count // parameters["BM"])
            fitting = cache // (4 * 4 * min(parameters["BM"], shape.row_count))
            wanted = max(-(-wanted // pieces), -(-shape.column_count // fitting))
            columns = _column_block(shape, wanted)
        order = columns_first(kernel, nest)
        reason = f"right operand of {weights} bytes is read once, columns are shared"
        if by_panels:
            reason += f"; strips take turns at {depth} of k, which stay in L1"
        elif depth < shape.depth:
            reason += f"; {depth} of k at once stay in the caches"
    rows = strip[0] * strip[1]
    panels = _panels(shape, rows, columns, features, computed=nest.factor is not None)
    if computed_factor.packs_nibbles(nest):
        depth_inside = tile.view_type(nest.rhs.view).shape[_depth_axes(nest)[-1]].value
        sliced = sliced_factor.sliced(nest, depth_inside, features)
        few = sliced and rows <= sliced_factor.MOST_ROWS
        panels = sliced_factor.sliced_panels(rows) if few else 2
    parameters = {**named(kernel, parameters), "BN": columns, "BK": depth}
    outer = "parts" if depth < shape.depth and not by_panels else "columns"
    return Plan(parameters, strip, shape.vectors, panels, order, reason=reason, outer=outer)


def _streamed(shape: Shape, cache: int) -> tuple[dict[str, int], tuple[int, int], int] | None:
    """Row blocks and columns of a product with a large left operand: a block of it stays in
    the cache with the panel in use, the next one and results on their way, while all of the
    right operand passes by. None where blocks would be few, or of too few strips for what
    they fetch together."""
    if len(shape.rows) != 1 or shape.rows[0] is None or shape.columns is None:
        return None
    blocks = -(-shape.row_count * shape.depth * shape.item // (cache // 2))
    if blocks < STREAMED_BLOCKS:
        return None
    parameters, strip = row_blocks(shape.rows, shape.limit, blocks)
    fitting = parameters["BM"] * shape.depth * shape.item <= cache * 3 // 4
    if not fitting or parameters["BM"] <= FEW_STRIPS * strip[1]:
        return None
    pieces = -(-shape.row_count // parameters["BM"])
    wanted = -(-STREAMED_BLOCKS // (pieces * shape.outer))
    return (
        parameters,
        strip,
        _whole_panels(shape) if wanted == 1 else _column_block(shape, wanted),
    )


def _by_panels(shape: Shape, strip: tuple[int, int], features: CpuFeatures) -> bool:
    """Whether strips take turns at the parts of a panel: where they are too few to fetch the
    next panel while they multiply, memory and arithmetic would take turns. So would they for
    one strip that leaves no registers for other panels, as one stream from memory is slow."""
    few = few_strips(shape.rows, strip, shape.depth * shape.item, features)
    return few and _most_panels(shape, strip[1], features) == 1


def _most_panels(shape: Shape, rows: int, features: CpuFeatures) -> int:
    """Panels whose sums fit the registers beside a step's operands."""
    return (features.vector_registers - 1) // (shape.vectors * (rows + 1))


def _panels(
    shape: Shape, rows: int, columns: int, features: CpuFeatures, *, computed: bool
) -> int:
    """Panels done at once where rows are few: more streams come from memory faster, and more
    sums hide how long additions take. As many as keep sums and a step's operands in registers,
    of which `computed` factors leave less, and without a rest if that is more than one."""
    most = _most_panels(shape, rows, features)
    if computed:
        most = shape.limit // (2 * rows)
    groups = columns // (shape.lanes * shape.vectors)
    most = max(1, min(MOST_PANELS, most, groups))
    return max((p for p in range(2, most + 1) if groups % p == 0), default=most)


def _divisible_depth(nest: contraction.Nest) -> bool:
    """Whether the contracted axis is one, known, and may be done in parts."""
    b = tile.view_type(nest.rhs.view)
    return (
        len(nest.loops) == 1
        and not nest.whole
        and nest.factor is None
        and len(nest.lhs.axis_list) == 2
        and contraction.loop_bound(nest.outer).value is not None
        and b.strides[nest.rhs.axis_list[nest.column_axis]].value == 1
    )


def _blocks(
    shape: Shape, cache: int, *, in_parts: bool
) -> tuple[dict[str, int], tuple[int, int], int]:
    """Row blocks, register tile and how much of k is done at once, such that rows of the
    left operand stay in the cache with the panel in use and the next one. Rows are divided
    first, but not so far that few strips share the fetching of a panel."""
    panels = 2 * shape.lanes * shape.vectors
    rows, depth = shape.row_count, shape.depth
    at_once = max(1, -(-rows * depth * shape.item // cache))
    parameters, strip = row_blocks(shape.rows, shape.limit, at_once)
    fits = (rows + panels) * depth * shape.item <= cache + cache // 2
    sharing = SHARING_STRIPS * shape.limit
    block = covered(parameters, shape.row_count)
    divided = sharing <= block <= cache // (depth * shape.item) if depth else True
    if not in_parts or divided or fits or rows < 2 * shape.limit:
        return parameters, strip, depth
    parameters, strip = row_blocks(shape.rows, shape.limit, max(1, rows // sharing))
    rows = covered(parameters, shape.row_count)
    return parameters, strip, _part(depth, cache // ((rows + panels) * shape.item))


def _part(depth: int, limit: int) -> int:
    """A part of the contracted axis, of at most about `limit`: a divisor where there is one."""
    parts = -(-depth // max(1, limit))
    for count in range(parts, 2 * parts + 1):
        if depth % (count * PART_UNIT) == 0:
            return depth // count
    return -(-depth // (parts * PART_UNIT)) * PART_UNIT


def _shape(kernel: tile.KernelOp, nest: contraction.Nest, features: CpuFeatures) -> Shape:
    b = tile.view_type(nest.rhs.view)
    depth = product(b.shape[i] for i in _depth_axes(nest))
    sizes = product_sizes(kernel, nest, depth.value)
    lanes = max(
        1, features.vector_bytes // max(4, item_size(tile.tile_type(nest.dot.acc).dtype))
    )
    limit, vectors = register_tile(features, lanes, sizes.columns)
    if nest.factor is not None:
        # Computing factors takes registers of its own.
        limit = max(1, limit - limit // 6)
        if computed_factor.packs_nibbles(nest):
            vectors = max(1, GROUPS // lanes)
    item = item_size(b.dtype)
    return Shape(**vars(sizes), item=item, lanes=lanes, limit=limit, vectors=vectors)


def _depth_axes(nest: contraction.Nest) -> list[int]:
    found = [i for i, offset in enumerate(nest.rhs.offsets) if offset in nest.variables]
    return [*found, nest.depth_axis] if nest.whole else found


def _uneven_rows(shape: Shape, pieces: int) -> tuple[dict[str, int], tuple[int, int]]:
    """The same for a number of rows that nothing divides: blocks of whole strips, the last
    one shorter."""
    size = shape.row_count
    if pieces == 1 or size < pieces * shape.limit:
        return {"BM": size}, (1, even_strip(size, shape.limit))
    strip = even_strip(-(-size // pieces), shape.limit)
    return {"BM": -(-size // (pieces * strip)) * strip}, (1, strip)


def _whole_panels(shape: Shape) -> int:
    width = shape.lanes * shape.vectors
    return -(-shape.column_count // width) * width


def _column_block(shape: Shape, pieces: int) -> int:
    """Columns of a program: whole panels, dividing the axis where that is possible."""
    width = shape.lanes * shape.vectors
    groups = -(-shape.column_count // width)
    if shape.columns is None:
        return width * max(1, groups // pieces)
    if shape.columns and shape.columns % width == 0:
        divisors = [q for q in range(1, min(groups, 2 * pieces) + 1) if groups % q == 0]
        best = min(divisors, key=lambda q: max(q, pieces) / min(q, pieces))
        return shape.columns // best
    if groups <= 2:
        return max(1, shape.columns)
    return width * max(1, -(-groups // pieces))
