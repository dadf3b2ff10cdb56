"""Signals: DFT, STFT, windows and mel weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from infini_ir.dialects.graph.types import tensor_type
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.common import (
    dtype_named,
    dtype_of,
    normalized_axis,
    size_as,
)
from infini_ir.frontends.onnx.operators.positions import (
    accumulating,
    bind,
    need_all_known,
    need_size,
    scalar,
)
from infini_ir.frontends.onnx.registry import operator
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import ONE, Dim, maximum, minimum

# Fourier transforms, by the matrix of the transform


@operator("DFT", since=17)
def dft(n: Node) -> SSAValue:
    b, kind = n.builder, n.type(0)
    if n.opset < 20:
        axis = n.attribute("axis", 1)
    else:
        axis = int(n.need_known(2, "axis").ravel()[0]) if n.has(2) else -2
    axis = normalized_axis(n, axis, kind.rank)
    if axis == kind.rank - 1:
        raise n.error("the last axis holds real and imaginary parts")
    inverse, onesided = n.attribute("inverse", 0), n.attribute("onesided", 0)
    size = kind.shape[axis]
    if n.has(1):
        length = _length(n, 1)
    else:
        length = (size - 1) * 2 if inverse and onesided else size
    order = [i for i in range(kind.rank - 1) if i != axis]
    x = b.transpose(accumulating(b, n.value(0)), [*order, axis, kind.rank - 1])
    y = _transformed(n, x, length, bool(inverse), bool(onesided))
    back = list(range(len(order)))
    back.insert(axis, len(order))
    return b.cast(b.transpose(y, [*back, kind.rank - 1]), kind.dtype)


def _length(n: Node, i: int) -> Dim:
    """Operand `i`, a scalar size."""
    sizes = n.sizes(i)
    return sizes[0] if sizes else bind(n, scalar(n, n.value(i), "i64"), "length")


def _transformed(n: Node, x: SSAValue, length: Dim, inverse: bool, onesided: bool) -> SSAValue:
    """`x` [.., n, parts] transformed along its axis before the last: [.., k, parts]."""
    b = n.builder
    size, last = tensor_type(x).shape[-2:]
    parts = need_size(n, last, "whether the signal is complex")
    half = length // 2 + 1
    real = inverse and onesided
    used = minimum(size, half if real else length)
    # Elements beyond the length are left out; missing ones are zeros, which add nothing.
    x = b.slice_axis(x, tensor_type(x).rank - 2, 0, used)
    columns = half if onesided and not inverse else length
    matrix = _fourier_matrix(n, used, columns, length, dtype_of(x), inverse, real)
    if parts == 1:
        matrix = b.slice_axis(matrix, 1, 0, 1)
    rank = tensor_type(x).rank
    return b.dot(x, matrix, contract=([rank - 2, rank - 1], [0, 1]))


def _fourier_matrix(
    n: Node, rows: Dim, columns: Dim, length: Dim, dtype: str, inverse: bool, real: bool
) -> SSAValue:
    """[rows, 2, columns, 2 (or 1 when `real`)]: what real and imaginary parts add to which."""
    known = rows.is_constant and columns.is_constant and length.is_constant
    cosine, sine = _angles(n, rows, columns, length, dtype)
    sign = 1 if inverse else -1
    if known:
        assert length.value is not None and rows.value is not None
        weight = _spectrum_weights(rows.value, length.value, inverse, real)
        cosine, sine = cosine * weight, sine * weight
        entries = [np.stack([cosine, sign * sine], -1), np.stack([-sign * sine, cosine], -1)]
        matrix = np.stack(entries, 1)[..., : 1 if real else 2]
        return n.array_constant(matrix.astype(dtypes.numpy_dtype(dtype)))
    b = n.builder
    if real:
        raise n.error("a one-sided inverse wants a length that is known when compiling")
    if inverse:
        cosine, sine = (b.div(v, size_as(b, length, "f64")) for v in (cosine, sine))
    turned, negative = (b.mul(sine, float(s)) for s in (sign, -sign))

    def stacked(values: Sequence[SSAValue], axis: int) -> SSAValue:
        return b.concat([b.unsqueeze(value, [axis]) for value in values], axis)

    pairs = [stacked([cosine, turned], 2), stacked([negative, cosine], 2)]
    return b.cast(stacked(pairs, 1), dtype)


def _angles(n: Node, rows: Dim, columns: Dim, length: Dim, dtype: str) -> tuple[Any, Any]:
    """Cosine and sine of 2 pi row column / length: arrays where the sizes are known."""
    if rows.value is not None and columns.value is not None and length.value is not None:
        turn = np.outer(np.arange(rows.value), np.arange(columns.value)) % max(length.value, 1)
        angle = turn * (2 * np.pi / max(length.value, 1))
        return np.cos(angle), np.sin(angle)
    b, shape = n.builder, [rows, columns]
    turn = b.mul(b.iota(shape, "i64", 0), b.iota(shape, "i64", 1))
    turn = b.cast(b.rem(turn, b.dim(maximum(length, 1))), "f64")
    angle = b.div(b.mul(turn, 2 * math.pi), size_as(b, length, "f64"))
    return b.cos(angle), b.sin(angle)


def _spectrum_weights(rows: int, length: int, inverse: bool, real: bool) -> np.ndarray:
    """How much each row counts: a one-sided spectrum stands for its mirror image too."""
    weight = np.ones((rows, 1))
    if real:
        weight[1 : (length + 1) // 2] = 2.0
    return weight / length if inverse else weight


@operator("STFT", since=17)
def stft(n: Node) -> SSAValue:
    b, kind = n.builder, n.type(0)
    step = int(n.need_known(1, "frame_step").ravel()[0])
    if n.has(3):
        length = _length(n, 3)
    else:
        length = n.type(2).shape[0] if n.has(2) else kind.shape[1]
    frames = b.window(accumulating(b, n.value(0)), [1], [length], [step])
    frames = b.transpose(frames, [0, 1, 3, 2])
    if n.has(2):
        window = b.cast(n.value(2), dtype_of(frames))
        frames = b.mul(frames, b.reshape(window, [length, ONE]))
    onesided = bool(n.attribute("onesided", 1))
    return b.cast(_transformed(n, frames, length, False, onesided), kind.dtype)


# Windows


@operator("HannWindow", since=17)
def hann_window(n: Node) -> SSAValue:
    return _cosine_window(n, [0.5, -0.5])


@operator("HammingWindow", since=17)
def hamming_window(n: Node) -> SSAValue:
    return _cosine_window(n, [25 / 46, -21 / 46])


@operator("BlackmanWindow", since=17)
def blackman_window(n: Node) -> SSAValue:
    return _cosine_window(n, [0.42, -0.5, 0.08])


def _cosine_window(n: Node, terms: Sequence[float]) -> SSAValue:
    """The sum of `terms[k] cos(2 pi k i / period)`."""
    b, size = n.builder, _length(n, 0)
    dtype = dtype_named(n, n.attribute("output_datatype", 1))
    period = size if n.attribute("periodic", 1) else size - 1
    if size.value is not None:
        angle = np.arange(size.value) * (2 * np.pi / max(period.value or 1, 1))
        window = sum(term * np.cos(k * angle) for k, term in enumerate(terms))
        return n.array_constant(np.asarray(window).astype(dtypes.numpy_dtype(dtype)))
    angle = b.mul(b.iota([size], "f64", 0), 2 * math.pi)
    angle = b.div(angle, size_as(b, maximum(period, 1), "f64"))
    total: SSAValue | float = terms[0]
    for k, term in enumerate(terms[1:], 1):
        total = b.add(b.mul(b.cos(b.mul(angle, float(k))), term), total)
    assert isinstance(total, SSAValue)
    return b.cast(total, dtype)


@operator("MelWeightMatrix", since=17)
def mel_weight_matrix(n: Node) -> SSAValue:
    names = ("num_mel_bins", "dft_length", "sample_rate", "lower edge", "upper edge")
    need_all_known(n, dict(enumerate(names)))
    bands, length, rate, low, high = (
        n.need_known(i, name).ravel()[0].item() for i, name in enumerate(names)
    )
    dtype = dtype_named(n, n.attribute("output_datatype", 1))
    matrix = _mel_weights(bands, length, rate, low, high)
    return n.array_constant(matrix.astype(dtypes.numpy_dtype(dtype)))


def _mel_weights(bands: int, length: int, rate: int, low: float, high: float) -> np.ndarray:
    """Triangles whose edges are equally spaced on the mel scale: [bins, bands]."""
    first, last = (2595 * math.log10(1 + hertz / 700) for hertz in (low, high))
    step = (last - first) / (bands + 2)
    hertz = 700 * (10 ** ((first + step * np.arange(bands + 2)) / 2595) - 1)
    edges = np.floor((length + 1) * hertz / rate).astype(int)
    bins = np.arange(length // 2 + 1)[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising = np.where(left == centre, bins == centre, 0.0)
    width = np.maximum(centre - left, 1)
    climbs = (bins >= left) & (bins <= centre) & (left != centre)
    rising = np.where(climbs, (bins - left) / width, rising)
    falls = (bins >= centre) & (bins < right) & (right > centre)
    return np.where(falls, (right - bins) / np.maximum(right - centre, 1), rising)
