"""Moving the operations of a cluster into the region of a `graph.fusion`."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from xdsl.ir import Block, Operation, Region, SSAValue

from infini_ir.dialects.graph import FusionOp, TensorType, YieldOp
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.passes.graph.fuse.clusters import Cluster, all_mentioned, read_values, source_of
from infini_ir.passes.graph.fuse.forms import (
    Form,
    fused_operands,
    is_anchor,
    is_free,
    is_unit_reshape,
)
from infini_ir.passes.graph.rules import is_pure, is_unused
from infini_ir.passes.graph.symbols import defined_symbols


class Outliner:
    """Builds the region of one cluster."""

    def __init__(self, cluster: Cluster, steps: frozenset[Operation] = frozenset()) -> None:
        """`steps` make factors of products and are repeated in the clusters of these."""
        self.cluster = cluster
        self.steps = steps
        self.body = Block()
        self.inputs: list[SSAValue] = []
        self.inside: dict[SSAValue, SSAValue] = {}
        """Values of members and of what is copied, by the original."""
        self.arguments: dict[SSAValue, SSAValue] = {}

    def run(self) -> None:
        # The anchor reads nothing but operands of the cluster, so that it can come first.
        for op in sorted(self.cluster.ops, key=lambda op: not is_anchor(op)):
            free = {*fused_operands(op), *(v for v in op.operands if v.owner in self.steps)}
            mapping = {v: self.take(v) if v in free else self.argument(v) for v in op.operands}
            self.copy(op, mapping)

    def copy(self, op: Operation, mapping: dict[SSAValue, SSAValue]) -> None:
        clone = op.clone(dict(mapping))
        clone.location = op.location
        self.body.add_op(clone)
        self.inside.update(zip(op.results, clone.results, strict=True))

    def argument(self, value: SSAValue) -> SSAValue:
        """The region's argument for a value from outside."""
        if value not in self.arguments:
            self.inputs.append(value)
            argument = self.body.insert_arg(value.type, len(self.body.args))
            argument.name_hint = value.name_hint
            self.arguments[value] = argument
        return self.arguments[value]

    def take(self, value: SSAValue) -> SSAValue:
        """The value inside the region, with the repetitions that lead to it."""
        if value in self.inside:
            return self.inside[value]
        owner = value.owner
        if isinstance(owner, Operation) and self.is_copied(owner):
            self.copy(owner, {v: self.take(v) for v in owner.operands})
            return self.inside[value]
        return self.argument(value)

    def is_copied(self, op: Operation) -> bool:
        """Whether an operation outside is repeated inside rather than read from memory."""
        if is_free(op) or op in self.steps:
            return True
        domain = self.cluster.domain
        if domain is None or domain.form is not Form.rows or not is_unit_reshape(op):
            return False
        return source_of(op.results[0])[0].owner in self.cluster.members

    def is_read_outside(self, value: SSAValue) -> bool:
        """Whether anything but this cluster reads the value."""
        for use in value.uses:
            user = use.operation
            if user in self.cluster.members:
                continue
            if not self.is_copied(user) or any(map(self.is_read_outside, user.results)):
                return True
        return False

    def outline(self, reason: str) -> FusionOp | None:
        """Replace the cluster by a fusion; None where it is one operation and nothing else."""
        self.run()
        if len(self.inside) == len(self.cluster.ops[0].results) and len(self.cluster.ops) == 1:
            self.body.erase(safe_erase=False)
            return None
        own = [op for op in self.cluster.ops if op not in self.cluster.copies]
        given = [v for op in own for v in op.results if self.is_read_outside(v)]
        self.body.add_op(YieldOp([self.inside[v] for v in given]))
        types: list[TensorType] = [tensor_type(v) for v in given]
        fusion = FusionOp(self.inputs, types, Region(self.body), reason)
        anchor = next((op for op in self.cluster.ops if is_anchor(op)), self.cluster.ops[-1])
        fusion.location = anchor.location
        last = self.cluster.ops[-1]
        assert last.parent is not None, "members stand in the block until they are replaced"
        last.parent.insert_op_before(fusion, last)
        for old, new in zip(given, fusion.results, strict=True):
            new.name_hint = old.name_hint
            old.replace_uses_with_if(new, lambda use: use.operation not in self.cluster.members)
        return fusion


def erase_members(clusters: Iterable[Cluster]) -> None:
    """Remove the operations that now stand in fusions."""
    members = dict.fromkeys(op for cluster in clusters for op in cluster.ops)
    for op in members:
        op.detach()
        op.erase(safe_erase=False)


def erase_unused(block: Block) -> None:
    """Remove constants and repetitions that were copied everywhere they are read."""
    for op in reversed(list(block.ops)):
        if op.results and is_pure(op) and is_unused(op):
            op.detach()
            op.erase()


def sort_block(block: Block) -> None:
    """Put the operations in an order in which each follows what it reads, else as they are."""
    ops = list(block.ops)
    position = {op: i for i, op in enumerate(ops)}
    definers = {name: op for op in ops for name in defined_symbols(op)}
    waiting: dict[Operation, int] = {}
    followers: dict[Operation, list[Operation]] = {op: [] for op in ops}
    for op in ops:
        needed = {v.owner for v in read_values(op) if v.owner in position}
        if definers:
            needed |= {definers[n] for n in all_mentioned(op) if n in definers}
        needed.discard(op)
        waiting[op] = len(needed)
        for owner in needed:
            assert isinstance(owner, Operation), "only operations have positions"
            followers[owner].append(op)
    if all(position[op] < position[f] for op in ops for f in followers[op]):
        return
    last = ops[-1]
    heap = [position[op] for op in ops if not waiting[op] and op is not last]
    heapq.heapify(heap)
    order: list[Operation] = []
    while heap:
        op = ops[heapq.heappop(heap)]
        order.append(op)
        for follower in followers[op]:
            waiting[follower] -= 1
            if not waiting[follower] and follower is not last:
                heapq.heappush(heap, position[follower])
    assert len(order) == len(ops) - 1, "clusters are convex, so that an order exists"
    for op in (*order, last):
        op.detach()
    block.add_ops((*order, last))
