"""Direct rules of attention and paged attention (no expansion)."""

from __future__ import annotations

import numpy as np

from infini_ir.dialects import graph
from infini_ir.interpreters.graph.indexing import clamped
from infini_ir.interpreters.graph.reducing import reduce
from infini_ir.interpreters.graph.scope import Array, Rule, Scope


def visible_keys(
    queries: int,
    keys: int,
    kv_len: Array,
    offset: Array,
    *,
    causal: bool,
    window: int | None,
) -> Array:
    """Which keys each query may attend to by position: bool [B, 1, S, T]."""
    key = np.arange(keys)[None, None, None, :]
    position = np.arange(queries)[None, None, :, None] + offset[:, None, None, None]
    visible = np.broadcast_to(
        key < kv_len[:, None, None, None], (len(kv_len), 1, queries, keys)
    )
    if causal:
        visible = visible & (key <= position)
    if window is not None:
        visible = visible & (position - key <= window)
    return visible


def attend(
    q: Array,
    k: Array,
    v: Array,
    visible: Array,
    bias: Array | None,
    scale: float,
    softcap: float,
) -> Array:
    """softmax(scores) v in the dtype of q, over grouped heads; a row that sees nothing is 0."""
    b, h, s, d = q.shape
    groups, t = k.shape[1], k.shape[2]
    shared = h // groups if groups else 0
    scores = np.matmul(q.reshape(b, groups, shared * s, d), k.swapaxes(2, 3)) * q.dtype.type(
        scale
    )
    scores = scores.reshape(b, h, s, t)
    if softcap:
        scores = softcap * np.tanh(scores / q.dtype.type(softcap))
    if bias is not None and bias.dtype == np.bool_:
        visible = visible & bias
    elif bias is not None:
        scores = scores + bias
    scores = np.where(visible, scores, -np.inf).astype(q.dtype)
    top = reduce("max", scores, [3], keep=True)
    weights = np.where(top == -np.inf, 0, np.exp(scores - top)).astype(q.dtype)
    total = reduce("sum", weights, [3], keep=True)
    weights = weights / np.where(top == -np.inf, 1, total).astype(q.dtype)
    result = np.matmul(weights.reshape(b, groups, shared * s, t), v)
    return result.reshape(b, h, s, v.shape[3])


def _without_invalid(v: Array, kv_len: Array) -> Array:
    """Values at positions that hold no key are not read, whatever lies there."""
    valid = np.arange(v.shape[2])[None, None, :, None] < kv_len[:, None, None, None]
    return np.where(valid, v, v.dtype.type(0))


def _attention(op: graph.AttentionOp, operands: list[Array], scope: Scope) -> Array:
    optional = iter(operands[3:])
    bias = next(optional) if op.bias is not None else None
    kv_len = next(optional) if op.kv_len is not None else None
    start = next(optional) if op.offset is not None else None
    dtype = scope.float_type(*operands[:3])
    q, k, v = (scope.widen(x).astype(dtype, copy=False) for x in operands[:3])
    if bias is not None and bias.dtype != np.bool_:
        bias = scope.widen(bias).astype(dtype, copy=False)
    rows, queries, keys = q.shape[0], q.shape[2], k.shape[2]
    if kv_len is not None:
        v = _without_invalid(v, kv_len)
    else:
        kv_len = np.full(rows, keys, np.int64)
    offset = kv_len - queries if start is None else np.full(rows, int(start))
    window = None if op.window is None else op.window.value.data
    visible = visible_keys(
        queries, keys, kv_len, offset, causal=op.causal is not None, window=window
    )
    softcap = op.softcap.value.data if op.softcap is not None else 0.0
    result = attend(q, k, v, visible, bias, op.scale.value.data, softcap)
    return result.astype(operands[0].dtype, copy=False)


def _paged_attention(op: graph.PagedAttentionOp, operands: list[Array], scope: Scope) -> Array:
    q, k_pages, v_pages, table, kv_len = operands
    dtype = scope.float_type(q, k_pages, v_pages)
    pages = clamped(table, k_pages.shape[0])

    def gathered(storage: Array) -> Array:
        rows, count = pages.shape
        _, page, heads, width = storage.shape
        if not storage.shape[0]:
            return np.zeros((rows, heads, count * page, width), dtype)
        lines = storage[pages].reshape(rows, count * page, heads, width)
        return scope.widen(lines).astype(dtype, copy=False).transpose(0, 2, 1, 3)

    k, v = gathered(k_pages), _without_invalid(gathered(v_pages), kv_len)
    queries = scope.widen(q).astype(dtype, copy=False)
    offset = kv_len - q.shape[2]
    visible = visible_keys(q.shape[2], k.shape[2], kv_len, offset, causal=True, window=None)
    result = attend(queries, k, v, visible, None, op.scale.value.data, 0.0)
    return result.astype(q.dtype, copy=False)


RULES: dict[type, Rule] = {
    graph.AttentionOp: _attention,
    graph.PagedAttentionOp: _paged_attention,
}
