"""What the target decides for a kernel: tile sizes, threads, thread blocks of products.

A plan is the kernel's `plan` attribute, so that it can be read, changed and continued from text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from xdsl.dialects.builtin import DictionaryAttr, IntegerAttr, StringAttr, i64
from xdsl.ir import Attribute

from infini_ir.utils.symbolic import PARAMETERS, Dim


@dataclass(frozen=True)
class Plan:
    """The decisions for one kernel."""

    parameters: Mapping[str, int] = field(default_factory=dict)
    """Tile sizes by name (`BM`, `BN`, ...)."""
    threads: int = 256
    """Threads of a block."""
    lanes: int = 256
    """Threads of one program: all of the block, or a power of two up to a warp."""
    down: int = 16
    """Threads along the rows of a product's accumulator."""
    slice: int = 16
    """Length of the pieces of the contracted axis in shared memory."""
    reason: str = ""

    @property
    def substitution(self) -> dict[str, Dim]:
        return {name: Dim.of(value) for name, value in self.parameters.items()}

    @property
    def programs(self) -> int:
        """Programs of one block."""
        return self.threads // self.lanes

    def attribute(self) -> DictionaryAttr:
        """The plan as an attribute."""
        numbers = {
            **self.parameters,
            "threads": self.threads,
            "lanes": self.lanes,
            "down": self.down,
            "slice": self.slice,
        }
        entries: dict[str, Attribute] = {
            name: IntegerAttr(value, i64) for name, value in numbers.items()
        }
        if self.reason:
            entries["reason"] = StringAttr(self.reason)
        return DictionaryAttr(entries)

    @staticmethod
    def read(attribute: DictionaryAttr | None) -> Plan:
        """The plan of an attribute; the defaults for what it does not say."""
        data = dict(attribute.data) if attribute is not None else {}
        numbers = {
            name: value.value.data
            for name, value in data.items()
            if isinstance(value, IntegerAttr)
        }
        reason = data.get("reason")
        threads = numbers.get("threads", 256)
        return Plan(
            {name: value for name, value in numbers.items() if name in PARAMETERS},
            threads,
            numbers.get("lanes", threads),
            numbers.get("down", 16),
            numbers.get("slice", 16),
            reason.data if isinstance(reason, StringAttr) else "",
        )
