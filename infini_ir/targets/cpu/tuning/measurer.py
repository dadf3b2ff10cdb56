"""Timing whole programs that differ in their kernels' plans, launch by launch, in place."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass

from infini_ir.dialects import tile
from infini_ir.dialects.context import CompilerContext
from infini_ir.dialects.tile import program
from infini_ir.runtime.executor import Executor
from infini_ir.runtime.program import Program, Weights, WeightSection
from infini_ir.targets.cpu.plans.plan import Plan
from infini_ir.targets.cpu.plans.planning import CpuPlanPass
from infini_ir.targets.cpu.timing.stamps import BEGIN, EVENTS, Stamps
from infini_ir.targets.cpu.tuning.tuner import BrokenPlans, Comparison, Plans
from infini_ir.targets.programs import remove_unused
from infini_ir.utils.dtypes import item_size

if TYPE_CHECKING:
    from infini_ir.targets.cpu.target import CpuTarget

_KEPT = 2
"""Programs that stay built: what was best, and what is compared with it."""

TOLERANCE, NARROW_TOLERANCE = 0.02, 0.15
"""Of the largest element: what results may differ by where sums are taken in another order;
the second where values between kernels are bf16 or bytes, and a rounding that falls otherwise
goes through all layers."""


@dataclass
class _Built:
    executor: Executor
    stamps: Stamps
    kernels: list[str | None]
    """The kernel of each event, as it was called before the passes."""
    outputs: list[np.ndarray]
    rows: np.ndarray


@dataclass
class ProgramMeasurer:
    """Builds timed programs from a module of tiles without plans, and calls them in turns."""

    module: ModuleOp
    ctx: CompilerContext
    target: CpuTarget
    threads: int
    values: Sequence[np.ndarray]
    """The inputs of every call."""
    _built: OrderedDict[str, _Built] = field(default_factory=OrderedDict)
    _section: WeightSection | None = None
    _expected: list[np.ndarray] | None = None
    _first: tuple[float, int] | None = None
    """The time of day and the processor's clock at the first call."""
    _last: tuple[float, int] = (0.0, 0)

    @cached_property
    def _tolerance(self) -> float:
        views = (view for k in kernels_of(self.module).values() for view in k.views)
        narrow = any(item_size(tile.view_type(view).dtype) < 4 for view in views)
        return NARROW_TOLERANCE if narrow else TOLERANCE

    def planned(self) -> dict[str, Plan]:
        """The planner's own plans."""
        copy = self.module.clone()
        CpuPlanPass(self.target.architecture).apply(self.ctx, copy)
        return {name: Plan.read(kernel.plan) for name, kernel in kernels_of(copy).items()}

    def compare(self, first: Plans, second: Plans, pairs: int) -> Comparison:
        """Time two programs in turns; one call of each before does not count."""
        programs = (self._program(first), self._program(second))
        times: tuple[dict[str, list[float]], ...] = ({}, {})
        for number in range(-1, pairs):
            # Who goes first changes, since each finds the caches as the other left them.
            for which in (0, 1) if number % 2 else (1, 0):
                spent = self._call(programs[which])
                if number >= 0:
                    for kernel in first:
                        times[which].setdefault(kernel, []).append(spent.get(kernel, 0.0))
        tick = self._tick()
        in_seconds = [
            {kernel: [t * tick for t in ticks] for kernel, ticks in part.items()}
            for part in times
        ]
        return Comparison(*in_seconds)

    def _tick(self) -> float:
        """Seconds of a tick of the processor's clock."""
        assert self._first is not None
        ticks = self._last[1] - self._first[1]
        return (self._last[0] - self._first[0]) / ticks if ticks > 0 else 0.0

    def _program(self, plans: Plans) -> _Built:
        key = str(sorted(plans.items()))
        known = self._built.get(key)
        if known is None:
            try:
                known = self._build(plans)
            except BrokenPlans:
                raise
            except Exception as error:  # whatever a generator makes of a plan that is not legal
                raise BrokenPlans(f"a program cannot be built: {error}") from error
            self._built[key] = known
        self._built.move_to_end(key)
        while len(self._built) > _KEPT:
            self._built.popitem(last=False)
        return known

    def _build(self, plans: Plans) -> _Built:
        copy = self.module.clone()
        CpuPlanPass(self.target.architecture).apply(self.ctx, copy)
        for name, kernel in kernels_of(copy).items():
            kernel.properties["plan"] = plans[name].attribute()
        names: dict[Operation, str] = {
            op: op.kernel.string_value()
            for op in copy.walk()
            if isinstance(op, program.LaunchOp)
        }
        decided = len(self.ctx.decisions)
        for current in self._finish():
            current.apply(self.ctx, copy)
        del self.ctx.decisions[decided:]
        remove_unused(copy)
        stamps = Stamps(self.threads)
        built = self.target.build(copy, self.ctx, stamps=stamps)
        self._share_weights(built)
        rows = np.zeros((self.threads, stamps.slots), np.int64)
        executor = Executor(built, self.threads)
        outputs = executor.run([*self.values, rows])
        if self._expected is None:
            self._expected = outputs
        elif not all(
            agree(a, b, self._tolerance) for a, b in zip(self._expected, outputs, strict=True)
        ):
            raise BrokenPlans("a program gives other results")
        return _Built(executor, stamps, [names.get(op) for op in stamps.events], outputs, rows)

    def _finish(self) -> list[ModulePass]:
        """The target's passes after the planner."""
        passes = list(self.target.passes(measured=False))
        first = next(i for i, p in enumerate(passes) if isinstance(p, CpuPlanPass))
        return passes[first + 1 :]

    def _share_weights(self, built: Program) -> None:
        """Take weights that the last program had from there: laying them out takes long."""
        meta = built.metadata
        source = (
            built.weights if self._section is None else _Either(self._section, built.weights)
        )
        section = WeightSection.gather(source, meta.weights, meta.weights_size)
        built.weights = self._section = section

    def _call(self, built: _Built) -> dict[str, float]:
        """Ticks of each kernel in a call."""
        built.rows[:] = 0
        now = time.perf_counter()
        built.executor.run([*self.values, built.rows])
        self._last = (now, int(built.rows[0, BEGIN]))
        if self._first is None:
            self._first = self._last
        rows = built.rows[built.rows[:, BEGIN] != 0]
        ticks = rows[:, EVENTS::2].max(axis=0)
        spent: dict[str, float] = {}
        for kernel, taken in zip(built.kernels, ticks, strict=True):
            if kernel is not None:
                spent[kernel] = spent.get(kernel, 0.0) + float(taken)
        return spent


@dataclass
class _Either:
    """Weights of a section, and those that it does not have from elsewhere."""

    section: WeightSection
    rest: Weights

    def array(self, name: str) -> np.ndarray:
        try:
            return self.section.array(name)
        except KeyError:
            return self.rest.array(name)

    def write(self, name: str, out: np.ndarray) -> None:
        try:
            self.section.write(name, out)
        except KeyError:
            self.rest.write(name, out)

    def release(self, name: str) -> None:
        self.rest.release(name)


def kernels_of(module: ModuleOp) -> dict[str, tile.KernelOp]:
    """The kernels of a module by name."""
    return {k.sym_name.data: k for k in module.body.block.ops if isinstance(k, tile.KernelOp)}


def agree(expected: np.ndarray, given: np.ndarray, tolerance: float = TOLERANCE) -> bool:
    """Whether results are the same but for rounding."""
    if expected.shape != given.shape or expected.dtype != given.dtype:
        return False
    if expected.dtype.kind == "b" or not expected.size:
        return bool((expected == given).all())
    a, b = expected.astype(np.float64), given.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        distance = np.where(same, 0.0, np.abs(a - b)).max()
    largest = np.abs(a[np.isfinite(a)]).max(initial=0.0)
    return bool(
        distance <= max(tolerance * largest, 1.0 if expected.dtype.kind in "iu" else 0.0)
    )
