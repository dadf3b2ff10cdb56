"""Attention and rotary position embedding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from infini_ir.dialects.graph.attention import AttentionOp, RopeOp
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.common import dtype_named, dtype_of
from infini_ir.frontends.onnx.operators.positions import (
    equal_sizes,
    need_size,
    quotient,
    wants,
    with_sizes,
)
from infini_ir.frontends.onnx.operators.shaping import joined_sizes
from infini_ir.frontends.onnx.registry import operator
from infini_ir.utils.symbolic import ONE, ZERO, Dim


@dataclass
class _Call:
    """The operands of one attention, in the form [batch, heads, positions, width]."""

    q: SSAValue
    k: SSAValue
    v: SSAValue
    bias: SSAValue | None
    """Bool (may attend) or float (added), of rank 4."""
    kv_len: SSAValue | None
    offset: Dim | None
    """The position of the first query among the keys; None: by `kv_len`."""
    causal: bool
    left: int | None
    """How many keys before its own position a query sees."""
    right: int | None
    scale: float
    softcap: float

    @property
    def scores(self) -> tuple[Dim, ...]:
        """The shape of the scores."""
        return (*tensor_type(self.q).shape[:3], tensor_type(self.k).shape[2])


@operator("Attention", since=23)
def attention(n: Node) -> Sequence[SSAValue | None]:
    b = n.builder
    call, present = _operands(n)
    probabilities: SSAValue | None = None
    if wants(n, 3):
        result, probabilities = _decomposed(n, call)
    else:
        result = _composite(b, call)
    if n.type(0).rank == 3:
        batch, heads, positions, width = tensor_type(result).shape
        result = b.transpose(result, [0, 2, 1, 3])
        result = b.reshape(result, [batch, positions, heads * width])
    outputs = [b.cast(result, n.type(0).dtype), *present, probabilities]
    return outputs[: len(n.outputs)]


def _operands(n: Node) -> tuple[_Call, list[SSAValue]]:
    """The call, and the keys and values with those of the past before them."""
    b = n.builder
    q = _split_heads(n, 0, n.attribute("q_num_heads", None))
    k = _split_heads(n, 1, n.attribute("kv_num_heads", None))
    v = _split_heads(n, 2, n.attribute("kv_num_heads", None))
    offset: Dim | None = ZERO
    if n.has(4):
        offset = n.type(4).shape[2]
        k = b.concat(joined_sizes(n, [n.value(4), k], 2), 2)
        v = b.concat(joined_sizes(n, [n.value(5), v], 2), 2)
    present = [k, v]
    shape = tensor_type(q).shape
    if shape[1].exact_divide(tensor_type(k).shape[1]) is None:
        for size in (shape[1], tensor_type(k).shape[1]):
            need_size(n, size, "the number of heads")
    k = with_sizes(n, k, [shape[0], *tensor_type(k).shape[1:3], shape[3]])
    v = with_sizes(n, v, [*tensor_type(k).shape[:3], tensor_type(v).shape[3]])
    kv_len = None
    if n.has(6):
        kv_len, offset = b.cast(with_sizes(n, n.value(6), [shape[0]]), "i64"), None
    left, right = n.attribute("left_window_size", -1), n.attribute("right_window_size", -1)
    call = _Call(
        q,
        k,
        b.cast(v, dtype_of(q)),
        None,
        kv_len,
        offset,
        bool(n.attribute("is_causal", 0)),
        left if left >= 0 else None,
        right if right >= 0 else None,
        _scale(n, shape[3]),
        n.attribute("softcap", 0.0),
    )
    if n.has(3):
        call.bias = _mask(n, call)
    return call, present


def _scale(n: Node, width: Dim) -> float:
    given = n.attribute("scale", None)
    if given is not None:
        return given
    return 1.0 / math.sqrt(max(need_size(n, width, "the width of a head"), 1))


def _split_heads(n: Node, i: int, heads: int | None) -> SSAValue:
    """Operand `i` as [batch, heads, positions, width]."""
    b, x = n.builder, n.type(i)
    if x.rank == 4:
        return n.value(i)
    if x.rank != 3 or not heads:
        raise n.error(f"{x} wants q_num_heads and kv_num_heads")
    width = quotient(n, x.shape[2], heads)
    split = b.reshape(n.value(i), [*x.shape[:2], Dim.of(heads), width])
    return b.transpose(split, [0, 2, 1, 3])


def _mask(n: Node, call: _Call) -> SSAValue:
    """The mask, of rank 4, padded to the number of keys and fit for the scores."""
    b, mask, kind = n.builder, n.value(3), n.type(3)
    shape = [*[ONE] * (4 - kind.rank), *kind.shape]
    mask = b.reshape(mask, shape)
    keys = call.scores[3]
    short = shape[3] is not keys and shape[3] is not ONE
    if short and not (shape[3].is_constant and keys.is_constant):
        # A symbolic number of columns is the number of keys, unless keys may be padding.
        short = call.kv_len is not None
    if short or (shape[3] is ONE and keys.is_constant and keys is not ONE and n.has(6)):
        value = False if kind.dtype == "i1" else float("-inf")
        fill = b.constant(value, kind.dtype)
        mask = b.pad(mask, fill, [0] * 4, [0, 0, 0, keys - shape[3]])
    wanted = [
        size if size is ONE else full
        for size, full in zip(tensor_type(mask).shape, call.scores, strict=True)
    ]
    mask = with_sizes(n, mask, wanted)
    return mask if kind.dtype == "i1" else b.cast(mask, dtype_of(call.q))


def _composite(b: GraphBuilder, call: _Call) -> SSAValue:
    causal, bias = call.causal, call.bias
    if call.right == 0:
        causal = True
    elif call.right is not None and not causal:
        near = _near(b, call, None, call.right)
        bias = near if bias is None else _intersected(b, bias, near)
    positioned = causal or call.left is not None
    offset = None
    queries, keys = call.scores[2], call.scores[3]
    if positioned and call.offset is not None and keys - queries is not call.offset:
        offset = b.dim(call.offset)
    return b.insert(
        AttentionOp(
            call.q,
            call.k,
            call.v,
            scale=call.scale,
            bias=bias,
            kv_len=call.kv_len,
            offset=offset,
            causal=causal,
            window=call.left,
            softcap=call.softcap or None,
        )
    ).out


def _first_position(b: GraphBuilder, call: _Call) -> SSAValue:
    """Where the first query stands among the keys: a scalar, or one a row of the batch."""
    if call.offset is not None:
        return b.dim(call.offset)
    assert call.kv_len is not None
    first = b.sub(call.kv_len, b.dim(call.scores[2]))
    return b.reshape(first, [call.scores[0], ONE, ONE, ONE])


def _near(b: GraphBuilder, call: _Call, left: int | None, right: int | None) -> SSAValue:
    """Which keys lie within the bounds around each query's own position."""
    queries, keys = call.scores[2], call.scores[3]
    key = b.iota([1, 1, 1, keys], "i64", 3)
    query = b.add(b.iota([1, 1, queries, 1], "i64", 2), _first_position(b, call))
    seen: SSAValue | None = None
    if right is not None:
        seen = b.compare("le", key, b.add(query, right))
    if left is not None:
        late = b.compare("ge", key, b.sub(query, left))
        seen = late if seen is None else b.logical_and(seen, late)
    assert seen is not None
    return seen


def _intersected(b: GraphBuilder, bias: SSAValue, seen: SSAValue) -> SSAValue:
    if dtype_of(bias) == "i1":
        return b.logical_and(bias, seen)
    return b.select(seen, bias, float("-inf"))


def _decomposed(n: Node, call: _Call) -> tuple[SSAValue, SSAValue]:
    """Result and the scores at the stage that `qk_matmul_output_mode` names."""
    b, mode = n.builder, n.attribute("qk_matmul_output_mode", 0)
    kind = dtype_of(call.q)
    inner = "f32" if kind in ("f16", "bf16") else kind
    precision = n.attribute("softmax_precision", 0)
    batch, heads, queries, keys = call.scores
    groups = tensor_type(call.k).shape[1]
    share = quotient(n, heads, groups)
    q = b.cast(call.q, inner)
    q = b.reshape(q, [batch, groups, share, queries, tensor_type(q).shape[3]])
    k, v = b.cast(call.k, inner), b.cast(call.v, inner)
    scores = b.dot(q, k, batch=([0, 1], [0, 1]), contract=([4], [3]))
    stages = [b.reshape(b.mul(scores, call.scale), call.scores)]
    capped = stages[0]
    if call.softcap:
        capped = b.mul(b.tanh(b.div(capped, call.softcap)), call.softcap)
    stages.append(capped)
    stages.append(_masked(b, call, capped))
    widened = dtype_named(n, precision) if precision else inner
    chances = _safe_softmax(b, b.cast(stages[2], "f64" if widened == "f64" else inner))
    stages.append(b.cast(chances, inner))
    grouped = b.reshape(stages[3], [batch, groups, share, queries, keys])
    result = b.dot(grouped, v, batch=([0, 1], [0, 1]), contract=([4], [2]))
    result = b.reshape(result, [batch, heads, queries, tensor_type(v).shape[3]])
    return b.cast(result, kind), b.cast(stages[mode], kind)


def _masked(b: GraphBuilder, call: _Call, scores: SSAValue) -> SSAValue:
    never = float("-inf")
    right = 0 if call.causal or call.right == 0 else call.right
    if call.bias is not None:
        if dtype_of(call.bias) == "i1":
            scores = b.select(call.bias, scores, never)
        else:
            scores = b.add(scores, b.cast(call.bias, dtype_of(scores)))
    if right is not None or call.left is not None:
        scores = b.select(_near(b, call, call.left, right), scores, never)
    if call.kv_len is not None:
        length = b.reshape(call.kv_len, [call.scores[0], ONE, ONE, ONE])
        key = b.iota([1, 1, 1, call.scores[3]], "i64", 3)
        scores = b.select(b.compare("lt", key, length), scores, never)
    return scores


def _safe_softmax(b: GraphBuilder, scores: SSAValue) -> SSAValue:
    """Softmax over the last axis; a row of -inf gives 0."""
    top = b.reduce("max", scores, [3], keep=True)
    empty = b.compare("eq", top, float("-inf"))
    chances = b.softmax(b.select(empty, 0.0, scores), 3)
    return b.select(empty, 0.0, chances)


@operator("RotaryEmbedding", since=23)
def rotary_embedding(n: Node) -> SSAValue:
    b, kind = n.builder, n.type(0)
    x = n.value(0)
    if kind.rank == 3:
        heads = n.required("num_heads")
        width = quotient(n, kind.shape[2], heads)
        x = b.reshape(x, [*kind.shape[:2], Dim.of(heads), width])
    # [B, H, S, D] or [B, S, H, D]: the angles are the same for all heads.
    head_axis = 1 if kind.rank == 4 else 2
    shape = list(tensor_type(x).shape)
    shape[head_axis] = ONE
    shape[3] = equal_sizes(n, n.type(1).shape[-1], n.type(2).shape[-1])
    angles = [_angles(n, i, shape, head_axis) for i in (1, 2)]
    rotated = n.attribute("rotary_embedding_dim", 0)
    pairs = tensor_type(angles[0]).shape[3]
    if rotated and pairs.value is not None and pairs.value * 2 != rotated:
        raise n.error(f"the caches hold {pairs} angles, but rotary_embedding_dim is {rotated}")
    interleaved = bool(n.attribute("interleaved", 0))
    return b.reshape(b.insert(RopeOp(x, *angles, interleaved=interleaved)).out, kind.shape)


def _angles(n: Node, i: int, shape: Sequence[Dim], head_axis: int) -> SSAValue:
    """Cosines or sines, operand `i`, for each position: rank 4, one for all heads."""
    b, cache = n.builder, n.value(i)
    if n.has(3):
        cache = b.gather(cache, n.value(3), 0)
    cache = b.cast(b.unsqueeze(cache, [head_axis]), n.type(0).dtype)
    own = tensor_type(cache).shape
    return with_sizes(n, cache, [s if s is ONE else w for s, w in zip(own, shape, strict=True)])
