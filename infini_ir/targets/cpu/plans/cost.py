"""How much work a program is, as an expression of its symbolic sizes.

Rough on purpose: it only decides whether a second thread is worth waking.
"""

from __future__ import annotations

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Block, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile import program
from infini_ir.passes.tile.regions import regions_of
from infini_ir.utils.symbolic import ONE, PARAMETERS, ZERO, Dim, product

PRODUCTS_PER_NANOSECOND = 32
"""Multiply-adds of one thread in a product of matrices."""

ELEMENTS_PER_NANOSECOND = 4
"""Elements of one thread in other kernels."""

LAUNCH_NANOSECONDS = 50
"""A launch and its share of a barrier."""


def kernel_work(kernel: tile.KernelOp) -> tuple[Dim, bool]:
    """Element operations of a kernel's whole grid, and whether they are products."""
    total = product(kernel.bounds.data)
    loops, products = ONE, ZERO
    for op in kernel.body.walk():
        if isinstance(op, tile.DotOp):
            products = products + _of_product(op)
        if isinstance(op, tile.ForOp):
            loops = loops * _turns(op)
    if products is ZERO:
        return total * loops * _own_axes(kernel), False
    return total * loops * products, True


def _turns(loop: tile.ForOp) -> Dim:
    """Over how much a loop goes, its step left aside: tiles are as large as the step."""
    bounds = upper_bounds(loop.to)
    known = [dim for dim in bounds if dim.value is not None]
    return min(known, key=lambda dim: dim.value or 0) if known else (*bounds, Dim.of(64))[0]


def _of_product(op: tile.DotOp) -> Dim:
    """Multiply-adds for each row, column and turn that parameters stand for."""
    rhs = tile.tile_type(op.rhs).shape
    return product([d for d in rhs if not d.symbols() & set(PARAMETERS)])


def upper_bounds(value: SSAValue) -> list[Dim]:
    """Sizes that an index of a kernel is surely not above."""
    owner = value.owner
    if isinstance(owner, arith.ConstantOp) and isinstance(owner.value, IntegerAttr):
        return [Dim.of(owner.value.value.data)]
    if isinstance(owner, tile.SizeOp):
        return [owner.dim]
    if isinstance(owner, arith.MinSIOp):
        return [*upper_bounds(owner.lhs), *upper_bounds(owner.rhs)]
    if isinstance(owner, arith.MaxSIOp):
        other = upper_bounds(owner.rhs)
        # Sizes are never below 0.
        return upper_bounds(owner.lhs) if other and other[0].value == 0 else []
    return []


def _own_axes(kernel: tile.KernelOp) -> Dim:
    """Elements of the largest tile along axes that are not of the grid."""
    largest = ONE
    for op in kernel.body.walk():
        for result in op.results:
            if isinstance(result.type, tile.TileType):
                sizes = [d for d in result.type.shape if not d.symbols() & set(PARAMETERS)]
                count = product(sizes)
                if count.value is None or largest.value is None:
                    largest = count if count.value is None else largest
                elif count.value > largest.value:
                    largest = count
    return largest


def kernel_nanoseconds(kernel: tile.KernelOp) -> float:
    """What a launch takes on one thread; infinity where sizes are symbolic."""
    work, products = kernel_work(kernel)
    if work.value is None:
        return float("inf")
    return work.value / (PRODUCTS_PER_NANOSECOND if products else ELEMENTS_PER_NANOSECOND)


def program_nanoseconds(entry: program.ProgramOp, kernels: dict[str, tile.KernelOp]) -> Dim:
    """What a call takes on one thread, very roughly."""
    known = {name: kernel_work(kernel) for name, kernel in kernels.items()}
    return _block(entry.body.block, known)


def _block(block: Block, known: dict[str, tuple[Dim, bool]]) -> Dim:
    total = ZERO
    for op in block.ops:
        if isinstance(op, program.LaunchOp):
            work, products = known[op.kernel.string_value()]
            rate = PRODUCTS_PER_NANOSECOND if products else ELEMENTS_PER_NANOSECOND
            total = total + LAUNCH_NANOSECONDS + work // rate
        for inner in regions_of(op):
            times = op.to.data[0] if isinstance(op, program.LoopOp) else ONE
            total = total + times * _block(inner, known)
    return total
