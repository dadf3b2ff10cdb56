"""Lines of a kernel's Python text, and names in it."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from contextlib import contextmanager

RESERVED = frozenset({"tl", "triton", "libdevice", "float", "range", "nan_max", "nan_min"})


class Writer:
    """
    The text of one kernel: a head, where what all of it shares is computed, and a body. Names
    are unique in the kernel.
    """

    def __init__(self) -> None:
        self.head: list[str] = []
        self.body: list[str] = []
        self._depth = 1
        self._names: set[str] = set()

    def line(self, text: str) -> None:
        """Append a line to the body."""
        self.body.append("    " * self._depth + text)

    def head_line(self, text: str) -> None:
        """Append a line to the head."""
        self.head.append("    " + text)

    @contextmanager
    def indented(self) -> Iterator[None]:
        """Lines inside are one step further in."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def name(self, wanted: str) -> str:
        """A name that nothing has yet, like the one that is wanted."""
        base = re.sub(r"\W", "_", wanted) or "value"
        if base[0].isdigit() or keyword.iskeyword(base) or base in RESERVED:
            base = f"v_{base}"
        name, number = base, 1
        while name in self._names:
            number += 1
            name = f"{base}_{number}"
        self._names.add(name)
        return name

    def text(self) -> str:
        """Head and body."""
        return "\n".join([*self.head, *self.body]) + "\n"
