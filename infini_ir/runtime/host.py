"""What this machine's processor can do, as the operating system reports it.

`/proc/cpuinfo` is used rather than the `cpuid` instruction because the kernel leaves out of
it the features whose register state it does not save, so a flag here means usable.
"""

import ctypes
import os
import platform
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_CGROUPS = Path("/proc/self/cgroup")
_CGROUP_ROOT = Path("/sys/fs/cgroup")
_ARCHITECTURES = {
    "x86_64": "x86-64",
    "amd64": "x86-64",
    "aarch64": "aarch64",
    "arm64": "aarch64",
}


@cache
def host_arch() -> str:
    """This machine's architecture: `x86-64`, `aarch64`, or the system's own name for another."""
    machine = platform.machine().lower()
    return _ARCHITECTURES.get(machine, machine)


@cache
def host_flags() -> frozenset[str]:
    """The feature flags of the first processor, in the kernel's spelling (`avx512f`, `asimd`).

    Empty where the system has no `/proc/cpuinfo`. The matrix unit's (`amx_*`) are among them
    only if the system lets this process use it.
    """
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    flags = parse_flags(text)
    if "amx_tile" in flags and not _may_use_tiles():
        return frozenset(f for f in flags if not f.startswith("amx"))
    return flags


def _may_use_tiles() -> bool:
    """Ask the system, once for the whole process, to keep the matrix unit's large registers:
    arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA). Without it their first use is a fault."""
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    number, request, tile_data = (ctypes.c_long(n) for n in (158, 0x1023, 18))
    return syscall(number, request, tile_data) == 0


def parse_flags(cpuinfo: str) -> frozenset[str]:
    """The flags of the first processor in the text of `/proc/cpuinfo`."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def cpu_count_available() -> int:
    """How many processors the calling thread may keep busy, at most the machine's: those of
    its affinity mask, and no more than the whole ones of the time its control group has."""
    try:
        count = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        count = os.cpu_count() or 1
    quota = cpu_quota()
    return max(1, count if quota is None else min(count, int(quota)))


@cache
def cpu_quota() -> float | None:
    """Processors' worth of time that this process's control groups (version 2 or 1) allow it,
    as containers have them; None where nothing limits it. Read once.

    Threads beyond it would wait at barriers for others whose time has run out, 100 ms a turn.
    """
    try:
        lines = _CGROUPS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    limits: list[float] = []
    for line in lines:
        _, controllers, path = ([*line.split(":", 2), "", ""])[:3]
        if not controllers:
            limits += _limits(_CGROUP_ROOT, path, "cpu.max", None)
        elif "cpu" in controllers.split(","):
            root = _CGROUP_ROOT / "cpu"
            limits += _limits(root, path, "cpu.cfs_quota_us", "cpu.cfs_period_us")
    return min(limits, default=None)


def _limits(root: Path, group: str, quota: str, period: str | None) -> list[float]:
    """The limits of a group and of those around it. In a container the path may be that of
    the host, of which only the root is seen here."""
    parts = [p for p in group.split("/") if p not in ("", "..")]
    found: list[float] = []
    for depth in range(len(parts), -1, -1):
        folder = root.joinpath(*parts[:depth])
        try:
            words = (folder / quota).read_text(encoding="utf-8").split()
            if period is not None:
                words += (folder / period).read_text(encoding="utf-8").split()
            if int(words[0]) > 0 and int(words[1]) > 0:
                found.append(int(words[0]) / int(words[1]))
        except (OSError, ValueError, IndexError):
            continue
    return found
