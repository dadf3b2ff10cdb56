"""What the NVIDIA target decides for a kernel: tile sizes, warps, pipeline stages, order.

A plan is written down as the kernel's `plan` attribute, so that it can be read, changed and
continued from text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from xdsl.dialects.builtin import DictionaryAttr, IntegerAttr, StringAttr, i64
from xdsl.ir import Attribute

from infini_ir.utils.symbolic import PARAMETERS, Dim

PRECISIONS = ("tf32x3", "tf32", "ieee")
"""How products of f32 tiles are computed: by three, or one, product of tf32 parts, or as
scalar arithmetic."""


@dataclass(frozen=True)
class Few:
    """Another kernel that is launched where a grid axis is short."""

    kernel: str
    axis: int
    most: int

    def attribute(self) -> DictionaryAttr:
        numbers = {"axis": self.axis, "most": self.most}
        return DictionaryAttr(
            {"kernel": StringAttr(self.kernel)}
            | {name: IntegerAttr(value, i64) for name, value in numbers.items()}
        )

    @staticmethod
    def read(data: Mapping[str, Attribute]) -> Few | None:
        kernel, axis, most = (data.get(name) for name in ("kernel", "axis", "most"))
        if not (
            isinstance(kernel, StringAttr)
            and isinstance(axis, IntegerAttr)
            and isinstance(most, IntegerAttr)
        ):
            return None
        return Few(kernel.data, axis.value.data, most.value.data)


@dataclass(frozen=True)
class Plan:
    """The decisions for one kernel."""

    parameters: Mapping[str, int] = field(default_factory=dict)
    """Tile sizes by name (`BM`, `BN`, ...)."""
    warps: int = 4
    stages: int = 1
    """How many iterations of a loop over products have their loads under way at once."""
    group: int = 1
    """How many tiles along the last but one grid axis are walked before the next tile of the
    last, so that programs that run together share what they load."""
    precision: str = "tf32x3"
    """One of `PRECISIONS`."""
    split: int = 1
    """Into how many parts `tile-split-k` shares out the contracted axis."""
    reason: str = ""
    few: Few | None = None

    @property
    def substitution(self) -> dict[str, Dim]:
        """The parameters, as sizes."""
        return {name: Dim.of(value) for name, value in self.parameters.items()}

    def attribute(self) -> DictionaryAttr:
        """The plan as an attribute."""
        entries: dict[str, Attribute] = {
            name: IntegerAttr(value, i64) for name, value in self.parameters.items()
        }
        for name, value in (("warps", self.warps), ("stages", self.stages)):
            entries[name] = IntegerAttr(value, i64)
        if self.group > 1:
            entries["group"] = IntegerAttr(self.group, i64)
        if self.split > 1:
            entries["split_k"] = IntegerAttr(self.split, i64)
        if self.precision != "tf32x3":
            entries["precision"] = StringAttr(self.precision)
        if self.few is not None:
            entries["few"] = self.few.attribute()
        if self.reason:
            entries["reason"] = StringAttr(self.reason)
        return DictionaryAttr(entries)

    @staticmethod
    def read(attribute: DictionaryAttr | None) -> Plan:
        """The plan of an attribute; the defaults for what it does not say."""
        data = dict(attribute.data) if attribute is not None else {}

        def integer(name: str, default: int) -> int:
            value = data.get(name)
            return value.value.data if isinstance(value, IntegerAttr) else default

        def text(name: str, default: str) -> str:
            value = data.get(name)
            return value.data if isinstance(value, StringAttr) else default

        parameters = {name: integer(name, 0) for name in PARAMETERS if name in data}
        few = data.get("few")
        return Plan(
            parameters,
            integer("warps", 4),
            integer("stages", 1),
            integer("group", 1),
            text("precision", "tf32x3"),
            integer("split_k", 1),
            text("reason", ""),
            Few.read(few.data) if isinstance(few, DictionaryAttr) else None,
        )
