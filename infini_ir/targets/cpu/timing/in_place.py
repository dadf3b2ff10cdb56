"""Timing the launches of a program where they are: in its order, with its operands.

A timed program (`targets.cpu.timing.stamps`) notes how long every worker spends in every launch and
at every barrier. It is called in turns with the program as it is, so that what the notes
cost, and what other processes take, is seen. The quieter half of the calls counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from infini_ir.dialects.context import CompilerContext
from infini_ir.dialects.tile import program
from infini_ir.runtime.executor import Executor
from infini_ir.targets.cpu.target import CpuTarget
from infini_ir.targets.cpu.timing.stamps import BEGIN, END, EVENTS, Stamps

SECONDS = 1.0
"""How long the timed calls together last, about."""
_LEAST_CALLS, _MOST_CALLS = 10, 400


@dataclass(frozen=True)
class Timing:
    """One launch in a call, all its turns together."""

    seconds: float
    """Of the worker that takes longest."""
    mean: float
    """Of all workers; the rest of `seconds` the others wait."""
    turns: float


@dataclass(frozen=True)
class CallTimes:
    """Where the time of a call goes, in seconds."""

    launches: Mapping[program.LaunchOp, Timing]
    call: float
    """A call of the program as it is, as the caller sees it."""
    timed_call: float
    """A call of the timed program."""
    outside: float
    """Outside native code: checking inputs, making outputs."""
    working: float
    """In launches: between two barriers, the worker that is busy longest."""
    uneven: float
    """Part of `working` in which the other workers have nothing to do, on average."""
    barriers: float
    """At barriers, after the last worker has come."""
    barrier_count: int
    rest: float
    """The rest of native code: waking workers, the host program between launches."""
    workers: int
    calls: int


def measure_in_place(
    module: ModuleOp,
    ctx: CompilerContext,
    target: CpuTarget,
    threads: int,
    values: Sequence[np.ndarray],
    seconds: float = SECONDS,
) -> CallTimes:
    """Call a legalised program with `values` and say where the time goes."""
    stamps = Stamps(threads)
    timed, plain = target.build(module, ctx, stamps=stamps), target.build(module, ctx)
    plain.weights = timed.weight_section  # one copy, so that both find it in the same caches
    samples = _sample(
        Executor(timed, threads), Executor(plain, threads), stamps, values, seconds
    )
    return _summary(samples, stamps)


@dataclass(frozen=True)
class _Sample:
    begin: float
    """Before the timed call, by the time of day."""
    timed: float
    plain: float
    rows: np.ndarray
    """[workers, slots]"""


def _sample(
    timed: Executor,
    plain: Executor,
    stamps: Stamps,
    values: Sequence[np.ndarray],
    seconds: float,
) -> list[_Sample]:
    rows = np.zeros((stamps.workers, stamps.slots), np.int64)
    given = [*values, rows]
    for _ in range(2):
        plain.run(values)
        timed.run(given)
    samples: list[_Sample] = []
    spent = 0.0
    while len(samples) < _LEAST_CALLS or (spent < seconds and len(samples) < _MOST_CALLS):
        rows[:] = 0
        before = time.perf_counter()
        plain.run(values)
        begin = time.perf_counter()
        timed.run(given)
        end = time.perf_counter()
        spent += end - before
        samples.append(_Sample(begin, end - begin, begin - before, rows.copy()))
    return samples


def _summary(samples: list[_Sample], stamps: Stamps) -> CallTimes:
    tick = seconds_per_tick(samples)
    limit = statistics.median(s.timed for s in samples)
    quiet = [s for s in samples if s.timed <= limit]
    rows = [s.rows[s.rows[:, BEGIN] != 0] for s in quiet]
    native = statistics.fmean(int(r[0, END] - r[0, BEGIN]) for r in rows) * tick
    ticks = [r[:, EVENTS::2] for r in rows]
    turns = [r[:, EVENTS + 1 :: 2] for r in rows]
    launches = {
        op: Timing(
            statistics.fmean(int(t[:, i].max()) for t in ticks) * tick,
            statistics.fmean(float(t[:, i].mean()) for t in ticks) * tick,
            statistics.fmean(int(t[:, i].max()) for t in turns),
        )
        for i, op in enumerate(stamps.events)
        if isinstance(op, program.LaunchOp)
    }
    parts = [segments_of(stamps.events, t) for t in ticks]
    working, busy, barriers = (statistics.fmean(p[i] for p in parts) * tick for i in range(3))
    plain = sorted(s.plain for s in samples)
    timed_call = statistics.fmean(s.timed for s in quiet)
    return CallTimes(
        launches,
        statistics.fmean(plain[: len(quiet)]),
        timed_call,
        max(0.0, timed_call - native),
        working,
        working - busy,
        barriers,
        sum(isinstance(op, program.BarrierOp) for op in stamps.events),
        max(0.0, native - working - barriers),
        max(len(r) for r in rows),
        len(quiet),
    )


def seconds_per_tick(samples: Sequence[_Sample]) -> float:
    """The length of a tick of the processor's clock, from the first and the last call."""
    first, last = samples[0], samples[-1]
    ticks = int(last.rows[0, BEGIN] - first.rows[0, BEGIN])
    return (last.begin - first.begin) / ticks if ticks > 0 else 0.0


def segments_of(events: Sequence[Operation], ticks: np.ndarray) -> tuple[float, float, float]:
    """Ticks of a call in launches (the busiest worker between two barriers), those of a
    worker on average, and those at barriers (the worker that waits least)."""
    working = busy = barriers = 0.0
    current = np.zeros(len(ticks))
    for event, spent in zip(events, ticks.T, strict=True):
        if isinstance(event, program.LaunchOp):
            current = current + spent
            continue
        barriers += float(spent.min())
        working, busy = working + float(current.max()), busy + float(current.mean())
        current = np.zeros(len(ticks))
    return working + float(current.max()), busy + float(current.mean()), barriers
