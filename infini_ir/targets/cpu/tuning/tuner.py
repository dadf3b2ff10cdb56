"""The search for faster plans, with a budget of time.

All kernels of a program are tuned at once: in each round every kernel that still has
something to try takes its next plan, and the program with these plans is timed in turns with
the program of the best plans so far, launch by launch, where they are. A plan that is faster
by more than noise takes over, and its neighbours are tried next. In the end the winners are
timed against the planner's own plans once more, and those that do not hold are dropped.
What is found is kept after every round, so an interrupted search goes on where it was.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from infini_ir.targets.cpu.plans.plan import Plan
from infini_ir.targets.cpu.tuning.findings import Finding, unreasoned

LEAST_SHARE = 0.004
"""Of the time of a call: kernels with less are left alone."""

LEAST_GAIN = 0.03
"""What a plan must save to take over."""

AGREEMENT = 0.8
"""The share of pairs of calls in which it must be the faster one."""

PAIRS, FINAL_PAIRS = 7, 21

Plans = Mapping[str, Plan]
"""By the kernels' names."""


@dataclass(frozen=True)
class Comparison:
    """Two sets of plans timed in turns: seconds of each kernel in a call, pair by pair."""

    first: Mapping[str, Sequence[float]]
    second: Mapping[str, Sequence[float]]

    def gain(self, kernel: str) -> float:
        """What the second saves of the first's time; 0 where noise could be all of it."""
        ratios = [
            b / a for a, b in zip(self.first[kernel], self.second[kernel], strict=True) if a > 0
        ]
        if not ratios:
            return 0.0
        gain = 1 - statistics.median(ratios)
        agreeing = sum((ratio < 1) == (gain > 0) for ratio in ratios) / len(ratios)
        return gain if agreeing >= AGREEMENT else 0.0


class BrokenPlans(Exception):
    """A program with these plans cannot be built, or gives other results."""


class Measurer(Protocol):
    """Times programs."""

    def compare(self, first: Plans, second: Plans, pairs: int) -> Comparison:
        """Time a program with `second` in turns with one with `first`. Raises `BrokenPlans`
        for the second."""
        ...


@dataclass
class Trial:
    """One plan that was measured."""

    kernel: str
    plan: Plan
    gain: float
    """Against the best plan until then."""


@dataclass
class Report:
    """What a search did."""

    planned: dict[str, float] = field(default_factory=dict)
    """Seconds of each kernel in a call, with the planner's own plans."""
    tuned: dict[str, float] = field(default_factory=dict)
    own: dict[str, Plan] = field(default_factory=dict)
    """The planner's own."""
    plans: dict[str, Plan] = field(default_factory=dict)
    """The best that are known."""
    trials: list[Trial] = field(default_factory=list)
    rounds: int = 0
    complete: bool = False
    """Whether there is nothing more to try."""
    broken: int = 0
    """Plans that could not be built or gave other results."""

    @property
    def reached(self) -> float:
        """The speed with the planner's own plans as a part of that with the best."""
        total = sum(self.planned.values())
        return sum(self.tuned.values()) / total if total else 1.0


@dataclass
class Tuner:
    """Searches for the plans of one program."""

    planned: Plans
    """The planner's own, for every kernel."""
    candidates: Callable[[str, Plan], Sequence[Plan]]
    """Plans beside a plan of a kernel."""
    measurer: Measurer
    load: Callable[[str], Finding | None]
    store: Callable[[str, Finding], None]
    clock: Callable[[], float]
    budget: float
    """Seconds; a round that would not end within is not begun."""
    tell: Callable[[str, int, int], None] = lambda stage, done, total: None

    def run(self) -> Report:
        """Search until there is nothing to try or the time is over."""
        report = Report()
        self.begin, self.longest = self.clock(), 0.0
        self.best = {name: unreasoned(plan) for name, plan in self.planned.items()}
        self.tried: dict[str, dict[str, Plan]] = {name: {} for name in self.planned}
        self.gains = dict.fromkeys(self.planned, 0.0)
        self._recall()
        first = self._timed(lambda: self._compare_known(report))
        total = sum(statistics.median(times) for times in first.first.values())
        self.share = {
            name: statistics.median(times) / total if total else 0.0
            for name, times in first.first.items()
        }
        while not report.complete and self._time_left():
            challengers = self._next()
            if not challengers:
                report.complete = True
                break
            self._timed(lambda chosen=challengers: self._round(chosen, report))
            report.rounds += 1
            self._keep()
            self.tell(
                f"round {report.rounds}: {len(challengers)} plans",
                int(self.clock() - self.begin),
                max(1, int(self.budget)),
            )
        self._confirm(report)
        self._keep(complete=report.complete)
        report.own = {name: unreasoned(plan) for name, plan in self.planned.items()}
        report.plans = dict(self.best)
        return report

    def _recall(self) -> None:
        """Go on from what is known."""
        for name in self.planned:
            finding = self.load(name)
            if finding is None:
                continue
            if finding.plan.parameters.keys() == self.planned[name].parameters.keys():
                self.best[name], self.gains[name] = unreasoned(finding.plan), finding.gain
            self.tried[name] = {str(plan): plan for plan in finding.tried}

    def _compare_known(self, report: Report) -> Comparison:
        own = {name: unreasoned(plan) for name, plan in self.planned.items()}
        try:
            return self.measurer.compare(own, self.best, PAIRS)
        except BrokenPlans:
            report.broken += 1
            self.best = own
            return self.measurer.compare(own, own, PAIRS)

    def _next(self) -> dict[str, Plan]:
        """The next plan of every kernel that is worth it."""
        chosen: dict[str, Plan] = {}
        for name, share in sorted(self.share.items(), key=lambda pair: -pair[1]):
            if share < LEAST_SHARE:
                continue
            for plan in self.candidates(name, self.best[name]):
                plan = unreasoned(plan)
                if str(plan) not in self.tried[name] and plan != self.best[name]:
                    chosen[name] = plan
                    break
        return chosen

    def _round(self, challengers: dict[str, Plan], report: Report) -> None:
        """Measure one plan for each of some kernels; where they cannot be had, find out which."""
        for name, plan in challengers.items():
            self.tried[name][str(plan)] = plan
        try:
            compared = self.measurer.compare(self.best, {**self.best, **challengers}, PAIRS)
        except BrokenPlans:
            names = list(challengers)
            if len(names) == 1:
                report.broken += 1
                return
            for part in (names[: len(names) // 2], names[len(names) // 2 :]):
                self._round({name: challengers[name] for name in part}, report)
            return
        for name, plan in challengers.items():
            gain = compared.gain(name)
            report.trials.append(Trial(name, plan, gain))
            if gain >= LEAST_GAIN:
                self.gains[name] = 1 - (1 - self.gains[name]) * (1 - gain)
                self.best[name] = plan

    def _confirm(self, report: Report) -> None:
        """Time the winners against the planner's own plans once more."""
        own = {name: unreasoned(plan) for name, plan in self.planned.items()}
        compared = self.measurer.compare(own, self.best, FINAL_PAIRS)
        for name in self.planned:
            before = statistics.median(compared.first[name])
            after = statistics.median(compared.second[name])
            self.gains[name] = 0.0
            if self.best[name] != own[name]:
                gain = compared.gain(name)
                if gain >= LEAST_GAIN:
                    self.gains[name] = gain
                else:
                    self.best[name], after = own[name], before
            else:
                after = before
            report.planned[name], report.tuned[name] = before, after

    def _keep(self, *, complete: bool = False) -> None:
        for name in self.planned:
            if self.tried[name]:
                tried = tuple(self.tried[name].values())
                finding = Finding(self.best[name], self.gains[name], tried, complete)
                self.store(name, finding)

    def _timed(self, act: Callable[[], object]) -> Comparison:
        begin = self.clock()
        result = act()
        self.longest = max(self.longest, self.clock() - begin)
        return result  # pyright: ignore[reportReturnType]

    def _time_left(self) -> bool:
        """Whether a round, and the last comparison, would end within the budget."""
        spent = self.clock() - self.begin
        return spent + 2 * self.longest <= self.budget


def summary_of(plan: Plan, other: Plan) -> str:
    """What a plan does otherwise than another, such as `BN=64, strip 9, 3 vectors`."""
    parts = [
        f"{name}={value}"
        for name, value in plan.parameters.items()
        if other.parameters.get(name) != value
    ]
    if plan.strip != other.strip:
        parts.append(f"strip {plan.strip[0] * plan.strip[1]}")
    if plan.vectors != other.vectors:
        parts.append(f"{plan.vectors} vectors")
    if plan.panels != other.panels:
        parts.append(f"{plan.panels} panels")
    if plan.order != other.order:
        parts.append(f"order {list(plan.order)}" if plan.order else "order as written")
    if plan.unit != other.unit:
        parts.append(plan.unit or "vectors multiply")
    if plan.outer != other.outer:
        parts.append(f"{plan.outer} outside")
    if plan.across != other.across:
        parts.append(f"{plan.across} in lanes" if plan.across else "last axes in lanes")
    if plan.paired != other.paired:
        parts.append("in pairs" if plan.paired else "not in pairs")
    return ", ".join(parts) or "the same"
