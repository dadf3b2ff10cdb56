"""Rules of `graph-simplify` that take data movement into dot, conv and pool."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xdsl.ir import SSAValue

from infini_ir.dialects.graph import (
    BroadcastOp,
    ConvOp,
    DotOp,
    PadOp,
    PoolOp,
    TransposeOp,
    ints_of,
    spatial_axes,
)  # fmt: skip
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.passes.graph.matching import aligned, producer, splat
from infini_ir.utils.symbolic import ONE, ZERO, Dim


def dot_of_transpose(op: DotOp, b: GraphBuilder) -> SSAValue | None:
    """A transpose of an operand goes into the axes' numbers, where its free axes keep order."""
    batch, contract, free = list(op.batch), list(op.contract), op.free()
    operands = [op.lhs, op.rhs]
    changed = False
    for side in (0, 1):
        moved = producer(operands[side], TransposeOp)
        if moved is None:
            continue
        perm = moved.permutation
        own_free = [perm[axis] for axis in free[side]]
        if own_free != sorted(own_free):
            continue
        operands[side], changed = moved.x, True
        batch[side] = tuple(perm[axis] for axis in batch[side])
        contract[side] = tuple(perm[axis] for axis in contract[side])
    if not changed:
        return None
    return _dot_like(op, b, operands, batch, contract)


def _dot_like(
    op: DotOp,
    b: GraphBuilder,
    operands: Sequence[SSAValue],
    batch: Sequence[Sequence[int]],
    contract: Sequence[Sequence[int]],
) -> SSAValue:
    return b.dot(
        operands[0],
        operands[1],
        batch=(batch[0], batch[1]),
        contract=(contract[0], contract[1]),
        dtype=tensor_type(op.out).dtype,
    )


def dot_of_repeated(op: DotOp, b: GraphBuilder) -> SSAValue | None:
    """A right operand repeated over all batch axes: these become free axes of the left one."""
    repeated = producer(op.rhs, BroadcastOp)
    left_batch, right_batch = op.batch
    if repeated is None or not left_batch or left_batch != tuple(range(len(left_batch))):
        return None
    source = aligned(tensor_type(repeated.x).shape, tensor_type(op.rhs).rank)
    full = tensor_type(op.rhs).shape
    if any(source[axis] is not ONE for axis in right_batch):
        return None
    rest = [axis for axis in range(len(full)) if axis not in right_batch]
    if any(source[axis] is not full[axis] for axis in rest):
        return None
    small = b.reshape(repeated.x, [full[axis] for axis in rest])
    contract = tuple(rest.index(axis) for axis in op.contract[1])
    return _dot_like(op, b, (op.lhs, small), ((), ()), (op.contract[0], contract))


def _spatial_pads(
    pad: PadOp, axes: Sequence[int], value: float
) -> tuple[list[Dim], list[Dim]] | None:
    """The padding of the spatial axes, where a pad of `value` touches no others."""
    if splat(pad.value) != value or any(pad.interior_list):
        return None
    lo, hi = pad.lo.data, pad.hi.data
    for axis, (low, high) in enumerate(zip(lo, hi, strict=True)):
        if not low.is_nonnegative() or not high.is_nonnegative():
            return None
        if axis not in axes and (low is not ZERO or high is not ZERO):
            return None
    return [lo[axis] for axis in axes], [hi[axis] for axis in axes]


def _total(left: Sequence[Dim], right: Sequence[Dim]) -> list[Dim]:
    return [a + c for a, c in zip(left, right, strict=True)]


def conv_of_pad(op: ConvOp, b: GraphBuilder) -> SSAValue | None:
    """What is put around the image becomes the convolution's own padding."""
    pad = producer(op.x, PadOp)
    if pad is None or any(d != 1 for d in ints_of(op.input_dilation)):
        return None
    axes = spatial_axes(op.layout.data, tensor_type(op.x).rank)
    pads = _spatial_pads(pad, axes, op.border_value)
    if pads is None or not all(d.is_nonnegative() for d in (*op.lo.data, *op.hi.data)):
        return None
    lo, hi = _total(op.lo.data, pads[0]), _total(op.hi.data, pads[1])
    return b.insert(op.changed(pad.x, op.w, op.bias, lo=lo, hi=hi)).out


def pool_of_pad(op: PoolOp, b: GraphBuilder) -> SSAValue | None:
    """Padding with the neutral element becomes the pool's own, counted in an average."""
    pad = producer(op.x, PadOp)
    if pad is None:
        return None
    axes = spatial_axes(op.layout.data, tensor_type(op.x).rank)
    own = (*op.lo.data, *op.hi.data)
    if not all(d.is_nonnegative() for d in own):
        return None
    count_hi: list[Dim] | None = None
    if op.kind.data == "max":
        pads = _spatial_pads(pad, axes, -math.inf)
    else:
        pads = _spatial_pads(pad, axes, 0)
    if pads is None:
        return None
    if op.kind.data == "avg":
        if op.count_hi is not None:
            count_hi = _total(op.count_hi.data, pads[1])
        elif all(d is ZERO for d in own):
            count_hi = pads[1]
        else:
            return None
    return b.insert(
        PoolOp(
            op.kind.data,
            pad.x,
            ints_of(op.sizes),
            layout=op.layout.data,
            strides=ints_of(op.strides),
            dilations=ints_of(op.dilations),
            lo=_total(op.lo.data, pads[0]),
            hi=_total(op.hi.data, pads[1]),
            count_hi=count_hi,
        )
    ).out


CONTRACTION_RULES = {
    DotOp: (dot_of_transpose, dot_of_repeated),
    ConvOp: (conv_of_pad,),
    PoolOp: (pool_of_pad,),
}
