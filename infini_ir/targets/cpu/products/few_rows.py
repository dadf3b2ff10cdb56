"""Products of a few rows with a matrix whose k lies along its rows: decoding's scores.

Vectors run along k, the rows of the matrix are read once and in order, and the sums of as many
of them as a vector has lanes are added up together: halves, quarters and so on of all at once,
so that each stage has half as many vectors as the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xdsl.dialects.builtin import Float32Type

from infini_ir.dialects import tile
from infini_ir.targets.cpu.kernel.sources import Coordinate, MemorySource
from infini_ir.targets.cpu.llvm.writer import ONE, ZERO, V, integer
from infini_ir.targets.cpu.products.register_tile import widen

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter

FEW_ROWS = 8
"""Rows up to which this is faster than rows in lanes, most of which would be empty."""

MOST_DEPTH = 512
"""Elements along k up to which a row's are written out."""


def applies(e: KernelEmitter, op: tile.DotOp) -> bool:
    """Whether a product is one of these."""
    lhs, rhs = tile.tile_type(op.lhs), tile.tile_type(op.rhs)
    if op.transposed is None or lhs.rank != 2:
        return False
    rows, depth = (d.substitute(e.plan.substitution).value for d in lhs.shape)
    if rows is None or depth is None or rows > FEW_ROWS or not 0 < depth <= MOST_DEPTH:
        return False
    e.prepare(op.rhs)
    source = e.sources.get(op.rhs)
    return (
        isinstance(tile.tile_type(op.acc).element, Float32Type)
        and str(rhs.element) in ("f32", "bf16", "f16")
        and isinstance(source, MemorySource)
        and source.strides[1].number == 1
        and e.features.has_avx512
    )


def emit(e: KernelEmitter, op: tile.DotOp) -> None:
    """Compute such a product into scratch memory."""
    f = e.f
    e.prepare(op.lhs)
    e.prepare(op.acc)
    matrix = e.sources[op.rhs]
    assert isinstance(matrix, MemorySource)
    left = _in_f32(e, op)
    memory = e.scratch_tile(op.out)
    rows, depth = e.extents(op.lhs)[0], tile.tile_type(op.lhs).shape[1].value
    columns = e.extents(op.rhs)[0]
    assert depth is not None

    def block(first: V, count: V | None) -> None:
        def row(i: V) -> None:
            level = e.enter()
            sums = _sums(e, left, matrix, i, first, count and columns, depth)
            e.mask = None if count is None else f.first_lanes(count, e.lanes)
            point = (Coordinate(i), Coordinate(first, True))
            initial = f.splat(e.element(op.acc, point), e.lanes)
            kind = initial.full_type
            total = f.assign(f"fadd {kind} {initial.text}, {sums.text}", "float", e.lanes)
            memory.store(e, point, total)
            e.mask = None
            e.leave(level)

        f.loop(rows, row, hint="row")

    whole = f.mul(f.udiv(columns, integer(e.lanes)), integer(e.lanes))
    rest = f.sub(columns, whole)
    f.loop(whole, lambda j: block(j, None), step=e.lanes, hint="rows")
    f.when(f.compare("sgt", rest, ZERO), lambda: block(whole, rest), "edge")
    e.sources[op.out] = memory


def _in_f32(e: KernelEmitter, op: tile.DotOp) -> MemorySource:
    """The left operand row by row in f32."""
    source = e.sources[op.lhs]
    if (
        isinstance(source, MemorySource)
        and source.strides[1].number == 1
        and source.element == "float"
    ):
        return source
    known = e.operands.get(op.lhs)
    if known is not None:
        return known
    rows, depth = (d.substitute(e.plan.substitution) for d in tile.tile_type(op.lhs).shape)
    target = MemorySource(e.scratch(rows * depth * 4), (e.sizes.of(depth), ONE), "float", 4)
    extents = e.extents(op.lhs)

    def row(i: V) -> None:
        def piece(coordinate: Coordinate) -> None:
            point = (Coordinate(i), coordinate)
            target.store(e, point, widen(e, e.element(op.lhs, point), "float", False))

        e.vector_loop(extents[1], piece)

    e.f.loop(extents[0], row, hint="row")
    return target


def _sums(
    e: KernelEmitter,
    left: MemorySource,
    matrix: MemorySource,
    row: V,
    first: V,
    columns: V | None,
    depth: int,
) -> V:
    """Sums over k of a row with as many rows of the matrix as there are lanes; `columns`: how
    many there are, where it may be fewer: the last one then is read again."""
    f = e.f
    factors = _vectors(e, left, row, depth)
    totals: list[V] = []
    for i in range(e.lanes):
        number = f.add(first, integer(i))
        if columns is not None:
            number = f.min(number, f.sub(columns, ONE))
        total: V | None = None
        for a, b in zip(factors, _vectors(e, matrix, number, depth), strict=True):
            if total is None:
                text = f"fmul {a.full_type} {a.text}, {b.text}"
                total = f.assign(text, "float", e.lanes)
            elif e.features.has_fma:
                total = f.intrinsic("llvm.fma", [a, b, total], "float", e.lanes)
            else:
                more = f.assign(f"fmul {a.full_type} {a.text}, {b.text}", "float", e.lanes)
                text = f"fadd {total.full_type} {total.text}, {more.text}"
                total = f.assign(text, "float", e.lanes)
        assert total is not None
        totals.append(total)
    return added_up(e, totals)


def _vectors(e: KernelEmitter, source: MemorySource, row: V, depth: int) -> list[V]:
    """The elements of a row, in f32; zeros behind the last one."""
    f = e.f
    begin = f.gep(source.pointer, f.mul(row, source.strides[0]), source.element)
    found: list[V] = []
    for k in range(0, depth, e.lanes):
        mask = None
        if depth - k < e.lanes:
            mask = f.first_lanes(integer(depth - k), e.lanes)
        place = f.gep(begin, integer(k), source.element)
        value = f.load(place, source.element, e.lanes, source.align, mask)
        found.append(widen(e, value, "float", False))
    return found


def added_up(e: KernelEmitter, vectors: Sequence[V]) -> V:
    """For each of so many vectors as a vector has lanes the sum of its lanes, in order."""
    lanes, f = vectors[0].lanes, e.f
    parts, size = list(vectors), lanes
    while len(parts) > 1:
        half = size // 2
        picks = [
            [b * lanes + s + h * half + i for b in (0, 1) for s in range(0, lanes, size)
             for i in range(half)]
            for h in (0, 1)
        ]  # fmt: skip
        merged: list[V] = []
        for a, b in zip(parts[::2], parts[1::2], strict=True):
            low, high = (
                f.assign(
                    f"shufflevector {a.typed}, {b.typed}, <{lanes} x i32> "
                    f"<{', '.join(f'i32 {n}' for n in pick)}>",
                    "float",
                    lanes,
                )
                for pick in picks
            )
            text = f"fadd {low.full_type} {low.text}, {high.text}"
            merged.append(f.assign(text, "float", lanes))
        parts, size = merged, half
    return parts[0]
