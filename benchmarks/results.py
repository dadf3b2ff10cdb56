"""Result files: what was measured, on what, of which revision; small JSON, kept with the code.

Each kind of processor has a folder of its own, so that no table mixes rows of two machines.

results = Results.read("models-f32", this_machine())
results.rows["bert"] = {...}
results.write()
"""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infini_ir.tools.machine_facts import machine_facts, processor_name

FOLDER = Path(__file__).parent / "results"
"""Its folders are kinds of processors."""
SCHEMA = 1
_DIGITS = 4


@dataclass
class Results:
    """One file: rows by name."""

    path: Path
    machine: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, name: str, folder: Path) -> Results:
        """The file of a folder as it is kept, or an empty one."""
        path = folder / f"{name}.json"
        try:
            kept = json.loads(path.read_text())
        except FileNotFoundError:
            return cls(path)
        if kept.get("schema") != SCHEMA:
            return cls(path)
        return cls(path, kept["machine"], kept["rows"])

    def write(self) -> None:
        """Keep it, numbers to four digits."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        facts = {"schema": SCHEMA, "machine": self.machine, "rows": _short(self.rows)}
        self.path.write_text(json.dumps(facts, indent=1) + "\n")

    def describe(self, threads: int, engines: Iterable[str] = ()) -> None:
        """Say what is measured on."""
        self.machine = machine_facts(threads, engines)

    def done(self, name: str, threads: int) -> bool:
        """Whether this revision was measured with so many threads."""
        row = self.rows.get(name, {})
        return (
            row.get("revision") == revision()
            and row.get("threads") == threads
            and "problem" not in row
        )


def this_machine() -> Path:
    """Where results of this machine's kind of processor are kept."""
    return FOLDER / kind_of_processor(processor_name(), machine_facts(None)["features"])


def kind_of_processor(name: str, features: Iterable[str]) -> str:
    """A folder's name: what a processor calls itself, without marks and speed, and its widest unit.

    >>> kind_of_processor("Intel(R) Xeon(R) Processor @ 2.70GHz", ["avx512f", "amx-bf16"])
    'intel-xeon-amx'
    """
    kept = re.sub(r"\(.*?\)|@.*|\b(processor|cpu|with)\b", " ", name.lower())
    had = " ".join(features)
    units = [unit for unit in ("amx", "avx512", "avx2", "sve", "neon") if unit in had][:1]
    return "-".join([*re.findall(r"[a-z0-9]+", kept), *units]) or "unknown"


def revision() -> str:
    """The commit that is checked out; the date where there is no git."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return machine_facts(None)["date"]
    return done.stdout.strip()


def geometric_mean(values: Iterable[float]) -> float:
    """Of positive numbers; 1 of none."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else 1.0


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_short(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else str(value)
    return value
