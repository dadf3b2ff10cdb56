"""Products whose factors are quantised weights: the pass `graph-quantized-products`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from infini_ir.dialects.context import weights_of
from infini_ir.dialects.graph import (
    CastOp,
    DequantizeOp,
    DotOp,
    MulOp,
    SubOp,
    WeightOp,
)  # fmt: skip
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.integer_products import axes_of_result
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.passes.graph.byte_factors import (
    BYTES,
    FLOATS,
    block_axis,
    bytes_behind,
    products_of,
    repeated_source,
)
from infini_ir.passes.graph.matching import aligned, commuted, producer, splat
from infini_ir.passes.graph.rules import apply_rules
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import ONE, Dim
from infini_ir.utils.weights import WeightStore


@dataclass(frozen=True)
class GraphQuantizedProductsPass(ModulePass):
    """
    Takes the scales of 8-bit factors out of products: x (w s) = (x w) s where s is the same
    along the contracted axes, so that the factor is only the bytes as floats, less the zero
    point. The product is in f32 until it is scaled.

    A scale that changes along the contracted axis from block to block stays in the factor;
    the axis becomes two, blocks and positions in a block.
    """

    name = "graph-quantized-products"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        rule = _Rule(weights_of(ctx))
        apply_rules(op, {DotOp: (rule,)})


@dataclass(frozen=True)
class _Quantized:
    """A factor (x - zero) * scale; zero and scale have the rank of x and repeat to it."""

    x: SSAValue
    zero: SSAValue | None
    scale: SSAValue | None

    def shape(self) -> tuple[Dim, ...]:
        return tensor_type(self.x).shape


@dataclass(frozen=True)
class _Product:
    """A product to be: its two factors, one of them quantised, and its axes."""

    other: SSAValue
    factor: _Quantized
    batch: tuple[Sequence[int], Sequence[int]]
    contract: tuple[Sequence[int], Sequence[int]]
    """Of both operands, the left one first."""
    side: int
    """0 where the left factor is the quantised one."""
    dtype: str

    def free(self, side: int) -> list[int]:
        value = self.factor.x if side == self.side else self.other
        taken = (*self.batch[side], *self.contract[side])
        return [i for i in range(tensor_type(value).rank) if i not in taken]


class _Rule:
    def __init__(self, store: WeightStore) -> None:
        self.store = store

    def __call__(self, op: DotOp, b: GraphBuilder) -> SSAValue | None:
        for side in (1, 0):
            product = self._product(op, side, b)
            if product is not None:
                return _scaled_after(product, b)
        return None

    def _product(self, op: DotOp, side: int, b: GraphBuilder) -> _Product | None:
        value, other = op.operands[side], op.operands[1 - side]
        dtype = tensor_type(op.out).dtype
        owner = value.owner
        types = {dtype, tensor_type(value).dtype, tensor_type(other).dtype}
        if not types <= set(FLOATS) or bytes_behind(value) is None:
            return None
        if not isinstance(owner, DequantizeOp | CastOp | MulOp) or products_of(owner) is None:
            return None
        factor = self._quantized(owner, b)
        if factor is None:
            return None
        product = _Product(other, factor, op.batch, op.contract, side, dtype)
        if isinstance(owner, DequantizeOp):
            number = block_axis(owner, op, side)
            if owner.block is not None:
                return None if number is None else _split(product, owner, number, b)
            return product
        return product if _moves(product) else None

    def _quantized(
        self, op: DequantizeOp | CastOp | MulOp, b: GraphBuilder
    ) -> _Quantized | None:
        if isinstance(op, DequantizeOp):
            zero = None if op.zero is None or self._is_zero(op.zero) else op.zero
            if op.block is None:
                zero = None if zero is None else _along(b, zero, op)
                return _Quantized(op.x, zero, _along(b, op.scale, op))
            return _Quantized(op.x, zero, op.scale)
        found = _chain(op, b)
        if found is None or found.zero is None or not self._is_zero(found.zero):
            return found
        return replace(found, zero=None)

    def _is_zero(self, zero: SSAValue) -> bool:
        """Whether a zero point is known to be 0 everywhere."""
        if splat(zero) == 0:
            return True
        owner = zero.owner
        if not isinstance(owner, WeightOp) or owner.handle.data not in self.store:
            return False
        return not np.any(self.store.array(owner.handle.data))


def _along(b: GraphBuilder, value: SSAValue, op: DequantizeOp) -> SSAValue:
    """A scale or zero point with the axes of what it belongs to."""
    shape = [ONE] * tensor_type(op.x).rank
    if op.axis is not None:
        shape[op.axis.value.data] = tensor_type(value).shape[0]
    return b.reshape(value, shape)


def _chain(op: CastOp | MulOp, b: GraphBuilder) -> _Quantized | None:
    """(x - zero) * scale written out, the casts between them exact or of the result."""
    value = _before_casts(op.results[0])
    product = producer(value, MulOp)
    if product is None:
        return None
    for left, scale in commuted(product):
        source, zero = _before_casts(left), None
        difference = producer(source, SubOp)
        if difference is not None and tensor_type(source).dtype not in BYTES:
            source, zero = _before_casts(difference.lhs), repeated_source(difference.rhs)
        x = tensor_type(source)
        if x.dtype in BYTES and x.shape == tensor_type(value).shape:
            ranked = [
                None if v is None else b.reshape(v, aligned(tensor_type(v).shape, x.rank))
                for v in (zero, repeated_source(scale))
            ]
            return _Quantized(source, *ranked)
    return None


def _before_casts(value: SSAValue) -> SSAValue:
    """The value before casts that lose nothing but precision."""
    while (cast := producer(value, CastOp)) is not None:
        to, source = tensor_type(value).dtype, tensor_type(cast.x).dtype
        if to in BYTES or (dtypes.is_float(source) and not dtypes.is_float(to)):
            break
        value = cast.x
    return value


def _moves(product: _Product) -> bool:
    """Whether the scale is the same along the contracted axes."""
    scale = product.factor.scale
    assert scale is not None
    shape = tensor_type(scale).shape
    return all(shape[axis] is ONE for axis in product.contract[product.side])


def _split(product: _Product, op: DequantizeOp, number: int, b: GraphBuilder) -> _Product:
    """The product with a contracted axis as two: blocks, and positions in a block."""
    assert op.block is not None
    block = Dim.of(op.block.value.data)
    side = product.side
    axes = [product.contract[0][number], product.contract[1][number]]

    def parted(value: SSAValue, axis: int, inner: Dim) -> SSAValue:
        shape = list(tensor_type(value).shape)
        count = shape[axis] if inner is ONE else shape[axis].exact_divide(inner)
        assert count is not None, "blocks divide the axis"
        return b.reshape(value, [*shape[:axis], count, inner, *shape[axis + 1 :]])

    factor, axis = product.factor, axes[side]
    assert factor.scale is not None
    zero = None if factor.zero is None else parted(factor.zero, axis, ONE)
    split = _Quantized(parted(factor.x, axis, block), zero, parted(factor.scale, axis, ONE))

    def later(listed: Sequence[int], at: int) -> list[int]:
        return [i + (i > at) for i in listed]

    contract = []
    for own, at in zip(product.contract, axes, strict=True):
        moved = later(own, at)
        contract.append([*moved[: number + 1], moved[number] + 1, *moved[number + 1 :]])
    return replace(
        product,
        other=parted(product.other, axes[1 - side], block),
        factor=split,
        batch=(later(product.batch[0], axes[0]), later(product.batch[1], axes[1])),
        contract=(contract[0], contract[1]),
    )


def _scaled_after(product: _Product, b: GraphBuilder) -> SSAValue:
    """The product of the bytes as floats, then the scale, then the result's type."""
    after = product.factor.scale if _moves(product) else None
    before = product.factor.scale if after is None else None
    dtype = tensor_type(product.other).dtype
    value = _floats(product.factor, before, dtype, b)
    operands = (product.other, value) if product.side else (value, product.other)
    result = b.dot(*operands, batch=product.batch, contract=product.contract, dtype="f32")
    if after is not None:
        free = product.free(0), product.free(1)
        spread = axes_of_result(b, after, product.side, product.batch, free)
        result = b.mul(result, b.cast(spread, "f32"))
    return b.cast(result, product.dtype)


def _floats(
    factor: _Quantized, scale: SSAValue | None, dtype: str, b: GraphBuilder
) -> SSAValue:
    """(x - zero) * scale in a float type; the difference of bytes is exact in any."""
    if factor.zero is None and scale is None:
        return b.cast(factor.x, dtype)
    value = b.cast(factor.x, "f32")
    if factor.zero is not None:
        value = b.sub(value, b.cast(factor.zero, "f32"))
    if scale is not None:
        value = b.mul(value, b.cast(scale, "f32"))
    return b.cast(value, dtype)
