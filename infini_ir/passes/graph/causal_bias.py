"""Attention whose bias is a constant that only hides the keys after each query."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from infini_ir.dialects.context import weights_of
from infini_ir.dialects.graph import AttentionOp, ConstantOp, WeightOp
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.passes.graph.rules import apply_rules
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import ONE
from infini_ir.utils.weights import WeightStore


@dataclass(frozen=True)
class GraphCausalBiasPass(ModulePass):
    """
    Replace the bias of an attention by `causal` where it is a constant of [queries, keys]
    that is 0 (or true) up to the query's own key and hides the others: false, -inf, or the
    lowest number of its type, beside which no score counts. Other numbers, also very low
    ones, stay as they are. Wants constants folded; half of the scores need not be computed.
    """

    name = "graph-causal-bias"
    max_elements: int = 1 << 26
    """Elements of a bias at most that is looked at."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        store = weights_of(ctx)

        def rule(op: Operation, b: GraphBuilder) -> SSAValue | None:
            assert isinstance(op, AttentionOp)
            if not self._hides_later_keys(op, store):
                return None
            softcap = None if op.softcap is None else op.softcap.value.data
            scale = op.scale.value.data
            made = AttentionOp(op.q, op.k, op.v, scale=scale, causal=True, softcap=softcap)
            return b.insert(made).out

        apply_rules(op, {AttentionOp: (rule,)})

    def _hides_later_keys(self, op: AttentionOp, store: WeightStore) -> bool:
        given = (op.kv_len, op.offset, op.causal, op.window)
        if op.bias is None or any(value is not None for value in given):
            return False
        bias = tensor_type(op.bias)
        queries, keys = tensor_type(op.q).shape[2], tensor_type(op.k).shape[2]
        if bias.shape != (ONE, ONE, queries, keys) or queries.value is None:
            return False
        if keys.value is None or not queries.value <= keys.value:
            return False
        if queries.value * keys.value > self.max_elements:
            return False
        array = _numbers(op.bias.owner, store)
        return array is not None and _is_causal(array[0, 0], bias.dtype)


def _numbers(owner: object, store: WeightStore) -> np.ndarray | None:
    if isinstance(owner, ConstantOp):
        return owner.array()
    if isinstance(owner, WeightOp) and owner.handle.data in store:
        return store.array(owner.handle.data)
    return None


def _is_causal(bias: np.ndarray, dtype: str) -> bool:
    """Whether a [queries, keys] bias sees the keys up to each query, the last at the end."""
    queries, keys = bias.shape
    visible = np.tri(queries, keys, keys - queries, dtype=bool)
    if dtype == "i1":
        return bool((bias.astype(bool) == visible).all())
    if not dtypes.is_float(dtype):
        return False
    numbers = bias.astype(np.float64)
    lowest = {"f64": np.finfo("f8").min, "f16": -np.inf}.get(dtype, float(np.finfo("f4").min))
    hidden = numbers[~visible]
    return bool((numbers[visible] == 0).all() and (hidden <= lowest).all())
