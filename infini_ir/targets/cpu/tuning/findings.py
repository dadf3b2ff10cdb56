"""What tuning has found out, on disk: for each kernel the fastest plan and all that were tried.

A finding holds for one processor (its model and features), one number of threads and one
version of the code generator: these name the folder. Its own name is the hash of what the
kernel does. Whatever is wrong with the disk or with an entry reads as not known.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from infini_ir.dialects import tile
from infini_ir.targets.cpu.features import CpuFeatures
from infini_ir.targets.cpu.identity import PLANS, model_name, note_tuning
from infini_ir.targets.cpu.plans.plan import Plan
from infini_ir.targets.kernel_text import kernel_text
from infini_ir.utils.entry_folder import cache_folder
from infini_ir.utils.object_cache import ObjectCache

_FORMAT = "cpu findings 1"


@dataclass(frozen=True)
class Finding:
    """What is known of one kernel."""

    plan: Plan
    """The fastest."""
    gain: float = 0.0
    """Part of the time that it saves of the time with the planner's own plan."""
    tried: tuple[Plan, ...] = ()
    """Plans that were measured; those there are none of to try any more are `complete`."""
    complete: bool = False
    sizes: dict[str, int] = field(default_factory=dict)
    """Of the symbols, when it was measured."""


class Findings:
    """The findings for a processor, a number of threads and this code generator."""

    def __init__(self, features: CpuFeatures, threads: int, folder: Path | None = None):
        parts = (_FORMAT, code_version(), model_name(), features.triple)
        identity = ObjectCache.key(*parts, features.feature_string, str(threads))
        self._cache = folder or cache_folder()
        self.folder = self._cache / PLANS / identity[:16]
        self._store = ObjectCache(self.folder)

    def __bool__(self) -> bool:
        """Whether there may be any: a kernel's name is not worked out for nothing."""
        return self._store.folder.is_dir()

    @staticmethod
    def name_of(kernel: tile.KernelOp) -> str:
        """The name of a kernel's finding."""
        return ObjectCache.key(_FORMAT, kernel_text(kernel))

    def load(self, kernel: tile.KernelOp) -> Finding | None:
        """What is known of a kernel."""
        data = self._store.load(self.name_of(kernel))
        if data is None:
            return None
        try:
            return _finding(json.loads(data))
        except (TypeError, ValueError, KeyError, AttributeError):
            return None

    def store(self, kernel: tile.KernelOp, finding: Finding) -> None:
        """Keep what is known of a kernel. Programs kept before are not used again."""
        data = json.dumps(asdict(finding)).encode()
        with contextlib.suppress(OSError):
            note_tuning(self._cache)
            self._store.store(self.name_of(kernel), data)
            # Once more for who compiled in between, without it.
            note_tuning(self._cache)


def unreasoned(plan: Plan) -> Plan:
    """A plan as it is compared and kept: without its reason."""
    return replace(plan, parameters=dict(plan.parameters), reason="")


def _finding(data: dict[str, Any]) -> Finding:
    return Finding(
        _plan(data["plan"]),
        float(data["gain"]),
        tuple(_plan(plan) for plan in data["tried"]),
        bool(data["complete"]),
        {str(name): int(size) for name, size in data["sizes"].items()},
    )


def _plan(data: dict[str, Any]) -> Plan:
    lists = {name: tuple(value) for name, value in data.items() if isinstance(value, list)}
    parameters = {str(name): int(value) for name, value in data["parameters"].items()}
    return Plan(**{**data, **lists, "parameters": parameters})


_GENERATOR = Path(__file__).parent.parent


def code_sources() -> list[Path]:
    """Files that decide what code a plan becomes."""
    return sorted(_GENERATOR.rglob("*.py"))


@cache
def code_version() -> str:
    """A hash of the code generator's sources: other code, other findings."""
    digest = hashlib.sha256()
    for path in code_sources():
        digest.update(path.relative_to(_GENERATOR).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
