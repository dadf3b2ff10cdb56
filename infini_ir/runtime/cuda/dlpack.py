"""DLPack: the C structures by which libraries share tensors, read and written directly."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from ctypes import c_char_p, c_int32, c_int64, c_uint8, c_uint16, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Any

CUDA = 2
"""kDLCUDA."""

_CODES = {
    ("i", 8): "i8", ("i", 16): "i16", ("i", 32): "i32", ("i", 64): "i64",
    ("u", 8): "ui8", ("u", 16): "ui16", ("u", 32): "ui32", ("u", 64): "ui64",
    ("f", 16): "f16", ("f", 32): "f32", ("f", 64): "f64",
    ("b", 16): "bf16", ("o", 8): "i1",
}  # fmt: skip
_LETTERS = {0: "i", 1: "u", 2: "f", 4: "b", 6: "o"}
"""Type codes: int, uint, float, bfloat, bool."""
_TYPES = {name: (letter, bits) for (letter, bits), name in _CODES.items()}
_NUMBERS = {letter: code for code, letter in _LETTERS.items()}


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", c_void_p),
        ("device_type", c_int32),
        ("device_id", c_int32),
        ("ndim", c_int32),
        ("code", c_uint8),
        ("bits", c_uint8),
        ("lanes", c_uint16),
        ("shape", ctypes.POINTER(c_int64)),
        ("strides", ctypes.POINTER(c_int64)),
        ("byte_offset", c_uint64),
    )


_Deleter = ctypes.CFUNCTYPE(None, c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", c_void_p), ("deleter", _Deleter))


@dataclass(frozen=True)
class Shared:
    """A tensor of another library, as long as `owner` lives."""

    pointer: int
    dtype: str | None
    """None for an element type that the system does not have."""
    shape: tuple[int, ...]
    dense: bool
    """Row-major without gaps."""
    device: int
    owner: Any


def is_dense(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether strides (in elements) are row-major without gaps."""
    if 0 in shape:
        return True
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return True


def _python(name: str, result: Any, *arguments: Any) -> Any:
    """A function of Python's C interface, with a prototype of its own: the shared one may
    be declared otherwise by others."""
    return ctypes.PYFUNCTYPE(result, *arguments)((name, ctypes.pythonapi))


_pointer_of = _python("PyCapsule_GetPointer", c_void_p, ctypes.py_object, c_char_p)
_is_valid = _python("PyCapsule_IsValid", ctypes.c_int, c_void_p, c_char_p)
_raw_pointer_of = _python("PyCapsule_GetPointer", c_void_p, c_void_p, c_char_p)
_new_capsule = _python("PyCapsule_New", ctypes.py_object, c_void_p, c_char_p, c_void_p)
_NAME = b"dltensor"


def read(capsule: Any) -> Shared:
    """The tensor in a capsule that `__dlpack__` gave."""
    managed = _Managed.from_address(_pointer_of(capsule, _NAME))
    tensor = managed.tensor
    shape = tuple(tensor.shape[: tensor.ndim]) if tensor.ndim else ()
    dense = not tensor.strides or is_dense(shape, tuple(tensor.strides[: tensor.ndim]))
    letter = _LETTERS.get(tensor.code, "")
    dtype = _CODES.get((letter, tensor.bits)) if tensor.lanes == 1 else None
    pointer = (tensor.data or 0) + tensor.byte_offset
    return Shared(pointer, dtype, shape, dense, tensor.device_id, capsule)


_exported: dict[int, tuple[Any, ...]] = {}
"""What capsules that are still in use refer to."""
_numbers = itertools.count(1)


@_Deleter
def _forget(managed: int) -> None:
    _, _, done = _exported.pop(_Managed.from_address(managed).context)
    done()


@ctypes.CFUNCTYPE(None, c_void_p)
def _drop_unused(capsule: int) -> None:
    """A capsule's end: where nobody took the tensor, it is still ours to give back."""
    if _is_valid(capsule, _NAME):
        _forget(_raw_pointer_of(capsule, _NAME))


def write(
    pointer: int, dtype: str, shape: tuple[int, ...], device: int, done: Callable[[], None]
) -> Any:
    """A capsule of device memory; `done` is called when its last user has dropped it.

    `KeyError` for an element type that DLPack does not have.
    """
    letter, bits = _TYPES[dtype]
    sizes = (c_int64 * max(len(shape), 1))(*shape)
    managed = _Managed()
    managed.tensor = _Tensor(
        pointer, CUDA, device, len(shape), _NUMBERS[letter], bits, 1, sizes, None, 0
    )
    managed.context = next(_numbers)
    managed.deleter = _forget
    _exported[managed.context] = (managed, sizes, done)
    return _new_capsule(ctypes.addressof(managed), _NAME, _drop_unused)
