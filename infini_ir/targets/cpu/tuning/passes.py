"""Measured plans: `cpu-tune` finds them, `cpu-measured-plans` uses those that were found."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from infini_ir.dialects.context import CompilerContext
from infini_ir.runtime.executor import choose_threads
from infini_ir.runtime.samples import choose_sizes, random_inputs
from infini_ir.targets.cpu.features import host, named
from infini_ir.targets.cpu.plans.plan import Plan
from infini_ir.targets.cpu.tuning.candidates import candidates
from infini_ir.targets.cpu.tuning.findings import Findings, unreasoned
from infini_ir.targets.cpu.tuning.measurer import ProgramMeasurer, kernels_of
from infini_ir.targets.cpu.tuning.tuner import Report, Tuner
from infini_ir.targets.programs import program_of, signature_of
from infini_ir.utils.errors import OptionError

if TYPE_CHECKING:
    from infini_ir.targets.cpu.target import CpuTarget

BUDGET = 60.0
"""Seconds that tuning a program takes at most, unless another budget is given."""


@dataclass(frozen=True)
class CpuMeasuredPlansPass(ModulePass):
    """
    Gives kernels the plans that tuning has found to be faster than the planner's own, for
    this processor and so many threads (0: those that a call would use).
    """

    name = "cpu-measured-plans"
    cpu: str = "native"
    threads: int = 0

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        findings = Findings(named(self.cpu), self.threads or choose_threads())
        if not findings:
            return
        for name, kernel in kernels_of(op).items():
            own = Plan.read(kernel.plan)
            finding = findings.load(kernel)
            if finding is None or finding.plan == unreasoned(own):
                continue
            if finding.plan.parameters.keys() != own.parameters.keys():
                continue
            reason = f"measured: {finding.gain:.0%} faster than by rule ({own.reason})"
            kernel.properties["plan"] = replace(finding.plan, reason=reason).attribute()
            if isinstance(ctx, CompilerContext):
                ctx.decide(self.name, name, "the plan that tuning found", reason)


@dataclass(frozen=True)
class CpuTunePass(ModulePass):
    """
    Measures plans of a program's kernels on this machine, for some sizes of its symbols and
    random inputs, and keeps the fastest for `cpu-measured-plans`.
    """

    name = "cpu-tune"
    cpu: str = "native"
    threads: int = 0
    sizes: tuple[str, ...] = ()
    """Symbols and their values, such as `B=4`; usual ones for the others."""
    seconds: float = BUDGET
    """The most that it takes."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        from infini_ir.targets.cpu.target import CpuTarget

        if not isinstance(ctx, CompilerContext):
            return
        target = CpuTarget(self.cpu, threads=self.threads or None)
        given = {name: int(value) for name, _, value in (t.partition("=") for t in self.sizes)}
        tune_program(op, ctx, target, sizes=given, budget=self.seconds)


def tune_program(
    module: ModuleOp,
    ctx: CompilerContext,
    target: CpuTarget,
    *,
    sizes: Mapping[str, int] | None = None,
    arrays: Mapping[str, np.ndarray] | None = None,
    budget: float = BUDGET,
    folder: Path | None = None,
    tell: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Report:
    """Search for faster plans of a tile program that has none yet, and keep them.

    Inputs that are not in `arrays` are random. Raises `OptionError` where this machine does
    not run what the target compiles.
    """
    if not named(target.architecture).required_flags <= host().required_flags:
        raise OptionError(
            f"this machine does not run code for '{target.architecture}', so it cannot "
            "measure it; tune on a machine that does"
        )
    threads = choose_threads(target.threads)
    values = input_values(module, sizes or {}, arrays or {})
    features = target.features
    findings = Findings(features, threads, folder)
    measurer = ProgramMeasurer(module, ctx, target, threads, values)
    kernels = kernels_of(module)
    tuner = Tuner(
        measurer.planned(),
        lambda name, plan: candidates(kernels[name], plan, features),
        measurer,
        lambda name: findings.load(kernels[name]),
        lambda name, finding: findings.store(
            kernels[name], replace(finding, sizes=dict(sizes or {}))
        ),
        time.perf_counter,
        budget,
        tell,
    )
    return tuner.run()


def input_values(
    module: ModuleOp, sizes: Mapping[str, int], arrays: Mapping[str, np.ndarray]
) -> Sequence[np.ndarray]:
    """Arrays for all inputs of a program."""
    specs, _ = signature_of(program_of(module))
    chosen = choose_sizes(specs, sizes, arrays)
    missing = [spec for spec in specs if spec.name not in arrays]
    known = {**random_inputs(missing, chosen, 0), **arrays}
    return [known[spec.name] for spec in specs]
