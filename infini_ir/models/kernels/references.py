"""What kernels compute, in numpy and f64: for checking only."""

from __future__ import annotations

import math

import numpy as np

Array = np.ndarray

erf = np.vectorize(math.erf, otypes=[np.float64])


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def gelu(x: Array) -> Array:
    """By the error function."""
    return x * 0.5 * (1 + erf(x / math.sqrt(2)))


def softmax(x: Array, axis: int = -1) -> Array:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def layer_norm(x: Array, scale: Array, bias: Array) -> Array:
    """Over the last axis, epsilon 1e-5."""
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * scale + bias


def rms_norm(x: Array, scale: Array) -> Array:
    """Over the last axis, epsilon 1e-5."""
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * scale


def group_norm(x: Array, scale: Array, bias: Array, groups: int) -> Array:
    """Of [N, C, H, W], epsilon 1e-5."""
    split = x.reshape(x.shape[0], groups, -1)
    mean, variance = split.mean(-1, keepdims=True), split.var(-1, keepdims=True)
    normal = ((split - mean) / np.sqrt(variance + 1e-5)).reshape(x.shape)
    return normal * scale[:, None, None] + bias[:, None, None]


def windows(x: Array, size: int, stride: int, pad: int, fill: float) -> Array:
    """[N, C, H, W] as [N, C, OH, OW, size, size]."""
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=fill)
    seen = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (2, 3))
    return seen[:, :, ::stride, ::stride]


def conv(x: Array, w: Array, stride: int = 1, pad: int = 0, groups: int = 1) -> Array:
    """Of [N, C, H, W] by [K, C / groups, R, R]."""
    seen = windows(x, w.shape[2], stride, pad, 0)
    parts = [
        np.einsum("nchwrs,kcrs->nkhw", a, b)
        for a, b in zip(np.split(seen, groups, 1), np.split(w, groups, 0), strict=True)
    ]
    return np.concatenate(parts, 1)


def attention(q: Array, k: Array, v: Array, *, causal: bool, scale: float) -> Array:
    """[B, H, S, D] by [B, G, T, D], the queries at the last S positions."""
    members = q.shape[1] // k.shape[1]
    k, v = (np.repeat(a, members, 1) for a in (k, v))
    scores = q @ k.swapaxes(-1, -2) * scale
    if causal:
        rows = np.arange(q.shape[2])[:, None] + (k.shape[2] - q.shape[2])
        scores = np.where(np.arange(k.shape[2]) <= rows, scores, -np.inf)
    return softmax(scores) @ v


def paged_attention(q: Array, k: Array, v: Array, table: Array, length: Array) -> Array:
    """Each row alone over its valid keys; scale 1/8."""
    rows = []
    for b in range(q.shape[0]):
        count = int(length[b])
        keys, values = (
            p[table[b]].reshape(-1, *p.shape[2:])[:count].swapaxes(0, 1)[None] for p in (k, v)
        )
        rows.append(attention(q[b : b + 1], keys, values, causal=True, scale=0.125))
    return np.concatenate(rows)


def rotary(x: Array, cos: Array, sin: Array, position: Array) -> Array:
    """Halves rotated against each other: [B, H, S, D] with caches [P, D / 2]."""
    c, s = cos[position][:, None], sin[position][:, None]
    a, b = np.split(x, 2, -1)
    return np.concatenate([a * c - b * s, b * c + a * s], -1)


def top(x: Array, count: int) -> tuple[Array, Array]:
    """The greatest of the last axis and where they are, the first of equal ones first."""
    order = np.argsort(-x, -1, kind="stable")[..., :count]
    return np.take_along_axis(x, order, -1), order


def scatter_add(x: Array, index: Array, update: Array) -> Array:
    """Rows of `update` added to the rows of `x` that `index` [S, 1] names."""
    result = x.copy()
    np.add.at(result, index[:, 0], update)
    return result


def scatter_elements_add(x: Array, index: Array, update: Array) -> Array:
    """Along axis 1."""
    result = x.copy()
    np.add.at(result, (np.arange(x.shape[0])[:, None], index), update)
    return result


def random_bits(state: Array) -> tuple[Array, Array]:
    """What the definition of the generator (`graph.rng`) gives."""
    from infini_ir.dialects.context import compiler_context
    from infini_ir.dialects.graph import TensorType
    from infini_ir.interpreters.graph.run import interpret
    from infini_ir.models.kernels.graphs import graph_module
    from infini_ir.models.kernels.graphs import random_bits as build

    module = graph_module([TensorType.of([2], "ui64")], build, ["state"], ["bits", "next"])
    bits, following = interpret(module, [state], compiler_context())
    return bits, following
