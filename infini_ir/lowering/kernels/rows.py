"""Kernels with reductions: rows are reduced whole, and what depends on them follows.

The domain is the shape of what is reduced. Its reduced axes are tile axes, the others are
grid axes; values that no longer depend on the reduced axes are tiles without them. Where a
kept axis is the one with neighbours in memory, it is a tile axis too, the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from infini_ir.dialects import graph
from infini_ir.dialects.graph import tensor_type
from infini_ir.dialects.tile import ViewType
from infini_ir.lowering.cluster import Cluster, UnfusableError
from infini_ir.lowering.domain import Axis, TileWriter, axes_of, merged, sorted_by
from infini_ir.lowering.host_builder import HostBuilder
from infini_ir.lowering.kernel_builder import KernelBuilder
from infini_ir.lowering.kernels.elementwise import ANCHORS
from infini_ir.lowering.kernels.pointwise import shape_key_of
from infini_ir.lowering.placement import Placement
from infini_ir.lowering.row_plan import MapStep, Output, ReduceStep, RowPlan
from infini_ir.lowering.view_ops import Chain
from infini_ir.utils.symbolic import ONE, ZERO, Dim

KEPT, REDUCED = "kept", "reduced"


def lower_rows(cluster: Cluster, host: HostBuilder) -> None:
    """A cluster with reductions, all of one shape over the same axes."""
    plan = RowPlan(cluster)
    outputs = [plan.output(value) for value in cluster.outputs]
    targets = [
        _target(host, result, output.chain)
        for result, output in zip(cluster.results, outputs, strict=True)
    ]
    if all(ZERO in tensor_type(result).shape for result in cluster.results):
        return
    placements = [*targets, *plan.operands.placements]
    axes, column = _axes(plan, placements, len(targets))
    in_memory = [i for i, p in enumerate(placements) if p.root is not None]
    key = (
        "rows",
        plan.key,
        tuple((output.step, output.full) for output in outputs),
        shape_key_of(axes, placements),
        column,
        tuple(p.offset for p in placements if p.root is None),
    )
    writer = _RowWriter(plan, outputs, axes, column, placements, in_memory)
    kernel = host.kernel(key, lambda: writer.build(_name(cluster), cluster.origin))
    types = writer.types()
    views = [host.view(placements[i], types[i].shape, types[i].strides) for i in in_memory]
    host.launch(kernel, views, cluster.label)


ANCHORS[graph.ReduceOp] = lower_rows


def _target(host: HostBuilder, result: SSAValue, chain: Chain) -> Placement:
    def seen(placement: Placement) -> Placement | None:
        current: Placement | None = placement
        for view in chain:
            current = None if current is None else view.change(current)
        return current

    found = seen(host.destination(result, lambda p: seen(p) is not None))
    if found is None:
        raise UnfusableError("a reshape of a result that memory cannot follow")
    return found


def _name(cluster: Cluster) -> str:
    """From the composite or the reduction that it was."""
    ops = cluster.op.body.block.ops if isinstance(cluster.op, graph.FusionOp) else [cluster.op]
    for kind in (graph.SoftmaxOp, graph.LayerNormOp, graph.RmsNormOp):
        if any(isinstance(op, kind) for op in ops):
            return kind.name.removeprefix("graph.")
    kinds = {op.kind.data.name for op in ops if isinstance(op, graph.ReduceOp)}
    return f"reduce_{kinds.pop()}" if len(kinds) == 1 else "rows"


def _axes(
    plan: RowPlan, placements: Sequence[Placement], results: int
) -> tuple[list[Axis], bool]:
    """Kept axes, then reduced ones; whether the last kept axis is a tile axis."""
    labels = [REDUCED if i in plan.reduced else KEPT for i in range(len(plan.shape))]
    axes = axes_of(placements, labels)
    kept = [axis for axis in axes if axis.label == KEPT]
    reduced = [axis for axis in axes if axis.label == REDUCED]
    model = next(
        (
            i
            for i in range(results, len(placements))
            if placements[i].root is not None
            and any(axis.strides[i] is not ZERO for axis in reduced)
        ),
        0,
    )
    kept, reduced = merged(sorted_by(kept, model)), merged(sorted_by(reduced, model))
    column = bool(kept) and kept[-1].strides[model] is ONE
    if not kept:
        kept = [Axis(ONE, [ZERO] * len(placements), KEPT)]
    return [*kept, *reduced], column


@dataclass
class _RowWriter:
    plan: RowPlan
    outputs: list[Output]
    axes: list[Axis]
    column: bool
    placements: list[Placement]
    in_memory: list[int]

    def view_axes(self, operand: int) -> list[int]:
        """The axes of an operand's view: those reduced only where it moves along them."""
        moves = any(
            axis.strides[operand] is not ZERO for axis in self.axes if axis.label == REDUCED
        )
        return [i for i, axis in enumerate(self.axes) if moves or axis.label == KEPT]

    def types(self) -> list[ViewType]:
        """The type of each operand's view."""
        result: list[ViewType] = []
        for i, placement in enumerate(self.placements):
            axes = [self.axes[axis] for axis in self.view_axes(i)]
            shape = [axis.size for axis in axes]
            result.append(
                ViewType.of(shape, placement.dtype, [axis.strides[i] for axis in axes])
            )
        return result

    def build(self, name: str, origin: str) -> KernelBuilder:
        kept = [i for i, axis in enumerate(self.axes) if axis.label == KEPT]
        reduced = [i for i, axis in enumerate(self.axes) if axis.label == REDUCED]
        last: list[int] = [kept[-1]] if self.column else []
        steps: list[str | Dim] = ["1"] * len(kept)
        if self.column:
            steps[-1] = "BC"
        types = self.types()
        k = KernelBuilder(
            name,
            [types[i] for i in self.in_memory],
            [self.axes[i].size for i in kept],
            steps,
            origin,
        )
        views: list[SSAValue | None] = [None] * len(self.placements)
        for view, i in zip(k.views, self.in_memory, strict=True):
            views[i] = view
        capacity: dict[int, str | Dim] = {i: self.axes[i].size for i in reduced}
        capacity.update(dict.fromkeys(last, "BC"))
        shift = len(self.outputs)
        writer = TileWriter(
            k,
            [Axis(axis.size, axis.strides[shift:]) for axis in self.axes],
            self.placements[shift:],
            views[shift:],
            [*k.offsets, *[0] * len(reduced)],
            capacity,
            [self.view_axes(i) for i in range(shift, len(self.placements))],
        )
        self._write(k, writer, views, [*reduced, *last], last, len(reduced))
        return k

    def _write(
        self,
        k: KernelBuilder,
        writer: TileWriter,
        views: Sequence[SSAValue | None],
        full: list[int],
        row: list[int],
        depth: int,
    ) -> None:
        tiles: list[tuple[SSAValue, Sequence[int]]] = []
        for step in self.plan.steps:
            if isinstance(step, ReduceStep):
                source, _ = tiles[step.source]
                made = k.reduce(step.kind, source, list(range(depth))) if depth else source
                tiles.append((made, row))
            else:
                tiles.append(
                    (
                        _made(writer, step, full if step.full else row, tiles),
                        full if step.full else row,
                    )
                )
        for number, output in enumerate(self.outputs):
            view = views[number]
            assert view is not None
            value, covered = tiles[output.step]
            own = self.view_axes(number)
            at = [writer.offsets[axis] for axis in own]
            k.store(value, view, at, [own.index(axis) for axis in covered])


def _made(
    writer: TileWriter,
    step: MapStep,
    tile_axes: list[int],
    tiles: list[tuple[SSAValue, Sequence[int]]],
) -> SSAValue:
    """The tile of a map; of an operand as it is, the loaded tile."""
    operand = step.expression.plain_operand()
    if operand is not None:
        value, dims = writer.load(operand, tile_axes)
        if len(dims) == len(tile_axes):
            return value
    return writer.map(step.expression, tile_axes, tiles)[0]
