"""Long sums in parts: a register takes some hundred products, then it is added to memory.

A running sum of k products in f32 is off by about eps * sqrt(k / 2) of its result, one of
parts of p products by eps * sqrt(p / 2 + k / (2 p)): blocks of Higham, "The accuracy of
floating point summation" (1993), section 4, where errors are independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from infini_ir.targets.cpu.llvm.writer import ZERO, V, integer
from infini_ir.utils.symbolic import Dim

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter

LONGEST = 256
"""Products that are summed in one register at most. ResNet-50 took as long with parts of 384,
and 6% longer with parts of 192."""

TYPE = "float"
"""The accumulators whose rounding shows: integers are exact, and f64 has digits to spare."""

ITEM = 4
"""Bytes of a sum."""

KEPT = (TYPE, "i32")
"""The accumulators that can be kept while others take their turn."""


@dataclass(frozen=True)
class Parts:
    """How the loops over k are cut: `size` turns of loop number `level` make a part."""

    level: int
    size: int


def divide(counts: Sequence[V], accumulator: str, unroll: int, *, long: bool) -> Parts | None:
    """The parts of a sum over loops of so many turns, outermost first; None: it is short.

    `long` says whether counts that are known only while running may be large.
    """
    if accumulator != TYPE:
        return None
    inside = 1
    for level in reversed(range(len(counts))):
        count = counts[level].number
        step = unroll if level == len(counts) - 1 else 1
        most = max(step, LONGEST // inside // step * step)
        if count is None:
            return Parts(level, most) if long else None
        if int(count) * inside > LONGEST:
            pieces = -(-int(count) // most)
            return Parts(level, -(-int(count) // (pieces * step)) * step)
        inside *= max(1, int(count))
    return None


@dataclass(frozen=True)
class Sums:
    """The sums so far of a register tile: a table in this worker's memory, a slot a cell."""

    table: V
    lanes: int
    type: str = TYPE

    @staticmethod
    def of(e: KernelEmitter, cells: int, type: str = TYPE) -> Sums:
        """Room for so many cells of a type of `KEPT`."""
        return Sums(e.scratch(Dim.of(cells * e.lanes * ITEM)), e.lanes, type)

    def behind(self, e: KernelEmitter, cells: V) -> Sums:
        """The part of the table after so many cells."""
        return replace(self, table=self._slot_at(e, cells))

    def clear(self, e: KernelEmitter, cells: Sequence[V], begun: V) -> None:
        """Before a part: cells at zero, unless it is the first, which goes on with what they
        hold. `begun` is 0 before that one."""

        def zero() -> None:
            for cell in cells:
                e.f.store(V("zeroinitializer", self.type, self.lanes), cell, self._align)

        e.f.when(e.f.compare("sgt", begun, ZERO), zero, hint="clear")

    def close(self, e: KernelEmitter, cells: Sequence[V], begun: V, more: V) -> None:
        """After a part: add the sums before it, if it is not the first, and where `more` of
        them follow keep the sums. After the last, the cells hold them."""

        def add_before() -> None:
            for number, cell in enumerate(cells):
                old, part = self._load(e, self._slot(e, number)), self._load(e, cell)
                add = "fadd" if old.is_float else "add"
                total = e.f.assign(f"{add} {old.typed}, {part.text}", self.type, self.lanes)
                e.f.store(total, cell, self._align)

        def keep() -> None:
            for number, cell in enumerate(cells):
                e.f.store(self._load(e, cell), self._slot(e, number), self._align)

        e.f.when(e.f.compare("sgt", begun, ZERO), add_before, hint="add")
        e.f.when(more, keep, hint="keep")

    @property
    def _align(self) -> int:
        return self.lanes * ITEM

    def _slot(self, e: KernelEmitter, number: int) -> V:
        return self._slot_at(e, integer(number))

    def _slot_at(self, e: KernelEmitter, number: V) -> V:
        return e.f.gep(self.table, number, f"<{self.lanes} x {self.type}>")

    def _load(self, e: KernelEmitter, pointer: V) -> V:
        return e.f.load(pointer, self.type, self.lanes, self._align)
