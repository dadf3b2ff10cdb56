"""Einsum: pairwise products of tensors with labelled axes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from infini_ir.dialects.graph.builder import GraphBuilder
from infini_ir.frontends.onnx.node import Node
from infini_ir.frontends.onnx.operators.common import rank_of, shape_of, with_size
from infini_ir.frontends.onnx.registry import operator
from infini_ir.utils.symbolic import ONE, Dim


@dataclass(frozen=True)
class Labelled:
    """A value with one label an axis; labels are letters, or numbers for ellipsis axes."""

    value: SSAValue
    labels: tuple[str, ...]

    def axes(self, labels: Sequence[str]) -> list[int]:
        return [self.labels.index(label) for label in labels]


@operator("Einsum")
def einsum(n: Node) -> SSAValue:
    b = n.builder
    terms, result = _parse(n)
    terms = _same_sizes(n, [_diagonal(b, term) for term in terms])
    total = _summed(b, terms[0], {*result, *_labels(terms[1:])})
    for i, term in enumerate(terms[1:], 2):
        needed = {*result, *_labels(terms[i:])}
        total = _multiply(b, total, _summed(b, term, {*needed, *total.labels}), needed)
    total = _summed(b, total, set(result))
    return b.transpose(total.value, total.axes(result))


def _labels(terms: Sequence[Labelled]) -> list[str]:
    return [label for term in terms for label in term.labels]


def _parse(n: Node) -> tuple[list[Labelled], list[str]]:
    """The operands with their labels, and the labels of the result."""
    equation = n.required("equation").replace(" ", "")
    left, arrow, right = equation.partition("->")
    texts = left.split(",")
    if len(texts) != n.count or not re.fullmatch(r"[A-Za-z.,]*(->[A-Za-z.]*)?", equation):
        raise n.error(f"equation '{equation}' does not fit its {n.count} operands")
    values = [n.value(i) for i in range(n.count)]
    spans = [rank_of(v) - len(t.replace("...", "")) for v, t in zip(values, texts, strict=True)]
    span = max((s for s, t in zip(spans, texts, strict=True) if "..." in t), default=0)
    terms: list[Labelled] = []
    for value, text, own in zip(values, texts, spans, strict=True):
        if own < 0 or (own and "..." not in text):
            raise n.error(
                f"'{text}' does not label the axes of a tensor of rank {rank_of(value)}"
            )
        terms.append(Labelled(value, tuple(_expanded(text, span, own))))
    if not arrow:
        counts = Counter(left.replace("...", "").replace(",", ""))
        right = "..." if "..." in left else ""
        right += "".join(sorted(label for label, count in counts.items() if count == 1))
    result = _expanded(right, span, span)
    if not set(result) <= set(_labels(terms)) or len(set(result)) != len(result):
        raise n.error(f"the result of '{equation}' has a label twice or from nowhere")
    return terms, result


def _expanded(text: str, span: int, own: int) -> list[str]:
    """Labels with an ellipsis as numbers, aligned at the right."""
    before, dots, after = text.partition("...")
    numbers = [str(i) for i in range(span - own, span)] if dots else []
    return [*before, *numbers, *after]


def _diagonal(b: GraphBuilder, term: Labelled) -> Labelled:
    """A repeated label becomes one axis: the diagonal of the two."""
    for label, count in Counter(term.labels).items():
        if count == 1:
            continue
        first = term.labels.index(label)
        second = term.labels.index(label, first + 1)
        rest = [i for i in range(len(term.labels)) if i not in (first, second)]
        moved = b.transpose(term.value, [*rest, first, second])
        size = shape_of(moved)[-1]
        lead = shape_of(moved)[:-2]
        places = b.mul(b.iota([size], "i64", 0), b.add(b.dim(size), 1))
        flat = b.reshape(moved, [*lead, size * size])
        value = b.gather(flat, places, len(lead))
        return _diagonal(b, Labelled(value, (*(term.labels[i] for i in rest), label)))
    return term


def _same_sizes(n: Node, terms: Sequence[Labelled]) -> list[Labelled]:
    """One size a label: sizes that must agree get one name, and an axis of size 1 that the
    others repeat is dropped."""
    sizes: dict[str, Dim] = {}
    for term in terms:
        for label, size in zip(term.labels, shape_of(term.value), strict=True):
            (sizes[label],) = n.builder.common_shape([[sizes.get(label, ONE)], [size]])
    return [_adapted(n.builder, term, sizes) for term in terms]


def _adapted(b: GraphBuilder, term: Labelled, sizes: dict[str, Dim]) -> Labelled:
    value = term.value
    for axis, label in enumerate(term.labels):
        if shape_of(value)[axis] is not ONE:
            value = with_size(value, axis, sizes[label], b)
    keep = [i for i, s in enumerate(shape_of(value)) if s is sizes[term.labels[i]]]
    value = b.reshape(value, [shape_of(value)[i] for i in keep])
    return Labelled(value, tuple(term.labels[i] for i in keep))


def _summed(b: GraphBuilder, term: Labelled, needed: set[str]) -> Labelled:
    """The sum over axes whose labels nobody needs."""
    axes = [i for i, label in enumerate(term.labels) if label not in needed]
    if not axes:
        return term
    labels = tuple(label for label in term.labels if label in needed)
    return Labelled(b.reduce("sum", term.value, axes), labels)


def _multiply(b: GraphBuilder, left: Labelled, right: Labelled, needed: set[str]) -> Labelled:
    """The product of two tensors, summed over common labels that nobody needs."""
    left = _summed(b, left, {*needed, *right.labels})
    common = [label for label in left.labels if label in right.labels]
    batch = [label for label in common if label in needed]
    inner = [label for label in common if label not in needed]
    free = (
        [label for label in left.labels if label not in common],
        [label for label in right.labels if label not in common],
    )
    labels = (*batch, *free[0], *free[1])
    if inner:
        value = b.dot(
            left.value,
            right.value,
            batch=(left.axes(batch), right.axes(batch)),
            contract=(left.axes(inner), right.axes(inner)),
        )
        return Labelled(value, labels)
    a, c = (_spread(b, term, labels) for term in (left, right))
    return Labelled(b.mul(a, c), labels)


def _spread(b: GraphBuilder, term: Labelled, labels: Sequence[str]) -> SSAValue:
    """The value with its axes in the order of `labels`, size 1 where it has none."""
    order = [label for label in labels if label in term.labels]
    missing = [i for i, label in enumerate(labels) if label not in term.labels]
    return b.unsqueeze(b.transpose(term.value, term.axes(order)), missing)
