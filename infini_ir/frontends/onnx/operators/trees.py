"""Tree ensembles (domain ai.onnx.ml): all trees walk down together, one level a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.ir import Block, Region, SSAValue

from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.dialects.graph.control import ScanOp
from infini_ir.dialects.graph.types import TensorType, tensor_type
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.common import dtype_of
from infini_ir.frontends.onnx.operators.positions import coordinates
from infini_ir.frontends.onnx.operators.scores import class_labels, transformed, two_columns
from infini_ir.frontends.onnx.registry import operator
from infini_ir.utils import dtypes
from infini_ir.utils.symbolic import ONE

ML = "ai.onnx.ml"
_MODES = ("LEQ", "LT", "GTE", "GT", "EQ", "NEQ", "MEMBER")
_PREDICATES = {"LEQ": "le", "LT": "lt", "GTE": "ge", "GT": "gt", "EQ": "eq", "NEQ": "ne"}
_LEAF = -1


@dataclass
class Ensemble:
    """The trees as arrays over all nodes; a leaf is its own child."""

    roots: np.ndarray
    features: np.ndarray
    thresholds: np.ndarray
    modes: np.ndarray
    """Index into the modes, -1 for a leaf."""
    on_true: np.ndarray
    on_false: np.ndarray
    missing_true: np.ndarray
    """Whether NaN takes the true branch."""
    votes: np.ndarray
    """What each node adds to each target: [nodes, targets]; NaN for nothing."""
    members: np.ndarray | None = None
    """Sets for MEMBER nodes, [nodes, most], filled up with NaN."""

    def depth(self) -> int:
        """The number of steps from a root to the deepest leaf."""
        level, depth = np.unique(self.roots), 0
        while True:
            inner = level[self.modes[level] != _LEAF]
            if not inner.size:
                return depth
            if depth > len(self.modes):
                raise ValueError("the nodes form a cycle")
            level = np.unique(np.concatenate([self.on_true[inner], self.on_false[inner]]))
            depth += 1


@operator("TreeEnsemble", since=5, domain=ML)
def tree_ensemble(n: Node) -> SSAValue:
    targets = n.required("n_targets")
    scores = _scores(n, _flat_ensemble(n, targets), n.attribute("aggregate_function", 1))
    post = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
    result = transformed(n, scores, post[n.attribute("post_transform", 0)])
    return n.builder.cast(result, n.type(0).dtype)


@operator("TreeEnsembleRegressor", domain=ML)
def tree_ensemble_regressor(n: Node) -> SSAValue:
    targets = n.required("n_targets")
    ensemble = _listed_ensemble(n, "target", targets)
    kinds = ("AVERAGE", "SUM", "MIN", "MAX")
    scores = _scores(n, ensemble, kinds.index(n.attribute("aggregate_function", "SUM")))
    scores = _with_base_values(n, scores)
    return n.builder.cast(transformed(n, scores, n.attribute("post_transform", "NONE")), "f32")


@operator("TreeEnsembleClassifier", domain=ML)
def tree_ensemble_classifier(n: Node) -> Sequence[SSAValue]:
    b = n.builder
    labels = class_labels(n, "classlabels_int64s")
    post = n.attribute("post_transform", "NONE")
    ensemble = _listed_ensemble(n, "class", len(labels))
    scores = _with_base_values(n, _scores(n, ensemble, 1))
    if len(set(n.required("class_ids"))) == 1 and len(labels) <= 2:
        # Only one class has votes; they are those of the second.
        chance = b.slice_axis(scores, 1, 0, 1)
        if post in ("NONE", "PROBIT"):
            scores = b.concat([b.sub(1.0, chance), chance], 1)
        else:
            scores = two_columns(n, chance)
        if len(labels) == 1:
            labels = np.array([0, labels[0]], np.int64)
    scores = b.cast(transformed(n, scores, post), "f32")
    best = b.arg_reduce("max", scores, 1)
    return [b.gather(n.array_constant(labels), best, 0), scores]


# Reading the attributes


def _floats(n: Node, name: str) -> Any:
    """An attribute of floats, or its double twin with the suffix `_as_tensor`."""
    tensor = n.attribute(f"{name}_as_tensor", None)
    return tensor if tensor is not None else n.attribute(name, None)


def _listed_ensemble(n: Node, votes: str, targets: int) -> Ensemble:
    """Trees given as lists of nodes with tree and node ids; `votes` is target or class."""
    trees, ids = n.required("nodes_treeids"), n.required("nodes_nodeids")
    place = {key: i for i, key in enumerate(zip(trees, ids, strict=True))}
    count = len(place)
    names = [mode.removeprefix("BRANCH_") for mode in n.required("nodes_modes")]
    modes = np.array([_LEAF if m == "LEAF" else _MODES.index(m) for m in names], np.int64)

    def child(name: str) -> np.ndarray:
        wanted = n.required(name)
        return np.array(
            [i if modes[i] == _LEAF else place[trees[i], wanted[i]] for i in range(count)]
        )

    table = np.full((count, targets), np.nan)
    keys = zip(n.required(f"{votes}_treeids"), n.required(f"{votes}_nodeids"), strict=True)
    weights, chosen = _floats(n, f"{votes}_weights"), n.required(f"{votes}_ids")
    for key, target, weight in zip(keys, chosen, weights, strict=True):
        row = table[place[key]]
        row[target] = weight if np.isnan(row[target]) else row[target] + weight
    on_true, on_false = child("nodes_truenodeids"), child("nodes_falsenodeids")
    children = {*on_true[modes != _LEAF].tolist(), *on_false[modes != _LEAF].tolist()}
    return Ensemble(
        np.array([i for i in range(count) if i not in children]),
        np.array(n.required("nodes_featureids")),
        np.array(_floats(n, "nodes_values")),
        modes,
        on_true,
        on_false,
        np.array(n.attribute("nodes_missing_value_tracks_true", None) or [0] * count, bool),
        table,
    )


def _flat_ensemble(n: Node, targets: int) -> Ensemble:
    """Trees given as inner nodes and leaves apart; leaves get the numbers after the nodes."""
    modes = n.required("nodes_modes").astype(np.int64)
    inner, weights = len(modes), n.required("leaf_weights")
    leaves = len(weights)

    def padded(values: Any, fill: Any) -> np.ndarray:
        array = np.array(values)
        return np.concatenate([array, np.full(leaves, fill, array.dtype)])

    def child(side: str) -> np.ndarray:
        numbers = np.array(n.required(f"nodes_{side}nodeids"))
        is_leaf = np.array(n.required(f"nodes_{side}leafs"), bool)
        own = np.arange(inner, inner + leaves)
        return np.concatenate([np.where(is_leaf, numbers + inner, numbers), own])

    table = np.full((inner + leaves, targets), np.nan)
    places = np.arange(inner, inner + leaves)
    table[places, np.array(n.required("leaf_targetids"))] = weights
    missing = n.attribute("nodes_missing_value_tracks_true", None) or [0] * inner
    return Ensemble(
        np.array(n.required("tree_roots")),
        padded(n.required("nodes_featureids"), 0),
        padded(n.required("nodes_splits"), 0),
        padded(modes, _LEAF),
        child("true"),
        child("false"),
        padded(np.array(missing, bool), False),
        table,
        _members(n, modes, inner + leaves),
    )


def _members(n: Node, modes: np.ndarray, count: int) -> np.ndarray | None:
    """The sets of MEMBER nodes, which the attribute gives one after another."""
    values = n.attribute("membership_values", None)
    where = np.flatnonzero(modes == _MODES.index("MEMBER"))
    if values is None or not where.size:
        return None
    ends = np.flatnonzero(np.isnan(values))
    sets = [part[~np.isnan(part)] for part in np.split(values, ends)]
    table = np.full((count, max(len(part) for part in sets)), np.nan)
    for node, part in zip(where, sets, strict=False):
        table[node, : len(part)] = part
    return table


# Walking and voting


@dataclass
class _Tables:
    """The arrays of an ensemble as values."""

    features: SSAValue
    thresholds: SSAValue
    modes: SSAValue
    on_true: SSAValue
    on_false: SSAValue
    missing_true: SSAValue
    members: SSAValue | None


def _scores(n: Node, trees: Ensemble, aggregate: int) -> SSAValue:
    """The trees' votes together: [rows, targets]."""
    b = n.builder
    x = n.value(0)
    if dtype_of(x) not in ("f32", "f64"):
        x = b.cast(x, "f32")
    votes = b.gather(
        n.array_constant(trees.votes.astype(dtypes.numpy_dtype(dtype_of(x)))),
        _leaves(n, x, trees),
        0,
    )
    present = b.compare("eq", votes, votes)
    if aggregate in (0, 1):
        total = b.reduce("sum", b.select(present, votes, 0.0), [1])
        return b.div(total, float(len(trees.roots))) if aggregate == 0 else total
    kind, neutral = ("min", float("inf")) if aggregate == 2 else ("max", float("-inf"))
    best = b.reduce(kind, b.select(present, votes, neutral), [1])
    return b.select(b.compare("eq", best, neutral), 0.0, best)


def _with_base_values(n: Node, scores: SSAValue) -> SSAValue:
    base = _floats(n, "base_values")
    if base is None or not len(base):
        return scores
    array = np.asarray(base, dtypes.numpy_dtype(dtype_of(scores)))
    return n.builder.add(scores, n.array_constant(array))


def _leaves(n: Node, x: SSAValue, trees: Ensemble) -> SSAValue:
    """The leaf where each tree ends for each row: [rows, trees]."""
    b = n.builder
    rows, dtype = tensor_type(x).shape[0], dtypes.numpy_dtype(dtype_of(x))
    members = None
    if trees.members is not None:
        members = n.array_constant(trees.members.astype(dtype))
    tables = _Tables(
        n.array_constant(trees.features.astype(np.int64)),
        n.array_constant(trees.thresholds.astype(dtype)),
        n.array_constant(trees.modes.astype(np.int64)),
        n.array_constant(trees.on_true.astype(np.int64)),
        n.array_constant(trees.on_false.astype(np.int64)),
        n.array_constant(trees.missing_true),
        members,
    )
    start = n.array_constant(trees.roots.astype(np.int64))
    start = b.broadcast_to(start, [rows, len(trees.roots)])
    block = Block(arg_types=[TensorType.of((), "i64"), start.type])
    inner = n.builder_at(block)
    used = sorted({int(mode) for mode in trees.modes if mode != _LEAF})
    inner.yield_([_step(inner, x, block.args[1], tables, used)])
    depth = trees.depth()
    return b.insert(ScanOp([start], [], depth, [], Region(block))).results[0]


def _step(
    b: GraphBuilder, x: SSAValue, node: SSAValue, tables: _Tables, used: Sequence[int]
) -> SSAValue:
    """The children that the walk goes to from the nodes [rows, trees]."""
    shape = tensor_type(node).shape
    feature = b.gather(tables.features, node, 0)
    value = b.gather_nd(x, coordinates(b, [b.iota(shape, "i64", 0), feature]))
    threshold = b.gather(tables.thresholds, node, 0)
    mode = b.gather(tables.modes, node, 0) if len(used) > 1 else None
    goes: SSAValue | None = None
    for number in used:
        name = _MODES[number]
        if name == "MEMBER":
            assert tables.members is not None
            sets = b.gather(tables.members, node, 0)
            same = b.compare("eq", b.reshape(value, [*shape, ONE]), sets)
            met = b.reduce("max", same, [2])
        else:
            met = b.compare(_PREDICATES[name], value, threshold)
        if goes is None or mode is None:
            goes = met
        else:
            goes = b.select(b.compare("eq", mode, number), met, goes)
    if goes is None:
        return node
    missing = b.logical_and(
        b.compare("ne", value, value), b.gather(tables.missing_true, node, 0)
    )
    goes = b.logical_or(goes, missing)
    return b.select(goes, b.gather(tables.on_true, node, 0), b.gather(tables.on_false, node, 0))
