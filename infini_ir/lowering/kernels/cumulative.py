"""Running sums, products and extrema: a loop along the axis, a tile across it.

Programs share out the other axes; the last of them vectorises, unless the scanned axis is
the closest in memory: then each row goes element by element. Narrow floats accumulate in
f32 and round when they are stored.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.tile import ViewType
from infini_ir.lowering.domain import merged, sorted_by
from infini_ir.lowering.host_builder import HostBuilder, label_of, lowers, origin_of
from infini_ir.lowering.kernel_builder import KernelBuilder, Position
from infini_ir.lowering.kernels.combining import accumulation_type, combine, identity
from infini_ir.lowering.kernels.positions import axes_from
from infini_ir.lowering.scalar_builder import ScalarBuilder
from infini_ir.utils.symbolic import ONE, Dim

OUT, X = 0, 1


@lowers(graph.CumulativeOp)
def lower_cumulative(op: graph.CumulativeOp, host: HostBuilder) -> None:
    x, axis = host.placement(op.x), op.axis.value.data
    out = host.destination(op.out)
    if out.is_empty():
        return
    others = [i for i in range(x.rank) if i != axis]
    loops = merged(
        sorted_by(
            axes_from(
                [x.shape[i] for i in others],
                [out.strides[i] for i in others],
                [x.strides[i] for i in others],
            ),
            OUT,
        )
    )
    sizes = [loop.size for loop in loops]
    shape = [*sizes, x.shape[axis]]
    strides = [
        [*(loop.strides[number] for loop in loops), p.strides[axis]]
        for number, p in enumerate((out, x))
    ]
    types = [
        ViewType.of(shape, p.dtype, step) for p, step in zip((out, x), strides, strict=True)
    ]
    across = bool(loops) and x.strides[axis] is not ONE
    steps = ["1"] * (len(loops) - across) + ["BC"] * across
    k = KernelBuilder("cumulative", types, sizes, steps, origin_of(op))
    _write(k, op, x.dtype, x.shape[axis], [len(loops) - 1] if across else [])
    views = [host.view(p, shape, step) for p, step in zip((out, x), strides, strict=True)]
    host.launch(k, views, label_of(op))


def _write(
    k: KernelBuilder,
    op: graph.CumulativeOp,
    dtype: str,
    length: Dim,
    across: Sequence[int],
) -> None:
    """`across`: the axis of the tile, none where elements are taken one by one."""
    kind, wide = op.kind.data.name, accumulation_type(dtype)
    out, x = k.views
    capacity = ["BC"] * len(across)
    dims = list(range(len(capacity)))

    def body(s: ScalarBuilder, total: SSAValue, value: SSAValue) -> Sequence[SSAValue]:
        if wide != dtype:
            value = s.widen(value, wide)
        after = combine(s, kind, total, value, dtype)
        stored = total if op.exclusive is not None else after
        return [after, s.narrow(stored, dtype) if wide != dtype else stored]

    def step(number: SSAValue, total: SSAValue) -> list[SSAValue]:
        where: Position = number
        if op.reverse is not None:
            where = k.sub(k.sub(length, 1), number)
        offsets = [*k.offsets, where]
        value = k.load(x, offsets, across, capacity)
        after, stored = k.map([total, value], [dims, dims], [wide, dtype], capacity, body)
        k.store(stored, out, offsets, across)
        return [after]

    k.for_(length, 1, [k.full(identity(kind, wide), capacity, wide)], step)
