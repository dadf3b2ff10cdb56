"""Clusters: the graph operations that become one kernel, and how to walk them.

A cluster is walked from its results back to its operands. Elementwise operations commute
with views (transpose, broadcast, reshape, slice, window), so views met on the way are only
collected; at an operand they are applied to its placement. So each operand is seen in the
shape of the kernel's domain, and no index arithmetic is left.
"""

from __future__ import annotations

from xdsl.ir import Block, Operation, SSAValue
from xdsl.rewriter import Rewriter

from infini_ir.dialects import graph
from infini_ir.dialects.graph import tensor_type
from infini_ir.lowering.host_builder import HostBuilder, label_of, origin_of
from infini_ir.lowering.placement import Placement
from infini_ir.lowering.quantizing import quantizes_in_place
from infini_ir.lowering.view_ops import Chain, View, is_view, literal_of, view_of
from infini_ir.passes.graph.expand_composites import DEFINITIONS, expand
from infini_ir.utils.symbolic import Dim

WHOLE = (graph.ConvOp, graph.PoolOp)
"""Composites that have kernels of their own inside clusters."""


class UnfusableError(Exception):
    """A cluster that is not one kernel; its operations are lowered one by one."""


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
        self.inputs: dict[SSAValue, SSAValue] = dict(
            zip(self.block.args, op.operands, strict=True)
        )
        """The host's value of each argument."""
        for inner in list(self.block.ops):
            whole = isinstance(inner, WHOLE) or quantizes_in_place(inner)
            if type(inner) in DEFINITIONS and not whole:
                expand(inner)
        self.results: list[SSAValue] = [result for result in op.results if result.uses]
        """The results that are used; the others are not computed."""
        last = self.block.last_op
        assert isinstance(last, graph.YieldOp)
        pairs = zip(last.values, op.results, strict=True)
        wanted = graph.YieldOp([value for value, result in pairs if result.uses])
        Rewriter.replace_op(last, wanted)

    @property
    def outputs(self) -> tuple[SSAValue, ...]:
        """The values that become the results."""
        last = self.block.last_op
        assert isinstance(last, graph.YieldOp)
        return tuple(last.values)

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


def _body_of(op: Operation) -> Block:
    """A copy of a cluster's body, or a block with a copy of the operation alone."""
    if isinstance(op, graph.FusionOp):
        clone = op.body.clone()
        block = clone.block
        clone.detach_block(block)
        return block
    block = Block(arg_types=[operand.type for operand in op.operands])
    inner = op.clone(dict(zip(op.operands, block.args, strict=True)))
    block.add_ops([inner, graph.YieldOp(inner.results)])
    return block


def probe(shape: tuple[Dim, ...]) -> Placement:
    """A placement whose strides tell the axes apart, to see what views do to them."""
    strides = tuple(
        Dim.of(0) if size.value == 1 else Dim.symbol(f"axis.{i}")
        for i, size in enumerate(shape)
    )
    return Placement(None, Dim.of(0), shape, strides, "i64")
