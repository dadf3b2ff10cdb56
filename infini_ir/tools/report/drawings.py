"""Drawings of the page as plain geometry, which the template writes as SVG."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infini_ir.tools.infini.show import size_text, time_text
from infini_ir.tools.report.program import Life, Node

NODE_WIDTH, NODE_HEIGHT, GAP = 210, 46, 22
PLOT_WIDTH, PLOT_HEIGHT, MARGIN = 900, 460, 58
ARENA_WIDTH, ARENA_HEIGHT = 900, 320


@dataclass(frozen=True)
class Roofs:
    """A plot of operations per byte against operations a second, both by powers of ten."""

    lines: list[dict[str, Any]]
    points: list[dict[str, Any]]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]


def drawing_of(nodes: Sequence[Node], launches: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Boxes and lines of the program, and how large it all is."""
    total = sum(_taken(launch) for launch in launches) or 1.0
    places = {
        node.number: (
            node.slot * (NODE_WIDTH + GAP) + GAP,
            node.layer * (NODE_HEIGHT + GAP) + GAP,
        )
        for node in nodes
    }
    boxes = []
    for node in nodes:
        launch = launches[node.number]
        x, y = places[node.number]
        share = _taken(launch) / total
        boxes.append(
            {
                "number": node.number,
                "x": x,
                "y": y,
                "kernel": launch["kernel"],
                "title": launch["origin"] or launch["node"],
                "time": f"{time_text(_taken(launch))}, {share:.1%}",
                "share": share,
                "heat": min(1.0, share * 12),
            }
        )
    lines = [
        (
            places[above][0] + NODE_WIDTH / 2,
            places[above][1] + NODE_HEIGHT,
            places[node.number][0] + NODE_WIDTH / 2,
            places[node.number][1],
        )
        for node in nodes
        for above in node.needs
    ]
    width = max((x for x, _ in places.values()), default=0) + NODE_WIDTH + GAP
    height = max((y for _, y in places.values()), default=0) + NODE_HEIGHT + GAP
    return {"boxes": boxes, "lines": lines, "width": width, "height": height}


def roofs_of(
    machine: Mapping[str, Any], kernels: Sequence[Mapping[str, Any]], classes: Collection[str]
) -> Roofs:
    """The machine's limits as lines (of arithmetic, those of the classes that are done), the
    kernels as points with an area for their time."""
    rates = {"f32": machine["gflops"] * 1e9}
    others = machine["gflops_by_type"].items()
    rates |= {kind: rate * 1e9 for kind, rate in others if kind in classes}
    speeds = {"memory": machine["memory_gb_per_second"] * 1e9}
    for level in ("l2", "l1"):
        if machine[f"{level}_bytes"]:
            speeds[level.upper()] = machine[f"{level}_gb_per_second"] * 1e9
    shown = [k for k in kernels if k["operations"] > 0 and k["bytes"] > 0 and _taken(k) > 0]
    depths = [k["operations"] / k["bytes"] for k in shown]
    done = [k["operations"] / _taken(k) for k in shown]
    low_x, high_x = _decades([*depths, 0.1, 1000.0])
    low_y, high_y = _decades([*done, max(rates.values()), min(rates.values()) / 100])

    def x_of(value: float) -> float:
        share = (math.log10(value) - low_x) / (high_x - low_x)
        return MARGIN + share * (PLOT_WIDTH - MARGIN - 20)

    def y_of(value: float) -> float:
        share = (math.log10(value) - low_y) / (high_y - low_y)
        return PLOT_HEIGHT - MARGIN - share * (PLOT_HEIGHT - MARGIN - 20)

    top = max(rates.values())
    lines: list[dict[str, Any]] = []
    for kind, rate in rates.items():
        begin = max(10**low_x, rate / max(speeds.values()))
        text = f"{kind}: {rate / 1e9:.4g} GFLOP/s"
        lines.append(
            _line(x_of(begin), y_of(rate), x_of(10**high_x), y_of(rate), text, "roof compute")
        )
    for name, speed in speeds.items():
        begin = max(10**low_x, 10**low_y / speed)
        end = min(10**high_x, top / speed)
        text = f"{name}: {speed / 1e9:.3g} GB/s"
        if begin < end:
            lines.append(
                _line(
                    x_of(begin),
                    y_of(begin * speed),
                    x_of(end),
                    y_of(end * speed),
                    text,
                    "roof moving",
                )
            )
    total = sum(_taken(k) for k in kernels) or 1.0
    points = [
        {
            "x": x_of(depth),
            "y": y_of(speed),
            "radius": 3 + 34 * math.sqrt(_taken(kernel) / total),
            "kernel": kernel["kernel"],
            "limit": kernel["limit"],
            "title": (
                f"{kernel['kernel']}: {speed / 1e9:.4g} GFLOP/s at {depth:.3g} operations a "
                f"byte; {time_text(_taken(kernel))}, {_taken(kernel) / total:.1%} of the time; "
                f"limit: {kernel['limit']}"
            ),
        }
        for kernel, depth, speed in zip(shown, depths, done, strict=True)
    ]
    _label(points)
    x_ticks = [(x_of(10**n), _power(n)) for n in range(low_x, high_x + 1)]
    y_ticks = [(y_of(10**n), _power(n - 9)) for n in range(low_y, high_y + 1)]
    return Roofs(lines, points, x_ticks, y_ticks)


def _label(points: list[dict[str, Any]]) -> None:
    """Names for the points that take longest, as far as they do not lie on one another."""
    labelled: list[dict[str, Any]] = []
    for point in points:
        near = any(
            abs(point["y"] - p["y"]) < 14 and abs(point["x"] - p["x"]) < 170 for p in labelled
        )
        point["labelled"] = not near and len(labelled) < 8
        if point["labelled"]:
            labelled.append(point)


def arena_of(lives: Sequence[Life], launches: int) -> dict[str, Any]:
    """Rectangles: launches to the right, bytes of the arena upwards."""
    top = max((life.end for life in lives), default=1)
    across = ARENA_WIDTH / max(1, launches)
    boxes = [
        {
            "x": life.first * across,
            "y": ARENA_HEIGHT * (1 - life.end / top),
            "width": (life.last - life.first + 1) * across,
            "height": ARENA_HEIGHT * (life.end - life.begin) / top,
            "hue": number * 47 % 360,
            "title": (
                f"{life.text}, {size_text(life.end - life.begin)} at {life.begin}, "
                f"launches {life.first} to {life.last}"
            ),
        }
        for number, life in enumerate(lives)
    ]
    in_use = [0] * max(1, launches)
    for life in lives:
        for number in range(life.first, life.last + 1):
            in_use[number] += life.end - life.begin
    return {
        "boxes": boxes,
        "bytes": size_text(top if lives else 0),
        "sum": size_text(sum(life.end - life.begin for life in lives)),
        "most": size_text(max(in_use)),
    }


def _taken(entry: Mapping[str, Any]) -> float:
    """The time of a launch or a kernel: measured, else its limit."""
    measured = entry["measured_seconds"]
    return entry["limit_seconds"] if measured is None else measured


def _decades(values: Sequence[float]) -> tuple[int, int]:
    positive = [value for value in values if value > 0]
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    return low, max(high, low + 1)


def _power(exponent: int) -> str:
    return f"{10.0**exponent:g}"


def _line(x1: float, y1: float, x2: float, y2: float, text: str, kind: str) -> dict[str, Any]:
    angle = math.degrees(math.atan2(y2 - y1, x2 - x1))
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return {**ends, "text": text, "kind": kind, "angle": round(angle, 1)}
