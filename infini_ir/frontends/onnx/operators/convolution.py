"""Convolutions: Conv, ConvTranspose, DeformConv, Col2Im."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.dialects.graph.windows import ConvOp
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.common import size_as
from infini_ir.frontends.onnx.operators.positions import (
    coordinates,
    equal_sizes,
    flipped,
    need_size,
    quotient,
    with_sizes,
)
from infini_ir.frontends.onnx.operators.spatial import (
    Spatial,
    spatial_attributes,
    spatial_list,
    split_padding,
)
from infini_ir.frontends.onnx.registry import operator
from infini_ir.utils.symbolic import ONE, ZERO, Dim, product


def kernel_of(n: Node, i: int, first: int = 2) -> list[int]:
    """The kernel sizes from the shape of the filters, operand `i`."""
    kernel = [need_size(n, size, "the size of the kernel") for size in n.type(i).shape[first:]]
    given = n.attribute("kernel_shape", None)
    if given and list(given) != kernel:
        raise n.error(f"kernel_shape {given} is not that of the filters, {kernel}")
    return kernel


@operator("Conv")
def conv(n: Node) -> SSAValue:
    found = spatial_attributes(n, n.type(0).shape[2:], kernel_of(n, 1))
    groups = n.attribute("group", 1)
    outer, inner, *kernel = n.type(1).shape
    outer = quotient(n, outer, groups) * groups
    return n.builder.insert(
        ConvOp(
            _with_channels(n, inner * groups),
            with_sizes(n, n.value(1), [outer, inner, *kernel]),
            _bias(n, outer),
            groups=groups,
            strides=found.strides,
            dilations=found.dilations,
            lo=found.lo,
            hi=found.hi,
        )
    ).out


def _with_channels(n: Node, channels: Dim) -> SSAValue:
    """Operand 0 with its number of channels called as the filters call it."""
    shape = n.type(0).shape
    return with_sizes(n, n.value(0), [shape[0], channels, *shape[2:]])


def _bias(n: Node, channels: Dim) -> SSAValue | None:
    return with_sizes(n, n.value(2), [channels]) if n.has(2) else None


@operator("ConvTranspose")
def conv_transpose(n: Node) -> SSAValue:
    kernel, sizes = kernel_of(n, 1), n.type(0).shape[2:]
    strides = spatial_list(n, "strides", len(kernel), 1)
    dilations = spatial_list(n, "dilations", len(kernel), 1)
    extra = spatial_list(n, "output_padding", len(kernel), 0)
    reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
    full = [
        (size - 1) * s + r + 1 + e
        for size, s, r, e in zip(sizes, strides, reach, extra, strict=True)
    ]
    begin, end = _transposed_padding(n, sizes, strides, full)
    groups = n.attribute("group", 1)
    inner, outer = n.type(1).shape[:2]
    return n.builder.insert(
        ConvOp(
            _with_channels(n, inner),
            _transposed_filters(n, groups),
            _bias(n, outer * groups),
            groups=groups,
            dilations=dilations,
            lo=[r - p for r, p in zip(reach, begin, strict=True)],
            hi=[r + e - p for r, e, p in zip(reach, extra, end, strict=True)],
            input_dilation=strides,
        )
    ).out


def _transposed_padding(
    n: Node, sizes: Sequence[Dim], strides: Sequence[int], full: Sequence[Dim]
) -> tuple[list[Dim], list[Dim]]:
    """How much each end of the full result loses."""
    auto, wanted = n.attribute("auto_pad", "NOTSET"), n.attribute("output_shape", None)
    if wanted:
        target = [Dim.of(size) for size in wanted[-len(sizes) :]]
    elif auto in ("SAME_UPPER", "SAME_LOWER"):
        target = [size * stride for size, stride in zip(sizes, strides, strict=True)]
    else:
        pads = (n.attribute("pads", None) if auto != "VALID" else None) or [0] * 2 * len(sizes)
        return [Dim.of(p) for p in pads[: len(sizes)]], [Dim.of(p) for p in pads[len(sizes) :]]
    begin, end = [], []
    for whole, size in zip(full, target, strict=True):
        total = whole - size
        beyond = total.value is not None and total.value < 0
        lo, hi = (ZERO, total) if beyond else split_padding(total, auto == "SAME_UPPER")
        begin.append(lo)
        end.append(hi)
    return begin, end


def _transposed_filters(n: Node, groups: int) -> SSAValue:
    """Filters [C, M/g, kernel..] as those of the convolution, [M, C/g, kernel..] reversed."""
    b, shape = n.builder, n.type(1).shape
    inner, kernel = quotient(n, shape[0], groups), shape[2:]
    rank = len(shape)
    grouped = b.reshape(n.value(1), [Dim.of(groups), inner, *shape[1:]])
    swapped = b.transpose(grouped, [0, 2, 1, *range(3, rank + 1)])
    filters = b.reshape(swapped, [shape[1] * groups, inner, *kernel])
    return flipped(b, filters, range(2, rank))


# Deformable convolution


@dataclass
class _Sampling:
    """Where a deformable convolution reads: [N, groups, kernel, out h, out w] each."""

    y: SSAValue
    x: SSAValue


@operator("DeformConv", since=19)
def deform_conv(n: Node) -> SSAValue:
    b, x, filters = n.builder, n.type(0), n.type(1)
    if x.rank != 4:
        raise n.error(f"only two spatial axes are supported, not those of {x}")
    found = spatial_attributes(n, x.shape[2:], kernel_of(n, 1))
    groups, offset_groups = n.attribute("group", 1), n.attribute("offset_group", 1)
    where = _deformed_positions(n, found, offset_groups)
    columns = _sampled(n, where, offset_groups)
    if n.has(4):
        mask = b.reshape(n.value(4), [*tensor_type(where.y).shape, ONE])
        columns = b.mul(columns, mask)
    batch, _, taps, height, width, inner = tensor_type(columns).shape
    # [N, G, taps, h, w, C/G] to [N, groups, C/groups * taps, h * w]
    columns = b.transpose(columns, [0, 1, 5, 2, 3, 4])
    channels = inner * offset_groups
    per_group = quotient(n, channels, groups) * taps
    columns = b.reshape(columns, [batch, Dim.of(groups), per_group, height * width])
    equal_sizes(n, per_group, filters.shape[1] * taps)
    outer = quotient(n, filters.shape[0], groups)
    weights = b.reshape(n.value(1), [Dim.of(groups), outer, per_group])
    result = b.dot(weights, columns, batch=([0], [1]), contract=([2], [2]))
    result = b.reshape(
        b.transpose(result, [2, 0, 1, 3]), [batch, filters.shape[0], height, width]
    )
    if n.has(3):
        result = b.add(result, b.reshape(n.value(3), [filters.shape[0], ONE, ONE]))
    return result


def _deformed_positions(n: Node, found: Spatial, offset_groups: int) -> _Sampling:
    """The regular grid of the kernel's taps moved by the offsets, operand 2."""
    b, kernel = n.builder, found.kernel
    batch, _, height, width = n.type(2).shape
    batch = equal_sizes(n, n.type(0).shape[0], batch)
    taps = kernel[0] * kernel[1]
    offsets = b.reshape(
        n.value(2), [batch, Dim.of(offset_groups), Dim.of(taps), Dim.of(2), height, width]
    )
    dtype = n.type(2).dtype
    moved: list[SSAValue] = []
    for i, out in enumerate((height, width)):
        tap_shape = [Dim.of(kernel[0]), Dim.of(kernel[1]), ONE, ONE]
        tap = b.mul(b.iota(tap_shape, dtype, i), found.dilations[i])
        tap = b.reshape(tap, [Dim.of(taps), ONE, ONE])
        out_shape = [ONE, out, ONE] if i == 0 else [ONE, ONE, out]
        start = b.mul(b.iota(out_shape, dtype, i + 1), found.strides[i])
        grid = b.sub(b.add(tap, start), size_as(b, found.lo[i], dtype))
        part = b.reshape(
            b.slice_axis(offsets, 3, i, 1),
            [batch, Dim.of(offset_groups), Dim.of(taps), height, width],
        )
        moved.append(b.add(part, grid))
    return _Sampling(*moved)


def _sampled(n: Node, where: _Sampling, groups: int) -> SSAValue:
    """Bilinear samples, 0 outside: [N, groups, taps, h, w, C/groups]."""
    b = n.builder
    _, channels, height, width = n.type(0).shape
    inner = quotient(n, channels, groups)
    batch = tensor_type(where.y).shape[0]
    pixels = b.reshape(n.value(0), [batch, Dim.of(groups), inner, height, width])
    pixels = b.transpose(pixels, [0, 1, 3, 4, 2])
    total: SSAValue | None = None
    top, left = b.floor(where.y), b.floor(where.x)
    for dy in (0, 1):
        for dx in (0, 1):
            y, x_ = b.add(top, dy), b.add(left, dx)
            weight = b.mul(_closeness(b, where.y, y), _closeness(b, where.x, x_))
            inside = b.logical_and(_inside(b, y, height), _inside(b, x_, width))
            weight = b.select(inside, weight, 0)
            tuples = coordinates(b, [b.cast(y, "i64"), b.cast(x_, "i64")])
            corner = b.gather_nd(pixels, tuples, 2)
            weight = b.reshape(weight, [*tensor_type(weight).shape, ONE])
            part = b.mul(corner, weight)
            total = part if total is None else b.add(total, part)
    assert total is not None
    return total


def _closeness(b: GraphBuilder, position: SSAValue, corner: SSAValue) -> SSAValue:
    return b.sub(1, b.abs(b.sub(position, corner)))


def _inside(b: GraphBuilder, position: SSAValue, size: Dim) -> SSAValue:
    limit = b.cast(b.dim(size), tensor_type(position).dtype)
    return b.logical_and(b.compare("ge", position, 0), b.compare("lt", position, limit))


# Col2Im


@operator("Col2Im", since=18)
def col_to_image(n: Node) -> SSAValue:
    b = n.builder
    image, block = n.need_sizes(1), n.need_sizes(2)
    rank = len(image)
    strides = spatial_list(n, "strides", rank, 1)
    dilations = spatial_list(n, "dilations", rank, 1)
    pads = n.attribute("pads", None) or [0] * (2 * rank)
    counts = [
        (image[i] + pads[i] + pads[i + rank] - (block[i] - 1) * dilations[i] - 1) // strides[i]
        + 1
        for i in range(rank)
    ]
    batch, rows, columns = n.type(0).shape
    equal_sizes(n, columns, product(counts))
    channels = quotient(n, rows, product(block))
    shape = [*block, *counts]
    parts: list[SSAValue] = []
    for i in range(rank):
        inner = b.mul(b.iota(shape, "i64", i), dilations[i])
        outer = b.mul(b.iota(shape, "i64", rank + i), strides[i])
        parts.append(b.sub(b.add(inner, outer), pads[i]))
    updates = b.reshape(n.value(0), [batch, channels, *shape])
    order = [*range(2, 2 + 2 * rank), 0, 1]
    zeros = b.full([*image, batch, channels], 0, n.type(0).dtype)
    summed = b.scatter_nd("add", zeros, coordinates(b, parts), b.transpose(updates, order))
    return b.transpose(summed, [rank, rank + 1, *range(rank)])
