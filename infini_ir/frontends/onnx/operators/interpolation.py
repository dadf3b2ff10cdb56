"""Positions and weights of interpolation, computed while importing or in the graph.

The functions take their arithmetic as an argument: a `GraphBuilder` for sizes that are
known only at run time, or `KnownMath`, which has the same methods on numpy arrays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np


class KnownMath:
    """The methods of `GraphBuilder` that interpolation uses, on numpy arrays and numbers."""

    add = staticmethod(np.add)
    sub = staticmethod(np.subtract)
    mul = staticmethod(np.multiply)
    div = staticmethod(np.divide)
    max = staticmethod(np.maximum)
    min = staticmethod(np.minimum)
    abs = staticmethod(np.abs)
    floor = staticmethod(np.floor)
    ceil = staticmethod(np.ceil)
    select = staticmethod(np.where)
    logical_or = staticmethod(np.logical_or)

    @staticmethod
    def compare(predicate: str, left: Any, right: Any) -> Any:
        functions = {"lt": np.less, "le": np.less_equal, "gt": np.greater, "eq": np.equal}
        return functions[predicate](left, right)


@dataclass
class Sampling:
    """How values between elements are found."""

    mode: str
    """nearest, linear or cubic."""
    transform: str
    """How a result's position becomes one of the operand."""
    nearest: str = "round_prefer_floor"
    cubic: float = -0.75
    antialias: bool = False
    exclude_outside: bool = False
    extrapolation: float = 0.0


def positions_on_axis(
    m: Any,
    transform: str,
    index: Any,
    size: Any,
    result: Any,
    scale: Any,
    region: tuple[float, float] | None = None,
) -> Any:
    """The positions in the operand of the result's elements `index`."""
    if transform == "asymmetric":
        return m.div(index, scale)
    if transform == "align_corners":
        return _between(m, index, m.sub(size, 1.0), m.mul(scale, size))
    if transform == "tf_crop_and_resize":
        start, end = region or (0.0, 1.0)
        last = m.sub(size, 1.0)
        width = m.mul(scale, size)
        middle = m.mul(last, (end - start) / 2)
        spread = _between(m, index, m.mul(last, end - start), width)
        spread = m.select(m.compare("eq", width, 1.0), middle, spread)
        return m.add(spread, m.mul(last, start))
    half = m.sub(m.div(m.add(index, 0.5), scale), 0.5)
    if transform == "half_pixel_symmetric":
        # The centres of both agree where the result's size was rounded down.
        adjustment = m.div(result, m.mul(scale, size))
        return m.add(m.mul(m.sub(1.0, adjustment), m.mul(size, 0.5)), half)
    if transform == "pytorch_half_pixel":
        return m.select(m.compare("gt", result, 1.0), half, 0.0)
    if transform == "half_pixel":
        return half
    raise ValueError(transform)


TRANSFORMS = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
)


def _between(m: Any, index: Any, distance: Any, width: Any) -> Any:
    """Positions that spread over a distance, the last at its end; 0 for a single one."""
    steps = m.sub(width, 1.0)
    safe = m.select(m.compare("eq", steps, 0.0), 1.0, steps)
    spread = m.div(m.mul(index, distance), safe)
    return m.select(m.compare("eq", steps, 0.0), 0.0, spread)


def taps(
    m: Any, sampling: Sampling, where: Any, size: Any, scale: float | None
) -> list[tuple[Any, Any | None]]:
    """For each position the elements to add up, as indices (inside the axis) and weights.

    One tap without weight for nearest. `scale` below 1 widens the filter (antialias).
    """
    last = m.sub(size, 1.0)
    if sampling.mode == "nearest":
        chosen = _nearest(m, sampling.nearest, where)
        return [(m.min(m.max(chosen, 0.0), last), None)]
    base = m.floor(where)
    ratio = m.sub(where, base)
    reach = 1 if sampling.mode == "linear" else 2
    shrink = 1.0 if scale is None else scale
    first = math.floor(-reach / shrink) + 1
    found: list[tuple[Any, Any]] = []
    for offset in range(first, 2 - first):
        distance = m.mul(m.abs(m.sub(ratio, float(offset))), shrink)
        weight = kernel(m, sampling, distance)
        index = m.add(base, float(offset))
        if sampling.exclude_outside:
            outside = m.logical_or(m.compare("lt", index, 0.0), m.compare("gt", index, last))
            weight = m.select(outside, 0.0, weight)
        found.append((m.min(m.max(index, 0.0), last), weight))
    if not sampling.exclude_outside and scale is None:
        return list(found)
    total = found[0][1]
    for _, weight in found[1:]:
        total = m.add(total, weight)
    return [(index, m.div(weight, total)) for index, weight in found]


def _nearest(m: Any, mode: str, where: Any) -> Any:
    if mode == "floor":
        return m.floor(where)
    if mode == "ceil":
        return m.ceil(where)
    if mode == "round_prefer_floor":
        return m.ceil(m.sub(where, 0.5))
    if mode == "round_prefer_ceil":
        return m.floor(m.add(where, 0.5))
    raise ValueError(mode)


NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def kernel(m: Any, sampling: Sampling, distance: Any) -> Any:
    """The weight of an element at a distance."""
    if sampling.mode == "linear":
        return m.max(m.sub(1.0, distance), 0.0)
    a = sampling.cubic
    near = m.sub(m.mul(distance, a + 2), a + 3)
    near = m.add(m.mul(m.mul(near, distance), distance), 1.0)
    far = m.sub(m.mul(distance, a), 5 * a)
    far = m.sub(m.mul(m.add(m.mul(far, distance), 8 * a), distance), 4 * a)
    inner = m.compare("le", distance, 1.0)
    outer = m.compare("lt", distance, 2.0)
    return m.select(inner, near, m.select(outer, far, 0.0))
