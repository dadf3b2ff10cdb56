"""Sequences and optionals: lists of values that exist only while importing."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from infini_ir.dialects.graph.types import TensorType, tensor_type
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.constants import known_tensor
from infini_ir.frontends.onnx.registry import operator
from infini_ir.frontends.onnx.tensors import DTYPES
from infini_ir.frontends.onnx.values import Entry, OptionalValue, SequenceValue
from infini_ir.utils.symbolic import Dim


@operator("SequenceConstruct", since=11)
def sequence_construct(n: Node) -> SequenceValue:
    return SequenceValue(n.values(), n.type(0))


@operator("SequenceEmpty", since=11)
def sequence_empty(n: Node) -> SequenceValue:
    dtype = DTYPES.get(n.attribute("dtype", 1))
    return SequenceValue([], TensorType.of((), dtype) if dtype else None)


def _position(n: Node, i: int, limit: int, default: int) -> int:
    """The position that input i gives, counted from the start; it is below `limit`."""
    if not n.has(i):
        return default
    position = int(n.need_known(i, "the position").item())
    wrapped = position + (limit if position < 0 else 0)
    if not 0 <= wrapped < limit:
        raise n.error(f"position {position} is outside the sequence")
    return wrapped


@operator("SequenceInsert", since=11)
def sequence_insert(n: Node) -> SequenceValue:
    items = list(n.sequence(0).items)
    count = len(items)
    if n.has(2):
        position = int(n.need_known(2, "the position").item())
        count = position + (len(items) if position < 0 else 0)
        if not 0 <= count <= len(items):
            raise n.error(f"position {position} is outside the sequence")
    items.insert(count, n.value(1))
    return SequenceValue(items, n.type(1))


@operator("SequenceErase", since=11)
def sequence_erase(n: Node) -> SequenceValue:
    sequence = n.sequence(0)
    items = list(sequence.items)
    if not items:
        raise n.error("the sequence is empty")
    del items[_position(n, 1, len(items), len(items) - 1)]
    return SequenceValue(items, sequence.element)


@operator("SequenceAt", since=11)
def sequence_at(n: Node) -> SSAValue | OptionalValue:
    items = n.sequence(0).items
    return items[_position(n, 1, len(items), 0)]


@operator("SequenceLength", since=11)
def sequence_length(n: Node) -> Entry:
    return known_tensor(n, np.int64(len(n.sequence(0).items)))


@operator("SplitToSequence", since=11)
def split_to_sequence(n: Node) -> SequenceValue:
    x, b = n.value(0), n.builder
    kind = tensor_type(x)
    axis = n.attribute("axis", 0) % kind.rank
    sizes = _pieces(n, kind.shape[axis])
    pieces: list[SSAValue] = []
    start = Dim.of(0)
    for size in sizes:
        piece = b.slice_axis(x, axis, start, size)
        if not n.has(1) and not n.attribute("keepdims", 1):
            shape = list(tensor_type(piece).shape)
            piece = b.reshape(piece, shape[:axis] + shape[axis + 1 :])
        pieces.append(piece)
        start = start + size
    return SequenceValue(pieces, kind)


def _pieces(n: Node, total: Dim) -> list[Dim]:
    """Sizes of the pieces that an axis is split into."""
    if n.has(1) and n.type(1).rank:
        return n.need_sizes(1, "the split")
    if total.value is None:
        raise n.needs_value(n.builder.dim(total), "the size of the axis to split")
    step = int(n.need_known(1, "the split").item()) if n.has(1) else 1
    if step < 1:
        raise n.error(f"cannot split into pieces of {step}")
    return [Dim.of(min(step, total.value - at)) for at in range(0, total.value, step)]


@operator("ConcatFromSequence", since=11)
def concat_from_sequence(n: Node) -> SSAValue:
    values = [v for v in n.sequence(0).items if isinstance(v, SSAValue)]
    if not values:
        raise n.error("the sequence is empty")
    axis, new_axis = n.required("axis"), n.attribute("new_axis", 0)
    axis %= tensor_type(values[0]).rank + new_axis
    if new_axis:
        values = [n.builder.unsqueeze(value, [axis]) for value in values]
    return n.builder.concat(values, axis)


@operator("Optional", since=15)
def optional(n: Node) -> OptionalValue:
    if not n.has(0):
        return OptionalValue()
    entry = n.entry(0)
    return OptionalValue(entry if isinstance(entry, SequenceValue) else n.value(0))


@operator("OptionalHasElement", since=15)
def optional_has_element(n: Node) -> Entry:
    entry = n.entry(0) if n.has(0) else OptionalValue()
    empty = isinstance(entry, OptionalValue) and entry.value is None
    return known_tensor(n, np.bool_(not empty))


@operator("OptionalGetElement", since=15)
def optional_get_element(n: Node) -> Entry:
    entry = n.entry(0)
    if not isinstance(entry, OptionalValue):
        return entry
    if entry.value is None:
        raise n.error("the optional is empty")
    return entry.value
