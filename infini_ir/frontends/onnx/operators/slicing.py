"""Operators that cut and pad: Slice, Pad, CenterCropPad."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.ir import SSAValue

from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.common import size_as
from infini_ir.frontends.onnx.operators.positions import (
    axes_of,
    bind,
    elements,
    floor_mod,
    need_all_known,
    scalar,
    size_held,
)
from infini_ir.frontends.onnx.registry import operator
from infini_ir.utils.symbolic import ZERO, Dim, maximum, minimum

# Slice


@dataclass
class _Range:
    """What to take of one axis: bounds are sizes or, from run-time operands, values."""

    axis: int
    start: Dim | SSAValue
    end: Dim | SSAValue
    step: int


@operator("Slice")
def slice_(n: Node) -> SSAValue:
    b, x, shape = n.builder, n.value(0), n.type(0).shape
    ranges = _attribute_ranges(n) if n.opset < 10 else _operand_ranges(n)
    starts: list[Dim | SSAValue] = [ZERO] * len(shape)
    sizes, steps = list(shape), [1] * len(shape)
    for r in ranges:
        taken = _resolve(n, r, shape[r.axis])
        starts[r.axis], sizes[r.axis] = taken
        steps[r.axis] = r.step
    if tuple(sizes) == shape and all(s is ZERO for s in starts) and set(steps) <= {1}:
        return x
    return b.slice(x, starts, sizes, steps)


def _attribute_ranges(n: Node) -> list[_Range]:
    starts, ends = n.required("starts"), n.required("ends")
    axes = axes_of(n, n.attribute("axes", range(len(starts))), n.type(0).rank)
    return [
        _Range(axis, Dim.of(start), Dim.of(end), 1)
        for axis, start, end in zip(axes, starts, ends, strict=True)
    ]


def _operand_ranges(n: Node) -> list[_Range]:
    need_all_known(n, {3: "axes", 4: "steps"})
    starts, ends = _bounds(n, 1), _bounds(n, 2)
    count = len(starts)
    axes = n.need_known(3, "axes").ravel().tolist() if n.has(3) else range(count)
    steps = n.need_known(4, "steps").ravel().tolist() if n.has(4) else [1] * count
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise n.error("starts, ends, axes and steps have different lengths")
    if 0 in steps:
        raise n.error("a step is 0")
    axes = axes_of(n, axes, n.type(0).rank)
    return [_Range(*r) for r in zip(axes, starts, ends, map(int, steps), strict=True)]


def _bounds(n: Node, i: int) -> Sequence[Dim | SSAValue]:
    sizes = n.sizes(i)
    if sizes is not None:
        return sizes
    scalars = elements(n, n.value(i))
    held = [size_held(n, scalar) for scalar in scalars]
    return [s if h is None else h for s, h in zip(scalars, held, strict=True)]


def _resolve(n: Node, r: _Range, size: Dim) -> tuple[Dim | SSAValue, Dim]:
    """The first element and the number of elements."""
    if isinstance(r.start, SSAValue) or isinstance(r.end, SSAValue):
        return _run_time_range(n, r, size)
    start, end = _from_front(r.start, size), _from_front(r.end, size)
    if r.step > 0:
        end = minimum(end, size)
        # end - max(start, 0): then `x[-k:]` has min(k, size) elements.
        count = maximum(minimum(end - start, end), 0)
        return _within(maximum(start, 0), size), count.ceil_divide(r.step)
    start = minimum(maximum(start, 0), size - 1)
    end = maximum(minimum(end, size - 1), -1)
    return start, maximum(start - end, 0).ceil_divide(-r.step)


def _within(start: Dim, size: Dim) -> Dim:
    """A start that is at most the size; a symbolic one beyond it begins no elements."""
    return minimum(start, size) if start.is_constant and size.is_constant else start


def _from_front(bound: Dim, size: Dim) -> Dim:
    """A bound counted from the front: negative ones count from the end."""
    if bound.is_nonnegative():
        # The largest integers mean the end, whatever the size.
        return size if bound.value is not None and bound.value >= 2**31 - 1 else bound
    if bound.value is not None:
        return Dim.of(-1) if bound.value <= -(2**31) else bound + size
    negative = minimum(maximum(-bound, 0), 1)
    return bound + size * negative


def _run_time_range(n: Node, r: _Range, size: Dim) -> tuple[SSAValue, Dim]:
    b, limit = n.builder, n.builder.dim(size)
    lowest, highest = (0, limit) if r.step > 0 else (-1, b.sub(limit, 1))
    start = _clamped(b, r.start, limit, 0, highest)
    end = _clamped(b, r.end, limit, lowest, highest)
    distance = b.sub(end, start) if r.step > 0 else b.sub(start, end)
    stride = abs(r.step)
    count = b.div(b.add(b.max(distance, 0), stride - 1), stride)
    return start, bind(n, count, "slice")


def _clamped(
    b: GraphBuilder,
    bound: Dim | SSAValue,
    limit: SSAValue,
    lowest: int,
    highest: SSAValue,
) -> SSAValue:
    value = bound if isinstance(bound, SSAValue) else b.dim(bound)
    value = b.select(b.compare("lt", value, 0), b.add(value, limit), value)
    return b.max(b.min(value, highest), lowest)


# Pad


@operator("Pad")
def pad(n: Node) -> SSAValue:
    b, x, rank = n.builder, n.value(0), n.type(0).rank
    lo, hi = _pads(n, rank)
    mode = n.attribute("mode", "constant")
    if all(p is ZERO for p in (*lo, *hi)):
        return x
    if mode == "constant":
        return b.pad(x, _pad_value(n), lo, hi)
    if mode not in ("reflect", "edge", "wrap"):
        raise n.error(f"mode '{mode}' is not one of constant, reflect, edge, wrap")
    for axis in range(rank):
        if lo[axis] is not ZERO or hi[axis] is not ZERO:
            x = b.gather(x, _padded_positions(n, x, axis, lo[axis], hi[axis], mode), axis)
    return x


def _pad_value(n: Node) -> SSAValue:
    dtype = n.type(0).dtype
    if n.opset < 11:
        return n.builder.constant(n.attribute("value", 0.0), dtype)
    if n.has(2):
        return scalar(n, n.value(2), dtype)
    return n.builder.constant(False if dtype == "i1" else 0, dtype)


def _pads(n: Node, rank: int) -> tuple[list[Dim], list[Dim]]:
    axes = list(range(rank))
    if n.opset < 11:
        amounts = [Dim.of(p) for p in n.required("pads")]
    else:
        if n.has(3):
            axes = axes_of(n, n.need_known(3, "axes").ravel().tolist(), rank)
        sizes = n.sizes(1)
        amounts = list(sizes) if sizes is not None else _run_time_pads(n, axes)
    if len(amounts) != 2 * len(axes):
        raise n.error(f"{len(amounts)} pads given for {len(axes)} axes")
    lo, hi = [ZERO] * rank, [ZERO] * rank
    for i, axis in enumerate(axes):
        lo[axis], hi[axis] = amounts[i], amounts[i + len(axes)]
    return lo, hi


def _run_time_pads(n: Node, axes: Sequence[int]) -> list[Dim]:
    """Pads that a call gives. One may crop up to a whole axis, so that pad + size binds."""
    b, shape = n.builder, n.type(0).shape
    result: list[Dim] = []
    for value, axis in zip(elements(n, n.value(1)), [*axes, *axes], strict=True):
        shifted = bind(n, b.add(value, b.dim(shape[axis])), "pad")
        result.append(shifted - shape[axis])
    return result


def _padded_positions(n: Node, x: SSAValue, axis: int, lo: Dim, hi: Dim, mode: str) -> SSAValue:
    """For each element of the padded axis, which element of `x` it is."""
    size = tensor_type(x).shape[axis]
    known = lo.value, hi.value, size.value
    if None not in known:
        return n.array_constant(_known_positions(*known, mode))  # pyright: ignore[reportArgumentType]
    b = n.builder
    limit = size_as(b, size, "i64")
    position = b.sub(b.iota([size + lo + hi], "i64", 0), size_as(b, lo, "i64"))
    if mode == "edge":
        return b.max(b.min(position, b.sub(limit, 1)), 0)
    if mode == "wrap":
        return floor_mod(b, position, limit)
    period = b.max(b.mul(b.sub(limit, 1), 2), 1)
    phase = floor_mod(b, position, period)
    return b.select(b.compare("lt", phase, limit), phase, b.sub(period, phase))


def _known_positions(lo: int, hi: int, size: int, mode: str) -> np.ndarray:
    position = np.arange(-lo, size + hi, dtype=np.int64)
    if mode == "edge":
        return np.clip(position, 0, size - 1)
    if mode == "wrap":
        return position % size
    period = max(2 * (size - 1), 1)
    phase = position % period
    return np.where(phase < size, phase, period - phase)


@operator("CenterCropPad", since=18)
def center_crop_pad(n: Node) -> SSAValue:
    b, shape = n.builder, n.type(0).shape
    axes = axes_of(n, n.attribute("axes", range(len(shape))), len(shape))
    wanted = n.need_sizes(1)
    if len(wanted) != len(axes):
        raise n.error(f"{len(wanted)} sizes given for {len(axes)} axes")
    lo, hi = [ZERO] * len(shape), [ZERO] * len(shape)
    for axis, size in zip(axes, wanted, strict=True):
        extra = size - shape[axis]
        lo[axis] = maximum(extra, 0) // 2 - maximum(-extra, 0) // 2
        hi[axis] = extra - lo[axis]
    if all(p is ZERO for p in (*lo, *hi)):
        return n.value(0)
    dtype = n.type(0).dtype
    return b.pad(n.value(0), b.constant(False if dtype == "i1" else 0, dtype), lo, hi)
