"""Operators that read and write by index, and those whose result size depends on data."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from infini_ir.dialects.graph.types import tensor_type
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.common import normalized_axis
from infini_ir.frontends.onnx.operators.positions import (
    coordinates,
    floor_mod,
    index_operand,
    need_size,
    size_vector,
    with_sizes,
)
from infini_ir.frontends.onnx.registry import operator
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import ONE, ZERO, Dim, product


@operator("Gather")
def gather(n: Node) -> SSAValue:
    x = n.type(0)
    axis = normalized_axis(n, n.attribute("axis", 0), x.rank)
    return n.builder.gather(n.value(0), index_operand(n, 1, x.shape[axis]), axis)


def _element_coordinates(n: Node, axis: int) -> tuple[SSAValue, int]:
    """The index tuples of GatherElements and ScatterElements, and how many leading axes
    they leave out because the index has all of their positions in order."""
    b, x, indices = n.builder, n.type(0), n.type(1)
    if x.rank != indices.rank:
        raise n.error(f"{x} and indices {indices} have different ranks")
    index = index_operand(n, 1, x.shape[axis])
    shared = 0
    while shared < axis and x.shape[shared] is indices.shape[shared]:
        shared += 1
    dtype = indices.dtype
    parts = [
        index if i == axis else b.iota(indices.shape, dtype, i) for i in range(shared, x.rank)
    ]
    return coordinates(b, parts), shared


@operator("GatherElements", since=11)
def gather_elements(n: Node) -> SSAValue:
    axis = normalized_axis(n, n.attribute("axis", 0), n.type(0).rank)
    tuples, shared = _element_coordinates(n, axis)
    return n.builder.gather_nd(n.value(0), tuples, shared)


def _wrapped_tuples(n: Node, batch: int) -> SSAValue:
    """Operand 1, index tuples into operand 0, without negative indices."""
    b, shape = n.builder, n.type(0).shape
    indices = n.value(1)
    kind = tensor_type(indices)
    depth = need_size(n, kind.shape[-1], "the length of the index tuples")
    known = n.known(1)
    if dtypes.is_unsigned(kind.dtype) or (known is not None and (known >= 0).all()):
        return indices
    limits = size_vector(b, shape[batch : batch + depth], kind.dtype)
    return b.select(b.compare("lt", indices, 0), b.add(indices, limits), indices)


@operator("GatherND", since=11)
def gather_nd(n: Node) -> SSAValue:
    b, batch = n.builder, n.attribute("batch_dims", 0)
    tuples = _wrapped_tuples(n, batch)
    shape = list(tensor_type(tuples).shape)
    for i in range(batch):
        if shape[i] is not n.type(0).shape[i]:
            n.add_fact(shape[i], "eq", n.type(0).shape[i])
            shape[i] = n.type(0).shape[i]
    return b.gather_nd(n.value(0), b.reshape(tuples, shape), batch)


_COMBINATIONS = {"none": "set", "add": "add", "mul": "mul", "max": "max", "min": "min"}


def _combination(n: Node) -> str:
    reduction = n.attribute("reduction", "none")
    if reduction not in _COMBINATIONS:
        raise n.error(f"reduction '{reduction}' is not one of {', '.join(_COMBINATIONS)}")
    return _COMBINATIONS[reduction]


@operator("Scatter", since=9)
@operator("ScatterElements", since=11)
def scatter_elements(n: Node) -> SSAValue:
    b, axis = n.builder, normalized_axis(n, n.attribute("axis", 0), n.type(0).rank)
    tuples, shared = _element_coordinates(n, axis)
    shape = n.type(1).shape
    if shared:
        leading = [b.iota(shape, n.type(1).dtype, i) for i in range(shared)]
        tuples = b.concat([coordinates(b, leading), tuples], len(shape))
    updates = b.reshape(n.value(2), shape)
    return b.scatter_nd(_combination(n), n.value(0), tuples, updates)


@operator("ScatterND", since=11)
def scatter_nd(n: Node) -> SSAValue:
    b, x = n.builder, n.type(0)
    tuples = _wrapped_tuples(n, 0)
    *leading, depth = tensor_type(tuples).shape
    assert depth.value is not None
    updates = b.reshape(n.value(2), [*leading, *x.shape[depth.value :]])
    return b.scatter_nd(_combination(n), n.value(0), tuples, updates)


@operator("TensorScatter", since=24)
def tensor_scatter(n: Node) -> SSAValue:
    b, cache = n.builder, n.type(0)
    axis = normalized_axis(n, n.attribute("axis", -2), cache.rank)
    if axis == 0:
        raise n.error("axis must not be 0, the batch")
    wanted = list(cache.shape)
    wanted[axis] = n.type(1).shape[axis]
    update = with_sizes(n, n.value(1), wanted)
    circular = n.attribute("mode", "linear") == "circular"
    if not n.has(2) and not circular:
        return b.insert_slice(n.value(0), update, [ZERO] * cache.rank)
    prefix = wanted[: axis + 1]
    position = b.iota(prefix, "i64", axis)
    if n.has(2):
        first = b.cast(n.value(2), "i64")
        position = b.add(position, b.reshape(first, [prefix[0], *[ONE] * axis]))
    if circular:
        position = floor_mod(b, position, b.dim(cache.shape[axis]))
    leading = [b.iota(prefix, "i64", i) for i in range(axis)]
    tuples = coordinates(b, [*leading, position])
    return b.scatter_nd("set", n.value(0), tuples, update)


# Sizes that depend on data


@operator("NonZero", since=9)
def nonzero(n: Node) -> SSAValue:
    return n.builder.nonzero(n.value(0), n.fresh_symbol("nonzero"))


def _true_positions(n: Node, mask: SSAValue, hint: str) -> tuple[SSAValue, Dim]:
    """The positions of the true elements of a vector, and how many there are."""
    found = n.builder.nonzero(mask, n.fresh_symbol(hint))
    count = tensor_type(found).shape[1]
    return n.builder.reshape(found, [count]), count


@operator("Compress", since=9)
def compress(n: Node) -> SSAValue:
    b, x = n.builder, n.value(0)
    axis = n.attribute("axis", None)
    if axis is None:
        x, axis = b.reshape(x, [n.type(0).element_count()]), 0
    else:
        axis = normalized_axis(n, axis, n.type(0).rank)
    kept, _ = _true_positions(n, n.value(1), "kept")
    return b.gather(x, kept, axis)


@operator("Unique", since=11)
def unique(n: Node) -> Sequence[SSAValue]:
    b, x, axis = n.builder, n.value(0), n.attribute("axis", None)
    if axis is None:
        x, axis = b.reshape(x, [n.type(0).element_count()]), 0
    axis = normalized_axis(n, axis, tensor_type(x).rank)
    count = tensor_type(x).shape[axis]
    columns = _columns(n, x, axis)
    *ordered, source = b.sort([*columns, b.iota([count], "i64", 0)], 0, keys=len(columns))
    starts = _group_starts(n, ordered, count)
    group = b.sub(b.cumulative("sum", b.cast(starts, "i64"), 0), 1)
    first, found = _true_positions(n, starts, "unique")
    after = b.concat([first, b.reshape(b.dim(count), [ONE])], 0)
    counts = b.sub(b.slice(after, [ONE], [found]), first)
    indices = b.gather(source, first, 0)
    inverse = b.scatter_nd(
        "set", b.full([count], 0, "i64"), b.reshape(source, [count, ONE]), group
    )
    if not n.attribute("sorted", 1):
        indices, order = b.sort([indices, b.iota([found], "i64", 0)], 0)
        counts = b.gather(counts, order, 0)
        rank = b.scatter_nd(
            "set",
            b.full([found], 0, "i64"),
            b.reshape(order, [found, ONE]),
            b.iota([found], "i64", 0),
        )
        inverse = b.gather(rank, inverse, 0)
    return [b.gather(x, indices, axis), indices, inverse, counts]


_MOST_COLUMNS = 256


def _columns(n: Node, x: SSAValue, axis: int) -> list[SSAValue]:
    """The elements of each slice along an axis, one vector a position in the slice."""
    b, shape = n.builder, tensor_type(x).shape
    others = [i for i in range(len(shape)) if i != axis]
    width = need_size(n, product(shape[i] for i in others), "the size of the slices")
    if width > _MOST_COLUMNS:
        raise n.error(
            f"the slices along axis {axis} have {width} elements, more than {_MOST_COLUMNS}"
        )
    rows = b.reshape(b.transpose(x, [axis, *others]), [shape[axis], width])
    return [b.reshape(b.slice_axis(rows, 1, i, 1), [shape[axis]]) for i in range(width)]


def _group_starts(n: Node, columns: Sequence[SSAValue], count: Dim) -> SSAValue:
    """Where sorted rows differ from the one before."""
    b = n.builder
    position = b.iota([count], "i64", 0)
    starts = b.compare("eq", position, 0)
    before = b.max(b.sub(position, 1), 0)
    for column in columns:
        differs = b.compare("ne", column, b.gather(column, before, 0))
        starts = b.logical_or(starts, differs)
    return starts
