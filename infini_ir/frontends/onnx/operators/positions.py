"""What operators that move data share: axes, index arithmetic, sizes that run-time values give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from xdsl.ir import SSAValue

from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.shaping import BindOp
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.frontends.onnx.errors import NeedsValue
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.common import normalized_axis, size_as
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import ONE, ZERO, Dim


def axes_of(n: Node, axes: Sequence[int], rank: int) -> list[int]:
    """Axes counted from either end as ones counted from the front, without duplicates."""
    found = [normalized_axis(n, int(axis), rank) for axis in axes]
    if len(set(found)) != len(found):
        raise n.error(f"axes {list(axes)} name one twice")
    return found


def scalar(n: Node, value: SSAValue, dtype: str | None = None) -> SSAValue:
    """A value of one element as a scalar, cast to `dtype` when given."""
    flat = n.builder.reshape(value, [])
    return n.builder.cast(flat, dtype) if dtype else flat


def need_all_known(n: Node, names: Mapping[int, str]) -> None:
    """Ask at once for all the operands that must be known when compiling."""
    needs = [n.needs(i, name) for i, name in names.items() if n.has(i) and n.known(i) is None]
    values: frozenset[str] = frozenset()
    shapes: frozenset[str] = frozenset()
    for need in needs:
        if not isinstance(need, NeedsValue):
            raise need
        values, shapes = values | need.values, shapes | need.shapes
    if needs:
        raise NeedsValue(values, shapes)


def need_size(n: Node, size: Dim, what: str) -> int:
    """A size that must be a number when compiling; `what` names it in messages."""
    if size.value is None:
        raise n.needs_value(n.builder.dim(size), what)
    return size.value


def elements(n: Node, value: SSAValue) -> list[SSAValue]:
    """The elements of an integer vector of known length, as i64 scalars."""
    b = n.builder
    count = need_size(n, tensor_type(value).element_count(), "the length of a list")
    wide = b.reshape(b.cast(value, "i64"), [count])
    return [b.reshape(b.slice(wide, [i], [1]), []) for i in range(count)]


def size_held(n: Node, value: SSAValue) -> Dim | None:
    """The size that an i64 scalar is known to hold."""
    sizes = n.scope.session.contents.sizes(value)
    return sizes[0] if sizes else None


def bind(n: Node, value: SSAValue, hint: str) -> Dim:
    """The size that a non-negative i64 scalar holds: a fresh symbol, unless it is known."""
    held = size_held(n, value)
    if held is not None:
        return held
    symbol = n.fresh_symbol(hint)
    n.builder.insert(BindOp(value, symbol))
    return Dim.symbol(symbol)


def wants(n: Node, i: int) -> bool:
    """Whether output `i` is used by name."""
    return i < len(n.outputs) and bool(n.outputs[i])


def equal_sizes(n: Node, left: Dim, right: Dim) -> Dim:
    """One of two sizes that must be equal, the constant one where there is one.

    Different symbolic sizes become a fact; different numbers are an error.
    """
    if left is right:
        return left
    if left.is_constant and right.is_constant:
        raise n.error(f"sizes {left} and {right} differ")
    n.add_fact(left, "eq", right)
    return right if right.is_constant else left


def quotient(n: Node, total: Dim, parts: int | Dim) -> Dim:
    """A size divided by one that must divide it, which runs check where it is not known."""
    exact = total.exact_divide(parts)
    if exact is not None:
        return exact
    parts = Dim.of(parts)
    if parts is ZERO or (total.is_constant and parts.is_constant):
        raise n.error(f"{total} does not divide by {parts}")
    result = total // parts
    n.add_fact(result * parts, "eq", total)
    return result


def with_sizes(n: Node, x: SSAValue, wanted: Sequence[Dim]) -> SSAValue:
    """`x` with its sizes renamed to `wanted`, which they must equal."""
    own = tensor_type(x).shape
    if len(own) != len(wanted):
        raise n.error(f"{x.type} must have rank {len(wanted)}")
    for given, size in zip(own, wanted, strict=True):
        equal_sizes(n, given, size)
    return n.builder.reshape(x, wanted)


def size_vector(b: GraphBuilder, sizes: Sequence[Dim], dtype: str = "i64") -> SSAValue:
    """Sizes as a vector."""
    known = [size.value for size in sizes]
    if None not in known:
        return b.constant(np.array(known, dtypes.numpy_dtype(dtype)))
    parts = [b.reshape(b.dim(size), [1]) for size in sizes]
    return b.cast(b.concat(parts, 0), dtype)


def wrapped(b: GraphBuilder, indices: SSAValue, size: Dim) -> SSAValue:
    """Indices into an axis of that size; negative ones count from the end."""
    if dtypes.is_unsigned(tensor_type(indices).dtype):
        return indices
    limit = size_as(b, size, tensor_type(indices).dtype)
    return b.select(b.compare("lt", indices, 0), b.add(indices, limit), indices)


def index_operand(n: Node, i: int, size: Dim) -> SSAValue:
    """Operand `i`, indices into an axis of that size, without negative ones."""
    known = n.known(i)
    if known is None:
        return wrapped(n.builder, n.value(i), size)
    if known.size and known.min() >= 0:
        return n.value(i)
    if size.value is None:
        return wrapped(n.builder, n.value(i), size)
    return n.array_constant(np.where(known < 0, known + size.value, known).astype(known.dtype))


def coordinates(b: GraphBuilder, parts: Sequence[SSAValue]) -> SSAValue:
    """Index tuples from one tensor an axis, all of one shape: a new last axis."""
    columns = [b.reshape(part, [*tensor_type(part).shape, ONE]) for part in parts]
    return b.concat(columns, len(tensor_type(parts[0]).shape))


def floor_mod(b: GraphBuilder, x: SSAValue, period: SSAValue) -> SSAValue:
    """`x` modulo a positive period, in [0, period)."""
    rest = b.rem(x, period)
    return b.select(b.compare("lt", rest, 0), b.add(rest, period), rest)


def floor_div(b: GraphBuilder, x: SSAValue, divisor: SSAValue | int) -> SSAValue:
    """`x` divided by a positive number, rounded down."""
    quotient = b.div(x, divisor)
    lower = b.compare("gt", b.mul(quotient, divisor), x)
    return b.select(lower, b.sub(quotient, 1), quotient)


def accumulating(b: GraphBuilder, x: SSAValue) -> SSAValue:
    """`x` in the type to compute in: f32 for narrower floats, else its own."""
    kind = tensor_type(x).dtype
    return b.cast(x, "f32") if kind in ("f16", "bf16") else x


def mean(b: GraphBuilder, x: SSAValue, axes: Sequence[int]) -> SSAValue:
    """The mean over axes, kept with size 1."""
    kind = tensor_type(x)
    count = ONE
    for axis in axes:
        count = count * kind.shape[axis]
    return b.div(b.reduce("sum", x, axes, keep=True), size_as(b, count, kind.dtype))


def flipped(b: GraphBuilder, x: SSAValue, axes: Sequence[int]) -> SSAValue:
    """`x` with some axes reversed."""
    shape = tensor_type(x).shape
    starts = [d - 1 if i in axes else Dim.of(0) for i, d in enumerate(shape)]
    steps = [-1 if i in axes else 1 for i in range(len(shape))]
    return b.slice(x, starts, shape, steps)
