"""The sizes of a product as its plans see them."""

from __future__ import annotations

from dataclasses import dataclass

from infini_ir.dialects import tile
from infini_ir.targets.cpu.products import contraction
from infini_ir.utils.symbolic import product

PROGRAMS = 16
"""Programs that a large kernel should have, so that workers end together."""

UNKNOWN_ROWS, UNKNOWN_COLUMNS, UNKNOWN_DEPTH = 256, 1024, 1024
"""What symbolic sizes are taken for when costs are compared."""

UNKNOWN_PROGRAMS = 8
"""The same of an axis of the grid that is no axis of the product."""


@dataclass(frozen=True)
class ProductSizes:
    """Sizes of a product; None where they are symbolic."""

    rows: list[int | None]
    """The row axes that a program covers: one or two."""
    columns: int | None
    depth: int
    outer: int
    """Programs that other axes of the grid make."""

    @property
    def row_count(self) -> int:
        total = 1
        for size in self.rows:
            total *= UNKNOWN_ROWS if size is None else size
        return total

    @property
    def column_count(self) -> int:
        return UNKNOWN_COLUMNS if self.columns is None else self.columns


def looped_depth(nest: contraction.Nest) -> int | None:
    """How many elements a product's loops pass."""
    return product(contraction.loop_bound(loop) for loop in nest.loops).value


def product_sizes(
    kernel: tile.KernelOp, nest: contraction.Nest, depth: int | None
) -> ProductSizes:
    """Those of a kernel around one product that contracts `depth` elements."""
    a, b = tile.view_type(nest.lhs.view), tile.view_type(nest.rhs.view)
    outer = 1
    for bound, step in zip(kernel.bounds.data, kernel.steps.data, strict=True):
        if step.value == 1:
            outer *= max(1, UNKNOWN_PROGRAMS if bound.value is None else bound.value)
    return ProductSizes(
        rows=[a.shape[axis].value for axis in nest.lhs.axis_list[:-1]],
        columns=b.shape[nest.rhs.axis_list[nest.column_axis]].value,
        depth=UNKNOWN_DEPTH if depth is None else depth,
        outer=outer,
    )


def columns_first(kernel: tile.KernelOp, nest: contraction.Nest) -> tuple[int, ...]:
    """Grid axes with the rows fastest: a worker's share is columns, with all their rows."""
    rows = {nest.lhs.offsets[axis] for axis in nest.lhs.axis_list[:-1]}
    number = {offset: i for i, offset in enumerate(kernel.offsets)}
    inner = [i for offset, i in number.items() if offset in rows]
    return (*(i for i in number.values() if i not in inner), *inner)


def named(kernel: tile.KernelOp, parameters: dict[str, int]) -> dict[str, int]:
    """The one row axis of a kernel may be called BM or BW."""
    used = {name for step in kernel.steps.data for name in step.symbols()}
    if "BM" in parameters and "BM" not in used and "BW" in used:
        return {"BW": parameters["BM"]}
    return parameters
