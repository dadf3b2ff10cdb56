"""Recognise rotary position embedding, written by rotating halves."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from infini_ir.dialects.graph import (
    AddOp,
    BroadcastOp,
    CastOp,
    ConcatOp,
    CosOp,
    MulOp,
    NegOp,
    ReshapeOp,
    RopeOp,
    SinOp,
    SliceOp,
    SubOp,
    TransposeOp,
)  # fmt: skip
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.passes.graph.matching import aligned, commuted, producer, splat, strip_broadcast
from infini_ir.utils.symbolic import ZERO, Dim


def _half(value: SSAValue, which: int) -> SSAValue | None:
    """x, where the value is the first (0) or second (1) half of x along the last axis."""
    part = producer(value, SliceOp)
    if part is None or part.dynamic_starts or any(step != 1 for step in part.step_list):
        return None
    whole, own = tensor_type(part.x).shape, tensor_type(value).shape
    if whole[:-1] != own[:-1] or whole[-1] is not own[-1] * 2:
        return None
    wanted = ZERO if which == 0 else own[-1]
    starts = part.starts.data
    if any(start is not ZERO for start in starts[:-1]) or starts[-1] is not wanted:
        return None
    return part.x


def _rotated(value: SSAValue) -> SSAValue | None:
    """x, where the value is concat(-second half, first half)."""
    joined = producer(value, ConcatOp)
    if joined is None or len(joined.inputs) != 2:
        return None
    if joined.axis.value.data != tensor_type(value).rank - 1:
        return None
    negated = producer(joined.inputs[0], NegOp)
    x = None if negated is None else _half(negated.x, 1)
    return x if x is not None and _half(joined.inputs[1], 0) is x else None


def has_equal_halves(value: SSAValue, depth: int = 8) -> bool:
    """Whether the halves of the last axis are surely equal."""
    owner = value.owner
    if isinstance(owner, ConcatOp):
        last = owner.axis.value.data == tensor_type(value).rank - 1
        return last and len(owner.inputs) == 2 and owner.inputs[0] is owner.inputs[1]
    if not depth:
        return False
    if isinstance(owner, (CosOp, SinOp, CastOp, NegOp)):
        return has_equal_halves(owner.x, depth - 1)
    if isinstance(owner, (BroadcastOp, ReshapeOp)):
        same = tensor_type(owner.x).shape[-1:] == tensor_type(value).shape[-1:]
        return same and has_equal_halves(owner.x, depth - 1)
    if isinstance(owner, TransposeOp):
        last = len(owner.permutation) - 1
        return owner.permutation[-1:] == (last,) and has_equal_halves(owner.x, depth - 1)
    if isinstance(owner, MulOp):
        return any(
            splat(factor) is not None and has_equal_halves(other, depth - 1)
            for other, factor in commuted(owner)
        )
    return False


def _table(value: SSAValue, rank: int, halve: bool, b: GraphBuilder) -> SSAValue:
    """The cosines or sines before repetition, with `rank` axes, one for each pair."""
    source = strip_broadcast(value)
    source = b.reshape(source, aligned(tensor_type(source).shape, rank))
    if not halve:
        return source
    shape: Sequence[Dim] = tensor_type(source).shape
    half = shape[-1].exact_divide(2)
    assert half is not None, "a last axis with two equal halves is even"
    return b.slice_axis(source, rank - 1, 0, half)


def rotate_half(op: AddOp, b: GraphBuilder) -> SSAValue | None:
    """x * cos + concat(-x2, x1) * sin."""
    for left, right in commuted(op):
        first, second = producer(left, MulOp), producer(right, MulOp)
        if first is None or second is None:
            return None
        for rotated, sin in commuted(second):
            x = _rotated(rotated)
            if x is None or not has_equal_halves(sin):
                continue
            for value, cos in commuted(first):
                if value is x and has_equal_halves(cos):
                    return _rope(x, cos, sin, True, b)
    return None


def rotate_parts(op: ConcatOp, b: GraphBuilder) -> SSAValue | None:
    """concat(x1 * cos - x2 * sin, x2 * cos + x1 * sin)."""
    rank = tensor_type(op.out).rank
    if len(op.inputs) != 2 or op.axis.value.data != rank - 1:
        return None
    sub, add = producer(op.inputs[0], SubOp), producer(op.inputs[1], AddOp)
    if sub is None or add is None:
        return None
    products = [producer(v, MulOp) for v in (sub.lhs, sub.rhs)]
    if products[0] is None or products[1] is None:
        return None
    for x1, cos in commuted(products[0]):
        for x2, sin in commuted(products[1]):
            x = _half(x1, 0)
            if x is None or _half(x2, 1) is not x:
                continue
            if _is_sum(add, (x2, cos), (x1, sin)):
                return _rope(x, cos, sin, False, b)
    return None


def _is_sum(
    add: AddOp, first: tuple[SSAValue, SSAValue], second: tuple[SSAValue, SSAValue]
) -> bool:
    """Whether the operation adds the products of both pairs."""
    terms = [producer(v, MulOp) for v in (add.lhs, add.rhs)]
    if terms[0] is None or terms[1] is None:
        return False
    found = [{id(t.lhs), id(t.rhs)} for t in terms if t is not None]
    wanted = [{id(v) for v in first}, {id(v) for v in second}]
    return found in (wanted, wanted[::-1])


def _rope(
    x: SSAValue, cos: SSAValue, sin: SSAValue, halve: bool, b: GraphBuilder
) -> SSAValue | None:
    rank = tensor_type(x).rank
    tables = _table(cos, rank, halve, b), _table(sin, rank, halve, b)
    pairs = tensor_type(tables[0]).shape[-1]
    if tables[0].type != tables[1].type or pairs * 2 is not tensor_type(x).shape[-1]:
        return None
    return b.insert(RopeOp(x, *tables)).out


ROPE_RULES = {AddOp: (rotate_half,), ConcatOp: (rotate_parts,)}
