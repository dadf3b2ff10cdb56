"""What is known of the positions in a kernel: how great they may get.

A slice that is known to end inside its view needs no mask, and positions that are known to
be small are computed in 32 bits.
"""

from __future__ import annotations

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.utils.symbolic import Dim

NARROW = 1 << 31
"""What is below this in magnitude fits 32 bits."""


class IndexRanges:
    """The greatest value of each index of a kernel, where it can be said."""

    def __init__(self, kernel: tile.KernelOp) -> None:
        self._greatest: dict[SSAValue, Dim] = {}
        axes = zip(kernel.offsets, kernel.bounds.data, kernel.steps.data, strict=True)
        for offset, bound, step in axes:
            self._greatest[offset] = last_step(bound, step)
        for op in kernel.body.walk():
            self._visit(op)

    def greatest(self, value: SSAValue) -> Dim | None:
        """A size that the value never exceeds."""
        return self._greatest.get(value)

    def reaches(self, offset: SSAValue, capacity: Dim, size: Dim) -> bool:
        """Whether a slice of that many elements always lies inside an axis of that size."""
        last = self.greatest(offset)
        return last is not None and (size - capacity - last).is_nonnegative()

    def _visit(self, op: Operation) -> None:
        if isinstance(op, arith.ConstantOp) and isinstance(op.value, IntegerAttr):
            self._greatest[op.result] = Dim.of(op.value.value.data)
        elif isinstance(op, tile.SizeOp):
            self._greatest[op.out] = op.dim
        elif isinstance(op, tile.ForOp):
            limit = self.greatest(op.to)
            if limit is not None:
                self._greatest[op.body.block.args[0]] = last_step(limit, op.step_size)
        elif isinstance(op, arith.AddiOp | arith.MinSIOp):
            self._sum_or_least(op)

    def _sum_or_least(self, op: arith.AddiOp | arith.MinSIOp) -> None:
        left, right = self.greatest(op.lhs), self.greatest(op.rhs)
        if isinstance(op, arith.AddiOp):
            if left is not None and right is not None:
                self._greatest[op.result] = left + right
            return
        known = [d for d in (left, right) if d is not None]
        # Either bounds the least: the one with symbols is nearer to the sizes of views.
        known.sort(key=lambda d: d.is_constant)
        if known:
            self._greatest[op.result] = known[0]


def last_step(bound: Dim, step: Dim) -> Dim:
    """The last multiple of a step below a bound: exact where the bound is a multiple."""
    if bound.exact_divide(step) is not None:
        return bound - step
    if bound.value is not None and step.value is not None:
        return Dim.of(max(bound.value - 1, 0) // step.value * step.value)
    return bound - 1
