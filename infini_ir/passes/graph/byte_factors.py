"""What stands between a matrix of bytes and the products that it is a factor of.

A weight of 8-bit integers is made a factor by elementwise operations: it becomes floats, a
zero point is subtracted, a scale multiplied. These can be done where the product loads it, and
so can what makes floats of zero points and scales that blocks of the weight have: of blocks of
32 elements of 4 bits, zero points take a sixth of all that is read as floats, a 21st as bytes.
"""

from __future__ import annotations

from xdsl.ir import Operation, SSAValue, Use

from infini_ir.dialects.graph import (
    BroadcastOp,
    CastOp,
    DequantizeOp,
    DotOp,
    MulOp,
    SubOp,
    WeightOp,
)  # fmt: skip
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.passes.graph.matching import producer, without_ones
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import Dim

BYTES = ("i8", "ui8")
NIBBLES = ("i4", "ui4")
"""Types of weights that some targets keep packed, two elements a byte."""
FLOATS = ("f32", "f16", "bf16")
"""Types of factors that bytes become in a product's kernel."""

_STEPS = (CastOp, SubOp, MulOp)
_MOST_STEPS = 8
"""Operations at most from the bytes to the product."""


def bytes_behind(value: SSAValue, most: int = _MOST_STEPS) -> SSAValue | None:
    """The matrix of bytes that a value is computed from, element by element."""
    kind = tensor_type(value)
    if kind.dtype in BYTES or (kind.dtype in NIBBLES and _is_stored(value)):
        return value if len(without_ones(kind.shape)) > 1 else None
    op = value.owner
    if isinstance(op, DequantizeOp):
        return bytes_behind(op.x)
    if not isinstance(op, _STEPS) or not most:
        return None
    found = (bytes_behind(operand, most - 1) for operand in op.operands)
    return next((source for source in found if source is not None), None)


def products_of(op: Operation, most: int = _MOST_STEPS) -> list[tuple[DotOp, int]] | None:
    """The products, and of which side, that an operation's result becomes a factor of by
    further steps; None where it also goes elsewhere."""
    found: list[tuple[DotOp, int]] = []
    for use in op.results[0].uses:
        user = use.operation
        if isinstance(user, DotOp):
            found.append((user, use.index))
            continue
        further = products_of(user, most - 1) if isinstance(user, _STEPS) and most else None
        if further is None:
            return None
        found += further
    return found or None


def is_step(op: Operation) -> bool:
    """Whether an operation is elementwise and makes factors of floats from bytes, which
    nothing else reads."""
    return isinstance(op, _STEPS) and (_makes_factors(op) or _widens_parameters(op))


def keeps_bytes(op: Operation, *, nibbles: bool) -> bool:
    """Whether an operation on a weight of bytes (or of 4-bit elements) is better done where
    products load it than when compiling: floats take up to four (eight) times the memory."""
    if nibbles and _widens_parameters(op):
        return all(keeps_bytes(use.operation, nibbles=nibbles) for use in _uses(op))
    source = bytes_behind(op.results[0]) if isinstance(op, (DequantizeOp, *_STEPS)) else None
    if source is None or not _is_stored(source) or not _makes_factors(op):
        return False
    if tensor_type(source).dtype in NIBBLES and not nibbles:
        return False
    return not isinstance(op, DequantizeOp) or (op.x is source and _blocks_fit(op))


def _is_stored(value: SSAValue) -> bool:
    return isinstance(value.owner, WeightOp)


def _widens_parameters(op: Operation) -> bool:
    """Whether an operation makes f32 of stored zero points or scales of blocks, which are only
    the second operands of steps."""
    if not isinstance(op, CastOp) or not _is_stored(op.x):
        return False
    stored, wide = tensor_type(op.x), tensor_type(op.out)
    if len(without_ones(stored.shape)) < 2 or wide.dtype != "f32":
        return False
    if dtypes.item_size(stored.dtype) >= dtypes.item_size(wide.dtype):
        return False
    uses = _uses(op)
    return bool(uses) and all(
        isinstance(use.operation, SubOp | MulOp)
        and use.index == 1
        and _makes_factors(use.operation)
        for use in uses
    )


def _uses(op: Operation) -> list[Use]:
    """Where an operation's result is read, repeated or not."""
    uses = list(op.results[0].uses)
    repeated = [u.operation for u in uses if isinstance(u.operation, BroadcastOp)]
    direct = [use for use in uses if use.operation not in repeated]
    return [*direct, *(use for broadcast in repeated for use in broadcast.out.uses)]


def _makes_factors(op: Operation) -> bool:
    out = tensor_type(op.results[0])
    source = bytes_behind(op.results[0])
    if (
        source is None
        or out.dtype in (*BYTES, *NIBBLES)
        or tensor_type(source).shape != out.shape
    ):
        return False
    products = products_of(op)
    return products is not None and all(
        tensor_type(dot.operands[side]).dtype in FLOATS for dot, side in products
    )


def _blocks_fit(op: DequantizeOp) -> bool:
    products = products_of(op)
    return products is not None and all(
        op.block is None or block_axis(op, dot, side) is not None for dot, side in products
    )


def block_axis(op: DequantizeOp, dot: DotOp, side: int) -> int | None:
    """Which contracted axis of a product the blocks that share scales lie along, where they
    divide it."""
    if op.block is None or op.axis is None or dot.operands[side] is not op.out:
        return None
    axis, contract = op.axis.value.data, dot.contract[side]
    if axis not in contract:
        return None
    number = contract.index(axis)
    own = tensor_type(op.x).shape[axis]
    other = tensor_type(dot.operands[1 - side]).shape[dot.contract[1 - side][number]]
    fits = own is other and own.exact_divide(Dim.of(op.block.value.data)) is not None
    return number if fits else None


def repeated_source(value: SSAValue) -> SSAValue:
    """A value before it was repeated."""
    repeated = producer(value, BroadcastOp)
    return value if repeated is None else repeated.x
