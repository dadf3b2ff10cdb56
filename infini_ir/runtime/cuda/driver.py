"""The CUDA driver, called directly: the library that every NVIDIA driver installs.

`Driver` is a thin layer over any object that has the functions of `SIGNATURES`: the
driver's library, or in tests one that keeps host memory and checks each call.
"""

from __future__ import annotations

import ctypes
from ctypes import c_char_p, c_float, c_int, c_size_t, c_ubyte, c_uint, c_uint64, c_void_p
from functools import cache
from typing import Any

from infini_ir.utils.errors import ArtifactError, DeviceError

LIBRARY = "libcuda.so.1"

_P = ctypes.POINTER

SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cuInit": (c_uint,),
    "cuDriverGetVersion": (_P(c_int),),
    "cuGetErrorName": (c_int, _P(c_char_p)),
    "cuGetErrorString": (c_int, _P(c_char_p)),
    "cuDeviceGetCount": (_P(c_int),),
    "cuDeviceGet": (_P(c_int), c_int),
    "cuDeviceGetName": (c_void_p, c_int, c_int),
    "cuDeviceGetAttribute": (_P(c_int), c_int, c_int),
    "cuDevicePrimaryCtxRetain": (_P(c_void_p), c_int),
    "cuCtxSetCurrent": (c_void_p,),
    "cuModuleLoadData": (_P(c_void_p), c_void_p),
    "cuModuleUnload": (c_void_p,),
    "cuModuleGetFunction": (_P(c_void_p), c_void_p, c_char_p),
    "cuFuncSetAttribute": (c_void_p, c_int, c_int),
    "cuMemGetInfo_v2": (_P(c_size_t), _P(c_size_t)),
    "cuMemAlloc_v2": (_P(c_uint64), c_size_t),
    "cuMemFree_v2": (c_uint64,),
    "cuMemAllocAsync": (_P(c_uint64), c_size_t, c_void_p),
    "cuMemFreeAsync": (c_uint64, c_void_p),
    "cuMemHostAlloc": (_P(c_void_p), c_size_t, c_uint),
    "cuMemFreeHost": (c_void_p,),
    "cuMemcpyHtoDAsync_v2": (c_uint64, c_void_p, c_size_t, c_void_p),
    "cuMemcpyDtoHAsync_v2": (c_void_p, c_uint64, c_size_t, c_void_p),
    "cuMemcpyDtoDAsync_v2": (c_uint64, c_uint64, c_size_t, c_void_p),
    "cuMemsetD8Async": (c_uint64, c_ubyte, c_size_t, c_void_p),
    "cuStreamCreate": (_P(c_void_p), c_uint),
    "cuStreamDestroy_v2": (c_void_p,),
    "cuStreamSynchronize": (c_void_p,),
    "cuStreamWaitEvent": (c_void_p, c_void_p, c_uint),
    "cuStreamBeginCapture_v2": (c_void_p, c_int),
    "cuStreamEndCapture": (c_void_p, _P(c_void_p)),
    "cuGraphInstantiateWithFlags": (_P(c_void_p), c_void_p, c_uint64),
    "cuGraphDestroy": (c_void_p,),
    "cuGraphLaunch": (c_void_p, c_void_p),
    "cuGraphExecDestroy": (c_void_p,),
    "cuEventCreate": (_P(c_void_p), c_uint),
    "cuEventRecord": (c_void_p, c_void_p),
    "cuEventSynchronize": (c_void_p,),
    "cuEventElapsedTime": (_P(c_float), c_void_p, c_void_p),
    "cuEventDestroy_v2": (c_void_p,),
    "cuLaunchKernel": (c_void_p, *[c_uint] * 7, c_void_p, _P(c_void_p), _P(c_void_p)),
}
"""Parameter types of the functions used, as in `cuda.h`. All return a status."""

OUT_OF_MEMORY = 2

CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76
SHARED_MEMORY_PER_BLOCK = 97
"""Device attributes."""

MAX_DYNAMIC_SHARED_MEMORY = 8
"""The function attribute that lets a kernel have more shared memory than `PLAIN_SHARED`."""
PLAIN_SHARED = 48 << 10

CAPTURE_THREAD_LOCAL = 1
STREAM_NON_BLOCKING = 1
EVENT_WITHOUT_TIMING = 2
NO_BINARY_FOR_DEVICE = 209


class Driver:
    """The driver's functions, each raising `DeviceError` where it fails."""

    def __init__(self, library: Any):
        for name, arguments in SIGNATURES.items():
            try:
                function = getattr(library, name)
            except AttributeError:
                raise ArtifactError(
                    f"this machine's CUDA driver has no {name}; install a driver for CUDA 12 "
                    "or newer"
                ) from None
            function.argtypes = arguments
            function.restype = c_int
            setattr(self, name, function)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{name} is not among the driver's functions that are used")

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function; `DeviceError` with the driver's own words where it fails."""
        status = getattr(self, name)(*arguments)
        if status:
            raise self.error(name, status)

    def error(self, name: str, status: int) -> DeviceError:
        """What a status says."""
        return DeviceError(f"the CUDA driver's {name} failed: {self.describe(status)}")

    def describe(self, status: int) -> str:
        """A status's name and its meaning, in the driver's words."""
        words = []
        for function in (self.cuGetErrorName, self.cuGetErrorString):
            text = c_char_p()
            known = function(status, ctypes.byref(text)) == 0 and text.value
            words.append(text.value.decode() if known and text.value else "")
        name, meaning = words
        return f"{name} ({meaning})" if name else f"status {status}"


@cache
def _system_driver() -> Driver:
    return Driver(ctypes.CDLL(LIBRARY))


def system_driver() -> Driver:
    """This machine's driver. Raises `ArtifactError` where there is none."""
    try:
        return _system_driver()
    except OSError as error:
        raise ArtifactError(
            f"this machine has no CUDA driver ({error}); the model was compiled for an NVIDIA "
            "device: run it on a machine with one, or compile it for --target cpu"
        ) from error
