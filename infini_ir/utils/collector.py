"""Fewer looks for garbage while a model is compiled."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG = 20_000
"""New objects between two looks; Python's own 700 take a sixth of a compilation, in which
nearly all that is made lives on, and this many cost some 20 MB."""

_lock = threading.Lock()
_users = 0
_before = (0, 0, 0)


@contextmanager
def rarely_collecting() -> Iterator[None]:
    """Within, the collector runs more rarely, in all threads; afterwards as before.

    A collector that is off, or more patient already, is left as it is.
    """
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _users, _before
    with _lock:
        if not _users:
            _before = gc.get_threshold()
            if 0 < _before[0] < YOUNG:
                gc.set_threshold(YOUNG, *_before[1:])
        _users += 1


def _leave() -> None:
    global _users
    with _lock:
        _users -= 1
        if not _users:
            gc.set_threshold(*_before)
