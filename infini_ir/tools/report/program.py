"""A legalised program as data for drawings: which launch needs which, and the memory plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from xdsl.ir import SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile import program
from infini_ir.passes.tile.regions import root_of
from infini_ir.tools.launches import Launch
from infini_ir.tools.residency import region_of


@dataclass
class Node:
    """A launch in the drawing of the program."""

    number: int
    layer: int
    slot: int = 0
    needs: list[int] = field(default_factory=list)
    """Launches whose results it reads."""


@dataclass(frozen=True)
class Life:
    """A piece of scratch memory while it is in use."""

    begin: int
    end: int
    """Bytes in the arena."""
    first: int
    last: int
    """Launches."""
    text: str


def graph_of(launches: Sequence[Launch]) -> list[Node]:
    """The launches in layers: each below all whose results it reads."""
    writer: dict[SSAValue, int] = {}
    nodes: list[Node] = []
    taken: dict[int, int] = {}
    for launch in launches:
        written = launch.kernel.written()
        roots = [root_of(view) for view in launch.op.views]
        needs = sorted({writer[root] for root in roots if root in writer})
        layer = max((nodes[n].layer + 1 for n in needs), default=0)
        node = Node(launch.number, layer, taken.get(layer, 0), needs)
        taken[layer] = node.slot + 1
        nodes.append(node)
        for index in written:
            writer[roots[index]] = launch.number
    return nodes


def lives_of(launches: Sequence[Launch], sizes: Mapping[str, int]) -> list[Life]:
    """The allocations of the arena, each with the launches between which it is in use."""
    used: dict[SSAValue, list[int]] = {}
    for launch in launches:
        for view in launch.op.views:
            root = root_of(view)
            if isinstance(root.owner, program.AllocOp) and root.owner.offset is not None:
                used.setdefault(root, []).append(launch.number)
    lives: list[Life] = []
    for root, numbers in used.items():
        region = region_of(root, sizes)
        type = tile.view_type(root)
        shape = "x".join(str(dim.evaluate(sizes)) for dim in type.shape)
        text = f"{type.dtype}[{shape}]"
        lives.append(Life(region.begin, region.end, min(numbers), max(numbers), text))
    return sorted(lives, key=lambda life: (life.first, life.begin))
