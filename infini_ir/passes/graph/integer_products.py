"""Products of dequantised values as products of bytes: the pass `graph-integer-products`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import BlockArgument, SSAValue
from xdsl.passes import ModulePass

from infini_ir.dialects.context import weights_of
from infini_ir.dialects.graph import ConvOp, DequantizeOp, DotOp, QuantizeOp
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.integer_products import (
    axes_of_result,
    integer_conv,
    integer_dot,
)
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.dialects.graph.windows import Layout
from infini_ir.passes.graph.matching import producer
from infini_ir.passes.graph.quantized_values import Numbers, byte_source
from infini_ir.passes.graph.rules import apply_rules
from infini_ir.utils.symbolic import ONE
from infini_ir.utils.weights import WeightStore

_SAME_SCALE = 1e-6
"""How far the scale of a bias may be from that of the products it is added to."""


@dataclass(frozen=True)
class GraphIntegerProductsPass(ModulePass):
    """
    Makes a product or convolution of two dequantised values one of bytes, with an i32 result
    that is scaled afterwards. Zero points become corrections of the result; what a
    convolution pads is the zero point of its image. An i32 bias in the scale of the products
    is added to them.

    Then `quantize` by a known scale multiplies by its reciprocal, in f32, where its operand
    is computed, so that the factor joins others: the result may differ by one unit where the
    quotient is next to the middle of two numbers.
    """

    name = "graph-integer-products"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        rules = _Rules(weights_of(ctx))
        apply_rules(op, {DotOp: (rules.dot,), ConvOp: (rules.conv,)})
        apply_rules(op, {QuantizeOp: (rules.scaled_before,)})


class _Rules:
    def __init__(self, store: WeightStore) -> None:
        self.numbers = Numbers(store)

    def dot(self, op: DotOp, b: GraphBuilder) -> SSAValue | None:
        left, right = byte_source(op.lhs), byte_source(op.rhs)
        if left is None or right is None or not _in_f32(op.out, left, right):
            return None
        for source, axes in zip((left, right), op.contract, strict=True):
            if source.axis is not None and source.axis.value.data in axes:
                return None
        result = integer_dot(
            b,
            (left.x, right.x),
            (self._zero(left, b), self._zero(right, b)),
            batch=op.batch,
            contract=op.contract,
        )
        result = b.cast(result, "f32")
        scales = [
            axes_of_result(b, _along(b, s.scale, s), side, op.batch, op.free())
            for side, s in enumerate((left, right))
        ]
        return b.mul(result, b.mul(*scales))

    def _zero(self, source: DequantizeOp, b: GraphBuilder) -> SSAValue | None:
        """The zero point with the rank of what it belongs to; None where it is known as 0."""
        if source.zero is None or self.numbers.zero_point(source.zero) == 0:
            return None
        return _along(b, source.zero, source)

    def conv(self, op: ConvOp, b: GraphBuilder) -> SSAValue | None:
        x, w = byte_source(op.x), byte_source(op.w)
        if x is None or w is None or x.axis is not None or not _in_f32(op.out, x, w):
            return None
        if op.layout.data is not Layout.channels_first:
            return None
        if w.axis is not None and w.axis.value.data != 0:
            return None
        zero = self.numbers.zero_point(x.zero)
        if zero is None:
            return None
        w_zero = None if self._zero(w, b) is None else w.zero
        template = op.changed(x.x, w.x, None, dtype="i32")
        whole = None if op.bias is None else self._whole(op.bias, x, w)
        result = integer_conv(b, template, zero, w_zero, whole)
        shape = [ONE] * tensor_type(op.out).rank
        shape[1] = tensor_type(op.w).shape[0]
        scale = w.scale if w.axis is None else b.reshape(w.scale, shape)
        scale = b.mul(x.scale, scale)
        result = b.mul(b.cast(result, "f32"), scale)
        if op.bias is None or whole is not None:
            return result
        return b.add(result, b.reshape(op.bias, shape))

    def _whole(self, bias: SSAValue, x: DequantizeOp, w: DequantizeOp) -> SSAValue | None:
        """The i32 numbers of a bias whose scale is that of the products."""
        source = producer(bias, DequantizeOp)
        if source is None or tensor_type(source.x).dtype != "i32" or source.block is not None:
            return None
        if self.numbers.zero_point(source.zero) != 0:
            return None
        scales = [self.numbers.array(each.scale) for each in (source, x, w)]
        own, left, right = scales
        if own is None or left is None or right is None:
            return None
        return source.x if np.allclose(own, left * right, rtol=_SAME_SCALE, atol=0) else None

    def scaled_before(self, op: QuantizeOp, b: GraphBuilder) -> SSAValue | None:
        scale = self.numbers.number(op.scale)
        kind = tensor_type(op.x)
        if scale is None or op.axis is not None or op.block is not None or kind.dtype != "f32":
            return None
        with np.errstate(divide="ignore", over="ignore"):
            factor = np.float32(1) / np.float32(scale)
        if scale == 1 or not np.isfinite(factor) or isinstance(op.x, BlockArgument):
            return None
        one = b.constant(1.0, tensor_type(op.scale).dtype)
        x = b.mul(op.x, float(factor))
        return b.insert(QuantizeOp(x, one, op.zero, tensor_type(op.out).dtype)).out


def _in_f32(out: SSAValue, *sources: DequantizeOp) -> bool:
    """Whether a product computes in f32 only."""
    values = (out, *(v for s in sources for v in (s.out, s.scale)))
    return all(tensor_type(value).dtype == "f32" for value in values)


def _along(b: GraphBuilder, value: SSAValue, op: DequantizeOp) -> SSAValue:
    """A scale or zero point with the axes of what it belongs to."""
    shape = [ONE] * tensor_type(op.x).rank
    if op.axis is not None:
        axis = op.axis.value.data
        shape[axis] = tensor_type(op.x).shape[axis]
    return b.reshape(value, shape)
