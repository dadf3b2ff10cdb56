"""Quantising to bytes as scalar code.

1.5 * 2**23 added to a float of at most 2**22 leaves its nearest whole number, of two the even
one, in the low bits of the sum: no instruction that rounds, and no conversion.
"""

from __future__ import annotations

from xdsl.dialects import arith
from xdsl.ir import Operation, SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph import tensor_type
from infini_ir.lowering.scalar_builder import ScalarBuilder, scalar_type
from infini_ir.lowering.view_ops import literal_of
from infini_ir.utils import dtypes

_ROUNDING = 12582912.0
"""Its low byte is 0."""


def quantizes_in_place(op: Operation) -> bool:
    """Whether an operation rounds f32 to bytes, the scale 1 and the zero point a known one."""
    return (
        isinstance(op, graph.QuantizeOp)
        and tensor_type(op.out).dtype in ("i8", "ui8")
        and tensor_type(op.x).dtype == "f32"
        and literal_of(op.scale) == 1
        and (op.zero is None or literal_of(op.zero) is not None)
    )


def quantized(s: ScalarBuilder, x: SSAValue, op: graph.QuantizeOp) -> SSAValue:
    """saturate(round(x) + zero) for an operation that `quantizes_in_place`; NaN gives 0."""
    dtype = tensor_type(op.out).dtype
    zero = 0 if op.zero is None else int(literal_of(op.zero) or 0)
    low, high = (0, 255) if dtypes.is_unsigned(dtype) else (-128, 127)
    if low:
        x = s.select(s.compare("eq", x, x), x, s.like(float(-zero), x))
    least, most = s.like(float(low - zero), x), s.like(float(high - zero), x)
    x = s.select(s.compare("gt", x, least), x, least)
    x = s.select(s.compare("lt", x, most), x, most)
    bits = s.bitcast(s.add(x, s.like(_ROUNDING, x)), "i32")
    if zero:
        bits = s.add(bits, s.like(zero, bits))
    return s.emit(arith.TruncIOp(bits, scalar_type(dtype)))
