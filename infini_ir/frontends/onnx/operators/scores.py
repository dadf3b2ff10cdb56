"""What classical models share: labels, and transformations of scores."""

from __future__ import annotations

import math

import numpy as np
from xdsl.ir import SSAValue

from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.frontends.onnx.node import Node


def class_labels(n: Node, name: str) -> np.ndarray:
    """The integer labels of a classifier."""
    labels = n.attribute(name, None)
    if not labels:
        raise n.error("class labels are strings: map numbers to them after the model")
    return np.array(labels, np.int64)


def two_columns(n: Node, score: SSAValue) -> SSAValue:
    """The scores of both classes from that of the second: [rows, 2]."""
    return n.builder.concat([n.builder.neg(score), score], 1)


def transformed(n: Node, scores: SSAValue, post: str) -> SSAValue:
    """Scores [rows, classes] after the transformation that `post` names."""
    b = n.builder
    if post == "NONE":
        return scores
    if post == "LOGISTIC":
        return b.sigmoid(scores)
    if post == "SOFTMAX":
        return b.softmax(scores, 1)
    if post == "SOFTMAX_ZERO":
        return _softmax_zero(b, scores)
    if post == "PROBIT":
        return _probit(b, scores)
    raise n.error(
        f"post_transform '{post}' is not one of NONE, SOFTMAX, LOGISTIC, SOFTMAX_ZERO, PROBIT"
    )


def _softmax_zero(b: GraphBuilder, scores: SSAValue) -> SSAValue:
    """Softmax in which scores of about 0 stay about 0."""
    top = b.reduce("max", scores, [1], keep=True)
    zero = b.compare("le", b.abs(scores), 1e-7)
    terms = b.select(zero, b.mul(scores, b.exp(b.neg(top))), b.exp(b.sub(scores, top)))
    total = b.reduce("sum", terms, [1], keep=True)
    empty = b.compare("eq", total, 0.0)
    return b.select(empty, 0.5, b.div(terms, b.select(empty, 1.0, total)))


def _probit(b: GraphBuilder, scores: SSAValue) -> SSAValue:
    """sqrt(2) erfinv(2 p - 1), by the closed form of Winitzki (2008) that models expect."""
    x = b.sub(b.mul(scores, 2.0), 1.0)
    spread = b.log(b.mul(b.sub(1.0, x), b.add(x, 1.0)))
    v = b.add(b.mul(spread, 0.5), 2 / (math.pi * 0.147))
    root = b.sqrt(b.sub(b.mul(v, v), b.mul(spread, 1 / 0.147)))
    size = b.mul(b.sqrt(b.sub(root, v)), 1.41421356)
    return b.select(b.compare("lt", x, 0.0), b.neg(size), size)
