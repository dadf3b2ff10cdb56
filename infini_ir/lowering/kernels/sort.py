"""Stable sorting: blocks ranked by counting, then merged.

The first kernel sorts blocks of up to 64 elements: each element counts how many of its block
come before it. Each merge pass doubles the sorted runs: an element finds by binary search
how many of the neighbouring run come before it, and with its place in its own run that is
its place in the merged one. Two passes an iteration take the result back where it began.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects import arith
from xdsl.ir import Block, Region, SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.tile import ViewType, program
from infini_ir.lowering.domain import Axis, merged, sorted_by
from infini_ir.lowering.host_builder import HostBuilder, label_of, lowers, origin_of
from infini_ir.lowering.kernel_builder import KernelBuilder, Position
from infini_ir.lowering.kernels.combining import accumulation_type, comes_before
from infini_ir.lowering.kernels.positions import axes_from
from infini_ir.lowering.placement import Placement
from infini_ir.lowering.scalar_builder import ScalarBuilder
from infini_ir.utils.symbolic import ONE, ZERO, Dim, minimum

BLOCK = 32
"""Elements of a block that the first kernel sorts by counting; the work is its square."""

LARGEST_BLOCK = 64
"""A whole axis of a known size up to this is one block."""


@dataclass(frozen=True)
class _Sort:
    """What is sorted: the keys' dtypes first, then those of what moves along."""

    op: graph.SortOp
    dtypes: tuple[str, ...]
    length: Dim
    loops: tuple[Axis, ...]
    """The other axes; operands: targets, sources, scratch."""

    @property
    def keys(self) -> range:
        return range(self.op.keys.value.data)

    @property
    def descending(self) -> bool:
        return self.op.descending is not None


@lowers(graph.SortOp)
def lower_sort(op: graph.SortOp, host: HostBuilder) -> None:
    axis, count = op.axis.value.data, len(op.inputs)
    sources = [host.placement(value) for value in op.inputs]
    targets = [host.destination(value) for value in op.outs]
    length = sources[0].shape[axis]
    if sources[0].is_empty():
        return
    block = length if _is_small(length) else Dim.of(BLOCK)
    merges = _iterations(length, block)
    others = [i for i in range(sources[0].rank) if i != axis]
    dense = [*others, axis]
    scratch = (
        []
        if merges is ZERO
        else [host.alloc([t.shape[i] for i in dense], t.dtype) for t in targets]
    )
    every = [p.transposed(dense) for p in (*targets, *sources)] + scratch
    sizes = every[0].shape[:-1]
    loops = merged(sorted_by(axes_from(sizes, *[p.strides[:-1] for p in every]), 0))
    sort = _Sort(op, tuple(p.dtype for p in sources), length, tuple(loops))
    first, second = every[:count], every[2 * count :]
    _sort_blocks(sort, host, first, every[count : 2 * count], block)
    if merges is not ZERO:
        _merge_all(sort, host, first, second, block, merges)


def _is_small(length: Dim) -> bool:
    return length.value is not None and length.value <= LARGEST_BLOCK


def _iterations(length: Dim, block: Dim) -> Dim:
    """How many times the sorted runs must become four times as long: the number of j with
    `block * 4**j < length`."""
    total, width = ZERO, block
    if length.value is not None:
        while width.value is not None and width.value < length.value:
            total, width = total + 1, width * 4
        return total
    for _ in range(24):
        total = total + minimum(ONE, (length - 1) // width)
        width = width * 4
    return total


def _views(
    sort: _Sort, host: HostBuilder, placements: Sequence[Placement], group: int
) -> tuple[list[ViewType], list[SSAValue]]:
    """Types and views of one group of operands: 0 targets, 1 sources, 2 scratch."""
    types: list[ViewType] = []
    views: list[SSAValue] = []
    shape = [*(loop.size for loop in sort.loops), sort.length]
    for i, p in enumerate(placements):
        number = group * len(placements) + i
        strides = [*(loop.strides[number] for loop in sort.loops), p.strides[-1]]
        types.append(ViewType.of(shape, p.dtype, strides))
        views.append(host.view(p, shape, strides))
    return types, views


def _keys_before(s: ScalarBuilder, sort: _Sort, a: Sequence[SSAValue], b: Sequence[SSAValue]):
    """Whether one tuple of keys sorts strictly before another."""

    def before(x: SSAValue, y: SSAValue, dtype: str) -> SSAValue:
        return comes_before(s, x, y, dtype, descending=sort.descending)

    def wide(x: SSAValue, dtype: str) -> SSAValue:
        widened = accumulation_type(dtype)
        return x if widened == dtype else s.widen(x, widened)

    pairs = [
        (wide(x, sort.dtypes[i]), wide(y, sort.dtypes[i]), sort.dtypes[i])
        for i, x, y in zip(sort.keys, a, b, strict=True)
    ]
    *rest, last = pairs
    result = before(*last)
    for x, y, dtype in reversed(rest):
        equal = s.not_(before(y, x, dtype))
        result = s.or_(before(x, y, dtype), s.and_(equal, result))
    return result


# Blocks -----------------------------------------------------------------------------------


def _sort_blocks(
    sort: _Sort,
    host: HostBuilder,
    targets: Sequence[Placement],
    sources: Sequence[Placement],
    block: Dim,
) -> None:
    out_types, out_views = _views(sort, host, targets, 0)
    in_types, in_views = _views(sort, host, sources, 1)
    k = KernelBuilder(
        "sort_blocks",
        [*out_types, *in_types],
        [*(loop.size for loop in sort.loops), sort.length],
        [*["1"] * len(sort.loops), block],
        origin_of(sort.op),
    )
    _write_blocks(k, sort, block)
    host.launch(k, [*out_views, *in_views], label_of(sort.op))


def _write_blocks(k: KernelBuilder, sort: _Sort, block: Dim) -> None:
    count, keys = len(sort.dtypes), len(sort.keys)
    outs, ins = k.views[:count], k.views[count:]
    *outer, start = k.offsets
    axis = len(outer)
    held = [k.load(view, k.offsets, [axis], [block]) for view in ins]

    def body(s: ScalarBuilder, rank: SSAValue, number: SSAValue, *values: SSAValue):
        own, other = values[:keys], values[keys:]
        before = _keys_before(s, sort, other, own)
        after = _keys_before(s, sort, own, other)
        first = s.compare("lt", number, s.coord(0))
        counts = s.or_(before, s.and_(s.not_(after), first))
        one = s.add(rank, s.constant(1, "i64"))
        return [s.select(counts, one, rank)]

    def step(number: SSAValue, rank: SSAValue) -> Sequence[SSAValue]:
        place = [*outer, k.add(start, number)]
        others = [k.load(view, place, [], []) for view in ins[:keys]]
        inputs = [rank, number, *held[:keys], *others]
        dims = [[0], [], *[[0]] * keys, *[[]] * keys]
        return k.map(inputs, dims, ["i64"], [block], body)

    here = k.min(block, k.sub(sort.length, start))
    (rank,) = k.for_(here, 1, [k.full(k.from_index(start), [block], "i64")], step)
    for value, view in zip(held, outs, strict=True):
        k.scatter(value, view, [*outer, rank], [*[[] for _ in outer], [0]])


# Merging ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Run:
    """Symbols of a merge pass: the length of the sorted runs (a power of two), and how many
    steps a binary search in one takes."""

    width: Dim
    steps: Dim


def _merge_all(
    sort: _Sort,
    host: HostBuilder,
    first: Sequence[Placement],
    second: Sequence[Placement],
    block: Dim,
    iterations: Dim,
) -> None:
    turn = host.fresh_symbol("sort_turn")
    run = _Run(host.fresh_symbol("sort_run"), host.fresh_symbol("sort_steps"))
    for symbol in (turn, run.width, run.steps):
        host.declare(str(symbol))
    _, here = _views(sort, host, first, 0)
    _, there = _views(sort, host, second, 2)
    steps = BLOCK.bit_length()
    body = Block()
    with host.inside(body):
        host.emit(program.SetOp(str(run.steps), turn * 2 + steps))
        _merge_pass(sort, host, here, there, run)
        host.emit(program.SetOp(str(run.width), run.width * 2))
        host.emit(program.SetOp(str(run.steps), turn * 2 + steps + 1))
        _merge_pass(sort, host, there, here, run)
        host.emit(program.SetOp(str(run.width), run.width * 2))
    host.emit(program.SetOp(str(run.width), block))
    host.emit(program.LoopOp(str(turn), iterations, Region(body)))


def _merge_pass(
    sort: _Sort,
    host: HostBuilder,
    source: Sequence[SSAValue],
    target: Sequence[SSAValue],
    run: _Run,
) -> None:
    types = [view.type for view in (*target, *source)]
    k = KernelBuilder(
        "merge_runs",
        types,  # pyright: ignore[reportArgumentType]
        [*(loop.size for loop in sort.loops), sort.length],
        [*["1"] * len(sort.loops), "BC"],
        origin_of(sort.op),
    )
    _write_merge(k, sort, run)
    host.launch(k, [*target, *source], label_of(sort.op))


def _write_merge(k: KernelBuilder, sort: _Sort, run: _Run) -> None:
    """Each element goes to its place in the pair of runs that it is in."""
    count = len(sort.dtypes)
    outs, ins = k.views[:count], k.views[count:]
    *outer, start = k.offsets
    held = [k.load(view, k.offsets, [len(outer)], ["BC"]) for view in ins]
    sizes = [k.from_index(k.size(run.width)), k.from_index(k.size(sort.length))]
    pair = k.map(
        [held[0], start, *sizes],
        [[0], [], [], []],
        ["i64", "i64", "i1", "i64"],
        ["BC"],
        _place_in_pair,
    )

    def step(number: SSAValue, found: SSAValue) -> Sequence[SSAValue]:
        jump = k.emit(arith.ShRUIOp(k.size(run.width), number))
        return [_search_step(k, sort, held, pair, found, k.from_index(jump))]

    (found,) = k.for_(run.steps, 1, [k.full(0, ["BC"], "i64")], step)
    (place,) = k.map(
        [pair[3], found], [[0], [0]], ["i64"], ["BC"], lambda s, own, more: [s.add(own, more)]
    )
    for value, view in zip(held, outs, strict=True):
        k.scatter(value, view, [*outer, place], [*[[] for _ in outer], [0]])


def _place_in_pair(
    s: ScalarBuilder, key: SSAValue, start: SSAValue, width: SSAValue, length: SSAValue
) -> list[SSAValue]:
    """Of an element's other run: where it begins and how many it has; whether the element
    is in the left run; and where the element would go if all of the other run came after."""
    place = s.from_index(s.add(start, s.coord(0)), "i64")
    run = s.div(place, width, unsigned=True)
    odd = s.and_(run, s.constant(1, "i64"))
    is_left = s.compare("eq", odd, s.constant(0, "i64"))
    pair = s.mul(s.sub(run, odd), width)
    right = s.add(pair, width)
    rest = s.max(s.min(s.sub(length, right), width), s.constant(0, "i64"))
    own = s.sub(place, s.mul(run, width))
    begin, room = s.select(is_left, right, pair), s.select(is_left, rest, width)
    return [begin, room, is_left, s.add(pair, own)]


def _search_step(
    k: KernelBuilder,
    sort: _Sort,
    held: Sequence[SSAValue],
    pair: Sequence[SSAValue],
    found: SSAValue,
    jump: SSAValue,
) -> SSAValue:
    """How many of the other run are known to come first, after looking `jump` further."""
    keys = len(sort.keys)
    begin, room, is_left, _ = pair

    def probe(
        s: ScalarBuilder, found: SSAValue, begin: SSAValue, room: SSAValue, jump: SSAValue
    ) -> list[SSAValue]:
        further = s.add(found, jump)
        inside = s.compare("le", further, room)
        place = s.sub(s.add(begin, further), s.constant(1, "i64"))
        return [s.select(inside, place, s.constant(0, "i64")), inside]

    def take(
        s: ScalarBuilder,
        found: SSAValue,
        inside: SSAValue,
        left: SSAValue,
        jump: SSAValue,
        *values: SSAValue,
    ) -> list[SSAValue]:
        own, other = values[:keys], values[keys:]
        # An element of the left run follows those strictly before it; one of the right run
        # follows also those equal to it.
        before = _keys_before(s, sort, other, own)
        not_after = s.not_(_keys_before(s, sort, own, other))
        counts = s.and_(inside, s.select(left, before, not_after))
        return [s.select(counts, s.add(found, jump), found)]

    place, inside = k.map(
        [found, begin, room, jump], [[0], [0], [0], []], ["i64", "i1"], ["BC"], probe
    )
    *outer, _ = k.offsets
    where: list[Position] = [*outer, place]
    dims: list[list[int]] = [*[[] for _ in outer], [0]]
    views = k.views[len(sort.dtypes) :][:keys]
    others = [k.gather(view, where, dims, ["BC"]) for view in views]
    inputs = [found, inside, is_left, jump, *held[:keys], *others]
    covers = [[0], [0], [0], [], *[[0]] * (2 * keys)]
    (result,) = k.map(inputs, covers, ["i64"], ["BC"], take)
    return result
