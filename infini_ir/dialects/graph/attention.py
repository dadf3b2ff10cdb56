"""Attention and the rotation of its operands by position: composites, kept whole until lowering."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import FloatAttr, IntegerAttr, UnitAttr, f64, i64
from xdsl.irdl import (
    AttrSizedOperandSegments,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from infini_ir.dialects.graph.base import (
    F64,
    OPERANDS_FORMAT,
    GraphOp,
    Value,
    flag,
    optional_operands,
    type_of,
)
from infini_ir.dialects.graph.types import TensorType
from infini_ir.utils.symbolic import ONE


@irdl_op_definition
class AttentionOp(GraphOp):
    """
    softmax(scale * q k^T, masked and biased) v, with grouped heads.

    q: [B, H, S, D]; k: [B, G, T, D]; v: [B, G, T, E] with H a multiple of G; result
    [B, H, S, E]. `bias`: float (added) or bool (true: may attend) that has the rank 4 and
    sizes of [B, H, S, T] or 1. `kv_len`: i64 [B], how many keys of each row are valid.
    `offset`: i64 scalar, the position of the first query among the keys. `causal`: query s
    sees keys up to s + offset (default offset: valid keys - S). `window` w: keys more than
    w before are not seen. `softcap` c: c * tanh(score / c) before mask and bias. A row that
    may attend to nothing gives 0. What lies at keys from `kv_len` on has no influence.

        %y = graph.attention %q, %k, %v bias %m : M scale 0.125 causal : Q, K, V -> Y
    """

    name = "graph.attention"
    q = operand_def(TensorType)
    k = operand_def(TensorType)
    v = operand_def(TensorType)
    bias = opt_operand_def(TensorType)
    kv_len = opt_operand_def(TensorType)
    offset = opt_operand_def(TensorType)
    scale = prop_def(F64)
    causal = opt_prop_def(UnitAttr)
    window = opt_prop_def(IntegerAttr.constr(i64))
    softcap = opt_prop_def(F64)
    out = result_def(TensorType)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(Pure())
    assembly_format = (
        "$q `,` $k `,` $v (`bias` $bias^ `:` type($bias))? (`kv_len` $kv_len^ `:` type($kv_len))? "
        "(`offset` $offset^ `:` type($offset))? `scale` $scale (`causal` $causal^)? "
        "(`window` $window^)? (`softcap` $softcap^)? attr-dict "
        "`:` type($q) `,` type($k) `,` type($v) `->` type($out)"
    )

    def __init__(
        self,
        q: Value,
        k: Value,
        v: Value,
        *,
        scale: float,
        bias: Value | None = None,
        kv_len: Value | None = None,
        offset: Value | None = None,
        causal: bool = False,
        window: int | None = None,
        softcap: float | None = None,
    ):
        super().__init__(
            operands=optional_operands(q, k, v, bias, kv_len, offset),
            properties={
                "scale": FloatAttr(scale, f64),
                "causal": flag(causal),
                "window": None if window is None else IntegerAttr(window, i64),
                "softcap": FloatAttr(softcap, f64) if softcap else None,
            },
            result_types=[_attention_type(type_of(q), type_of(k), type_of(v))],
        )

    def infer(self) -> Sequence[TensorType]:
        q, k, v = type_of(self.q), type_of(self.k), type_of(self.v)
        if self.bias is not None:
            scores = (q.shape[0], q.shape[1], q.shape[2], k.shape[2])
            bias = type_of(self.bias)
            if bias.rank != 4 or any(
                given is not wanted and given is not ONE
                for given, wanted in zip(bias.shape, scores, strict=True)
            ):
                raise VerifyException(f"bias {bias} does not repeat to the scores")
        return (_attention_type(q, k, v),)


def _attention_type(q: TensorType, k: TensorType, v: TensorType) -> TensorType:
    if not q.rank == k.rank == v.rank == 4:
        raise VerifyException("q, k and v are [batch, heads, positions, width]")
    if (
        q.shape[3] is not k.shape[3]
        or k.shape[:3] != v.shape[:3]
        or q.shape[0] is not k.shape[0]
    ):
        raise VerifyException(f"{q}, {k} and {v} do not fit")
    if q.shape[1].exact_divide(k.shape[1]) is None:
        raise VerifyException(f"{q.shape[1]} heads do not group over {k.shape[1]}")
    return q.with_shape([*q.shape[:3], v.shape[3]])


@irdl_op_definition
class PagedAttentionOp(GraphOp):
    """
    Attention whose keys and values lie in pages: `k_pages`, `v_pages`: [P, page, G, D];
    `table`: i32 or i64 [B, N], page numbers of each row in order; `kv_len`: i64 [B], valid
    keys of each row. q: [B, H, S, D], its queries being the last S valid positions.

        %y = graph.paged_attention %q, %kp, %vp, %table, %len scale 0.125 : (...) -> ...
    """

    name = "graph.paged_attention"
    q = operand_def(TensorType)
    k_pages = operand_def(TensorType)
    v_pages = operand_def(TensorType)
    table = operand_def(TensorType)
    kv_len = operand_def(TensorType)
    scale = prop_def(F64)
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = (
        "$q `,` $k_pages `,` $v_pages `,` $table `,` $kv_len `scale` $scale" + OPERANDS_FORMAT
    )

    def __init__(
        self,
        q: Value,
        k_pages: Value,
        v_pages: Value,
        table: Value,
        kv_len: Value,
        scale: float,
    ):
        super().__init__(
            operands=[q, k_pages, v_pages, table, kv_len],
            properties={"scale": FloatAttr(scale, f64)},
            result_types=[type_of(q)],
        )

    def infer(self) -> Sequence[TensorType]:
        q, k_pages, v_pages, table, kv_len = self.tensor_types()
        if q.rank != 4 or k_pages.rank != 4 or k_pages != v_pages or table.rank != 2:
            raise VerifyException(f"{q}, {k_pages}, {v_pages} and {table} do not fit")
        if kv_len != TensorType.of([q.shape[0]], "i64"):
            raise VerifyException(f"kv_len is one i64 a row, not {kv_len}")
        return (q,)


@irdl_op_definition
class RopeOp(GraphOp):
    """
    Rotary position embedding (Su et al., 2021) of the last axis' first 2 * R elements; cos
    and sin repeat to [.., R]. Pairs are (i, i + R), or (2i, 2i + 1) when `interleaved`.

        %y = graph.rope %x, %cos, %sin : (...) -> ...
    """

    name = "graph.rope"
    x = operand_def(TensorType)
    cos = operand_def(TensorType)
    sin = operand_def(TensorType)
    interleaved = opt_prop_def(UnitAttr)
    out = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$x `,` $cos `,` $sin (`interleaved` $interleaved^)?" + OPERANDS_FORMAT

    def __init__(self, x: Value, cos: Value, sin: Value, *, interleaved: bool = False):
        super().__init__(
            operands=[x, cos, sin],
            properties={"interleaved": flag(interleaved)},
            result_types=[type_of(x)],
        )

    def infer(self) -> Sequence[TensorType]:
        x, cos, sin = self.tensor_types()
        if cos != sin or cos.rank != x.rank:
            raise VerifyException(f"cos and sin have one type and the rank of x: {cos}, {sin}")
        for given, wanted in zip(cos.shape[:-1], x.shape[:-1], strict=True):
            if given is not wanted and given is not ONE:
                raise VerifyException(f"{cos} does not repeat over {x}")
        return (x,)


ATTENTION_OPS: tuple[type[GraphOp], ...] = (AttentionOp, PagedAttentionOp, RopeOp)
