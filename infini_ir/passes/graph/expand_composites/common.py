"""What the definitions share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xdsl.ir import SSAValue

from infini_ir.dialects.graph import tensor_type
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import ONE, Dim, product

Definition = Callable[[Any, GraphBuilder], list[SSAValue]]
"""The results of a composite, from primitives inserted with the builder."""


def compute_type(*values: SSAValue) -> str:
    """The float type that a composite computes in: f64 if any operand has it, else f32."""
    return "f64" if any(tensor_type(v).dtype == "f64" for v in values) else "f32"


def widened(b: GraphBuilder, x: SSAValue) -> SSAValue:
    """Floats narrower than f32 as f32; all else unchanged."""
    dtype = tensor_type(x).dtype
    return b.cast(x, compute_type(x)) if dtypes.is_float(dtype) else x


def size_as(b: GraphBuilder, size: Dim, dtype: str) -> SSAValue:
    """A size as a scalar of an element type."""
    if size.value is not None:
        return b.constant(size.value, dtype)
    return b.cast(b.dim(size), dtype)


def mean(b: GraphBuilder, x: SSAValue, axes: Sequence[int]) -> SSAValue:
    """The mean over axes, kept with size 1."""
    kind = tensor_type(x)
    count = size_as(b, product(kind.shape[axis] for axis in axes), kind.dtype)
    return b.div(b.reduce("sum", x, axes, keep=True), count)


def along_axis(b: GraphBuilder, x: SSAValue, axis: int, rank: int) -> SSAValue:
    """A vector as a tensor of the given rank, its elements along `axis`."""
    shape: list[Dim] = [ONE] * rank
    shape[axis] = tensor_type(x).shape[0]
    return b.reshape(x, shape)
