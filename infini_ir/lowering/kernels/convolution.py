"""Convolutions: a product over a view of sliding windows, or for one filter a channel a sum
over each window."""

from __future__ import annotations

from xdsl.rewriter import InsertPoint, Rewriter

from infini_ir.dialects import graph
from infini_ir.dialects.graph import tensor_type
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.windows import Layout, channel_axis
from infini_ir.lowering.cluster import Cluster
from infini_ir.lowering.epilogue import Epilogue
from infini_ir.lowering.expression import accumulation_type
from infini_ir.lowering.host_builder import HostBuilder
from infini_ir.lowering.kernels.contraction import Contraction, anchors, launch_contraction
from infini_ir.lowering.kernels.elementwise import ANCHORS
from infini_ir.lowering.kernels.windowed import WindowSum, launch_windows
from infini_ir.lowering.kernels.windows import (
    Spatial,
    arrange_channels_last,
    channels_last_memory,
    filler_of,
    input_of,
    padded,
    spatial_of,
    to_channels_last,
)
from infini_ir.lowering.kernels.winograd import Winograd, lower_winograd
from infini_ir.lowering.placement import Placement
from infini_ir.lowering.view_ops import Chain, View
from infini_ir.utils.symbolic import ONE, Dim


def lower_convolution(cluster: Cluster, host: HostBuilder) -> None:
    """A cluster around a `graph.conv`."""
    (op,) = anchors(cluster, graph.ConvOp)
    op = _bare(op)
    spatial = spatial_of(op)
    layout, rank = op.layout.data, tensor_type(op.x).rank
    x, value = input_of(cluster, op.x)
    w = _filters(input_of(cluster, op.w)[0], layout)
    groups = op.groups.value.data
    kernel = w.shape[: spatial.rank]
    outer, inner = w.shape[-1], w.shape[-2]
    name = "conv_" + "x".join(map(str, kernel)) if kernel else "conv"
    kernel_dtype = accumulation_type(tensor_type(op.out).dtype)
    x = x.transposed(to_channels_last(layout, rank))
    x = padded(host, x, value, spatial, filler_of(op), cluster.label)
    own = lambda result: channels_last_memory(host, result, layout)  # noqa: E731
    depthwise = groups > 1 and inner is ONE and outer is x.shape[-1]
    channels_last = arrange_channels_last(op)
    if op.winograd is not None:
        epilogue = Epilogue(cluster, op.out, channels_last, kernel_dtype)
        lower_winograd(host, cluster, Winograd(x, w, op), epilogue, own)
        return
    if depthwise:
        epilogue = Epilogue(cluster, op.out, channels_last, kernel_dtype)
        view = x.window(range(1, rank - 1), kernel, spatial.strides, spatial.dilations)
        windows = WindowSum(f"depthwise_{name}", "add", view, w.reshaped([*kernel, outer]))
        launch_windows(host, cluster, windows, epilogue, kernel_dtype, own)
        return
    dot, arrange = _as_product(op, x, w, spatial, groups, kernel)
    dot.name = name if groups == 1 else f"grouped_{name}"
    epilogue = Epilogue(cluster, op.out, (*channels_last, *arrange), kernel_dtype)
    launch_contraction(host, cluster, dot, epilogue, kernel_dtype, own)


ANCHORS[graph.ConvOp] = lower_convolution


def _bare(op: graph.ConvOp) -> graph.ConvOp:
    """The convolution alone in the type it accumulates in; bias and rounding follow it."""
    out = tensor_type(op.out)
    wide = accumulation_type(out.dtype)
    if op.bias is None and wide == out.dtype:
        return op
    b = GraphBuilder(InsertPoint.before(op), op.location)
    bare = b.insert(op.changed(op.x, op.w, None, dtype=wide))
    total = bare.out
    if op.bias is not None:
        shape: list[Dim] = [ONE] * out.rank
        axis = channel_axis(op.layout.data, out.rank)
        shape[axis] = out.shape[axis]
        bias = b.reshape(b.cast(op.bias, wide), shape)
        total = b.add(total, b.broadcast_to(bias, out.shape))
    Rewriter.replace_op(op, (), [b.cast(total, out.element)])
    return bare


def _filters(w: Placement, layout: Layout) -> Placement:
    """[kernel.., inner channels, outer channels]."""
    if layout is Layout.channels_last:
        return w
    return w.transposed([*range(2, w.rank), 1, 0])


def _as_product(
    op: graph.ConvOp,
    x: Placement,
    w: Placement,
    spatial: Spatial,
    groups: int,
    kernel: tuple[Dim, ...],
) -> tuple[Contraction, Chain]:
    """m: images and positions; n: filters of a group; k: window positions and channels of a
    group; batch: groups. And the view that brings a result with channels last to that."""
    count, inner, outer = spatial.rank, w.shape[-2], w.shape[-1]
    n = outer.exact_divide(groups)
    assert n is not None
    split = x.reshaped([*x.shape[:-1], groups, inner])
    filters = w.reshaped([*kernel, inner, groups, n])
    assert split is not None and filters is not None
    seen = split.window(range(1, count + 1), kernel, spatial.strides, spatial.dilations)
    # [images, positions.., groups, channels, window..]
    first = count + 1
    window = range(first + 2, first + 2 + count)
    a = seen.transposed([first, *range(first), *window, first + 1])
    b = filters.transposed([count + 1, count + 2, *range(count), count])
    result = [*seen.shape[:first], groups, n]
    order = [first, *range(first), first + 1]
    arrange = View((op, "groups"), lambda p: _grouped(p, result, order))
    return Contraction("conv", a, b, 1, first, 1, count + 1), (arrange,)


def _grouped(p: Placement, shape: list, order: list[int]) -> Placement | None:
    split = p.reshaped(shape)
    return None if split is None else split.transposed(order)
