"""f64 computations that f32 does as exactly: the pass `tile-narrow-floats`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import Float32Type, Float64Type, FloatAttr, ModuleOp, f32
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from infini_ir.dialects import tile

ROUNDING = (math.CeilOp, math.FloorOp, math.TruncOp, math.RoundEvenOp, math.AbsFOp)
CHOOSING = (arith.MaximumfOp, arith.MinimumfOp, arith.MaxnumfOp, arith.MinnumfOp)
TO_INTEGER = (arith.FPToSIOp, arith.FPToUIOp)


@dataclass(frozen=True)
class NarrowFloatsPass(ModulePass):
    """
    Does in f32 what maps compute in f64 with numbers that f32 holds and operations that do
    not leave it: rounding to whole numbers, choosing, comparing, converting. Sizes of ranges
    are computed so. Every result is the same; devices without f64 can run it.
    """

    name = "tile-narrow-floats"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for inner in op.walk():
            if isinstance(inner, tile.MapOp):
                _Body(inner.body.block).run()


class _Body:
    def __init__(self, block: Block) -> None:
        self.block = block
        self.narrow: dict[SSAValue, SSAValue] = {}
        """Values of f64 as f32."""

    def run(self) -> None:
        for op in list(self.block.ops):
            self._operation(op)
        for op in list(self.block.ops)[::-1]:
            if op.results and op.results[0] in self.narrow and not op.results[0].uses:
                Rewriter.erase_op(op)

    def _operation(self, op: Operation) -> None:
        if isinstance(op, arith.ExtFOp) and isinstance(op.input.type, Float32Type):
            self.narrow[op.result] = op.input
        elif isinstance(op, arith.ConstantOp):
            self._constant(op)
        elif isinstance(op, arith.TruncFOp) and op.input in self.narrow:
            if isinstance(op.result.type, Float32Type):
                op.result.replace_all_uses_with(self.narrow[op.input])
                Rewriter.erase_op(op)
        elif isinstance(op, (*ROUNDING, *CHOOSING, arith.SelectOp, arith.NegfOp)):
            self._float(op)
        elif isinstance(op, (arith.CmpfOp, *TO_INTEGER)) and self._is_narrow(op):
            for number, value in enumerate(op.operands):
                op.operands[number] = self.narrow[value]

    def _constant(self, op: arith.ConstantOp) -> None:
        if not isinstance(op.value, FloatAttr) or not isinstance(op.result.type, Float64Type):
            return
        number = op.value.value.data
        with np.errstate(over="ignore"):
            if float(np.float32(number)) != number:
                return
        constant = arith.ConstantOp(FloatAttr(number, f32))
        Rewriter.insert_op(constant, InsertPoint.after(op))
        self.narrow[op.result] = constant.result

    def _is_narrow(self, op: Operation) -> bool:
        wide = [v for v in op.operands if isinstance(v.type, Float64Type)]
        return bool(wide) and all(value in self.narrow for value in wide)

    def _float(self, op: Operation) -> None:
        """The operation in f32; what else uses its result takes that, extended."""
        if not isinstance(op.results[0].type, Float64Type) or not self._is_narrow(op):
            return
        new = op.clone({value: self.narrow.get(value, value) for value in op.operands})
        new.results[0]._type = f32  # pyright: ignore[reportPrivateUsage]
        wide = arith.ExtFOp(new.results[0], Float64Type())
        Rewriter.insert_op([new, wide], InsertPoint.before(op))
        op.results[0].replace_all_uses_with(wide.result)
        Rewriter.erase_op(op)
        self.narrow[wide.result] = new.results[0]
