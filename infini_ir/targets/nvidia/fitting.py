"""Other plans for kernels whose machine code spills, or wants more than a block has.

How many registers an epilogue takes, and where the compiler keeps the parts of operands, is
known only from machine code, so a kernel may be compiled more than once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from infini_ir.dialects import tile
from infini_ir.targets.nvidia.cost import shared_bytes, thread_registers
from infini_ir.targets.nvidia.emitted import EmittedKernel
from infini_ir.targets.nvidia.limits import Limits
from infini_ir.targets.nvidia.plan import Plan
from infini_ir.targets.nvidia.planning import candidates
from infini_ir.targets.nvidia.toolchain import CompiledKernel
from infini_ir.targets.nvidia.work import work_of

MOST_WARPS = 16
"""Of a block whose registers are to suffice: 512 threads have 128 registers each."""
SHARES = (0.95, 0.75, 0.5, 0.25)
"""Of the first plan's registers in each thread, what plans in place of it may have."""


@dataclass(frozen=True)
class Attempt:
    """A kernel with one plan, and its machine code."""

    kernel: tile.KernelOp
    emitted: EmittedKernel
    codes: list[CompiledKernel]

    @property
    def stack(self) -> int:
        return max(code.stack for code in self.codes)

    @property
    def shared(self) -> int:
        return max(code.shared for code in self.codes)

    def faults(self, shared_limit: int) -> tuple[int, int]:
        """Bytes of shared memory that are missing, and of stack: (0, 0) of good code."""
        return max(0, self.shared - shared_limit), self.stack


Source = tuple[tile.KernelOp, EmittedKernel]
Compile = Callable[[Sequence[tuple[int, Source]]], "list[Attempt]"]
"""Compiles kernels, each in place of the attempt of that number."""


def fit(
    attempts: list[Attempt],
    shared_limit: int,
    others: Callable[[Attempt], Iterator[list[Source]]],
    compile: Compile,
) -> list[Attempt]:
    """The attempts, those with faults replaced by better ones as far as there are any.
    `others` gives what may be tried, a few at a time."""
    best = list(attempts)
    rounds = {i: others(a) for i, a in enumerate(best) if any(a.faults(shared_limit))}
    while rounds:
        asked = {i: next(more, []) for i, more in rounds.items()}
        sources = [(i, source) for i, group in asked.items() for source in group]
        for (i, _), made in zip(sources, compile(sources), strict=True):
            if made.faults(shared_limit) < best[i].faults(shared_limit):
                best[i] = made
        rounds = {
            i: more
            for i, more in rounds.items()
            if asked[i] and any(best[i].faults(shared_limit))
        }
    return best


def other_sources(
    attempt: Attempt,
    original: tile.KernelOp | None,
    limits: Limits,
    make: Callable[[tile.KernelOp, Plan], Source],
) -> Iterator[list[Source]]:
    """What may be tried in place of an attempt: the same with more warps, which share the
    tiles, and plans that take less, where there is the kernel before its plan. A plan that
    was given or measured stays as long as it fits."""
    missing, stack = attempt.faults(limits.shared_bytes)
    plan = Plan.read(attempt.kernel.plan)
    if attempt.kernel.plan is not None and not plan.reason and not missing:
        return
    plans = iter(()) if original is None else lighter_plans(attempt, original, limits)
    warps = attempt.emitted.num_warps
    while True:
        found: list[Source] = []
        warps *= 2
        if stack and warps <= MOST_WARPS:
            kernel = attempt.kernel.clone()
            kernel.properties["plan"] = replace(
                plan, warps=warps, reason=_instead(plan, attempt, limits)
            ).attribute()
            found.append((kernel, replace(attempt.emitted, num_warps=warps)))
        other = next(plans, None)
        if original is not None and other is not None:
            found.append(make(original, other))
        if not found:
            return
        yield found


def lighter_plans(attempt: Attempt, original: tile.KernelOp, limits: Limits) -> Iterator[Plan]:
    """Plans of no larger tiles that take less of what an attempt takes too much of, the
    likely best first."""
    missing, stack = attempt.faults(limits.shared_bytes)
    plan, work = Plan.read(attempt.kernel.plan), work_of(original)
    known = [
        replace(other, few=plan.few, reason=_instead(plan, attempt, limits))
        for other in candidates(original, limits, plan.precision, count=10000)
        if all(size <= plan.parameters.get(n, size) for n, size in other.parameters.items())
    ]
    shared, registers = shared_bytes(work, plan), thread_registers(work, plan)
    for share in SHARES:
        most_shared = share * shared if missing else limits.shared_bytes
        most_registers = share * registers if stack else registers
        chosen = next(
            (
                other
                for other in known
                if (other.parameters, other.warps, other.stages)
                != (plan.parameters, plan.warps, plan.stages)
                and shared_bytes(work, other) <= most_shared
                and thread_registers(work, other) <= most_registers
            ),
            None,
        )
        if chosen is not None:
            known.remove(chosen)
            yield chosen


def _instead(plan: Plan, attempt: Attempt, limits: Limits) -> str:
    """The reason for a plan in place of an attempt's."""
    missing, stack = attempt.faults(limits.shared_bytes)
    sizes = "".join(f"{name} {size}, " for name, size in plan.parameters.items())
    wants = f"wants {attempt.shared} bytes of shared memory" if missing else ""
    spills = f"spills {stack} bytes of each thread" if stack else ""
    return (
        f"{plan.reason}; but code with {sizes}{attempt.emitted.num_warps} warps, "
        f"{attempt.emitted.num_stages} stages {' and '.join(filter(None, (wants, spills)))}"
    )
