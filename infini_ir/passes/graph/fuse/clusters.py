"""Growing clusters: which operations of a block become one kernel.

The clusters stand in a topological order that every merge keeps up to date, so that the
check for a cycle only looks at what stands between the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from xdsl.ir import Block, Operation, SSAValue

from infini_ir.passes.graph.fuse.forms import (
    Domain,
    byte_count,
    domain_of,
    fused_operands,
    is_expensive,
    is_free,
    is_pointwise,
    is_unit_reshape,
    joint_domain,
    path_fits,
)
from infini_ir.passes.graph.symbols import defined_symbols, mentioned_symbols
from infini_ir.utils.symbolic import Dim

TYPICAL_SIZE = 128
"""What an unknown size counts as when bytes are compared."""


@dataclass(eq=False)
class Cluster:
    """Operations of one block that become one kernel, in block order."""

    ops: list[Operation]
    domain: Domain | None
    slot: int
    members: set[Operation] = field(init=False)
    copies: set[Operation] = field(default_factory=set)
    """Members that other clusters have too."""

    def __post_init__(self) -> None:
        self.members = set(self.ops)


@dataclass(frozen=True)
class Edge:
    """A value computed by one operation and read by another, maybe repeated on the way."""

    value: SSAValue
    path: tuple[Operation, ...]
    consumer: Operation
    inside: bool
    """Whether the consumer may compute the value itself."""


def typical(size: Dim) -> int:
    """A size as a number to compare by."""
    return size.evaluate(dict.fromkeys(size.symbols(), TYPICAL_SIZE))


def source_of(value: SSAValue) -> tuple[SSAValue, tuple[Operation, ...]]:
    """The value before repetitions and unit reshapes, and these, the nearest to it first."""
    path: list[Operation] = []
    owner = value.owner
    while isinstance(owner, Operation) and owner.operands:
        if not is_free(owner) and not is_unit_reshape(owner):
            break
        path.append(owner)
        value = owner.operands[0]
        owner = value.owner
    return value, tuple(reversed(path))


class Clusters:
    """The clusters of one block."""

    def __init__(
        self, block: Block, max_ops: int, steps: frozenset[Operation] = frozenset()
    ) -> None:
        """`steps` make factors of products and have no clusters of their own."""
        self.block = block
        self.steps = steps
        self.max_ops = max_ops
        self.index = {op: i for i, op in enumerate(block.ops)}
        self.cluster_of: dict[Operation, Cluster] = {}
        self.slots: list[Cluster | None] = []
        self.incoming: dict[Operation, list[Edge]] = {}
        self.outgoing: dict[Operation, list[Operation]] = {}
        self.held: dict[Operation, None] = {}
        """Cheap operations that several read: placed last, when it is known where they are."""
        for op in block.ops:
            if not is_free(op) and not is_unit_reshape(op) and op not in steps:
                cluster = Cluster([op], domain_of(op), len(self.slots))
                self.slots.append(cluster)
                self.cluster_of[op] = cluster
                self.outgoing[op] = []
        for op in self.cluster_of:
            self._connect(op)
        self._connect_symbols()

    def _connect(self, op: Operation) -> None:
        inside = set(fused_operands(op))
        edges: list[Edge] = []
        for value, source, path in self._sources(op):
            producer = source.owner
            if isinstance(producer, Operation) and producer in self.cluster_of:
                edges.append(Edge(source, path, op, value in inside))
                self.outgoing[producer].append(op)
        self.incoming[op] = edges

    def _sources(
        self, op: Operation
    ) -> Iterator[tuple[SSAValue, SSAValue, tuple[Operation, ...]]]:
        """Each value that an operation reads, with what it is computed from and the path."""
        waiting = [(value, value) for value in read_values(op)]
        while waiting:
            value, current = waiting.pop(0)
            source, path = source_of(current)
            owner = source.owner
            if isinstance(owner, Operation) and owner in self.steps:
                waiting += [(value, operand) for operand in owner.operands]
            else:
                yield value, source, path

    def _connect_symbols(self) -> None:
        """An operation comes after those that define the symbols in its types."""
        definers = {name: op for op in self.cluster_of for name in defined_symbols(op)}
        if not definers:
            return
        for op in self.cluster_of:
            for name in all_mentioned(op):
                definer = definers.get(name)
                if definer is not None and definer is not op:
                    self.outgoing[definer].append(op)

    # Growing

    def grow(self) -> None:
        """Merge each operation's cluster with those of its producers, the best first."""
        for op in list(self.cluster_of):
            if self.cluster_of[op].domain is None:
                continue
            for producer in self._candidates(op):
                self._try_merge(producer, self.cluster_of[op])
            if len(self.cluster_of[op].ops) == 1 and self._is_cheap(op):
                self.held[op] = None
        for op in self.held:
            self._place(op)

    def _candidates(self, op: Operation) -> list[Cluster]:
        """The producers' clusters by bytes saved, then the one computed last."""
        own = self.cluster_of[op]
        saved: dict[Cluster, int] = {}
        for edge in self.incoming[op]:
            producer = edge.value.owner
            assert isinstance(producer, Operation), "edges begin at operations"
            cluster = self.cluster_of[producer]
            if cluster.domain is None or cluster is own or producer in self.held:
                continue
            size = typical(byte_count(edge.value))
            only_here = all(user is op for user in self.outgoing[producer])
            saved[cluster] = saved.get(cluster, 0) + size * (2 if only_here else 1)
        return sorted(saved, key=lambda c: (saved[c], c.slot), reverse=True)

    def _try_merge(self, producer: Cluster, consumer: Cluster) -> bool:
        if producer is consumer or producer.domain is None or consumer.domain is None:
            return False
        if len(producer.ops) + len(consumer.ops) > self.max_ops:
            return False
        domain = joint_domain(producer.domain, consumer.domain)
        if domain is None or not self._edges_fit(producer, consumer, domain):
            return False
        after = self._between(producer, consumer)
        if after is None:
            return False
        self._merge(producer, consumer, domain, after)
        return True

    def _edges_fit(self, producer: Cluster, consumer: Cluster, domain: Domain) -> bool:
        for op in consumer.ops:
            for edge in self.incoming[op]:
                if edge.value.owner in producer.members and not (
                    edge.inside and path_fits(edge.path, domain)
                ):
                    return False
        return True

    def _successors(self, cluster: Cluster) -> Iterator[Cluster]:
        for op in cluster.ops:
            for user in self.outgoing[op]:
                yield self.cluster_of[user]

    def _between(self, first: Cluster, last: Cluster) -> set[Cluster] | None:
        """What depends on `first` and stands before `last`; None where `last` depends on it."""
        found: set[Cluster] = set()
        stack = [first]
        while stack:
            cluster = stack.pop()
            for successor in self._successors(cluster):
                if successor is last:
                    if cluster is not first:
                        return None
                elif (
                    successor.slot < last.slot
                    and successor is not first
                    and successor not in found
                ):
                    found.add(successor)
                    stack.append(successor)
        return found

    def _merge(
        self, producer: Cluster, consumer: Cluster, domain: Domain, after: set[Cluster]
    ) -> None:
        """Join the two; what depends on the producer moves behind them."""
        first, last = producer.slot, consumer.slot
        region = [c for c in self.slots[first : last + 1] if c is not None]
        ops = sorted((*producer.ops, *consumer.ops), key=self.index.__getitem__)
        joined = Cluster(ops, domain, first)
        for op in ops:
            self.cluster_of[op] = joined
        kept = [c for c in region if c is not producer and c is not consumer]
        order = [
            *(c for c in kept if c not in after),
            joined,
            *(c for c in kept if c in after),
        ]
        for offset in range(last - first + 1):
            cluster = order[offset] if offset < len(order) else None
            self.slots[first + offset] = cluster
            if cluster is not None:
                cluster.slot = first + offset

    # Cheap operations

    def _is_cheap(self, op: Operation) -> bool:
        """Whether computing it again costs no more than loading its result."""
        if not is_pointwise(op) or is_expensive(op) or self._reader_count(op) < 2:
            return False
        read = sum(typical(byte_count(source_of(v)[0])) for v in op.operands)
        return read <= typical(byte_count(op.results[0]))

    def _reader_count(self, op: Operation) -> int:
        return len(set(self.outgoing[op]))

    def _place(self, op: Operation) -> None:
        """Put a held operation with its readers; into each of them where they stay apart."""
        cluster = self.cluster_of[op]
        if len(cluster.ops) != 1:
            return
        readers = list(dict.fromkeys(self._successors(cluster)))
        if self._readers_stay_apart(readers) and self._may_copy(op, cluster):
            for target in readers:
                target.ops = sorted((*target.ops, op), key=self.index.__getitem__)
                target.members.add(op)
                target.copies.add(op)
            self.slots[cluster.slot] = None
            cluster.ops = []
            return
        for reader in readers:
            self._try_merge(self.cluster_of[op], reader)

    def _readers_stay_apart(self, readers: Sequence[Cluster]) -> bool:
        domains = [reader.domain for reader in readers]
        return any(
            left is None or right is None or joint_domain(left, right) is None
            for i, left in enumerate(domains)
            for right in domains[:i]
        )

    def _may_copy(self, op: Operation, cluster: Cluster) -> bool:
        """Whether each reader may compute the operation itself."""
        result = op.results[0]
        for use in result.uses:
            target = self.cluster_of.get(use.operation)
            if target is None or target.domain is None or cluster.domain is None:
                return False
            if joint_domain(cluster.domain, target.domain) is None:
                return False
            if result not in fused_operands(use.operation):
                return False
        return True

    def final(self) -> Iterable[Cluster]:
        """The clusters that have operations, in an order in which they can run."""
        return [c for c in self.slots if c is not None and c.ops]


def read_values(op: Operation) -> Sequence[SSAValue]:
    """The values an operation reads, those that its regions see included."""
    if not op.regions:
        return op.operands
    inner = {v for region in op.regions for nested in region.walk() for v in nested.operands}
    return [*op.operands, *inner]


def all_mentioned(op: Operation) -> set[str]:
    """The symbols that an operation or anything inside it mentions."""
    names: set[str] = set()
    for nested in op.walk():
        names |= mentioned_symbols(nested)
    return names
