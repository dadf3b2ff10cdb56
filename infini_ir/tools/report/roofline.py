"""The roofline plot as plain geometry: kernels under the machine's limits."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infini_ir.tools.infini.show import time_text

WIDTH, HEIGHT = 1140, 500
LEFT, RIGHT, TOP, BOTTOM = 62, 20, 22, 58
"""Margins."""
LEAST_SHARE = 0.0005
"""Of the time: kernels with less are not drawn."""
RADIUS = 15.0
"""Of a point that is all of the time; the area goes with the time."""
MOST_LABELS = 14


@dataclass(frozen=True)
class Roofs:
    """Operations a byte to the right, operations a second upwards, both by powers of ten."""

    lines: list[dict[str, Any]]
    points: list[dict[str, Any]]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    left_out: int
    """Kernels of next to no time."""
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True)
class _Scale:
    """Powers of ten along an axis of the picture."""

    low: int
    high: int
    begin: float
    end: float

    @classmethod
    def over(cls, values: Iterable[float], begin: float, end: float) -> _Scale:
        """From the power of ten below all values to the one above."""
        positive = [value for value in values if value > 0]
        low = math.floor(math.log10(min(positive)))
        high = max(low + 1, math.ceil(math.log10(max(positive))))
        return cls(low, high, begin, end)

    def at(self, value: float) -> float:
        """Where a value lies; what is outside lies at the border."""
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.begin + min(1.0, max(0.0, share)) * (self.end - self.begin)

    def ticks(self, unit: int = 0) -> list[tuple[float, str]]:
        """The powers of ten, written in units of one of them."""
        powers = range(self.low, self.high + 1)
        return [(self.at(10.0**n), f"{10.0 ** (n - unit):,g}") for n in powers]


def taken(entry: Mapping[str, Any]) -> float:
    """The time of a launch or a kernel: measured, else its limit."""
    measured = entry["measured_seconds"]
    return entry["limit_seconds"] if measured is None else measured


def roofs_of(
    machine: Mapping[str, Any], kernels: Sequence[Mapping[str, Any]], classes: Collection[str]
) -> Roofs:
    """The machine's limits as lines (of arithmetic, those of the classes that are done), the
    kernels as points with an area for their time and a stick up to their own limit."""
    total = sum(taken(kernel) for kernel in kernels) or 1.0
    able = [k for k in kernels if k["operations"] > 0 and k["bytes"] > 0 and taken(k) > 0]
    shown = [k for k in able if taken(k) >= LEAST_SHARE * total]
    rates = {"f32": machine["gflops"] * 1e9}
    others = machine["gflops_by_type"].items()
    rates |= {kind: rate * 1e9 for kind, rate in others if kind in classes}
    depths = [k["operations"] / k["bytes"] for k in shown]
    done = [k["operations"] / taken(k) for k in shown]
    x = _Scale.over([*depths, 0.1, 100.0], LEFT, WIDTH - RIGHT)
    least = min(rates.values()) / 100
    y = _Scale.over([*done, max(rates.values()), least], HEIGHT - BOTTOM, TOP)
    points = [
        _point(kernel, x.at(depth), y, total)
        for kernel, depth in zip(shown, depths, strict=True)
    ]
    points.sort(key=lambda point: -point["radius"])
    _label(points)
    lines = [*_computing(rates, machine, x, y), *_moving(machine, max(rates.values()), x, y)]
    return Roofs(lines, points, x.ticks(), y.ticks(unit=9), len(able) - len(shown))


def _point(kernel: Mapping[str, Any], x: float, y: _Scale, total: float) -> dict[str, Any]:
    seconds, limit = taken(kernel), kernel["limit_seconds"]
    speed = kernel["operations"] / seconds
    depth = kernel["operations"] / kernel["bytes"]
    return {
        "x": x,
        "y": y.at(speed),
        "roof": y.at(kernel["operations"] / limit) if limit else y.at(speed),
        "radius": 3 + RADIUS * math.sqrt(seconds / total),
        "kernel": kernel["kernel"],
        "kind": "computing" if "compute" in kernel["limit"] else "moving",
        "title": (
            f"{kernel['kernel']}: {speed / 1e9:.4g} GFLOP/s at {depth:.3g} operations a byte; "
            f"{time_text(seconds)}, {seconds / total:.1%} of the time; "
            f"limit: {time_text(limit)} by {kernel['limit']}, {limit / seconds:.0%} reached"
        ),
    }


def _computing(
    rates: Mapping[str, float], machine: Mapping[str, Any], x: _Scale, y: _Scale
) -> Iterable[dict[str, Any]]:
    fastest = max(_speeds(machine).values())
    for kind, rate in rates.items():
        begin = max(10.0**x.low, rate / fastest)
        ends = (x.at(begin), y.at(rate), x.end, y.at(rate))
        yield _line(ends, f"{kind}: {rate / 1e9:,.0f} GFLOP/s", "roof computing")


def _moving(
    machine: Mapping[str, Any], top: float, x: _Scale, y: _Scale
) -> Iterable[dict[str, Any]]:
    for name, speed in _speeds(machine).items():
        begin, end = max(10.0**x.low, 10.0**y.low / speed), min(10.0**x.high, top / speed)
        if begin < end:
            ends = (x.at(begin), y.at(begin * speed), x.at(end), y.at(end * speed))
            yield _line(ends, f"{name}: {speed / 1e9:.3g} GB/s", "roof moving")


def _speeds(machine: Mapping[str, Any]) -> dict[str, float]:
    """Bytes a second by where they lie."""
    speeds = {"memory": machine["memory_gb_per_second"] * 1e9}
    for level in ("l2", "l1"):
        if machine[f"{level}_bytes"]:
            speeds[level.upper()] = machine[f"{level}_gb_per_second"] * 1e9
    return speeds


def _line(ends: tuple[float, ...], text: str, kind: str) -> dict[str, Any]:
    x1, y1, x2, y2 = ends
    angle = math.degrees(math.atan2(y2 - y1, x2 - x1))
    found = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return {**found, "text": text, "kind": kind, "angle": round(angle, 1)}


def _label(points: Sequence[dict[str, Any]]) -> None:
    """Names to the right or the left of the points that take longest, where there is room."""
    taken: list[tuple[float, float, float]] = []
    for number, point in enumerate(points):
        point["label"] = None
        if number >= MOST_LABELS:
            continue
        width, gap = 6.2 * len(point["kernel"]), point["radius"] + 4
        for begin, anchor in ((point["x"] + gap, "start"), (point["x"] - gap - width, "end")):
            end = begin + width
            free = all(
                abs(point["y"] - y) >= 13 or end < left or begin > right
                for left, right, y in taken
            ) and not any(
                abs(point["y"] - p["y"]) < p["radius"] + 4
                and begin - p["radius"] < p["x"] < end + p["radius"]
                for p in points
                if p is not point
            )
            if free and begin > LEFT and end < WIDTH - RIGHT:
                point["label"] = (begin if anchor == "start" else end, anchor)
                taken.append((begin, end, point["y"]))
                break
