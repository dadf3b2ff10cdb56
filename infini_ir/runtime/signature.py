"""What goes into a model and what comes out: names, element types, sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from infini_ir.utils.symbolic import Dim


@dataclass(frozen=True)
class TensorSpec:
    """One input or output. Prints as `images: f32[batch, 3, 416, 416]`."""

    name: str
    dtype: str
    """Element type by name, as in `infini_ir.utils.dtypes`."""
    shape: tuple[Dim, ...]

    @staticmethod
    def of(name: str, dtype: str, *shape: int | str | Dim) -> TensorSpec:
        """A spec from integers and the texts of symbolic sizes."""
        return TensorSpec(name, dtype, tuple(Dim.of(dim) for dim in shape))

    @property
    def is_static(self) -> bool:
        """Whether every size is a number."""
        return all(dim.is_constant for dim in self.shape)

    def symbols(self) -> frozenset[str]:
        """Names of the symbols in the shape."""
        return frozenset().union(*(dim.symbols() for dim in self.shape))

    def type_text(self) -> str:
        """The type alone: `f32[batch, 3]`."""
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"

    def __str__(self) -> str:
        return f"{self.name}: {self.type_text()}"

    def to_json(self) -> dict[str, Any]:
        """Name, dtype and sizes; a symbolic size is its text."""
        sizes = [str(d) if d.value is None else d.value for d in self.shape]
        return {"name": self.name, "dtype": self.dtype, "shape": sizes}

    @staticmethod
    def from_json(data: dict[str, Any]) -> TensorSpec:
        return TensorSpec.of(data["name"], data["dtype"], *data["shape"])


def input_symbols(inputs: tuple[TensorSpec, ...]) -> frozenset[str]:
    """The symbols that the inputs' shapes define: those standing alone as a size."""
    return frozenset(d.name for spec in inputs for d in spec.shape if d.name is not None)
