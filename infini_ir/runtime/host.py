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
    """How many processors the calling thread may run on, which is at most the machine's."""
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except (AttributeError, OSError):
        return os.cpu_count() or 1
