"""How many threads the calls of one size should use, from how long they took.

Threads of a call wait for each other at barriers. On a quiet machine two are faster than
one; where other programs hold a processor, a call may wait for a whole time slice at every
barrier, and one thread is far faster. Results are the same with any number.
"""

from __future__ import annotations

from dataclasses import dataclass

SLOW = 2.5
"""A call that takes so many times the best one is taken for a sign of a busy machine."""

RETRY = 24
"""Calls on one choice until the other is tried again, once the machine was found busy."""

WEIGHT = 0.3
"""Weight of the newest call in the running mean."""


@dataclass
class Pace:
    """Times of the calls with all threads and with one. Seconds; 0 where not known."""

    best: float = 0.0
    many: float = 0.0
    one: float = 0.0
    since: int = 0
    """Calls since the other choice was tried."""

    def choose(self, workers: int, now: float = 0.0) -> int:
        """How many threads a call that begins now should use, at most `workers`."""
        if workers == 1 or self.many <= SLOW * self.best:
            return workers
        self.since += 1
        if not self.one:
            return 1
        faster_alone = self.one < self.many
        if self.since >= RETRY:
            self.since = 0
            faster_alone = not faster_alone
        return 1 if faster_alone else workers

    def note(self, workers: int, begin: float, end: float) -> None:
        """Take in a call with that many threads."""
        seconds = end - begin
        if workers == 1:
            self.one = _mean(self.one, seconds)
            return
        if not self.best or seconds < self.best:
            self.best = seconds
        # One quick call is enough to believe that the machine is free again.
        self.many = seconds if seconds <= SLOW * self.best else _mean(self.many, seconds)


AWAKE = 3e-4
"""Seconds after a call in which the pool's threads surely still wait by spinning."""

SHORT_RETRY = 64
"""Short calls on one choice until the other is tried again."""


@dataclass
class ShortPace:
    """The same for calls that are shorter than it takes to wake a thread (about 50 us).

    More threads pay only while the pool's are awake, so the first call after a pause runs
    alone; of calls in quick succession the next wakes them, and from then on whichever has
    been quicker is chosen. The first call after a pause and one that woke threads say nothing
    of how quick others will be.
    """

    many: float = 0.0
    one: float = 0.0
    ended: float = 0.0
    """When the latest call ended, on the caller's clock."""
    together: float = 0.0
    """When the latest call with all threads ended."""
    since: int = 0
    unusual: bool = False
    """Whether the latest call came after a pause, or had to wake threads."""
    waking: bool = False

    def choose(self, workers: int, now: float) -> int:
        """How many threads a call that begins now should use, at most `workers`."""
        if now - self.ended > AWAKE:
            self.unusual, self.waking = True, False
            return 1
        chosen = workers if self._wants_all() else 1
        self.waking = not self.waking and chosen > 1 and now - self.together > AWAKE
        self.unusual = self.waking
        return chosen

    def _wants_all(self) -> bool:
        if not self.one:
            return False
        if self.waking or not self.many:
            return True
        self.since += 1
        all_threads = self.many <= self.one
        if self.since >= SHORT_RETRY:
            self.since = 0
            return not all_threads
        return all_threads

    def note(self, workers: int, begin: float, end: float) -> None:
        """Take in a call with that many threads."""
        self.ended, seconds = end, end - begin
        if workers > 1:
            self.together = end
        if self.unusual:
            return
        if workers == 1:
            self.one = _steady(self.one, seconds)
        else:
            self.many = _steady(self.many, seconds)


def _steady(old: float, new: float) -> float:
    """Running mean in which one interrupted call counts little."""
    return old + 0.1 * (min(new, 4 * old) - old) if old else new


def _mean(old: float, new: float) -> float:
    return new if not old else (1 - WEIGHT) * old + WEIGHT * new
