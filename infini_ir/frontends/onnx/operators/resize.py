"""Resize and Upsample: separable interpolation, one axis at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from infini_ir.dialects.graph.types import tensor_type
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.common import size_as
from infini_ir.frontends.onnx.operators.interpolation import (
    NEAREST,
    TRANSFORMS,
    KnownMath,
    Sampling,
    positions_on_axis,
    taps,
)
from infini_ir.frontends.onnx.operators.positions import (
    axes_of,
    need_all_known,
    need_size,
)
from infini_ir.frontends.onnx.registry import operator
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import ONE, Dim, product

REGIONAL = ("tf_crop_and_resize",)
"""Transformations that resize a region of the operand."""

DENSE_TAPS = 4
"""With more taps than this an axis is resized by a matrix product."""


@dataclass
class _Axis:
    """How one axis is resized."""

    axis: int
    size: Dim
    result: Dim
    scale: float | None
    """The scale given; None: result / size."""
    region: tuple[float, float] | None
    """The part of the axis to resize, as fractions of its length (tf_crop_and_resize)."""

    @property
    def is_identity(self) -> bool:
        return (
            self.result is self.size
            and self.scale in (None, 1.0)
            and self.region in (None, (0.0, 1.0))
        )


@operator("Upsample", since=7)
def upsample(n: Node) -> SSAValue:
    if n.opset >= 9:
        scales = n.need_known(1, "scales").ravel().tolist()
    else:
        scales = n.required("scales")
    axes = [_scaled(i, d, s) for i, (d, s) in enumerate(zip(n.type(0).shape, scales))]
    mode = _mode(n)
    return _resized(n, axes, Sampling(mode, "asymmetric", nearest="floor"))


@operator("Resize", since=10)
def resize_by_scales(n: Node) -> SSAValue:
    scales = n.need_known(1, "scales").ravel().tolist()
    axes = [_scaled(i, d, s) for i, (d, s) in enumerate(zip(n.type(0).shape, scales))]
    # Before opset 11 an enlarged axis rounds positions down, a reduced one up.
    nearest = "ceil" if min(scales, default=1) < 1 else "floor"
    return _resized(n, axes, Sampling(_mode(n), "asymmetric", nearest=nearest))


@operator("Resize", since=11)
def resize(n: Node) -> SSAValue:
    sampling = Sampling(
        _mode(n),
        n.attribute("coordinate_transformation_mode", "half_pixel"),
        nearest=n.attribute("nearest_mode", "round_prefer_floor"),
        cubic=n.attribute("cubic_coeff_a", -0.75),
        antialias=bool(n.attribute("antialias", 0)),
        exclude_outside=bool(n.attribute("exclude_outside", 0)),
        extrapolation=n.attribute("extrapolation_value", 0.0),
    )
    if sampling.transform not in TRANSFORMS:
        known = ", ".join(TRANSFORMS)
        raise n.error(f"transformation '{sampling.transform}' is not one of {known}")
    if sampling.nearest not in NEAREST:
        raise n.error(f"nearest_mode '{sampling.nearest}' is not one of {', '.join(NEAREST)}")
    if sampling.antialias and sampling.mode == "nearest":
        raise n.error("antialias works with the modes linear and cubic")
    return _resized(n, _axes(n, sampling), sampling)


def _mode(n: Node) -> str:
    mode = n.attribute("mode", "nearest")
    mode = {"bilinear": "linear"}.get(mode, mode)
    if mode not in ("nearest", "linear", "cubic"):
        raise n.error(f"mode '{mode}' is not one of nearest, linear, cubic")
    return mode


def _exact_scale(scale: float) -> Fraction:
    """The simple fraction that the float32 scale stands for: 0.6 is 3/5."""
    simple = Fraction(scale).limit_denominator(10000)
    return simple if np.float32(float(simple)) == np.float32(scale) else Fraction(scale)


def _scaled(axis: int, size: Dim, scale: float, length: float = 1.0) -> _Axis:
    if scale == 1.0 and length == 1.0:
        return _Axis(axis, size, size, scale, None)
    ratio = _exact_scale(scale * length)
    result = (size * ratio.numerator) // ratio.denominator
    return _Axis(axis, size, result, scale, None)


def _axes(n: Node, sampling: Sampling) -> list[_Axis]:
    shape = n.type(0).shape
    given = n.attribute("axes", None)
    axes = axes_of(n, given if given is not None else range(len(shape)), len(shape))
    need_all_known(n, {1: "roi", 2: "scales"} if sampling.transform in REGIONAL else {})
    regions = _regions(n, sampling, len(axes))
    scales = _given_scales(n)
    if scales is None:
        return _axes_by_size(n, axes, regions)
    if len(scales) != len(axes):
        raise n.error(f"{len(scales)} scales given for {len(axes)} axes")
    result: list[_Axis] = []
    for axis, scale, region in zip(axes, scales, regions, strict=True):
        length = 1.0 if region is None else region[1] - region[0]
        item = _scaled(axis, shape[axis], scale, length)
        item.region = region
        result.append(item)
    return result


def _given_scales(n: Node) -> list[float] | None:
    """Operand `scales`; None when `sizes` decides. Both may be there, one of them empty."""
    if not n.has(2) or n.type(2).element_count().value == 0:
        return None
    scales = n.need_known(2, "scales").ravel().tolist()
    if any(scale <= 0 for scale in scales):
        raise n.error(f"scales {scales} must be positive")
    return scales


def _regions(n: Node, sampling: Sampling, count: int) -> Sequence[tuple[float, float] | None]:
    if sampling.transform not in REGIONAL:
        return [None] * count
    if not n.has(1):
        raise n.error("tf_crop_and_resize wants a roi")
    roi = n.need_known(1, "roi").astype(np.float64).ravel().tolist()
    if len(roi) != 2 * count:
        raise n.error(f"{len(roi)} numbers in roi for {count} axes")
    return list(zip(roi[:count], roi[count:], strict=True))


def _axes_by_size(
    n: Node, axes: Sequence[int], regions: Sequence[tuple[float, float] | None]
) -> list[_Axis]:
    if not n.has(3):
        raise n.error("wants scales or sizes")
    shape = n.type(0).shape
    held = n.sizes(3)
    sizes = held if held is not None else n.need_sizes(3)
    if len(sizes) != len(axes):
        raise n.error(f"{len(sizes)} sizes given for {len(axes)} axes")
    policy = n.attribute("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return [
            _Axis(axis, shape[axis], size, None, region)
            for axis, size, region in zip(axes, sizes, regions, strict=True)
        ]
    if policy not in ("not_larger", "not_smaller"):
        raise n.error(f"keep_aspect_ratio_policy '{policy}' is not known")
    if n.known(3) is None:
        raise n.needs(3, f"sizes with {policy}")
    own = [need_size(n, shape[axis], f"sizes with {policy}") for axis in axes]
    known = [(need_size(n, size, "sizes"), d) for size, d in zip(sizes, own, strict=True)]
    ratios = [wanted / size for wanted, size in known]
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    return [
        _Axis(axis, shape[axis], Dim.of(math.floor(scale * size + 0.5)), scale, region)
        for axis, (_, size), region in zip(axes, known, regions, strict=True)
    ]


def _resized(n: Node, axes: Sequence[_Axis], sampling: Sampling) -> SSAValue:
    b, kind = n.builder, n.type(0)
    x = n.value(0)
    changed = [item for item in axes if not item.is_identity]
    if sampling.mode != "nearest" and changed:
        x = b.cast(x, kind.dtype if kind.dtype in ("f32", "f64") else "f32")
    for item in changed:
        x = _resized_axis(n, x, item, sampling)
    return b.cast(x, kind.dtype)


def _resized_axis(n: Node, x: SSAValue, item: _Axis, sampling: Sampling) -> SSAValue:
    """`x` with one axis resized; positions are found now where the sizes are known."""
    times = _repetitions(item, sampling)
    if times is not None:
        return _repeated(n, x, item, times)
    known = item.size.is_constant and item.result.is_constant
    math_: Any = KnownMath() if known else n.builder
    if known:
        size, result = float(item.size.value or 0), float(item.result.value or 0)
        index: Any = np.arange(item.result.value or 0, dtype=np.float64)
        scale: Any = item.scale if item.scale is not None else result / size
    else:
        b = n.builder
        size, result = size_as(b, item.size, "f64"), size_as(b, item.result, "f64")
        index = b.iota([item.result], "f64", 0)
        scale = item.scale
        scale = b.constant(scale, "f64") if scale is not None else b.div(result, size)
    where = positions_on_axis(
        math_, sampling.transform, index, size, result, scale, item.region
    )
    found = taps(math_, sampling, where, size, _antialias_scale(n, item, sampling))
    y = _combined(n, x, item, found)
    if sampling.transform not in REGIONAL:
        return y
    last = math_.sub(size, 1.0)
    outside = math_.logical_or(
        math_.compare("lt", where, 0.0), math_.compare("gt", where, last)
    )
    mask = n.array_constant(outside) if known else outside
    trailing = tensor_type(x).rank - item.axis - 1
    mask = n.builder.reshape(mask, [item.result, *[ONE] * trailing])
    dtype = tensor_type(y).dtype
    value = sampling.extrapolation
    return n.builder.select(mask, value if dtypes.is_float(dtype) else int(value), y)


def _repetitions(item: _Axis, sampling: Sampling) -> int | None:
    """How often each element stands in the result, where enlarging only repeats them."""
    if sampling.mode != "nearest" or item.region is not None or item.size.value == 0:
        return None
    times = item.result.exact_divide(item.size)
    if times is None or times.value is None or item.scale not in (None, float(times.value)):
        return None
    halves = sampling.transform in ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel")
    if halves and sampling.nearest in ("round_prefer_floor", "round_prefer_ceil"):
        return times.value
    if sampling.transform == "asymmetric" and sampling.nearest == "floor":
        return times.value
    return None


def _repeated(n: Node, x: SSAValue, item: _Axis, times: int) -> SSAValue:
    b, shape = n.builder, list(tensor_type(x).shape)
    after = shape[item.axis + 1 :]
    spread = b.unsqueeze(x, [item.axis + 1])
    spread = b.broadcast_to(spread, [*shape[: item.axis + 1], Dim.of(times), *after])
    return b.reshape(spread, [*shape[: item.axis], item.result, *after])


def _antialias_scale(n: Node, item: _Axis, sampling: Sampling) -> float | None:
    """The scale that widens the filter; it sets the number of taps."""
    if not sampling.antialias:
        return None
    scale = item.scale
    if scale is None:
        if n.known(3) is None:
            raise n.needs(3, "sizes with antialias")
        sizes = [need_size(n, d, "sizes with antialias") for d in (item.result, item.size)]
        scale = sizes[0] / sizes[1]
    return scale if scale < 1 else None


def _combined(
    n: Node, x: SSAValue, item: _Axis, found: Sequence[tuple[Any, Any | None]]
) -> SSAValue:
    """The weighted sum of the taps, each an index and a weight for every result position."""
    b, kind = n.builder, tensor_type(x)
    if len(found) > DENSE_TAPS and item.size.is_constant and item.result.is_constant:
        return _by_matrix(n, x, item, found)
    trailing = [ONE] * (kind.rank - item.axis - 1)
    total: SSAValue | None = None
    for index, weight in found:
        picked = b.gather(x, _indices(n, index), item.axis)
        if weight is None:
            return picked
        column = b.reshape(_weights(n, weight, kind.dtype), [item.result, *trailing])
        part = b.mul(picked, column)
        total = part if total is None else b.add(total, part)
    assert total is not None
    return total


def _indices(n: Node, index: Any) -> SSAValue:
    if isinstance(index, SSAValue):
        return n.builder.cast(index, "i64")
    return n.array_constant(index.astype(np.int64))


def _weights(n: Node, weight: Any, dtype: str) -> SSAValue:
    if isinstance(weight, SSAValue):
        return n.builder.cast(weight, dtype)
    return n.array_constant(weight.astype(dtypes.numpy_dtype(dtype)))


def _by_matrix(
    n: Node, x: SSAValue, item: _Axis, found: Sequence[tuple[Any, Any | None]]
) -> SSAValue:
    b, kind = n.builder, tensor_type(x)
    matrix = np.zeros((item.result.value or 0, item.size.value or 0))
    rows = np.arange(matrix.shape[0])
    for index, weight in found:
        assert weight is not None
        np.add.at(matrix, (rows, index.astype(np.int64)), weight)
    weights = n.array_constant(matrix.astype(dtypes.numpy_dtype(kind.dtype)))
    before, after = kind.shape[: item.axis], kind.shape[item.axis + 1 :]
    flat = b.reshape(x, [product(before), item.size, product(after)])
    y = b.dot(flat, weights, contract=([1], [1]))
    y = b.transpose(y, [0, 2, 1])
    return b.reshape(y, [*before, item.result, *after])
