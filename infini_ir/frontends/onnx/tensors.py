"""Tensors stored in ONNX files, inside the model or next to it, as initializers."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from infini_ir.frontends.onnx.values import Initializer
from infini_ir.utils.dtypes import numpy_dtype
from infini_ir.utils.file_digests import State
from infini_ir.utils.weights import WeightStore

Fail = Callable[[str], Exception]

DTYPES: dict[int, str] = {
    TensorProto.FLOAT: "f32",
    TensorProto.UINT8: "ui8",
    TensorProto.INT8: "i8",
    TensorProto.UINT16: "ui16",
    TensorProto.INT16: "i16",
    TensorProto.INT32: "i32",
    TensorProto.INT64: "i64",
    TensorProto.BOOL: "i1",
    TensorProto.FLOAT16: "f16",
    TensorProto.DOUBLE: "f64",
    TensorProto.UINT32: "ui32",
    TensorProto.UINT64: "ui64",
    TensorProto.BFLOAT16: "bf16",
    TensorProto.FLOAT8E4M3FN: "f8E4M3FN",
    TensorProto.FLOAT8E4M3FNUZ: "f8E4M3FNUZ",
    TensorProto.FLOAT8E5M2: "f8E5M2",
    TensorProto.FLOAT8E5M2FNUZ: "f8E5M2FNUZ",
    TensorProto.UINT4: "ui4",
    TensorProto.INT4: "i4",
    TensorProto.FLOAT4E2M1: "f4E2M1FN",
    TensorProto.FLOAT8E8M0: "f8E8M0FNU",
    TensorProto.UINT2: "ui2",
    TensorProto.INT2: "i2",
}
"""ONNX element types by our names; strings, complex and 6-bit floats have none."""

ONNX_DTYPES = {name: code for code, name in DTYPES.items()}

_BITS = {"i4": 4, "ui4": 4, "f4E2M1FN": 4, "i2": 2, "ui2": 2}

_FIELDS = {"f32": "float_data", "f64": "double_data", "i64": "int64_data"}
_FIELDS |= {"ui32": "uint64_data", "ui64": "uint64_data"}


def dtype_of(code: int, error: Fail) -> str:
    """Our name of an ONNX element type."""
    if code not in DTYPES:
        known = code in TensorProto.DataType.values()
        name = TensorProto.DataType.Name(code) if known else str(code)
        raise error(f"element type {name} is not supported; convert to a real number type")
    return DTYPES[code]


@dataclass
class Files:
    """Where the files next to the model are, and the weights that may refer to them."""

    folder: Path | None
    """The model's folder; None for a model that came as bytes."""
    weights: WeightStore

    def locate(self, location: str, error: Fail) -> Path:
        """The path of an external file, which must lie in the model's folder."""
        if self.folder is None:
            raise error(
                f"its data is in '{location}', but a model given as bytes has no folder; "
                "give the path of the model file"
            )
        relative = Path(location.replace("\\", os.sep))
        if not location or relative.is_absolute() or ".." in relative.parts:
            raise error(f"external data '{location}' must lie in the model's folder")
        path = (self.folder / relative).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise error(f"external data '{location}' links out of the model's folder")
        if not path.is_file():
            raise error(f"external data file '{path}' does not exist")
        if self.folder / relative not in self.weights.files:
            self.weights.files[self.folder / relative] = State.of(path)
        return path


def initializer_of(proto: TensorProto, files: Files, error: Fail) -> Initializer:
    """The tensor of a proto, its size checked; data outside the model is not read yet."""
    name = proto.name or "constant"

    def fail(message: str) -> Exception:
        return error(f"tensor '{name}': {message}")

    shape = tuple(proto.dims)
    if any(size < 0 for size in shape):
        raise fail(f"it has a negative size in {list(shape)}")
    if proto.data_type == TensorProto.STRING:
        return _strings(proto, name, shape, fail)
    dtype = dtype_of(proto.data_type, fail)
    if proto.HasField("segment"):
        raise fail("it is stored in segments; save the model with whole tensors")
    if proto.data_location == TensorProto.EXTERNAL:
        return _external(proto, name, dtype, shape, files, fail)
    return Initializer.of(name, _stored(proto, dtype, shape, fail), dtype)


def _strings(proto: TensorProto, name: str, shape: tuple[int, ...], fail: Fail) -> Initializer:
    if math.prod(shape) != len(proto.string_data):
        raise fail(f"it has {len(proto.string_data)} strings for shape {list(shape)}")
    array = np.empty(len(proto.string_data), object)
    array[:] = [s.decode("utf-8", errors="replace") for s in proto.string_data]
    return Initializer.of(name, array.reshape(shape), "")


def packed_size(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes that a tensor takes in an ONNX file, where small elements are packed."""
    bits = _BITS.get(dtype, numpy_dtype(dtype).itemsize * 8)
    return -(-math.prod(shape) * bits // 8)


def _from_bytes(raw: bytes | np.ndarray, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    if dtype in _BITS:
        return _unpack(np.frombuffer(raw, np.uint8), dtype, shape)
    return np.frombuffer(raw, numpy_dtype(dtype).newbyteorder("<")).reshape(shape)


def _unpack(packed: np.ndarray, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Elements of 2 or 4 bits, the first in the low bits."""
    bits = _BITS[dtype]
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    fields = (packed[:, None] >> shifts) & ((1 << bits) - 1)
    flat = fields.reshape(-1)[: math.prod(shape)].astype(np.uint8)
    if dtype.startswith("i"):
        sign = 1 << (bits - 1)
        return ((flat ^ sign).astype(np.int8) - sign).astype(numpy_dtype(dtype)).reshape(shape)
    if dtype.startswith("ui"):
        return flat.astype(numpy_dtype(dtype)).reshape(shape)
    return flat.view(numpy_dtype(dtype)).reshape(shape)


def _stored(proto: TensorProto, dtype: str, shape: tuple[int, ...], fail: Fail) -> np.ndarray:
    """The data that the proto itself holds, as raw bytes or in a typed field."""
    count, size = math.prod(shape), packed_size(dtype, shape)
    if proto.HasField("raw_data"):
        if len(proto.raw_data) != size:
            raise fail(
                f"shape {list(shape)} of {dtype} takes {size} bytes, "
                f"but {len(proto.raw_data)} are stored; the file is damaged"
            )
        return _from_bytes(proto.raw_data, dtype, shape)
    field = getattr(proto, _FIELDS.get(dtype, "int32_data"))
    wanted = size if dtype in _BITS else count
    if len(field) != wanted:
        raise fail(
            f"shape {list(shape)} of {dtype} takes {wanted} elements, "
            f"but {len(field)} are stored; the file is damaged"
        )
    return _from_field(np.array(field), dtype, shape)


def _from_field(values: np.ndarray, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    if dtype in _BITS:
        return _unpack(values.astype(np.int64).astype(np.uint8), dtype, shape)
    target = numpy_dtype(dtype)
    if dtype in _FIELDS or dtype in ("i8", "i16", "i32", "ui8", "ui16", "i1"):
        return values.astype(target).reshape(shape)
    # Other floats are stored as the integers of their bits.
    bits = np.dtype(f"uint{target.itemsize * 8}")
    return values.astype(np.int64).astype(bits).view(target).reshape(shape)


def _external(
    proto: TensorProto,
    name: str,
    dtype: str,
    shape: tuple[int, ...],
    files: Files,
    fail: Fail,
) -> Initializer:
    entries = {entry.key: entry.value for entry in proto.external_data}
    path = files.locate(entries.get("location", ""), fail)
    size = packed_size(dtype, shape)
    try:
        offset = int(entries.get("offset") or 0)
        length = int(entries.get("length") or size)
    except ValueError:
        raise fail("the offset or length of its external data is not a number") from None
    if length != size:
        raise fail(
            f"shape {list(shape)} of {dtype} takes {size} bytes, "
            f"but its external data has {length}"
        )
    available = path.stat().st_size
    if offset < 0 or offset + size > available:
        raise fail(
            f"it takes bytes {offset} to {offset + size} of {path.name}, which has only "
            f"{available}; the file is cut short or belongs to another model"
        )

    def load() -> np.ndarray:
        if not size:
            return np.empty(shape, numpy_dtype(dtype))
        raw = np.memmap(path, np.uint8, "r", offset, (size,))
        return _from_bytes(raw, dtype, shape)

    def store() -> str:
        return files.weights.add_file(name, path, offset, dtype, shape)

    return Initializer(name, dtype, shape, load, None if dtype in _BITS else store)


def sparse_initializer(proto: onnx.SparseTensorProto, files: Files, error: Fail) -> Initializer:
    """A sparse tensor (coordinates and values) made dense."""
    values = initializer_of(proto.values, files, error)
    indices = initializer_of(proto.indices, files, error).array
    shape, name = tuple(proto.dims), proto.values.name
    if indices.ndim not in (1, 2) or len(indices) != len(values.array):
        raise error(f"sparse tensor '{name}': its indices do not fit its values")
    dense = np.zeros(shape, values.array.dtype)
    try:
        if indices.ndim == 1:
            dense.reshape(-1)[indices] = values.array
        else:
            dense[tuple(indices.T)] = values.array
    except IndexError:
        raise error(f"sparse tensor '{name}': an index is outside {list(shape)}") from None
    return Initializer.of(name, dense, values.dtype)
