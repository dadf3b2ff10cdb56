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
PROGRAM_SECONDS = 0.7e-6
"""What a program takes beside its work: it begins, and ends."""
LATENCY_SECONDS = 0.7e-6
"""From a load to its value; loads of a pipeline's stages are under way together."""
TURN_SECONDS = 80e-9
"""What a turn of a loop over products takes at least: barriers and latencies."""

SHARE_BESIDE = 0.05
"""Of the shorter of a kernel's own time and memory's, what the longer does not hide."""


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
    """The cost of a plan: waves of programs, each as long as the work that a multiprocessor
    has or as one program's latencies, whichever is more, and no faster than memory."""
    programs = max(1, work.number(work.programs, plan.parameters)) * plan.split
    moved = sum(_bytes(work, plan, each) for each in work.accesses)
    busy = sum(_product_seconds(work, plan, limits, each) for each in work.products)
    shared, registers = shared_bytes(work, plan), accumulator_registers(work, plan)
    slots = limits.multiprocessors
    resident = min(_resident(plan, limits, shared, registers), -(-programs // slots))
    own = _overlapped(busy, moved * slots / limits.cache_bandwidth, plan, resident)
    alone = max(own, PROGRAM_SECONDS + _latency(work, plan, own))
    full, rest = divmod(programs, slots * resident)
    spent = full * max(alone, resident * own)
    if rest:
        spent += max(alone, -(-rest // slots) * own)
    memory = min(programs * moved, _unique_bytes(work)) / limits.bandwidth
    # Of plans that memory bounds alike, the one with more to spare beside it.
    seconds = LAUNCH_SECONDS + max(spent, memory) + SHARE_BESIDE * min(spent, memory)
    if plan.split > 1:
        # The parts' sums go to memory and a second kernel adds them.
        results = 4 * sum(_results(work, each) for each in work.products)
        seconds += LAUNCH_SECONDS + 2 * plan.split * results / limits.cache_bandwidth
    return Estimate(seconds, programs, programs / (slots * resident), shared, registers)


def _overlapped(busy: float, loads: float, plan: Plan, resident: int) -> float:
    """Products and loads go on together, the more so the more turns and programs there are
    to choose from."""
    under_way = max(1, plan.stages - 1) * resident
    return max(busy, loads) + min(busy, loads) / (2 * under_way)


def _latency(work: Work, plan: Plan, own: float) -> float:
    """How long one program takes by itself: the turns of its loops wait for their loads, of
    which a pipeline has those of its other stages under way."""
    turns = max((work.number(t, plan.parameters) for t in work.turns), default=1)
    if not work.products:
        return turns * LATENCY_SECONDS
    turns = max(1, turns // plan.split)
    waits = LATENCY_SECONDS / max(1, plan.stages - 1)
    return LATENCY_SECONDS + turns * max(waits, own / turns)


def _bytes(work: Work, plan: Plan, access) -> float:
    count = access.item * work.number(access.times, plan.parameters) / plan.split
    for dim in access.shape:
        count *= work.number(dim, plan.parameters)
    if access.contiguous is not None:
        run = work.number(access.contiguous, plan.parameters) * access.item
        return count * max(1.0, 64 / max(run, 1))
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
    return done / (peak * efficiency(rows, columns, plan.warps, limits)) + times * TURN_SECONDS


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
    """Shared memory for the operands of products under way, and for what is loaded ahead to
    compute them."""
    total = 0
    for each in work.products:
        rows, columns, depth = product_sizes(work, plan, each)
        elements = _kept(each, rows, columns, max(plan.stages, 1))
        if each.dtype == "f32" and plan.precision == "tf32x3" and rows >= 64:
            # Both parts of the right operand lie beside it, in place of the last stage.
            parts = _kept(each, rows, columns, max(plan.stages - 1, 1)) + 2 * columns
            elements = max(elements, parts)
        total += item_size(each.dtype) * depth * elements
        for count, item in each.sources:
            total += (plan.stages - 1) * item * work.number(count, plan.parameters)
    return total


def _kept(each: Product, rows: int, columns: int, stages: int) -> int:
    """Rows and columns of a product's operands in shared memory, all stages together."""
    copies = {"staged": stages, "shared": 1}
    return rows * copies.get(each.buffers[0], 0) + columns * copies.get(each.buffers[1], 1)


def thread_registers(work: Work, plan: Plan) -> int:
    """32-bit registers of a thread for accumulators, and for the right operands of products
    in turn in f32: warps that have other rows all take the whole operand."""
    own = accumulator_registers(work, plan)
    if len(work.products) < 2 or plan.precision != "tf32x3":
        return own
    count = 0
    for each in work.products:
        rows, columns, depth = product_sizes(work, plan, each)
        if each.dtype == "f32":
            count += columns * depth // max(1, 16 * plan.warps // rows)
    return own + count // 32


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
