"""What decides a CPU program besides its sources and options: the processor, and what tuning
has found for it. Known without importing the compiler."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from infini_ir.runtime.executor import choose_threads
from infini_ir.targets.cpu.features import named
from infini_ir.utils.entry_folder import EntryFolder, cache_folder

PLANS = "plans"
"""Where findings are, in the cache folder."""
_CHANGED = "changed"


def identity(architecture: str, threads: int | None) -> tuple[str, ...]:
    """All facts as text; the number of threads and the processor's name only where
    plans were measured for them."""
    cpu = named(architecture)
    tuned = tuning_state()
    return (
        cpu.triple,
        cpu.cpu,
        cpu.feature_string,
        str(cpu.l1_bytes),
        str(cpu.l2_bytes),
        tuned,
        str(threads or choose_threads()) if tuned else "",
        model_name() if tuned else "",
    )


def tuning_state(folder: Path | None = None) -> str:
    """Another text after each change of what tuning has found; empty where it found nothing."""
    plans = (folder or cache_folder()) / PLANS
    try:
        return (plans / _CHANGED).read_text()
    except (OSError, ValueError):
        return PLANS if plans.is_dir() else ""


def note_tuning(folder: Path | None = None) -> None:
    """Say that what tuning has found is changing. Raises `OSError`."""
    entries = EntryFolder((folder or cache_folder()) / PLANS, 0)
    with entries.writing(_CHANGED) as file:
        if file is not None:
            file.write(os.urandom(16).hex().encode())


@cache
def model_name() -> str:
    """The name of this machine's processor."""
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return ""
    wanted = ("vendor_id", "cpu family", "model", "model name", "stepping", "CPU part")
    lines = dict.fromkeys(" ".join(line.split()) for line in text.splitlines())
    return "\n".join(line for line in lines if line.partition(" :")[0] in wanted)
