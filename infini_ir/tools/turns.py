"""Timing calls in turns, so that whatever else the machine does hits all of them.

In every round each call has a turn: pauses until the threads of the pool before it have stopped
spinning, one call that is not counted, then as many as last a while. Rounds go through the
calls forwards and backwards by turns, so that none always follows the same other.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Calls = Mapping[str, Callable[[], Any]]
Samples = dict[str, list[float]]
"""Seconds a call, one number a round."""

RESTING = 0.1
"""A process rests that uses a processor for at most this share of a pause."""

MOST_PAUSES = 20
"""Before a turn, where the process never rests."""


@dataclass(frozen=True)
class Turns:
    """How to time."""

    rounds: int = 20
    pause: float = 0.03
    """Seconds of a pause. There are as many before a turn as it takes the threads of the process to
    rest: onnxruntime's spin for 45 ms on some processors, which would be on account of who is next."""
    turn_seconds: float = 0.02
    """A turn repeats a call to last about this long."""
    most_repeats: int = 1000
    most_seconds: float = float("inf")
    """After these, and at least three rounds, no other is begun."""
    clock: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], None] = time.sleep
    processor_time: Callable[[], float] = time.process_time
    """Seconds that all threads of the process have used."""

    def measure(self, calls: Calls, tell: Callable[[int], None] | None = None) -> Samples:
        """Time the calls. `tell` is called with the number of rounds done."""
        repeats = {name: self._repeats(call) for name, call in calls.items()}
        samples: Samples = {name: [] for name in calls}
        end = time.perf_counter() + self.most_seconds
        for number in range(self.rounds):
            if tell is not None:
                tell(number)
            if number >= 3 and time.perf_counter() >= end:
                break
            for name in _order(list(calls), number):
                samples[name].append(self._turn(calls[name], repeats[name]))
        return samples

    def _turn(self, call: Callable[[], Any], repeats: int) -> float:
        self._rest()
        call()
        begin = self.clock()
        for _ in range(repeats):
            call()
        return (self.clock() - begin) / repeats

    def _rest(self) -> None:
        for _ in range(MOST_PAUSES):
            before = self.processor_time()
            self.sleep(self.pause)
            if self.processor_time() - before <= RESTING * self.pause:
                return

    def _repeats(self, call: Callable[[], Any]) -> int:
        self._rest()
        call()
        taken = max(min(self._seconds(call) for _ in range(2)), 1e-7)
        return max(1, min(self.most_repeats, int(self.turn_seconds / taken)))

    def _seconds(self, call: Callable[[], Any]) -> float:
        begin = time.perf_counter()
        call()
        return time.perf_counter() - begin


def _order(names: list[str], number: int) -> list[str]:
    return names if number % 2 == 0 else names[::-1]


def summary(samples: Samples) -> dict[str, dict[str, float]]:
    """Median, least and greatest of each call."""
    return {
        name: {"median": statistics.median(times), "min": min(times), "max": max(times)}
        for name, times in samples.items()
    }


def ratios(samples: Samples, ours: str) -> dict[str, float]:
    """For each other call the median over the rounds of its time by that of `ours`."""
    return {
        name: statistics.median(
            theirs / mine for theirs, mine in zip(times, samples[ours], strict=True)
        )
        for name, times in samples.items()
        if name != ours
    }
