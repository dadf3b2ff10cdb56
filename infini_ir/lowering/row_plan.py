"""The steps of a kernel with reductions, planned before anything is written."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from xdsl.ir import Operation, SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph import tensor_type
from infini_ir.lowering.cluster import Cluster, UnfusableError, apply_chain, probe
from infini_ir.lowering.expression import (
    Convert,
    Expression,
    Input,
    Node,
    Operands,
    accumulation_type,
)
from infini_ir.lowering.scalars import COSTLY, is_elementwise
from infini_ir.lowering.view_ops import Chain, View, inverse_of, is_view
from infini_ir.utils.symbolic import ONE, ZERO, Dim

KINDS = {"sum": "add", "prod": "mul", "max": "max", "min": "min"}


@dataclass
class MapStep:
    """A map over whole rows (`full`) or over what is left of them."""

    expression: Expression
    full: bool

    @property
    def key(self) -> Hashable:
        return self.expression.key, self.full


@dataclass
class ReduceStep:
    """A reduction of the tile that another step made."""

    kind: str
    source: int

    @property
    def key(self) -> Hashable:
        return self.kind, self.source


@dataclass
class Output:
    """A result: the step that makes it, and the views to the shape of the domain."""

    step: int
    full: bool
    chain: Chain


class RowPlan:
    """Steps in order, each making one tile; inputs of kind `tile` are numbers of steps."""

    def __init__(self, cluster: Cluster) -> None:
        reductions = [op for op in cluster.ops() if isinstance(op, graph.ReduceOp)]
        first = reductions[0]
        self.cluster = cluster
        self.shape: tuple[Dim, ...] = tensor_type(first.x).shape
        self.reduced: tuple[int, ...] = tuple(sorted(first.axis_list))
        self.steps: list[MapStep | ReduceStep] = []
        self.operands = Operands()
        self._operands_of_reductions = {op.x for op in reductions}
        self._known: dict[Hashable, int] = {}

    @property
    def key(self) -> Hashable:
        return tuple(step.key for step in self.steps)

    def output(self, value: SSAValue) -> Output:
        """Plan a result of the cluster."""
        chain, full = self._to_domain(value)
        return Output(self._tile(value, chain, full, tensor_type(value).dtype), full, chain)

    def _tile(self, value: SSAValue, chain: Chain, full: bool, dtype: str) -> int:
        """The step that makes a value as a tile."""
        # The same elements seen through other views are the same tile.
        key = ("map", value, self._seen(value, chain), full, dtype)
        if key not in self._known:
            expression = Expression(
                self.cluster, self.operands, lambda v, c: self._resolve(v, c, full, value)
            )
            expression.add_root(value, chain, dtype)
            self._known[key] = self._add_map(expression, full)
        return self._known[key]

    def _add_map(self, expression: Expression, full: bool) -> int:
        only = expression.nodes[0] if len(expression.nodes) == 1 else None
        if isinstance(only, Input) and only.kind == "tile":
            step = self.steps[only.index]
            if full == (isinstance(step, MapStep) and step.full):
                return only.index
        return self._add(MapStep(expression, full))

    def _add(self, step: MapStep | ReduceStep) -> int:
        self.steps.append(step)
        return len(self.steps) - 1

    def _resolve(
        self, value: SSAValue, chain: Chain, full: bool, root: SSAValue
    ) -> Node | None:
        """A value that is the tile of another step than the one of `root`."""
        op = value.owner
        if self.cluster.is_operand(value) or not isinstance(op, Operation):
            return None
        if isinstance(op, graph.ReduceOp):
            return self._reduction(op, chain)
        if value is root or not is_elementwise(op):
            return None
        dtype = tensor_type(value).dtype
        if full and not self._varies(value, chain):
            return Input(self._tile(value, chain, False, dtype), "tile")
        if full and not chain and self._is_kept(value, op):
            return Input(self._tile(value, chain, True, dtype), "tile")
        return None

    def _is_kept(self, value: SSAValue, op: Operation) -> bool:
        """Whether a value is worth a tile of its own: what is reduced and used again, and
        what costs much and is used again."""
        again = not value.has_one_use()
        return again and (value in self._operands_of_reductions or isinstance(op, COSTLY))

    def _varies(self, value: SSAValue, chain: Chain) -> bool:
        """Whether a value seen through views varies along the reduced axes."""
        seen = self._seen(value, chain)
        return any(
            seen[axis] is not ZERO and self.shape[axis] is not ONE for axis in self.reduced
        )

    def _seen(self, value: SSAValue, chain: Chain) -> tuple[Dim, ...]:
        """How a value seen through views moves along the domain's axes."""
        return apply_chain(probe(tensor_type(value).shape), chain).strides

    def _reduction(self, op: graph.ReduceOp, chain: Chain) -> Node:
        """The tile of a reduction's result, in the result's element type."""
        self._check(op, chain)
        wanted = tensor_type(op.out).dtype
        key = ("reduce", op)
        if key not in self._known:
            source = self._tile(op.x, (), True, accumulation_type(wanted))
            step = self._add(ReduceStep(KINDS[op.kind.data.name], source))
            if accumulation_type(wanted) != wanted:
                step = self._rounded(step, wanted)
            self._known[key] = step
        return Input(self._known[key], "tile")

    def _rounded(self, step: int, dtype: str) -> int:
        expression = Expression(self.cluster, self.operands, None)
        number = expression.number(Input(step, "tile"))
        expression.roots.append(expression.number(Convert(number, dtype)))
        expression.dtypes.append(dtype)
        return self._add(MapStep(expression, False))

    def _check(self, op: graph.ReduceOp, chain: Chain) -> None:
        """That a reduction is over the domain, and its result is seen along the kept axes."""
        x, out = tensor_type(op.x), tensor_type(op.out)
        if x.shape != self.shape or tuple(sorted(op.axis_list)) != self.reduced:
            raise UnfusableError("reductions of different shapes or axes")
        own = probe(out.shape)
        seen = apply_chain(own, chain)
        kept = [i for i in range(x.rank) if i not in self.reduced]
        position = {axis: axis if out.rank == x.rank else i for i, axis in enumerate(kept)}
        for axis, size in enumerate(self.shape):
            wanted = own.strides[position[axis]] if axis in position else ZERO
            if seen.strides[axis] is not wanted and size is not ONE:
                raise UnfusableError("a reduction's result is used along other axes")

    # Results

    def _row_shapes(self) -> list[tuple[Dim, ...]]:
        kept = tuple(ONE if i in self.reduced else d for i, d in enumerate(self.shape))
        return [kept, tuple(d for i, d in enumerate(self.shape) if i not in self.reduced)]

    def _to_domain(self, value: SSAValue) -> tuple[Chain, bool]:
        """The views from a result to the domain, and whether it has whole rows."""
        shape = tensor_type(value).shape
        if shape == self.shape:
            return (), True
        rows = self._row_shapes()
        if shape in rows:
            widen = View(self, lambda p: p.reshaped(rows[0]))
            return (widen, View(self.operands, lambda p: p.broadcast(self.shape))), False
        op = value.owner
        back = inverse_of(op) if isinstance(op, Operation) and is_view(op) else None
        if back is None:
            raise UnfusableError("a result of another shape than what is reduced")
        assert isinstance(op, Operation)
        chain, full = self._to_domain(op.operands[0])
        return (back, *chain), full
