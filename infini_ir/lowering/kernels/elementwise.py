"""Which kernel a cluster or a single operation becomes."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.ir import Operation

from infini_ir.dialects import graph
from infini_ir.lowering.cluster import Cluster, UnfusableError
from infini_ir.lowering.host_builder import HostBuilder, label_of, lowers
from infini_ir.lowering.kernels.pointwise import lower_pointwise

Form = Callable[[Cluster, HostBuilder], None]

ANCHORS: dict[type[Operation], Form] = {}
"""The form that an operation in a cluster makes it, the first in this order."""

EXPANDED = (
    graph.SoftmaxOp, graph.LayerNormOp, graph.RmsNormOp, graph.GeluOp, graph.QuantizeOp,
    graph.DequantizeOp,
)  # fmt: skip
"""Composites that become kernels by their definitions, written inside one cluster."""


def form_of(cluster: Cluster) -> Form:
    """The kind of kernel, by what stands in the cluster."""
    kinds = {type(op) for op in cluster.ops()}
    return next((form for anchor, form in ANCHORS.items() if anchor in kinds), lower_pointwise)


@lowers(
    graph.FusionOp, graph.ReduceOp, graph.DotOp, graph.ConvOp, graph.PoolOp, graph.IotaOp,
    *EXPANDED, *graph.ELEMENTWISE_OPS,
)  # fmt: skip
def lower_cluster(op: Operation, host: HostBuilder) -> None:
    """One kernel where the cluster has the form of one, else its operations one by one."""
    if not any(result.uses for result in op.results):
        return
    cluster = Cluster(op, host)
    try:
        form_of(cluster)(cluster, host)
    except UnfusableError as reason:
        if len(cluster.ops()) == 1:
            raise
        subject = label_of(op) or op.name
        host.ctx.decide("graph-to-tile", subject, "one kernel an operation", str(reason))
        lower_apart(cluster, host)


def lower_apart(cluster: Cluster, host: HostBuilder) -> None:
    """Each operation of a cluster as it would be alone."""
    for argument, value in cluster.inputs.items():
        host.place(argument, host.placement(value))
    last = cluster.block.last_op
    assert last is not None
    targets = [host.destination(result) for result in cluster.results]
    host.targets[last] = list(targets)
    host.lower_block(cluster.block)
    for value, target in zip(last.operands, targets, strict=True):
        host.copy(host.placement(value), target, cluster.label)
