"""Losses over class scores."""

from __future__ import annotations

from xdsl.ir import SSAValue

from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.common import (
    computed_wide,
    dtype_of,
    rank_of,
    shape_of,
    size_as,
    with_shape,
)
from infini_ir.frontends.onnx.registry import operator
from infini_ir.utils.symbolic import product


@operator("NegativeLogLikelihoodLoss")
def negative_log_likelihood(n: Node) -> SSAValue:
    return _loss(n, n.value(0), n.value(1), n.optional(2))


@operator("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy(n: Node) -> list[SSAValue]:
    logs = n.builder.softmax(n.value(0), 1, log=True)
    return [_loss(n, logs, n.value(1), n.optional(2)), logs]


def _loss(n: Node, logs: SSAValue, labels: SSAValue, weights: SSAValue | None) -> SSAValue:
    """
    The weighted mean, sum or list of -logs at the labels. A label outside the classes, and
    `ignore_index`, contribute nothing.
    """
    reduction = n.attribute("reduction", "mean")
    values = [logs] if weights is None else [logs, weights]
    return computed_wide(
        n.builder, lambda *wide: _reduced_loss(n, labels, reduction, *wide), *values
    )


def _reduced_loss(
    n: Node,
    labels: SSAValue,
    reduction: str,
    logs: SSAValue,
    weights: SSAValue | None = None,
) -> SSAValue:
    b = n.builder
    shape = shape_of(logs)
    labels = with_shape(n, labels, [shape[0], *shape[2:]])
    chosen = b.compare("eq", b.iota(shape, dtype_of(labels), 1), b.unsqueeze(labels, [1]))
    loss = b.neg(b.reduce("sum", b.select(chosen, logs, 0), [1]))
    weight = None
    if weights is not None:
        weights = b.reshape(
            with_shape(n, weights, [shape[1]]), [shape[1], *[1] * (rank_of(logs) - 2)]
        )
        weight = b.reduce("sum", b.select(chosen, weights, 0), [1])
        loss = b.mul(loss, weight)
    if n.has_attribute("ignore_index"):
        kept = b.compare("ne", labels, n.required("ignore_index"))
        loss = b.select(kept, loss, 0)
        weight = b.cast(kept, dtype_of(logs)) if weight is None else b.select(kept, weight, 0)
    if reduction == "none":
        return loss
    axes = list(range(rank_of(loss)))
    total = b.reduce("sum", loss, axes)
    if reduction == "sum":
        return total
    if reduction != "mean":
        raise n.error(f"reduction '{reduction}' is not none, sum or mean")
    if weight is None:
        return b.div(total, size_as(b, product(shape_of(loss)), dtype_of(logs)))
    return b.div(total, b.reduce("sum", weight, axes))
