"""Matrix products and determinants."""

from __future__ import annotations

from xdsl.ir import Block, Region, SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph import TensorType
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.common import (
    as_scalar,
    dtype_of,
    is_single,
    match_sizes,
    rank_of,
    repeated,
    scaled,
    shape_of,
    start_at,
    wide,
)
from infini_ir.frontends.onnx.registry import operator
from infini_ir.utils.symbolic import ONE, product


def matrix_operands(
    n: Node, left: SSAValue, right: SSAValue
) -> tuple[SSAValue, SSAValue, bool, bool]:
    """
    Both operands of a product as (batches of) matrices whose inner sizes have one name, and
    whether a vector stood for the row or the column.
    """
    b = n.builder
    if not rank_of(left) or not rank_of(right):
        raise n.error("a scalar cannot be an operand of a matrix product; use Mul")
    row, column = rank_of(left) == 1, rank_of(right) == 1
    left = b.unsqueeze(left, [0]) if row else left
    right = b.unsqueeze(right, [1]) if column else right
    return *match_sizes(n, left, rank_of(left) - 1, right, rank_of(right) - 2), row, column


def same_batches(b: GraphBuilder, left: SSAValue, right: SSAValue) -> tuple[SSAValue, SSAValue]:
    """Both operands with the same batch axes."""
    batch = b.common_shape([shape_of(left)[:-2], shape_of(right)[:-2]])
    return (
        repeated(b, left, [*batch, *shape_of(left)[-2:]]),
        repeated(b, right, [*batch, *shape_of(right)[-2:]]),
    )


def without_vectors(b: GraphBuilder, y: SSAValue, row: bool, column: bool) -> SSAValue:
    """The product with the axes removed that stood for vectors."""
    shape = list(shape_of(y))
    if column:
        del shape[-1]
    if row:
        del shape[-1 if column else -2]
    return b.reshape(y, shape)


def product_of(n: Node, left: SSAValue, right: SSAValue, dtype: str | None = None) -> SSAValue:
    """The matrix product by numpy's rules."""
    b = n.builder
    left, right, row, column = matrix_operands(n, left, right)
    if rank_of(right) == 2:
        y = b.dot(left, right, contract=([rank_of(left) - 1], [0]), dtype=dtype)
    else:
        left, right = same_batches(b, left, right)
        rank = rank_of(left)
        batch = list(range(rank - 2))
        contract = ([rank - 1], [rank - 2])
        y = b.dot(left, right, batch=(batch, batch), contract=contract, dtype=dtype)
    return without_vectors(b, y, row, column)


@operator("MatMul")
def matmul(n: Node) -> SSAValue:
    return product_of(n, n.value(0), n.value(1))


@operator("Gemm")
def gemm(n: Node) -> SSAValue:
    b, left, right = n.builder, n.value(0), n.value(1)
    if rank_of(left) != 2 or rank_of(right) != 2:
        raise n.error("its first two operands must be matrices; use MatMul for others")
    inner = (0 if n.attribute("transA", 0) else 1, 1 if n.attribute("transB", 0) else 0)
    left, right = match_sizes(n, left, inner[0], right, inner[1])
    y = b.dot(left, right, contract=([inner[0]], [inner[1]]))
    y = scaled(b, y, n.attribute("alpha", 1.0))
    beta = n.attribute("beta", 1.0)
    if not n.has(2) or beta == 0:
        return y
    bias = n.value(2)
    bias = as_scalar(b, bias) if is_single(bias) else bias
    return b.add(y, scaled(b, bias, beta))


@operator("Det")
def determinant(n: Node) -> SSAValue:
    """Elimination with row exchanges, one column a step."""
    b, x = n.builder, n.value(0)
    dtype = dtype_of(x)
    x = b.cast(x, wide(dtype))
    size, batch = shape_of(x)[-1], shape_of(x)[:-2]
    flat = b.reshape(x, [product(batch), size, size])
    start = b.full([product(batch)], 1, dtype_of(x))
    types = [TensorType.of((), "i64"), flat.type, start.type]
    block = Block(arg_types=types)
    inner = n.builder_at(block)
    inner.yield_(_eliminate(inner, *block.args))
    scan = b.insert(graph.ScanOp([flat, start], [], size, [], Region(block)))
    return b.cast(b.reshape(scan.outs[1], batch), dtype)


def _eliminate(
    b: GraphBuilder, step: SSAValue, matrix: SSAValue, determinant: SSAValue
) -> list[SSAValue]:
    """Clear one column below the diagonal; multiply the determinant by its pivot."""
    shape = shape_of(matrix)
    batch, size, _ = shape
    rows = b.iota([batch, size], "i64", 1)
    column = b.reshape(b.slice(matrix, start_at(2, step, 3), [batch, size, ONE]), [batch, size])
    candidates = b.select(b.compare("ge", rows, step), b.abs(column), -1)
    pivot_row = b.arg_reduce("max", candidates, 1, keep=True)
    is_pivot = b.compare("eq", rows, pivot_row)
    is_step = b.compare("eq", rows, step)

    here = b.slice(matrix, start_at(1, step, 3), [batch, ONE, size])
    chosen = b.unsqueeze(b.gather_nd(matrix, pivot_row, batch_dims=1), [1])
    swapped = b.select(b.unsqueeze(is_pivot, [2]), here, matrix)
    swapped = b.select(b.unsqueeze(is_step, [2]), chosen, swapped)

    pivot = b.slice(chosen, start_at(2, step, 3), [batch, ONE, ONE])
    below = b.unsqueeze(b.compare("gt", rows, step), [2])
    first = b.slice(swapped, start_at(2, step, 3), [batch, size, ONE])
    usable = b.logical_and(below, b.compare("ne", pivot, 0))
    factor = b.select(usable, b.div(first, pivot), 0)
    cleared = b.sub(swapped, b.mul(factor, chosen))

    pivot = b.reshape(pivot, [batch])
    kept = b.compare("eq", b.reshape(pivot_row, [batch]), step)
    return [cleared, b.mul(determinant, b.select(kept, pivot, b.neg(pivot)))]
