"""Operators that move or mask elements by position: depth and space, Trilu, OneHot."""

from __future__ import annotations

from xdsl.ir import SSAValue

from infini_ir.dialects.graph.types import tensor_type
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.common import normalized_axis
from infini_ir.frontends.onnx.operators.positions import (
    bind,
    coordinates,
    equal_sizes,
    quotient,
    scalar,
    wrapped,
)
from infini_ir.frontends.onnx.registry import operator
from infini_ir.utils.symbolic import ONE, Dim


@operator("DepthToSpace")
def depth_to_space(n: Node) -> SSAValue:
    b, block = n.builder, n.required("blocksize")
    batch, depth, height, width = n.type(0).shape
    depth = quotient(n, depth, block * block)
    if n.attribute("mode", "DCR") == "DCR":
        shape, perm = [batch, block, block, depth, height, width], [0, 3, 4, 1, 5, 2]
    else:
        shape, perm = [batch, depth, block, block, height, width], [0, 1, 4, 2, 5, 3]
    spread = b.transpose(b.reshape(n.value(0), shape), perm)
    return b.reshape(spread, [batch, depth, height * block, width * block])


@operator("SpaceToDepth")
def space_to_depth(n: Node) -> SSAValue:
    b, block = n.builder, n.required("blocksize")
    batch, depth, height, width = n.type(0).shape
    height, width = quotient(n, height, block), quotient(n, width, block)
    blocks = b.reshape(n.value(0), [batch, depth, height, block, width, block])
    perm = [0, 3, 5, 1, 2, 4] if n.attribute("mode", "DCR") == "DCR" else [0, 1, 3, 5, 2, 4]
    return b.reshape(b.transpose(blocks, perm), [batch, depth * block * block, height, width])


@operator("Trilu", since=14)
def trilu(n: Node) -> SSAValue:
    b, x, kind = n.builder, n.value(0), n.type(0)
    if kind.rank < 2:
        raise n.error(f"{kind} is no matrix")
    plane = kind.shape[-2:]
    below = b.sub(b.iota(plane, "i64", 1), b.iota(plane, "i64", 0))
    shift = scalar(n, n.value(1), "i64") if n.has(1) else 0
    keep = b.compare("ge" if n.attribute("upper", 1) else "le", below, shift)
    return b.select(keep, x, False if kind.dtype == "i1" else 0)


@operator("OneHot", since=9)
def one_hot(n: Node) -> SSAValue:
    b, shape = n.builder, list(n.type(0).shape)
    axis = normalized_axis(n, n.attribute("axis", -1), len(shape) + 1)
    depth = _depth(n)
    indices = wrapped(b, b.cast(n.value(0), "i64"), depth)
    shape.insert(axis, depth)
    hot = b.compare("eq", b.unsqueeze(indices, [axis]), b.iota(shape, "i64", axis))
    values = n.value(2)
    off, on = (b.reshape(b.slice(values, [i], [1]), []) for i in (0, 1))
    return b.select(hot, on, off)


def _depth(n: Node) -> Dim:
    known = n.known(1)
    if known is not None:
        return Dim.of(int(known.ravel()[0]))
    sizes = n.sizes(1)
    if sizes is not None:
        return sizes[0]
    return bind(n, scalar(n, n.value(1), "i64"), "depth")


@operator("ReverseSequence", since=10)
def reverse_sequence(n: Node) -> SSAValue:
    b, x, kind = n.builder, n.value(0), n.type(0)
    time, batch = n.attribute("time_axis", 0), n.attribute("batch_axis", 1)
    if {time, batch} != {0, 1}:
        raise n.error("time_axis and batch_axis must be 0 and 1")
    rows, steps = kind.shape[batch], kind.shape[time]
    equal_sizes(n, n.type(1).shape[0], rows)
    lengths = b.cast(b.reshape(n.value(1), [rows, ONE]), "i64")
    step = b.iota([rows, steps], "i64", 1)
    mirrored = b.sub(b.sub(lengths, 1), step)
    source = b.select(b.compare("lt", step, lengths), mirrored, step)
    swap = [1, 0, *range(2, kind.rank)] if time == 0 else list(range(kind.rank))
    picked = b.gather_nd(b.transpose(x, swap), coordinates(b, [source]), 1)
    assert tensor_type(picked).rank == kind.rank
    return b.transpose(picked, swap)
