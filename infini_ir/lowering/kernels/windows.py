"""What convolution and pooling share: the layout with channels last, padding, windows."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from xdsl.ir import Operation, SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph import ints_of, tensor_type
from infini_ir.dialects.graph.windows import Layout, PoolKind, spatial_axes
from infini_ir.lowering.cluster import Cluster, UnfusableError
from infini_ir.lowering.host_builder import HostBuilder, places_operand
from infini_ir.lowering.kernels.joining import pad
from infini_ir.lowering.placement import Placement
from infini_ir.lowering.scalar_builder import bits_of
from infini_ir.lowering.view_ops import Chain, View
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import ONE, ZERO, Dim


@dataclass(frozen=True)
class Spatial:
    """How windows move over the spatial axes."""

    layout: Layout
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

    def padded_shape(self, shape: Sequence[Dim]) -> list[Dim]:
        """The shape, channels last, after padding."""
        result = list(shape)
        for i in range(self.rank):
            spread = (result[i + 1] - 1) * self.input_dilation[i] + 1
            result[i + 1] = spread + self.lo[i] + self.hi[i]
        return result

    def key(self, value: SSAValue, host: HostBuilder, number: float | int | bool) -> Hashable:
        """Equal where the same block sees the same value with the same padding."""
        spread = tuple(self.input_dilation)
        border = tuple(self.lo), tuple(self.hi)
        return value, host.block, self.layout, border, spread, repr(number)


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


def input_of(cluster: Cluster, value: SSAValue) -> tuple[Placement, SSAValue | None]:
    """Where the windowed operand lies; and the host's value where it is just that."""
    source, chain = cluster.source(value)
    if not cluster.is_operand(source):
        raise UnfusableError("a windowed operand that is computed in the cluster")
    return cluster.operand(source, chain), None if chain else cluster.inputs.get(source)


def padded(
    host: HostBuilder,
    x: Placement,
    value: SSAValue | None,
    spatial: Spatial,
    number: float | int | bool,
    label: str,
) -> Placement:
    """[n, spatial.., channels] with its padding, the channels next to each other. `value`
    is what the placement is of, if others may want it padded too."""
    channels = x.rank - 1
    close = x.shape[channels] is ONE or x.strides[channels] is ONE
    if not spatial.pads() and close:
        return x
    key = None if value is None else spatial.key(value, host, number)
    if key in host.padded:
        out, done = host.padded[key]
        if done:
            return out
    else:
        out = host.alloc(spatial.padded_shape(x.shape), x.dtype)
    lo, hi = [ZERO, *spatial.lo, ZERO], [ZERO, *spatial.hi, ZERO]
    interior = [0, *(step - 1 for step in spatial.input_dilation), 0]
    pad(host, x, out, lo, hi, interior, number, label=label)
    if key is not None:
        host.padded[key] = (out, True)
    return out


@places_operand(graph.FusionOp, graph.ConvOp, graph.PoolOp)
def place_in_border(op: Operation, index: int, host: HostBuilder) -> Placement | None:
    """A value that will be padded is computed inside its border."""
    anchor, value = _windowed_operand(op, index)
    if anchor is None:
        return None
    spatial, number = spatial_of(anchor), filler_of(anchor)
    grows = all(size.is_nonnegative() for size in (*spatial.lo, *spatial.hi))
    if not spatial.pads() or not grows or any(step > 1 for step in spatial.input_dilation):
        return None
    kind = tensor_type(value)
    if any(not size.symbols() <= host.symbols for size in kind.shape):
        return None
    perm = to_channels_last(anchor.layout.data, kind.rank)
    key = spatial.key(value, host, number)
    if key not in host.padded:
        shape = spatial.padded_shape([kind.shape[axis] for axis in perm])
        host.padded[key] = (host.alloc(shape, kind.dtype), False)
    out, _ = host.padded[key]
    inner = [kind.shape[axis] for axis in perm]
    inside = out.sliced([ZERO, *spatial.lo, ZERO], None, inner)
    return inside.transposed(from_channels_last(anchor.layout.data, kind.rank))


def _windowed_operand(
    op: Operation, index: int
) -> tuple[graph.ConvOp | graph.PoolOp | None, SSAValue]:
    """The convolution or pool that has operand number `index` as its windowed operand."""
    value = op.operands[index]
    if isinstance(op, graph.ConvOp | graph.PoolOp):
        return (op if index == 0 else None), value
    assert isinstance(op, graph.FusionOp)
    argument = op.body.block.args[index]
    for use in argument.uses:
        user = use.operation
        if isinstance(user, graph.ConvOp | graph.PoolOp) and use.index == 0:
            return user, value
    return None, value


def spatial_of(op: graph.ConvOp | graph.PoolOp) -> Spatial:
    """How the windows of an operation move."""
    strides, dilations = ints_of(op.strides), ints_of(op.dilations)
    spread = ints_of(op.input_dilation) if isinstance(op, graph.ConvOp) else [1] * len(strides)
    hi = op.hi.data
    if isinstance(op, graph.ConvOp) and op.winograd is not None:
        hi = whole_tiles(op)
    return Spatial(op.layout.data, strides, dilations, op.lo.data, hi, spread)


def whole_tiles(op: graph.ConvOp) -> Sequence[Dim]:
    """The padding after the input of a convolution by tiles of 2 x 2 results: a tile at the
    end of an odd size reads one position more."""
    out = tensor_type(op.out)
    axes = spatial_axes(op.layout.data, out.rank)
    odd = ((out.shape[axis].value or 0) % 2 for axis in axes)
    return [size + more for size, more in zip(op.hi.data, odd, strict=True)]


def filler_of(op: graph.ConvOp | graph.PoolOp) -> float | int | bool:
    """What padding holds, so that it changes nothing."""
    if isinstance(op, graph.PoolOp) and op.kind.data is PoolKind.max:
        return lowest(tensor_type(op.x).dtype)
    return op.border_value if isinstance(op, graph.ConvOp) else 0


def lowest(dtype: str) -> float | int | bool:
    """The least value of an element type."""
    if dtype == "i1" or dtypes.is_unsigned(dtype):
        return 0
    return float("-inf") if dtypes.is_float(dtype) else -(1 << (bits_of(dtype) - 1))
