"""Reading a model file without reading its weights.

A model file is one protobuf message, and nearly all of it is the raw data of initializers.
Here the message is walked field by field (Protocol Buffers encoding, "Message structure"),
and large raw data stays in the file: the tensor becomes one with external data, which lies
at that offset of this very file. What is left is parsed as usual, and the weights are mapped
at first use like those of any model with external data.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

import onnx

SMALLEST = 1 << 16
"""Bytes of raw data from which on it stays in the file; shapes and indices are less."""

# Field numbers of onnx.proto.
_MODEL_GRAPH, _GRAPH_INITIALIZER, _TENSOR_RAW_DATA, _TENSOR_DATA_LOCATION = 7, 5, 9, 14
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5

_Span = tuple[int, int]
_Field = tuple[int, int, int, int]
"""Number, where the field begins with its tag, where its content begins and ends."""


def without_weights(path: Path) -> bytes | None:
    """The message in the file at `path` with large raw data left out and referred to as
    external data; None where there is none, or where the file is no such message."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as m:
            return _rewritten(m, path.name)
    except (OSError, ValueError, IndexError):
        return None


def _rewritten(data: mmap.mmap, location: str) -> bytes | None:
    graphs = [f for f in _fields(data, (0, len(data))) if f[0] == _MODEL_GRAPH]
    if len(graphs) != 1:
        return None
    _, begin, start, end = graphs[0]
    graph = bytearray()
    kept, found = start, False
    for number, first, inner, last in _fields(data, (start, end)):
        if number != _GRAPH_INITIALIZER or last - inner < SMALLEST:
            continue
        tensor = _external(data, (inner, last), location)
        if tensor is not None:
            graph += data[kept:first] + _tagged(_GRAPH_INITIALIZER, tensor)
            kept, found = last, True
    if not found:
        return None
    graph += data[kept:end]
    return data[:begin] + _tagged(_MODEL_GRAPH, bytes(graph)) + data[end:]


def _external(data: mmap.mmap, span: _Span, location: str) -> bytes | None:
    """A tensor whose raw data is that part of the file; None where it has little or none."""
    fields = list(_fields(data, span))
    raw = [f for f in fields if f[0] == _TENSOR_RAW_DATA]
    places = [f for f in fields if f[0] == _TENSOR_DATA_LOCATION]
    if len(raw) != 1 or any(_varint(data, f[2], f[3])[0] for f in places):
        return None
    _, begin, start, end = raw[0]
    if end - start < SMALLEST:
        return None
    reference = onnx.TensorProto(data_location=onnx.TensorProto.EXTERNAL)
    entries = {"location": location, "offset": str(start), "length": str(end - start)}
    for key, value in entries.items():
        reference.external_data.add(key=key, value=value)
    return data[span[0] : begin] + data[end : span[1]] + reference.SerializeToString()


def _fields(data: mmap.mmap, span: _Span) -> Iterator[_Field]:
    """The fields of a message. Raises `ValueError` where it is none."""
    position, end = span
    while position < end:
        begin = position
        tag, position = _varint(data, position, end)
        kind = tag & 7
        if kind == _VARINT:
            start = position
            _, position = _varint(data, position, end)
        elif kind == _LENGTH:
            size, start = _varint(data, position, end)
            position = start + size
        elif kind in (_FIXED64, _FIXED32):
            start = position
            position += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError("a group")
        if position > end:
            raise ValueError("a field reaches beyond its message")
        yield tag >> 3, begin, start, position


def _varint(data: mmap.mmap, position: int, end: int) -> tuple[int, int]:
    """A number of 7 bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("a number without an end")


def _tagged(number: int, content: bytes) -> bytes:
    """A field of bytes."""
    return bytes([number << 3 | _LENGTH]) + _encoded(len(content)) + content


def _encoded(value: int) -> bytes:
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
