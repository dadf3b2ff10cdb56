"""If and Loop as regions; unrolled or inlined where the values that decide are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from xdsl.ir import Block, Region, SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph.types import TensorType, tensor_type
from infini_ir.frontends.onnx.errors import NeedsValue
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.constants import known_tensor
from infini_ir.frontends.onnx.registry import operator
from infini_ir.frontends.onnx.values import Entry, Initializer, SequenceValue
from infini_ir.utils.errors import ModelError
from infini_ir.utils.symbolic import Dim

SCALAR = TensorType.of((), "i64")
BOOL = TensorType.of((), "i1")

UNLIMITED = 1 << 31
"""A trip count from here on means none; exporters write the largest integer."""

UNROLL_LIMIT = 1024
"""The most iterations that are written out one after another."""


@operator("If")
def if_(n: Node) -> list[Entry]:
    known = n.known(0)
    branches = [n.required(name) for name in ("then_branch", "else_branch")]
    if known is not None:
        chosen = branches[0 if bool(np.asarray(known).item()) else 1]
        return n.import_subgraph(chosen, [], n.scope.block)
    condition = n.builder.reshape(n.value(0), [])
    blocks = [Block(), Block()]
    results = [n.import_subgraph(g, [], b) for g, b in zip(branches, blocks, strict=True)]
    types: list[TensorType] = []
    symbols: list[str] = []
    for then, other in zip(*results, strict=True):
        types.append(_merged_type(n, then, other, symbols))
    for block, values in zip(blocks, results, strict=True):
        n.builder_at(block).yield_([v for v in values if isinstance(v, SSAValue)])
    regions = [Region(block) for block in blocks]
    op = graph.IfOp(condition, types, *regions, defines=symbols)
    return list(n.builder.insert(op).outs)


def _merged_type(n: Node, then: Entry, other: Entry, symbols: list[str]) -> TensorType:
    """The type of a result; sizes that differ between the branches get fresh symbols."""
    if not isinstance(then, SSAValue) or not isinstance(other, SSAValue):
        raise n.needs(0, "the condition that chooses between sequences")
    left, right = tensor_type(then), tensor_type(other)
    if left.rank != right.rank or left.element != right.element:
        raise n.needs(0, f"the condition that chooses between {left} and {right}")
    shape: list[Dim] = []
    for a, b in zip(left.shape, right.shape, strict=True):
        if a is b:
            shape.append(a)
        else:
            symbols.append(n.fresh_symbol(f"{n.name}_size"))
            shape.append(Dim.symbol(symbols[-1]))
    return left.with_shape(shape)


# Loop


@dataclass
class _Body:
    """A loop's body, imported into a block whose arguments are the number of the iteration
    and the carried values."""

    block: Block
    condition: SSAValue
    goes_on: bool | None
    """The condition, where it is known."""
    carried: list[SSAValue]
    stacked: list[SSAValue]


@operator("Loop")
def loop(n: Node) -> list[Entry]:
    body: onnx.GraphProto = n.required("body")
    initial = [n.entry(i) for i in range(2, len(n.inputs))]
    known_limit = n.known(0)
    limit = None if known_limit is None else int(known_limit.item())
    if limit is not None and limit >= UNLIMITED:
        limit = None
    start = n.known(1) if n.has(1) else np.bool_(True)
    if start is not None and not bool(np.asarray(start).item()):
        limit = 0
    plain = all(isinstance(entry, SSAValue | Initializer) for entry in initial)
    if plain:
        values = [n.value(i) for i in range(2, len(n.inputs))]
        found = n.scope.session.needed
        try:
            imported = _import_body(n, body, values)
        except (NeedsValue, ModelError):
            if limit is None and not _may_specialize(n):
                raise
            imported = None
        if imported is not None and _types(imported.carried) == _types(values):
            unlimited = not n.has(0) or (known_limit is not None and limit is None)
            return _rolled(n, imported, values, limit, start is None, unlimited)
        n.scope.session.needed = found
    return _unrolled(n, body, initial, limit)


def _may_specialize(n: Node) -> bool:
    """Whether the trip count comes from a model input, so that a call can fix it."""
    if not n.has(0) or n.known(0) is not None:
        return False
    return any(n.scope.session.origins(n.value(0)))


def _types(values: Sequence[SSAValue]) -> list[TensorType]:
    return [tensor_type(value) for value in values]


def _import_body(n: Node, body: onnx.GraphProto, initial: Sequence[SSAValue]) -> _Body:
    block = Block(arg_types=[SCALAR, *_types(initial)])
    # An iteration only runs while the condition holds.
    holds = known_tensor(n, np.bool_(True))
    outputs = n.import_subgraph(body, [block.args[0], holds, *block.args[1:]], block)
    values = [v for v in outputs if isinstance(v, SSAValue)]
    if len(values) != len(outputs):
        raise n.error("its body gives sequences")
    goes_on = n.scope.session.contents.known(values[0])
    condition = n.builder_at(block).reshape(values[0], [])
    return _Body(
        block,
        condition,
        None if goes_on is None else bool(goes_on.item()),
        values[1 : 1 + len(initial)],
        values[1 + len(initial) :],
    )


def _rolled(
    n: Node,
    body: _Body,
    initial: Sequence[SSAValue],
    limit: int | None,
    gated: bool,
    unlimited: bool,
) -> list[Entry]:
    """The loop as one operation. `gated`: the first condition is known at run time only."""
    if body.goes_on is False:
        limit, unlimited = 1 if limit is None else min(limit, 1), False
    if unlimited and body.goes_on:
        raise n.error("the loop never ends: it has neither a trip count nor a condition")
    if body.goes_on is None and not body.stacked:
        return list(_while(n, body, initial, None if unlimited else _limit_value(n, limit)))
    if unlimited:
        raise n.error("a loop that collects results needs a trip count as its limit")
    length = _length(n, limit, gated)
    until = n.fresh_symbol(f"{n.name}_length") if body.goes_on is None else None
    stack = Dim.symbol(until) if until else length
    types = [t.with_shape([stack, *t.shape]) for t in _types(body.stacked)]
    yielded = [*body.carried, *body.stacked]
    n.builder_at(body.block).yield_([body.condition, *yielded] if until else yielded)
    op = graph.ScanOp(initial, [], length, types, Region(body.block), until)
    return list(n.builder.insert(op).outs)


def _limit_value(n: Node, limit: int | None) -> SSAValue:
    if limit is not None:
        return n.builder.constant(np.int64(limit))
    return n.builder.cast(n.builder.reshape(n.value(0), []), "i64")


def _length(n: Node, limit: int | None, gated: bool) -> Dim:
    """The trip count as a size; 0 where the first condition is false."""
    sizes = n.sizes(0) if limit is None else [Dim.of(limit)]
    if sizes is not None and not gated and sizes[0].is_nonnegative():
        return sizes[0]
    b = n.builder
    count = b.max(_limit_value(n, limit), 0)
    if gated:
        count = b.select(b.reshape(n.value(1), []), count, 0)
    return n.bind(count, f"{n.name}_trips")


def _while(
    n: Node, body: _Body, initial: Sequence[SSAValue], limit: SSAValue | None
) -> Sequence[SSAValue]:
    """Carries the iteration number and the condition before the values."""
    b = n.builder
    first = b.reshape(n.value(1), []) if n.has(1) else b.constant(True, "i1")
    carried = [b.constant(np.int64(0)), first, *initial]
    test = Block(arg_types=[SCALAR, BOOL, *_types(initial)])
    at_test = n.builder_at(test)
    goes_on: SSAValue = test.args[1]
    if limit is not None:
        goes_on = at_test.logical_and(goes_on, at_test.compare("lt", test.args[0], limit))
    at_test.yield_([goes_on])
    body.block.insert_arg(BOOL, 1)
    at_end = n.builder_at(body.block)
    following = at_end.add(body.block.args[0], 1)
    at_end.yield_([following, body.condition, *body.carried])
    op = graph.WhileOp(carried, Region(test), Region(body.block))
    return n.builder.insert(op).outs[2:]


def _unrolled(
    n: Node, body: onnx.GraphProto, initial: list[Entry], limit: int | None
) -> list[Entry]:
    """The iterations one after another: values may change type, or be sequences."""
    if limit is None:
        if not n.has(0):
            raise n.error("its values change type, so it needs a known trip count")
        if n.known(0) is None:
            raise n.needs(0, "the trip count of a loop whose values change type")
        limit = UNROLL_LIMIT
    goes_on = True
    if n.has(1):
        goes_on = bool(n.need_known(1, "the condition of an unrolled loop").item())
    carried = list(initial)
    stacks: list[list[SSAValue]] = [[] for _ in range(len(body.output) - 1 - len(initial))]
    count = 0
    while goes_on and count < limit:
        if count == UNROLL_LIMIT:
            raise n.error(f"its values change type, over more than {UNROLL_LIMIT} iterations")
        fixed = [known_tensor(n, np.int64(count)), known_tensor(n, np.bool_(True))]
        outputs = n.import_subgraph(body, [*fixed, *carried], n.scope.block)
        goes_on = _known_condition(n, outputs[0])
        carried = outputs[1 : 1 + len(initial)]
        for stack, value in zip(stacks, outputs[1 + len(initial) :], strict=True):
            if not isinstance(value, SSAValue):
                raise n.error("it collects sequences")
            stack.append(value)
        count += 1
    return [*carried, *(_stacked(n, stack) for stack in stacks)]


def _known_condition(n: Node, entry: Entry) -> bool:
    known = n.scope.session.contents.known(entry) if isinstance(entry, SSAValue) else None
    if known is None:
        raise n.error("its values change type and its end depends on data")
    return bool(known.item())


def _stacked(n: Node, values: list[SSAValue]) -> SSAValue:
    if not values:
        raise n.error("it collects nothing in no iteration; its shape is unknown")
    return n.builder.concat([n.builder.unsqueeze(value, [0]) for value in values], 0)


@operator("SequenceMap", since=17)
def sequence_map(n: Node) -> list[SequenceValue]:
    """The body once for each element."""
    body: onnx.GraphProto = n.required("body")
    length = len(n.sequence(0).items)
    results: list[list[SSAValue]] = [[] for _ in body.output]
    for index in range(length):
        outputs = n.import_subgraph(body, _row(n, index), n.scope.block)
        for result, value in zip(results, outputs, strict=True):
            if not isinstance(value, SSAValue):
                raise n.error("its body gives sequences")
            result.append(value)
    kinds = [TensorType.of((), "f32")] * len(results)
    return [
        SequenceValue(values, tensor_type(values[0]) if values else kind)
        for values, kind in zip(results, kinds, strict=True)
    ]


def _row(n: Node, index: int) -> list[Entry]:
    """The body's arguments: an element of each sequence, tensors as they are."""
    row: list[Entry] = []
    for i in range(n.count):
        entry = n.entry(i)
        if isinstance(entry, SequenceValue):
            if index >= len(entry.items):
                raise n.error(f"sequence '{n.inputs[i]}' is shorter than the first")
            row.append(entry.items[index])
        else:
            row.append(entry)
    return row
