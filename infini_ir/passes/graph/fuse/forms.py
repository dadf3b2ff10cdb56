"""The forms of cluster that become one kernel, and which operations may stand in them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from xdsl.ir import Operation, SSAValue

from infini_ir.dialects.graph import (
    ELEMENTWISE_OPS,
    Atan2Op,
    BroadcastOp,
    ConstantOp,
    ConvOp,
    CosOp,
    DequantizeOp,
    DivOp,
    DotOp,
    ErfOp,
    Expm1Op,
    ExpOp,
    GeluOp,
    IotaOp,
    LayerNormOp,
    Log1pOp,
    LogOp,
    PoolOp,
    PowOp,
    QuantizeOp,
    ReduceOp,
    RemOp,
    ReshapeOp,
    RmsNormOp,
    RsqrtOp,
    SigmoidOp,
    SinOp,
    SoftmaxOp,
    SqrtOp,
    TanhOp,
    TanOp,
)  # fmt: skip
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.passes.graph.matching import aligned, differ_by_ones, is_stored
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import ONE, Dim

Shape = tuple[Dim, ...]

_POINTWISE = (*ELEMENTWISE_OPS, GeluOp, QuantizeOp, DequantizeOp)
_ANCHORS = (DotOp, ConvOp, PoolOp)
_EXPENSIVE = (
    ExpOp, Expm1Op, LogOp, Log1pOp, SinOp, CosOp, TanOp, TanhOp, SigmoidOp, ErfOp, PowOp, Atan2Op,
    RemOp, DivOp, SqrtOp, RsqrtOp, GeluOp,
)  # fmt: skip
"""Operations never computed twice to save a store."""


class Form(Enum):
    """What a kernel iterates over."""

    pointwise = auto()
    """Elementwise over one domain."""
    rows = auto()
    """As pointwise, with reductions over one set of axes and their results spread again."""
    anchored = auto()
    """A product, convolution or pooling, then elementwise over its result."""


@dataclass(frozen=True)
class Domain:
    """The form of a cluster and the shapes of the values in it."""

    form: Form
    shape: Shape
    axes: frozenset[int] = frozenset()
    """The reduced axes of rows."""

    @property
    def kept(self) -> Shape:
        """The shape of a row's result with the reduced axes kept."""
        return tuple(ONE if i in self.axes else d for i, d in enumerate(self.shape))

    @property
    def dropped(self) -> Shape:
        return tuple(d for i, d in enumerate(self.shape) if i not in self.axes)

    def is_reduced(self, shape: Shape) -> bool:
        return shape in (self.kept, self.dropped)


def domain_of(op: Operation) -> Domain | None:
    """The cluster that an operation makes by itself; None for one that is never fused."""
    if isinstance(op, _POINTWISE):
        return Domain(Form.pointwise, tensor_type(op.results[0]).shape)
    if isinstance(op, _ANCHORS):
        return Domain(Form.anchored, tensor_type(op.out).shape)
    if isinstance(op, ReduceOp):
        return Domain(Form.rows, tensor_type(op.x).shape, frozenset(op.axis_list))
    if isinstance(op, SoftmaxOp):
        axes = frozenset((op.axis.value.data,))
        return Domain(Form.rows, tensor_type(op.x).shape, axes)
    if isinstance(op, (LayerNormOp, RmsNormOp)):
        shape = tensor_type(op.x).shape
        return Domain(Form.rows, shape, frozenset(range(op.axis.value.data, len(shape))))
    return None


def is_anchor(op: Operation) -> bool:
    return isinstance(op, _ANCHORS)


def is_pointwise(op: Operation) -> bool:
    return isinstance(op, _POINTWISE)


def is_expensive(op: Operation) -> bool:
    return isinstance(op, _EXPENSIVE)


def joint_domain(producer: Domain, consumer: Domain) -> Domain | None:
    """The domain of both clusters together, if they have one."""
    forms = producer.form, consumer.form
    if Form.anchored in forms:
        anchored, other = (
            (producer, consumer) if forms[0] is Form.anchored else (consumer, producer)
        )
        fits = other.form is Form.pointwise and other.shape == anchored.shape
        return anchored if fits else None
    if producer == consumer:
        return producer
    if forms == (Form.rows, Form.rows) or Form.rows not in forms:
        return None
    rows, other = (producer, consumer) if forms[0] is Form.rows else (consumer, producer)
    return rows if other.shape == rows.shape or rows.is_reduced(other.shape) else None


# What is copied into each cluster that reads it


def is_scalar_constant(op: Operation) -> bool:
    return isinstance(op, ConstantOp) and len(op.value.data) == 1


def is_free(op: Operation) -> bool:
    """Whether a kernel makes the value from nothing, by repetition or from bytes that it loads
    in place of it, without a load of its own."""
    return isinstance(op, (BroadcastOp, IotaOp)) or is_scalar_constant(op) or reads_bytes(op)


def reads_bytes(op: Operation) -> bool:
    """Whether the operation makes floats of bytes, its parameters stored: each reader does it
    by itself, so that bytes lie in memory."""
    return (
        isinstance(op, DequantizeOp)
        and op.block is None
        and tensor_type(op.x).dtype in ("i8", "ui8")
        and all(is_stored(parameter) for parameter in op.operands[1:])
    )


def is_unit_reshape(op: Operation) -> bool:
    """Whether the operation only puts in or takes out axes of size 1."""
    return isinstance(op, ReshapeOp) and differ_by_ones(op.x.type, op.out.type)


def fused_operands(op: Operation) -> tuple[SSAValue, ...]:
    """The operands that may be computed inside the operation's own cluster."""
    if is_anchor(op):
        return ()
    if isinstance(op, (SoftmaxOp, LayerNormOp, RmsNormOp, ReduceOp)):
        return (op.x,)
    if isinstance(op, (QuantizeOp, DequantizeOp)):
        return (op.x, *(v for v in op.operands[1:] if is_stored(v)))
    return tuple(op.operands)


def path_fits(path: tuple[Operation, ...], domain: Domain) -> bool:
    """Whether the shape operations between two members of a cluster may stand inside it.

    Only rows have any: a row's result gets its axes back and is repeated along the row. What
    makes floats of bytes stands anywhere.
    """
    path = tuple(op for op in path if not reads_bytes(op))
    if not path:
        return True
    if domain.form is not Form.rows:
        return False
    for op in path:
        before, after = tensor_type(op.operands[0]).shape, tensor_type(op.results[0]).shape
        if isinstance(op, BroadcastOp):
            if after != domain.shape or aligned(before, len(after)) != domain.kept:
                return False
        elif not (domain.is_reduced(before) and domain.is_reduced(after)):
            return False
    return True


def byte_count(value: SSAValue) -> Dim:
    tensor = tensor_type(value)
    return tensor.element_count() * dtypes.item_size(tensor.dtype)
