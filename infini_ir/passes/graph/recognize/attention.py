"""Recognise attention: softmax(scale * q k^T + bias) v, however the parts are written.

Understood: a scale on q, k or the scores; a soft cap; a mask that is added or that selects;
keys and values with their axes in any order; grouped heads made by repetition; heads merged
into the batch, or no heads at all; a softmax in a wider type.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from infini_ir.dialects.graph import (
    AddOp,
    AttentionOp,
    BroadcastOp,
    CastOp,
    CompareOp,
    DivOp,
    DotOp,
    MulOp,
    ReshapeOp,
    SelectOp,
    SoftmaxOp,
    TanhOp,
)  # fmt: skip
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.passes.graph.matching import (
    aligned,
    commuted,
    is_float,
    producer,
    splat,
    strip_broadcast,
    with_splat,
)
from infini_ir.utils.symbolic import ONE, Dim

MASKED = -1e4
"""A score at or below this counts as masked."""


@dataclass(frozen=True)
class _Product:
    """Scores before mask and bias: scale * q k^T, softly capped."""

    dot: DotOp
    scale: float
    softcap: float | None


@dataclass(frozen=True)
class _Mask:
    """Where a query may attend, and what stands elsewhere."""

    condition: SSAValue
    allows: bool
    """Whether the condition says where it may, rather than where it may not."""
    fill: float


def attention(op: DotOp, b: GraphBuilder) -> SSAValue | None:
    rank = tensor_type(op.lhs).rank
    leading = tuple(range(rank - 2))
    if rank not in (2, 3, 4) or op.batch[0] != leading or op.contract[0] != (rank - 1,):
        return None
    softmax = _softmax_of(op.lhs)
    if softmax is None or softmax.axis.value.data != rank - 1:
        return None
    bias, mask, scores = _unmasked(_without_cast(softmax.x))
    product = _product_of(scores)
    if product is None or not _fits(op, product.dot, rank):
        return None
    (q, q_scale), (k, k_scale), (v, _) = _operands(op, product.dot, b)
    scale = product.scale * q_scale * k_scale
    k, v = _ungrouped(k, v, rank, b)
    made = AttentionOp(
        _four_axes(q, b),
        _four_axes(k, b),
        _four_axes(v, b),
        scale=scale,
        bias=_bias(bias, mask, rank, b),
        softcap=product.softcap,
    )
    return b.reshape(b.insert(made).out, tensor_type(op.out).shape)


def _without_cast(value: SSAValue) -> SSAValue:
    """The value in the type that it was computed in, if that is a float too."""
    cast = producer(value, CastOp)
    return cast.x if cast is not None and is_float(cast.x) else value


def _softmax_of(value: SSAValue) -> SoftmaxOp | None:
    """The softmax that gives these probabilities, and nothing to anybody else.

    Also through `p is NaN ? 0 : p`, which rows that see nothing need.
    """
    select = producer(value, SelectOp)
    uses = 1
    if select is not None and splat(select.on_true) == 0:
        test = producer(select.condition, CompareOp)
        if test is None or test.predicate.data != "ne" or test.lhs is not test.rhs:
            return None
        if test.lhs is not select.on_false or not value.has_one_use():
            return None
        value, uses = test.lhs, 3
    if value.uses.get_length() != uses:
        return None
    softmax = producer(_without_cast(value), SoftmaxOp)
    if softmax is None or softmax.log is not None:
        return None
    return softmax if softmax.out is value or softmax.out.has_one_use() else None


# From the softmax back to the product


def _mask_of(value: SSAValue) -> tuple[_Mask, SSAValue] | None:
    """(mask, scores) where the value is scores, or a very low number where the mask says so."""
    select = producer(value, SelectOp)
    if select is None:
        return None
    for allows, scores, other in (
        (True, select.on_true, select.on_false),
        (False, select.on_false, select.on_true),
    ):
        fill = splat(other)
        if fill is not None and fill <= MASKED:
            return _Mask(select.condition, allows, float(fill)), scores
    return None


def _unmasked(value: SSAValue) -> tuple[SSAValue | None, _Mask | None, SSAValue]:
    """(added bias, mask, scores): at most one of each, in either order."""
    bias: SSAValue | None = None
    mask: _Mask | None = None
    for _ in range(2):
        found = _mask_of(value) if mask is None else None
        add = producer(value, AddOp) if bias is None else None
        if found is not None:
            mask, value = found
        elif add is not None:
            for scores, other in commuted(add):
                if _leads_to_product(scores):
                    bias, value = other, scores
                    break
    return bias, mask, value


def _leads_to_product(value: SSAValue) -> bool:
    masked = _mask_of(value)
    return _product_of(value if masked is None else masked[1]) is not None


def _product_of(value: SSAValue) -> _Product | None:
    value = _without_cast(value)
    softcap, outer = None, producer(value, MulOp)
    match = None if outer is None else with_splat(outer)
    curve = None if match is None else producer(match[0], TanhOp)
    if match is not None and curve is not None:
        # c * tanh(scores * (scale / c))
        softcap, value = float(match[1]), curve.x
    value, scale = _scaled(value)
    dot = producer(_without_cast(value), DotOp)
    return None if dot is None else _Product(dot, scale * (softcap or 1.0), softcap)


def _scaled(value: SSAValue) -> tuple[SSAValue, float]:
    """(x, s) where the value is x * s."""
    scale = 1.0
    while True:
        owner = value.owner
        if isinstance(owner, MulOp) and (match := with_splat(owner)) is not None:
            value, scale = match[0], scale * match[1]
        elif isinstance(owner, DivOp) and (divisor := splat(owner.rhs)):
            value, scale = owner.lhs, scale / divisor
        else:
            return value, scale


# The operands


def _fits(op: DotOp, product: DotOp, rank: int) -> bool:
    """Whether both products run over the same batch axes, one free axis on each side."""
    if len(product.batch[0]) != rank - 2 or len(product.contract[0]) != 1:
        return False
    if any(len(side) != 1 for side in (*product.free(), *op.free())):
        return False
    types = {tensor_type(v).dtype for v in (product.lhs, product.rhs, op.rhs, op.out)}
    return len(types) == 1 and is_float(op.out)


def _operands(op: DotOp, product: DotOp, b: GraphBuilder) -> list[tuple[SSAValue, float]]:
    """q, k as [batch.., positions, width], v likewise, each with the scale taken off."""
    q_free, k_free = product.free()
    v_free = op.free()[1]
    orders = (
        (product.lhs, (*product.batch[0], *q_free, *product.contract[0])),
        (product.rhs, (*product.batch[1], *k_free, *product.contract[1])),
        (op.rhs, (*op.batch[1], *op.contract[1], *v_free)),
    )
    result: list[tuple[SSAValue, float]] = []
    for index, (value, order) in enumerate(orders):
        source, scale = _scaled(value) if index < 2 else (value, 1.0)
        result.append((b.transpose(source, order), scale))
    return result


def _four_axes(value: SSAValue, b: GraphBuilder) -> SSAValue:
    """[batch, heads, positions, width] of a value that may lack heads or batch."""
    return b.reshape(value, _with_heads(tensor_type(value).shape))


def _with_heads(shape: Sequence[Dim]) -> tuple[Dim, ...]:
    first, last = tuple(shape[:-2]), tuple(shape[-2:])
    return (*first, *[ONE] * (2 - len(first)), *last)


def _ungrouped(
    k: SSAValue, v: SSAValue, rank: int, b: GraphBuilder
) -> tuple[SSAValue, SSAValue]:
    """Keys and values before each head was repeated for the queries' heads."""
    if rank != 4:
        return k, v
    sources = _before_repetition(k), _before_repetition(v)
    if sources[0] is None or sources[1] is None:
        return k, v
    shapes = [tensor_type(source).shape for source in sources if source is not None]
    if shapes[0][1] is not shapes[1][1]:
        return k, v
    small_k, small_v = (
        b.reshape(source, (*tensor_type(source).shape[:2], *tensor_type(source).shape[3:]))
        for source in sources
        if source is not None
    )
    return small_k, small_v


def _before_repetition(value: SSAValue) -> SSAValue | None:
    """[B, G, 1, T, D], where the value [B, G * r, T, D] repeats it over the third axis."""
    merged = producer(value, ReshapeOp)
    repeated = None if merged is None else producer(merged.x, BroadcastOp)
    if repeated is None:
        return None
    full, source = tensor_type(repeated.out).shape, tensor_type(repeated.x).shape
    if len(full) != 5 or len(source) != 5 or source[2] is not ONE:
        return None
    unchanged = all(source[axis] is full[axis] for axis in (0, 1, 3, 4))
    wanted = (full[0], full[1] * full[2], full[3], full[4])
    return repeated.x if unchanged and tensor_type(value).shape == wanted else None


def _bias(
    added: SSAValue | None, mask: _Mask | None, rank: int, b: GraphBuilder
) -> SSAValue | None:
    """What is added to the scores, or bools, with four axes that repeat to them."""
    small = None if added is None else _small(added, rank, b)
    if mask is None:
        return small
    condition = _small(mask.condition, rank, b)
    if small is None and mask.fill == -math.inf:
        return condition if mask.allows else b.logical_not(condition)
    if small is None:
        return _two_numbers(condition, mask, b)
    pair = (small, mask.fill) if mask.allows else (mask.fill, small)
    return b.select(condition, *pair)


def _two_numbers(condition: SSAValue, mask: _Mask, b: GraphBuilder) -> SSAValue:
    shape = tensor_type(condition).shape
    zero, fill = (b.full(shape, number, "f32") for number in (0.0, mask.fill))
    return b.select(condition, *((zero, fill) if mask.allows else (fill, zero)))


def _small(value: SSAValue, rank: int, b: GraphBuilder) -> SSAValue:
    """A mask or bias before repetition, with four axes."""
    source = strip_broadcast(value)
    shape = aligned(tensor_type(source).shape, rank)
    return b.reshape(source, _with_heads(shape))


ATTENTION_RULES = {DotOp: (attention,)}
