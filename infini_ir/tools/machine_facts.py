"""What a measurement was made on: processor, versions, date."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_TELLING = (
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512bf16",
    "avx512fp16",
    "avx512vnni",
    "avxvnni",
    "amx-bf16",
    "amx-int8",
    "neon",
    "sve",
    "bf16",
    "i8mm",
)
"""The features that decide how fast a model can run."""


def machine_facts(threads: int | None, engines: Iterable[str] = ()) -> dict[str, Any]:
    """Processor, cores, features, threads of a call, versions of what is compared, date."""
    from infini_ir.runtime.host import cpu_count_available
    from infini_ir.targets.cpu.features import host
    from infini_ir.tools.engines.engine import find_engine, version

    features = host().features
    others = {name: version(find_engine(name)) for name in engines}
    return {
        "processor": processor_name(),
        "cores": cpu_count_available(),
        "features": [name for name in _TELLING if name in features],
        "threads": threads,
        "system": f"{platform.system()} {platform.release()}",
        "versions": {
            "infini": _our_version(),
            "python": platform.python_version(),
            **{name: text for name, text in others.items() if text},
        },
        "date": datetime.date.today().isoformat(),
    }


def processor_name() -> str:
    """What the processor calls itself."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def machine_text(facts: dict[str, Any]) -> str:
    """The facts in a line."""
    versions = ", ".join(f"{name} {text}" for name, text in facts["versions"].items())
    features = ", ".join(facts["features"])
    threads = f"{facts['threads']} threads of " if facts.get("threads") else ""
    return (
        f"{threads}{facts['cores']} cores, {facts['processor']} ({features}); {versions}; "
        f"{facts['date']}"
    )


def _our_version() -> str:
    from infini_ir import __version__

    return __version__
