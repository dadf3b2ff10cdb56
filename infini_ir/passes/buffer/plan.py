"""Choosing tile sizes so that local memory suffices: the pass `buffer-plan`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from xdsl.context import Context
from xdsl.dialects.builtin import DictionaryAttr, IntegerAttr, ModuleOp, StringAttr, i64
from xdsl.passes import ModulePass

from infini_ir.dialects import tile
from infini_ir.dialects.buffer import memory
from infini_ir.dialects.context import CompilerContext
from infini_ir.dialects.tile import view_type
from infini_ir.passes.buffer.extents import dim_of
from infini_ir.passes.buffer.machine import CoreMachine
from infini_ir.passes.buffer.machines import named
from infini_ir.passes.buffer.parameters import parameters_of, set_parameters
from infini_ir.passes.buffer.tile_to_buffer import lowered_bytes, too_large
from infini_ir.passes.tile.split_axis import split_axes
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import ONE, Dim, product

COLUMNS = ("BC", "BN")
"""Parameters of axes along which elements are mostly neighbours."""
ROWS = ("BH", "BR", "BM", "BW")
"""Parameters of the others, those that are made smaller first in front."""
LONG_ROW = 4096
"""Elements of a row from which on longer ones are no faster."""
TILE = 8192
"""Elements of a tile that amortise what starting an instruction costs."""
TURNED_ROW = 128
"""Elements of a row where rows become columns, which both want to be long."""
MANY_ROWS = 64
"""Rows of a tile from which on more do not make it faster."""
USUAL_ROWS = 1024
"""What an unknown number of rows is taken to be."""
SHORT_ROW = 128
"""Elements below which rows are not cut to give every core a program."""
PRODUCT = {"BM": 16, "BH": 1, "BW": 16, "BN": 256, "BK": 64, "BR": 8, "BC": 256}
"""Sizes for products on the vector unit, which goes along the columns of one row."""


@dataclass(frozen=True)
class BufferPlanPass(ModulePass):
    """
    Fixes the parameters of every kernel as numbers, and notes them with their reason as its
    plan. Long rows come first, several of them in a tile where they are short, and enough
    programs for all cores. Each choice is lowered to count the bytes it takes; what does not
    fit is made smaller, then its rows are cut shorter, then queues are given up.

    Raises `CompileError` where even the smallest tiles do not fit.
    """

    name = "buffer-plan"
    machine: str | CoreMachine = "test"
    """The core, or the name of one."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        machine = named(self.machine)
        for kernel in op.body.block.ops:
            if isinstance(kernel, tile.KernelOp):
                reason = plan_kernel(kernel, machine)
                if isinstance(ctx, CompilerContext):
                    numbers = {k: v for k, v in planned(kernel).items() if k.startswith("B")}
                    text = (
                        ", ".join(f"{k} = {v}" for k, v in numbers.items()) or "no parameters"
                    )
                    ctx.decide(self.name, f"kernel {kernel.sym_name.data}", text, reason)


def planned(kernel: tile.KernelOp) -> dict[str, int]:
    """The numbers of a kernel's plan."""
    plan = kernel.plan.data if isinstance(kernel.plan, DictionaryAttr) else {}
    return {k: v.value.data for k, v in plan.items() if isinstance(v, IntegerAttr)}


def plan_kernel(kernel: tile.KernelOp, machine: CoreMachine) -> str:
    """Fix one kernel's parameters; the reason."""
    longest = machine.vector_bytes // 32
    failure: CompileError | None = None
    for limit in (longest, longest // 4, longest // 16):
        trial = kernel.clone()
        try:
            split_axes(trial, limit)
            numbers, core, taken = _fitting(trial, machine)
        except CompileError as error:
            failure = failure or error
            continue
        set_parameters(trial, numbers)
        reason = (
            f"{taken} of {machine.vector_bytes} bytes of local memory, "
            f"{_programs_text(trial)} for {machine.cores} cores"
        )
        body = trial.body.detach_block(0)
        kernel.body.detach_block(0)
        kernel.body.add_block(body)
        kernel.properties["steps"] = trial.steps
        entries = {**numbers, "depth": core.depth, "bytes": taken}
        attributes = {k: IntegerAttr(v, i64) for k, v in entries.items()}
        kernel.properties["plan"] = DictionaryAttr({**attributes, "reason": StringAttr(reason)})
        return reason
    assert failure is not None
    raise failure


def _fitting(
    kernel: tile.KernelOp, machine: CoreMachine
) -> tuple[dict[str, int], CoreMachine, int]:
    """Numbers with which a kernel fits, on a machine with or without queues; the bytes."""
    first = _first_choice(kernel, machine)
    refused: tuple[int, memory.AllocOp | None] = (0, None)
    least = 1 if _walks_rows(kernel) else 4
    for core in (machine, replace(machine, depth=1)):
        numbers = dict(first)
        while True:
            taken, largest = _bytes(kernel, core, numbers)
            if taken <= machine.vector_bytes:
                return numbers, core, taken
            refused = (taken, largest)
            if not _shrink(numbers, -(-taken // machine.vector_bytes), least):
                break
    raise CompileError(too_large(kernel, machine, *refused))


def _bytes(
    kernel: tile.KernelOp, machine: CoreMachine, numbers: Mapping[str, int]
) -> tuple[int, memory.AllocOp | None]:
    trial = kernel.clone()
    set_parameters(trial, numbers)
    return lowered_bytes(trial, machine)


def _shrink(numbers: dict[str, int], factor: int, rows: int) -> bool:
    """Make tiles smaller by about a factor; whether that can be done."""
    before = dict(numbers)
    # Rows are given up down to a few, then columns, then the rest of the rows.
    for names, least in ((ROWS, rows), (COLUMNS, SHORT_ROW), (("BK",), 16), (ROWS, 1),
                         (COLUMNS, 8), (("BK",), 1), (COLUMNS, 1)):  # fmt: skip
        for name in names:
            while factor > 1 and numbers.get(name, 1) > least:
                numbers[name] = max(least, -(-numbers[name] // 2))
                factor = -(-factor // 2)
    return numbers != before


def _bounds(kernel: tile.KernelOp) -> dict[str, Dim]:
    """The size of the axis that each parameter walks, where one is known."""
    found: dict[str, Dim] = {}
    pairs = list(zip(kernel.steps.data, kernel.bounds.data, strict=True))
    for op in kernel.body.walk():
        if isinstance(op, tile.ForOp):
            to = dim_of(op.to)
            if to is not None:
                pairs.append((op.step_size, to))
    for step, bound in pairs:
        if step.name is not None:
            old = found.get(step.name)
            known = old is not None and old.value is not None
            if not known or (bound.value or 0) > (old.value or 0):  # pyright: ignore
                found[step.name] = bound
    return found


def _first_choice(kernel: tile.KernelOp, machine: CoreMachine) -> dict[str, int]:
    names = parameters_of(kernel)
    bounds = {name: bound.value for name, bound in _bounds(kernel).items()}
    has_dot = any(isinstance(op, tile.DotOp) for op in kernel.body.walk())
    long = TURNED_ROW if _turns(kernel) else LONG_ROW
    numbers: dict[str, int] = {}

    def choose(name: str) -> None:
        if has_dot:
            wanted = machine.product_sizes.get(name, PRODUCT[name])
        elif name in COLUMNS:
            wanted = long
        else:
            wanted = _rows_wanted(kernel, name, numbers, bounds.get(name), machine)
        numbers[name] = _even(bounds.get(name), wanted, name in COLUMNS)

    for name in (*(n for n in names if n in COLUMNS), *(n for n in names if n not in COLUMNS)):
        choose(name)
    # Smaller steps of the grid make more programs; those of loops would only be more turns.
    grid = {step.name for step in kernel.steps.data}
    for name in (name for name in (*ROWS, *COLUMNS) if name in grid):
        least = SHORT_ROW if name in COLUMNS else 1
        while numbers.get(name, 0) > least and _programs(kernel, numbers) < machine.cores:
            numbers[name] = _even(bounds.get(name), -(-numbers[name] // 2), name in COLUMNS)
            if numbers[name] <= least:
                break
    for name in names:
        if name not in grid and name not in COLUMNS:
            choose(name)
    return numbers


def _rows_wanted(
    kernel: tile.KernelOp,
    name: str,
    numbers: Mapping[str, int],
    bound: int | None,
    machine: CoreMachine,
) -> int:
    """How many rows make a tile of a good size and leave something for every core. Rows that
    are walked in chunks of some length leave no room for others."""
    columns = product(numbers.get(n, 1) for n in COLUMNS).value or 1
    if any(n in numbers for n in COLUMNS) and not _walks_rows(kernel):
        return max(1, TILE // columns)
    row = Dim.symbol(name)
    width = columns
    for value in (value for op in kernel.body.walk() for value in op.results):
        if isinstance(value.type, tile.TileType) and row in value.type.shape:
            width = max(width, product(d for d in value.type.shape if d is not row).value or 1)
    share = MANY_ROWS if bound is not None else -(-USUAL_ROWS // machine.cores)
    return max(1, min(MANY_ROWS, share, LONG_ROW // width))


def _walks_rows(kernel: tile.KernelOp) -> bool:
    """Whether programs go along their rows in chunks."""
    return any(
        isinstance(op, tile.ForOp) and op.step_size.name in COLUMNS for op in kernel.body.walk()
    )


def _turns(kernel: tile.KernelOp) -> bool:
    """Whether elements that are neighbours in global memory are not so in some tile."""
    for op in kernel.body.walk():
        if isinstance(op, tile.LoadOp | tile.StoreOp) and len(op.axis_list) > 1:
            strides = view_type(op.view).strides
            *others, last = (strides[axis] for axis in op.axis_list)
            if last is not ONE and any(stride is ONE for stride in others):
                return True
    return False


def _even(bound: int | None, wanted: int, column: bool) -> int:
    """A size of at most `wanted` (about) that cuts an axis into equal pieces."""
    if bound is None or bound < 1:
        return wanted
    if bound <= wanted:
        return bound
    pieces = -(-bound // wanted)
    size = -(-bound // pieces)
    if column and size >= 64 and bound % size:
        size = min(wanted, -(-size // 64) * 64)
    return size


def _programs(kernel: tile.KernelOp, numbers: Mapping[str, int]) -> int:
    """Programs of the grid; those of unknown size count as many."""
    total = 1
    for bound, step in zip(kernel.bounds.data, kernel.steps.data, strict=True):
        if bound.value is None:
            return 1 << 30
        total *= -(-bound.value // step.evaluate(numbers))
    return total


def _programs_text(kernel: tile.KernelOp) -> str:
    pieces = product(
        bound.ceil_divide(step)
        for bound, step in zip(kernel.bounds.data, kernel.steps.data, strict=True)
    )
    return f"{pieces} programs"
