"""What a caller may give for an input, made into an array that native code can read."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from infini_ir.runtime.signature import TensorSpec
from infini_ir.utils.dtypes import dtype_name, numpy_dtype
from infini_ir.utils.errors import InputError

_DLPACK_CPU_DEVICES = (1, 3, 11)
"""kDLCPU, kDLCUDAHost, kDLROCMHost: memory that the processor reads."""

_BY_BITS = {
    "bfloat16": ("bf16", "int16"),
    "float8_e4m3fn": ("f8E4M3FN", "uint8"),
    "float8_e5m2": ("f8E5M2", "uint8"),
}
"""torch's types that numpy's DLPack lacks: our name, and torch's integer of that size."""


def as_input(spec: TensorSpec, value: Any) -> np.ndarray:
    """`value` as a contiguous, aligned array of exactly the input's dtype and rank.

    Copies only where the layout asks for it; never converts numbers. `InputError` names the
    input, what was given and what is wanted.
    """
    array = _as_array(spec, value)
    _check_dtype(spec, array)
    if array.ndim != len(spec.shape):
        raise InputError(
            f"input '{spec.name}' has {array.ndim} dimensions, shape {list(array.shape)}; "
            f"the model wants {spec.type_text()}"
        )
    if not (array.flags.c_contiguous and array.flags.aligned):
        return np.array(array, order="C", copy=True, subok=False)
    return array


def _as_array(spec: TensorSpec, value: Any) -> np.ndarray:
    if isinstance(value, np.ndarray):
        if isinstance(value, np.ma.MaskedArray):
            raise InputError(
                f"input '{spec.name}' is a masked array, and its mask would be lost; "
                "give .filled(value)"
            )
        return value.view(np.ndarray)
    if hasattr(value, "__dlpack__") and not isinstance(value, np.generic):
        return _from_dlpack(spec, value)
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"input '{spec.name}': {type(value).__name__} cannot be made an array ({error}); "
            f"the model wants {spec.type_text()}"
        ) from error
    if not _known(array.dtype) and array.dtype.kind in "OUSV":
        raise InputError(
            f"input '{spec.name}' is {_described(value)}; the model wants {spec.type_text()} "
            "as an array"
        )
    return array


def _described(value: Any) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"


def _from_dlpack(spec: TensorSpec, value: Any) -> np.ndarray:
    """The memory of another library's tensor, shared."""
    if getattr(value, "requires_grad", False):
        value = value.detach()
    device = value.__dlpack_device__()
    if int(device[0]) not in _DLPACK_CPU_DEVICES:
        raise InputError(
            f"input '{spec.name}' is on another device; move it to the CPU first, "
            "such as with .cpu()"
        )
    try:
        return np.from_dlpack(value)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        viewed = _view_by_bits(spec, value)
        if viewed is None:
            raise InputError(
                f"input '{spec.name}': its DLPack tensor cannot be shared ({error}); "
                f"the model wants {spec.type_text()}"
            ) from error
        return viewed


def _view_by_bits(spec: TensorSpec, value: Any) -> np.ndarray | None:
    """A tensor of a type that numpy's DLPack lacks (bfloat16, float8), by way of integers.

    For torch's tensors. Whoever gives one has imported torch, so nothing is imported here.
    """
    kind = str(getattr(value, "dtype", "")).rpartition(".")[2]
    torch = sys.modules.get("torch")
    if kind not in _BY_BITS or torch is None or not isinstance(value, torch.Tensor):
        return None
    name, integer = _BY_BITS[kind]
    return np.from_dlpack(value.view(getattr(torch, integer))).view(numpy_dtype(name))


def _known(dtype: np.dtype) -> bool:
    try:
        dtype_name(dtype)
    except KeyError:
        return False
    return True


def _check_dtype(spec: TensorSpec, array: np.ndarray) -> None:
    wanted = numpy_dtype(spec.dtype)
    if array.dtype == wanted:
        return
    if array.dtype.newbyteorder("=") == wanted:
        raise InputError(
            f"input '{spec.name}' is big-endian {wanted.name}; convert it with "
            f".astype('{wanted.name}')"
        )
    raise InputError(
        f"input '{spec.name}' has dtype {array.dtype}, but the model wants "
        f"{wanted.name} ({spec.type_text()}); convert it with .astype('{wanted.name}')"
    )
