"""Clusters: the graph operations that become one kernel, and how to walk them.

A cluster is walked from its results back to its operands. Elementwise operations commute
with views (transpose, broadcast, reshape, slice, window), so views met on the way are only
collected; at an operand they are applied to its placement. So each operand is seen in the
shape of the kernel's domain, and no index arithmetic is left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xdsl.ir import Block, Operation, SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph import ints_of, tensor_type
from infini_ir.lowering.host_builder import HostBuilder, label_of, origin_of
from infini_ir.lowering.placement import Placement
from infini_ir.passes.graph.expand_composites import DEFINITIONS, expand
from infini_ir.utils.symbolic import Dim

ViewChange = Callable[[Placement], Placement | None]
WHOLE = (graph.ConvOp, graph.PoolOp)
"""Composites that have kernels of their own inside clusters."""


class UnfusableError(Exception):
    """A cluster that is not one kernel; its operations are lowered one by one."""


@dataclass(frozen=True)
class View:
    """A view operation, as a change of placements. Compared by the operation it is."""

    key: object
    change: ViewChange

    def __eq__(self, other: object) -> bool:
        return isinstance(other, View) and self.key is other.key

    def __hash__(self) -> int:
        return id(self.key)


Chain = tuple[View, ...]
"""Views in the order they are applied to a value."""

VIEW_OPS = (
    graph.TransposeOp,
    graph.BroadcastOp,
    graph.ReshapeOp,
    graph.SliceOp,
    graph.WindowOp,
)


def is_view(op: object) -> bool:
    """Whether the result is another placement of the first operand."""
    return isinstance(op, VIEW_OPS) and not (isinstance(op, graph.SliceOp) and op.dynamic_axes)


def view_of(op: Operation) -> View:
    """A view operation as a change of placements."""
    return View(op, _change_of(op))


def _change_of(op: Operation) -> ViewChange:
    shape = tensor_type(op.results[0]).shape
    if isinstance(op, graph.TransposeOp):
        perm = op.permutation
        return lambda p: p.transposed(perm)
    if isinstance(op, graph.BroadcastOp):
        return lambda p: p.broadcast(shape)
    if isinstance(op, graph.ReshapeOp):
        return lambda p: p.reshaped(shape)
    if isinstance(op, graph.SliceOp):
        starts, steps = op.starts.data, op.step_list
        return lambda p: p.sliced(starts, steps, shape)
    assert isinstance(op, graph.WindowOp)
    axes, sizes = ints_of(op.axes), op.sizes.data
    strides, dilations = ints_of(op.strides), ints_of(op.dilations)
    return lambda p: p.window(axes, sizes, strides, dilations)


def inverse_of(op: Operation) -> View | None:
    """The view that undoes a transpose or reshape; None for views that lose elements."""
    if isinstance(op, graph.TransposeOp):
        perm = op.permutation
        back = [perm.index(axis) for axis in range(len(perm))]
        return View((op, "inverse"), lambda p: p.transposed(back))
    if isinstance(op, graph.ReshapeOp):
        shape = tensor_type(op.x).shape
        return View((op, "inverse"), lambda p: p.reshaped(shape))
    return None


def apply_chain(
    placement: Placement, chain: Chain, host: HostBuilder | None = None
) -> Placement:
    """A placement seen through views; with a host, copied to row-major memory where a
    reshape needs that. Raises `UnfusableError` where it cannot be."""
    for view in chain:
        changed = view.change(placement)
        if changed is None and host is not None and placement.root is not None:
            changed = view.change(host.made_dense(placement))
        if changed is None:
            raise UnfusableError("a reshape of computed values")
        placement = changed
    return placement


class Cluster:
    """
    The operations of a `graph.fusion`, or one operation alone, in a block of their own:
    composites are expanded in it, and nothing outside changes.
    """

    def __init__(self, op: Operation, host: HostBuilder) -> None:
        self.op = op
        self.host = host
        self.block = _body_of(op)
        self.inputs = dict(zip(self.block.args, op.operands, strict=True))
        """The host's value of each argument."""
        for inner in list(self.block.ops):
            if type(inner) in DEFINITIONS and not isinstance(inner, WHOLE):
                expand(inner)
        last = self.block.last_op
        assert isinstance(last, graph.YieldOp)
        self.outputs: tuple[SSAValue, ...] = tuple(last.values)
        self.results = op.results

    @property
    def label(self) -> str:
        label = label_of(self.op)
        if label or not isinstance(self.op, graph.FusionOp):
            return label
        return next((text for text in map(label_of, self.ops()) if text), "")

    @property
    def origin(self) -> str:
        return origin_of(self.op)

    def ops(self) -> list[Operation]:
        """The operations but the yield, composites expanded."""
        return [op for op in self.block.ops if not isinstance(op, graph.YieldOp)]

    def placement(self, value: SSAValue) -> Placement:
        """Where an argument of the block is."""
        return self.host.placement(self.inputs[value])

    def literal(self, value: SSAValue) -> float | int | bool | None:
        """The number that a value is everywhere, if it is one that is known."""
        if value in self.inputs:
            return self.host.literal(self.inputs[value])
        return literal_of(value)

    def is_operand(self, value: SSAValue) -> bool:
        """Whether a value lies in memory: an argument, or a weight or table in the block."""
        return value in self.inputs or isinstance(
            value.owner, graph.WeightOp | graph.ConstantOp
        )

    def operand(self, value: SSAValue, chain: Chain) -> Placement:
        """An operand seen through views."""
        host, owner = self.host, value.owner
        if isinstance(owner, graph.ConstantOp):
            placed = host.constant(owner.array())
        elif isinstance(owner, graph.WeightOp):
            kind = tensor_type(value)
            placed = host.weight(owner.handle.data, kind.dtype, kind.shape)
        else:
            placed = self.placement(value)
        return apply_chain(placed, chain, host)

    def source(self, value: SSAValue) -> tuple[SSAValue, Chain]:
        """The value behind views, and the views."""
        chain: list[View] = []
        while isinstance(value.owner, Operation) and is_view(value.owner):
            chain.append(view_of(value.owner))
            value = value.owner.operands[0]
        return value, tuple(reversed(chain))


def literal_of(value: SSAValue) -> float | int | bool | None:
    """The number that a constant, also through views, has everywhere."""
    owner = value.owner
    while isinstance(owner, Operation) and is_view(owner):
        owner = owner.operands[0].owner
    if not isinstance(owner, graph.ConstantOp) or not owner.value.data:
        return None
    first = owner.value.data[0]
    if len(owner.value.data) > 1 and any(repr(v) != repr(first) for v in owner.value.data):
        return None
    return first


def _body_of(op: Operation) -> Block:
    """A copy of a cluster's body, or a block with a copy of the operation alone."""
    if isinstance(op, graph.FusionOp):
        clone = op.body.clone()
        block = clone.block
        clone.detach_block(block)
        return block
    block = Block(arg_types=[operand.type for operand in op.operands])
    inner = op.clone(dict(zip(op.operands, block.args, strict=True)))
    for index, argument in enumerate(block.args):
        inner.operands[index] = argument
    block.add_ops([inner, graph.YieldOp(inner.results)])
    return block


def probe(shape: tuple[Dim, ...]) -> Placement:
    """A placement whose strides tell the axes apart, to see what views do to them."""
    strides = tuple(Dim.symbol(f"axis.{i}") for i in range(len(shape)))
    return Placement(None, Dim.of(0), shape, strides, "i64")
