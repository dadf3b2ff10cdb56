"""f64 that f32 holds as well: the pass `tile-narrow-doubles`."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import Float32Type, Float64Type, FloatAttr, ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from infini_ir.dialects import tile

KEEPING = (
    math.CeilOp, math.FloorOp, math.TruncOp, math.RoundEvenOp, math.AbsFOp, arith.NegfOp,
    arith.MaximumfOp, arith.MinimumfOp, arith.MaxnumfOp, arith.MinnumfOp, arith.SelectOp,
)  # fmt: skip
"""Operations whose result is exact in f32 where their operands are."""

ENDS = (arith.CmpfOp, arith.FPToSIOp, arith.FPToUIOp)
"""Operations that give the same of equal numbers in either type."""


@dataclass(frozen=True)
class NarrowDoublesPass(ModulePass):
    """
    Computes in f32 what maps compute in f64 from f32 numbers without ever rounding, such as
    the length of a range, for devices that have no f64. Nothing changes where a single value
    would need the wider type.
    """

    name = "tile-narrow-doubles"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for inner in list(op.walk()):
            if isinstance(inner, tile.MapOp):
                narrow(inner.body.block)


def narrow(block: Block) -> bool:
    """Rewrite a map's body; whether it could be done."""
    doubles = [op for op in block.ops if any(_is_double(r) for r in op.results)]
    if not doubles or not all(map(_exact, doubles)):
        return False
    users = [use.operation for op in doubles for use in op.results[0].uses]
    if not all(user in doubles or isinstance(user, ENDS) or _rounds(user) for user in users):
        return False
    new: dict[SSAValue, SSAValue] = {}
    for op in doubles:
        new[op.results[0]] = _narrowed(op, new)
    for user in dict.fromkeys(users):
        if _rounds(user):
            user.results[0].replace_all_uses_with(new[user.operands[0]])
            Rewriter.erase_op(user)
        elif user not in doubles:
            user.operands = [new.get(value, value) for value in user.operands]
    for op in reversed(doubles):
        Rewriter.erase_op(op)
    return True


def _is_double(value: SSAValue) -> bool:
    return isinstance(value.type, Float64Type)


def _exact(op: Operation) -> bool:
    """Whether f32 holds the result, if it holds the operands."""
    if isinstance(op, arith.ConstantOp):
        assert isinstance(op.value, FloatAttr)
        number = op.value.value.data
        try:
            return struct.unpack("f", struct.pack("f", number))[0] == number
        except OverflowError:
            return False
    if isinstance(op, arith.ExtFOp):
        return not _is_double(op.operands[0])
    return isinstance(op, KEEPING)


def _rounds(op: Operation) -> bool:
    return isinstance(op, arith.TruncFOp) and isinstance(op.results[0].type, Float32Type)


def _narrowed(op: Operation, new: dict[SSAValue, SSAValue]) -> SSAValue:
    """The value in f32, by an operation put before the old one."""
    f32 = Float32Type()
    if isinstance(op, arith.ExtFOp) and isinstance(op.operands[0].type, Float32Type):
        return op.operands[0]
    if isinstance(op, arith.ConstantOp):
        assert isinstance(op.value, FloatAttr)
        made: Operation = arith.ConstantOp(FloatAttr(op.value.value.data, f32))
    else:
        made = type(op).create(
            operands=[new.get(value, value) for value in op.operands],
            result_types=[f32],
            properties=dict(op.properties),
        )
    made.location = op.location
    Rewriter.insert_op(made, InsertPoint.before(op))
    return made.results[0]
