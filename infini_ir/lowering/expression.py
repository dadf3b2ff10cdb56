"""The elementwise part of a kernel as an expression over what it loads.

An expression is collected first (so that the operands, and from them the kernel's loops,
are known) and written as the region of a `tile.map` later.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from xdsl.ir import Operation, SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph import tensor_type
from infini_ir.lowering.cluster import Cluster, UnfusableError, apply_chain
from infini_ir.lowering.placement import Placement
from infini_ir.lowering.scalar_builder import ScalarBuilder
from infini_ir.lowering.scalars import elementwise, is_elementwise
from infini_ir.lowering.view_ops import Chain, is_view, view_of
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import Dim


@dataclass(frozen=True)
class Literal:
    """A number."""

    text: str
    number: float | int | bool = field(compare=False)
    dtype: str


@dataclass(frozen=True)
class Input:
    """Input number `index` of the map: an operand of the kernel or a tile made before."""

    index: int
    kind: str
    """`operand`, `position` or `tile`."""


@dataclass(frozen=True)
class Size:
    """A symbolic size."""

    dim: Dim


@dataclass(frozen=True)
class Apply:
    """An elementwise operation; arguments are numbers of nodes before."""

    name: str
    properties: Hashable
    args: tuple[int, ...]
    op: Operation = field(compare=False)


@dataclass(frozen=True)
class Convert:
    """A float widened for, or narrowed after, a computation."""

    arg: int
    dtype: str


Node = Literal | Input | Size | Apply | Convert


class Operands:
    """The memory that a kernel reads, each placement once, in the shape of its domain."""

    def __init__(self) -> None:
        self.placements: list[Placement] = []

    def add(self, placement: Placement) -> int:
        for index, known in enumerate(self.placements):
            if known.dtype == placement.dtype and known.same_elements(placement):
                return index
        self.placements.append(placement)
        return len(self.placements) - 1


Resolve = Callable[[SSAValue, Chain], Node | None]
"""What a value is that the caller provides (a tile made before), else None."""


class Expression:
    """Scalar code: nodes in order of use, and the numbers of those that are results."""

    def __init__(self, cluster: Cluster, operands: Operands, resolve: Resolve | None) -> None:
        self.cluster = cluster
        self.operands = operands
        self.resolve = resolve
        self.nodes: list[Node] = []
        self.roots: list[int] = []
        self.dtypes: list[str] = []
        """Element types of the results."""
        self._known: dict[tuple[SSAValue, Chain], int] = {}
        self._numbers: dict[Node, int] = {}

    @property
    def key(self) -> Hashable:
        return tuple(self.nodes), tuple(self.roots), tuple(self.dtypes)

    def plain_operand(self) -> int | None:
        """The operand that the only result is, unchanged."""
        only = self.nodes[0] if len(self.nodes) == 1 else None
        return only.index if isinstance(only, Input) and only.kind == "operand" else None

    def inputs(self) -> list[Input]:
        """The inputs, in order of use."""
        return [node for node in self.nodes if isinstance(node, Input)]

    def add_root(self, value: SSAValue, chain: Chain, dtype: str | None = None) -> None:
        """Make a value a result, in another float type if given."""
        number, own = self.build(value, chain), tensor_type(value).dtype
        if dtype is not None and dtype != own:
            number = self.number(Convert(number, dtype))
        self.roots.append(number)
        self.dtypes.append(dtype or own)

    def number(self, node: Node) -> int:
        """The number of a node, equal ones shared."""
        if node not in self._numbers:
            self._numbers[node] = len(self.nodes)
            self.nodes.append(node)
        return self._numbers[node]

    def build(self, value: SSAValue, chain: Chain) -> int:
        """The node of a value seen through views."""
        key = (value, chain)
        if key not in self._known:
            self._known[key] = self._build(value, chain)
        return self._known[key]

    def _build(self, value: SSAValue, chain: Chain) -> int:
        kind = tensor_type(value)
        literal = self.cluster.literal(value)
        if literal is not None:
            return self.number(Literal(repr(literal), literal, kind.dtype))
        given = self.resolve(value, chain) if self.resolve is not None else None
        if given is not None:
            return self.number(given)
        if self.cluster.is_operand(value):
            placement = self.cluster.operand(value, chain)
            return self.number(Input(self.operands.add(placement), "operand"))
        op = value.owner
        assert isinstance(op, Operation)
        if is_view(op):
            return self.build(op.operands[0], (view_of(op), *chain))
        if isinstance(op, graph.IotaOp):
            own = Placement.positions(kind.shape, op.axis.value.data, kind.dtype)
            index = self.operands.add(apply_chain(own, chain))
            return self.number(Input(index, "position"))
        if isinstance(op, graph.DimOp):
            return self.number(Size(op.dim))
        if not is_elementwise(op):
            raise UnfusableError(f"{op.name} inside an elementwise computation")
        args = tuple(self.build(operand, chain) for operand in op.operands)
        types = tuple(tensor_type(v).dtype for v in (*op.operands, *op.results))
        properties = (*types, *sorted(op.properties.items(), key=lambda item: item[0]))
        return self.number(Apply(op.name, properties, args, op))

    def write(
        self, s: ScalarBuilder, inputs: dict[Input, SSAValue], sizes: dict[Dim, SSAValue]
    ) -> list[SSAValue]:
        """The scalar code; `inputs` are scalars of the inputs' element types (positions
        already converted), `sizes` are indices."""
        values: list[SSAValue] = []
        for node in self.nodes:
            if isinstance(node, Literal):
                values.append(s.constant(node.number, node.dtype))
            elif isinstance(node, Size):
                values.append(s.from_index(sizes[node.dim], "i64"))
            elif isinstance(node, Input):
                values.append(inputs[node])
            elif isinstance(node, Convert):
                values.append(resized(s, values[node.arg], node.dtype))
            else:
                values.append(elementwise(s, node.op, [values[a] for a in node.args]))
        return [values[root] for root in self.roots]

    def sizes(self) -> list[Dim]:
        """The sizes whose values it computes with."""
        return [node.dim for node in self.nodes if isinstance(node, Size)]


def resized(s: ScalarBuilder, value: SSAValue, dtype: str) -> SSAValue:
    """A float as a wider or narrower one."""
    from infini_ir.lowering.scalar_builder import bits_of, type_name

    if bits_of(type_name(value.type)) < bits_of(dtype):
        return s.widen(value, dtype)
    return s.narrow(value, dtype)


def accumulation_type(dtype: str) -> str:
    """The element type that sums are kept in."""
    return "f32" if dtypes.is_float(dtype) and dtype != "f64" else dtype


def shape_key(placements: Sequence[Placement]) -> Hashable:
    """What of placements a kernel's text depends on."""
    return tuple((p.dtype, p.shape, p.strides) for p in placements)
