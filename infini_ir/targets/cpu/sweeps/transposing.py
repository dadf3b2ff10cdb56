"""Sweeps whose values lie along one axis in memory and whose results lie along another.

A block of as many vectors as a vector has lanes is computed along the axis of the operands,
transposed in registers by shuffles, and stored along the axis of the result. A vector of 16
takes 64 shuffles for 256 elements; a gather would take some 20 cycles for each 16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from xdsl.ir import SSAValue

from infini_ir.targets.cpu.kernel.sources import (
    Coordinate,
    MapSource,
    MemorySource,
    Point,
    ScalarSource,
)
from infini_ir.targets.cpu.llvm.writer import ONE, ZERO, V, integer

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter

Targets = Sequence[tuple[SSAValue, MemorySource]]

_GROUP = 4
"""Lanes of 128 bits of f32, inside which shuffles are cheapest."""


def operand_axis(
    e: KernelEmitter, targets: Targets, extents: Sequence[V], axis: int
) -> int | None:
    """The axis to compute along and transpose: `unit_axis`, if blocks are filled well."""
    other = unit_axis(e, targets, extents, axis)
    if other is None:
        return None
    sizes = (extents[axis].number, extents[other].number)
    short = any(size is not None and int(size) < e.lanes // 2 for size in sizes)
    return None if short else other


def unit_axis(
    e: KernelEmitter, targets: Targets, extents: Sequence[V], axis: int
) -> int | None:
    """The axis that the operands have stride 1 along where that is not `axis`, the one of
    the results; None where going along `axis` is as good."""
    found: set[int] = set()
    along = 0
    for value, memory in targets:
        if memory.element == "i1" or memory.strides[axis].number != 1:
            return None
        leaves: list[tuple[MemorySource, tuple[int, ...]]] = []
        if not _leaves(e, value, tuple(range(len(extents))), leaves):
            return None
        for source, axes in leaves:
            strides = dict(zip(axes, source.strides, strict=True))
            step = strides.get(axis, ZERO).number
            unit = [a for a, s in strides.items() if s.number == 1 and a != axis]
            if step == 1:
                along += len(axes) > 1
            elif step != 0 and unit:
                found.add(unit[-1])
            elif step != 0:
                return None
    return found.pop() if len(found) == 1 and along <= len(targets) else None


def _leaves(
    e: KernelEmitter,
    value: SSAValue,
    axes: tuple[int, ...],
    leaves: list[tuple[MemorySource, tuple[int, ...]]],
) -> bool:
    """The memory that a value is computed from; False where something else than memory is."""
    source = e.sources.get(value)
    if isinstance(source, ScalarSource):
        return True
    if isinstance(source, MemorySource):
        leaves.append((source, axes))
        return source.element != "i1"
    if not isinstance(source, MapSource):
        return False
    return all(
        _leaves(e, operand, tuple(axes[d] for d in dims), leaves)
        for operand, dims in zip(source.op.inputs, source.op.dim_lists, strict=True)
        if operand in e.sources
    )


def transposing_sweep(
    e: KernelEmitter, targets: Targets, extents: Sequence[V], axis: int, other: int
) -> None:
    """Compute values along `other`, and store them along `axis`."""
    outer = [a for a in range(len(extents)) if a not in (axis, other)]
    in_pairs = _in_pairs(e, targets, extents[axis])
    block = _block_of_pairs if in_pairs else _block

    def plane(point: Point) -> None:
        def rows(first: V, count: V | None) -> None:
            _pieces(
                e,
                extents[other],
                e.lanes,
                lambda begin, width: block(
                    e, targets, point, (axis, first, count), (other, begin, width)
                ),
            )

        _pieces(e, extents[axis], 2 * e.lanes if in_pairs else e.lanes, rows)

    e.nest(extents, outer, [None] * len(extents), plane)


def _in_pairs(e: KernelEmitter, targets: Targets, extent: V) -> bool:
    """Whether two neighbours along the axis of the results take a lane of a vector."""
    return (
        e.features.has_avx512
        and all(memory.element in ("half", "bfloat", "i16") for _, memory in targets)
        and (extent.number is None or int(extent.number) > e.lanes)
    )


def _pieces(
    e: KernelEmitter, extent: V, size: int, body: Callable[[V, V | None], None]
) -> None:
    """The body for (begin, None) of whole pieces, then for what is left of the extent."""
    if extent.number is not None:
        whole = integer(int(extent.number) // size * size)
        rest: V = integer(int(extent.number) % size)
    else:
        whole = e.f.assign(f"and i64 {extent.text}, {-size}", "i64")
        rest = e.f.sub(extent, whole)

    def scoped(begin: V, count: V | None) -> None:
        level = e.enter()
        body(begin, count)
        e.leave(level)

    e.f.loop(whole, lambda i: scoped(i, None), step=size, hint="block")
    e.f.when(e.f.compare("sgt", rest, ZERO), lambda: scoped(whole, rest), "edge")


Range = tuple[int, V, V | None]
"""An axis, the first position of a block along it, and how many there are (None: all)."""


def _block(
    e: KernelEmitter,
    targets: Targets,
    point: Point,
    rows: Range,
    columns: Range,
) -> None:
    """A square block of vectors."""
    if not e.features.has_avx512 and (rows[2] is not None or columns[2] is not None):
        _single(e, targets, point, rows, columns)
        return
    read = _read_rows(e, targets, point, rows, columns, e.lanes)
    _store_columns(
        e, targets, point, rows, columns, [transposed(e, vectors) for vectors in read]
    )


def _block_of_pairs(
    e: KernelEmitter,
    targets: Targets,
    point: Point,
    rows: Range,
    columns: Range,
) -> None:
    """A block of elements of 16 bits: twice as many along the axis of the results."""
    lanes = e.lanes
    made: list[list[V]] = []
    read = _read_rows(e, targets, point, rows, columns, 2 * lanes)
    for vectors, (_, memory) in zip(read, targets, strict=True):
        words = [_cast(e, vector, "i16", lanes) for vector in vectors]
        pairs = [interleaved(e, *words[i : i + 2]) for i in range(0, 2 * lanes, 2)]
        columns_of_pairs = transposed(e, pairs)
        made.append([_cast(e, pair, memory.element, 2 * lanes) for pair in columns_of_pairs])
    e.lanes = 2 * lanes
    _store_columns(e, targets, point, rows, columns, made)
    e.lanes = lanes


def _cast(e: KernelEmitter, vector: V, element: str, lanes: int) -> V:
    return e.f.assign(f"bitcast {vector.typed} to <{lanes} x {element}>", element, lanes)


def _read_rows(
    e: KernelEmitter,
    targets: Targets,
    point: Point,
    rows: Range,
    columns: Range,
    number: int,
) -> list[list[V]]:
    """For each target the vectors along the columns of so many rows."""
    (axis, first, count), (other, begin, width) = rows, columns
    read: list[list[V]] = [[] for _ in targets]
    last = None if count is None else e.f.sub(e.f.add(first, count), ONE)
    e.mask = None if width is None else e.f.first_lanes(width, e.lanes)
    for i in range(number):
        position = e.f.add(first, integer(i))
        if last is not None:
            # Past the end the last one is read again, and not stored.
            position = e.f.min(position, last)
        at = [*point]
        at[axis], at[other] = Coordinate(position), Coordinate(begin, True)
        for vectors, (value, _) in zip(read, targets, strict=True):
            vectors.append(e.f.splat(e.element(value, tuple(at)), e.lanes))
    return read


def _store_columns(
    e: KernelEmitter,
    targets: Targets,
    point: Point,
    rows: Range,
    columns: Range,
    made: Sequence[Sequence[V]],
) -> None:
    """Store for each target its vectors along the rows, as far as there are columns."""
    (axis, first, count), (other, begin, width) = rows, columns
    for i in range(len(made[0])):
        if width is not None and width.number is not None and i >= int(width.number):
            break
        e.mask = _stored(e, count, width, i)
        at = [*point]
        at[axis], at[other] = Coordinate(first, True), Coordinate(e.f.add(begin, integer(i)))
        for vectors, (_, memory) in zip(made, targets, strict=True):
            memory.store(e, tuple(at), vectors[i])
    e.mask = None


def interleaved(e: KernelEmitter, a: V, b: V) -> V:
    """Two vectors of 16-bit words as one of pairs of 32 bits."""
    lanes = a.lanes
    numbers = ", ".join(f"i32 {i}, i32 {i + lanes}" for i in range(lanes))
    words = e.f.assign(
        f"shufflevector {a.typed}, {b.typed}, <{2 * lanes} x i32> <{numbers}>", "i16", 2 * lanes
    )
    return e.f.assign(f"bitcast {words.typed} to <{lanes} x i32>", "i32", lanes)


def _stored(e: KernelEmitter, count: V | None, width: V | None, i: int) -> V | None:
    """The lanes that exist of the result's vector number i."""
    if width is None or width.number is not None:
        return None if count is None else e.f.first_lanes(count, e.lanes)
    exists = e.f.compare("slt", integer(i), width)
    number = integer(e.lanes) if count is None else count
    shown = e.f.assign(f"select {exists.typed}, {number.typed}, i64 0", "i64")
    return e.f.first_lanes(shown, e.lanes)


def _single(
    e: KernelEmitter,
    targets: Targets,
    point: Point,
    rows: Range,
    columns: Range,
) -> None:
    """What is left beside whole blocks, one by one."""

    def along(given: Range, body: Callable[[V], None]) -> None:
        _, start, count = given
        end = e.f.add(start, integer(e.lanes) if count is None else count)
        e.f.loop(end, body, start=start, hint="single")

    def one(i: V, j: V) -> None:
        level = e.enter()
        at = [*point]
        at[rows[0]], at[columns[0]] = Coordinate(i), Coordinate(j)
        results = [e.element(value, tuple(at)) for value, _ in targets]
        for result, (_, memory) in zip(results, targets, strict=True):
            memory.store(e, tuple(at), result)
        e.leave(level)

    along(rows, lambda i: along(columns, lambda j: one(i, j)))


def transposed(e: KernelEmitter, rows: Sequence[V]) -> list[V]:
    """The columns of a square of vectors, by shuffles inside 128 bits and then of 128 bits."""
    lanes = len(rows)
    groups = lanes // _GROUP
    quads: list[list[V]] = []
    for k in range(0, lanes, _GROUP):
        r = rows[k : k + _GROUP]
        a, b = (_merge(e, r[0], r[1], pick) for pick in _SINGLES)
        c, d = (_merge(e, r[2], r[3], pick) for pick in _SINGLES)
        quads.append([_merge(e, x, y, pick) for x, y in ((a, c), (b, d)) for pick in _PAIRS])
    columns: list[V | None] = [None] * lanes
    for j in range(_GROUP):
        for g, column in enumerate(_blocks_transposed(e, [quad[j] for quad in quads])):
            columns[g * _GROUP + j] = column
    assert groups in (1, 2, 4)
    return [column for column in columns if column is not None]


_SINGLES = (((0, 0), (1, 0), (0, 1), (1, 1)), ((0, 2), (1, 2), (0, 3), (1, 3)))
"""unpcklps, unpckhps: (operand, lane) for each lane of a group of four."""

_PAIRS = (((0, 0), (0, 1), (1, 0), (1, 1)), ((0, 2), (0, 3), (1, 2), (1, 3)))
"""unpcklpd, unpckhpd."""


def _merge(e: KernelEmitter, a: V, b: V, pick: Sequence[tuple[int, int]]) -> V:
    """Four lanes of each group of four of a and b."""
    lanes = a.lanes
    numbers = [
        which * lanes + group + lane
        for group in range(0, lanes, _GROUP)
        for which, lane in pick
    ]
    return _shuffle(e, a, b, numbers)


def _shuffle(e: KernelEmitter, a: V, b: V, numbers: Sequence[int]) -> V:
    text = ", ".join(f"i32 {n}" for n in numbers)
    return e.f.assign(
        f"shufflevector {a.typed}, {b.typed}, <{len(numbers)} x i32> <{text}>", a.type, a.lanes
    )


def _blocks_transposed(e: KernelEmitter, rows: Sequence[V]) -> list[V]:
    """The columns of a square of groups of four lanes."""
    if len(rows) == 1:
        return list(rows)
    if len(rows) == 2:
        return [
            _groups(e, rows[0], rows[1], pick) for pick in (((0, 0), (1, 0)), ((0, 1), (1, 1)))
        ]
    halves = (((0, 0), (0, 1), (1, 0), (1, 1)), ((0, 2), (0, 3), (1, 2), (1, 3)))
    evens = (((0, 0), (0, 2), (1, 0), (1, 2)), ((0, 1), (0, 3), (1, 1), (1, 3)))
    columns: list[V] = []
    for half in halves:
        low, high = (_groups(e, rows[k], rows[k + 1], half) for k in (0, 2))
        columns += [_groups(e, low, high, pick) for pick in evens]
    return columns


def _groups(e: KernelEmitter, a: V, b: V, pick: Sequence[tuple[int, int]]) -> V:
    lanes = a.lanes
    numbers = [
        which * lanes + group * _GROUP + i for which, group in pick for i in range(_GROUP)
    ]
    return _shuffle(e, a, b, numbers)
