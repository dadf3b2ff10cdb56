"""Choosing tile sizes and threads for each kernel: the pass `cuda-c-plan`.

Candidates, the best first, are written out as a trial; the first that fits a block's shared
memory and a thread's registers is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from infini_ir.dialects import tile
from infini_ir.passes.tile.split_axis import split_axes
from infini_ir.targets.cuda_c.emitter import write_kernel
from infini_ir.targets.cuda_c.layouts import times
from infini_ir.targets.cuda_c.placement import power_of_two
from infini_ir.targets.cuda_c.plan import Plan
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import PARAMETERS, Dim, product

TILE_ELEMENTS = 1024
"""Elements of a program of an elementwise kernel: four a thread."""

CHUNKED_ELEMENTS = 2048
"""Elements of a tile from which rows are walked in chunks, in kernels that do not fit."""

PROGRAMS = 256
"""Programs that keep a device busy; smaller tiles are taken to have as many."""


@dataclass(frozen=True)
class CudaCPlanPass(ModulePass):
    """Fixes every kernel's tile sizes and threads, as its `plan` attribute, with the reason."""

    name = "cuda-c-plan"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for kernel in op.body.block.ops:
            if isinstance(kernel, tile.KernelOp):
                kernel.properties["plan"] = _planned(kernel).attribute()


def _planned(kernel: tile.KernelOp) -> Plan:
    """The plan of a kernel, whose long rows are walked in chunks where nothing else fits:
    threads go along rows of any length, only what is kept must have a known size."""
    try:
        return plan_kernel(kernel)
    except CompileError:
        chunked = kernel.clone()
        split_axes(chunked, CHUNKED_ELEMENTS)
        plan = plan_kernel(chunked)
        body = chunked.body.detach_block(0)
        kernel.body.detach_block(0)
        kernel.body.add_block(body)
        return replace(plan, reason=f"rows in chunks; {plan.reason}")


def plan_kernel(kernel: tile.KernelOp) -> Plan:
    """The plan of one kernel. Raises `CompileError` where no candidate fits."""
    error: CompileError | None = None
    tried = 0
    for plan in candidates(kernel):
        tried += 1
        try:
            written = write_kernel(kernel, plan)
        except CompileError as refused:
            error = error or refused
            continue
        takes = f"{written.shared_bytes} bytes of shared memory"
        return replace(plan, reason=f"{plan.reason}; {takes}; candidate {tried}")
    assert error is not None
    raise error


def candidates(kernel: tile.KernelOp) -> Iterator[Plan]:
    """Plans for a kernel, the best first."""
    used = mentioned(kernel)
    for plan in _candidates(kernel):
        parameters = {name: plan.parameters.get(name, 1) for name in sorted(used)}
        yield replace(plan, parameters=parameters)


def _candidates(kernel: tile.KernelOp) -> Iterator[Plan]:
    ops = list(kernel.body.walk())
    if not any(isinstance(op, tile.DotOp) for op in ops):
        yield from _sweep_plans(kernel)
    elif any(isinstance(op, tile.ReduceOp) for op in ops):
        yield from _attention_plans(kernel)
    else:
        yield from _product_plans(kernel)


def mentioned(kernel: tile.KernelOp) -> set[str]:
    """The parameters that a kernel's steps, loops, sizes and tiles use."""
    names = {name for step in kernel.steps.data for name in step.symbols()}
    for op in kernel.body.walk():
        if isinstance(op, tile.ForOp):
            names |= op.step_size.symbols()
        if isinstance(op, tile.SizeOp):
            names |= op.dim.symbols()
        for result in op.results:
            if isinstance(result.type, tile.TileType):
                names |= {name for dim in result.type.shape for name in dim.symbols()}
    return names & set(PARAMETERS)


def _bounds(kernel: tile.KernelOp) -> dict[str, Dim]:
    """The sizes of the grid's axes by the name of their step."""
    return dict(zip((str(s) for s in kernel.steps.data), kernel.bounds.data, strict=True))


def _known(dim: Dim | None, default: int) -> int:
    return default if dim is None or dim.value is None else dim.value


# Elementwise and row kernels


def _sweep_plans(kernel: tile.KernelOp) -> Iterator[Plan]:
    bounds = _bounds(kernel)
    in_order = any(isinstance(op, tile.ScatterOp) for op in kernel.body.walk())
    goal = 32 if in_order else TILE_ELEMENTS
    total = _known(product(kernel.bounds.data), 1 << 20)
    if not in_order:
        goal = max(64, min(goal, power_of_two(-(-total // PROGRAMS))))
    inner = next((name for name in ("BC", "BN") if name in bounds), "BC")
    rows = next((name for name in ("BR", "BW", "BM") if name in bounds), "BR")
    turned = rows in bounds and inner in bounds and not in_order and _turned(kernel)
    goal = max(goal, TILE_ELEMENTS) if turned else goal
    while goal >= 1:
        widest = min(goal, 32) if turned else goal
        columns = min(power_of_two(_known(bounds.get(inner), widest)), widest)
        height = max(1, goal // max(1, columns))
        height = min(height, power_of_two(_known(bounds.get(rows), height)))
        parameters = {"BC": columns, "BN": columns, rows: height, "BK": 32}
        lanes = lanes_for(kernel, parameters, in_order=in_order)
        if any(isinstance(op, tile.ScanOp) for op in kernel.body.walk()):
            # What comes before a thread's run is combined run by run.
            lanes = min(lanes, 64)
        threads = lanes if lanes > 32 else 128
        reason = f"programs of about {columns * height} elements on {lanes} threads"
        yield Plan(parameters, threads, lanes, min(16, lanes), 16, reason)
        goal //= 4


def _turned(kernel: tile.KernelOp) -> bool:
    """Whether some operand lies in memory the other way round, so that square tiles pay."""
    axes = set()
    for view in kernel.views:
        strides = [s.value for s in tile.view_type(view).strides]
        axes.add(next((i for i, s in enumerate(strides) if s == 1), None))
    return len(axes - {None}) > 1


def lanes_for(
    kernel: tile.KernelOp, parameters: dict[str, int], *, in_order: bool = False
) -> int:
    """Threads of a program: some four elements for each, a group of lanes where that is
    enough."""
    elements = most_elements(kernel, parameters)
    if elements <= 32 or in_order:
        return min(32, power_of_two(max(1, elements)))
    if elements <= 256:
        return 32
    return max(64, min(256 if elements <= 4096 else 1024, power_of_two(elements // 8)))


def most_elements(kernel: tile.KernelOp, parameters: dict[str, int]) -> int:
    """Elements of the largest tile; those of unknown size count as long."""
    known = {name: Dim.of(parameters.get(name, 1)) for name in PARAMETERS}
    most = 1
    for op in kernel.body.walk():
        for result in op.results:
            if isinstance(result.type, tile.TileType):
                shape = [d.substitute(known).value or 2048 for d in result.type.shape]
                most = max(most, times(shape))
    return most


# Products


def _product_plans(kernel: tile.KernelOp) -> Iterator[Plan]:
    bounds = _bounds(kernel)
    rows = _known(bounds.get("BM"), 1024)
    if "BW" in bounds:
        rows = _known(bounds["BW"], 64) * _known(bounds.get("BH"), 1)
    columns = _known(bounds.get("BN"), 1024)
    for height, width, down, slice in _blocks(kernel, rows, columns):
        parameters = {"BM": height, "BN": width, "BK": _piece(kernel, slice)}
        if "BW" in bounds:
            across = min(power_of_two(_known(bounds["BW"], 16)), height)
            parameters["BW"] = across
            parameters["BH"] = max(1, height // across) if "BH" in bounds else 1
        threads = 256 if height * width >= 4096 else 128
        reason = f"{height} x {width} products on {threads} threads, pieces of {slice}"
        yield Plan(parameters, threads, threads, down, slice, reason)


def _blocks(
    kernel: tile.KernelOp, rows: int, columns: int
) -> Iterator[tuple[int, int, int, int]]:
    """Height, width, threads down and length of pieces, the best first."""
    others = _known(product(kernel.bounds.data), 1 << 30) // max(1, rows * columns)
    for height, width, down, slice in (
        (128, 128, 16, 16),
        (64, 64, 16, 16),
        (32, 64, 8, 16),
        (16, 64, 8, 32),
        (8, 64, 8, 32),
        (4, 64, 4, 32),
        (1, 128, 1, 32),
    ):
        last = height == 1
        wasteful = power_of_two(rows) < height or (power_of_two(columns) < width and width > 64)
        programs = -(-rows // height) * -(-columns // width) * max(1, others)
        if last or (not wasteful and (programs >= PROGRAMS // 2 or height <= 16)):
            yield height, min(width, max(8, power_of_two(columns))), down, slice


def _piece(kernel: tile.KernelOp, longest: int) -> int:
    """Length of a piece: no longer than the contracted axis is."""
    lengths = [
        op.step_size
        for op in kernel.body.walk()
        if isinstance(op, tile.ForOp) and "BK" in op.step_size.symbols()
    ]
    if not lengths:
        return longest
    sizes = [
        _loop_bound(op)
        for op in kernel.body.walk()
        if isinstance(op, tile.ForOp) and "BK" in op.step_size.symbols()
    ]
    known = [size for size in sizes if size is not None]
    return max(1, min([longest, *known]))


def _loop_bound(op: tile.ForOp) -> int | None:
    owner = op.to.owner
    value = getattr(owner, "value", None)
    number = getattr(getattr(value, "value", None), "data", None)
    if isinstance(owner, tile.SizeOp):
        return owner.dim.value
    return number if isinstance(number, int) else None


# Attention


def _attention_plans(kernel: tile.KernelOp) -> Iterator[Plan]:
    rows = _known(_bounds(kernel).get("BM"), 64)
    for height, keys, slice in (
        (64, 64, 16),
        (64, 32, 16),
        (32, 32, 32),
        (32, 32, 16),
        (16, 32, 16),
        (16, 16, 16),
        (8, 16, 8),
        (4, 8, 8),
        (1, 8, 8),
    ):
        if height > power_of_two(rows) and height > 1:
            continue
        if height == 64 and rows < 128:
            continue
        down = min(height, 16)
        parameters = {"BM": height, "BN": keys, "BK": keys, "BR": 1, "BC": 64}
        reason = f"{height} queries by {keys} keys on 128 threads, pieces of {slice}"
        yield Plan(parameters, 128, 128, down, slice, reason)
