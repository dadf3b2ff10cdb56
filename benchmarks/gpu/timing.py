"""Times of calls that end with a synchronisation, in turns; and the device's own limits."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

TURNS = 7
TURN_SECONDS = 0.05
"""Of the calls of one turn, at least three."""


def interleaved(calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each call over turns in which all are timed, one after the other.
    A call counts until its work on the device is done."""
    counts = {}
    for name, call in calls.items():
        for _ in range(3):
            call()
        torch.cuda.synchronize()
        counts[name] = max(3, min(500, int(TURN_SECONDS / max(_seconds(call, 3), 1e-6))))
    turns: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(TURNS):
        for name, call in calls.items():
            turns[name].append(_seconds(call, counts[name]))
    return {name: statistics.median(times) for name, times in turns.items()}


def _seconds(call: Callable[[], object], count: int) -> float:
    begin = time.perf_counter()
    for _ in range(count):
        call()
        torch.cuda.synchronize()
    return (time.perf_counter() - begin) / count


def copy_bandwidth() -> float:
    """Bytes a second, read and written together, of a device copy of half a GiB."""
    x = torch.empty(1 << 29, dtype=torch.uint8, device="cuda")
    y = torch.empty_like(x)
    return 2 * x.nbytes / interleaved({"copy": lambda: y.copy_(x)})["copy"]


def matrix_peak(dtype: torch.dtype) -> float:
    """Operations a second of cuBLAS's best large product."""
    best = 0.0
    for n in (4096, 8192):
        x = torch.randn(n, n, device="cuda").to(dtype)
        seconds = interleaved({"product": lambda x=x: x @ x})["product"]
        best = max(best, 2.0 * n**3 / seconds)
    return best
