"""What operator conversions share: axes, element types, sizes that must agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.ir import SSAValue

from infini_ir.dialects.graph import tensor_type
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.frontends.onnx import tensors
from infini_ir.frontends.onnx.node import Node
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import ONE, ZERO, Dim

HALF = ("f16", "bf16")
"""Types whose longer formulas compute in f32 and round once."""


def rank_of(x: SSAValue) -> int:
    return tensor_type(x).rank


def shape_of(x: SSAValue) -> tuple[Dim, ...]:
    return tensor_type(x).shape


def dtype_of(x: SSAValue) -> str:
    return tensor_type(x).dtype


def dtype_named(n: Node, code: int) -> str:
    """The element type that a `TensorProto.DataType` number means."""
    return tensors.dtype_of(code, n.error)


def normalized_axis(n: Node, axis: int, rank: int) -> int:
    """An axis counted from the front."""
    if not -rank <= axis < rank:
        raise n.error(f"axis {axis} is outside a tensor of rank {rank}")
    return axis % rank


def axis_attribute(n: Node, default: int, rank: int) -> int:
    """The attribute `axis`, counted from the front."""
    return normalized_axis(n, n.attribute("axis", default), rank)


def wide(dtype: str) -> str:
    """The type that longer formulas on `dtype` compute in."""
    return "f32" if dtype in HALF else dtype


def computed_wide(
    b: GraphBuilder, formula: Callable[..., SSAValue], *values: SSAValue
) -> SSAValue:
    """`formula` of the values, through f32 for half-width ones and f64 for integers."""
    dtype = dtype_of(values[0])
    inner = wide(dtype) if dtypes.is_float(dtype) else "f64"
    return b.cast(formula(*(b.cast(value, inner) for value in values)), dtype)


def as_scalar(b: GraphBuilder, x: SSAValue) -> SSAValue:
    """A value of one element as a scalar."""
    return b.reshape(x, ())


def is_single(x: SSAValue) -> bool:
    """Whether a value certainly has one element."""
    return all(size is ONE for size in shape_of(x))


def size_as(b: GraphBuilder, size: Dim, dtype: str) -> SSAValue:
    """A size as a scalar of an element type."""
    if size.value is not None:
        return b.constant(size.value, dtype)
    return b.cast(b.dim(size), dtype)


def scaled(b: GraphBuilder, x: SSAValue, factor: float) -> SSAValue:
    """`x` times a number, which on integers need not be whole."""
    if factor == 1:
        return x
    if dtypes.is_float(dtype_of(x)):
        return b.mul(x, factor)
    if factor == int(factor):
        return b.mul(x, int(factor))
    return computed_wide(b, lambda v: b.mul(v, factor), x)


def with_size(x: SSAValue, axis: int, size: Dim, b: GraphBuilder) -> SSAValue:
    """`x` with one size renamed to an equal one."""
    shape = list(shape_of(x))
    shape[axis] = size
    return b.reshape(x, shape)


def match_sizes(
    n: Node, left: SSAValue, left_axis: int, right: SSAValue, right_axis: int
) -> tuple[SSAValue, SSAValue]:
    """Both values with one name for two sizes that must be equal."""
    a, c = shape_of(left)[left_axis], shape_of(right)[right_axis]
    if a is c:
        return left, right
    if a.is_constant and c.is_constant:
        raise n.error(f"sizes {a} and {c} of its operands must be equal")
    n.add_fact(a, "eq", c)
    size = c if c.is_constant else a
    return with_size(left, left_axis, size, n.builder), with_size(
        right, right_axis, size, n.builder
    )


def with_shape(n: Node, x: SSAValue, shape: Sequence[Dim]) -> SSAValue:
    """`x` with its sizes renamed to those of a shape that it must have."""
    if len(shape_of(x)) != len(shape):
        raise n.error(f"an operand of rank {rank_of(x)} should have rank {len(shape)}")
    for own, wanted in zip(shape_of(x), shape, strict=True):
        if own is wanted:
            continue
        if own.is_constant and wanted.is_constant:
            raise n.error(f"an operand has size {own} where others have {wanted}")
        n.add_fact(own, "eq", wanted)
    return n.builder.reshape(x, shape)


def repeated(b: GraphBuilder, x: SSAValue, shape: Sequence[Dim]) -> SSAValue:
    """`x` repeated to a shape that `GraphBuilder.common_shape` gave for it."""
    own = shape_of(x)
    aligned = shape[len(shape) - len(own) :]
    renamed = [s if s is ONE else w for s, w in zip(own, aligned, strict=True)]
    return b.broadcast_to(b.reshape(x, renamed), shape)


def flattened(b: GraphBuilder, x: SSAValue, axis: int) -> SSAValue:
    """A matrix: the axes before `axis` together, and those from it on."""
    shape = shape_of(x)
    sizes = [ONE, ONE]
    for i, size in enumerate(shape):
        sizes[i >= axis] = sizes[i >= axis] * size
    return b.reshape(x, sizes)


def start_at(axis: int, start: int | Dim | SSAValue, rank: int) -> list[int | Dim | SSAValue]:
    """Slice starts that are zero but on one axis."""
    starts: list[int | Dim | SSAValue] = [ZERO] * rank
    starts[axis] = start
    return starts
