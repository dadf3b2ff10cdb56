"""What a name in an ONNX graph may stand for besides an SSA value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from xdsl.ir import SSAValue

from infini_ir.dialects.graph.types import TensorType


@dataclass(eq=False)
class Initializer:
    """A tensor that is known when importing; it enters the IR when an operator uses it."""

    name: str
    dtype: str
    """Element type; empty for strings."""
    shape: tuple[int, ...]
    load: Callable[[], np.ndarray]
    """Reads the data; a mapped view for external data."""
    store: Callable[[], str] | None = None
    """Adds it to the weight store without reading, where it lies in a file."""
    value: SSAValue | None = None
    """Its value in the IR, once used."""
    _array: np.ndarray | None = None

    @staticmethod
    def of(name: str, array: np.ndarray, dtype: str) -> Initializer:
        return Initializer(name, dtype, array.shape, lambda: array)

    @property
    def array(self) -> np.ndarray:
        if self._array is None:
            self._array = self.load()
        return self._array

    @property
    def type(self) -> TensorType:
        return TensorType.of(self.shape, self.dtype)


@dataclass(eq=False)
class SequenceValue:
    """A sequence: a list that exists only while importing."""

    items: Sequence[SSAValue | OptionalValue]
    element: TensorType | None = None
    """A type that says the element type of an empty sequence (its shape means nothing)."""


@dataclass(eq=False)
class OptionalValue:
    """An optional: a value or nothing, decided while importing."""

    value: SSAValue | SequenceValue | None = None
    element: TensorType | None = field(default=None)


@dataclass(eq=False)
class Missing:
    """A result that could not be imported because values of model inputs are needed."""

    values: frozenset[str]
    shapes: frozenset[str]


Entry = SSAValue | Initializer | SequenceValue | OptionalValue | Missing
