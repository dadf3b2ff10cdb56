"""What convolution and pooling share: the layout with channels last, padding, windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph import tensor_type
from infini_ir.dialects.graph.composites import Layout
from infini_ir.lowering.cluster import Cluster, UnfusableError
from infini_ir.lowering.host_builder import HostBuilder
from infini_ir.lowering.kernels.joining import pad
from infini_ir.lowering.placement import Placement
from infini_ir.lowering.view_ops import Chain, View
from infini_ir.utils.symbolic import ONE, ZERO, Dim


@dataclass(frozen=True)
class Spatial:
    """How windows move over the spatial axes."""

    strides: Sequence[int]
    dilations: Sequence[int]
    lo: Sequence[Dim]
    hi: Sequence[Dim]
    input_dilation: Sequence[int]

    @property
    def rank(self) -> int:
        return len(self.strides)

    def pads(self) -> bool:
        """Whether the input has to be laid out anew."""
        moved = any(size is not ZERO for size in (*self.lo, *self.hi))
        return moved or any(step > 1 for step in self.input_dilation)


def to_channels_last(layout: Layout, rank: int) -> list[int]:
    """The permutation that brings the channels last."""
    if layout is Layout.channels_first:
        return [0, *range(2, rank), 1]
    return list(range(rank))


def from_channels_last(layout: Layout, rank: int) -> list[int]:
    perm = to_channels_last(layout, rank)
    return [perm.index(axis) for axis in range(rank)]


def arrange_channels_last(op: graph.ConvOp | graph.PoolOp) -> Chain:
    """The view of the result that has the channels last."""
    perm = to_channels_last(op.layout.data, tensor_type(op.out).rank)
    return (View(op, lambda p: p.transposed(perm)),)


def channels_last_memory(host: HostBuilder, result: SSAValue, layout: Layout) -> Placement:
    """Memory for a result that may lie as it likes: with the channels last."""
    kind = tensor_type(result)
    perm = to_channels_last(layout, kind.rank)
    made = host.alloc([kind.shape[axis] for axis in perm], kind.dtype)
    return made.transposed(from_channels_last(layout, kind.rank))


def input_of(cluster: Cluster, value: SSAValue) -> Placement:
    """The windowed operand, which lies in memory."""
    source, chain = cluster.source(value)
    if not cluster.is_operand(source):
        raise UnfusableError("a windowed operand that is computed in the cluster")
    return cluster.operand(source, chain)


def padded(
    host: HostBuilder,
    x: Placement,
    spatial: Spatial,
    number: float | int | bool,
    label: str,
) -> Placement:
    """[n, spatial.., channels] with its padding, the channels next to each other."""
    channels = x.rank - 1
    close = x.shape[channels] is ONE or x.strides[channels] is ONE
    if not spatial.pads() and close:
        return x
    shape = list(x.shape)
    for i in range(spatial.rank):
        spread = (shape[i + 1] - 1) * spatial.input_dilation[i] + 1
        shape[i + 1] = spread + spatial.lo[i] + spatial.hi[i]
    out = host.alloc(shape, x.dtype)
    lo, hi = [ZERO, *spatial.lo, ZERO], [ZERO, *spatial.hi, ZERO]
    interior = [0, *(step - 1 for step in spatial.input_dilation), 0]
    pad(host, x, out, lo, hi, interior, number, label=label)
    return out
