"""Operations that only look at memory another way, and where values come from."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Operation, SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph import tensor_type
from infini_ir.dialects.tile import ViewType, program
from infini_ir.lowering.host_builder import HostBuilder, label_of, lowers
from infini_ir.lowering.kernel_builder import KernelBuilder
from infini_ir.lowering.placement import Placement
from infini_ir.lowering.scalar_builder import ScalarBuilder
from infini_ir.lowering.view_ops import inverse_of, is_view, view_of
from infini_ir.utils.symbolic import ZERO, Dim


@lowers(graph.ConstantOp)
def lower_constant(op: graph.ConstantOp, host: HostBuilder) -> None:
    """Numbers go into the maps that use them; memory is made when someone asks for it."""


@lowers(graph.WeightOp)
def lower_weight(op: graph.WeightOp, host: HostBuilder) -> None:
    kind = tensor_type(op.out)
    host.place(op.out, host.weight(op.handle.data, kind.dtype, kind.shape))


@lowers(graph.TransposeOp, graph.BroadcastOp, graph.ReshapeOp, graph.WindowOp)
def lower_view(op: Operation, host: HostBuilder) -> None:
    """Another placement of the operand's memory."""
    if host.literal(op.results[0]) is not None:
        return
    change, source = view_of(op).change, host.placement(op.operands[0])
    placed = change(source) or _copied_where_wanted(op, source, host)
    placed = placed or change(host.made_dense(source))
    assert placed is not None
    host.place(op.results[0], placed)


def _copied_where_wanted(
    op: Operation, source: Placement, host: HostBuilder
) -> Placement | None:
    """The result of a reshape that has to be copied, where a user wants it."""
    back = inverse_of(op)
    if back is None:
        return None
    target = host.wanted(op.results[0], lambda place: back.change(place) is not None)
    if target is None:
        return None
    before = back.change(target)
    assert before is not None
    host.copy(source, before, label_of(op))
    return target


@lowers(graph.SliceOp)
def lower_slice(op: graph.SliceOp, host: HostBuilder) -> None:
    if is_view(op) and host.literal(op.out) is not None:
        return
    x, sizes = host.placement(op.x), tensor_type(op.out).shape
    starts = run_time_starts(op, op.x, op.step_list, sizes, host)
    host.place(op.out, x.sliced(starts, op.step_list, sizes))


def run_time_starts(
    op: graph.SliceOp | graph.InsertSliceOp,
    x: SSAValue,
    steps: Sequence[int],
    sizes: Sequence[Dim],
    host: HostBuilder,
) -> list[Dim]:
    """The start along each axis; those given by scalars are clamped and read."""
    starts = list(op.starts.data)
    limits = tensor_type(x).shape
    for axis, value in zip(op.dynamic_axes, op.dynamic_starts, strict=True):
        span = (sizes[axis] - 1) * steps[axis]
        low, high = ZERO, limits[axis] - 1
        if steps[axis] > 0:
            high = high - span
        else:
            low = low - span
        clamped = _clamp(host, host.placement(value), low, high, label_of(op))
        starts[axis] = host.bind(clamped, "start")
    return starts


def _clamp(host: HostBuilder, scalar: Placement, low: Dim, high: Dim, label: str) -> Placement:
    """The scalar in [low, high], and not negative."""
    result = host.alloc([], "i64")

    def body(s: ScalarBuilder, x: SSAValue, least: SSAValue, most: SSAValue) -> list[SSAValue]:
        upper = s.min(x, s.from_index(most, "i64"))
        lower = s.max(upper, s.from_index(least, "i64"))
        return [s.max(lower, s.constant(0, "i64"))]

    def build() -> KernelBuilder:
        k = KernelBuilder("clamp", [one_element("i64")] * 2, [1], ["BC"])
        x = k.load(k.views[0], k.offsets, [0], ["BC"])
        (y,) = k.map([x, k.size(low), k.size(high)], [[0], [], []], ["i64"], ["BC"], body)
        k.store(y, k.views[1], k.offsets, [0])
        return k

    kernel = host.kernel(("clamp", low, high), build)
    views = [host.view(p, [1], [1]) for p in (scalar, result)]
    host.launch(kernel, views, label)
    return result


@lowers(graph.DimOp)
def lower_dim(op: graph.DimOp, host: HostBuilder) -> None:
    if all(_is_set(use.operation) for use in op.out.uses):
        return
    out = host.destination(op.out)
    write_size(host, op.dim, out, label_of(op))


def write_size(host: HostBuilder, size: Dim, out: Placement, label: str) -> None:
    """Write a size to an i64 scalar."""

    def build() -> KernelBuilder:
        k = KernelBuilder("dim", [one_element("i64")], [1], ["BC"])
        (y,) = k.map(
            [k.size(size)], [[]], ["i64"], ["BC"], lambda s, n: [s.from_index(n, "i64")]
        )
        k.store(y, k.views[0], k.offsets, [0])
        return k

    host.launch(host.kernel(("dim", size), build), [host.view(out, [1], [1])], label)


def one_element(dtype: str) -> ViewType:
    """The type of a scalar's view in kernels."""
    return ViewType.of([1], dtype, [1])


@lowers(graph.BindOp)
def lower_bind(op: graph.BindOp, host: HostBuilder) -> None:
    if _is_set(op):
        assert isinstance(op.value.owner, graph.DimOp)
        host.emit(program.SetOp(op.symbol.data, op.value.owner.dim, op.facts))
        host.declare(op.symbol.data)
        return
    host.bind(host.placement(op.value), symbol=op.symbol.data, facts=op.facts)


def _is_set(op: Operation) -> bool:
    """Whether an operation binds a size that is known without reading memory."""
    owner = op.value.owner if isinstance(op, graph.BindOp) else None
    return isinstance(owner, graph.DimOp) and owner.dim.is_nonnegative()
