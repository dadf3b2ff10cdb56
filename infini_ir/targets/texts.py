"""Texts of the levels that a model comes through, made when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from io import StringIO

from xdsl.dialects.builtin import ModuleOp
from xdsl.printer import Printer

SAVED_TEXTS = ("graph", "tile")
"""The levels that go into an artifact; the others are long, and made when asked for."""


class LazyTexts(Mapping[str, str]):
    """Texts of IR levels, made when they are first asked for. Iteration, and so an
    artifact, has only the levels to save."""

    def __init__(
        self,
        ready: dict[str, str],
        made: Mapping[str, Callable[[], str]],
        saved: tuple[str, ...] = SAVED_TEXTS,
    ) -> None:
        self.ready = ready
        self.made = made
        self.saved = saved

    def __getitem__(self, key: str) -> str:
        if key not in self.ready:
            self.ready[key] = self.made[key]()
        return self.ready[key]

    def __contains__(self, key: object) -> bool:
        return key in self.ready or key in self.made

    def __iter__(self) -> Iterator[str]:
        return (key for key in self.saved if key in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def module_text(module: ModuleOp) -> str:
    """A module as text."""
    stream = StringIO()
    Printer(stream=stream).print_op(module)
    return stream.getvalue() + "\n"
