"""Products and convolutions of 8-bit integers less their zero points, in i32.

sum (x - p) (w - q) = sum x w - q sum x - p sum w + K p q: the operands are multiplied as they
are, and the sums of what is stored are known when compiling. All is exact modulo 2**32.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from infini_ir.dialects.graph.base import ints_of
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.dialects.graph.windows import ConvOp, Layout
from infini_ir.utils.symbolic import ONE, ZERO, Dim, product

Axes = tuple[Sequence[int], Sequence[int]]
"""Axes of both operands of a product, the left one first."""
Zero = SSAValue | int | None
"""A zero point: a scalar or one an element of some axis; None and 0 are none."""


def integer_dot(
    b: GraphBuilder,
    operands: tuple[SSAValue, SSAValue],
    zeros: tuple[SSAValue | None, SSAValue | None],
    *,
    batch: Axes = ((), ()),
    contract: Axes,
) -> SSAValue:
    """The i32 product of bytes less their zero points, which have the rank of the operand,
    and size 1 along its contracted axes."""
    free = _free_axes(operands, batch, contract)
    result = b.dot(*operands, batch=batch, contract=contract, dtype="i32")

    def placed(value: SSAValue, side: int) -> SSAValue:
        return axes_of_result(b, value, side, batch, free)

    wide = [None if zero is None else b.cast(zero, "i32") for zero in zeros]
    for side, zero in enumerate(wide):
        if zero is not None:
            other = b.cast(operands[1 - side], "i32")
            sums = b.reduce("sum", other, contract[1 - side], keep=True)
            result = b.sub(result, b.mul(placed(sums, 1 - side), placed(zero, side)))
    left, right = wide
    if left is not None and right is not None:
        shape = tensor_type(operands[0]).shape
        terms = _count(b, [shape[axis] for axis in contract[0]])
        both = b.mul(placed(left, 0), placed(right, 1))
        result = b.add(result, b.mul(both, terms))
    return result


def _free_axes(operands: tuple[SSAValue, SSAValue], batch: Axes, contract: Axes) -> Axes:
    left, right = (
        [i for i in range(tensor_type(x).rank) if i not in (*batch[side], *contract[side])]
        for side, x in enumerate(operands)
    )
    return left, right


def _count(b: GraphBuilder, sizes: Sequence[Dim]) -> SSAValue:
    return b.cast(b.dim(product(sizes)), "i32")


def axes_of_result(
    b: GraphBuilder, value: SSAValue, side: int, batch: Axes, free: Axes
) -> SSAValue:
    """What belongs to one operand of a product (its rank, size 1 along the contracted axes)
    with the axes of the product's result: batch, free of the left, free of the right."""
    sizes = tensor_type(value).shape
    order = [*batch[side], *free[side]]
    kept = b.reshape(value, [size for i, size in enumerate(sizes) if i in order])
    kept = b.transpose(kept, [sorted(order).index(axis) for axis in order])
    batches, own = [sizes[i] for i in batch[side]], [sizes[i] for i in free[side]]
    others = [ONE] * len(free[1 - side])
    parts = (*others, *own) if side else (*own, *others)
    return b.reshape(kept, [*batches, *parts])


def integer_conv(
    b: GraphBuilder, op: ConvOp, x_zero: Zero, w_zero: Zero, bias: SSAValue | None = None
) -> SSAValue:
    """
    The i32 convolution of bytes less their zero points: of x one, of the filters one or one
    a filter; plus an i32 bias, one a filter. `op` is a convolution of the bytes, channels first, not in a block; only its
    attributes and operands are taken. What is padded is 0 less the zero point.
    """
    x, w = op.x, op.w
    assert op.layout.data is Layout.channels_first, "layouts are decided later"
    conv = _conv_in_border(b, op, x_zero)
    rank, outer = tensor_type(w).rank, tensor_type(w).shape[0]
    column = [ONE, outer, *[ONE] * (rank - 2)]
    result = b.insert(conv(x, w)).out
    if not _is_none(x_zero):
        sums = b.mul(b.reduce("sum", b.cast(w, "i32"), range(1, rank)), _wide(b, x_zero))
        bias = b.neg(sums) if bias is None else b.sub(bias, sums)
    if bias is not None:
        result = b.add(result, b.reshape(bias, column))
    if not _is_none(w_zero):
        groups = op.groups.value.data
        ones = b.full([groups, *tensor_type(w).shape[1:]], 1, "i8")
        sums = b.insert(conv(x, ones)).out
        if not _is_none(x_zero):
            terms = _count(b, tensor_type(w).shape[1:])
            sums = b.sub(sums, b.mul(terms, _wide(b, x_zero)))
        zero = _wide(b, w_zero)
        if isinstance(zero, SSAValue) and tensor_type(zero).rank:
            zero = b.reshape(zero, column)
        sums = _for_filters(b, sums, outer, groups)
        result = b.sub(result, b.mul(sums, zero))
    op.erase()
    return result


def _is_none(zero: Zero) -> bool:
    return zero is None or (isinstance(zero, int) and zero == 0)


def _wide(b: GraphBuilder, zero: Zero) -> SSAValue | int:
    assert zero is not None
    return zero if isinstance(zero, int) else b.cast(zero, "i32")


def _conv_in_border(b: GraphBuilder, op: ConvOp, zero: Zero):
    """A function that convolves x, bordered by its zero point, with filters."""
    if not isinstance(zero, SSAValue):
        return lambda x, w: op.changed(x, w, None, border=zero or 0, dtype="i32")
    spread = [step - 1 for step in ints_of(op.input_dilation)]
    lo, hi = [ZERO, ZERO, *op.lo.data], [ZERO, ZERO, *op.hi.data]
    if not any(size is not ZERO for size in (*lo, *hi)) and not any(spread):
        return lambda x, w: op.changed(x, w, None, dtype="i32")
    assert not any(spread), "only a known zero point is put between elements"
    padded = b.pad(op.x, zero, lo, hi)
    none = [ZERO] * len(spread)
    return lambda x, w: op.changed(padded, w, None, lo=none, hi=none, dtype="i32")


def _for_filters(b: GraphBuilder, sums: SSAValue, outer: Dim, groups: int) -> SSAValue:
    """[N, groups, spatial..] with each group's value for its filters, or one that repeats."""
    if groups == 1:
        return sums
    count, _, *spatial = tensor_type(sums).shape
    each = outer // groups
    column = b.reshape(sums, [count, Dim.of(groups), ONE, *spatial])
    spread = b.broadcast_to(column, [count, Dim.of(groups), each, *spatial])
    return b.reshape(spread, [count, outer, *spatial])
