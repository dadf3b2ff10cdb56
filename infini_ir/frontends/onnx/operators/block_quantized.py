"""Weights quantised in blocks, of onnxruntime's domain, as exporters of language models write
them (onnxruntime, "Contrib Operators"): com.microsoft:MatMulNBits and GatherBlockQuantized.

The packed bytes become elements of 4 or 8 bits when they are first read, in the order in which
`DequantizeLinear` in front of a product has them; what follows is the same for both.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from xdsl.ir import SSAValue

from infini_ir.dialects import graph
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.common import (
    dtype_of,
    normalized_axis,
    rank_of,
    shape_of,
)
from infini_ir.frontends.onnx.operators.linear import product_of
from infini_ir.frontends.onnx.operators.positions import index_operand
from infini_ir.frontends.onnx.registry import operator
from infini_ir.frontends.onnx.values import Initializer
from infini_ir.utils import dtypes

MICROSOFT = "com.microsoft"


@operator("MatMulNBits", domain=MICROSOFT)
def matmul_n_bits(n: Node) -> SSAValue:
    """x [.., K] times a weight [K, N] stored as bytes [N, blocks, bytes of a block], with scales
    and zero points [N, blocks]. The zero point is the middle where none is given."""
    b, bits = n.builder, n.attribute("bits", 4)
    depth, columns, block = (n.required(name) for name in ("K", "N", "block_size"))
    if bits not in (4, 8):
        raise n.error(f"weights of {bits} bits are not supported; quantise to 4 or 8")
    if n.attribute("weight_prepacked", 0):
        raise n.error(
            "weights packed for one processor cannot be read; export them as they are"
        )
    blocks = -(-depth // block)
    _check_order(n, depth, block)
    packed = _stored(n, 1, "the quantised weight")
    if packed.size != columns * blocks * block * bits // 8:
        raise n.error(
            f"the weight has {packed.size} bytes; K = {depth}, N = {columns}, {bits} bits and "
            f"blocks of {block} take {columns * blocks * block * bits // 8}"
        )
    zeros = _zero_points(n, 3, columns, blocks, bits)
    # Without zero points elements are signed, and nothing is subtracted.
    dtype = f"{'i' if zeros is None else 'ui'}{bits}"

    def weight() -> np.ndarray:
        elements = _elements(packed.reshape(columns, -1), bits)
        if zeros is None:
            elements = elements ^ np.uint8(1 << (bits - 1))
        return np.ascontiguousarray(_typed(elements, dtype)[:, :depth].T)

    q = _weight(n, 1, "by_columns", dtype, (depth, columns), weight)
    scales = _stored(n, 2, "the scales").reshape(columns, blocks)
    scale = _weight(
        n, 2, "by_columns", dtypes.dtype_name(scales.dtype), (blocks, columns),
        lambda: np.ascontiguousarray(scales.T),
    )  # fmt: skip
    zero = None
    if zeros is not None:
        made = np.ascontiguousarray(_typed(zeros, dtype).T)
        zero = _weight(n, 3, "by_columns", dtype, (blocks, columns), lambda: made)
    factor = b.insert(graph.DequantizeOp(q, scale, zero, axis=0, block=block)).out
    x = n.value(0)
    y = product_of(n, x, b.cast(factor, dtype_of(x)))
    return b.add(y, n.value(5)) if n.has(5) else y


def _check_order(n: Node, depth: int, block: int) -> None:
    """`g_idx` may only say that neighbours share a scale."""
    order = n.known(4) if n.has(4) else None
    if n.has(4) and (
        order is None
        or not np.array_equal(order.reshape(-1)[:depth], np.arange(depth) // block)
    ):
        raise n.error(
            "g_idx puts rows of the weight into blocks in another order, which is not supported; "
            "export without reordering (act_order, desc_act)"
        )


def _zero_points(n: Node, i: int, rows: int, blocks: int, bits: int) -> np.ndarray | None:
    """Zero points [rows, blocks] as bytes, None where all are the middle."""
    if not n.has(i):
        return None
    stored = _stored(n, i, "the zero points")
    if stored.dtype == np.uint8:
        zeros = _elements(stored.reshape(rows, -1), bits)[:, :blocks]
    else:
        zeros = stored.reshape(rows, blocks).astype(np.float64)
        if np.any(zeros != np.clip(np.rint(zeros), 0, 2**bits - 1)):
            raise n.error(f"zero points must be whole numbers of {bits} bits")
        zeros = zeros.astype(np.uint8)
    return None if np.all(zeros == 1 << (bits - 1)) else zeros


def _stored(n: Node, i: int, what: str) -> np.ndarray:
    known = n.known(i)
    if known is None:
        raise n.error(f"{what} must be stored in the model, not computed by it")
    return known


def _elements(packed: np.ndarray, bits: int) -> np.ndarray:
    """Bytes [.., n] as elements [.., n * 8 / bits], the first in the low bits."""
    if bits == 8:
        return packed
    halves = np.stack([packed & 15, packed >> 4], axis=-1)
    return halves.reshape(*packed.shape[:-1], -1)


def _typed(elements: np.ndarray, dtype: str) -> np.ndarray:
    """Bits in the low end of bytes as elements of a type."""
    if dtype == "i4":
        elements = (elements << 4).view(np.int8) >> 4
    return (
        elements.view(np.int8).astype(np.int8)
        if dtype == "i8"
        else elements.astype(dtypes.numpy_dtype(dtype))
    )


def _weight(
    n: Node,
    i: int,
    key: str,
    dtype: str,
    shape: tuple[int, ...],
    load: Callable[[], np.ndarray],
) -> SSAValue:
    """A value made from operand `i` when it is first read."""
    made = Initializer(f"{n.inputs[i]}.{key}", dtype, shape, load)
    return n.scope.session.materialize(made, n)


@operator("GatherBlockQuantized", domain=MICROSOFT)
def gather_block_quantized(n: Node) -> SSAValue:
    """Rows of a table quantised in blocks along another axis, as floats. A table of bytes with
    `bits` = 4 has two elements in each along its last axis."""
    b = n.builder
    bits = n.attribute("bits", 4)
    data = n.value(0)
    block, rank = n.attribute("block_size", 128), rank_of(data)
    axis = normalized_axis(n, n.attribute("gather_axis", 0), rank)
    blocked = normalized_axis(n, n.attribute("quantize_axis", 1), rank)
    if axis == blocked:
        raise n.error("the axis that is gathered along cannot be the one that has blocks")
    zero = n.optional(3)
    if dtype_of(data) == "ui8":
        data, zero = _bytes_as_elements(n, bits)
    index = index_operand(n, 1, shape_of(data)[axis])
    moved = blocked + (rank_of(index) - 1 if blocked > axis else 0)
    taken = [None if v is None else b.gather(v, index, axis) for v in (data, n.value(2), zero)]
    q, scale, point = taken
    assert q is not None and scale is not None
    return b.insert(graph.DequantizeOp(q, scale, point, axis=moved, block=block)).out


def _bytes_as_elements(n: Node, bits: int) -> tuple[SSAValue, SSAValue | None]:
    """A table of bytes, and its zero points, as elements; the middle where none are given."""
    if bits not in (4, 8):
        raise n.error(f"tables of {bits} bits are not supported; quantise to 4 or 8")
    packed = _stored(n, 0, "the table")
    shape = (*packed.shape[:-1], packed.shape[-1] * 8 // bits)
    signed = not n.has(3)
    dtype = f"{'i' if signed else 'ui'}{bits}"

    def table() -> np.ndarray:
        elements = _elements(packed, bits)
        return _typed(elements ^ np.uint8(1 << (bits - 1)) if signed else elements, dtype)

    data = _weight(n, 0, "elements", dtype, shape, table)
    if signed:
        return data, None
    scales = n.type(2).static_shape()
    zeros = _elements(_stored(n, 3, "the zero points"), bits)[..., : scales[-1]]
    made = np.ascontiguousarray(_typed(zeros, dtype))
    return data, _weight(n, 3, "elements", dtype, tuple(scales), lambda: made)
