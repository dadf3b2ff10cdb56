"""The position of the largest or smallest element along an axis. NaN wins.

Where the axis is the closest in memory, a program takes a whole row: its extremum, then the
first (or last) position that holds it. Else a program goes along the axis with a tile
across it, carrying the best values and where they were.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.tile import ViewType
from infini_ir.lowering.domain import Axis, merged, sorted_by
from infini_ir.lowering.host_builder import HostBuilder, label_of, lowers, origin_of
from infini_ir.lowering.kernel_builder import KernelBuilder
from infini_ir.lowering.kernels.combining import accumulation_type, comes_before
from infini_ir.lowering.kernels.positions import axes_from
from infini_ir.lowering.placement import Placement
from infini_ir.lowering.scalar_builder import ScalarBuilder, is_float
from infini_ir.utils.symbolic import ONE, Dim

OUT, X = 0, 1
_LAST_POSITION = (1 << 63) - 1


@lowers(graph.ArgReduceOp)
def lower_arg_reduce(op: graph.ArgReduceOp, host: HostBuilder) -> None:
    x, axis = host.placement(op.x), op.axis.value.data
    out = host.destination(op.out)
    if out.is_empty() or x.is_empty():
        return
    kept = [i for i in range(x.rank) if i != axis]
    target = out.dropped([axis]) if op.keep is not None else out
    loops = merged(
        sorted_by(
            axes_from([x.shape[i] for i in kept], target.strides, [x.strides[i] for i in kept]),
            OUT,
        )
    )
    rows = not loops or x.strides[axis] is ONE or loops[-1].strides[X] is not ONE
    k = _kernel(op, loops, x, axis, rows)
    (_along_rows if rows else _across)(k, op, x.dtype, x.shape[axis])
    sizes = [loop.size for loop in loops]
    views = [
        host.view(target, sizes, [loop.strides[OUT] for loop in loops]),
        host.view(
            x, [*sizes, x.shape[axis]], [*(lp.strides[X] for lp in loops), x.strides[axis]]
        ),
    ]
    host.launch(k, views, label_of(op))


def _kernel(
    op: graph.ArgReduceOp, loops: Sequence[Axis], x: Placement, axis: int, rows: bool
) -> KernelBuilder:
    sizes = [loop.size for loop in loops]
    types = [
        ViewType.of(sizes, "i64", [loop.strides[OUT] for loop in loops]),
        ViewType.of(
            [*sizes, x.shape[axis]],
            x.dtype,
            [*(loop.strides[X] for loop in loops), x.strides[axis]],
        ),
    ]
    steps = ["1"] * len(loops)
    if not rows:
        steps[-1] = "BC"
    return KernelBuilder(f"arg_{op.kind.data.name}", types, sizes, steps, origin_of(op))


def _along_rows(k: KernelBuilder, op: graph.ArgReduceOp, dtype: str, length: Dim) -> None:
    out, x = k.views
    wide, last = accumulation_type(dtype), op.last is not None
    row = k.load(x, [*k.offsets, 0], [len(k.offsets)], [length])
    if wide != dtype:
        (row,) = k.map([row], [[0]], [wide], [length], lambda s, v: [s.widen(v, wide)])
    best = k.reduce(op.kind.data.name, row, [0])

    def body(s: ScalarBuilder, value: SSAValue, best: SSAValue) -> list[SSAValue]:
        found = s.compare("eq", value, best)
        if is_float(value):
            # The extremum is NaN if any element is; then only those are looked for.
            found = s.or_(found, s.compare("ne", value, value))
        missing = s.constant(-1 if last else _LAST_POSITION, "i64")
        return [s.select(found, s.from_index(s.coord(0), "i64"), missing)]

    (places,) = k.map([row, best], [[0], []], ["i64"], [length], body)
    k.store(k.reduce("max" if last else "min", places, [0]), out, k.offsets, [])


def _across(k: KernelBuilder, op: graph.ArgReduceOp, dtype: str, length: Dim) -> None:
    out, x = k.views
    wide = accumulation_type(dtype)
    across = [len(k.offsets) - 1]

    def take(
        s: ScalarBuilder, best: SSAValue, place: SSAValue, value: SSAValue, number: SSAValue
    ) -> Sequence[SSAValue]:
        if wide != dtype:
            value = s.widen(value, wide)
        better = _better(s, op, value, best, dtype)
        here = s.from_index(number, "i64")
        return [s.select(better, value, best), s.select(better, here, place)]

    def step(number: SSAValue, best: SSAValue, place: SSAValue) -> Sequence[SSAValue]:
        value = k.load(x, [*k.offsets, number], across, ["BC"])
        inputs, dims = [best, place, value, number], [[0], [0], [0], []]
        return k.map(inputs, dims, [wide, "i64"], ["BC"], take)

    first = k.load(x, [*k.offsets, 0], across, ["BC"])
    if wide != dtype:
        (first,) = k.map([first], [[0]], [wide], ["BC"], lambda s, v: [s.widen(v, wide)])
    start = k.full(0, ["BC"], "i64")
    _, place = k.for_(length, 1, [first, start], step)
    k.store(place, out, k.offsets, across)


def _better(
    s: ScalarBuilder, op: graph.ArgReduceOp, value: SSAValue, best: SSAValue, dtype: str
) -> SSAValue:
    """Whether a later element replaces the best one so far."""
    largest = op.kind.data is graph.ReduceKind.max
    if not is_float(value):
        before = comes_before(s, best, value, dtype, descending=not largest)
        return before if op.last is None else s.or_(before, s.compare("eq", value, best))
    nan, known_nan = s.compare("ne", value, value), s.compare("ne", best, best)
    beats = s.compare("gt" if largest else "lt", value, best)
    if op.last is not None:
        beats = s.or_(beats, s.compare("eq", value, best))
        return s.or_(nan, s.and_(beats, s.not_(known_nan)))
    return s.and_(s.or_(beats, nan), s.not_(known_nan))
