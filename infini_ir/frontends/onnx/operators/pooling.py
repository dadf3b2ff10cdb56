"""Pooling: windows and whole images, and its inverse; local response normalization."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.dialects.graph.windows import PoolOp
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.positions import accumulating, mean, wants
from infini_ir.frontends.onnx.operators.spatial import (
    Spatial,
    ceil_mode,
    spatial_attributes,
)
from infini_ir.frontends.onnx.registry import operator
from infini_ir.utils.symbolic import ONE, ZERO, Dim, product


def windows_of(n: Node) -> tuple[Spatial, list[Dim]]:
    """The windows, and the end padding that makes room for the last one."""
    sizes = n.type(0).shape[2:]
    found = spatial_attributes(n, sizes, n.required("kernel_shape"))
    if not n.attribute("ceil_mode", 0):
        return found, found.hi
    return found, ceil_mode(found, sizes)


def pooled(
    n: Node, kind: str, x: SSAValue, found: Spatial, hi: Sequence[Dim], count_pad: bool = False
) -> SSAValue:
    """The pool of a value, with the padding at the ends given."""
    return n.builder.insert(
        PoolOp(
            kind,
            x,
            found.kernel,
            strides=found.strides,
            dilations=found.dilations,
            lo=found.lo,
            hi=hi,
            count_hi=found.hi if count_pad else None,
        )
    ).out


@operator("MaxPool")
def max_pool(n: Node) -> Sequence[SSAValue | None]:
    found, hi = windows_of(n)
    result = pooled(n, "max", n.value(0), found, hi)
    return [result, _max_indices(n, found, hi) if wants(n, 1) else None]


def _max_indices(n: Node, found: Spatial, hi: Sequence[Dim]) -> SSAValue:
    """Which element of the whole input each maximum is."""
    b, x, rank = n.builder, n.type(0), len(found.kernel)
    padding = b.constant(b.lowest(x.dtype), x.dtype)
    padded = b.pad(n.value(0), padding, [0, 0, *found.lo], [0, 0, *hi])
    axes = list(range(2, 2 + rank))
    windows = b.window(padded, axes, found.kernel, found.strides, found.dilations)
    shape = tensor_type(windows).shape[: 2 + rank]
    flat = b.reshape(windows, [*shape, product(Dim.of(k) for k in found.kernel)])
    tap = b.arg_reduce("max", flat, 2 + rank)
    order = range(rank) if not n.attribute("storage_order", 0) else range(rank - 1, -1, -1)
    index: SSAValue | None = None
    for i in order:
        inner = 1
        for size in found.kernel[i + 1 :]:
            inner *= size
        within = b.rem(b.div(tap, inner), found.kernel[i])
        start = b.mul(b.iota(shape, "i64", 2 + i), found.strides[i])
        position = b.add(start, b.mul(within, found.dilations[i]))
        position = b.sub(position, b.dim(found.lo[i]))
        scaled = index if index is None else b.mul(index, b.dim(x.shape[2 + i]))
        index = position if scaled is None else b.add(scaled, position)
    assert index is not None
    plane = b.add(b.mul(b.iota(shape, "i64", 0), b.dim(x.shape[1])), b.iota(shape, "i64", 1))
    return b.add(index, b.mul(plane, b.dim(product(x.shape[2:]))))


@operator("AveragePool")
def average_pool(n: Node) -> SSAValue:
    found, hi = windows_of(n)
    return pooled(n, "avg", n.value(0), found, hi, bool(n.attribute("count_include_pad", 0)))


@operator("LpPool", since=2)
def lp_pool(n: Node) -> SSAValue:
    found, hi = windows_of(n)
    b, p = n.builder, n.attribute("p", 2)
    x = accumulating(b, n.value(0))
    summed = pooled(n, "sum", _power(b, x, p), found, hi)
    return b.cast(_root(b, summed, p), n.type(0).dtype)


def _power(b: GraphBuilder, x: SSAValue, p: int) -> SSAValue:
    if p == 1:
        return b.abs(x)
    return b.mul(x, x) if p == 2 else b.pow(b.abs(x), float(p))


def _root(b: GraphBuilder, x: SSAValue, p: int) -> SSAValue:
    if p == 1:
        return x
    return b.sqrt(x) if p == 2 else b.pow(x, 1.0 / p)


# Whole images


def _spatial_axes(n: Node) -> list[int]:
    return list(range(2, n.type(0).rank))


@operator("GlobalAveragePool")
def global_average_pool(n: Node) -> SSAValue:
    b = n.builder
    averaged = mean(b, accumulating(b, n.value(0)), _spatial_axes(n))
    return b.cast(averaged, n.type(0).dtype)


@operator("GlobalMaxPool")
def global_max_pool(n: Node) -> SSAValue:
    return n.builder.reduce("max", n.value(0), _spatial_axes(n), keep=True)


@operator("GlobalLpPool", since=2)
def global_lp_pool(n: Node) -> SSAValue:
    b, p = n.builder, n.attribute("p", 2)
    x = _power(b, accumulating(b, n.value(0)), p)
    summed = b.reduce("sum", x, _spatial_axes(n), keep=True)
    return b.cast(_root(b, summed, p), n.type(0).dtype)


# Back from a maximum


@operator("MaxUnpool", since=9)
def max_unpool(n: Node) -> SSAValue:
    b, x = n.builder, n.type(0)
    kernel = n.required("kernel_shape")
    found = spatial_attributes(n, x.shape[2:], kernel)
    sizes = [
        (size - 1) * found.strides[i] + found.kernel[i] - found.lo[i] - found.hi[i]
        for i, size in enumerate(x.shape[2:])
    ]
    shape = [*x.shape[:2], *sizes]
    zeros = b.full([product(shape)], 0, x.dtype)
    count = x.element_count()
    placed = b.scatter_nd(
        "set",
        zeros,
        b.reshape(n.value(1), [count, ONE]),
        b.reshape(n.value(0), [count]),
    )
    result = b.reshape(placed, shape)
    if not n.has(2):
        return result
    wanted = n.need_sizes(2)[-len(sizes) :]
    hi = [ZERO, ZERO, *(w - s for w, s in zip(wanted, sizes, strict=True))]
    return b.pad(result, b.constant(0, x.dtype), [0] * x.rank, hi)


# Local response normalization


@operator("LRN")
def local_response_normalization(n: Node) -> SSAValue:
    b, kind = n.builder, n.type(0)
    size = n.required("size")
    x = accumulating(b, n.value(0))
    dtype = tensor_type(x).dtype
    before = (size - 1) // 2
    lo, hi = [0] * kind.rank, [0] * kind.rank
    lo[1], hi[1] = before, size - 1 - before
    near = b.window(b.pad(x, b.constant(0, dtype), lo, hi), [1], [size])
    near = b.reduce("sum", b.mul(near, near), [kind.rank])
    scale = b.add(b.mul(near, n.attribute("alpha", 1e-4) / size), n.attribute("bias", 1.0))
    result = b.div(x, b.pow(scale, n.attribute("beta", 0.75)))
    return b.cast(result, kind.dtype)
