"""Arithmetic forms that several composites contain: means, factors, polynomials."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from infini_ir.dialects.graph import (
    AddOp,
    CastOp,
    DimOp,
    DivOp,
    MulOp,
    NegOp,
    PowOp,
    ReduceOp,
    RsqrtOp,
    SqrtOp,
    SubOp,
)  # fmt: skip
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.passes.graph.matching import (
    commuted,
    is_splat,
    producer,
    splat,
    strip_broadcast,
    strip_repetition,
    with_splat,
)
from infini_ir.utils.symbolic import ONE, Dim, product

TOLERANCE = 2e-3
"""Relative; constants of a model may have been rounded to bfloat16 or to a few digits."""


def mean_of(value: SSAValue) -> tuple[SSAValue, tuple[int, ...]] | None:
    """What the value is the mean of, over which axes: sum / n or sum * (1 / n)."""
    owner = strip_repetition(value).owner
    if isinstance(owner, DivOp):
        total, count, divides = owner.lhs, owner.rhs, True
    elif isinstance(owner, MulOp) and with_splat(owner) is not None:
        total, count = owner.lhs, owner.rhs
        if splat(total) is not None:
            total, count = count, total
        divides = False
    else:
        return None
    reduce = producer(strip_repetition(total), ReduceOp)
    if reduce is None or reduce.kind.data != "sum":
        return None
    shape = tensor_type(reduce.x).shape
    size = product(shape[axis] for axis in reduce.axis_list)
    return (reduce.x, reduce.axis_list) if _is_count(count, size, divides) else None


def _is_count(value: SSAValue, size: Dim, divides: bool) -> bool:
    if size.value is not None:
        wanted = size.value if divides else 1 / size.value if size.value else 0
        return is_splat(value, wanted, 1e-6)
    source = strip_repetition(value)
    cast = producer(source, CastOp)
    counted = producer(strip_repetition(cast.x) if cast is not None else source, DimOp)
    return divides and counted is not None and counted.dim is size


def square_of(value: SSAValue) -> SSAValue | None:
    """What the value is the square of."""
    owner = value.owner
    if isinstance(owner, MulOp) and owner.lhs is owner.rhs:
        return owner.lhs
    if isinstance(owner, PowOp) and is_splat(owner.rhs, 2):
        return owner.lhs
    return None


def normalized_by_root(op: MulOp | DivOp) -> tuple[SSAValue, SSAValue] | None:
    """(x, v) where the operation is x / sqrt(v), in any writing."""
    if isinstance(op, DivOp):
        root = producer(strip_repetition(op.rhs), SqrtOp)
        return None if root is None else (op.lhs, root.x)
    for x, factor in commuted(op):
        inverse = strip_repetition(factor).owner
        if isinstance(inverse, RsqrtOp):
            return x, inverse.x
        if isinstance(inverse, DivOp) and is_splat(inverse.lhs, 1):
            root = producer(strip_repetition(inverse.rhs), SqrtOp)
            if root is not None:
                return x, root.x
        if isinstance(inverse, PowOp) and is_splat(inverse.rhs, -0.5):
            return x, inverse.lhs
    return None


def plus_epsilon(value: SSAValue) -> tuple[SSAValue, float] | None:
    """(v, e) where the value is v + e with a small positive constant."""
    add = producer(strip_repetition(value), AddOp)
    match = None if add is None else with_splat(add)
    if match is None or not 0 <= match[1] < 1:
        return None
    return match[0], float(match[1])


def trailing_axis(axes: Sequence[int], rank: int) -> int | None:
    """The first of the axes where they are the last ones of a tensor."""
    first = rank - len(axes)
    return first if axes and sorted(axes) == list(range(first, rank)) else None


def affine_parameter(
    value: SSAValue, shape: Sequence[Dim], axis: int, b: GraphBuilder
) -> SSAValue | None:
    """A value repeated over the axes before `axis`, as a tensor of the axes from there on."""
    source = strip_broadcast(value)
    own, inner = tensor_type(source).shape, tuple(shape[axis:])
    if tensor_type(value).shape != tuple(shape):
        return None
    outside = own[: max(len(own) - len(inner), 0)]
    if any(size is not ONE for size in outside):
        return None
    if source is value and any(size is not ONE for size in shape[:axis]):
        return None
    small = b.reshape(source, own[len(outside) :])
    return b.broadcast_to(small, inner)


def factors_of(value: SSAValue, limit: int = 8) -> tuple[list[SSAValue], float]:
    """The factors of a product and the product of its constants."""
    number = splat(value)
    if number is not None:
        return [], float(number)
    owner = value.owner
    if limit and isinstance(owner, MulOp):
        left, a = factors_of(owner.lhs, limit - 1)
        right, c = factors_of(owner.rhs, limit - 1)
        return left + right, a * c
    if limit and isinstance(owner, DivOp):
        divisor = splat(owner.rhs)
        if divisor:
            values, scale = factors_of(owner.lhs, limit - 1)
            return values, scale / divisor
    if limit and isinstance(owner, NegOp):
        values, scale = factors_of(owner.x, limit - 1)
        return values, -scale
    return [value], 1.0


Polynomial = dict[int, float]
"""Coefficients by power."""


def polynomial_in(value: SSAValue, x: SSAValue, depth: int = 8) -> Polynomial | None:
    """The value as a polynomial in x with constant coefficients."""
    if value is x:
        return {1: 1.0}
    number = splat(value)
    if number is not None:
        return {0: float(number)}
    owner = value.owner
    if not depth:
        return None
    if isinstance(owner, (AddOp, SubOp, MulOp)):
        left = polynomial_in(owner.lhs, x, depth - 1)
        right = None if left is None else polynomial_in(owner.rhs, x, depth - 1)
        if left is None or right is None:
            return None
        if isinstance(owner, MulOp):
            return _product(left, right)
        sign = -1.0 if isinstance(owner, SubOp) else 1.0
        return {p: left.get(p, 0) + sign * right.get(p, 0) for p in left.keys() | right.keys()}
    if isinstance(owner, DivOp) and splat(owner.rhs):
        inner = polynomial_in(owner.lhs, x, depth - 1)
        divisor = splat(owner.rhs) or 1
        return None if inner is None else {p: c / divisor for p, c in inner.items()}
    if isinstance(owner, PowOp) and owner.lhs is x:
        exponent = splat(owner.rhs)
        return {int(exponent): 1.0} if exponent in (2, 3) else None
    return None


def _product(left: Polynomial, right: Polynomial) -> Polynomial:
    result: Polynomial = {}
    for p, a in left.items():
        for q, c in right.items():
            result[p + q] = result.get(p + q, 0.0) + a * c
    return result
