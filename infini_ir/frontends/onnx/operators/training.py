"""Optimizer steps of the preview training domain."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.ir import SSAValue

from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.common import as_scalar, dtype_of
from infini_ir.frontends.onnx.registry import operator

DOMAIN = "ai.onnx.preview.training"

Step = Callable[[GraphBuilder, SSAValue, SSAValue, list[SSAValue]], list[SSAValue]]
"""From rate, update count and one tensor's (value, gradient, states) to its new value and
states."""


def _each_tensor(n: Node, fields: int, step: Step) -> list[SSAValue]:
    """Inputs are the rate, the count, then all values, all gradients, all of each state."""
    b, rate, count = (
        n.builder,
        as_scalar(n.builder, n.value(0)),
        as_scalar(n.builder, n.value(1)),
    )
    tensors, rest = divmod(n.count - 2, fields)
    if rest:
        raise n.error(f"takes {fields} inputs a tensor after the first two, not {n.count - 2}")
    results = []
    for i in range(tensors):
        values = [n.value(2 + field * tensors + i) for field in range(fields)]
        results.append(step(b, b.cast(rate, dtype_of(values[0])), count, values))
    return [result[field] for field in range(fields - 1) for result in results]


def _regularized(n: Node, x: SSAValue, gradient: SSAValue, default: float | None) -> SSAValue:
    norm = n.attribute("norm_coefficient", default)
    b = n.builder
    return b.add(b.mul(x, norm), gradient) if norm else gradient


@operator("Adagrad", domain=DOMAIN)
def adagrad(n: Node) -> list[SSAValue]:
    decay, epsilon = n.attribute("decay_factor", 0.0), n.attribute("epsilon", 1e-6)

    def step(
        b: GraphBuilder, rate: SSAValue, count: SSAValue, values: list[SSAValue]
    ) -> list[SSAValue]:
        x, gradient, squares = values
        count = b.cast(count, dtype_of(rate))
        rate = b.div(rate, b.add(b.mul(count, decay), 1))
        gradient = _regularized(n, x, gradient, 0.0)
        squares = b.add(squares, b.mul(gradient, gradient))
        adapted = b.add(b.sqrt(squares), epsilon)
        return [b.sub(x, b.div(b.mul(rate, gradient), adapted)), squares]

    return _each_tensor(n, 3, step)


@operator("Adam", domain=DOMAIN)
def adam(n: Node) -> list[SSAValue]:
    alpha, beta = n.attribute("alpha", 0.9), n.attribute("beta", 0.999)
    epsilon, shrink = n.attribute("epsilon", 1e-6), n.attribute("norm_coefficient_post", 0.0)

    def step(
        b: GraphBuilder, rate: SSAValue, count: SSAValue, values: list[SSAValue]
    ) -> list[SSAValue]:
        x, gradient, mean, squares = values
        gradient = _regularized(n, x, gradient, 0.0)
        mean = b.add(b.mul(mean, alpha), b.mul(gradient, 1 - alpha))
        squares = b.add(b.mul(squares, beta), b.mul(b.mul(gradient, gradient), 1 - beta))
        power = b.cast(count, dtype_of(rate))
        left = b.sqrt(b.sub(1, b.pow(beta, power)))
        adjusted = b.div(b.mul(rate, left), b.sub(1, b.pow(alpha, power)))
        rate = b.select(b.compare("gt", count, 0), adjusted, rate)
        x = b.sub(x, b.div(b.mul(rate, mean), b.add(b.sqrt(squares), epsilon)))
        return [b.mul(x, 1 - shrink) if shrink else x, mean, squares]

    return _each_tensor(n, 4, step)


@operator("Momentum", domain=DOMAIN)
def momentum(n: Node) -> list[SSAValue]:
    alpha, beta, mode = n.required("alpha"), n.required("beta"), n.required("mode")

    def step(
        b: GraphBuilder, rate: SSAValue, count: SSAValue, values: list[SSAValue]
    ) -> list[SSAValue]:
        x, gradient, velocity = values
        gradient = _regularized(n, x, gradient, None)
        started = b.compare("gt", count, 0)
        share = b.select(started, b.constant(beta, dtype_of(x)), b.constant(1, dtype_of(x)))
        velocity = b.add(b.mul(velocity, alpha), b.mul(share, gradient))
        direction = velocity
        if mode == "nesterov":
            direction = b.add(gradient, b.mul(velocity, alpha))
        return [b.sub(x, b.mul(rate, direction)), velocity]

    return _each_tensor(n, 3, step)
