"""Scatters: the operand in its new place, then the updates one after another.

Programs share out the elements of a slice and go through the updates in order, so equal
positions meet as the definition says. Updates of single elements run in one program.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith
from xdsl.ir import SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph import tensor_type
from infini_ir.dialects.tile import ViewType
from infini_ir.lowering.domain import Axis, merged, sorted_by
from infini_ir.lowering.host_builder import (
    HostBuilder,
    label_of,
    lowers,
    origin_of,
    places_operand,
)
from infini_ir.lowering.kernel_builder import KernelBuilder, Position
from infini_ir.lowering.kernels.joining import put
from infini_ir.lowering.kernels.positions import (
    as_i64,
    axes_from,
    nested_loops,
    read_index,
    strides_along,
)
from infini_ir.lowering.placement import Placement
from infini_ir.lowering.scalar_builder import ScalarBuilder
from infini_ir.utils.symbolic import Dim

OUT, UPDATES = 0, 1
"""The operands of the loops over a slice."""

INDICES = 0
"""Beside the updates, the operand of the loops over index tuples."""


@places_operand(graph.ScatterNdOp)
def place_in_result(op: graph.ScatterNdOp, index: int, host: HostBuilder) -> Placement | None:
    """An operand that nothing else uses becomes the result in place."""
    if index != 0 or not op.x.has_one_use():
        return None
    return host.early_destination(op.out)


@lowers(graph.ScatterNdOp)
def lower_scatter_nd(op: graph.ScatterNdOp, host: HostBuilder) -> None:
    out, label = host.destination(op.out), label_of(op)
    put(host, op.x, out, label)
    indices, updates = host.placement(op.indices), host.placement(op.updates)
    if out.is_empty() or updates.is_empty():
        return
    depth = graph.index_depth(tensor_type(op.indices))
    queries = range(indices.rank - 1)
    inner = [*range(indices.rank - 1, updates.rank)]
    slices = merged(
        sorted_by(
            axes_from(
                out.shape[depth:],
                out.strides[depth:],
                strides_along(updates, inner),
            ),
            OUT,
        )
    )
    tuples = merged(
        axes_from(
            [indices.shape[i] for i in queries],
            [indices.strides[i] for i in queries],
            [updates.strides[i] for i in queries],
        )
    )
    _launch(op, host, (out, indices, updates), depth, slices, tuples)


def _launch(
    op: graph.ScatterNdOp,
    host: HostBuilder,
    operands: tuple[Placement, Placement, Placement],
    depth: int,
    slices: Sequence[Axis],
    tuples: Sequence[Axis],
) -> None:
    out, indices, _ = operands
    sizes, counts = [axis.size for axis in slices], [axis.size for axis in tuples]
    shapes = [
        (
            [*out.shape[:depth], *sizes],
            [*out.strides[:depth], *(axis.strides[OUT] for axis in slices)],
        ),
        (
            [*counts, Dim.of(depth)],
            [*(axis.strides[INDICES] for axis in tuples), indices.strides[-1]],
        ),
        (
            [*counts, *sizes],
            [axis.strides[UPDATES] for axis in (*tuples, *slices)],
        ),
    ]
    types = [ViewType.of(s, p.dtype, t) for p, (s, t) in zip(operands, shapes, strict=True)]
    steps = ["1"] * (len(slices) - 1) + ["BC"] * min(1, len(slices))
    k = KernelBuilder("scatter", types, sizes, steps, origin_of(op))
    write = _write_slices if slices else _write_elements
    write(k, op, indices.dtype, out.shape[:depth], slices, tuples)
    k.serial = not slices
    views = [host.view(p, s, t) for p, (s, t) in zip(operands, shapes, strict=True)]
    host.launch(k, views, label_of(op))


def _write_slices(
    k: KernelBuilder,
    op: graph.ScatterNdOp,
    dtype: str,
    heads: Sequence[Dim],
    slices: Sequence[Axis],
    tuples: Sequence[Axis],
) -> None:
    """Each program: its run of every slice. A run begins at the end of the slice where the
    position is outside, so that nothing is left of it."""
    out, indices, updates = k.views
    *outer, first = k.offsets
    end = slices[-1].size

    def body(positions: list[SSAValue]) -> None:
        places: list[Position] = []
        start = first
        for number, size in enumerate(heads):
            place = read_index(k, indices, [*positions, number], dtype)
            inside = k.emit(arith.CmpiOp(place, k.index(size), "ult"))
            start = k.emit(arith.SelectOp(inside, start, k.index(end)))
            places.append(k.emit(arith.SelectOp(inside, place, k.index(0))))
        last = len(positions) + len(outer)
        run = k.load(updates, [*positions, *outer, start], [last], ["BC"])
        where = [*places, *outer, start]
        k.store(run, out, where, [len(where) - 1], op.combine.data.name)

    nested_loops(k, [axis.size for axis in tuples], body)


def _write_elements(
    k: KernelBuilder,
    op: graph.ScatterNdOp,
    dtype: str,
    heads: Sequence[Dim],
    slices: Sequence[Axis],
    tuples: Sequence[Axis],
) -> None:
    """The updates in runs along the last axis of the index tuples, in order."""
    out, indices, updates = k.views
    capacity: list[str | int | Dim] = ["BC"] if tuples else []

    def write(positions: Sequence[Position]) -> None:
        axes = [len(positions) - 1] if tuples else []
        dims = list(range(len(capacity)))
        places = []
        for number in range(len(heads)):
            raw = k.load(indices, [*positions, number], axes, capacity)
            places += k.map([raw], [dims], ["i64"], capacity, widen)
        values = k.load(updates, positions, axes, capacity)
        k.scatter(values, out, places, [dims] * len(places), op.combine.data.name)

    def widen(s: ScalarBuilder, value: SSAValue) -> list[SSAValue]:
        return [as_i64(s, value, dtype)]

    def runs(positions: list[SSAValue]) -> None:
        def step(position: SSAValue) -> list[SSAValue]:
            write([*positions, position])
            return []

        k.for_(tuples[-1].size, "BC", [], step)

    if tuples:
        nested_loops(k, [axis.size for axis in tuples[:-1]], runs)
    else:
        write([])
