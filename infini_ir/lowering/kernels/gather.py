"""Gathers: elements or slices picked by index, the index clamped to its axis.

Where the innermost loop runs along a slice, each program reads its indices as scalars and
copies a run of the slice; where it runs along the indices, `tile.gather` picks elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import Operation, SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph import tensor_type
from infini_ir.dialects.tile import ViewType
from infini_ir.lowering.domain import Axis, merged, sorted_by
from infini_ir.lowering.host_builder import HostBuilder, label_of, lowers, origin_of
from infini_ir.lowering.kernel_builder import KernelBuilder, Position
from infini_ir.lowering.kernels.copy import fill
from infini_ir.lowering.kernels.positions import (
    axes_from,
    clamped,
    moving,
    positions_tile,
    read_clamped,
    strides_along,
)
from infini_ir.lowering.placement import Placement
from infini_ir.lowering.scalar_builder import ScalarBuilder
from infini_ir.utils.symbolic import ZERO, Dim

OUT, X, INDICES = 0, 1, 2
"""The operands of the loops."""


@dataclass(frozen=True)
class _Picked:
    """The axes of the operand that the indices address."""

    sizes: tuple[Dim, ...]
    strides: tuple[Dim, ...]


@lowers(graph.GatherOp)
def lower_gather(op: graph.GatherOp, host: HostBuilder) -> None:
    """The loops: axes before the gathered one, axes of the indices, axes after it."""
    x, indices = host.placement(op.x), host.placement(op.indices)
    out, axis = host.destination(op.out), op.axis.value.data
    before, after = range(axis), range(axis + 1, x.rank)
    absent: list[int | None] = [None] * indices.rank
    axes = axes_from(
        out.shape,
        out.strides,
        strides_along(x, [*before, *absent, *after]),
        strides_along(indices, [*[None] * axis, *range(indices.rank), *[None] * len(after)]),
    )
    picked = _Picked((x.shape[axis],), (x.strides[axis],))
    _launch(op, host, axes, (out, x, indices), picked, ZERO)


@lowers(graph.GatherNdOp)
def lower_gather_nd(op: graph.GatherNdOp, host: HostBuilder) -> None:
    """The loops: batch axes, the other axes of the indices, axes of a slice."""
    x, indices = host.placement(op.x), host.placement(op.indices)
    out, batch = host.destination(op.out), op.batch_dims.value.data
    depth = graph.index_depth(tensor_type(op.indices))
    queries = range(batch, indices.rank - 1)
    rest = range(batch + depth, x.rank)
    axes = axes_from(
        out.shape,
        out.strides,
        strides_along(x, [*range(batch), *[None] * len(queries), *rest]),
        strides_along(indices, [*range(batch), *queries, *[None] * len(rest)]),
    )
    picked = _Picked(x.shape[batch : batch + depth], x.strides[batch : batch + depth])
    _launch(op, host, axes, (out, x, indices), picked, indices.strides[-1])


def _launch(
    op: Operation,
    host: HostBuilder,
    axes: Sequence[Axis],
    operands: tuple[Placement, Placement, Placement],
    picked: _Picked,
    step: Dim,
) -> None:
    """`step` is the stride between the indices of one tuple."""
    out, _, indices = operands
    if any(size is ZERO for size in picked.sizes):
        fill(host, out, 0, label=label_of(op))
        return
    if out.is_empty():
        return
    loops = merged(sorted_by(axes, OUT))
    depth = Dim.of(len(picked.sizes))
    sizes = [axis.size for axis in loops]
    shapes = [
        (sizes, [axis.strides[OUT] for axis in loops]),
        (
            [*(sizes[i] for i in moving(loops, X)), *picked.sizes],
            [*(loops[i].strides[X] for i in moving(loops, X)), *picked.strides],
        ),
        (
            [*(sizes[i] for i in moving(loops, INDICES)), depth],
            [*(loops[i].strides[INDICES] for i in moving(loops, INDICES)), step],
        ),
    ]
    types = [ViewType.of(s, p.dtype, t) for p, (s, t) in zip(operands, shapes, strict=True)]
    steps = ["1"] * (len(loops) - 1) + ["BC"] * min(1, len(loops))
    name = op.name.removeprefix("graph.")
    k = KernelBuilder(name, types, sizes, steps, origin_of(op))
    if loops and loops[-1].strides[INDICES] is not ZERO:
        _gather_elements(k, loops, indices.dtype, picked)
    else:
        _copy_runs(k, loops, indices.dtype, picked)
    views = [host.view(p, s, t) for p, (s, t) in zip(operands, shapes, strict=True)]
    host.launch(k, views, label_of(op))


def _copy_runs(k: KernelBuilder, loops: Sequence[Axis], dtype: str, picked: _Picked) -> None:
    """The innermost loop (if any) runs along a slice."""
    out, x, indices = k.views
    head = [k.offsets[i] for i in moving(loops, INDICES)]
    places = [
        read_clamped(k, indices, [*head, number], dtype, size)
        for number, size in enumerate(picked.sizes)
    ]
    kept = moving(loops, X)
    last = len(loops) - 1
    offsets: list[Position] = [*(k.offsets[i] for i in kept), *places]
    if last >= 0 and last in kept:
        run = k.load(x, offsets, [kept.index(last)], ["BC"])
        k.store(run, out, k.offsets, [last])
        return
    element = k.load(x, offsets, [], [])
    if last < 0:
        k.store(element, out, [], [])
        return
    # The result repeats one element along its last axis.
    (run,) = k.map([element], [[]], [_dtype(out)], ["BC"], lambda s, e: [e])
    k.store(run, out, k.offsets, [last])


def _gather_elements(
    k: KernelBuilder, loops: Sequence[Axis], dtype: str, picked: _Picked
) -> None:
    """The innermost loop runs along the indices."""
    out, x, indices = k.views
    last = len(loops) - 1
    along = moving(loops, INDICES)
    head = [k.offsets[i] for i in along]
    positions: list[Position] = []
    dims: list[list[int]] = []
    for i in moving(loops, X):
        vector = i == last
        positions.append(positions_tile(k, k.offsets[i], "BC") if vector else k.offsets[i])
        dims.append([0] if vector else [])
    for number, size in enumerate(picked.sizes):
        raw = k.load(indices, [*head, number], [along.index(last)], ["BC"])

        def body(s: ScalarBuilder, value: SSAValue, size: SSAValue) -> list[SSAValue]:
            end = s.sub(s.from_index(size, "i64"), s.constant(1, "i64"))
            return [clamped(s, value, dtype, end)]

        (place,) = k.map([raw, k.size(size)], [[0], []], ["i64"], ["BC"], body)
        positions.append(place)
        dims.append([0])
    k.store(k.gather(x, positions, dims, ["BC"]), out, k.offsets, [last])


def _dtype(view: SSAValue) -> str:
    assert isinstance(view.type, ViewType)
    return view.type.dtype
