"""What a pass pipeline did: time and size after each pass, and prints of the module.

Both are callbacks of `PassPipeline`; `PassReport` calls the others, leaving out their time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import IO

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.printer import Printer

Callback = Callable[[ModulePass | None, ModuleOp, ModulePass | None], None]


def count_ops(module: ModuleOp) -> int:
    """Operations in a module, itself included."""
    return sum(1 for _ in module.walk())


def module_text(module: ModuleOp) -> str:
    """A module as text."""
    stream = StringIO()
    Printer(stream=stream).print_op(module)
    return stream.getvalue() + "\n"


@dataclass(frozen=True)
class PassRow:
    """One run of one pass."""

    name: str
    seconds: float
    before: int
    """Operations in the module before the pass."""
    after: int


@dataclass
class PassReport:
    """Times passes and counts operations; calls `observers` between passes, in order."""

    observers: Sequence[Callback] = ()
    rows: list[PassRow] = field(default_factory=list)
    running: str | None = None
    """The pass that runs or, after an error, the one that failed."""
    done: str | None = None
    """The pass that ended last."""
    _begin: float = 0.0
    _ops: int = 0

    def __call__(
        self, previous: ModulePass | None, module: ModuleOp, following: ModulePass | None
    ) -> None:
        seconds = time.perf_counter() - self._begin
        count = count_ops(module)
        self.running, self.done = None, previous.name if previous is not None else None
        if previous is not None:
            self.rows.append(PassRow(previous.name, seconds, self._ops, count))
        for observer in self.observers:
            observer(previous, module, following)
        self.running = following.name if following is not None else None
        self._ops, self._begin = count, time.perf_counter()

    def table(self) -> str:
        """The rows as aligned text, with a line of the sum."""
        width = max([len(row.name) for row in self.rows] + [len("pass")])
        lines = [f"{'pass':{width}}  {'ms':>9}  {'ops before':>10}  {'after':>7}"]
        lines += [
            f"{row.name:{width}}  {row.seconds * 1e3:9.2f}  {row.before:10}  {row.after:7}"
            for row in self.rows
        ]
        total = sum(row.seconds for row in self.rows) * 1e3
        return "\n".join([*lines, f"{'total':{width}}  {total:9.2f}"]) + "\n"


@dataclass
class IrDumps:
    """Prints the module to `stream` before and after passes, by name."""

    stream: IO[str]
    after: Collection[str] = ()
    before: Collection[str] = ()
    after_all: bool = False
    after_change: bool = False
    """After every pass that changed the text of the module."""
    _last: str = ""

    def __call__(
        self, previous: ModulePass | None, module: ModuleOp, following: ModulePass | None
    ) -> None:
        text = module_text(module) if self.after_change else None
        if previous is not None and self._wants(previous.name, text):
            self._dump(f"after {previous.name}", text or module_text(module))
        if following is not None and following.name in self.before:
            self._dump(f"before {following.name}", text or module_text(module))
        self._last = text or ""

    def _wants(self, name: str, text: str | None) -> bool:
        changed = text is not None and text != self._last
        return self.after_all or name in self.after or changed

    def _dump(self, title: str, text: str) -> None:
        self.stream.write(f"// IR {title}\n{text}\n")
