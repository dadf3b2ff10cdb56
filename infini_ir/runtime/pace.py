"""How many threads the calls of one size should use, from how long they took.

Threads of a call wait for each other at barriers. On a quiet machine two are faster than
one; where other programs hold a processor, a call may wait for a whole time slice at every
barrier, and one thread is far faster. Results are the same with any number.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

SLOW = 2.5
"""A call that takes so many times the best one is taken for a sign of a busy machine."""

USUAL = 1.3
"""One that takes at most so many times the best one is not looked into."""

CALM = 2
"""Undisturbed calls until the best is believed to be what a free machine does."""

SOON = (1, 4)
"""Calls alone after which all threads are tried once more: what slowed them may have been short."""

WARY = 32
"""Calls that ask after a disturbed one, as the caller is kept apart from the workers then."""

TRIALS = 0.05
"""Share of the time that may be lost by trying the slower choice again."""

MOST_PATIENCE = 8
"""How many times as rarely one thread is tried at most where all were quicker each time before:
when the machine is free again, calls with all threads tell."""

WEIGHT = 0.3
"""Weight of the newest call in the running mean."""

LOOK = 1024
"""Usual calls until the times are looked at again, so that the best is not that of long ago."""

AWAKE = 3e-4
"""Seconds after a call in which the pool's threads surely still wait by spinning."""

WAKING = 2e-4
"""Seconds that it may take to wake them."""

BRIEF = 1e-3
"""Seconds of a call below which to look into each that is not usual would take too long: one that
nothing disturbed is usual from then on."""


@dataclass(frozen=True)
class Ahead:
    """What may go on without asking: calls like the last one, until one is not usual."""

    calls: int
    most: float = float("inf")
    """Seconds of the longest that is."""
    pause: float | None = None
    """Seconds since the one before, at most; None for any."""


NOTHING_AHEAD = Ahead(0)
EVERYTHING_AHEAD = Ahead(1 << 62)


@dataclass(frozen=True)
class Run:
    """Usual calls that went by without asking. Seconds."""

    calls: int
    total: float
    quickest: float
    ended: float
    """The last, on the caller's clock."""


def _find_preemptions() -> Callable[[], int]:
    if sys.platform == "win32":
        return lambda: 0
    import resource

    return lambda: resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


preemptions = _find_preemptions()
"""How often the system has taken a processor from a thread of this process that wanted it."""


@dataclass
class Pace:
    """Times of the calls with all threads and with one. Seconds; 0 where not known."""

    count_preemptions: Callable[[], int] = preemptions
    best: float = 0.0
    many: float = 0.0
    one: float = 0.0
    busy: bool = False
    """Whether others seem to use the processors."""
    warm: bool = False
    """Whether there was a call with all threads: in the first, nothing is in any cache."""
    calm: int = 0
    """Later ones that were looked at and not disturbed."""
    disturbed: int = 0
    """How many of the latest of these, one after the other, were."""
    wary: int = 0
    """How many more calls ask, unless they are brief."""
    alone: int = 0
    """Calls with one thread since others seem to use the processors."""
    spent: float = 0.0
    """Time since the slower choice was tried."""
    patience: int = 1
    """How many times as rarely as `TRIALS` allows one thread is tried."""
    longest: float = 0.0
    """The longest brief call that nothing disturbed; 0 where that is usual anyway."""
    latest: int = 0
    """Threads of the latest call."""
    together: float = 0.0
    """When the latest call with all threads ended."""
    again: bool = False
    """Whether a trial of all threads woke them, so that only the next call is one."""
    preempted: int = 0
    """How often the process was preempted when that was looked at last."""
    looked: float = 0.0
    """When that was, on the caller's clock: what happens between calls says nothing of them."""

    def choose(self, workers: int, now: float = 0.0) -> int:
        """How many threads a call that begins now should use, at most `workers`."""
        if workers == 1 or not self.busy:
            return workers
        if not self.one:
            return 1
        if self.again:
            self.again = False
            return workers
        if self.one < self.many:
            return self._alone(workers, now)
        if TRIALS * self.spent >= (self.one - self.many) * self.patience:
            self.spent, self.patience = 0.0, min(2 * self.patience, MOST_PATIENCE)
            return 1
        return workers

    def _alone(self, workers: int, now: float) -> int:
        """The same where one thread is quicker."""
        self.patience = 1
        if self.alone in SOON or TRIALS * self.spent >= self.many - self.one:
            self.spent, self.alone = 0.0, self.alone + 1
            self.preempted, self.looked = self.count_preemptions(), now
            return workers
        return 1

    def note(self, workers: int, begin: float, end: float) -> None:
        """Take in a call with that many threads."""
        seconds = end - begin
        self.spent += seconds
        self.latest = workers
        if workers == 1:
            self.alone += 1
            self.one = _mean(self.one, seconds)
            self._preemptions_since(begin, end)
            return
        if not self.warm:
            self.warm, self.together = True, end
            self._preemptions_since(begin, end)
            return
        self.best = min(self.best or seconds, seconds)
        woke, self.together = begin - self.together > AWAKE, end
        if woke and self.best < BRIEF and seconds < SLOW * self.best + WAKING:
            self.again = self.busy
            return
        disturbed = self._was_disturbed(begin, end)
        if disturbed is not None:
            self.disturbed = self.disturbed + 1 if disturbed else 0
            self.calm += not disturbed
        self.wary = WARY if disturbed else max(0, self.wary - 1)
        if not disturbed and USUAL * self.best < seconds < BRIEF:
            self.longest = max(self.longest, min(seconds, SLOW * self.best))
        if self.disturbed < 2:
            # One quick call is enough to believe that the machine is free again, one slow
            # call not to believe that it is busy.
            self.busy, self.many, self.alone = False, seconds, 0
            return
        self.busy, self.many = True, _mean(self.many, seconds)

    def ahead(self) -> Ahead:
        """For how many calls the choice is that of the latest: all threads on a quiet machine,
        one on a busy one until all have earned a trial."""
        if self.busy:
            return self._alone_ahead()
        if self.calm < CALM or (self.wary and self.best >= BRIEF):
            return NOTHING_AHEAD
        return Ahead(LOOK, max(USUAL * self.best, self.longest))

    def _alone_ahead(self) -> Ahead:
        if self.latest != 1 or not 0 < self.one < self.many:
            return NOTHING_AHEAD
        left = (self.many - self.one) / TRIALS - self.spent
        calls = min(LOOK, int(left / self.one))
        return Ahead(min([calls, *(soon - self.alone for soon in SOON if soon >= self.alone)]))

    def note_run(self, run: Run) -> None:
        """Take in calls that `ahead` let go by."""
        self.spent += run.total
        if self.busy:
            self.alone += run.calls
            self.one = _mean(self.one, run.total / run.calls)
            return
        self.together = run.ended
        self.best = run.quickest if run.calls >= LOOK else min(self.best, run.quickest)
        self.longest = 0.0 if run.calls >= LOOK else self.longest
        self.many = run.total / run.calls
        self.calm, self.disturbed = self.calm + run.calls, 0

    def _was_disturbed(self, begin: float, end: float) -> bool | None:
        """Whether others took processors from a call; None where that cannot be said."""
        seconds = end - begin
        usual = min(USUAL * self.best, self.one) if self.busy else USUAL * self.best
        if seconds <= usual and self.calm >= CALM:
            return False
        preempted = self._preemptions_since(begin, end)
        return True if seconds > SLOW * self.best else preempted

    def _preemptions_since(self, begin: float, end: float) -> bool | None:
        """Whether there were any in a call; None if it is longer ago than the call took that
        this was looked at: then most of what was counted since is not of the call."""
        before, self.preempted = self.preempted, self.count_preemptions()
        known, self.looked = begin - self.looked < end - begin, end
        return self.preempted > before if known else None


SHORT_RETRY = 252
"""Short calls on one choice until the other is tried again, at the least."""

SHORT_PRICE = 2.5e-4
"""Seconds that a trial has to earn beside what the calls lose: to begin and end one takes some calls
through Python, of 10 us each."""

SHORT_TRIAL = 16
"""Calls of a trial: the first, with cold caches, is not counted, and the others follow one another
without Python between them, as usual calls do. Of fewer the mean says little."""

SHORT_LOOK = 32
"""Calls until it is asked again whether a trial has been paid for, at the least."""

SHORT_USUAL = 2.0
"""A call that takes so many times the mean is not like the others."""

SHORT_LOSS = 1e-3
"""Seconds that a trial may lose beyond what was expected: to wake a thread may take 200 us, a time
slice of others takes milliseconds."""


@dataclass
class ShortPace:
    """The same for calls that are shorter than it takes to wake a thread (about 50 us).

    More threads pay only while the pool's are awake, so the first call after a pause runs
    alone; of calls in quick succession the next wakes them, and from then on whichever has
    been quicker is chosen. The first call after a pause and one that woke threads say nothing
    of how quick others will be. On a busy machine one call with all threads may take as long as
    hundreds alone, so the slower choice is tried again only when it has been paid for: what trials
    lose is at most `TRIALS` of the time in all, but for the latest one and `SHORT_LOSS` at first.
    """

    many: float = 0.0
    one: float = 0.0
    ended: float = 0.0
    """When the latest call ended, on the caller's clock."""
    together: float = 0.0
    """When the latest call with all threads ended."""
    since: int = SHORT_RETRY - 12
    """Calls since the last trial; the first comes soon, as the first calls are slow."""
    trial: int = 0
    """Calls of a trial that are left, with the one that is under way."""
    tried: bool = False
    """Whether the trial is of all threads."""
    credit: float = SHORT_LOSS
    """What trials may still lose: `TRIALS` of the time in calls, less by how much longer those that
    tried the slower choice took than the quicker one does."""
    unusual: bool = False
    """Whether the latest call came after a pause, had to wake threads, or began a trial."""
    waking: bool = False

    def choose(self, workers: int, now: float) -> int:
        """How many threads a call that begins now should use, at most `workers`."""
        if now - self.ended > AWAKE:
            self.unusual, self.waking, self.trial = True, False, 0
            return 1
        chosen = workers if self._wants_all() else 1
        self.waking = not self.waking and chosen > 1 and now - self.together > AWAKE
        self.unusual = self.waking or self.trial == SHORT_TRIAL
        return chosen

    def _wants_all(self) -> bool:
        if not self.one:
            return False
        if not self.many or (self.waking and self.credit > 0):
            return True
        self.since += 1
        all_threads = self.many <= self.one
        self.trial = max(0, self.trial - 1) if self.credit > 0 else 0
        if not self.trial and self.since >= SHORT_RETRY and self.credit >= self._price():
            self.since = 0
            self.credit = min(self.credit, self._price() + SHORT_LOSS) - SHORT_PRICE
            self.trial, self.tried = SHORT_TRIAL, not all_threads
        return self.tried if self.trial else all_threads

    def _price(self) -> float:
        """What a trial is expected to cost."""
        return SHORT_PRICE + SHORT_TRIAL * abs(self.many - self.one)

    def note(self, workers: int, begin: float, end: float) -> None:
        """Take in a call with that many threads."""
        self._account(workers, 1, end - begin, end)
        if not self.unusual:
            self._estimate(workers, 1, end - begin)

    def ahead(self) -> Ahead:
        """How many calls are sure to get as many threads as the latest, if that was usual or
        began a trial."""
        together = self.together == self.ended
        wanted = self.tried if self.trial else self.many <= self.one
        if self.waking or not (self.one and self.many) or together != wanted:
            return NOTHING_AHEAD
        if self.trial:
            left = self.trial - 1 if self.credit > 0 else 0
            return Ahead(left, SHORT_USUAL * max(self.many, self.one), AWAKE)
        if self.unusual:
            return NOTHING_AHEAD
        mean = self.many if together else self.one
        unpaid = int((self._price() - self.credit) / (TRIALS * mean))
        left = max(SHORT_RETRY - 1 - self.since, unpaid, SHORT_LOOK)
        return Ahead(left, SHORT_USUAL * mean, AWAKE)

    def note_run(self, run: Run) -> None:
        """Take in calls that `ahead` let go by."""
        workers = 2 if self.together == self.ended else 1
        self.since += run.calls
        self.trial = max(1, self.trial - run.calls) if self.trial else 0
        self._account(workers, run.calls, run.total, run.ended)
        # The mean has in it what else the machine did, and in a trial caches that are still cold.
        self._estimate(workers, run.calls, (run.total / run.calls + run.quickest) / 2)

    def _account(self, workers: int, calls: int, seconds: float, end: float) -> None:
        """What was earned, and what was lost by the slower choice."""
        self.ended = end
        self.credit += TRIALS * seconds
        if workers > 1:
            self.together = end
        if self.one and self.many and (workers > 1) != (self.many <= self.one):
            self.credit -= max(0.0, seconds - calls * min(self.many, self.one))

    def _estimate(self, workers: int, calls: int, seconds: float) -> None:
        """Take in that so many usual calls took `seconds` each."""
        if workers == 1:
            self.one = _steady(self.one, seconds, calls)
        else:
            self.many = _steady(self.many, seconds, calls)


def _steady(old: float, new: float, calls: int) -> float:
    """Running mean, with so many more calls that took `new`, in which interrupted ones count
    little, and quick ones much: what else the machine does makes calls slower, never quicker."""
    if not old:
        return new
    return old + (1 - (0.5 if new < old else 0.9) ** calls) * (min(new, 4 * old) - old)


def _mean(old: float, new: float) -> float:
    return new if not old else (1 - WEIGHT) * old + WEIGHT * new
