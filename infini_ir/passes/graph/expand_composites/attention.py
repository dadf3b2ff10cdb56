"""Definitions of attention and paged attention."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

from xdsl.ir import SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph import tensor_type
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.passes.graph.expand_composites.common import compute_type
from infini_ir.utils.symbolic import ONE, Dim

_NOTHING = float("-inf")


@dataclass(frozen=True)
class Visibility:
    """Which keys a query may attend to by position alone."""

    kv_len: SSAValue | None = None
    """i64 [B]: valid keys of each row; None: all."""
    offset: SSAValue | None = None
    """i64 scalar: position of the first query; None: valid keys less queries."""
    causal: bool = False
    window: int | None = None


def define_attention(op: graph.AttentionOp, b: GraphBuilder) -> list[SSAValue]:
    """softmax of the masked scores, times v."""
    visibility = Visibility(
        op.kv_len,
        op.offset,
        op.causal is not None,
        None if op.window is None else op.window.value.data,
    )
    softcap = None if op.softcap is None else op.softcap.value.data
    scale = op.scale.value.data
    return [_attend(b, (op.q, op.k, op.v), visibility, op.bias, scale, softcap)]


def define_paged_attention(op: graph.PagedAttentionOp, b: GraphBuilder) -> list[SSAValue]:
    """Pages gathered by the table, then causal attention over the valid keys."""
    k, v = (_gather_pages(b, pages, op.table) for pages in (op.k_pages, op.v_pages))
    visibility = Visibility(kv_len=op.kv_len, causal=True)
    return [_attend(b, (op.q, k, v), visibility, None, op.scale.value.data, None)]


def _gather_pages(b: GraphBuilder, pages: SSAValue, table: SSAValue) -> SSAValue:
    """[P, page, G, D] by [B, N] gives [B, G, N * page, D]."""
    rows, count = tensor_type(table).shape
    _, page, heads, width = tensor_type(pages).shape
    lines = b.reshape(b.gather(pages, table, 0), [rows, count * page, heads, width])
    return b.transpose(lines, [0, 2, 1, 3])


def _attend(
    b: GraphBuilder,
    qkv: tuple[SSAValue, SSAValue, SSAValue],
    visibility: Visibility,
    bias: SSAValue | None,
    scale: float,
    softcap: float | None,
) -> SSAValue:
    q, k, v = qkv
    rows, heads, queries, width = tensor_type(q).shape
    groups, keys = tensor_type(k).shape[1:3]
    dtype = compute_type(q, k, v)
    shared = heads.exact_divide(groups)
    assert shared is not None, "the verifier has checked that heads group"
    grouped = shared is not ONE
    if grouped:
        q = b.reshape(q, [rows, groups, shared, queries, width])
    scores = b.mul(_scores(b, q, k, dtype), scale)
    if softcap is not None:
        scores = b.mul(b.tanh(b.div(scores, softcap)), softcap)
    visible = _visible(b, queries, keys, visibility)
    if bias is not None:
        if tensor_type(bias).dtype == "i1":
            visible = bias if visible is None else b.logical_and(visible, bias)
        else:
            scores = b.add(scores, _grouped(b, b.cast(bias, dtype), groups, shared))
    if visible is not None:
        scores = b.select(_grouped(b, visible, groups, shared), scores, _NOTHING)
    if visibility.kv_len is not None:
        v = _without_invalid(b, v, visibility.kv_len)
    result = _weighted(b, scores, b.cast(v, dtype))
    if grouped:
        result = b.reshape(result, [rows, heads, queries, tensor_type(v).shape[3]])
    return b.cast(result, tensor_type(qkv[0]).element)


def _scores(b: GraphBuilder, q: SSAValue, k: SSAValue, dtype: str) -> SSAValue:
    """q k^T with q: [B, G, .., S, D] and k: [B, G, T, D]."""
    if tensor_type(q).element != tensor_type(k).element:
        q, k = b.cast(q, dtype), b.cast(k, dtype)
    last = tensor_type(q).rank - 1
    return b.dot(q, k, batch=([0, 1], [0, 1]), contract=([last], [3]), dtype=dtype)


def _grouped(b: GraphBuilder, x: SSAValue, groups: Dim, shared: Dim) -> SSAValue:
    """A mask or bias of the scores with its heads as groups."""
    if shared is ONE:
        return x
    rows, heads, queries, keys = tensor_type(x).shape
    split = [ONE, ONE] if heads is ONE else [groups, shared]
    return b.reshape(x, [rows, *split, queries, keys])


def _column(b: GraphBuilder, kv_len: SSAValue) -> SSAValue:
    """i64 [B] as [B, 1, 1, 1]."""
    return b.reshape(kv_len, [tensor_type(kv_len).shape[0], ONE, ONE, ONE])


def _visible(
    b: GraphBuilder, queries: Dim, keys: Dim, visibility: Visibility
) -> SSAValue | None:
    """Bools that repeat to [B, 1, S, T]; None where all is visible."""
    if visibility.kv_len is None and not visibility.causal and visibility.window is None:
        return None
    key = b.iota([ONE, ONE, ONE, keys], "i64", 3)
    conditions: list[SSAValue] = []
    if visibility.kv_len is not None:
        conditions.append(b.compare("lt", key, _column(b, visibility.kv_len)))
    if visibility.causal or visibility.window is not None:
        position = b.add(
            b.iota([ONE, ONE, queries, ONE], "i64", 2), _first(b, queries, keys, visibility)
        )
        if visibility.causal:
            conditions.append(b.compare("le", key, position))
        if visibility.window is not None:
            conditions.append(b.compare("le", b.sub(position, key), visibility.window))
    return reduce(b.logical_and, conditions)


def _first(b: GraphBuilder, queries: Dim, keys: Dim, visibility: Visibility) -> SSAValue:
    """The position of the first query among the keys."""
    if visibility.offset is not None:
        return visibility.offset
    if visibility.kv_len is None:
        return b.dim(keys - queries)
    return b.sub(_column(b, visibility.kv_len), b.dim(queries))


def _without_invalid(b: GraphBuilder, v: SSAValue, kv_len: SSAValue) -> SSAValue:
    """Values beyond the valid keys as 0: they may hold anything, and 0 * NaN is NaN."""
    position = b.iota([ONE, ONE, tensor_type(v).shape[2], ONE], "i64", 2)
    return b.select(b.compare("lt", position, _column(b, kv_len)), v, 0.0)


def _weighted(b: GraphBuilder, scores: SSAValue, v: SSAValue) -> SSAValue:
    """softmax(scores) v; rows whose scores are all -inf give 0."""
    last = tensor_type(scores).rank - 1
    top = b.reduce("max", scores, [last], keep=True)
    blind = b.compare("eq", top, _NOTHING)
    weights = b.exp(b.sub(scores, b.select(blind, 0.0, top)))
    total = b.reduce("sum", weights, [last], keep=True)
    product = b.dot(weights, v, batch=([0, 1], [0, 1]), contract=([last], [2]))
    return b.div(product, b.select(blind, 1.0, total))
