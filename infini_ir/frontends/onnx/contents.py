"""The contents of small tensors while importing: numbers, or symbolic sizes.

Models compute shapes with the same operators as data. This follows such computations
through the graph operations that were built, element by element: an element is a number, a
`Dim`, or an `Unknown` that only a run can give (and that `bind` can name).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.dialects.builtin import UnknownLoc
from xdsl.ir import Block, Operation, SSAValue
from xdsl.rewriter import InsertPoint

from infini_ir.dialects import graph
from infini_ir.dialects.dims import DimsAttr
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.types import TensorType, is_tensor, tensor_type
from infini_ir.frontends.onnx import folding
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import Dim

FOLD_LIMIT = 65536
"""Bytes of the largest result that is computed while importing."""

SYMBOLIC_LIMIT = 1024
"""Elements of the largest tensor followed element by element."""

UNKNOWN_LIMIT = 64
"""Elements of the longest run-time list that may be bound to symbols."""


@dataclass(eq=False)
class Unknown:
    """One element that only a run can give."""

    source: SSAValue
    index: int
    dim: Dim | None = None
    """Its symbol, once bound."""


Contents = np.ndarray
"""Numbers (any dtype but object), or objects: `Dim`, bool or `Unknown`."""


class ContentsTable:
    """Contents by value, worked out when asked and remembered."""

    def __init__(self, fresh_symbol: Callable[[str, SSAValue], str]) -> None:
        self._memo: dict[SSAValue, Contents | None] = {}
        self._weights: dict[SSAValue, Callable[[], np.ndarray]] = {}
        self._fresh_symbol = fresh_symbol

    def set_sizes(self, value: SSAValue, sizes: Sequence[Dim]) -> None:
        """Say the sizes that an integer tensor of rank 0 or 1 holds."""
        kind = tensor_type(value)
        flat = np.empty(len(sizes), object)
        flat[:] = list(sizes)
        if kind.static_shape() != ((len(sizes),) if kind.rank else ()):
            raise ValueError(f"{len(sizes)} sizes do not fit {kind}")
        self._memo[value] = _fill_unknown(value, flat.reshape(kind.static_shape()))

    def set_weight(self, value: SSAValue, load: Callable[[], np.ndarray]) -> None:
        """Say how to read what a weight holds."""
        self._weights[value] = load

    def known(self, value: SSAValue) -> np.ndarray | None:
        """The numbers of a value, where all are known."""
        if value in self._weights:
            return self._weights[value]()
        contents = self._of(value)
        return None if contents is None or contents.dtype == object else contents

    def sizes(self, value: SSAValue) -> list[Dim] | None:
        """The elements of an integer tensor of rank 0 or 1 as sizes, where none is unknown."""
        if not _is_size_list(value):
            return None
        contents = self._of(value)
        if contents is None:
            return None
        dims = [_as_dim(element) for element in contents.ravel().tolist()]
        return None if any(dim is None for dim in dims) else dims  # pyright: ignore[reportReturnType]

    def bind(self, value: SSAValue, hint: str) -> list[Dim] | None:
        """As `sizes`, unknown elements bound to fresh symbols where they are computed.

        None where even the number of elements is unknown.
        """
        contents = self._of(value) if _is_size_list(value) else None
        if contents is None:
            return None
        elements = contents.ravel().tolist()
        for element in elements:
            if isinstance(element, Unknown) and element.dim is None:
                element.dim = self._bind(element, hint)
        return [_as_dim(element) for element in elements]  # pyright: ignore[reportReturnType]

    def _bind(self, unknown: Unknown, hint: str) -> Dim:
        source = unknown.source
        owner = source.owner
        if isinstance(owner, Block):
            point, location = InsertPoint.at_start(owner), UnknownLoc()
        else:
            point, location = InsertPoint.after(owner), owner.location
        build = GraphBuilder(point, location)
        size = tensor_type(source).element_count()
        scalar = source
        if tensor_type(source).rank:
            flat = build.reshape(source, [size])
            scalar = build.reshape(build.slice(flat, [unknown.index], [1]), [])
        scalar = build.cast(scalar, "i64")
        symbol = self._fresh_symbol(hint, source)
        build.insert(graph.BindOp(scalar, symbol))
        return Dim.symbol(symbol)

    def _of(self, value: SSAValue) -> Contents | None:
        """Works backwards with a stack: chains of nodes can be longer than Python's."""
        stack = [value]
        while stack:
            top = stack[-1]
            if top in self._memo:
                stack.pop()
                continue
            waiting = [v for v in self._dependencies(top) if v not in self._memo]
            if waiting:
                stack.extend(waiting)
                continue
            self._compute(top)
            stack.pop()
        return self._memo[value]

    def _dependencies(self, value: SSAValue) -> Iterator[SSAValue]:
        owner = value.owner
        if isinstance(owner, Operation) and not owner.regions and _small(owner):
            yield from owner.operands

    def _compute(self, value: SSAValue) -> None:
        owner = value.owner
        if value in self._weights:
            small = _static_bytes(value)
            load = self._weights[value]
            self._memo[value] = load() if small is not None and small <= FOLD_LIMIT else None
            return
        if isinstance(owner, Operation) and not owner.regions and _small(owner):
            operands = [self._memo[operand] for operand in owner.operands]
            results = _evaluate(owner, operands)
        else:
            results = None
        if isinstance(owner, Operation) and not isinstance(owner, graph.WeightOp):
            for index, result in enumerate(owner.results):
                found = results[index] if results is not None else None
                self._memo[result] = _fill_unknown(result, found)
        else:
            self._memo[value] = _fill_unknown(value, None)


def _is_size_list(value: SSAValue) -> bool:
    if not is_tensor(value):
        return False
    kind = tensor_type(value)
    return kind.rank <= 1 and kind.dtype in ("i64", "i32")


def _as_dim(element: Any) -> Dim | None:
    if isinstance(element, Unknown):
        return element.dim
    return element if isinstance(element, Dim) else Dim.of(int(element))


def _static_bytes(value: SSAValue) -> int | None:
    if not is_tensor(value):
        return None
    kind = tensor_type(value)
    count = kind.element_count().value if kind.is_static() else None
    return count * dtypes.item_size(kind.dtype) if count is not None else None


def _small(op: Operation) -> bool:
    return bool(op.results) and all(
        size is not None and size <= FOLD_LIMIT for size in map(_static_bytes, op.results)
    )


def _fill_unknown(value: SSAValue, found: Contents | None) -> Contents | None:
    """Short integer lists are followed even where an element is unknown."""
    if found is not None and found.dtype != object:
        return found
    if not is_tensor(value) or not tensor_type(value).is_static():
        return None
    kind = tensor_type(value)
    count = kind.element_count().value
    assert count is not None
    if found is None:
        if not _is_size_list(value) or count > UNKNOWN_LIMIT:
            return None
        found = np.full(kind.static_shape(), None, object)
    flat = found.reshape(-1)
    if all((isinstance(e, Dim) and e.is_constant) or isinstance(e, bool) for e in flat):
        return _numbers(flat, kind)
    for index, element in enumerate(flat):
        if element is None:
            flat[index] = Unknown(value, index)
    return flat.reshape(found.shape)


def _numbers(flat: np.ndarray, kind: TensorType) -> np.ndarray:
    """Known elements as numbers of the type, wrapped as integers do."""
    values: list[Any] = [e.value if isinstance(e, Dim) else e for e in flat]
    if kind.dtype != "i1":
        bits = int(kind.dtype.lstrip("ui"))
        low = 0 if dtypes.is_unsigned(kind.dtype) else -(1 << (bits - 1))
        values = [(v - low) % (1 << bits) + low for v in values]
    return np.array(values, dtypes.numpy_dtype(kind.dtype)).reshape(kind.static_shape())


def _evaluate(op: Operation, operands: list[Contents | None]) -> list[Contents | None] | None:
    if any(operand is None for operand in operands):
        return None
    arrays: list[np.ndarray] = [operand for operand in operands if operand is not None]
    if not all(dim.is_constant for dim in _sizes_in(op)):
        return None
    if all(array.dtype != object for array in arrays):
        numbers = folding.fold_numbers(op, arrays)
        if numbers is not None:
            return list(numbers)
    if any(array.size > SYMBOLIC_LIMIT for array in arrays):
        return None
    result = folding.fold_symbols(op, [_resolved(array) for array in arrays])
    return None if result is None else [result]


def _sizes_in(op: Operation) -> Iterator[Dim]:
    if isinstance(op, graph.DimOp):
        return
    for attribute in op.properties.values():
        if isinstance(attribute, DimsAttr):
            yield from attribute.data


def _resolved(array: np.ndarray) -> np.ndarray:
    """Elements as `folding` takes them: bound unknowns are their symbols."""
    if array.dtype != object:
        return array
    flat = [e.dim if isinstance(e, Unknown) and e.dim is not None else e for e in array.flat]
    result = np.empty(len(flat), object)
    result[:] = flat
    return result.reshape(array.shape)
