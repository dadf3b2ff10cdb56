"""Operators that change shapes: reshape, transpose, broadcast, concatenate, split."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from infini_ir.dialects.graph.types import tensor_type
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.common import normalized_axis
from infini_ir.frontends.onnx.operators.positions import (
    axes_of,
    bind,
    elements,
    equal_sizes,
    quotient,
)
from infini_ir.frontends.onnx.registry import operator
from infini_ir.utils.symbolic import ONE, ZERO, Dim, maximum, product

# Reshape and its kin


@operator("Reshape", since=5)
def reshape(n: Node) -> SSAValue:
    x = n.type(0)
    sizes = n.sizes(1)
    if sizes is None:
        shape = _run_time_shape(n, x.shape)
    else:
        shape = _target_shape(n, x.shape, sizes)
    return n.builder.reshape(n.value(0), shape)


def _target_shape(n: Node, shape: Sequence[Dim], target: Sequence[Dim]) -> list[Dim]:
    result = list(target)
    if not n.attribute("allowzero", 0):
        for i, size in enumerate(target):
            if size is ZERO:
                if i >= len(shape):
                    raise n.error(f"size 0 at {i} copies an axis that {n.type(0)} lacks")
                result[i] = shape[i]
    holes = [i for i, size in enumerate(target) if size.value == -1]
    if len(holes) > 1:
        raise n.error("the shape has more than one -1")
    total = product(shape)
    if not holes:
        equal_sizes(n, total, product(result))
        return result
    others = product(size for i, size in enumerate(result) if i != holes[0])
    result[holes[0]] = quotient(n, total, others)
    return result


def _run_time_shape(n: Node, shape: Sequence[Dim]) -> list[Dim]:
    """The shape from a run-time vector, in which 0 copies an axis and -1 takes the rest."""
    b = n.builder
    wanted = elements(n, n.value(1))
    copied: list[SSAValue] = []
    for i, value in enumerate(wanted):
        if i < len(shape) and not n.attribute("allowzero", 0):
            value = b.select(b.compare("eq", value, 0), b.dim(shape[i]), value)
        copied.append(value)
    others = b.constant(1, "i64")
    for value in copied:
        others = b.mul(others, b.select(b.compare("eq", value, -1), 1, value))
    rest = b.div(b.dim(product(shape)), others)
    result = [
        bind(n, b.select(b.compare("eq", value, -1), rest, value), "size") for value in copied
    ]
    n.add_fact(product(result), "eq", product(shape))
    return result


@operator("Flatten")
def flatten(n: Node) -> SSAValue:
    shape = n.type(0).shape
    axis = n.attribute("axis", 1)
    axis = axis if axis == len(shape) else normalized_axis(n, axis, len(shape)) if shape else 0
    return n.builder.reshape(n.value(0), [product(shape[:axis]), product(shape[axis:])])


def _axes_operand(n: Node) -> list[int] | None:
    """Axes: an attribute before opset 13, operand 1 since."""
    if n.opset < 13:
        return n.attribute("axes", None)
    if not n.has(1):
        return None
    return [int(axis) for axis in n.need_known(1, "axes").ravel()]


@operator("Squeeze")
def squeeze(n: Node) -> SSAValue:
    shape = n.type(0).shape
    axes = _axes_operand(n)
    if axes is None:
        for size in shape:
            if not size.is_constant:
                raise n.needs_value(n.builder.dim(size), "which sizes are 1 (or the axes)")
        chosen = [i for i, size in enumerate(shape) if size is ONE]
    else:
        chosen = axes_of(n, axes, len(shape))
    for axis in chosen:
        equal_sizes(n, shape[axis], ONE)
    return n.builder.reshape(n.value(0), [d for i, d in enumerate(shape) if i not in chosen])


@operator("Unsqueeze")
def unsqueeze(n: Node) -> SSAValue:
    axes = _axes_operand(n)
    if axes is None:
        raise n.error("has no axes")
    rank = n.type(0).rank + len(axes)
    return n.builder.unsqueeze(n.value(0), axes_of(n, axes, rank))


@operator("Transpose")
def transpose(n: Node) -> SSAValue:
    rank = n.type(0).rank
    perm = n.attribute("perm", None)
    if perm is None:
        perm = range(rank - 1, -1, -1)
    perm = axes_of(n, perm, rank)
    if len(perm) != rank:
        raise n.error(f"perm {perm} does not order the axes of {n.type(0)}")
    return n.builder.transpose(n.value(0), perm)


# Repetition


@operator("Expand", since=8)
def expand(n: Node) -> SSAValue:
    b, x = n.builder, n.value(0)
    own = list(n.type(0).shape)
    sizes = n.sizes(1)
    wanted = sizes if sizes is not None else n.need_sizes(1)
    rank = max(len(own), len(wanted))
    own = [ONE] * (rank - len(own)) + own
    wanted = [ONE] * (rank - len(wanted)) + list(wanted)
    shape: list[Dim] = []
    for size, want in zip(own, wanted, strict=True):
        if want is ONE or size is ONE:
            shape.append(want if size is ONE else size)
        elif sizes is None:
            # The run-time size is this one or 1.
            n.add_fact((want - 1) * (want - size), "eq", ZERO)
            shape.append(size)
        else:
            shape.append(equal_sizes(n, size, want))
    renamed = [s if o is not ONE else ONE for o, s in zip(own, shape, strict=True)]
    return b.broadcast_to(b.reshape(x, renamed), shape)


@operator("Tile", since=6)
def tile(n: Node) -> SSAValue:
    b, x, shape = n.builder, n.value(0), n.type(0).shape
    repeats = n.sizes(1)
    repeats = repeats if repeats is not None else n.need_sizes(1)
    if len(repeats) != len(shape):
        raise n.error(f"{len(repeats)} repeats given for {n.type(0)}")
    spread: list[Dim] = []
    repeated: list[Dim] = []
    for size, count in zip(shape, repeats, strict=True):
        if size is ONE or count is ONE:
            spread.append(size)
            repeated.append(size * count)
        else:
            spread += [ONE, size]
            repeated += [count, size]
    wide = b.broadcast_to(b.reshape(x, spread), repeated)
    return b.reshape(wide, [d * r for d, r in zip(shape, repeats, strict=True)])


# Concat and Split


@operator("Concat", since=4)
def concat(n: Node) -> SSAValue:
    b, values = n.builder, [n.value(i) for i in range(n.count)]
    axis = normalized_axis(n, n.required("axis"), n.type(0).rank)
    return b.concat(joined_sizes(n, values, axis), axis)


def joined_sizes(n: Node, values: Sequence[SSAValue], axis: int) -> list[SSAValue]:
    """The values, their sizes renamed to be the same in every axis but one."""
    shapes = [list(tensor_type(value).shape) for value in values]
    rank = len(shapes[0])
    if any(len(shape) != rank for shape in shapes):
        raise n.error(f"ranks differ: {', '.join(str(v.type) for v in values)}")
    for i in range(rank):
        if i != axis:
            size = shapes[0][i]
            for shape in shapes[1:]:
                size = equal_sizes(n, size, shape[i])
            for shape in shapes:
                shape[i] = size
    return [n.builder.reshape(v, shape) for v, shape in zip(values, shapes, strict=True)]


@operator("Split", since=2)
def split(n: Node) -> Sequence[SSAValue]:
    b, x = n.builder, n.value(0)
    axis = normalized_axis(n, n.attribute("axis", 0), n.type(0).rank)
    start, parts = ZERO, []
    for size in _split_sizes(n, n.type(0).shape[axis]):
        parts.append(b.slice_axis(x, axis, start, size))
        start = start + size
    return parts


def _split_sizes(n: Node, total: Dim) -> Sequence[Dim]:
    sizes: Sequence[Dim] | None = None
    if n.opset < 13:
        given = n.attribute("split", None)
        sizes = [Dim.of(size) for size in given] if given else None
    elif n.has(1):
        sizes = n.sizes(1)
        sizes = sizes if sizes is not None else n.need_sizes(1)
    if sizes is not None:
        equal_sizes(n, sum(sizes, ZERO), total)
        return sizes
    count = n.attribute("num_outputs", len(n.outputs)) if n.opset >= 18 else len(n.outputs)
    if n.opset >= 18:
        size = total.ceil_divide(count)
    else:
        size = quotient(n, total, Dim.of(count))
    last = total - size * (count - 1)
    if last.value is not None and last.value < 0:
        last = maximum(last, 0)
    return [*[size] * (count - 1), last]
