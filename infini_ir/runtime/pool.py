"""The process's worker threads: one pool, shared by all models.

A worker is a daemon thread inside native `infini_worker`, without the interpreter lock: it
spins for about a millisecond after a job, then sleeps in the kernel. One call at a time has
the pool, which native `infini_share` sees to; a call that finds it taken runs alone on its
caller's thread, which gives the same results.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from infini_ir.runtime.image import Image
from infini_ir.runtime.memory import address_of, anonymous

POOL_BYTES = 4096
"""Size of the native pool structure, zeroed, with room to spare."""

BUSY, READY, PINNED, PROCESSORS = 192, 200, 256, 1024
"""In that structure: where the word is that is 1 while a call has the pool; where there is how many
workers a call may have, the caller counted; and where there is a bit for each processor that a
worker is bound to, and for how many."""

SHARES = 32
"""Workers that may take programs of each other's shares; where there are more, each does its own."""

GENERATION, LEFT, LINE = 64, 128, 64
"""In a barrier's memory: where its generation is, where what is left of the first worker's share is, and
how far from there the next worker's."""

BARRIER_BYTES = LEFT + LINE * SHARES
"""Memory of a context's barrier, and for each worker a cache line that says what is left of its
share."""

pool_word = np.zeros(1, np.int64)
"""The address of the process's pool, for native code; 0 where there is none."""


class Pool:
    """Worker threads 1, 2, ... and the native structure they listen to."""

    def __init__(self) -> None:
        self._memory = anonymous(POOL_BYTES)
        self.address = address_of(self._memory)
        self._growing = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._cpus = _cpus()
        self._stop: Callable[[int], None] | None = None
        self._swap: Callable[[int, int], int] = lambda address, value: 0
        self._pinned: frozenset[int] = frozenset()

    def prepare(self, workers: int, image: Image, entries: dict[str, int]) -> bool:
        """Make ready for a call of `workers`, of which the caller is one.

        Starts missing threads in `image`, which then stays mapped. False where the system gives
        no more threads.
        """
        if len(self._threads) + 1 < workers:
            with self._growing:
                if not self._grow(workers, image, entries):
                    return False
        return True

    @contextmanager
    def caller_apart(self) -> Iterator[None]:
        """Keep the calling thread off the workers' processors.

        Two spinning threads on one processor cost hundreds of microseconds a call, until the
        system's balancer sees it; and a system that wakes a thread next to the one that wakes it
        brings the caller there after each barrier at which it slept.
        """
        mask = self._leave_workers()
        try:
            yield
        finally:
            if mask:
                _set_mask(mask)

    def _leave_workers(self) -> set[int] | None:
        """Take the workers' processors from the caller's mask; what that was, where it changed."""
        if not self._pinned:
            return None
        mask = set(_cpus())
        elsewhere = mask - self._pinned
        if not elsewhere or elsewhere == mask or not _set_mask(elsewhere):
            return None
        return mask

    def stop(self, timeout: float = 1.0) -> None:
        """Tell the threads to return and wait for them; for the end of the process."""
        if self._stop is None or not self._taken(timeout):
            return
        self._stop(self.address)
        for thread in self._threads:
            thread.join(timeout)

    def _taken(self, timeout: float) -> bool:
        """Take the pool for good, when the call that may have it has ended."""
        end = time.monotonic() + timeout
        while self._swap(self.address + BUSY, 1):
            if time.monotonic() > end:
                return False
            time.sleep(1e-3)
        return True

    def _grow(self, workers: int, image: Image, entries: dict[str, int]) -> bool:
        image.keep()
        loop = image.function(entries["infini_worker"], None, ctypes.c_void_p, ctypes.c_int64)
        self._stop = image.function(entries["infini_stop"], None, ctypes.c_void_p)
        self._swap = image.function(
            entries["infini_swap"], ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64
        )
        while len(self._threads) + 1 < workers:
            index = len(self._threads) + 1
            thread = threading.Thread(
                target=self._work, args=(loop, index), name=f"infini-{index}", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # the system's limit on threads
                return False
            self._threads.append(thread)
        if os.environ.get("INFINI_PIN", "1") != "0" and hasattr(os, "sched_setaffinity"):
            self._pinned = frozenset(self._cpus[1 : len(self._threads) + 1])
            for cpu in self._pinned:
                if cpu < PROCESSORS:
                    self._memory[PINNED + cpu // 8] |= 1 << cpu % 8
        self._memory[READY : READY + 8].view(np.int64)[0] = len(self._threads) + 1
        return True

    def _work(self, loop: Callable[[int, int], None], index: int) -> None:
        if os.environ.get("INFINI_PIN", "1") != "0" and index < len(self._cpus):
            _set_mask({self._cpus[index]})
        loop(self.address, index)


def _cpus() -> list[int]:
    try:
        return sorted(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return []


def _set_mask(cpus: Iterable[int]) -> bool:
    """Let the calling thread run on these processors alone, if the system lets us."""
    try:
        os.sched_setaffinity(0, cpus)
    except (AttributeError, OSError):
        return False
    return True


_pool: Pool | None = None
_creation = threading.Lock()


def shared_pool() -> Pool:
    """The process's pool; made at first use, and anew in a forked child."""
    global _pool
    if _pool is None:
        with _creation:
            if _pool is None:
                _pool = Pool()
                pool_word[0] = _pool.address
    return _pool


def _forget_pool() -> None:
    """In a forked child: the parent's threads are not here, and its locks may be held."""
    global _pool, _creation
    _pool, pool_word[0] = None, 0
    _creation = threading.Lock()


def _stop_pool() -> None:
    pool_word[0] = 0
    if _pool is not None:
        _pool.stop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
atexit.register(_stop_pool)
