"""How much work a program is, as an expression of its symbolic sizes.

Rough on purpose: it only decides whether a second thread is worth waking.
"""

from __future__ import annotations

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Block

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
    inner, depths, products = ONE, ZERO, False
    for op in kernel.body.walk():
        if isinstance(op, tile.DotOp):
            products = True
            depths = depths + _own_depth(op)
        if isinstance(op, tile.ForOp):
            inner = inner * _trips(op)
    if not products:
        inner = inner * _own_axes(kernel)
    elif depths is not ZERO:
        inner = inner * depths
    return total * inner, products


def _trips(loop: tile.ForOp) -> Dim:
    """Steps of a loop, of one element each; 64 where the bound is computed."""
    owner = loop.to.owner
    if isinstance(owner, tile.SizeOp):
        return owner.dim
    if isinstance(owner, arith.ConstantOp) and isinstance(owner.value, IntegerAttr):
        return Dim.of(owner.value.value.data)
    return Dim.of(64)


def _own_depth(op: tile.DotOp) -> Dim:
    """The contracted size of a product that no loop goes over."""
    depth = tile.tile_type(op.lhs).shape[-1]
    return ZERO if depth.symbols() & set(PARAMETERS) else depth


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
