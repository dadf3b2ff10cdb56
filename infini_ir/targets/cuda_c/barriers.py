"""Where the threads of a program must meet: derived from what the steps read and write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from infini_ir.targets.cuda_c.statements import (
    Access,
    Barrier,
    Branch,
    Loop,
    Node,
    Step,
    renamed,
)
from infini_ir.utils.errors import CompileError


def insert_barriers(nodes: list[Node]) -> None:
    """
    Put a barrier before each step that touches what another thread may have written, or
    writes what another thread may have read, since the last barrier. A loop's steps are
    looked at twice, since its next turn follows its last one.
    """
    _fence(nodes, [])


def _fence(nodes: list[Node], pending: list[Access]) -> list[Access]:
    """Fence a sequence; what is pending before it, and, returned, after it."""
    index = 0
    while index < len(nodes):
        node = nodes[index]
        if isinstance(node, Barrier):
            pending = []
        elif isinstance(node, Step):
            reason = next((new for new in node.accesses if _meets(new, pending)), None)
            if reason is not None:
                nodes.insert(index, Barrier(_why(reason)))
                index += 1
                pending = []
            pending = _joined(pending, node.accesses)
        elif isinstance(node, Branch):
            pending = _joined(pending, _fence(node.body, pending))
        else:
            after = _fence(node.body, pending)
            after = _fence(node.body, renamed(after, node.swaps))
            # The loop may run no turn at all; after an odd number of turns halves are swapped.
            pending = _joined(_joined(pending, after), renamed(after, node.swaps))
        index += 1
    return pending


def _meets(new: Access, pending: Sequence[Access]) -> bool:
    return any(new.conflicts(old) for old in pending)


def _joined(first: Sequence[Access], second: Sequence[Access]) -> list[Access]:
    return list(dict.fromkeys([*first, *second]))


def _why(access: Access) -> str:
    name = access.memory.removeprefix("global ").split(".")[0]
    return f"before {name} is {'written' if access.writes else 'read'}"


def count_barriers(nodes: Sequence[Node]) -> int:
    """How many barriers a tree has."""
    return sum(
        isinstance(node, Barrier)
        or (count_barriers(node.body) if isinstance(node, Loop | Branch) else 0)
        for node in nodes
    )


MAXIMUM_TRACES = 256
"""Traces that are checked; kernels with more loops than that allows are checked on the first."""


def check_barriers(nodes: Sequence[Node]) -> None:
    """
    Follow the steps in the order in which they run, each loop taking no turn, one, two or
    three, and demand a barrier between any two accesses that conflict.

    Raises `CompileError`, which is our own mistake, where there is none.
    """
    turns = product((2, 3, 1, 0), repeat=_loops(nodes))
    for number, chosen in enumerate(turns):
        if number == MAXIMUM_TRACES:
            return
        since: list[Access] = []
        for node in _trace(nodes, iter(chosen), {}):
            if isinstance(node, Barrier):
                since = []
                continue
            for new in node:
                for old in since:
                    if new.conflicts(old):
                        raise CompileError(
                            f"no barrier between two accesses of '{new.memory}': the planned "
                            "barriers are wrong"
                        )
            since += node


def _loops(nodes: Sequence[Node]) -> int:
    return sum(
        isinstance(node, Loop) + _loops(node.body)
        for node in nodes
        if isinstance(node, Loop | Branch)
    )


def _trace(
    nodes: Sequence[Node], turns: Iterator[int], names: dict[str, str]
) -> Iterator[Barrier | list[Access]]:
    """What happens, in order. `names`: what the halves of doubled buffers are now."""
    for node in nodes:
        if isinstance(node, Barrier):
            yield node
        elif isinstance(node, Step):
            yield [
                Access(names.get(a.memory, a.memory), a.writes, a.owner) for a in node.accesses
            ]
        elif isinstance(node, Branch):
            yield from _trace(node.body, turns, names)
        else:
            inner = [next(turns) for _ in range(1 + _loops(node.body))]
            now = dict(names)
            for _ in range(inner[0]):
                yield from _trace(node.body, iter(inner[1:]), now)
                for a, b in node.swaps:
                    now[a], now[b] = now.get(b, b), now.get(a, a)
