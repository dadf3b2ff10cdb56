"""What each pass changed: the texts of a module's operations before and after, compared.

The operations of a module are compared one by one, by name, each printed alone: a value that
a pass adds then changes the numbers of values of its own kernel only. Where lines are matched,
the numbers of values do not count.
"""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.passes import ModulePass
from xdsl.printer import Printer

MOST_PARTS = 8
"""Operations of a module whose difference is kept for a pass; the others are counted."""
MOST_LINES = 160
"""Lines of a difference that are kept."""
MOST_COMPARED = 6000
"""Lines that are compared; what follows in a longer text is not looked at."""
_CONTEXT = 2
_VALUE = re.compile(r"%[\w$.]+")


@dataclass(frozen=True)
class Line:
    """A line of a difference: `+`, `-`, a blank, or `@` for lines left out."""

    mark: str
    text: str


@dataclass
class PassChange:
    """What one pass did."""

    name: str
    seconds: float
    before: int
    """Operations in the module."""
    after: int
    parts: list[tuple[str, list[Line]]] = field(default_factory=list)
    """Names of changed operations of the module, and what changed in each."""
    more: int = 0
    """Changed operations whose difference is not kept."""


@dataclass
class PassRecorder:
    """A callback of `Compilation`: keeps what each pass changed."""

    changes: list[PassChange] = field(default_factory=list)
    _texts: dict[str, str] = field(default_factory=dict)
    _count: int = 0
    _begin: float = 0.0

    def __call__(
        self, previous: ModulePass | None, module: ModuleOp, following: ModulePass | None
    ) -> None:
        """Between two passes: what `previous` did is seen, `following` begins."""
        seconds = time.perf_counter() - self._begin
        count, texts = sum(1 for _ in module.walk()), texts_of(module)
        if previous is not None:
            change = PassChange(previous.name, seconds, self._count, count)
            self._compare(change, texts)
            self.changes.append(change)
        self._texts, self._count = texts, count
        self._begin = time.perf_counter()

    def _compare(self, change: PassChange, texts: dict[str, str]) -> None:
        for name in dict.fromkeys([*self._texts, *texts]):
            before, after = self._texts.get(name, ""), texts.get(name, "")
            if before == after:
                continue
            if len(change.parts) < MOST_PARTS:
                change.parts.append((name, difference(before, after)))
            else:
                change.more += 1


def texts_of(module: ModuleOp) -> dict[str, str]:
    """The operations of a module by name, each printed alone."""
    texts: dict[str, str] = {}
    for number, op in enumerate(module.body.block.ops):
        given: Any = op.properties.get("sym_name")
        name = f"@{given.data}" if isinstance(given, StringAttr) else f"{op.name} {number}"
        stream = StringIO()
        Printer(stream=stream).print_op(op)
        texts[name] = stream.getvalue()
    return texts


def difference(before: str, after: str) -> list[Line]:
    """The lines that changed, with some around them."""
    lines = list(
        _lines(before.splitlines()[:MOST_COMPARED], after.splitlines()[:MOST_COMPARED])
    )
    if len(lines) > MOST_LINES:
        left = len(lines) - MOST_LINES
        lines = [*lines[:MOST_LINES], Line("@", f"{left} more lines")]
    return lines


def _lines(before: list[str], after: list[str]) -> Iterator[Line]:
    plain = [[_VALUE.sub("%", line) for line in text] for text in (before, after)]
    matcher = difflib.SequenceMatcher(None, plain[0], plain[1])
    for number, group in enumerate(matcher.get_grouped_opcodes(_CONTEXT)):
        if number:
            yield Line("@", "")
        for kind, a, b, c, d in group:
            if kind == "equal":
                yield from (Line(" ", text) for text in after[c:d])
                continue
            yield from (Line("-", text) for text in before[a:b])
            yield from (Line("+", text) for text in after[c:d])
