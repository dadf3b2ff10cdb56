"""One CUDA device: its context, memory, code, streams, graphs."""

from __future__ import annotations

import ctypes
import os
import threading
from ctypes import byref, c_float, c_int, c_size_t, c_uint64, c_void_p
from functools import cache

from infini_ir.runtime.cuda import driver as cu
from infini_ir.runtime.cuda.driver import Driver, system_driver
from infini_ir.utils.errors import ArtifactError, DeviceError, OptionError

Handle = int
"""A module, function, stream, event or graph of the driver; an address too."""


class Device:
    """A device and its primary context, which other libraries in the process share."""

    def __init__(self, driver: Driver, ordinal: int = 0):
        self.driver = driver
        self.ordinal = ordinal
        self._current = threading.local()
        self._start()
        self.name = self._read_name()
        self.capability = (
            self._attribute(cu.CAPABILITY_MAJOR),
            self._attribute(cu.CAPABILITY_MINOR),
        )
        self.shared_limit = self._attribute(cu.SHARED_MEMORY_PER_BLOCK)
        """Bytes of shared memory that one block can have."""

    def _start(self) -> None:
        status = self.driver.cuInit(0)
        count = c_int()
        if status == 0:
            status = self.driver.cuDeviceGetCount(byref(count))
        if status or count.value == 0:
            why = self.driver.describe(status) if status else "it has no device"
            raise ArtifactError(
                f"this machine's CUDA driver cannot be used: {why}; run the model on a machine "
                "with an NVIDIA device, or compile it for --target cpu"
            )
        if self.ordinal >= count.value:
            raise ArtifactError(
                f"there is no CUDA device {self.ordinal}; this machine has {count.value}, "
                "numbered from 0"
            )
        device, context = c_int(), c_void_p()
        self.driver.call("cuDeviceGet", byref(device), self.ordinal)
        self.driver.call("cuDevicePrimaryCtxRetain", byref(context), device)
        self._device, self._context = device.value, context.value

    def _read_name(self) -> str:
        text = ctypes.create_string_buffer(256)
        self.driver.call("cuDeviceGetName", text, len(text), self._device)
        return text.value.decode()

    def _attribute(self, number: int) -> int:
        value = c_int()
        self.driver.call("cuDeviceGetAttribute", byref(value), number, self._device)
        return value.value

    def activate(self) -> None:
        """Make the device's context that of the calling thread."""
        # Another library may change a thread's context at any time, so it is set each time.
        self.driver.call("cuCtxSetCurrent", self._context)

    def check(self, arch: str, what: str) -> None:
        """Raise `ArtifactError` where code for `arch` does not run here; `what` names it."""
        if not runs_on(arch, self.capability):
            major, minor = self.capability
            raise ArtifactError(
                f"{what} was compiled for {arch}, but this machine's {self.name} is "
                f"sm_{major}{minor}; compile it again with --target nvidia:sm_{major}{minor}, "
                "or for the closest architecture below"
            )

    # Memory

    def allocate(self, size: int, what: str = "a model") -> int:
        """The address of fresh device memory, 256-byte aligned."""
        pointer = c_uint64()
        status = self.driver.cuMemAlloc_v2(byref(pointer), max(size, 1))
        if status == cu.OUT_OF_MEMORY:
            free, total = self.memory()
            raise DeviceError(
                f"{what} needs {size} bytes of device memory, but {self.name} has {free} of "
                f"{total} free; use smaller inputs, or free memory on the device"
            )
        if status:
            raise self.driver.error("cuMemAlloc", status)
        return pointer.value

    def free(self, pointer: int) -> None:
        """Give memory back, once all work on the device that may use it is done."""
        self.driver.call("cuMemFree_v2", pointer)

    def take(self, size: int, stream: Handle) -> int:
        """Memory from the stream's pool: usable by what follows on the stream."""
        pointer = c_uint64()
        self.driver.call("cuMemAllocAsync", byref(pointer), max(size, 1), stream)
        return pointer.value

    def give(self, pointer: int, stream: Handle) -> None:
        """Give `take`n memory back after what is on the stream by now."""
        self.driver.call("cuMemFreeAsync", pointer, stream)

    def memory(self) -> tuple[int, int]:
        """Bytes free, and bytes in all."""
        free, total = c_size_t(), c_size_t()
        self.driver.call("cuMemGetInfo_v2", byref(free), byref(total))
        return free.value, total.value

    def allocate_host(self, size: int) -> int:
        """The address of page-locked host memory, which copies reach without a detour."""
        pointer = c_void_p()
        self.driver.call("cuMemHostAlloc", byref(pointer), max(size, 1), 0)
        return pointer.value or 0

    def free_host(self, pointer: int) -> None:
        self.driver.call("cuMemFreeHost", pointer)

    def copy_in(self, target: int, source: int, size: int, stream: Handle) -> None:
        """From host memory to the device's."""
        if size:
            self.driver.call("cuMemcpyHtoDAsync_v2", target, source, size, stream)

    def copy_out(self, target: int, source: int, size: int, stream: Handle) -> None:
        """From the device's memory to the host's."""
        if size:
            self.driver.call("cuMemcpyDtoHAsync_v2", target, source, size, stream)

    def copy(self, target: int, source: int, size: int, stream: Handle) -> None:
        """Within the device's memory."""
        if size:
            self.driver.call("cuMemcpyDtoDAsync_v2", target, source, size, stream)

    def clear(self, target: int, size: int, stream: Handle) -> None:
        """Fill memory with zeros."""
        if size:
            self.driver.call("cuMemsetD8Async", target, 0, size, stream)

    # Code

    def load(self, image: bytes, what: str) -> Handle:
        """Load a cubin, which must be for this device."""
        module = c_void_p()
        status = self.driver.cuModuleLoadData(byref(module), image)
        if status == cu.NO_BINARY_FOR_DEVICE:
            raise ArtifactError(
                f"{what} holds no code that {self.name} runs; compile the model for this device"
            )
        if status:
            raise self.driver.error("cuModuleLoadData", status)
        return module.value or 0

    def unload(self, module: Handle) -> None:
        self.driver.call("cuModuleUnload", module)

    def function(self, module: Handle, name: str, shared: int) -> Handle:
        """A kernel of a module, allowed to have `shared` bytes of dynamic shared memory."""
        if shared > self.shared_limit:
            raise ArtifactError(
                f"kernel '{name}' wants {shared} bytes of shared memory, but {self.name} has "
                f"{self.shared_limit} a block; compile the model for this device"
            )
        function = c_void_p()
        self.driver.call("cuModuleGetFunction", byref(function), module, name.encode())
        if shared > cu.PLAIN_SHARED:
            number = cu.MAX_DYNAMIC_SHARED_MEMORY
            self.driver.call("cuFuncSetAttribute", function, number, shared)
        return function.value or 0

    # Order

    def stream(self) -> Handle:
        """A new stream, which runs beside all others."""
        stream = c_void_p()
        self.driver.call("cuStreamCreate", byref(stream), cu.STREAM_NON_BLOCKING)
        return stream.value or 0

    def destroy_stream(self, stream: Handle) -> None:
        self.driver.call("cuStreamDestroy_v2", stream)

    def synchronize(self, stream: Handle) -> None:
        """Wait until all work on a stream is done; its failures show here."""
        self.driver.call("cuStreamSynchronize", stream)

    def event(self, *, timed: bool = False) -> Handle:
        event = c_void_p()
        flags = 0 if timed else cu.EVENT_WITHOUT_TIMING
        self.driver.call("cuEventCreate", byref(event), flags)
        return event.value or 0

    def record(self, event: Handle, stream: Handle) -> None:
        """The event happens when all work on the stream by now is done."""
        self.driver.call("cuEventRecord", event, stream)

    def wait(self, stream: Handle, event: Handle) -> None:
        """What follows on the stream runs after the event."""
        self.driver.call("cuStreamWaitEvent", stream, event, 0)

    def destroy_event(self, event: Handle) -> None:
        self.driver.call("cuEventDestroy_v2", event)

    def milliseconds(self, first: Handle, last: Handle) -> float:
        """Time between two timed events, once the last has happened."""
        self.driver.call("cuEventSynchronize", last)
        value = c_float()
        self.driver.call("cuEventElapsedTime", byref(value), first, last)
        return value.value

    # Graphs

    def begin_capture(self, stream: Handle) -> None:
        """What this thread puts on the stream is noted from now on instead of run."""
        self.driver.call("cuStreamBeginCapture_v2", stream, cu.CAPTURE_THREAD_LOCAL)

    def end_capture(self, stream: Handle) -> Handle:
        """What was noted, ready to run again and again; 0 where the driver could not."""
        graph, runnable = c_void_p(), c_void_p()
        if self.driver.cuStreamEndCapture(stream, byref(graph)) or not graph.value:
            return 0
        status = self.driver.cuGraphInstantiateWithFlags(byref(runnable), graph, 0)
        self.driver.call("cuGraphDestroy", graph)
        return 0 if status else runnable.value or 0

    def run_graph(self, graph: Handle, stream: Handle) -> None:
        self.driver.call("cuGraphLaunch", graph, stream)

    def destroy_graph(self, graph: Handle) -> None:
        self.driver.call("cuGraphExecDestroy", graph)


def runs_on(arch: str, capability: tuple[int, int]) -> bool:
    """Whether a device runs code for an architecture: `sm_80` runs on every 8.x, `sm_90a`,
    with instructions of one architecture only, on 9.0 alone."""
    number = arch.removeprefix("sm_").removesuffix("a")
    if not number.isdigit():
        return False
    major, minor = divmod(int(number), 10)
    if arch.endswith("a"):
        return capability == (major, minor)
    return capability[0] == major and capability[1] >= minor


@cache
def _device(ordinal: int) -> Device:
    return Device(system_driver(), ordinal)


def default_device() -> Device:
    """The device that `INFINI_CUDA_DEVICE` numbers, by default 0; `CUDA_VISIBLE_DEVICES`
    decides which are counted. Raises `ArtifactError` where there is none."""
    text = os.environ.get("INFINI_CUDA_DEVICE", "") or "0"
    if not text.isdigit():
        raise OptionError(f"INFINI_CUDA_DEVICE is {text!r}; give a device's number, from 0")
    return _device(int(text))
