"""What this machine's processor can do, as the operating system reports it.

`/proc/cpuinfo` is used rather than the `cpuid` instruction because the kernel leaves out of
it the features whose register state it does not save, so a flag here means usable.
"""

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

    Empty where the system has no `/proc/cpuinfo`.
    """
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    return parse_flags(text)


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
