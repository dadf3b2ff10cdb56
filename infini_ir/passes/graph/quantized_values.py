"""Quantised values stay bytes where nothing computes: the pass `graph-quantized-values`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from infini_ir.dialects.context import weights_of
from infini_ir.dialects.graph import (
    BroadcastOp,
    CompareOp,
    ConcatOp,
    ConstantOp,
    DequantizeOp,
    GatherOp,
    MaxOp,
    MinOp,
    MulOp,
    PadOp,
    PoolOp,
    QuantizeOp,
    ReshapeOp,
    SliceOp,
    TransposeOp,
    WeightOp,
)  # fmt: skip
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.dialects.graph.windows import PoolKind
from infini_ir.passes.graph.byte_factors import BYTES
from infini_ir.passes.graph.matching import (
    commuted,
    is_stored,
    producer,
    reshape_groups,
    splat,
    with_splat,
)
from infini_ir.passes.graph.rules import RuleTable, apply_rules
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import Dim
from infini_ir.utils.weights import WeightStore

_SMALL = 1 << 16
"""Elements at most of scales and zero points that are looked at."""
_LARGE = 2.0**119
"""255 times a scale below it is finite."""


@dataclass(frozen=True)
class GraphQuantizedValuesPass(ModulePass):
    """
    Moves `dequantize` below what only moves elements or takes maxima, and `quantize` above
    it, so that bytes are moved; a `quantize` of what was just dequantised with the same
    scale and zero point vanishes, and so does a clamp that the saturation does anyway.
    """

    name = "graph-quantized-values"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        apply_rules(op, QuantizedValues(weights_of(ctx)).rules())


class Numbers:
    """The numbers of scales and zero points that are known when compiling."""

    def __init__(self, store: WeightStore) -> None:
        self.store = store

    def array(self, value: SSAValue | None) -> np.ndarray | None:
        """The numbers of a small constant or weight, through shape operations."""
        if value is None:
            return None
        owner, kind = value.owner, tensor_type(value)
        if isinstance(owner, ConstantOp):
            return np.asarray(owner.array())
        if isinstance(owner, WeightOp):
            count = kind.element_count().value
            if count is None or count > _SMALL or owner.handle.data not in self.store:
                return None
            return self.store.array(owner.handle.data)
        if isinstance(owner, ReshapeOp) and kind.is_static():
            source = self.array(owner.x)
            return None if source is None else source.reshape(kind.static_shape())
        return None

    def number(self, value: SSAValue | None) -> float | None:
        """The number that all elements are."""
        array = self.array(value)
        if array is None or not array.size:
            return None
        first = array.reshape(-1)[0]
        return first.item() if np.all(array == first) else None

    def zero_point(self, value: SSAValue | None) -> int | None:
        """A zero point that is known and the same for all; an absent one is 0."""
        if value is None:
            return 0
        number = self.number(value)
        return None if number is None else int(number)

    def equal(self, left: SSAValue | None, right: SSAValue | None) -> bool:
        """Whether two parameters are the same; a zero point that is absent is 0."""
        if left is right:
            return True
        one, other = self.array(left), self.array(right)
        if left is None or right is None:
            given = one if right is None else other
            return given is not None and not np.any(given)
        return one is not None and other is not None and np.array_equal(one, other)


def byte_source(value: SSAValue) -> DequantizeOp | None:
    """The operation that makes a value of bytes; not one with blocks of scales."""
    op = producer(value, DequantizeOp)
    if op is None or op.block is not None or tensor_type(op.x).dtype not in BYTES:
        return None
    return op


def limits(dtype: str) -> tuple[int, int]:
    """The least and greatest number of an 8-bit integer type."""
    return (0, 255) if dtypes.is_unsigned(dtype) else (-128, 127)


class QuantizedValues:
    """The rules of the pass."""

    def __init__(self, store: WeightStore) -> None:
        self.numbers = Numbers(store)

    def rules(self) -> RuleTable:
        return {
            TransposeOp: (self.transposed,),
            ReshapeOp: (self.reshaped,),
            BroadcastOp: (self.moved,),
            SliceOp: (self.moved,),
            GatherOp: (self.moved,),
            PadOp: (self.padded,),
            ConcatOp: (self.joined,),
            PoolOp: (self.pooled,),
            DequantizeOp: (self.known,),
            CompareOp: (self.compared_with_itself,),
            QuantizeOp: (self.undone, self.unclamped, self.before_moving, self.below_transpose),
        }

    # Dequantising later

    def known(self, op: DequantizeOp, b: GraphBuilder) -> SSAValue | None:
        """One number everywhere is a constant."""
        number, scale = splat(op.x), self.numbers.number(op.scale)
        zero = self.numbers.zero_point(op.zero)
        if number is None or scale is None or zero is None:
            return None
        out = tensor_type(op.out)
        value = np.float32(number - zero) * np.float32(scale)
        return b.full(out.shape, float(value), "f32") if out.dtype == "f32" else None

    def transposed(self, op: TransposeOp, b: GraphBuilder) -> SSAValue | None:
        source = byte_source(op.x)
        if source is None:
            return None
        axis = None if source.axis is None else op.permutation.index(source.axis.value.data)
        return _dequantized(b, b.transpose(source.x, op.permutation), source, axis)

    def reshaped(self, op: ReshapeOp, b: GraphBuilder) -> SSAValue | None:
        source, out = byte_source(op.x), tensor_type(op.out)
        if source is None:
            return None
        axis = None
        if source.axis is not None:
            axis = _axis_after(tensor_type(op.x).shape, out.shape, source.axis.value.data)
            if axis is None:
                return None
        return _dequantized(b, b.reshape(source.x, out.shape), source, axis)

    def moved(self, op: BroadcastOp | SliceOp | GatherOp, b: GraphBuilder) -> SSAValue | None:
        """An operation that takes elements of its first operand to other places."""
        source = byte_source(op.x)
        if source is None or source.axis is not None:
            return None
        if isinstance(op, BroadcastOp) and is_stored(source.x):
            return None
        out = tensor_type(op.out).with_element(tensor_type(source.x).dtype)
        clone = type(op).create(
            operands=[source.x, *list(op.operands)[1:]],
            properties=dict(op.properties),
            result_types=[out],
        )
        return _dequantized(b, b.insert(clone).results[0], source)

    def padded(self, op: PadOp, b: GraphBuilder) -> SSAValue | None:
        source = byte_source(op.x)
        if source is None or source.axis is not None or splat(op.value) != 0:
            return None
        zero = source.zero
        if zero is None:
            zero = b.constant(0, tensor_type(source.x).dtype)
        x = b.pad(source.x, zero, op.lo.data, op.hi.data, op.interior_list)
        return _dequantized(b, x, source)

    def joined(self, op: ConcatOp, b: GraphBuilder) -> SSAValue | None:
        sources = [byte_source(value) for value in op.inputs]
        first = sources[0] if sources else None
        if first is None or first.axis is not None:
            return None
        for other in sources:
            if (
                other is None
                or other.axis is not None
                or tensor_type(other.x).dtype != tensor_type(first.x).dtype
                or not self.numbers.equal(other.scale, first.scale)
                or not self.numbers.equal(other.zero, first.zero)
            ):
                return None
        pieces = [source.x for source in sources if source is not None]
        return _dequantized(b, b.concat(pieces, op.axis.value.data), first)

    def pooled(self, op: PoolOp, b: GraphBuilder) -> SSAValue | None:
        """The maximum of bytes is that of the numbers, the scale being positive."""
        source = byte_source(op.x)
        if op.kind.data is not PoolKind.max or source is None or source.axis is not None:
            return None
        scale = self.numbers.number(source.scale)
        if scale is None or not scale > 0:
            return None
        out = tensor_type(op.out).with_element(tensor_type(source.x).dtype)
        clone = PoolOp.create(
            operands=[source.x], properties=dict(op.properties), result_types=[out]
        )
        return _dequantized(b, b.insert(clone).out, source)

    def compared_with_itself(self, op: CompareOp, b: GraphBuilder) -> SSAValue | None:
        """What was a byte is not NaN."""
        source, predicate = byte_source(op.lhs), op.predicate.data.name
        if op.lhs is not op.rhs or source is None or predicate not in ("eq", "ne"):
            return None
        scale = self.numbers.array(source.scale)
        if scale is None or not np.all(np.abs(scale) < _LARGE):
            return None
        return b.full(tensor_type(op.out).shape, predicate == "eq", "i1")

    # Quantising earlier, or not at all

    def undone(self, op: QuantizeOp, b: GraphBuilder) -> SSAValue | None:
        """round(((x - zero) * scale) / scale) + zero is x."""
        source = byte_source(op.x)
        if source is None or op.block is not None or source.x.type != op.out.type:
            return None
        axes = [None if each.axis is None else each.axis.value.data for each in (op, source)]
        if axes[0] != axes[1]:
            return None
        same = self.numbers.equal(op.scale, source.scale)
        return source.x if same and self.numbers.equal(op.zero, source.zero) else None

    def unclamped(self, op: QuantizeOp, b: GraphBuilder) -> SSAValue | None:
        """A clamp to no less than the greatest or least byte's number changes nothing."""
        clamp = op.x.owner
        dtype, zero = tensor_type(op.out).dtype, self.numbers.zero_point(op.zero)
        scale = self.numbers.number(op.scale)
        if not isinstance(clamp, MaxOp | MinOp) or dtype not in BYTES or op.axis is not None:
            return None
        if zero is None or scale is None or not scale > 0:
            return None
        low, high = ((limit - zero) * scale for limit in limits(dtype))
        for value, bound in commuted(clamp):
            number = splat(bound)
            if number is not None and (
                number <= low if isinstance(clamp, MaxOp) else number >= high
            ):
                return b.insert(QuantizeOp(value, op.scale, op.zero, dtype)).out
        return None

    def before_moving(self, op: QuantizeOp, b: GraphBuilder) -> SSAValue | None:
        """What is only moved to other places is quantised before."""
        if op.axis is not None or not op.x.has_one_use():
            return None
        mover, dtype = op.x.owner, tensor_type(op.out).dtype

        def quantized(x: SSAValue) -> SSAValue:
            return b.insert(QuantizeOp(x, op.scale, op.zero, dtype)).out

        if isinstance(mover, ReshapeOp):
            return b.reshape(quantized(mover.x), tensor_type(op.out).shape)
        if isinstance(mover, TransposeOp):
            return b.transpose(quantized(mover.x), mover.permutation)
        if isinstance(mover, ConcatOp):
            pieces = [quantized(piece) for piece in mover.inputs]
            return b.concat(pieces, mover.axis.value.data)
        return None

    def below_transpose(self, op: QuantizeOp, b: GraphBuilder) -> SSAValue | None:
        """Bytes that are transposed, multiplied by a number and quantised again are
        transposed last, where a product takes them in either order."""
        if op.axis is not None or not op.x.has_one_use():
            return None
        scaled = producer(op.x, MulOp)
        found = None if scaled is None else with_splat(scaled)
        source = None if found is None else byte_source(found[0])
        if found is None or source is None or source.axis is not None:
            return None
        transpose = producer(source.x, TransposeOp)
        if transpose is None or is_stored(transpose.x):
            return None
        x = b.mul(_dequantized(b, transpose.x, source), found[1])
        dtype = tensor_type(op.out).dtype
        quantized = b.insert(QuantizeOp(x, op.scale, op.zero, dtype)).out
        return b.transpose(quantized, transpose.permutation)


def _dequantized(
    b: GraphBuilder, x: SSAValue, like: DequantizeOp, axis: int | None = None
) -> SSAValue:
    dtype = tensor_type(like.out).dtype
    return b.insert(DequantizeOp(x, like.scale, like.zero, axis=axis, dtype=dtype)).out


def _axis_after(before: Sequence[Dim], after: Sequence[Dim], axis: int) -> int | None:
    """Where a reshape puts an axis that it neither splits nor merges."""
    for left, right in reshape_groups(before, after) or ():
        if left == (axis,) and len(right) == 1:
            return right[0]
    return None
