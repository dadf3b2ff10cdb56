"""Kernels that compute each element by itself: one map over the whole domain."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from infini_ir.dialects.graph import tensor_type
from infini_ir.lowering.cluster import Cluster
from infini_ir.lowering.domain import (
    Axis,
    TileWriter,
    axes_of,
    merged,
    sorted_by,
    view_types,
)
from infini_ir.lowering.expression import Expression, Operands, shape_key
from infini_ir.lowering.host_builder import HostBuilder
from infini_ir.lowering.kernel_builder import KernelBuilder
from infini_ir.lowering.placement import Placement
from infini_ir.lowering.view_ops import is_view
from infini_ir.utils.symbolic import ONE, ZERO


def lower_pointwise(cluster: Cluster, host: HostBuilder, name: str = "") -> None:
    """One kernel for each shape of results."""
    by_shape: dict[object, list[int]] = {}
    for index, result in enumerate(cluster.results):
        by_shape.setdefault(tensor_type(result).shape, []).append(index)
    parts: list[tuple[Expression, Operands, list[int]]] = []
    for indices in by_shape.values():
        operands = Operands()
        expression = Expression(cluster, operands, None)
        for index in indices:
            expression.add_root(cluster.outputs[index], ())
        parts.append((expression, operands, indices))
    for expression, operands, indices in parts:
        targets = [host.destination(cluster.results[index]) for index in indices]
        launch_map(host, expression, operands, targets, name or name_of(cluster), cluster)


def name_of(cluster: Cluster) -> str:
    """The operation's name where it is one, else `pointwise`."""
    ops = [op for op in cluster.ops() if op.operands and not is_view(op)]
    names = {op.name.removeprefix("graph.") for op in ops}
    return names.pop() if len(names) == 1 else "pointwise"


def launch_map(
    host: HostBuilder,
    expression: Expression,
    operands: Operands,
    targets: Sequence[Placement],
    name: str,
    cluster: Cluster,
) -> None:
    """Run a kernel that writes the expression's results to targets of one shape."""
    if targets[0].is_empty():
        return
    placements = [*targets, *operands.placements]
    axes = loops_of(placements)
    types = view_types(axes, placements)
    key = ("map", expression.key, shape_key_of(axes, placements), _constants(placements))
    in_memory = [i for i, p in enumerate(placements) if p.root is not None]

    def build() -> KernelBuilder:
        rows = len(axes) > 1
        steps = ["1"] * (len(axes) - 2) + (["BR", "BC"] if rows else ["BC"])
        bounds = [axis.size for axis in axes]
        k = KernelBuilder(name, [types[i] for i in in_memory], bounds, steps, cluster.origin)
        views: list[SSAValue | None] = [None] * len(placements)
        for view, i in zip(k.views, in_memory, strict=True):
            views[i] = view
        tile_axes = [len(axes) - 2, len(axes) - 1] if rows else [0]
        capacity = dict(zip(tile_axes, ["BR", "BC"] if rows else ["BC"], strict=True))
        shift = len(targets)
        writer = TileWriter(
            k,
            [Axis(a.size, a.strides[shift:]) for a in axes],
            placements[shift:],
            views[shift:],
            k.offsets,
            dict(capacity),
        )
        results = writer.map(expression, tile_axes)
        for value, view in zip(results, views[:shift], strict=True):
            assert view is not None
            k.store(value, view, k.offsets, tile_axes)
        return k

    shape = [axis.size for axis in axes]
    views = [
        host.view(placements[i], shape, [axis.strides[i] for axis in axes]) for i in in_memory
    ]
    host.launch(host.kernel(key, build), views, cluster.label)


def loops_of(placements: Sequence[Placement]) -> list[Axis]:
    """The loops over placements of one shape, in the order of the first one's memory; at
    least one."""
    axes = merged(sorted_by(axes_of(placements), 0))
    return axes or [Axis(ONE, [ZERO] * len(placements))]


def shape_key_of(axes: Sequence[Axis], placements: Sequence[Placement]) -> object:
    """What of loops and operands a kernel's text depends on."""
    return (
        tuple((a.size, tuple(a.strides), a.label) for a in axes),
        tuple(p.dtype for p in placements),
    )


def _constants(placements: Sequence[Placement]) -> object:
    return tuple(p.offset if p.root is None else None for p in placements)


__all__ = ["launch_map", "loops_of", "lower_pointwise", "name_of", "shape_key", "shape_key_of"]
