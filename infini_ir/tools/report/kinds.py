"""Where the time of a call goes: kernels of a kind together, and what is outside of kernels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_KINDS = 9
"""Kinds that are named; the others stand together."""
OUTSIDE = (
    ("barrier_seconds", "barriers"),
    ("rest_of_native_seconds", "waking threads, host program"),
    ("outside_native_seconds", "checking inputs, making outputs"),
)
_NUMBERED = re.compile(r"(_\d+)?(_packed)?$")


@dataclass
class Kind:
    """Kernels of alike names, or something else that takes time."""

    name: str
    kernels: int = 0
    launches: int = 0
    seconds: float = 0.0
    limit: float = 0.0
    """The least seconds that the machine needs; 0 for what is no kernel."""
    hue: int | None = None
    """Of its colour; None: grey."""
    share: float = 0.0
    """Of all."""

    @property
    def needed(self) -> float:
        """The least time as a part of its own."""
        return min(1.0, self.limit / self.seconds) if self.seconds else 0.0


def kinds_of(facts: Mapping[str, Any]) -> list[Kind]:
    """The kinds of kernels, the one that takes longest first, then what is no kernel; by
    limits where nothing was measured."""
    found: dict[str, Kind] = {}
    for kernel in facts["kernels"]:
        name = _NUMBERED.sub("", kernel["kernel"])
        _add(found.setdefault(name, Kind(name)), kernel)
    kinds = sorted(found.values(), key=lambda kind: -kind.seconds)
    kinds = [*kinds[:MOST_KINDS], *_together(kinds[MOST_KINDS:])]
    for number, kind in enumerate(kinds[:MOST_KINDS]):
        kind.hue = (212 + number * 137) % 360
    totals = facts["totals"]
    if "call_seconds" in totals:
        kinds += [Kind(name, seconds=max(0.0, totals[key])) for key, name in OUTSIDE]
    whole = sum(kind.seconds for kind in kinds) or 1.0
    for kind in kinds:
        kind.share = kind.seconds / whole
    return kinds


def _add(kind: Kind, kernel: Mapping[str, Any]) -> None:
    measured, limit = kernel["measured_seconds"], kernel["limit_seconds"]
    kind.kernels += 1
    kind.launches += len(kernel["launches"])
    kind.seconds += limit if measured is None else measured
    kind.limit += limit


def _together(kinds: list[Kind]) -> list[Kind]:
    if not kinds:
        return []
    return [
        Kind(
            f"{len(kinds)} other kinds",
            sum(kind.kernels for kind in kinds),
            sum(kind.launches for kind in kinds),
            sum(kind.seconds for kind in kinds),
            sum(kind.limit for kind in kinds),
        )
    ]
