"""ONNX's Scan: a loop over slices of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx
from xdsl.ir import Block, Region, SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.types import TensorType, tensor_type
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.registry import operator
from infini_ir.utils.symbolic import Dim

Step = Callable[
    [Block, SSAValue, Sequence[SSAValue], Sequence[SSAValue]],
    tuple[Sequence[SSAValue], Sequence[SSAValue]],
]
"""Builds a body: (block, iteration, carried, slices) -> (next carried, stacked)."""


def _scan(
    n: Node,
    b: GraphBuilder,
    initial: Sequence[SSAValue],
    scanned: Sequence[SSAValue],
    step: Step,
) -> tuple[list[SSAValue], list[SSAValue]]:
    """A scan over axis 0; gives the last carried values and the stacks."""
    length = tensor_type(scanned[0]).shape[0]
    over = [_of_length(n, b, value, length) for value in scanned]
    carried = [tensor_type(value) for value in initial]
    slices = [tensor_type(v).with_shape(tensor_type(v).shape[1:]) for v in over]
    block = Block(arg_types=[TensorType.of((), "i64"), *carried, *slices])
    index, *rest = block.args
    following, stacked = step(block, index, rest[: len(carried)], rest[len(carried) :])
    n.builder_at(block).yield_([*following, *stacked])
    types = [tensor_type(v).with_shape([length, *tensor_type(v).shape]) for v in stacked]
    outs: list[SSAValue] = list(
        b.insert(graph.ScanOp(initial, over, length, types, Region(block))).outs
    )
    return outs[: len(carried)], outs[len(carried) :]


def _of_length(n: Node, b: GraphBuilder, value: SSAValue, length: Dim) -> SSAValue:
    """Scanned values are equally long; a fact says so where their sizes are symbols."""
    shape = tensor_type(value).shape
    if shape[0] is length:
        return value
    n.add_fact(shape[0], "eq", length)
    return b.reshape(value, [length, *shape[1:]])


def _reversed(b: GraphBuilder, x: SSAValue) -> SSAValue:
    """The slices along axis 0 in reverse order."""
    shape = tensor_type(x).shape
    starts = [shape[0] - 1, *[Dim.of(0)] * (len(shape) - 1)]
    return b.slice(x, starts, shape, [-1, *[1] * (len(shape) - 1)])


def _axis_first(b: GraphBuilder, x: SSAValue, axis: int) -> SSAValue:
    rank = tensor_type(x).rank
    axis %= rank
    return b.transpose(x, [axis, *(a for a in range(rank) if a != axis)])


def _axis_back(b: GraphBuilder, x: SSAValue, axis: int) -> SSAValue:
    rank = tensor_type(x).rank
    axis %= rank
    perm = list(range(1, rank))
    perm.insert(axis, 0)
    return b.transpose(x, perm)


def _body_step(n: Node, body: onnx.GraphProto, states: int) -> Step:
    def step(
        block: Block, index: SSAValue, carried: Sequence[SSAValue], slices: Sequence[SSAValue]
    ) -> tuple[Sequence[SSAValue], Sequence[SSAValue]]:
        entries = n.import_subgraph(body, [*carried, *slices], block)
        outputs = [v for v in entries if isinstance(v, SSAValue)]
        if len(outputs) != len(entries):
            raise n.error("its body gives sequences")
        b = n.builder_at(block)
        pairs = zip(carried, outputs, strict=False)
        following = [_kept_type(n, b, before, after) for before, after in pairs]
        return following, outputs[states:]

    return step


def _kept_type(n: Node, b: GraphBuilder, before: SSAValue, after: SSAValue) -> SSAValue:
    """The next value of a state, of the type before: facts say so where sizes are symbols."""
    old, new = tensor_type(before), tensor_type(after)
    if old == new:
        return after
    if old.dtype != new.dtype or old.rank != new.rank:
        raise n.error(f"a state changes its type from {old} to {new}")
    for left, right in zip(new.shape, old.shape, strict=True):
        if left.is_constant and right.is_constant and left is not right:
            raise n.error(f"a state changes its type from {old} to {new}")
        if left is not right and b.on_fact is not None:
            b.on_fact((left, "eq", right))
    return b.reshape(after, old.shape)


@operator("Scan", since=9)
def scan(n: Node) -> list[SSAValue]:
    b, body = n.builder, n.required("body")
    values = n.values()
    count: int = n.required("num_scan_inputs")
    states = len(values) - count
    if not 0 < count <= len(values):
        raise n.error(f"num_scan_inputs is {count} for {len(values)} inputs")
    stacks = len(body.output) - states
    in_axes = n.attribute("scan_input_axes", [0] * count)
    in_directions = n.attribute("scan_input_directions", [0] * count)
    out_axes = n.attribute("scan_output_axes", [0] * stacks)
    out_directions = n.attribute("scan_output_directions", [0] * stacks)
    scanned = []
    for value, axis, backwards in zip(values[states:], in_axes, in_directions, strict=True):
        value = _axis_first(b, value, axis)
        scanned.append(_reversed(b, value) if backwards else value)
    last, stacked = _scan(n, b, values[:states], scanned, _body_step(n, body, states))
    results = []
    for value, axis, backwards in zip(stacked, out_axes, out_directions, strict=True):
        value = _reversed(b, value) if backwards else value
        results.append(_axis_back(b, value, axis))
    return [*last, *results]


@operator("Scan", since=8)
def scan_8(n: Node) -> list[SSAValue]:
    """With a batch axis in front of everything: a scan over it around that over the steps."""
    b, body = n.builder, n.required("body")
    values = [n.value(i) for i in range(1, n.count)]
    count: int = n.required("num_scan_inputs")
    states = len(values) - count
    directions = n.attribute("directions", [0] * count)
    lengths = n.optional(0)
    outer = [*values, lengths] if lengths is not None else values
    inner = _body_step(n, body, states)

    def one_sequence(
        block: Block, index: SSAValue, carried: Sequence[SSAValue], slices: Sequence[SSAValue]
    ) -> tuple[Sequence[SSAValue], Sequence[SSAValue]]:
        at = n.builder_at(block)
        scanned = [
            _reversed(at, value) if backwards else value
            for value, backwards in zip(
                slices[states : states + count], directions, strict=True
            )
        ]
        step = inner if lengths is None else _masked(n, inner, slices[-1])
        last, stacked = _scan(n, at, slices[:states], scanned, step)
        return [], [*last, *stacked]

    return _scan(n, b, [], outer, one_sequence)[1]


def _masked(n: Node, step: Step, length: SSAValue) -> Step:
    """Steps from `length` on keep the state and give zeros."""

    def masked(
        block: Block, index: SSAValue, carried: Sequence[SSAValue], slices: Sequence[SSAValue]
    ) -> tuple[Sequence[SSAValue], Sequence[SSAValue]]:
        following, stacked = step(block, index, carried, slices)
        at = n.builder_at(block)
        active = at.compare("lt", index, at.cast(length, "i64"))
        kept = [at.select(active, x, y) for x, y in zip(following, carried, strict=True)]
        return kept, [at.select(active, x, at.zeros_like(x)) for x in stacked]

    return masked
