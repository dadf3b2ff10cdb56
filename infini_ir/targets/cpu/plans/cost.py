"""How long kernels and programs take on one thread, as an expression of their symbolic sizes.

Rough on purpose: it only decides whether a second thread is worth its while, so what counts is
the unit that a plan has chosen and how many bytes a product has to read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Block, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile import program
from infini_ir.passes.tile.regions import regions_of
from infini_ir.targets.cpu.features import CpuFeatures
from infini_ir.targets.cpu.plans.plan import Plan
from infini_ir.targets.cpu.products.grouped_lanes import instruction_for
from infini_ir.utils.dtypes import item_size
from infini_ir.utils.symbolic import ONE, PARAMETERS, ZERO, Dim, maximum, product

TILE_PRODUCTS = {1: 512, 2: 512, 4: 768}
"""Multiply-adds of a matrix unit in a nanosecond, by how many neighbours along k it sums at once:
those of squares of 128 to 192, of which the larger part is not multiplying."""

LANE_PRODUCTS = 5
"""Multiply-adds in a nanosecond for each lane of 32 bits: two units, at 2.5 GHz."""

UNFUSED = 2
"""How much slower products are where multiplying and adding are two instructions."""

GROUPED_PRODUCTS = {"vpdpbusd": 3, "pmaddwd": 2, "vdpbf16ps": 2, "fma": 1}
"""How much faster instructions on groups are than those on f32."""

BYTES_PER_NANOSECOND = 100
"""Of the operands of products, which few rows have to wait for: from the second cache."""

ELEMENTS_PER_NANOSECOND = 4
"""Elements of one thread in other kernels."""

CLAIMED_NANOSECONDS = 1500
"""A program from which on to take it from what is left, some 30 ns, is nothing beside it."""

LAUNCH_NANOSECONDS = 50
"""A launch and its share of a barrier."""


@dataclass(frozen=True)
class Work:
    """What a launch of a kernel does."""

    amount: Dim
    """Multiply-adds, or elements."""
    rate: int
    """Of them in a nanosecond."""
    bytes: Dim = ZERO
    """Of the operands of products."""

    @property
    def nanoseconds(self) -> Dim:
        """How long it takes on one thread."""
        return maximum(self.amount // self.rate, self.bytes // BYTES_PER_NANOSECOND)


def kernel_work(kernel: tile.KernelOp, features: CpuFeatures) -> Work:
    """The work of a kernel's whole grid, with its plan if it has one."""
    total = product(kernel.bounds.data)
    loops, products, read = ONE, ZERO, ZERO
    for op in kernel.body.walk():
        if isinstance(op, tile.DotOp):
            products = products + _of_product(op)
        if isinstance(op, tile.ForOp):
            loops = loops * _turns(op)
    if products is ZERO:
        return Work(total * loops * _own_axes(kernel), ELEMENTS_PER_NANOSECOND)
    for view in {op.view for op in kernel.body.walk() if isinstance(op, tile.LoadOp)}:
        type = tile.view_type(view)
        read = read + type.element_count() * item_size(type.dtype)
    rate = products_per_nanosecond(Plan.read(kernel.plan), features)
    return Work(total * loops * products, rate, read)


def products_per_nanosecond(plan: Plan, features: CpuFeatures) -> int:
    """Multiply-adds of one thread by the unit that a plan has chosen."""
    if plan.unit == "amx":
        return TILE_PRODUCTS[plan.group]
    rate = features.vector_bytes // 4 * LANE_PRODUCTS
    if plan.unit == "lanes":
        rate *= GROUPED_PRODUCTS[instruction_for(plan.group, features)]
    return rate if features.has_fma else rate // UNFUSED


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


def kernel_nanoseconds(kernel: tile.KernelOp, features: CpuFeatures) -> float:
    """What a launch takes on one thread; infinity where sizes are symbolic."""
    time = kernel_work(kernel, features).nanoseconds.value
    return float("inf") if time is None else time


def claimed_kernels(
    kernels: Mapping[str, tile.KernelOp], features: CpuFeatures
) -> dict[str, Dim]:
    """Nanoseconds of those whose programs are, or may be, where sizes are known only while running,
    long enough to be taken one by one: `CLAIMED_NANOSECONDS` each."""
    times = {
        name: kernel_work(kernel, features).nanoseconds for name, kernel in kernels.items()
    }
    return {
        name: times[name]
        for name, kernel in kernels.items()
        if (count := _programs(kernel).value) is None
        or (time := times[name].value) is None
        or (count > 0 and count * CLAIMED_NANOSECONDS <= time)
    }


def _programs(kernel: tile.KernelOp) -> Dim:
    """How many programs a kernel's plan makes of its grid."""
    known = Plan.read(kernel.plan).substitution
    steps = [step.substitute(known) for step in kernel.steps.data]
    return product(
        (bound + (step - 1)) // step
        for bound, step in zip(kernel.bounds.data, steps, strict=True)
    )


def program_nanoseconds(
    entry: program.ProgramOp, kernels: dict[str, tile.KernelOp], features: CpuFeatures
) -> Dim:
    """What a call takes on one thread, roughly."""
    known = {name: kernel_work(kernel, features) for name, kernel in kernels.items()}
    return _block(entry.body.block, known)


def _block(block: Block, known: dict[str, Work]) -> Dim:
    total = ZERO
    for op in block.ops:
        if isinstance(op, program.LaunchOp):
            work = known[op.kernel.string_value()]
            total = total + LAUNCH_NANOSECONDS + work.nanoseconds
        for inner in regions_of(op):
            times = op.to.data[0] if isinstance(op, program.LoopOp) else ONE
            total = total + times * _block(inner, known)
    return total
