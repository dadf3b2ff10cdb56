"""Tensors in a device's memory: those that callers give, and those that models return."""

from __future__ import annotations

import math
import threading
import weakref
from typing import Any

import numpy as np

from infini_ir.runtime.cuda import dlpack
from infini_ir.runtime.cuda.device import Device, Handle
from infini_ir.runtime.cuda.dlpack import Shared
from infini_ir.runtime.memory import address_of
from infini_ir.runtime.signature import TensorSpec
from infini_ir.utils.dtypes import dtype_name, item_size, numpy_dtype
from infini_ir.utils.errors import DeviceError, InputError

_GRANULE = 512
"""Blocks' sizes are multiples of this, so that they fit each other's users."""

_DEFAULT_STREAMS = {None: 1, 0: 1}
"""DLPack's and the array interface's numbers for the default stream, as the driver's."""


class Block:
    """Device memory of one output. It goes back to its pool when nobody holds it."""

    def __init__(self, pool: OutputPool, pointer: int, size: int):
        self.pointer, self.size = pointer, size
        self.readers: set[Handle] = set()
        """Streams on which others may still be reading it."""
        self._finalizer = weakref.finalize(self, pool.give, pointer, size, self.readers)
        self._finalizer.atexit = False


class OutputPool:
    """Blocks for outputs, used again: a program that runs often writes to few addresses."""

    def __init__(self, device: Device):
        self.device = device
        self._free: dict[int, list[tuple[int, tuple[Handle, ...]]]] = {}
        self._lock = threading.RLock()  # a block may be given back while one is taken

    def take(self, size: int, stream: Handle) -> Block:
        """A block that what follows on the stream may write."""
        size = -(-max(size, 1) // _GRANULE) * _GRANULE
        with self._lock:
            known = self._free.get(size)
            pointer, events = known.pop() if known else (0, ())
        if not pointer:
            return Block(self, self.device.allocate(size, "an output"), size)
        for event in events:
            self.device.wait(stream, event)
            self.device.destroy_event(event)
        return Block(self, pointer, size)

    def give(self, pointer: int, size: int, readers: set[Handle]) -> None:
        """Take a block back: its next user waits for what its readers have begun by now."""
        try:
            self.device.activate()
            events = []
            for stream in readers:
                event = self.device.event()
                self.device.record(event, stream)
                events.append(event)
        except DeviceError:
            # A reader's stream is gone or failed. The memory is not used again, which is safe.
            return
        with self._lock:
            self._free.setdefault(size, []).append((pointer, tuple(events)))


class DeviceArray:
    """An output in a device's memory. Other libraries take it by DLPack, such as
    `torch.from_dlpack(y)`, or by `__cuda_array_interface__`; `y.numpy()` copies it out."""

    def __init__(self, device: Device, block: Block, dtype: str, shape: tuple[int, ...]):
        self._device, self._block = device, block
        self.dtype = numpy_dtype(dtype)
        self.shape = shape
        self.pointer = block.pointer
        """Address in the device's memory."""

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def numpy(self) -> np.ndarray:
        """A copy in host memory."""
        result = np.empty(self.shape, self.dtype)
        self._device.activate()
        self._device.copy_out(address_of(result), self.pointer, self.nbytes, 0)
        self._device.synchronize(0)
        return result

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        result = self.numpy()
        return result if dtype is None else result.astype(dtype)

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.CUDA, self._device.ordinal

    def __dlpack__(self, *, stream: int | None = None, **_: Any) -> Any:
        """The array's memory, shared; it is complete, so the consumer need not wait."""
        block = self._block
        if stream != -1:
            block.readers.add(_DEFAULT_STREAMS.get(stream, stream or 1))

        def done(held: Block = block) -> None:
            """Drops the last reference that keeps the memory."""

        try:
            return dlpack.write(
                self.pointer, dtype_name(self.dtype), self.shape, self._device.ordinal, done
            )
        except KeyError:
            raise BufferError(f"DLPack has no elements of type {self.dtype}") from None

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if self.dtype.kind == "V":
            raise AttributeError(f"the array interface has no elements of type {self.dtype}")
        self._block.readers.add(1)
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, False),
            "strides": None,
            "version": 3,
            "stream": None,
        }

    def __repr__(self) -> str:
        return f"<DeviceArray {self.dtype.name}{list(self.shape)} on {self._device.name}>"


def device_tensor(
    spec: TensorSpec, value: Any, device: Device, stream: Handle
) -> Shared | None:
    """The device memory of a tensor, or None where it is not on such a device.

    What follows on the stream sees what its owner has put there. `InputError` for a tensor
    that does not fit the input, or is on another device.
    """
    shared = _share(spec, value, device, stream)
    if shared is None:
        return None
    if shared.device != device.ordinal:
        raise InputError(
            f"input '{spec.name}' is on CUDA device {shared.device}, but the model runs on "
            f"device {device.ordinal}; move it there, or set INFINI_CUDA_DEVICE"
        )
    if shared.dtype != spec.dtype:
        raise InputError(
            f"input '{spec.name}' has dtype {shared.dtype or 'unknown'}, but the model wants "
            f"{spec.type_text()}; convert it first"
        )
    if not shared.dense:
        raise InputError(
            f"input '{spec.name}' is not contiguous in device memory; give a contiguous copy, "
            "such as with .contiguous()"
        )
    return shared


def _share(spec: TensorSpec, value: Any, device: Device, stream: Handle) -> Shared | None:
    if isinstance(value, np.ndarray):
        return None
    if isinstance(value, DeviceArray):
        dtype = dtype_name(value.dtype)
        ordinal = value._device.ordinal
        return Shared(value.pointer, dtype, value.shape, True, ordinal, value)
    where = getattr(value, "__dlpack_device__", None)
    if where is not None:
        if int(where()[0]) != dlpack.CUDA:
            return None
        if getattr(value, "requires_grad", False):
            value = value.detach()
        return dlpack.read(value.__dlpack__(stream=stream))
    if hasattr(value, "__cuda_array_interface__"):
        return _from_interface(spec, value, device)
    return None


def _from_interface(spec: TensorSpec, value: Any, device: Device) -> Shared:
    """A tensor of a library without DLPack. Its device is taken to be ours: the interface
    does not say."""
    found = value.__cuda_array_interface__
    try:
        dtype = dtype_name(np.dtype(found["typestr"]))
    except (KeyError, TypeError):
        dtype = None
    shape = tuple(map(int, found["shape"]))
    strides = found.get("strides")
    size = item_size(dtype) if dtype is not None else 1
    dense = strides is None or dlpack.is_dense(shape, tuple(s // size for s in strides))
    if found.get("stream") is not None:
        device.synchronize(int(found["stream"]))
    return Shared(int(found["data"][0]), dtype, shape, dense, device.ordinal, value)
