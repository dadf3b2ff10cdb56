"""Pooling: the maximum, sum or average of each window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from infini_ir.dialects import graph
from infini_ir.dialects.graph import TensorType, ints_of, tensor_type
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.shaping import CONSTANT_LIMIT
from infini_ir.dialects.graph.windows import PoolKind, spatial_axes
from infini_ir.lowering.cluster import Cluster
from infini_ir.lowering.epilogue import Epilogue
from infini_ir.lowering.expression import accumulation_type
from infini_ir.lowering.host_builder import HostBuilder
from infini_ir.lowering.kernels.contraction import anchors
from infini_ir.lowering.kernels.elementwise import ANCHORS
from infini_ir.lowering.kernels.windowed import WindowSum, launch_windows
from infini_ir.lowering.kernels.windows import (
    arrange_channels_last,
    channels_last_memory,
    filler_of,
    input_of,
    padded,
    spatial_of,
    to_channels_last,
)
from infini_ir.utils.symbolic import ONE, ZERO, Dim


def lower_pool(cluster: Cluster, host: HostBuilder) -> None:
    """A cluster around a `graph.pool`."""
    (op,) = anchors(cluster, graph.PoolOp)
    kind = op.kind.data
    dtype = accumulation_type(tensor_type(op.x).dtype)
    anchor = _divided(op, dtype) if kind is PoolKind.avg else op.out
    rank, layout = tensor_type(op.x).rank, op.layout.data
    spatial = spatial_of(op)
    x, value = input_of(cluster, op.x)
    x = x.transposed(to_channels_last(layout, rank))
    x = padded(host, x, value, spatial, filler_of(op), cluster.label)
    view = x.window(range(1, rank - 1), ints_of(op.sizes), spatial.strides, spatial.dilations)
    name = f"{kind.name}_pool_" + "x".join(map(str, ints_of(op.sizes)))
    windows = WindowSum(name, "max" if kind is PoolKind.max else "add", view)
    epilogue = Epilogue(cluster, anchor, arrange_channels_last(op), dtype)
    launch_windows(
        host,
        cluster,
        windows,
        epilogue,
        dtype,
        lambda result: channels_last_memory(host, result, layout),
    )


ANCHORS[graph.PoolOp] = lower_pool


def _divided(op: graph.PoolOp, dtype: str) -> SSAValue:
    """Divide the sum of each window by its number of elements; gives the sum."""
    b = GraphBuilder(InsertPoint.after(op), op.location)
    out = tensor_type(op.out)
    placeholder = graph.WeightOp("sum", TensorType.of(out.shape, dtype))
    b.insert(placeholder)
    count = _counts(op, b, dtype)
    average = b.cast(b.div(placeholder.out, b.broadcast_to(count, out.shape)), out.element)
    op.out.replace_all_uses_with(average)
    op.out._type = TensorType.of(out.shape, dtype)  # pyright: ignore[reportPrivateUsage]
    Rewriter.replace_op(placeholder, (), [op.out])
    return op.out


def _counts(op: graph.PoolOp, b: GraphBuilder, dtype: str) -> SSAValue:
    """How many elements each window averages, in a shape that repeats to the result."""
    x, out = tensor_type(op.x), tensor_type(op.out)
    sizes = ints_of(op.sizes)
    factors: list[SSAValue] = []
    whole = 1
    for i, axis in enumerate(spatial_axes(op.layout.data, x.rank)):
        below, beyond = ZERO, ZERO
        if op.count_hi is not None:
            below, beyond = op.lo.data[i], op.count_hi.data[i]
        if below is op.lo.data[i] and beyond is op.hi.data[i]:
            whole *= sizes[i]
            continue
        shape: list[Dim] = [ONE] * out.rank
        shape[axis] = out.shape[axis]
        factors.append(
            _counts_along(op, i, x.shape[axis], shape, axis, below, beyond, b, dtype)
        )
    count = b.constant(whole, dtype)
    for factor in factors:
        count = b.mul(factor, count)
    return count


def _counts_along(
    op: graph.PoolOp,
    i: int,
    size: Dim,
    shape: Sequence[Dim],
    axis: int,
    below: Dim,
    beyond: Dim,
    b: GraphBuilder,
    dtype: str,
) -> SSAValue:
    """Along one axis, the number of positions of a window inside [-below, size + beyond)."""
    window = ints_of(op.sizes)[i]
    stride, dilation = ints_of(op.strides)[i], ints_of(op.dilations)[i]
    known = [size.value for size in (op.lo.data[i], shape[axis], size, below, beyond)]
    if None not in known and (known[1] or 0) * 8 <= CONSTANT_LIMIT:
        lo, count, length, before, after = (value or 0 for value in known)
        starts = np.arange(count)[:, None] * stride - lo
        positions = starts + np.arange(window) * dilation
        inside = (positions >= -before) & (positions < length + after)
        sizes = [size.value or 1 for size in shape]
        return b.constant(inside.sum(1).reshape(sizes), dtype)
    last = b.sub(b.dim(size + beyond), 1)
    position = b.mul(b.iota(shape, "i64", axis), stride)
    start = b.sub(position, b.dim(op.lo.data[i]))
    # Shifted so that quotients are of numbers that are not negative.
    first_inside = b.max(b.neg(b.add(start, b.dim(below))), 0)
    first = b.div(b.add(first_inside, dilation - 1), dilation)
    room = b.max(b.add(b.sub(last, start), dilation), 0)
    until = b.min(b.div(room, dilation), window)
    return b.cast(b.max(b.sub(until, first), 0), dtype)
