"""Choosing tile sizes, warps and pipeline stages for each kernel: the pass `nvidia-plan`.

candidates(kernel, limits) -> [Plan, ..]     what may be tried, all of it legal
plan_kernel(kernel, limits) -> Plan          the one that the cost model likes best
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from infini_ir.dialects import tile
from infini_ir.passes.tile.split_k import largest_split
from infini_ir.targets.nvidia.cost import (
    Estimate,
    accumulator_registers,
    estimate,
    product_sizes,
    shared_bytes,
    thread_registers,
)
from infini_ir.targets.nvidia.few import WORTH, few_rows
from infini_ir.targets.nvidia.limits import Limits, limits_of
from infini_ir.targets.nvidia.plan import Few, Plan
from infini_ir.targets.nvidia.shapes import power_of_two
from infini_ir.targets.nvidia.work import ASSUMED, Work, work_of
from infini_ir.utils.dtypes import item_size
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import PARAMETERS, Dim

THREAD_ELEMENTS = 8
"""Elements of a tile for each thread where nothing is multiplied: two wide accesses."""
USUAL_ELEMENTS = 1024
NEAR = 1.03
"""Plans of kernels without products count as equally fast up to this factor."""
GROUP = 8
"""Tiles of rows that are walked together."""
SPLITS = (2, 4, 8, 16)
ACCUMULATOR_REGISTERS = 128
"""32-bit registers of a thread that accumulators may take; the rest addresses and works."""
PRODUCT_REGISTERS = 176
"""The same of accumulators and operands together, where there is a choice."""


@dataclass(frozen=True)
class NvidiaPlanPass(ModulePass):
    """
    Fixes every kernel's parameters, warps and stages, as its `plan` attribute, with the
    reason. A kernel that has a plan keeps it. Products of an unknown number of rows become
    two kernels where few rows want a plan of their own: the plan of the first names the other.

    Raises `CompileError` for a kernel that no plan fits.
    """

    name = "nvidia-plan"
    architecture: str = "sm_90"
    precision: str = "tf32x3"
    """How products of f32 are computed: tf32x3, tf32 or ieee."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        limits = limits_of(self.architecture)
        for kernel in op.body.block.ops:
            if isinstance(kernel, tile.KernelOp) and kernel.plan is None:
                plan = plan_kernel(kernel, limits, self.precision)
                kernel.properties["plan"] = plan.attribute()
                if plan.split == 1:
                    _add_few(kernel, plan, limits)


def _add_few(kernel: tile.KernelOp, plan: Plan, limits: Limits) -> None:
    """Another kernel for few rows, with a plan of its own, where that is worth it."""
    work = work_of(kernel)
    few = few_rows(kernel, work, roles_of(kernel, work).rows)
    if few is None:
        return
    other = plan_kernel(kernel, limits, plan.precision, few.assumed)
    work = work_of(kernel, few.assumed)
    spent = [estimate(work, each, limits).seconds for each in (plan, other)]
    if spent[0] < WORTH * spent[1]:
        return
    copy = kernel.clone()
    name = f"{kernel.sym_name.data}_few"
    reason = f"for at most {few.most} rows: {other.reason}"
    copy.properties["sym_name"] = StringAttr(name)
    copy.properties["plan"] = replace(other, reason=reason).attribute()
    Rewriter.insert_op(copy, InsertPoint.after(kernel))
    named = replace(plan, few=Few(name, few.axis, few.most))
    kernel.properties["plan"] = named.attribute()


def plan_kernel(
    kernel: tile.KernelOp,
    limits: Limits,
    precision: str = "tf32x3",
    assumed: Mapping[str, int] | None = None,
) -> Plan:
    """The plan of one kernel: of its candidates the one of least cost. `assumed`: what
    symbols count as, where not as usual."""
    work = work_of(kernel, assumed)
    plans = list(_candidates(kernel, work, limits, precision))
    if not plans:
        raise CompileError(_misfit(kernel, work, limits, precision))
    judged = [(estimate(work, plan, limits), plan) for plan in plans]
    best, plan = min(judged, key=lambda pair: pair[0].seconds)
    if not work.products:
        close = [pair for pair in judged if pair[0].seconds <= NEAR * best.seconds]
        best, plan = min(close, key=lambda pair: _oddness(work, pair[1]))
    if work.products and best.programs < limits.multiprocessors and not _symbols(kernel):
        best, plan = _split(kernel, work, judged, limits)
    return replace(plan, reason=_reason(best, len(plans), limits))


def _oddness(work: Work, plan: Plan) -> int:
    """How far a plan's largest tile is from the usual size, in powers of two: what serves
    sizes well that are not known now."""
    return abs(_largest(work, plan.parameters).bit_length() - USUAL_ELEMENTS.bit_length())


def _symbols(kernel: tile.KernelOp) -> frozenset[str]:
    """Symbols of the grid, beside its parameters."""
    bounds = [*kernel.bounds.data, *kernel.steps.data]
    return frozenset(n for dim in bounds for n in dim.symbols()) - frozenset(PARAMETERS)


def _split(
    kernel: tile.KernelOp, work: Work, judged: list[tuple[Estimate, Plan]], limits: Limits
) -> tuple[Estimate, Plan]:
    """The best plan where the contracted axis may be shared out among programs too."""
    tried = list(judged)
    for parts in SPLITS:
        if largest_split(kernel, parts) != parts:
            continue
        for _, plan in judged:
            if _fills(work, plan, parts):
                split = replace(plan, split=parts)
                tried.append((estimate(work, split, limits), split))
    return min(tried, key=lambda pair: pair[0].seconds)


def _fills(work: Work, plan: Plan, parts: int) -> bool:
    """Whether each part of a split has work for the pipeline of its loop."""
    return all(
        work.number(each.times, plan.parameters) >= 2 * parts * plan.stages
        for each in work.products
    )


def candidates(
    kernel: tile.KernelOp, limits: Limits, precision: str = "tf32x3", count: int = 16
) -> list[Plan]:
    """The plans worth trying on a device, the likely best first."""
    work = work_of(kernel)
    plans = list(_candidates(kernel, work, limits, precision))
    plans.sort(key=lambda plan: estimate(work, plan, limits).seconds)
    return plans[:count]


def _reason(best: Estimate, count: int, limits: Limits) -> str:
    waves = f"{best.waves:.2g}" if best.waves < 10 else f"{best.waves:.0f}"
    held = f", {best.shared_bytes // 1024} KB shared" if best.shared_bytes else ""
    return (
        f"best of {count} on {limits.architecture}: {best.programs} programs, {waves} waves"
        f"{held}, about {best.seconds * 1e6:.3g} us"
    )


def _misfit(kernel: tile.KernelOp, work: Work, limits: Limits, precision: str) -> str:
    smallest = next(_product_plans(kernel, work, limits, precision, legal=False), Plan())
    wanted = shared_bytes(work, smallest)
    return (
        f"kernel '{kernel.sym_name.data}': no tile sizes fit {limits.architecture}; its products "
        f"want {wanted} bytes of shared memory at the least, and there are "
        f"{limits.shared_bytes}; make its rows shorter or contract in smaller pieces"
    )


def _candidates(
    kernel: tile.KernelOp, work: Work, limits: Limits, precision: str
) -> Iterator[Plan]:
    if not work.products:
        yield from _plain_plans(kernel, work, limits)
        return
    plans = list(_product_plans(kernel, work, limits, precision))
    roomy = [p for p in plans if thread_registers(work, p) <= PRODUCT_REGISTERS]
    yield from roomy or plans


# Kernels that multiply ----------------------------------------------------------------------


@dataclass(frozen=True)
class Roles:
    """What the parameters of a kernel are to its products."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    depth: tuple[str, ...]


def roles_of(kernel: tile.KernelOp, work: Work) -> Roles:
    """What each parameter is, in the order of the products."""
    found: dict[str, list[str]] = {"rows": [], "columns": [], "depth": []}

    def note(role: str, dim: Dim) -> None:
        for name in sorted(dim.symbols() & set(PARAMETERS)):
            if not any(name in names for names in found.values()):
                found[role].append(name)

    for each in work.products:
        note("rows", each.rows)
        note("columns", each.columns)
    for each in work.products:
        note("depth", each.depth)
    return Roles(*(tuple(found[role]) for role in ("rows", "columns", "depth")))


def _product_plans(
    kernel: tile.KernelOp, work: Work, limits: Limits, precision: str, *, legal: bool = True
) -> Iterator[Plan]:
    roles = roles_of(kernel, work)
    rest = _rest(kernel, work, roles)
    item = min(item_size(each.dtype) for each in work.products)
    deep = 128 // item
    depths = sorted({max(16, deep // 2), deep, 2 * deep}) if roles.depth else [0]
    for rows, columns, depth in itertools.product(
        _row_choices(work, roles), (16, 32, 64, 128, 256), depths
    ):
        parameters = dict(rest) | rows
        for name in roles.columns:
            parameters[name] = min(columns, _span(work, name))
        for name in roles.depth:
            parameters[name] = min(depth, max(16, _span(work, name)))
        if roles.columns and columns > max(16, _span(work, roles.columns[0])):
            continue
        for warps, stages in itertools.product((4, 8), (2, 3, 4, 5)):
            group = GROUP if _is_banded(kernel, roles) else 1
            plan = Plan(parameters, warps, stages, group, precision)
            if not legal or _fits(work, plan, limits):
                yield plan


def _is_banded(kernel: tile.KernelOp, roles: Roles) -> bool:
    """Whether the last two grid axes are a product's rows and columns."""
    last = [step.name for step in kernel.steps.data[-2:]]
    return len(last) == 2 and last[0] in roles.rows and last[1] in roles.columns


def _row_choices(work: Work, roles: Roles) -> list[dict[str, int]]:
    """Tiles of up to 128 rows, of one axis or of two (a window's height and width)."""
    if not roles.rows:
        return [{}]
    if len(roles.rows) == 1:
        name = roles.rows[0]
        limit = max(16, _span(work, name))
        return [{name: size} for size in (16, 32, 64, 128) if size <= limit]
    choices: list[dict[str, int]] = []
    spans = [_span(work, name) for name in roles.rows]
    for sizes in itertools.product((1, 2, 4, 8, 16, 32, 64, 128), repeat=len(spans)):
        count = 1
        for size in sizes:
            count *= size
        fits = all(size <= span for size, span in zip(sizes, spans, strict=True))
        if fits and (
            16 <= count <= 128 or all(s == p for s, p in zip(sizes, spans, strict=True))
        ):
            choices.append(dict(zip(roles.rows, sizes, strict=True)))
    return choices


def _span(work: Work, name: str) -> int:
    """The least power of two that holds all that a parameter steps through, of what is not
    known now at least what a symbol usually counts as."""
    bound = work.bounds.get(name)
    if bound is None:
        return 128
    least = 1 if bound.symbols() <= work.assumed.keys() else ASSUMED
    return power_of_two(max(least, work.number(bound, {})))


def _rest(kernel: tile.KernelOp, work: Work, roles: Roles) -> dict[str, int]:
    """Parameters that no product has: chunks of what is beside them."""
    taken = {*roles.rows, *roles.columns, *roles.depth}
    return {name: min(64, _span(work, name)) for name in work.bounds if name not in taken}


def _fits(work: Work, plan: Plan, limits: Limits) -> bool:
    if shared_bytes(work, plan) > limits.shared_bytes:
        return False
    if accumulator_registers(work, plan) > _register_limit(work, plan, limits):
        return False
    sizes = [product_sizes(work, plan, each) for each in work.products]
    threads = 32 * plan.warps
    # Half the threads idle in a product of fewer results than they are.
    return plan.warps == 4 or all(rows * columns >= 8 * threads for rows, columns, _ in sizes)


def _register_limit(work: Work, plan: Plan, limits: Limits) -> int:
    """Fewer where f32 operands are split into parts, and where functions of the results
    have their own intermediate values; kernels with products in turn keep several, and
    the operands of each where products take them from registers."""
    split = any(each.dtype == "f32" for each in work.products) and plan.precision == "tf32x3"
    if len(work.products) > 1:
        wide = limits.wide_products and not split
        return ACCUMULATOR_REGISTERS * (3 if wide else 2) // 4
    return ACCUMULATOR_REGISTERS // (2 if split or work.functions else 1)


# Kernels that do not ------------------------------------------------------------------------


def _plain_plans(kernel: tile.KernelOp, work: Work, limits: Limits) -> Iterator[Plan]:
    """Elementwise and row kernels: tiles that grow first along what lies side by side."""
    targets = (64, 128, 256, 512, 1024, 2048, 4096)
    grid = {step.name for step in kernel.steps.data}
    # What is walked in turns wants long turns, for which the grid's axes make room.
    widths = (4096, 128, 32) if work.turns and grid & work.bounds.keys() else (4096,)
    seen: set[tuple[tuple[str, int], ...]] = set()
    for width, target in itertools.product(widths, targets):
        most = {name: width if name in grid else target for name in work.bounds}
        parameters = _grown(work, min(target, 256) if work.scatters else target, most)
        key = tuple(sorted(parameters.items()))
        if key in seen:
            continue
        seen.add(key)
        largest = _largest(work, parameters)
        warps = power_of_two(-(-largest // (32 * THREAD_ELEMENTS)))
        yield Plan(parameters, min(max(1, warps), 16))


def _grown(work: Work, target: int, most: Mapping[str, int]) -> dict[str, int]:
    """Parameters doubled, each as far as it may, first those along which most accesses are
    contiguous, until the largest tile has so many elements."""
    names = sorted(work.bounds)
    parameters = dict.fromkeys(names, 1)
    weights = dict.fromkeys(names, 0)
    for access in work.accesses:
        moved = access.contiguous.symbols() if access.contiguous is not None else ()
        for name in names:
            weights[name] += name in moved
    while True:
        open_names = [
            name for name in names
            if parameters[name] < min(most[name], _span(work, name))
            and _largest(work, parameters | {name: 2 * parameters[name]}) <= target
        ]  # fmt: skip
        if not open_names:
            return parameters
        # A run of 32 elements each before any goes further, heavier axes first.
        chosen = min(
            open_names,
            key=lambda n: (weights[n] == 0, parameters[n] >= 32, -weights[n], parameters[n]),
        )
        parameters[chosen] *= 2


def _largest(work: Work, parameters: Mapping[str, int]) -> int:
    """Elements of the largest tile, as a tensor has them."""
    largest = 1
    for shape, _ in work.tiles:
        count = 1
        for dim in shape:
            count *= power_of_two(work.number(dim, parameters))
        largest = max(largest, count)
    return largest
