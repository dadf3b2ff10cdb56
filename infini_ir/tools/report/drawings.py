"""Drawings of the page as plain geometry, which the template writes as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from infini_ir.tools.infini.show import size_text, time_text
from infini_ir.tools.report.program import Life, Node
from infini_ir.tools.report.roofline import taken

NODE_WIDTH, NODE_HEIGHT, GAP = 210, 46, 22
ARENA_WIDTH, ARENA_HEIGHT = 1140, 320
LONG = 3
"""Layers that an edge goes over to be drawn faintly: it would hide what is nearer."""


def drawing_of(nodes: Sequence[Node], launches: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Boxes and lines of the program, and how large it all is."""
    total = sum(taken(launch) for launch in launches) or 1.0
    places = {
        node.number: (
            node.slot * (NODE_WIDTH + GAP) + GAP,
            node.layer * (NODE_HEIGHT + GAP) + GAP,
        )
        for node in nodes
    }
    layers = {node.number: node.layer for node in nodes}
    boxes = []
    for node in nodes:
        launch = launches[node.number]
        x, y = places[node.number]
        share = taken(launch) / total
        boxes.append(
            {
                "number": node.number,
                "x": x,
                "y": y,
                "kernel": launch["kernel"],
                "title": launch["origin"] or launch["node"],
                "time": f"{time_text(taken(launch))}, {share:.1%}",
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
            "far edge" if node.layer - layers[above] > LONG else "edge",
        )
        for node in nodes
        for above in node.needs
    ]
    width = max((x for x, _ in places.values()), default=0) + NODE_WIDTH + GAP
    height = max((y for _, y in places.values()), default=0) + NODE_HEIGHT + GAP
    return {"boxes": boxes, "lines": lines, "width": width, "height": height}


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
        "width": ARENA_WIDTH,
        "height": ARENA_HEIGHT,
        "bytes": size_text(top if lives else 0),
        "sum": size_text(sum(life.end - life.begin for life in lives)),
        "most": size_text(max(in_use)),
    }
