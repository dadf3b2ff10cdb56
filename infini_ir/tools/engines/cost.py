"""What a piece of work costs: wall and CPU seconds, the compilers that it starts included."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def spent() -> Iterator[dict[str, float]]:
    """A dict that has `wall_seconds` and `cpu_seconds` after the block."""
    cost: dict[str, float] = {}
    cpu, begin = cpu_seconds(), time.perf_counter()
    yield cost
    cost["wall_seconds"] = time.perf_counter() - begin
    cost["cpu_seconds"] = cpu_seconds() - cpu


def cpu_seconds() -> float:
    """CPU time of this process and of all that it started, whether it has ended or not. Those
    still running are found on Linux only."""
    mine = os.times()
    ticks = os.sysconf("SC_CLK_TCK")
    others = sum(sum(map(int, fields[11:15])) / ticks for fields in _descendants())
    return mine.user + mine.system + mine.children_user + mine.children_system + others


def _descendants() -> Iterator[list[str]]:
    """The fields of /proc/PID/stat from the third on, of each process below this one."""
    found: dict[int, list[str]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            found[int(path.parent.name)] = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
    reached = {os.getpid()}
    for pid in sorted(found):
        if int(found[pid][1]) in reached and pid not in reached:
            reached.add(pid)
            yield found[pid]


def peak_memory() -> int:
    """The most bytes that this process has had in memory; 0 where nobody says. (What
    `getrusage` says of it begins with what the process had that started it.)"""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(n.split()[1]) * 1024 for n in lines if n.startswith("VmHWM:")), 0)
