"""How long a plan takes on a device, about: enough to tell good plans from bad ones."""

from __future__ import annotations

from dataclasses import dataclass

from infini_ir.targets.nvidia.limits import Limits
from infini_ir.targets.nvidia.plan import Plan
from infini_ir.targets.nvidia.shapes import power_of_two
from infini_ir.targets.nvidia.work import Product, Work
from infini_ir.utils.dtypes import item_size
from infini_ir.utils.symbolic import Dim

LAUNCH_SECONDS = 2e-6
PROGRAM_SECONDS = 1e-6
"""What a program takes beside its work: it starts, waits for its first loads, ends."""
ITERATION_SECONDS = 120e-9
"""What an iteration of a loop over products takes at least: its barriers and latencies."""


@dataclass(frozen=True)
class Estimate:
    """What a plan of a kernel asks for and takes."""

    seconds: float
    programs: int
    waves: float
    shared_bytes: int
    registers: int
    """Of one thread, by the accumulators."""


def estimate(work: Work, plan: Plan, limits: Limits) -> Estimate:
    """The cost of a plan."""
    given = plan.parameters
    programs = max(1, work.number(work.programs, given)) * plan.split
    moved = sum(_bytes(work, plan, each) for each in work.accesses)
    busy = sum(_product_seconds(work, plan, limits, each) for each in work.products)
    shared = shared_bytes(work, plan)
    registers = accumulator_registers(work, plan)
    resident = _resident(plan, limits, shared, registers)
    slots = limits.multiprocessors
    waves = -(-programs // slots) if programs <= 4 * slots else programs / slots
    share = limits.cache_bandwidth / slots
    own = max(busy, moved / share) + PROGRAM_SECONDS / min(resident, max(1, programs // slots))
    unique = min(programs * moved, _unique_bytes(work))
    memory = unique / limits.bandwidth
    # Few programs cannot keep the memory busy.
    memory *= max(1.0, slots * 0.75 / programs)
    seconds = LAUNCH_SECONDS + max(waves * own, memory)
    if plan.split > 1:
        # The parts' sums go to memory and a second kernel adds them.
        results = 4 * sum(_results(work, each) for each in work.products)
        seconds += LAUNCH_SECONDS + 2 * plan.split * results / limits.cache_bandwidth
    return Estimate(seconds, programs, waves, shared, registers)


def _bytes(work: Work, plan: Plan, access) -> float:
    count = access.item * work.number(access.times, plan.parameters) / plan.split
    for dim in access.shape:
        count *= work.number(dim, plan.parameters)
    if access.contiguous is not None:
        run = work.number(access.contiguous, plan.parameters) * access.item
        return count * max(1.0, 32 / max(run, 1))
    # Nothing lies side by side: every element is a sector of its own.
    return count * (32 / access.item if access.shape else 1)


def _unique_bytes(work: Work) -> float:
    """What the whole kernel reads and writes once, if programs share what they load."""
    total = 0.0
    for access in work.accesses:
        count = float(access.item)
        for dim in access.shape:
            names = dim.symbols() & work.bounds.keys()
            bound = work.bounds[next(iter(names))] if names else dim
            count *= work.number(bound, {})
        total += count
    return total


def _results(work: Work, each: Product) -> float:
    """Elements that a product has over all programs."""
    count = 1.0
    for dim in (each.rows, each.columns):
        for name in dim.symbols():
            count *= work.number(work.bounds.get(name, Dim.of(1)), {})
    return count


def _product_seconds(work: Work, plan: Plan, limits: Limits, each: Product) -> float:
    """Seconds that a program is busy with a product."""
    rows, columns, depth = product_sizes(work, plan, each)
    times = work.number(each.times, plan.parameters) / plan.split
    peak = limits.peak(each.dtype, plan.precision) / limits.multiprocessors
    done = 2.0 * max(rows, 16) * columns * max(depth, 16) * times
    return max(
        done / (peak * efficiency(rows, columns, plan.warps, limits)),
        times * ITERATION_SECONDS / min(plan.stages, 3),
    )


def efficiency(rows: int, columns: int, warps: int, limits: Limits) -> float:
    """The share of the peak that products of such tiles reach: each operand is read from
    shared memory once for each tile of the other."""
    side = 2.0 * rows * columns / (rows + columns)
    reached = side / (side + 48.0)
    if limits.wide_products and rows < 64:
        reached *= rows / 64
    if rows * columns < warps * 1024:
        reached *= 0.7
    return reached


def product_sizes(work: Work, plan: Plan, each: Product) -> tuple[int, int, int]:
    """Rows, columns and depth of a product as tensors have them."""
    rows, columns, depth = (
        power_of_two(work.number(dim, plan.parameters))
        for dim in (each.rows, each.columns, each.depth)
    )
    return rows, columns, depth


def shared_bytes(work: Work, plan: Plan) -> int:
    """Shared memory for the operands of products under way."""
    return sum(
        item_size(each.dtype) * depth * (rows + columns) * max(plan.stages, 1)
        for each in work.products
        for rows, columns, depth in [product_sizes(work, plan, each)]
    )


def accumulator_registers(work: Work, plan: Plan) -> int:
    """32-bit registers of a thread that results of products take."""
    count = 0
    for each in work.products:
        rows, columns, _ = product_sizes(work, plan, each)
        count += rows * columns * (2 if each.dtype == "f64" else 1)
    return count // (32 * plan.warps)


def _resident(plan: Plan, limits: Limits, shared: int, registers: int) -> int:
    """How many programs a multiprocessor holds at once."""
    by_threads = limits.threads // (32 * plan.warps)
    by_registers = limits.registers // (32 * plan.warps * min(255, registers + 48))
    by_shared = limits.shared_bytes_multiprocessor // max(shared, 1)
    return max(1, min(by_threads, by_registers, by_shared, 16))
