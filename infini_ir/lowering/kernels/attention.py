"""Attention as one kernel with an online softmax (Dao et al., FlashAttention, 2022).

A program takes a tile of queries of one head and goes along the keys in tiles, carrying for
each query the greatest score so far, the sum of exponentials and the weighted values, both
relative to that score. Scores never reach memory. Where there is one query a head (decoding)
the heads that share keys make the rows of the tile. Keys in pages (Kwon et al., PagedAttention,
2023) are walked page by page, each found by its number in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.dialects import math
from xdsl.ir import SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph import type_of
from infini_ir.lowering.host_builder import HostBuilder, label_of, lowers, origin_of
from infini_ir.lowering.kernel_builder import KernelBuilder, Position
from infini_ir.lowering.kernels.positions import read_clamped, read_index
from infini_ir.lowering.placement import Placement
from infini_ir.lowering.scalar_builder import ScalarBuilder
from infini_ir.utils import dtypes
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import ONE, ZERO, Dim

_HIDDEN = float("-inf")


@dataclass(frozen=True)
class _Heads:
    """[batch, head, position, width] seen as [batch, group, member, position, width]: the
    members of a group share keys and values."""

    groups: Dim
    members: Dim

    def split(self, p: Placement) -> Placement:
        """Of queries, results and biases: a head is group * members + member."""
        batch, head, *rest = p.shape
        step = p.strides[1]
        both = (ZERO, ZERO) if head is ONE else (step * self.members, step)
        shape = (batch, self.groups, self.members, *rest)
        return Placement(
            p.root, p.offset, shape, (p.strides[0], *both, *p.strides[2:]), p.dtype
        )


@lowers(graph.AttentionOp)
def lower_attention(op: graph.AttentionOp, host: HostBuilder) -> None:
    """The operands may have any strides, so [B, S, H, D] memory needs no transposition."""
    q, k, v = (host.placement(value) for value in (op.q, op.k, op.v))
    out = host.destination(op.out)
    if out.is_empty():
        return
    members = q.shape[1].exact_divide(k.shape[1])
    assert members is not None, "the verifier checked it"
    heads = _Heads(k.shape[1], members)
    operands = {"out": heads.split(out), "q": heads.split(q), "k": k, "v": v}
    if op.bias is not None:
        scores = (*q.shape[:3], k.shape[2])
        operands["bias"] = heads.split(_repeated(host.placement(op.bias), scores))
    for name, value in (("kv_len", op.kv_len), ("offset", op.offset)):
        if value is not None:
            operands[name] = host.placement(value)
    writer = _AttentionWriter(op, operands)
    host.launch(writer.write(), [host.view(p) for p in operands.values()], label_of(op))


@lowers(graph.PagedAttentionOp)
def lower_paged_attention(op: graph.PagedAttentionOp, host: HostBuilder) -> None:
    """Pages are read where they lie."""
    given = (op.q, op.k_pages, op.v_pages, op.table, op.kv_len)
    q, k, v, table, kv_len = (host.placement(value) for value in given)
    out = host.destination(op.out)
    if out.is_empty():
        return
    members = q.shape[1].exact_divide(k.shape[2])
    if members is None:
        raise CompileError(
            f"{q.shape[1]} heads do not group over the {k.shape[2]} of the pages"
        )
    heads = _Heads(k.shape[2], members)
    operands = {"out": heads.split(out), "q": heads.split(q), "k": k, "v": v}
    operands |= {"table": table, "kv_len": kv_len}
    writer = _PagedAttentionWriter(op, operands)
    host.launch(writer.write(), [host.view(p) for p in operands.values()], label_of(op))


def _repeated(bias: Placement, shape: Sequence[Dim]) -> Placement:
    """A bias with stride 0 along the axes that it repeats over."""
    strides = [
        ZERO if own is ONE else stride
        for own, stride in zip(bias.shape, bias.strides, strict=True)
    ]
    return Placement(bias.root, bias.offset, tuple(shape), tuple(strides), bias.dtype)


Step = Callable[..., Sequence[SSAValue]]


class _AttentionWriter:
    """Writes the kernel of one attention operation."""

    op: graph.AttentionOp | graph.PagedAttentionOp
    start: SSAValue | None = None
    """The position of the tile's first query among the keys, where it matters."""

    def __init__(self, op: graph.AttentionOp, operands: dict[str, Placement]) -> None:
        self.op = op
        self.causal = op.causal is not None
        self.window = None if op.window is None else op.window.value.data
        self.softcap = None if op.softcap is None else op.softcap.value.data
        self._open(operands, operands["k"].shape[2], (op.q, op.k, op.v))

    def _open(
        self, operands: dict[str, Placement], keys: Dim, values: Sequence[SSAValue]
    ) -> None:
        self.operands = operands
        self.names = list(operands)
        q = operands["q"]
        self.queries, self.keys = q.shape[3], keys
        self.decoding = self.queries is ONE
        """Whether the rows of a tile are heads, all at the one query position."""
        floats = (type_of(value).dtype for value in values)
        self.wide = "f64" if "f64" in floats else "f32"
        bounds = [q.shape[0], q.shape[1], q.shape[2], self.queries]
        self.row_axis = 2 if self.decoding else 3
        steps = ["BM" if axis == self.row_axis else "1" for axis in range(4)]
        types = [p.view_type for p in operands.values()]
        self.k = KernelBuilder("attention", types, bounds, steps, origin_of(self.op))

    def view(self, name: str) -> SSAValue:
        return self.k.views[self.names.index(name)]

    def has(self, name: str) -> bool:
        return name in self.operands

    def write(self) -> KernelBuilder:
        k = self.k
        b, g, r, s = k.offsets
        width = self.operands["q"].shape[4]
        values = self.operands["v"].shape[3]
        q = k.load(self.view("q"), [b, g, r, s, 0], [self.row_axis, 4], ["BM", width])
        carried = [
            # Not the infinity that hides a score: that lies below it, and is weighed with 0.
            k.full(float(np.finfo(dtypes.numpy_dtype(self.wide)).min), ["BM"], self.wide),
            k.full(0, ["BM"], self.wide),
            k.full(0, ["BM", values], self.wide),
        ]

        def step(
            key: SSAValue, top: SSAValue, total: SSAValue, sums: SSAValue
        ) -> Sequence[SSAValue]:
            scores = self._scores(q, key)
            top, weights, kept = self._weights(scores, top)
            added = k.reduce("add", weights, [1])
            (total,) = k.map([total, kept, added], [[0]] * 3, [self.wide], ["BM"], _rescale)
            (sums,) = k.map([sums, kept], [[0, 1], [0]], [self.wide], ["BM", values], _scale)
            return [top, total, k.dot(weights, self._values(key), sums)]

        _, total, sums = self._walk(carried, step)
        out = self.operands["out"].dtype
        (share,) = k.map([total], [[0]], [self.wide], ["BM"], self._share)
        (result,) = k.map([sums, share], [[0, 1], [0]], [out], ["BM", values], self._finish)
        k.store(result, self.view("out"), [b, g, r, s, 0], [self.row_axis, 4])
        return k

    # The keys

    def _walk(self, carried: Sequence[SSAValue], step: Step) -> Sequence[SSAValue]:
        """Go along the keys in tiles; the step is given the first key of each."""
        k = self.k
        first, limit = self._bounds()

        def at(number: SSAValue, *carried: SSAValue) -> Sequence[SSAValue]:
            return step(number if first is None else k.add(first, number), *carried)

        return k.for_(limit, "BN", carried, at)

    def _load(self, name: str, key: SSAValue) -> SSAValue:
        """A tile of keys or values from a key on."""
        b, g, _, _ = self.k.offsets
        width = self.operands[name].shape[3]
        return self.k.load(self.view(name), [b, g, key, 0], [2, 3], ["BN", width])

    # Positions

    def _valid_keys(self) -> Position:
        """How many keys the program's row of the batch has."""
        if not self.has("kv_len"):
            return self.keys
        return read_index(self.k, self.view("kv_len"), [self.k.offsets[0]], "i64")

    def _bounds(self) -> tuple[SSAValue | None, Position]:
        """The first key that the tile may see (None for 0), and how many follow it."""
        k = self.k
        self.valid = self._valid_keys()
        limit: Position = self.valid
        if self.has("kv_len"):
            limit = k.min(limit, self.keys)
        if not self.causal and self.window is None:
            return None, limit
        if self.has("offset"):
            offset = read_index(k, self.view("offset"), [], "i64")
        else:
            offset = k.sub(self.valid, self.queries)
        self.start = k.add(k.offsets[3], offset)
        if self.causal:
            rows: Position = 1 if self.decoding else k.size("BM")
            limit = k.max(k.min(limit, k.add(self.start, rows)), 0)
        if self.window is None:
            return None, limit
        first = k.max(k.sub(self.start, self.window), 0)
        return first, k.max(k.sub(limit, first), 0)

    # Steps

    def _scores(self, q: SSAValue, key: SSAValue) -> SSAValue:
        """The scores of a tile of keys, -inf where a key may not be seen."""
        k, op = self.k, self.op
        b, g, r, s = k.offsets
        keys = self._load("k", key)
        zero = k.full(0, ["BM", "BN"], self.wide)
        scores = k.dot(q, keys, zero, transposed=True)
        inputs: dict[str, tuple[SSAValue, list[int]]] = {"scores": (scores, [0, 1])}
        if self.has("bias"):
            inputs["bias"] = self._bias([b, g, r, s, key])
        if self.has("kv_len"):
            inputs["valid"] = (k.index(self.valid), [])
        if self.start is not None:
            inputs["start"] = (self.start, [])
        if self.start is not None or self.has("kv_len"):
            inputs["key"] = (key, [])
        order = list(inputs)

        def body(s: ScalarBuilder, *args: SSAValue) -> list[SSAValue]:
            given = dict(zip(order, args, strict=True))
            value = s.mul(given["scores"], s.constant(op.scale.value.data, self.wide))
            if self.softcap is not None:
                cap = s.constant(self.softcap, self.wide)
                value = s.mul(cap, s.emit(math.TanhOp(s.div(value, cap))))
            if "bias" in given and self.operands["bias"].dtype != "i1":
                value = s.add(value, s.widen(given["bias"], self.wide))
            lowest = s.constant(_HIDDEN, self.wide)
            for visible in self._visible(s, given):
                value = s.select(visible, value, lowest)
            return [value]

        values = [value for value, _ in inputs.values()]
        dims = [covered for _, covered in inputs.values()]
        (masked,) = k.map(values, dims, [self.wide], ["BM", "BN"], body)
        return masked

    def _bias(self, offsets: list[Position]) -> tuple[SSAValue, list[int]]:
        """The bias of a tile of scores, without the axes that it repeats over."""
        strides = self.operands["bias"].strides
        both = [(self.row_axis, "BM"), (4, "BN")]
        covered = [i for i, (axis, _) in enumerate(both) if strides[axis] is not ZERO]
        axes = [both[i][0] for i in covered]
        capacity = [both[i][1] for i in covered]
        return self.k.load(self.view("bias"), offsets, axes, capacity), covered

    def _visible(self, s: ScalarBuilder, given: dict[str, SSAValue]) -> list[SSAValue]:
        """The conditions under which a query may attend to a key."""
        conditions: list[SSAValue] = []
        if "bias" in given and self.operands["bias"].dtype == "i1":
            conditions.append(given["bias"])
        if "key" not in given:
            return conditions
        key = s.add(given["key"], s.coord(1))
        if "valid" in given:
            conditions.append(s.compare("lt", key, given["valid"]))
        if self.start is None:
            return conditions
        query = given["start"]
        if not self.decoding:
            query = s.add(query, s.coord(0))
        if self.causal:
            conditions.append(s.compare("le", key, query))
        if self.window is not None:
            window = s.constant(self.window, "index")
            conditions.append(s.compare("le", s.sub(query, key), window))
        return conditions

    def _weights(self, scores: SSAValue, top: SSAValue) -> tuple[SSAValue, SSAValue, SSAValue]:
        """The greatest score, the weights relative to it, and what the earlier sums keep."""
        k = self.k

        def raise_top(s: ScalarBuilder, old: SSAValue, new: SSAValue) -> list[SSAValue]:
            top = s.max(old, new)
            return [top, _relative(s, old, top)]

        highest = k.reduce("max", scores, [1])
        top, kept = k.map([top, highest], [[0], [0]], [self.wide] * 2, ["BM"], raise_top)
        (weights,) = k.map(
            [scores, top],
            [[0, 1], [0]],
            [self.wide],
            ["BM", "BN"],
            lambda s, score, top: [_relative(s, score, top)],
        )
        return top, weights, kept

    def _values(self, key: SSAValue) -> SSAValue:
        """A tile of values; 0 past the valid ones, whatever lies there."""
        k = self.k
        capacity = ["BN", self.operands["v"].shape[3]]
        tile = self._load("v", key)
        if not self.has("kv_len"):
            return tile

        def body(
            s: ScalarBuilder, value: SSAValue, key: SSAValue, valid: SSAValue
        ) -> list[SSAValue]:
            inside = s.compare("lt", s.add(key, s.coord(0)), valid)
            wide = s.widen(value, self.wide)
            return [s.select(inside, wide, s.like(0, wide))]

        inputs = [tile, key, k.index(self.valid)]
        (kept,) = k.map(inputs, [[0, 1], [], []], [self.wide], capacity, body)
        return kept

    def _share(self, s: ScalarBuilder, total: SSAValue) -> list[SSAValue]:
        """What one weight counts, 0 for a query that saw nothing."""
        zero = s.constant(0, self.wide)
        nothing = s.compare("eq", total, zero)
        return [s.select(nothing, zero, s.div(s.constant(1, self.wide), total))]

    def _finish(self, s: ScalarBuilder, value: SSAValue, share: SSAValue) -> list[SSAValue]:
        """The weighted mean; 0 whatever the values for a query that saw nothing."""
        out = self.operands["out"].dtype
        assert dtypes.is_float(out)
        zero = s.constant(0, self.wide)
        nothing = s.compare("eq", share, zero)
        return [s.narrow(s.select(nothing, zero, s.mul(value, share)), out)]


class _PagedAttentionWriter(_AttentionWriter):
    """Writes the kernel of an attention whose keys and values lie in pages."""

    number: SSAValue
    """Of the page that is being read."""
    place: SSAValue
    """In that page, of the first key of the tile."""

    def __init__(self, op: graph.PagedAttentionOp, operands: dict[str, Placement]) -> None:
        self.op = op
        self.window = self.softcap = None
        self.page = operands["k"].shape[1]
        self.causal = operands["q"].shape[3] is not ONE
        """The one query of a row is its last position and sees every valid key."""
        keys = operands["table"].shape[1] * self.page
        self._open(operands, keys, (op.q, op.k_pages, op.v_pages))

    def _walk(self, carried: Sequence[SSAValue], step: Step) -> Sequence[SSAValue]:
        """Page by page: a key's number among all is that of its page times the size of
        pages, and its place in it."""
        k, page = self.k, self.page
        _, limit = self._bounds()
        pages = k.div(k.add(limit, page - 1), page)
        table = self.operands["table"]

        def turn(turn: SSAValue, *carried: SSAValue) -> Sequence[SSAValue]:
            offsets = [k.offsets[0], turn]
            last = self.operands["k"].shape[0]
            self.number = read_clamped(k, self.view("table"), offsets, table.dtype, last)
            first = k.mul(turn, page)
            count = k.min(page, k.sub(limit, first))

            def at(place: SSAValue, *carried: SSAValue) -> Sequence[SSAValue]:
                self.place = place
                return step(k.add(first, place), *carried)

            return k.for_(count, "BN", carried, at)

        return k.for_(pages, 1, carried, turn)

    def _load(self, name: str, key: SSAValue) -> SSAValue:
        offsets = [self.number, self.place, self.k.offsets[1], 0]
        width = self.operands[name].shape[3]
        return self.k.load(self.view(name), offsets, [1, 3], ["BN", width])


def _relative(s: ScalarBuilder, score: SSAValue, top: SSAValue) -> SSAValue:
    """exp(score - top)."""
    return s.emit(math.ExpOp(s.sub(score, top)))


def _rescale(s: ScalarBuilder, total: SSAValue, kept: SSAValue, more: SSAValue):
    return [s.fma(total, kept, more)]


def _scale(s: ScalarBuilder, value: SSAValue, kept: SSAValue) -> list[SSAValue]:
    return [s.mul(value, kept)]
