"""What the pass asks of operations and values: which round well, and which must not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation, Region, SSAValue

from infini_ir.dialects.graph import (
    ELEMENTWISE_OPS,
    BroadcastOp,
    CastOp,
    ConcatOp,
    ConvOp,
    DotOp,
    FusionOp,
    GatherNdOp,
    GatherOp,
    GeluOp,
    InsertSliceOp,
    IotaOp,
    LayerNormOp,
    PadOp,
    PoolOp,
    ReduceOp,
    ReshapeOp,
    RmsNormOp,
    SliceOp,
    SoftmaxOp,
    TensorType,
    TransposeOp,
    WindowOp,
    YieldOp,
)  # fmt: skip
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.passes.graph.rules import inside_fusion
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import ONE, product

WIDE, NARROW = "f32", "bf16"
EXACT_BITS = 16
"""Integers of more bits become floats that may have to be exact, such as positions."""

VIEWS = (ReshapeOp, TransposeOp, SliceOp)
"""Operations that look at memory another way and repeat nothing."""
MOVING = (*VIEWS, BroadcastOp, WindowOp, ConcatOp, PadOp, GatherOp, GatherNdOp, InsertSliceOp)
"""Operations that compute nothing."""
_COMPUTING = (
    ReduceOp, DotOp, ConvOp, PoolOp, SoftmaxOp, LayerNormOp, RmsNormOp, GeluOp, *ELEMENTWISE_OPS,
)  # fmt: skip


def is_wide(value: SSAValue) -> bool:
    """Whether a value is one that the pass may store in bf16."""
    return isinstance(value.type, TensorType) and tensor_type(value).dtype == WIDE


def moved(op: Operation) -> Sequence[SSAValue]:
    """The operands whose elements a moving operation gives."""
    if isinstance(op, ConcatOp):
        return tuple(op.inputs)
    if isinstance(op, PadOp):
        return op.x, op.value
    if isinstance(op, InsertSliceOp):
        return op.x, op.update
    return (op.operands[0],)


def alone_in_fusions(function: FuncOp) -> None:
    """Put operations that compute and stand alone into fusions, so that all kernels that can
    convert what they read and write are fusions."""
    for op in list(function.walk()):
        computes = isinstance(op, _COMPUTING) and not inside_fusion(op)
        if computes and any(map(is_wide, (*op.operands, *op.results))):
            _enclose(op)


def _enclose(op: Operation) -> None:
    inputs = list(dict.fromkeys(op.operands))
    block = Block(arg_types=[value.type for value in inputs])
    clone = op.clone(dict(zip(inputs, block.args, strict=True)))
    clone.location = op.location
    used = [i for i, result in enumerate(op.results) if result.uses] or [0]
    block.add_ops([clone, YieldOp([clone.results[i] for i in used])])
    types = [tensor_type(op.results[i]) for i in used]
    fusion = FusionOp(inputs, types, Region(block), "one operation")
    fusion.location = op.location
    assert op.parent is not None
    op.parent.insert_op_before(fusion, op)
    for i, new in zip(used, fusion.results, strict=True):
        new.name_hint = op.results[i].name_hint
        op.results[i].replace_all_uses_with(new)
    op.detach()
    op.erase()


# Products ---------------------------------------------------------------------------------


def is_depthwise(op: ConvOp) -> bool:
    """Whether each channel has its own filter: no product, its kernel sums windows."""
    inner = tensor_type(op.w).shape[1 if op.layout.data.name == "channels_first" else -2]
    return op.groups.value.data > 1 and inner is ONE


def depth_of(op: DotOp | ConvOp) -> int | None:
    """How many products are summed to one element, where that is known."""
    shape = tensor_type(op.operands[1]).shape
    if isinstance(op, DotOp):
        return product(shape[axis] for axis in op.contract[1]).value
    outer = 0 if op.layout.data.name == "channels_first" else len(shape) - 1
    return product(size for i, size in enumerate(shape) if i != outer).value


def factors_of(op: Operation) -> tuple[SSAValue, SSAValue] | None:
    """The factors of a product of f32."""
    if isinstance(op, DotOp):
        both = op.lhs, op.rhs
    elif isinstance(op, ConvOp) and not is_depthwise(op):
        both = op.x, op.w
    else:
        return None
    return both if all(map(is_wide, (*both, op.out))) else None


def only_factors(argument: SSAValue) -> bool:
    """Whether products are all that reads the argument of a region, as one of their factors."""
    found = list(_readers(argument))
    return bool(found) and all(
        factors is not None and any(value is factor for factor in factors)
        for value, factors in found
    )


def _readers(value: SSAValue) -> Iterator[tuple[SSAValue, tuple[SSAValue, SSAValue] | None]]:
    """What reads a value, also in fusions and behind views: the value as it is read there,
    and the factors of the product that reads it."""
    for use in value.uses:
        user = use.operation
        if isinstance(user, FusionOp):
            yield from _readers(user.body.block.args[use.index])
        elif isinstance(user, VIEWS):
            yield from _readers(user.results[0])
        else:
            yield value, factors_of(user)


# Values that must stay as they are ---------------------------------------------------------


def source_of(value: SSAValue) -> SSAValue:
    """The value before it was moved (the first operand of what moves several)."""
    while isinstance(value.owner, MOVING):
        value = moved(value.owner)[0]
    return value


def is_exact(value: SSAValue) -> bool:
    """Whether a value is made of integers, such as positions."""
    owner = source_of(value).owner
    if not isinstance(owner, FusionOp):
        return isinstance(owner, IotaOp) or (isinstance(owner, CastOp) and _of_integers(owner))
    ops = list(owner.body.block.ops)
    if any(isinstance(op, DotOp | ConvOp) for op in ops):
        return False
    return any(isinstance(op, IotaOp) or _of_integers(op) for op in ops)


def _of_integers(op: Operation) -> bool:
    if not isinstance(op, CastOp):
        return False
    given, made = tensor_type(op.x).dtype, tensor_type(op.out).dtype
    return dtypes.is_float(made) and dtypes.is_integer(given) and _bits(given) > EXACT_BITS


def _bits(dtype: str) -> int:
    return dtypes.item_size(dtype) * 8


def makes_integers(op: FusionOp) -> bool:
    """Whether integers are computed from floats: a rounding before that moves them by one."""
    return any(
        isinstance(inner, CastOp)
        and dtypes.is_float(tensor_type(inner.x).dtype)
        and dtypes.is_integer(tensor_type(inner.out).dtype)
        and _bits(tensor_type(inner.out).dtype) > EXACT_BITS
        for inner in op.body.block.ops
    )
