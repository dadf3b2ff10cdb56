"""Text as integers: TfIdfVectorizer."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from infini_ir.dialects.graph.types import tensor_type
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.registry import operator
from infini_ir.utils.symbolic import ONE, Dim


@operator("TfIdfVectorizer", since=9)
def tf_idf_vectorizer(n: Node) -> SSAValue:
    if n.attribute("pool_int64s", None) is None:
        raise n.error("counts n-grams of integers only: turn strings into ids before the model")
    b, kind = n.builder, n.type(0)
    rows = kind.shape[0] if kind.rank == 2 else ONE
    length = kind.shape[-1] if kind.rank else ONE
    x = b.cast(b.reshape(n.value(0), [rows, length]), "i64")
    indexes = n.required("ngram_indexes")
    width = max(indexes) + 1
    total = b.full([width, rows], 0.0, "f32")
    for grams, places in _grams_by_length(n, indexes):
        found = b.transpose(_counts(n, x, grams), [1, 0])
        where = n.array_constant(np.array(places, np.int64)[:, None])
        total = b.scatter_nd("add", total, where, found)
    result = _weighted(n, b.transpose(total, [1, 0]), width)
    return b.reshape(result, [width]) if kind.rank < 2 else result


def _grams_by_length(n: Node, indexes: list[int]) -> list[tuple[np.ndarray, list[int]]]:
    """The pool's n-grams of each wanted length, [count, length], and their places."""
    pool, starts = n.required("pool_int64s"), n.required("ngram_counts")
    shortest, longest = n.required("min_gram_length"), n.required("max_gram_length")
    result: list[tuple[np.ndarray, list[int]]] = []
    seen = 0
    for length, start in enumerate(starts, 1):
        end = starts[length] if length < len(starts) else len(pool)
        grams = np.array(pool[start:end], np.int64).reshape(-1, length)
        if shortest <= length <= longest and len(grams):
            result.append((grams, indexes[seen : seen + len(grams)]))
        seen += len(grams)
    return result


def _counts(n: Node, x: SSAValue, grams: np.ndarray) -> SSAValue:
    """How often each n-gram occurs in each row, with any of the allowed skips: [rows, grams]."""
    b = n.builder
    rows, length = tensor_type(x).shape
    count, size = grams.shape
    skips = n.required("max_skip_count") if size > 1 else 0
    total: SSAValue | None = None
    for skip in range(skips + 1):
        reach = (size - 1) * (skip + 1)
        # Padding that no n-gram contains: short rows have a window, and no match in it.
        stranger = b.constant(np.int64(grams.max() + 1))
        padded = b.pad(x, stranger, [0, 0], [0, reach])
        windows = b.window(padded, [1], [size], [1], [skip + 1])
        spread = b.reshape(windows, [rows, length, ONE, Dim.of(size)])
        same = b.compare("eq", spread, n.array_constant(grams))
        hits = b.cast(b.reduce("min", same, [3]), "f32")
        hits = b.reduce("sum", hits, [1])
        total = hits if total is None else b.add(total, hits)
    assert total is not None and tensor_type(total).shape == (rows, Dim.of(count))
    return total


def _weighted(n: Node, counts: SSAValue, width: int) -> SSAValue:
    b, mode = n.builder, n.required("mode")
    if mode not in ("TF", "IDF", "TFIDF"):
        raise n.error(f"mode '{mode}' is not one of TF, IDF, TFIDF")
    if mode == "TF":
        return counts
    if mode == "IDF":
        counts = b.cast(b.compare("gt", counts, 0.0), "f32")
    weights = n.attribute("weights", None)
    if not weights:
        return counts
    return b.mul(counts, n.array_constant(np.array(weights[:width], np.float32)))
