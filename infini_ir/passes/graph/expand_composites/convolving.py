"""Definitions of convolution and pooling: pad, window, then dot or reduce."""

from __future__ import annotations

import math

from xdsl.ir import SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph import Layout, channel_axis, ints_of, spatial_axes, tensor_type
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.passes.graph.expand_composites.common import (
    along_axis,
    compute_type,
    size_as,
    widened,
)
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import ZERO, Dim


def define_conv(op: graph.ConvOp, b: GraphBuilder) -> list[SSAValue]:
    """Windows of the padded operand contracted with the filters, group by group."""
    out = tensor_type(op.out)
    work = _accumulator(op)
    windows = _windows(op, b)
    if op.groups.value.data == 1:
        result = _product(op, b, windows, work)
    else:
        result = _grouped_product(op, b, windows, work)
    if op.bias is not None:
        axis = channel_axis(op.layout.data, out.rank)
        result = b.add(result, along_axis(b, b.cast(op.bias, work), axis, out.rank))
    return [b.cast(result, out.element)]


def _accumulator(op: graph.ConvOp) -> str:
    """The type of the sums, to which the bias is added: f32 under narrow floats."""
    out = tensor_type(op.out).dtype
    if not dtypes.is_float(out):
        return out
    return "f64" if out == "f64" else compute_type(op.x, op.w)


def _windows(op: graph.ConvOp, b: GraphBuilder) -> SSAValue:
    """The spatial axes become numbers of windows; positions in the filter are last."""
    x, n = op.x, tensor_type(op.x).rank - 2
    axes = spatial_axes(op.layout.data, n + 2)
    interior = [d - 1 for d in ints_of(op.input_dilation)]
    if any(d is not ZERO for d in (*op.lo.data, *op.hi.data)) or any(interior):
        around = op.lo.data, op.hi.data
        x = _pad_spatial(b, x, axes, around, interior, op.border_value)
    kernel = _kernel(op)
    return b.window(x, axes, kernel, ints_of(op.strides), ints_of(op.dilations)) if n else x


def _kernel(op: graph.ConvOp) -> tuple[Dim, ...]:
    shape = tensor_type(op.w).shape
    return shape[2:] if op.layout.data is Layout.channels_first else shape[:-2]


def _pad_spatial(
    b: GraphBuilder,
    x: SSAValue,
    axes: tuple[int, ...],
    around: tuple[tuple[Dim, ...], tuple[Dim, ...]],
    interior: list[int],
    value: int | float | bool,
) -> SSAValue:
    kind = tensor_type(x)
    lo, hi, between = [ZERO] * kind.rank, [ZERO] * kind.rank, [0] * kind.rank
    for i, axis in enumerate(axes):
        lo[axis], hi[axis], between[axis] = around[0][i], around[1][i], interior[i]
    return b.pad(x, b.constant(value, kind.dtype), lo, hi, between)


def _product(op: graph.ConvOp, b: GraphBuilder, windows: SSAValue, work: str) -> SSAValue:
    rank = tensor_type(op.x).rank
    n = rank - 2
    taps = list(range(rank, rank + n))
    if op.layout.data is Layout.channels_last:
        contract = [rank - 1, *taps], [n, *range(n)]
        return b.dot(windows, op.w, contract=contract, dtype=work)
    contract = [1, *taps], [1, *range(2, rank)]
    result = b.dot(windows, op.w, contract=contract, dtype=work)
    return b.transpose(result, [0, rank - 1, *range(1, rank - 1)])


def _grouped_product(
    op: graph.ConvOp, b: GraphBuilder, windows: SSAValue, work: str
) -> SSAValue:
    """As the plain product with the groups a batch axis of both operands."""
    rank, groups = tensor_type(op.x).rank, op.groups.value.data
    n, first = rank - 2, op.layout.data is Layout.channels_first
    channel = channel_axis(op.layout.data, rank)
    shape, filters = list(tensor_type(windows).shape), list(tensor_type(op.w).shape)
    shape[channel : channel + 1] = [Dim.of(groups), shape[channel] // groups]
    output = 0 if first else rank - 1
    filters[output : output + 1] = [Dim.of(groups), filters[output] // groups]
    taps = list(range(rank + 1, rank + 1 + n))
    if first:
        contract = [channel + 1, *taps], [2, *range(3, rank + 1)]
    else:
        contract = [channel + 1, *taps], [n, *range(n)]
    # Groups, batch, spatial axes, filters of a group.
    result = b.dot(
        b.reshape(windows, shape),
        b.reshape(op.w, filters),
        batch=([channel], [output]),
        contract=contract,
        dtype=work,
    )
    spatial = list(range(2, n + 2))
    order = [1, 0, n + 2, *spatial] if first else [1, *spatial, 0, n + 2]
    return b.reshape(b.transpose(result, order), tensor_type(op.out).shape)


def define_pool(op: graph.PoolOp, b: GraphBuilder) -> list[SSAValue]:
    """A reduction of the windows of the padded operand; an average divides by counts."""
    x, kind = widened(b, op.x), op.kind.data.name
    dtype, rank = tensor_type(x).dtype, tensor_type(x).rank
    axes = spatial_axes(op.layout.data, rank)
    if any(d is not ZERO for d in (*op.lo.data, *op.hi.data)):
        filler = b.lowest(dtype) if kind == "max" else 0
        x = _pad_spatial(b, x, axes, (op.lo.data, op.hi.data), [0] * len(axes), filler)
    sizes, strides, dilations = map(ints_of, (op.sizes, op.strides, op.dilations))
    if axes:
        x = b.window(x, axes, sizes, strides, dilations)
        x = b.reduce("max" if kind == "max" else "sum", x, range(rank, rank + len(axes)))
    if kind == "avg":
        x = b.div(x, _counts(op, b, dtype))
    return [b.cast(x, tensor_type(op.x).element)]


def _counts(op: graph.PoolOp, b: GraphBuilder, dtype: str) -> SSAValue:
    """How many elements each window averages over: a product of counts along each axis."""
    sizes = ints_of(op.sizes)
    edges = op.hi.data if op.count_hi is None else op.count_hi.data
    inside = all(d.value is not None and d.value <= 0 for d in (*op.lo.data, *edges))
    padding_counts = op.count_hi is not None and op.count_hi == op.hi
    if (inside and op.count_hi is None) or padding_counts:
        return size_as(b, Dim.of(math.prod(sizes)), dtype)
    rank = tensor_type(op.x).rank
    total: SSAValue | None = None
    for i, axis in enumerate(spatial_axes(op.layout.data, rank)):
        line = along_axis(b, _axis_counts(op, b, i, dtype), axis, rank)
        total = line if total is None else b.mul(total, line)
    assert total is not None, "without spatial axes all is inside"
    return total


def _axis_counts(op: graph.PoolOp, b: GraphBuilder, i: int, dtype: str) -> SSAValue:
    """The windows of one axis, summed over ones where elements count and zeros elsewhere."""
    axis = spatial_axes(op.layout.data, tensor_type(op.x).rank)[i]
    line = b.full([tensor_type(op.x).shape[axis]], 1, dtype)
    lo, hi = op.lo.data[i], op.hi.data[i]
    if op.count_hi is not None:
        counted = op.count_hi.data[i]
        line = b.pad(line, b.constant(1, dtype), [lo], [counted])
        lo, hi = ZERO, hi - counted
    line = b.pad(line, b.constant(0, dtype), [lo], [hi])
    size, stride, dilation = (ints_of(v)[i] for v in (op.sizes, op.strides, op.dilations))
    return b.reduce("sum", b.window(line, [0], [size], [stride], [dilation]), [1])
