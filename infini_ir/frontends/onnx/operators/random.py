"""Random numbers: pure functions of a seed, the same on every target."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from zlib import crc32

from xdsl.ir import SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.common import dtype_named, dtype_of, shape_of
from infini_ir.frontends.onnx.registry import operator
from infini_ir.utils.symbolic import Dim


def random_state(n: Node) -> SSAValue:
    """
    The generator's state [key, counter]: the bits of the seed, which is a float, or without
    one the checksum of the node's name, so that nodes differ and runs repeat.
    """
    seed = n.attribute("seed", None)
    if seed is None:
        key = crc32(n.name.encode()) + (1 << 32)
    else:
        key = struct.unpack("<I", struct.pack("<f", seed))[0]
    return n.builder.constant([key, 0], "ui64")


def uniform(n: Node, shape: Sequence[Dim], dtype: str = "f32") -> SSAValue:
    """Numbers in [0, 1): as many leading random bits as the type has (f64: 32)."""
    b = n.builder
    bits, _ = b.rng(random_state(n), shape)
    if dtype == "f64":
        return b.mul(b.cast(bits, "f64"), 2.0**-32)
    high = b.binary(graph.ShrOp, bits, 8)
    return b.mul(b.cast(high, "f32"), 2.0**-24)


def _inner(dtype: str) -> str:
    return "f64" if dtype == "f64" else "f32"


def _uniform_between(n: Node, shape: Sequence[Dim], dtype: str) -> SSAValue:
    b, low, high = n.builder, n.attribute("low", 0.0), n.attribute("high", 1.0)
    unit = uniform(n, shape, _inner(dtype))
    return b.cast(b.add(b.mul(unit, high - low), low), dtype)


def _normal(n: Node, shape: Sequence[Dim], dtype: str) -> SSAValue:
    """Two uniform numbers make one normal one (Box and Muller, 1958)."""
    b, mean, scale = n.builder, n.attribute("mean", 0.0), n.attribute("scale", 1.0)
    pairs = uniform(n, [Dim.of(2), *shape], _inner(dtype))
    radius_part, angle_part = (_part(b, pairs, i, shape) for i in range(2))
    # 1 - u is never 0.
    radius = b.sqrt(b.mul(b.log(b.sub(1, radius_part)), -2))
    unit = b.mul(radius, b.cos(b.mul(angle_part, 2 * math.pi)))
    return b.cast(b.add(b.mul(unit, scale), mean), dtype)


def _part(b: GraphBuilder, pairs: SSAValue, i: int, shape: Sequence[Dim]) -> SSAValue:
    return b.reshape(b.slice_axis(pairs, 0, i, 1), shape)


def _given_shape(n: Node) -> list[Dim]:
    return [Dim.of(size) for size in n.required("shape")]


def _dtype(n: Node, default: str) -> str:
    code = n.attribute("dtype", 0)
    return dtype_named(n, code) if code else default


@operator("RandomUniform")
def random_uniform(n: Node) -> SSAValue:
    return _uniform_between(n, _given_shape(n), _dtype(n, "f32"))


@operator("RandomUniformLike")
def random_uniform_like(n: Node) -> SSAValue:
    x = n.value(0)
    return _uniform_between(n, shape_of(x), _dtype(n, dtype_of(x)))


@operator("RandomNormal")
def random_normal(n: Node) -> SSAValue:
    return _normal(n, _given_shape(n), _dtype(n, "f32"))


@operator("RandomNormalLike")
def random_normal_like(n: Node) -> SSAValue:
    x = n.value(0)
    return _normal(n, shape_of(x), _dtype(n, dtype_of(x)))


@operator("Bernoulli")
def bernoulli(n: Node) -> SSAValue:
    """True with the probability that the operand gives."""
    b, x = n.builder, n.value(0)
    inner = _inner(dtype_of(x))
    hit = b.compare("lt", uniform(n, shape_of(x), inner), b.cast(x, inner))
    return b.cast(hit, _dtype(n, dtype_of(x)))


@operator("Multinomial")
def multinomial(n: Node) -> SSAValue:
    """Classes drawn by unnormalised log probabilities: how many running sums lie below."""
    b, x = n.builder, n.value(0)
    inner = _inner(dtype_of(x))
    batch, classes = shape_of(x)
    samples = n.attribute("sample_size", 1)
    sums = b.cumulative("sum", b.softmax(b.cast(x, inner), 1), 1)
    draws = uniform(n, [batch, Dim.of(samples)], inner)
    below = b.compare("le", b.unsqueeze(sums, [1]), b.unsqueeze(draws, [2]))
    dtype = dtype_named(n, n.attribute("dtype", 6))
    drawn = b.reduce("sum", b.cast(below, dtype), [2])
    # Rounding may leave the last sum below 1.
    return b.min(drawn, b.cast(b.dim(classes - 1), dtype))
