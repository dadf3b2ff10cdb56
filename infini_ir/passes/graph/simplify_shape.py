"""Rules of `graph-simplify` for operations that only move elements, and trivial reductions."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from infini_ir.dialects.graph import (
    BroadcastOp,
    CastOp,
    ConcatOp,
    ConstantOp,
    DimOp,
    GatherOp,
    InsertSliceOp,
    IotaOp,
    PadOp,
    ReduceOp,
    ReshapeOp,
    SliceOp,
    TransposeOp,
    UnaryOp,
    ints_of,
)  # fmt: skip
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.passes.graph.matching import (
    aligned,
    differ_by_ones,
    producer,
    reshape_groups,
    splat,
    without_ones,
)
from infini_ir.utils.symbolic import ONE, ZERO, Dim

# Reshape


def reshape_chain(op: ReshapeOp, b: GraphBuilder) -> SSAValue | None:
    if op.x.type == op.out.type:
        return op.x
    shape = tensor_type(op.out).shape
    inner = producer(op.x, ReshapeOp)
    if inner is not None:
        return b.reshape(inner.x, shape)
    repeated = producer(op.x, BroadcastOp)
    if repeated is not None and tensor_type(repeated.x).element_count() is ONE:
        return b.broadcast_to(b.reshape(repeated.x, ()), shape)
    return None


def reshape_of_broadcast(op: ReshapeOp, b: GraphBuilder) -> SSAValue | None:
    """Size-1 axes put into or taken out of a repeated value go into the value itself."""
    repeated = producer(op.x, BroadcastOp)
    if repeated is None:
        return None
    before, after = tensor_type(op.x).shape, tensor_type(op.out).shape
    source = aligned(tensor_type(repeated.x).shape, len(before))
    small: list[Dim] = []
    position = 0
    for size in after:
        while position < len(before) and before[position] is ONE and size is not ONE:
            position += 1
        if position < len(before) and before[position] is size:
            small.append(source[position])
            position += 1
        elif size is ONE:
            small.append(ONE)
        else:
            return None
    if any(size is not ONE for size in before[position:]):
        return None
    while small and small[0] is ONE:
        small.pop(0)
    return b.broadcast_to(b.reshape(repeated.x, small), after)


# Transpose


def transpose_trivial(op: TransposeOp, b: GraphBuilder) -> SSAValue | None:
    perm = op.permutation
    if perm == tuple(range(len(perm))):
        return op.x
    inner = producer(op.x, TransposeOp)
    if inner is not None:
        return b.transpose(inner.x, [inner.permutation[axis] for axis in perm])
    shape = tensor_type(op.x).shape
    if [a for a in perm if shape[a] is not ONE] == [
        a for a in range(len(perm)) if shape[a] is not ONE
    ]:
        return b.reshape(op.x, tensor_type(op.out).shape)
    return None


def transpose_of_broadcast(op: TransposeOp, b: GraphBuilder) -> SSAValue | None:
    repeated = producer(op.x, BroadcastOp)
    if repeated is None:
        return None
    perm = op.permutation
    source = aligned(tensor_type(repeated.x).shape, len(perm))
    small = b.transpose(b.reshape(repeated.x, source), perm)
    return b.broadcast_to(small, tensor_type(op.out).shape)


def reshape_of_transpose(op: ReshapeOp, b: GraphBuilder) -> SSAValue | None:
    """Axes merged, moved and split again: the axes themselves move."""
    moved = producer(op.x, TransposeOp)
    merged = None if moved is None else producer(moved.x, ReshapeOp)
    if moved is None or merged is None:
        return None
    groups = reshape_groups(tensor_type(merged.x).shape, tensor_type(merged.out).shape)
    if groups is None or any(len(after) != 1 for _, after in groups):
        return None
    parts = {after[0]: before for before, after in groups}
    perm = [axis for middle in moved.permutation for axis in parts[middle]]
    shape = tensor_type(merged.x).shape
    if tuple(shape[axis] for axis in perm) != tensor_type(op.out).shape:
        return None
    return b.transpose(merged.x, perm)


# Broadcast


def broadcast_chain(op: BroadcastOp, b: GraphBuilder) -> SSAValue | None:
    x, out = op.x, tensor_type(op.out)
    if x.type == out:
        return x
    inner = producer(x, BroadcastOp)
    if inner is not None:
        return b.broadcast_to(inner.x, out.shape)
    if aligned(tensor_type(x).shape, len(out.shape)) == out.shape:
        return b.reshape(x, out.shape)
    return None


def broadcast_of_leading_ones(op: BroadcastOp, b: GraphBuilder) -> SSAValue | None:
    """Axes of size 1 in front need no reshape before a repetition."""
    shape = tensor_type(op.x).shape
    leading = next((i for i, size in enumerate(shape) if size is not ONE), len(shape))
    if not leading:
        return None
    small = b.reshape(op.x, shape[leading:])
    return b.broadcast_to(small, tensor_type(op.out).shape)


# Slice


def slice_trivial(op: SliceOp, b: GraphBuilder) -> SSAValue | None:
    if op.dynamic_starts:
        return _slice_constant_start(op, b)
    starts, steps = op.starts.data, op.step_list
    if op.x.type == op.out.type and all(
        start is ZERO and step == 1 for start, step in zip(starts, steps, strict=True)
    ):
        return op.x
    inner = producer(op.x, SliceOp)
    if inner is not None and not inner.dynamic_starts:
        begin = [
            outer_start + start * step
            for outer_start, step, start in zip(
                inner.starts.data, inner.step_list, starts, strict=True
            )
        ]
        stride = [a * c for a, c in zip(inner.step_list, steps, strict=True)]
        return b.slice(inner.x, begin, tensor_type(op.out).shape, stride)
    return None


def _slice_constant_start(op: SliceOp, b: GraphBuilder) -> SSAValue | None:
    """A run-time start that is a constant or a size which surely fits."""
    shape, sizes = tensor_type(op.x).shape, tensor_type(op.out).shape
    starts: list[Dim | SSAValue] = list(op.starts.data)
    changed = False
    for axis, value in zip(op.dynamic_axes, op.dynamic_starts, strict=True):
        starts[axis] = value
        known = known_size(value)
        if known is None or abs(op.step_list[axis]) != 1:
            continue
        room = shape[axis] - sizes[axis] - known
        if op.step_list[axis] == 1 and known.is_nonnegative() and room.is_nonnegative():
            starts[axis], changed = known, True
    return b.slice(op.x, starts, sizes, op.step_list) if changed else None


def known_size(value: SSAValue) -> Dim | None:
    """The size expression that an integer scalar is."""
    if isinstance(value.owner, DimOp):
        return value.owner.dim
    number = splat(value)
    return None if number is None else Dim.of(int(number))


def slice_of_broadcast(op: SliceOp, b: GraphBuilder) -> SSAValue | None:
    """A part of a repeated value is a repetition of a part."""
    repeated = producer(op.x, BroadcastOp)
    if repeated is None or op.dynamic_starts:
        return None
    out = tensor_type(op.out).shape
    source = tensor_type(repeated.x).shape
    first = len(out) - len(source)
    starts = [
        ZERO if size is ONE else start
        for size, start in zip(source, op.starts.data[first:], strict=True)
    ]
    sizes = [
        ONE if size is ONE else wanted for size, wanted in zip(source, out[first:], strict=True)
    ]
    return b.broadcast_to(b.slice(repeated.x, starts, sizes, op.step_list[first:]), out)


def slice_of_concat(op: SliceOp, b: GraphBuilder) -> SSAValue | None:
    """A part that lies inside one piece of a concatenation."""
    joined = producer(op.x, ConcatOp)
    if joined is None or op.dynamic_starts:
        return None
    axis = joined.axis.value.data
    out = tensor_type(op.out).shape
    start, step, size = op.starts.data[axis], op.step_list[axis], out[axis]
    if step < 1:
        return None
    last = start + (size - 1) * step
    offset = ZERO
    for piece in joined.inputs:
        end = offset + tensor_type(piece).shape[axis]
        if (start - offset).is_nonnegative() and (end - 1 - last).is_nonnegative():
            starts = list(op.starts.data)
            starts[axis] = start - offset
            return b.slice(piece, starts, out, op.step_list)
        offset = end
    return None


def slice_of_unary(op: SliceOp, b: GraphBuilder) -> SSAValue | None:
    """A part of a function of a value, wanted by nobody else, is a function of a part."""
    inner = op.x.owner
    if not isinstance(inner, (UnaryOp, CastOp)) or not op.x.has_one_use():
        return None
    part = _slice_like(op, inner.x, b)
    clone = type(inner).create(
        operands=[part], properties=dict(inner.properties), result_types=[op.out.type]
    )
    return b.insert(clone).results[0]


def _slice_like(op: SliceOp, x: SSAValue, b: GraphBuilder) -> SSAValue:
    starts: list[Dim | SSAValue] = list(op.starts.data)
    for axis, value in zip(op.dynamic_axes, op.dynamic_starts, strict=True):
        starts[axis] = value
    return b.slice(x, starts, tensor_type(op.out).shape, op.step_list)


def slice_of_reshape(op: SliceOp, b: GraphBuilder) -> SSAValue | None:
    """A reshape that only puts in or takes out axes of size 1 comes after the slice."""
    inner = producer(op.x, ReshapeOp)
    if inner is None or op.dynamic_starts or not differ_by_ones(inner.x.type, op.x.type):
        return None
    before, middle = tensor_type(inner.x).shape, tensor_type(op.x).shape
    after = tensor_type(op.out).shape
    if any(m is ONE and a is not ONE for m, a in zip(middle, after, strict=True)):
        return None
    axes = iter([axis for axis, size in enumerate(middle) if size is not ONE])
    starts: list[Dim] = []
    sizes: list[Dim] = []
    steps: list[int] = []
    for size in before:
        axis = None if size is ONE else next(axes)
        starts.append(ZERO if axis is None else op.starts.data[axis])
        sizes.append(ONE if axis is None else after[axis])
        steps.append(1 if axis is None else op.step_list[axis])
    return b.reshape(b.slice(inner.x, starts, sizes, steps), after)


def insert_everything(op: InsertSliceOp, b: GraphBuilder) -> SSAValue | None:
    return op.update if op.update.type == op.x.type else None


# Pad and concat


def pad_trivial(op: PadOp, b: GraphBuilder) -> SSAValue | None:
    pads = (*op.lo.data, *op.hi.data)
    if all(size is ZERO for size in pads) and not any(op.interior_list):
        return op.x
    inner = producer(op.x, PadOp)
    if inner is None or any(op.interior_list) or any(inner.interior_list):
        return None
    value = splat(op.value)
    if value is None or repr(value) != repr(splat(inner.value)):
        return None
    if not all(size.is_nonnegative() for size in (*pads, *inner.lo.data, *inner.hi.data)):
        return None
    lo = [a + c for a, c in zip(op.lo.data, inner.lo.data, strict=True)]
    hi = [a + c for a, c in zip(op.hi.data, inner.hi.data, strict=True)]
    return b.pad(inner.x, op.value, lo, hi)


def concat_flat(op: ConcatOp, b: GraphBuilder) -> SSAValue | None:
    """One piece, empty pieces, pieces that are concatenations along the same axis."""
    axis = op.axis.value.data
    if len(op.inputs) == 1:
        return op.inputs[0]
    pieces: list[SSAValue] = []
    for piece in op.inputs:
        inner = producer(piece, ConcatOp)
        if inner is not None and inner.axis.value.data == axis and piece.has_one_use():
            pieces.extend(inner.inputs)
        elif tensor_type(piece).shape[axis] is not ZERO:
            pieces.append(piece)
    pieces = _join_neighbours(pieces, axis, b)
    if not pieces or len(pieces) == len(op.inputs):
        return None
    return b.concat(pieces, axis)


def _join_neighbours(pieces: list[SSAValue], axis: int, b: GraphBuilder) -> list[SSAValue]:
    """Neighbouring slices of one value become one slice."""
    joined: list[SSAValue] = []
    for piece in pieces:
        left = producer(joined[-1], SliceOp) if joined else None
        right = producer(piece, SliceOp)
        if left is not None and right is not None and _are_neighbours(left, right, axis):
            shape = list(tensor_type(left.out).shape)
            shape[axis] = shape[axis] + tensor_type(right.out).shape[axis]
            joined[-1] = b.slice(left.x, left.starts.data, shape, left.step_list)
        else:
            joined.append(piece)
    return joined


def _are_neighbours(left: SliceOp, right: SliceOp, axis: int) -> bool:
    if left.x is not right.x or left.dynamic_starts or right.dynamic_starts:
        return False
    if left.step_list != right.step_list or left.step_list[axis] != 1:
        return False
    same = all(
        a is c
        for i, (a, c) in enumerate(zip(left.starts.data, right.starts.data, strict=True))
        if i != axis
    )
    end = left.starts.data[axis] + tensor_type(left.out).shape[axis]
    return same and end is right.starts.data[axis]


# Gather, sizes, positions


def gather_constant(op: GatherOp, b: GraphBuilder) -> SSAValue | None:
    """Constant neighbouring indices are a slice."""
    constant = producer(op.indices, ConstantOp)
    axis, x = op.axis.value.data, tensor_type(op.x)
    if constant is None or not constant.value.data:
        return None
    indices = [int(i) for i in constant.value.data]
    first = indices[0]
    if indices != list(range(first, first + len(indices))) or first < 0:
        return None
    limit = x.shape[axis].value
    if limit is None or indices[-1] >= limit:
        return None
    part = b.slice_axis(op.x, axis, first, len(indices))
    return b.reshape(part, tensor_type(op.out).shape)


def dim_known(op: DimOp, b: GraphBuilder) -> SSAValue | None:
    return None if op.dim.value is None else b.dim(op.dim)


def iota_of_one(op: IotaOp, b: GraphBuilder) -> SSAValue | None:
    """Positions along an axis of size 1 are 0; other axes only repeat."""
    out, axis = tensor_type(op.out), op.axis.value.data
    if out.shape[axis] is ONE:
        return b.full(out.shape, 0, out.dtype)
    shape = (out.shape[axis], *([ONE] * (out.rank - 1 - axis)))
    # Axes of size 1 in front repeat nothing, and `reshape_of_iota` puts them there.
    if without_ones(out.shape) == without_ones(shape):
        return None
    return b.broadcast_to(b.iota(shape, out.dtype, 0), out.shape)


def reshape_of_iota(op: ReshapeOp, b: GraphBuilder) -> SSAValue | None:
    """Positions with axes of size 1 put in or taken out."""
    iota, out = producer(op.x, IotaOp), tensor_type(op.out)
    if iota is None:
        return None
    size = tensor_type(iota.out).shape[iota.axis.value.data]
    if without_ones(tensor_type(iota.out).shape) != (size,):
        return None
    if without_ones(out.shape) != (size,):
        return None
    return b.iota(out.shape, out.dtype, out.shape.index(size))


# Reductions


def reduce_trivial(op: ReduceOp, b: GraphBuilder) -> SSAValue | None:
    """Nothing to reduce, axes of size 1, and a reduction of a reduction."""
    x, axes = tensor_type(op.x), op.axis_list
    if all(x.shape[axis] is ONE for axis in axes):
        return b.reshape(op.x, tensor_type(op.out).shape)
    inner = producer(op.x, ReduceOp)
    if inner is None or inner.kind != op.kind or not op.x.has_one_use():
        return None
    if tensor_type(op.x).dtype in ("f16", "bf16") and op.kind.data in ("sum", "prod"):
        return None
    kept = (
        list(range(tensor_type(inner.x).rank))
        if inner.keep is not None
        else _kept_axes(tensor_type(inner.x).rank, inner.axis_list)
    )
    both = sorted({*inner.axis_list, *(kept[axis] for axis in axes)})
    result = b.reduce(op.kind.data, inner.x, both, keep=False)
    return b.reshape(result, tensor_type(op.out).shape)


def _kept_axes(rank: int, reduced: Sequence[int]) -> list[int]:
    return [axis for axis in range(rank) if axis not in reduced]


def keep_reduced_axes(op: ReshapeOp, b: GraphBuilder) -> SSAValue | None:
    """A reshape that puts reduced axes back is the reduction's own `keep`, and inversely."""
    inner = producer(op.x, ReduceOp)
    if inner is None or not op.x.has_one_use():
        return None
    wanted = tensor_type(op.out).shape
    for keep in (True, False):
        if keep != (inner.keep is not None):
            shape = _reduced_shape(tensor_type(inner.x).shape, ints_of(inner.axes), keep)
            if shape == wanted:
                return b.reduce(inner.kind.data, inner.x, inner.axis_list, keep=keep)
    return None


def _reduced_shape(shape: Sequence[Dim], axes: Sequence[int], keep: bool) -> tuple[Dim, ...]:
    if keep:
        return tuple(ONE if i in axes else d for i, d in enumerate(shape))
    return tuple(d for i, d in enumerate(shape) if i not in axes)


SHAPE_RULES = {
    ReshapeOp: (
        reshape_chain,
        reshape_of_broadcast,
        keep_reduced_axes,
        reshape_of_iota,
        reshape_of_transpose,
    ),
    TransposeOp: (transpose_trivial, transpose_of_broadcast),
    BroadcastOp: (broadcast_chain, broadcast_of_leading_ones),
    SliceOp: (
        slice_trivial,
        slice_of_broadcast,
        slice_of_concat,
        slice_of_unary,
        slice_of_reshape,
    ),
    InsertSliceOp: (insert_everything,),
    PadOp: (pad_trivial,),
    ConcatOp: (concat_flat,),
    GatherOp: (gather_constant,),
    DimOp: (dim_known,),
    IotaOp: (iota_of_one,),
    ReduceOp: (reduce_trivial,),
}
