"""Rules of `graph-simplify` for elementwise operations.

Each gives bit for bit what the operation gave, signed zeros and NaN included, except that
powers with exponent 2, 3 and 0.5 round as products and roots do.
"""

from __future__ import annotations

import math

import numpy as np
from xdsl.ir import Operation, SSAValue

from infini_ir.dialects.graph import (
    ELEMENTWISE_OPS,
    AbsOp,
    AddOp,
    AndOp,
    BinaryOp,
    BroadcastOp,
    CastOp,
    CompareOp,
    ConstantOp,
    DimOp,
    DivOp,
    MaxOp,
    MinOp,
    MulOp,
    NegOp,
    NotOp,
    OrOp,
    PowOp,
    SelectOp,
    SubOp,
    XorOp,
)  # fmt: skip
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.passes.graph.matching import (
    Scalar,
    aligned,
    is_float,
    lower_bound,
    producer,
    splat,
    upper_bound,
    with_splat,
)
from infini_ir.passes.graph.rules import for_each, merged
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import ONE, Dim


def full_like(b: GraphBuilder, value: SSAValue, number: Scalar) -> SSAValue:
    """A number everywhere, of the type of a value."""
    tensor = tensor_type(value)
    return b.full(tensor.shape, number, tensor.dtype)


def _is_zero(number: Scalar | None, sign: float) -> bool:
    return number is not None and number == 0 and math.copysign(1.0, number) == sign


# Arithmetic


def add_zero(op: AddOp, b: GraphBuilder) -> SSAValue | None:
    # -0.0 + 0.0 is 0.0, so that only -0.0 changes no float.
    for value, other in ((op.lhs, op.rhs), (op.rhs, op.lhs)):
        number = splat(other)
        if _is_zero(number, -1.0) or (number == 0 and not is_float(op.out)):
            return value
    return None


def add_negated(op: AddOp, b: GraphBuilder) -> SSAValue | None:
    for value, other in ((op.lhs, op.rhs), (op.rhs, op.lhs)):
        negated = producer(other, NegOp)
        if negated is not None:
            return b.sub(value, negated.x)
    return None


def add_integers(op: AddOp, b: GraphBuilder) -> SSAValue | None:
    """(x + a) + b is x + (a + b) for integers."""
    outer = None if is_float(op.out) else with_splat(op)
    if outer is None or (inner_op := producer(outer[0], AddOp)) is None:
        return None
    inner = with_splat(inner_op)
    if inner is None:
        return None
    numpy_type = dtypes.numpy_dtype(tensor_type(op.out).dtype)
    if numpy_type.itemsize < 4:
        return None
    with np.errstate(over="ignore"):
        total = np.array(outer[1], numpy_type) + np.array(inner[1], numpy_type)
    return b.add(inner[0], full_like(b, op.out, total.item()))


def sub_zero(op: SubOp, b: GraphBuilder) -> SSAValue | None:
    number = splat(op.rhs)
    if _is_zero(number, 1.0) or (number == 0 and not is_float(op.out)):
        return op.lhs
    if op.lhs is op.rhs and not is_float(op.out):
        return full_like(b, op.out, 0)
    return None


def sub_negated(op: SubOp, b: GraphBuilder) -> SSAValue | None:
    negated = producer(op.rhs, NegOp)
    return None if negated is None else b.add(op.lhs, negated.x)


def mul_unit(op: MulOp, b: GraphBuilder) -> SSAValue | None:
    match = with_splat(op)
    if match is None:
        return None
    value, number = match
    if number == 1:
        return value
    if number == -1:
        return b.neg(value)
    if number == 0 and not is_float(op.out):
        return full_like(b, op.out, 0)
    return None


def div_constant(op: DivOp, b: GraphBuilder) -> SSAValue | None:
    """Division by 1, -1 or (floats) a power of two, whose inverse is exact."""
    number = splat(op.rhs)
    if number is None or number == 0:
        return None
    if number == 1:
        return op.lhs
    if number == -1:
        return b.neg(op.lhs)
    if is_float(op.out) and math.isfinite(number):
        mantissa, exponent = math.frexp(number)
        if abs(mantissa) == 0.5 and abs(exponent) < 13:
            return b.mul(op.lhs, 1.0 / number)
    return None


def neg_neg(op: NegOp, b: GraphBuilder) -> SSAValue | None:
    inner = producer(op.x, NegOp)
    return None if inner is None else inner.x


def abs_abs(op: AbsOp, b: GraphBuilder) -> SSAValue | None:
    if producer(op.x, AbsOp) is not None:
        return op.x
    inner = producer(op.x, NegOp)
    return None if inner is None else b.abs(inner.x)


def pow_constant(op: PowOp, b: GraphBuilder) -> SSAValue | None:
    exponent = splat(op.rhs)
    if exponent is None:
        return None
    if exponent == 1:
        return op.lhs
    if exponent == 2:
        return b.mul(op.lhs, op.lhs)
    if exponent == 3:
        return b.mul(b.mul(op.lhs, op.lhs), op.lhs)
    if exponent == 0 and not is_float(op.out):
        return full_like(b, op.out, 1)
    if exponent == 0.5 and lower_bound(op.lhs) >= 0:
        return b.sqrt(op.lhs)
    return None


# Bounds


def max_redundant(op: MaxOp, b: GraphBuilder) -> SSAValue | None:
    for value, other in ((op.lhs, op.rhs), (op.rhs, op.lhs)):
        if value is other:
            return value
        limit = splat(other)
        if limit is not None and limit == limit and lower_bound(value) >= limit:
            return value
        if limit is not None and limit == -math.inf:
            return value
    return None


def min_redundant(op: MinOp, b: GraphBuilder) -> SSAValue | None:
    for value, other in ((op.lhs, op.rhs), (op.rhs, op.lhs)):
        if value is other:
            return value
        limit = splat(other)
        if limit is not None and limit == limit and upper_bound(value) <= limit:
            return value
        if limit is not None and limit == math.inf:
            return value
    return None


def merge_bounds(op: MaxOp | MinOp, b: GraphBuilder) -> SSAValue | None:
    """max(max(x, a), b) is max(x, max(a, b)); min alike."""
    kind, choose = (MaxOp, max) if isinstance(op, MaxOp) else (MinOp, min)
    outer = with_splat(op)
    inner_op = None if outer is None else producer(outer[0], kind)
    inner = None if inner_op is None else with_splat(inner_op)
    if outer is None or inner is None or outer[1] != outer[1] or inner[1] != inner[1]:
        return None
    return b.binary(kind, inner[0], full_like(b, op.out, choose(outer[1], inner[1])))


# Logic


def not_not(op: NotOp, b: GraphBuilder) -> SSAValue | None:
    inner = producer(op.x, NotOp)
    if inner is not None:
        return inner.x
    compared = producer(op.x, CompareOp)
    inverse = {"eq": "ne", "ne": "eq"}
    if compared is not None and not is_float(compared.lhs):
        inverse |= {"lt": "ge", "ge": "lt", "gt": "le", "le": "gt"}
    if compared is None or compared.predicate.data not in inverse:
        return None
    return b.compare(inverse[compared.predicate.data], compared.lhs, compared.rhs)


def logic_constant(op: AndOp | OrOp | XorOp, b: GraphBuilder) -> SSAValue | None:
    if op.lhs is op.rhs and not isinstance(op, XorOp):
        return op.lhs
    if tensor_type(op.out).dtype != "i1":
        return None
    match = with_splat(op)
    if match is None:
        return None
    value, flag = match
    if isinstance(op, XorOp):
        return b.logical_not(value) if flag else value
    neutral = isinstance(op, AndOp)
    return value if bool(flag) == neutral else full_like(b, op.out, not neutral)


def select_known(op: SelectOp, b: GraphBuilder) -> SSAValue | None:
    if op.on_true is op.on_false:
        return op.on_true
    flag = splat(op.condition)
    if flag is not None:
        return op.on_true if flag else op.on_false
    inverted = producer(op.condition, NotOp)
    if inverted is not None:
        return b.select(inverted.x, op.on_false, op.on_true)
    if tensor_type(op.out).dtype == "i1":
        choices = splat(op.on_true), splat(op.on_false)
        if choices == (True, False):
            return op.condition
        if choices == (False, True):
            return b.logical_not(op.condition)
    return None


def compare_self(op: CompareOp, b: GraphBuilder) -> SSAValue | None:
    if op.lhs is not op.rhs:
        return None
    predicate = op.predicate.data
    if predicate in ("lt", "gt") or (predicate == "ne" and not is_float(op.lhs)):
        return full_like(b, op.out, False)
    if not is_float(op.lhs):
        return full_like(b, op.out, True)
    return None


# Casts

_MANTISSA = {"f16": 11, "bf16": 8, "f32": 24, "f64": 53}
_RANGE = {"f16": 5, "bf16": 8, "f32": 8, "f64": 11}


def _integer_bits(name: str) -> int:
    """Bits of the magnitude of an integer or bool type."""
    if name == "i1":
        return 1
    return int(name[2:]) if dtypes.is_unsigned(name) else int(name[1:]) - 1


def cast_is_exact(source: str, target: str) -> bool:
    """Whether every value of `source` is a value of `target`."""
    if source == target:
        return True
    if target == "i1":
        return False
    if dtypes.is_float(source):
        known = source in _MANTISSA and target in _MANTISSA
        return (
            known
            and _MANTISSA[source] <= _MANTISSA[target]
            and _RANGE[source] <= _RANGE[target]
        )
    bits = _integer_bits(source)
    if dtypes.is_float(target):
        # f16's range ends at 65504, so that whole numbers beyond 2048 are not all exact.
        return target in _MANTISSA and bits <= _MANTISSA[target]
    signed = source != "i1" and not dtypes.is_unsigned(source)
    if signed and dtypes.is_unsigned(target):
        return False
    return bits <= _integer_bits(target)


def cast_chain(op: CastOp, b: GraphBuilder) -> SSAValue | None:
    """A cast to the same type, or after one that lost nothing."""
    if op.x.type == op.out.type:
        return op.x
    inner = producer(op.x, CastOp)
    if inner is None:
        return None
    first, middle, last = (tensor_type(v).dtype for v in (inner.x, op.x, op.out))
    if not cast_is_exact(first, middle) or first in dtypes.STORAGE_ONLY:
        return None
    same_kind = dtypes.is_float(first) == dtypes.is_float(middle)
    if not (same_kind or dtypes.is_float(last) or last == "i1" or cast_is_exact(first, last)):
        return None
    if first == last:
        return inner.x
    rounding = None if op.rounding is None else op.rounding.data
    return b.insert(
        CastOp(inner.x, last, saturate=op.saturate is not None, rounding=rounding)
    ).out


# Sizes as values


def _size_of(value: SSAValue) -> Dim | None:
    owner = value.owner
    if isinstance(owner, DimOp):
        return owner.dim
    if isinstance(owner, ConstantOp) and value.type == tensor_type(value).with_shape(()):
        return Dim.of(int(owner.value.data[0]))
    return None


def size_arithmetic(op: AddOp | SubOp | MulOp, b: GraphBuilder) -> SSAValue | None:
    """Sums and products of sizes are sizes."""
    if tensor_type(op.out).rank or tensor_type(op.out).dtype != "i64":
        return None
    if not isinstance(op.lhs.owner, DimOp) and not isinstance(op.rhs.owner, DimOp):
        return None
    left, right = _size_of(op.lhs), _size_of(op.rhs)
    if left is None or right is None:
        return None
    if isinstance(op, AddOp):
        return b.dim(left + right)
    return b.dim(left - right if isinstance(op, SubOp) else left * right)


def size_division(op: DivOp, b: GraphBuilder) -> SSAValue | None:
    left = op.lhs.owner
    right = _size_of(op.rhs)
    if not isinstance(left, DimOp) or right is None:
        return None
    exact = left.dim.exact_divide(right)
    return None if exact is None else b.dim(exact)


# Broadcasts


def compute_before_broadcast(op: Operation, b: GraphBuilder) -> SSAValue | None:
    """An operation on repeated operands works on the smaller ones, its result is repeated."""
    out = tensor_type(op.results[0])
    sources: list[SSAValue] = []
    for operand in op.operands:
        owner = operand.owner
        if not isinstance(owner, BroadcastOp):
            return None
        sources.append(owner.x)
    shape: list[Dim] = [ONE] * out.rank
    rank = 0
    for source in sources:
        own = tensor_type(source).shape
        rank = max(rank, len(own))
        for axis, size in enumerate(aligned(own, out.rank)):
            if size is not ONE:
                shape[axis] = size
    if tuple(shape) == out.shape:
        return None
    small = shape[out.rank - rank :]
    operands = [b.broadcast_to(source, small) for source in sources]
    result_type = out.with_shape(small)
    clone = type(op).create(
        operands=operands, properties=dict(op.properties), result_types=[result_type]
    )
    return b.broadcast_to(b.insert(clone).results[0], out.shape)


_BINARY_BOUNDS: tuple[type[BinaryOp], ...] = (MaxOp, MinOp)

ELEMENTWISE_RULES = merged(
    {
        AddOp: (size_arithmetic, add_zero, add_negated, add_integers),
        SubOp: (size_arithmetic, sub_zero, sub_negated),
        MulOp: (size_arithmetic, mul_unit),
        DivOp: (div_constant, size_division),
        NegOp: (neg_neg,),
        AbsOp: (abs_abs,),
        PowOp: (pow_constant,),
        MaxOp: (max_redundant,),
        MinOp: (min_redundant,),
        NotOp: (not_not,),
        SelectOp: (select_known,),
        CompareOp: (compare_self,),
        CastOp: (cast_chain,),
    },
    for_each(_BINARY_BOUNDS, merge_bounds),
    for_each((AndOp, OrOp, XorOp), logic_constant),
    for_each(ELEMENTWISE_OPS, compute_before_broadcast),
)
