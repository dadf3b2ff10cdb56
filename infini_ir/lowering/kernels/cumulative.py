"""Running sums, products and extrema.

Programs share out the other axes. Where the last of them is the closest in memory, a tile
across it goes along the axis element by element; else each row goes by chunks, which are
scanned, and the total so far is combined with each. Narrow floats accumulate in f32 and round
when they are stored.
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
    if across:
        _across(k, op, x.dtype, x.shape[axis])
    else:
        _along_rows(k, op, x.dtype, x.shape[axis])
    views = [host.view(p, shape, step) for p, step in zip((out, x), strides, strict=True)]
    host.launch(k, views, label_of(op))


def _along_rows(k: KernelBuilder, op: graph.CumulativeOp, dtype: str, length: Dim) -> None:
    kind, wide = op.kind.data.name, accumulation_type(dtype)
    reverse, exclusive = op.reverse is not None, op.exclusive is not None
    out, x = k.views
    scan = {"sum": "add", "prod": "mul"}.get(kind, kind)
    axis = [len(k.offsets)]
    # The first chunk is the last one of the row where it runs from the end.
    last = (length - 1) // Dim.symbol("BC") * Dim.symbol("BC")

    def join(s: ScalarBuilder, total: SSAValue, value: SSAValue) -> list[SSAValue]:
        return [combine(s, kind, total, value, dtype)]

    def stored(s: ScalarBuilder, total: SSAValue, value: SSAValue) -> list[SSAValue]:
        (joined,) = join(s, total, value)
        return [s.narrow(joined, dtype) if wide != dtype else joined]

    def step(number: SSAValue, total: SSAValue) -> list[SSAValue]:
        offsets = [*k.offsets, k.sub(last, number) if reverse else number]
        chunk = k.load(x, offsets, axis, ["BC"])
        if wide != dtype:
            (chunk,) = k.map([chunk], [[0]], [wide], ["BC"], lambda s, v: [s.widen(v, wide)])
        inside = k.scan(scan, chunk, 0, exclusive=exclusive, reverse=reverse)
        (result,) = k.map([total, inside], [[], [0]], [dtype], ["BC"], stored)
        k.store(result, out, offsets, axis)
        return list(k.map([total, k.reduce(scan, chunk, [0])], [[], []], [wide], [], join))

    k.for_(length, "BC", [k.full(identity(kind, wide), [], wide)], step)


def _across(k: KernelBuilder, op: graph.CumulativeOp, dtype: str, length: Dim) -> None:
    kind, wide = op.kind.data.name, accumulation_type(dtype)
    out, x = k.views
    across = [len(k.offsets) - 1]

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
        value = k.load(x, offsets, across, ["BC"])
        after, stored = k.map([total, value], [[0], [0]], [wide, dtype], ["BC"], body)
        k.store(stored, out, offsets, across)
        return [after]

    k.for_(length, 1, [k.full(identity(kind, wide), ["BC"], wide)], step)
