"""Factors of products that are never subnormal: the pass `cpu-normal-factors`."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import math
from xdsl.dialects.arith import FastMathFlagsAttr
from xdsl.dialects.builtin import Float32Type, ModuleOp
from xdsl.dialects.utils import FastMathFlag
from xdsl.passes import ModulePass

from infini_ir.dialects import tile

NORMAL_OR_ZERO = FastMathFlagsAttr([FastMathFlag.APPROX_FUNC])
"""Of an exponential of f32: as exact as any, but 0 where it would be subnormal, or nearly."""


@dataclass(frozen=True)
class CpuNormalFactorsPass(ModulePass):
    """
    Lets exponentials of f32 that are factors of a product be 0 in place of subnormal
    (`fastmath<afn>`): the weights of an attention.

    The largest weight of a row is 1, so that those below 2**-125 change a sum of weighted
    values by less than 2**-125 of the largest of these, each. Making a subnormal number, or
    multiplying by it, takes the processor a hundred times as long as other numbers: a layer
    whose scores lie far apart would run at a tenth of its speed.
    """

    name = "cpu-normal-factors"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for dot in op.walk():
            if isinstance(dot, tile.DotOp) and isinstance(owner := dot.lhs.owner, tile.MapOp):
                for inner in owner.body.block.ops:
                    if _is_single_exponential(inner):
                        inner.properties["fastmath"] = NORMAL_OR_ZERO


def _is_single_exponential(op: object) -> bool:
    return isinstance(op, math.ExpOp) and isinstance(op.result.type, Float32Type)
