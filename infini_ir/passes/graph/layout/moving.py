"""Moving transposes down through the operations that read them.

A moving transpose bears a mark. An operation on a moved value becomes the same operation on
the value as it was, its result moved instead; the transposes meet their inverses in front
of the next convolution, where both vanish.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import IntegerAttr, UnitAttr, i64
from xdsl.ir import Attribute, Operation, SSAValue

from infini_ir.dialects.graph import (
    ELEMENTWISE_OPS,
    ArgReduceOp,
    BroadcastOp,
    ConcatOp,
    CumulativeOp,
    DequantizeOp,
    DotOp,
    GatherOp,
    GeluOp,
    PadOp,
    QuantizeOp,
    ReduceOp,
    ReshapeOp,
    SliceOp,
    SoftmaxOp,
    TransposeOp,
    WindowOp,
    ints_of,
)  # fmt: skip
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.passes.graph.fuse.clusters import typical
from infini_ir.passes.graph.fuse.forms import byte_count
from infini_ir.passes.graph.matching import is_stored, producer, reshape_groups, splat
from infini_ir.passes.graph.rules import for_each, merged
from infini_ir.utils.symbolic import Dim, product

MARK = "graph.moving"
"""Attribute of the transposes that move."""

Perm = tuple[int, ...]


def inverse(perm: Sequence[int]) -> Perm:
    result = [0] * len(perm)
    for position, axis in enumerate(perm):
        result[axis] = position
    return tuple(result)


def moved(value: SSAValue, perm: Sequence[int], b: GraphBuilder) -> SSAValue:
    """The value transposed, by a transpose that moves on."""
    result = b.transpose(value, perm)
    if isinstance(result.owner, TransposeOp) and result is not value:
        result.owner.attributes[MARK] = UnitAttr()
    return result


def moving(value: SSAValue) -> TransposeOp | None:
    """The moving transpose that gives the value."""
    owner = producer(value, TransposeOp)
    return owner if owner is not None and MARK in owner.attributes else None


def first_moving(op: Operation) -> TransposeOp | None:
    for operand in op.operands:
        transpose = moving(operand)
        if transpose is not None:
            return transpose
    return None


def _is_light(value: SSAValue) -> bool:
    """Whether transposing the value costs nothing at run time, or next to nothing."""
    owner = value.owner
    if is_stored(value) or splat(value) is not None:
        return True
    if not isinstance(owner, BroadcastOp):
        return False
    return typical(byte_count(owner.x)) < typical(byte_count(value))


_CARRIES_ON = (
    *ELEMENTWISE_OPS, GeluOp, BroadcastOp, ConcatOp, PadOp, SliceOp, ReduceOp, SoftmaxOp, GatherOp,
    CumulativeOp, QuantizeOp, DequantizeOp, TransposeOp, ReshapeOp, WindowOp,
)  # fmt: skip


def is_worth_moving(op: Operation, perm: Perm) -> bool:
    """Whether moving below an operation costs no more bytes than staying above it.

    Staying: the moved operands are stored in the other order, and the result once more
    where its readers turn it back. Moving: the operands that are not moved are, and the
    result where a reader cannot take it as it is.
    """
    stay = move = 0
    for operand in set(op.operands):
        transpose = moving(operand)
        if transpose is not None and transpose.permutation == perm:
            stay += typical(byte_count(operand))
        elif not _is_light(operand):
            move += typical(byte_count(operand))
    if not move:
        return True
    result = op.results[0]
    readers = [use.operation for use in result.uses]
    back = inverse(perm)
    if any(isinstance(r, TransposeOp) and r.permutation == back for r in readers):
        stay += typical(byte_count(result))
    if not all(isinstance(reader, _CARRIES_ON) for reader in readers):
        move += typical(byte_count(result))
    return move <= stay


def _taken_back(value: SSAValue, perm: Perm, b: GraphBuilder) -> SSAValue:
    """The value in the order before the permutation."""
    transpose = moving(value)
    if transpose is not None and transpose.permutation == perm:
        return transpose.x
    return b.transpose(value, inverse(perm))


def _recreate(
    op: Operation,
    operands: Sequence[SSAValue],
    shape: Sequence[Dim],
    b: GraphBuilder,
    **changed: Attribute,
) -> SSAValue:
    """The operation on other operands, its result of another shape."""
    out = tensor_type(op.results[0]).with_shape(tuple(shape))
    clone = type(op).create(
        operands=operands, properties={**op.properties, **changed}, result_types=[out]
    )
    return b.insert(clone).results[0]


def _before(shape: Sequence[Dim], perm: Perm) -> list[Dim]:
    """The shape whose permutation is the given one."""
    return [shape[position] for position in inverse(perm)]


def below_elementwise(op: Operation, b: GraphBuilder) -> SSAValue | None:
    transpose = first_moving(op)
    if transpose is None or not is_worth_moving(op, transpose.permutation):
        return None
    perm = transpose.permutation
    operands = [_taken_back(value, perm, b) for value in op.operands]
    shape = _before(tensor_type(op.results[0]).shape, perm)
    return moved(_recreate(op, operands, shape, b), perm, b)


def below_concat(op: ConcatOp, b: GraphBuilder) -> SSAValue | None:
    transpose = first_moving(op)
    if transpose is None or not is_worth_moving(op, transpose.permutation):
        return None
    perm = transpose.permutation
    pieces = [_taken_back(value, perm, b) for value in op.inputs]
    return moved(b.concat(pieces, perm[op.axis.value.data]), perm, b)


def below_broadcast(op: BroadcastOp, b: GraphBuilder) -> SSAValue | None:
    transpose, out = moving(op.x), tensor_type(op.out)
    if transpose is None or tensor_type(op.x).rank != out.rank:
        return None
    perm = transpose.permutation
    return moved(b.broadcast_to(transpose.x, _before(out.shape, perm)), perm, b)


def below_pad(op: PadOp, b: GraphBuilder) -> SSAValue | None:
    transpose = moving(op.x)
    if transpose is None:
        return None
    perm = transpose.permutation
    lo, hi = _before(op.lo.data, perm), _before(op.hi.data, perm)
    interior = [op.interior_list[position] for position in inverse(perm)]
    return moved(b.pad(transpose.x, op.value, lo, hi, interior), perm, b)


def below_slice(op: SliceOp, b: GraphBuilder) -> SSAValue | None:
    transpose = moving(op.x)
    if transpose is None:
        return None
    perm = transpose.permutation
    starts: list[Dim | SSAValue] = list(op.starts.data)
    for axis, value in zip(op.dynamic_axes, op.dynamic_starts, strict=True):
        starts[axis] = value
    back = inverse(perm)
    part = b.slice(
        transpose.x,
        [starts[position] for position in back],
        _before(tensor_type(op.out).shape, perm),
        [op.step_list[position] for position in back],
    )
    return moved(part, perm, b)


def below_reduce(op: ReduceOp, b: GraphBuilder) -> SSAValue | None:
    transpose = moving(op.x)
    if transpose is None:
        return None
    perm = transpose.permutation
    axes = sorted(perm[axis] for axis in op.axis_list)
    keep = op.keep is not None
    result = b.reduce(op.kind.data, transpose.x, axes, keep=keep)
    if keep:
        return moved(result, perm, b)
    left = [axis for i, axis in enumerate(perm) if i not in op.axis_list]
    order = sorted(left)
    return moved(result, [order.index(axis) for axis in left], b)


def below_axis_op(op: SoftmaxOp | CumulativeOp, b: GraphBuilder) -> SSAValue | None:
    """An operation along one axis that leaves the shape."""
    transpose = moving(op.x)
    if transpose is None:
        return None
    perm = transpose.permutation
    axis = IntegerAttr(perm[op.axis.value.data], i64)
    shape = tensor_type(transpose.x).shape
    return moved(_recreate(op, [transpose.x], shape, b, axis=axis), perm, b)


def below_quantize(op: QuantizeOp | DequantizeOp, b: GraphBuilder) -> SSAValue | None:
    transpose = moving(op.x)
    if transpose is None or op.block is not None:
        return None
    perm = transpose.permutation
    changed = {} if op.axis is None else {"axis": IntegerAttr(perm[op.axis.value.data], i64)}
    operands = [transpose.x, *list(op.operands)[1:]]
    shape = tensor_type(transpose.x).shape
    return moved(_recreate(op, operands, shape, b, **changed), perm, b)


def below_gather(op: GatherOp, b: GraphBuilder) -> SSAValue | None:
    transpose = moving(op.x)
    if transpose is None or tensor_type(op.indices).rank != 1:
        return None
    perm = transpose.permutation
    picked = b.gather(transpose.x, op.indices, perm[op.axis.value.data])
    return moved(picked, perm, b)


def below_window(op: WindowOp, b: GraphBuilder) -> SSAValue | None:
    transpose = moving(op.x)
    if transpose is None:
        return None
    perm, axes = transpose.permutation, ints_of(op.axes)
    windows = b.window(
        transpose.x,
        [perm[axis] for axis in axes],
        op.sizes.data,
        ints_of(op.strides),
        ints_of(op.dilations),
    )
    rank = len(perm)
    return moved(windows, (*perm, *range(rank, rank + len(axes))), b)


def below_arg_reduce(op: ArgReduceOp, b: GraphBuilder) -> SSAValue | None:
    transpose = moving(op.x)
    if transpose is None or op.keep is None:
        return None
    perm = transpose.permutation
    axis = perm[op.axis.value.data]
    last = op.last is not None
    result = b.arg_reduce(op.kind.data, transpose.x, axis, keep=True, last=last)
    return moved(result, perm, b)


def below_transpose(op: TransposeOp, b: GraphBuilder) -> SSAValue | None:
    transpose = moving(op.x)
    if transpose is None:
        return None
    return moved(transpose.x, [transpose.permutation[axis] for axis in op.permutation], b)


def below_reshape(op: ReshapeOp, b: GraphBuilder) -> SSAValue | None:
    """Groups of axes that a reshape splits or merges move as wholes.

    Inside a group the model's order counts: where it is not that of the value, a transpose
    of just the group's axes stays above.
    """
    transpose = moving(op.x)
    if transpose is None:
        return None
    before, after = tensor_type(op.x).shape, tensor_type(op.out).shape
    groups = reshape_groups(before, after)
    if groups is None:
        return None
    perm = transpose.permutation
    order = sorted(
        range(len(groups)),
        key=lambda g: min((perm[axis] for axis in groups[g][0]), default=-1),
    )
    inner = [perm[axis] for g in order for axis in groups[g][0]]
    outer_axes = [axis for g in order for axis in groups[g][1]]
    if outer_axes == sorted(outer_axes):
        return None
    value = b.transpose(transpose.x, inner)
    value = b.reshape(value, [after[axis] for axis in outer_axes])
    return moved(value, inverse(outer_axes), b)


def into_dot(op: DotOp, b: GraphBuilder) -> SSAValue | None:
    """A flattened moved value meets a stored matrix: the matrix's rows move instead."""
    flat = producer(op.lhs, ReshapeOp)
    transpose = None if flat is None else moving(flat.x)
    if flat is None or transpose is None or not is_stored(op.rhs) or op.batch[0]:
        return None
    groups = reshape_groups(tensor_type(flat.x).shape, tensor_type(flat.out).shape)
    if groups is None or any(len(after) != 1 for _, after in groups):
        return None
    perm = transpose.permutation
    sources = {after[0]: [perm[axis] for axis in before] for before, after in groups}
    blocks = [sorted(sources[axis]) for axis in range(len(sources))]
    # Each flat axis must be a run of the value's own axes, in the same order.
    if [axis for block in blocks for axis in block] != list(range(len(perm))):
        return None
    rhs = op.rhs
    for own, other in zip(*op.contract, strict=True):
        rhs = _rows_moved(rhs, other, sources[own], tensor_type(transpose.x).shape, b)
        sources[own] = sorted(sources[own])
    if any(axes != sorted(axes) for axes in sources.values()):
        return None
    lhs = b.reshape(transpose.x, tensor_type(op.lhs).shape)
    dtype = tensor_type(op.out).dtype
    return b.dot(lhs, rhs, contract=op.contract, dtype=dtype)


def _rows_moved(
    w: SSAValue, axis: int, order: Sequence[int], shape: Sequence[Dim], b: GraphBuilder
) -> SSAValue:
    """The matrix with one axis, made of axes in `order`, made of them in rising order."""
    whole = list(tensor_type(w).shape)
    split = b.reshape(w, [*whole[:axis], *(shape[a] for a in order), *whole[axis + 1 :]])
    inner = [axis + list(order).index(a) for a in sorted(order)]
    rest = range(axis + len(order), len(whole) - 1 + len(order))
    perm = [*range(axis), *inner, *rest]
    back = b.reshape(b.transpose(split, perm), whole)
    assert product(shape[a] for a in order) is whole[axis], "the axis is made of these"
    return back


MOVING_RULES = merged(
    {TransposeOp: (below_transpose,)},
    for_each((*ELEMENTWISE_OPS, GeluOp), below_elementwise),
    for_each((SoftmaxOp, CumulativeOp), below_axis_op),
    for_each((QuantizeOp, DequantizeOp), below_quantize),
    {
        ConcatOp: (below_concat,),
        BroadcastOp: (below_broadcast,),
        PadOp: (below_pad,),
        SliceOp: (below_slice,),
        ReduceOp: (below_reduce,),
        GatherOp: (below_gather,),
        WindowOp: (below_window,),
        ArgReduceOp: (below_arg_reduce,),
        ReshapeOp: (below_reshape,),
        DotOp: (into_dot,),
    },
)
