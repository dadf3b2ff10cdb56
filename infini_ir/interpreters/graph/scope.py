"""What a rule of the interpreter sees: sizes, weights, outer values, and how floats are carried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from xdsl.ir import Operation, SSAValue

from infini_ir.dialects.graph import tensor_type
from infini_ir.utils import dtypes
from infini_ir.utils.errors import InputError
from infini_ir.utils.rewriting import subject_of
from infini_ir.utils.symbolic import Dim
from infini_ir.utils.weights import WeightStore

Array = np.ndarray
Precision = Literal["native", "f64"]
Rule = Callable[[Any, list[Array], "Scope"], Array | Sequence[Array]]
"""The results of an operation (one array, or a sequence of them) from its operands."""

_NARROW = frozenset(dtypes.numpy_dtype(name) for name in ("f16", "bf16")) | frozenset(
    dtypes.numpy_dtype(name) for name in dtypes.STORAGE_ONLY if dtypes.is_float(name)
)
_SMALL_INTEGERS = frozenset(dtypes.numpy_dtype(name) for name in ("i4", "ui4", "i2", "ui2"))
_F32, _F64 = np.dtype(np.float32), np.dtype(np.float64)


@dataclass
class Scope:
    """The state of one run. Regions share the scope of the operation that holds them."""

    symbols: dict[str, int] = field(default_factory=dict)
    weights: WeightStore | None = None
    precision: Precision = "native"
    """`f64` carries every float that is not storage-only in f64, and rounds none."""
    values: dict[SSAValue, Array] = field(default_factory=dict)

    # Sizes

    def size(self, dim: Dim, op: Operation | None = None) -> int:
        """The number that a size stands for."""
        try:
            return dim.evaluate(self.symbols)
        except KeyError as missing:
            what = f"{where(op)}: " if op is not None else ""
            raise InputError(
                f"{what}size {dim} needs symbol {missing}, which nothing has defined yet; "
                "let an argument's shape, bind, nonzero, scan or if define it"
            ) from None

    def sizes(self, dims: Sequence[Dim], op: Operation | None = None) -> tuple[int, ...]:
        return tuple(self.size(dim, op) for dim in dims)

    def shape(self, value: SSAValue) -> tuple[int, ...]:
        """The shape that a value's type says."""
        op = value.owner if isinstance(value.owner, Operation) else None
        shape = self.sizes(tensor_type(value).shape, op)
        if any(size < 0 for size in shape):
            raise InputError(
                f"{where(op)}: {value.type} has the negative shape {list(shape)} for "
                f"{_symbols_text(self.symbols)}; the inputs are too small for this model"
            )
        return shape

    # Element types

    def dtype(self, name: str) -> np.dtype:
        """The numpy dtype that carries elements of the type called `name`."""
        if (
            self.precision == "f64"
            and dtypes.is_float(name)
            and name not in dtypes.STORAGE_ONLY
        ):
            return _F64
        return dtypes.numpy_dtype(name)

    def result_dtype(self, value: SSAValue) -> np.dtype:
        return self.dtype(tensor_type(value).dtype)

    def carry(self, array: Array, name: str) -> Array:
        """An array of the type called `name` in the dtype that carries it."""
        return np.asarray(array).astype(self.dtype(name), copy=False)

    def widen(self, array: Array) -> Array:
        """In the type that arithmetic uses: f32 for narrower floats, int8 for sub-byte ones."""
        if array.dtype in _NARROW:
            return array.astype(_F64 if self.precision == "f64" else _F32)
        if array.dtype in _SMALL_INTEGERS:
            return array.astype(np.int8)
        return array

    def float_type(self, *arrays: Array) -> np.dtype:
        """The float type to compute in: f64 if any operand is carried so, else f32."""
        wide = self.precision == "f64" or any(array.dtype == _F64 for array in arrays)
        return _F64 if wide else _F32

    def to_float(self, array: Array, dtype: np.dtype) -> Array:
        """As floats of `dtype`, each rounded once."""
        return array.astype(dtype, copy=False)


def is_float_array(array: Array) -> bool:
    return dtypes.is_float(dtypes.dtype_name(array.dtype))


def where(op: Operation | None) -> str:
    """Name and location of an operation, for messages."""
    if op is None:
        return "module"
    subject = subject_of(op)
    return f"'{op.name}'" if subject == op.name else f"'{op.name}' at {subject}"


def _symbols_text(symbols: dict[str, int]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in symbols.items()) or "no symbols"
