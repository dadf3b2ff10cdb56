"""Barriers follow from what steps read and write, and the checker finds those that lack."""

from __future__ import annotations

import pytest

from infini_ir.targets.cuda_c.barriers import check_barriers, count_barriers, insert_barriers
from infini_ir.targets.cuda_c.statements import Access, Barrier, Branch, Loop, Node, Step
from infini_ir.utils.errors import CompileError


def reads(memory: str, owner: object = None) -> Step:
    return Step(["read"], (Access(memory, False, owner),))


def writes(memory: str, owner: object = None) -> Step:
    return Step(["write"], (Access(memory, True, owner),))


CASES: dict[str, tuple[list[Node], int]] = {
    "nothing shared": ([writes("a"), reads("b")], 0),
    "written, then read": ([writes("a"), reads("a")], 1),
    "read by its owners": ([writes("a", 1), reads("a", 1)], 0),
    "read by others": ([writes("a", 1), reads("a", 2)], 1),
    "read twice": ([writes("a"), reads("a"), reads("a")], 1),
    "used again": ([writes("a"), reads("a"), writes("a"), reads("a")], 3),
    "two arrays by turns": (
        [writes("a"), reads("a"), writes("b"), reads("b"), writes("a"), reads("a")],
        3,
    ),
    "in a loop": ([Loop("for", [writes("a"), reads("a")])], 2),
    "written before, read in a loop": ([writes("a"), Loop("for", [reads("a")])], 1),
    "read after a loop": ([Loop("for", [writes("a", 1)]), reads("a")], 1),
    "doubled": (
        [
            writes("a.0"),
            Loop("for", [reads("a.0"), Branch("if", [writes("a.1")])], (("a.0", "a.1"),)),
        ],
        1,
    ),
    "nested": ([Loop("for", [Loop("for", [reads("a")]), writes("a")])], 2),
}


@pytest.mark.parametrize("name", CASES)
def test_as_many_as_needed(name: str) -> None:
    nodes, wanted = CASES[name]
    insert_barriers(nodes)
    assert count_barriers(nodes) == wanted
    check_barriers(nodes)


@pytest.mark.parametrize("name", [name for name, (_, wanted) in CASES.items() if wanted])
def test_a_missing_one_is_found(name: str) -> None:
    nodes, _ = CASES[name]
    insert_barriers(nodes)
    for place in _barriers(nodes):
        broken = place[0][place[1]]
        del place[0][place[1]]
        with pytest.raises(CompileError, match="no barrier between"):
            check_barriers(nodes)
        place[0].insert(place[1], broken)


def _barriers(nodes: list[Node]) -> list[tuple[list[Node], int]]:
    found = [(nodes, i) for i, node in enumerate(nodes) if isinstance(node, Barrier)]
    for node in nodes:
        if isinstance(node, Loop | Branch):
            found += _barriers(node.body)
    return found
