"""The body of a kernel function as a tree: steps that all threads of a program take together."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Access:
    """Memory that the threads of a step touch."""

    memory: str
    """A shared array, or `global x`: the memory of a view."""
    writes: bool
    owner: Hashable = None
    """Says which thread touches which element: where two accesses have the same owner, no
    thread touches what another one does. None: any thread may touch any element."""

    def conflicts(self, other: Access) -> bool:
        """Whether a barrier must lie between the two."""
        return (
            self.memory == other.memory
            and (self.writes or other.writes)
            and (self.owner is None or self.owner != other.owner)
        )


@dataclass
class Step:
    """Lines that every thread runs, with no barrier inside."""

    lines: list[str]
    accesses: tuple[Access, ...] = ()


@dataclass
class Barrier:
    """All threads of the program meet: what was written before is seen after."""

    reason: str = ""


@dataclass
class Loop:
    """A loop whose number of turns is the same for all threads of the program."""

    head: str
    body: list[Node] = field(default_factory=list)
    swaps: tuple[tuple[str, str], ...] = ()
    """Names of the halves of doubled buffers, which change places with every turn."""


@dataclass
class Branch:
    """Steps under a condition that is the same for all threads of the program."""

    head: str
    body: list[Node] = field(default_factory=list)


Node = Step | Barrier | Loop | Branch


def renamed(accesses: Iterable[Access], swaps: Sequence[tuple[str, str]]) -> list[Access]:
    """Accesses as the next turn of a loop names them."""
    names = {a: b for pair in swaps for a, b in (pair, pair[::-1])}
    return [Access(names.get(a.memory, a.memory), a.writes, a.owner) for a in accesses]


def text(nodes: Sequence[Node], barrier: str, depth: int = 1) -> list[str]:
    """The lines of a tree, indented."""
    lines: list[str] = []
    for node in nodes:
        if isinstance(node, Step):
            lines += indented(node.lines, depth)
        elif isinstance(node, Barrier):
            comment = f"  // {node.reason}" if node.reason else ""
            lines.append("  " * depth + barrier + comment)
        else:
            lines.append("  " * depth + node.head + " {")
            lines += text(node.body, barrier, depth + 1)
            lines.append("  " * depth + "}")
    return lines


def indented(lines: Iterable[str], depth: int) -> list[str]:
    """Lines indented by the braces that they open and close."""
    result: list[str] = []
    for line in lines:
        if line.startswith("}"):
            depth -= 1
        result.append("  " * depth + line)
        if line.endswith("{"):
            depth += 1
    return result


_DEFINITION = re.compile(r"^\s*const \w+ (\w+) = .*;$")
_WORD = re.compile(r"[A-Za-z_]\w*")


def without_unused(lines: list[str]) -> list[str]:
    """The lines of a function without the constants that nothing in their scope names."""
    while True:
        words = [frozenset(_WORD.findall(line)) for line in lines]
        kept = [
            line
            for number, line in enumerate(lines)
            if (found := _DEFINITION.match(line)) is None
            or _is_used(found.group(1), number, lines, words)
        ]
        if len(kept) == len(lines):
            return kept
        lines = kept


def _is_used(name: str, number: int, lines: list[str], words: list[frozenset[str]]) -> bool:
    depth = 0
    for line, named in zip(lines[number + 1 :], words[number + 1 :], strict=True):
        if name in named:
            return True
        text = line.strip()
        depth += text.endswith("{") - text.startswith("}")
        if depth < 0:
            return False
    return False
