"""What the CPU target decides for a kernel: tile sizes, register tile, loop order.

A plan is written down as the kernel's `plan` attribute, so that it can be read, changed and
continued from text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from xdsl.dialects.builtin import (
    DenseArrayBase,
    DictionaryAttr,
    IntegerAttr,
    StringAttr,
    UnitAttr,
    i64,
)
from xdsl.ir import Attribute

from infini_ir.dialects.graph.base import ints, ints_of
from infini_ir.utils.symbolic import PARAMETERS, Dim


@dataclass(frozen=True)
class Plan:
    """The decisions for one kernel."""

    parameters: Mapping[str, int] = field(default_factory=dict)
    """Tile sizes by name (`BM`, `BN`, ...)."""
    strip: tuple[int, int] = (1, 6)
    """Rows of the register tile: along the last but one and the last row axis."""
    vectors: int = 2
    """Vectors in a row of the register tile, for one panel."""
    panels: int = 1
    """Neighbouring panels done at once (for products with few rows)."""
    order: tuple[int, ...] = ()
    """Grid axes from the slowest to the fastest; empty: as written."""
    reason: str = ""
    unit: str = ""
    """What multiplies: "" vectors of the accumulator's type, "lanes" instructions on vectors
    that sum groups of neighbours along k, "amx" tiles."""
    outer: str = "columns"
    """Which is the outer loop of a program: panels of "columns", strips of "rows" (on tiles
    only), or "parts" of a contracted axis that is done in parts (on vectors only)."""
    part: int = 0
    """Runs of k on tiles that are added up for all rows of a program before the next, 0: all; panels
    of columns are the outer loop then, and results are written past the caches."""
    group: int = 1
    """How many neighbours along k one instruction multiplies and sums for a lane."""
    across: str = ""
    """The parameter along whose tile axes vectors run, so that everything else of a tile is
    done in each lane on its own; empty: vectors run along the last axes."""
    paired: bool = False
    """Whether programs of the last grid axis go from both its ends to the middle in turn,
    as the work grows along it."""

    @property
    def substitution(self) -> dict[str, Dim]:
        return {name: Dim.of(value) for name, value in self.parameters.items()}

    def attribute(self) -> DictionaryAttr:
        """The plan as an attribute."""
        entries: dict[str, Attribute] = {
            name: IntegerAttr(value, i64) for name, value in self.parameters.items()
        }
        entries["strip"] = ints(self.strip)
        entries["vectors"] = IntegerAttr(self.vectors, i64)
        entries["panels"] = IntegerAttr(self.panels, i64)
        if self.order:
            entries["order"] = ints(self.order)
        if self.unit:
            entries["unit"] = StringAttr(self.unit)
        if self.outer != "columns":
            entries["outer"] = StringAttr(self.outer)
        if self.part:
            entries["part"] = IntegerAttr(self.part, i64)
        if self.group > 1:
            entries["group"] = IntegerAttr(self.group, i64)
        if self.across:
            entries["across"] = StringAttr(self.across)
        if self.paired:
            entries["paired"] = UnitAttr()
        if self.reason:
            entries["reason"] = StringAttr(self.reason)
        return DictionaryAttr(entries)

    @staticmethod
    def read(attribute: DictionaryAttr | None) -> Plan:
        """The plan of an attribute; the defaults for what it does not say."""
        data = dict(attribute.data) if attribute is not None else {}
        parameters = {
            name: value.value.data
            for name, value in data.items()
            if name in PARAMETERS and isinstance(value, IntegerAttr)
        }

        def integer(name: str, default: int) -> int:
            value = data.get(name)
            return value.value.data if isinstance(value, IntegerAttr) else default

        def integers(name: str, default: tuple[int, ...]) -> tuple[int, ...]:
            value = data.get(name)
            return ints_of(value) if isinstance(value, DenseArrayBase) else default

        def text(name: str) -> str:
            value = data.get(name)
            return value.data if isinstance(value, StringAttr) else ""

        strip = integers("strip", (1, 6))
        return Plan(
            parameters,
            strip=(strip[0], strip[1]),
            vectors=integer("vectors", 2),
            panels=integer("panels", 1),
            order=integers("order", ()),
            across=text("across"),
            paired="paired" in data,
            reason=text("reason"),
            unit=text("unit"),
            outer=text("outer") or "columns",
            part=integer("part", 0),
            group=integer("group", 1),
        )
