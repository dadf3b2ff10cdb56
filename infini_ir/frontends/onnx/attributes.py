"""Attributes of ONNX nodes as Python values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
from onnx import AttributeProto

from infini_ir.frontends.onnx.tensors import Files, initializer_of

Fail = Callable[[str], Exception]


def attribute_value(proto: AttributeProto, files: Files, error: Fail) -> Any:
    """int, float, str, lists of them, np.ndarray, GraphProto, TypeProto or lists of these."""
    kind = proto.type or _guess(proto)
    if kind == AttributeProto.FLOAT:
        return proto.f
    if kind == AttributeProto.INT:
        return proto.i
    if kind == AttributeProto.STRING:
        return _text(proto.s)
    if kind == AttributeProto.TENSOR:
        return initializer_of(proto.t, files, error).array
    if kind == AttributeProto.FLOATS:
        return list(proto.floats)
    if kind == AttributeProto.INTS:
        return list(proto.ints)
    if kind == AttributeProto.STRINGS:
        return [_text(s) for s in proto.strings]
    if kind == AttributeProto.TENSORS:
        return [initializer_of(t, files, error).array for t in proto.tensors]
    if kind == AttributeProto.GRAPH:
        return proto.g
    if kind == AttributeProto.GRAPHS:
        return list(proto.graphs)
    if kind == AttributeProto.SPARSE_TENSOR:
        return proto.sparse_tensor
    if kind == AttributeProto.TYPE_PROTO:
        return proto.tp
    raise error(f"attribute '{proto.name}' has no known type")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace")


_FIELDS = (
    ("floats", AttributeProto.FLOATS),
    ("ints", AttributeProto.INTS),
    ("strings", AttributeProto.STRINGS),
    ("tensors", AttributeProto.TENSORS),
    ("graphs", AttributeProto.GRAPHS),
)
_SINGLE = (
    ("f", AttributeProto.FLOAT),
    ("i", AttributeProto.INT),
    ("s", AttributeProto.STRING),
    ("t", AttributeProto.TENSOR),
    ("g", AttributeProto.GRAPH),
)


def _guess(proto: onnx.AttributeProto) -> int:
    """The type of an attribute in a file from before attributes said it."""
    for name, kind in _FIELDS:
        if len(getattr(proto, name)):
            return kind
    for name, kind in _SINGLE:
        if proto.HasField(name):
            return kind
    return AttributeProto.UNDEFINED
