"""A CUDA driver without a device: the same functions over host memory, each call checked.

It keeps the driver's own rules (CUDA Driver API reference, version 12): work put on a stream
happens only when someone waits for it, so a missing wait shows as memory nobody has written;
every address must lie in memory that is allocated then; a launch's grid, block, shared
memory and parameters must fit the kernel; what is freed is poisoned. A broken rule is noted
in `failures`, with the call, and the call fails.

The functions are C function pointers made from `driver.SIGNATURES`, so the product's ctypes
calls are marshalled as they are for the real library. Kernels are Python functions.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from infini_ir.runtime.cuda.driver import SIGNATURES
from tests.devices.nvidia.fake_parts import (
    CAPTURE_UNSUPPORTED,
    GUARD,
    ILLEGAL_ADDRESS,
    INVALID_HANDLE,
    INVALID_VALUE,
    MAGIC,
    NO_BINARY,
    NOT_FOUND,
    OUT_OF_MEMORY,
    POISON,
    SUCCESS,
    TEXTS,
    Allocation,
    Event,
    Fault,
    Kernel,
    LaunchRecord,
    Stream,
    image,
)

__all__ = ["FakeDriver", "Fault", "Kernel", "LaunchRecord", "image"]


class FakeDriver:
    """The library that `Driver` wraps."""

    def __init__(
        self,
        kernels: Mapping[str, Kernel],
        *,
        capability: tuple[int, int] = (9, 0),
        memory: int = 1 << 30,
        shared_limit: int = 227 << 10,
        can_capture: bool = True,
        devices: int = 1,
    ):
        self.kernels = kernels
        self.capability, self.total = capability, memory
        self.shared_limit, self.can_capture = shared_limit, can_capture
        self.devices = devices
        self.failures: list[str] = []
        self.launches: list[LaunchRecord] = []
        self.calls: dict[str, int] = {}
        self._allocations: list[Allocation] = []
        self._streams: dict[int, Stream] = {0: Stream(), 1: Stream(), 2: Stream()}
        self._handles: dict[int, Any] = {}
        self._next = 0x1000
        self._in_graph = False
        self._clock = 0.0
        for name, arguments in SIGNATURES.items():
            prototype = ctypes.CFUNCTYPE(ctypes.c_int, *arguments)
            setattr(self, name, prototype(self._guarded(name)))

    def _guarded(self, name: str) -> Callable[..., int]:
        body = getattr(self, "_" + name)

        def call(*arguments: Any) -> int:
            self.calls[name] = self.calls.get(name, 0) + 1
            try:
                body(*arguments)
            except Fault as fault:
                self.failures.append(f"{name}: {fault}")
                return fault.status
            except Exception as error:  # an exception cannot pass through C
                self.failures.append(f"{name}: {type(error).__name__}: {error}")
                return ILLEGAL_ADDRESS
            return SUCCESS

        return call

    def assert_clean(self) -> None:
        """No rule was broken."""
        assert not self.failures, "\n".join(self.failures)

    @property
    def live(self) -> int:
        """Bytes of device memory that are allocated."""
        return sum(a.size for a in self._allocations if a.live and not a.host)

    # Handles and memory

    def _new(self, value: Any) -> int:
        self._next += 16
        self._handles[self._next] = value
        return self._next

    def _of(self, handle: int | None, kind: type) -> Any:
        value = self._handles.get(handle or 0)
        if not isinstance(value, kind):
            raise Fault(INVALID_HANDLE, f"{handle} is no {kind.__name__}")
        return value

    def _stream(self, handle: int | None) -> Stream:
        stream = self._streams.get(handle or 0)
        if stream is None:
            raise Fault(INVALID_HANDLE, f"{handle} is no stream")
        return stream

    def _allocate(self, size: int, *, host: bool) -> int:
        if size == 0:
            raise Fault(INVALID_VALUE, "0 bytes")
        if not host and self.live + size > self.total:
            raise Fault(OUT_OF_MEMORY, f"{size} bytes; {self.live} of {self.total} in use")
        block = np.full(size + 3 * GUARD, POISON, np.uint8)
        begin = -(-(block.ctypes.data + GUARD) // GUARD) * GUARD
        self._allocations.append(Allocation(block, begin, size, host))
        return begin

    def _find(self, address: int, *, host: bool) -> Allocation | None:
        for allocation in reversed(self._allocations):
            if allocation.host == host and allocation.holds(address, 0):
                return allocation
        return None

    def check(self, address: int, size: int, what: str) -> None:
        """Raise unless a device address is in live memory, so many bytes of it."""
        allocation = self._find(address, host=False)
        if allocation is None:
            raise Fault(ILLEGAL_ADDRESS, f"{what}: {address:#x} is not device memory")
        if not allocation.live:
            raise Fault(ILLEGAL_ADDRESS, f"{what}: {address:#x} was freed")
        if not allocation.holds(address, size):
            left = allocation.begin + allocation.size - address
            raise Fault(ILLEGAL_ADDRESS, f"{what}: {size} bytes at {address:#x}, of {left}")

    def view(self, address: int, dtype: Any, count: int) -> np.ndarray:
        """Device memory as an array that shares it."""
        size = np.dtype(dtype).itemsize * count
        self.check(address, size, "a view")
        raw = (ctypes.c_uint8 * size).from_address(address)
        return np.frombuffer(raw, np.uint8).view(dtype)

    def room(self, address: int) -> int:
        """Bytes from a device address to the end of its memory."""
        self.check(address, 0, "a view")
        allocation = self._find(address, host=False)
        assert allocation is not None
        return allocation.begin + allocation.size - address

    def _release(self, address: int, *, host: bool) -> None:
        allocation = self._find(address, host=host)
        if allocation is None or allocation.begin != address or not allocation.live:
            raise Fault(INVALID_VALUE, f"{address:#x} is not allocated")
        allocation.live = False
        allocation.block[:] = POISON

    # Order

    def _put(self, handle: int | None, work: Callable[[], None]) -> None:
        stream = self._stream(handle)
        if stream.capturing is not None:
            stream.capturing.append(work)
        else:
            stream.queue.append(work)

    def _finish(self, stream: Stream) -> None:
        if stream.capturing is not None:
            raise Fault(CAPTURE_UNSUPPORTED, "waiting on a stream that is being captured")
        while stream.queue:
            stream.queue.pop(0)()

    def _finish_all(self) -> None:
        for stream in self._streams.values():
            if stream.capturing is None:
                self._finish(stream)

    # The functions, in the order of the table

    def _cuInit(self, flags: int) -> None:
        if flags:
            raise Fault(INVALID_VALUE, f"flags {flags}")

    def _cuDriverGetVersion(self, out: Any) -> None:
        out[0] = 12080

    def _cuGetErrorName(self, status: int, out: Any) -> None:
        if status not in TEXTS:
            raise Fault(INVALID_VALUE, f"status {status}")
        out[0] = TEXTS[status]

    _cuGetErrorString = _cuGetErrorName

    def _cuDeviceGetCount(self, out: Any) -> None:
        out[0] = self.devices

    def _cuDeviceGet(self, out: Any, ordinal: int) -> None:
        if not 0 <= ordinal < self.devices:
            raise Fault(INVALID_VALUE, f"device {ordinal}")
        out[0] = ordinal

    def _cuDeviceGetName(self, out: int, size: int, device: int) -> None:
        text = b"Fake Device\0"
        assert size >= len(text)
        ctypes.memmove(out, text, len(text))

    def _cuDeviceGetAttribute(self, out: Any, number: int, device: int) -> None:
        values = {
            75: self.capability[0],
            76: self.capability[1],
            97: self.shared_limit,
            16: 132,
        }
        if number not in values:
            raise Fault(INVALID_VALUE, f"attribute {number}")
        out[0] = values[number]

    def _cuDevicePrimaryCtxRetain(self, out: Any, device: int) -> None:
        out[0] = self._new("context")

    def _cuCtxSetCurrent(self, context: int) -> None:
        self._of(context, str)

    def _cuModuleLoadData(self, out: Any, data: int) -> None:
        head = ctypes.string_at(data, len(MAGIC) + 4)
        if head[: len(MAGIC)] != MAGIC:
            raise Fault(NO_BINARY, "not an image of this driver")
        size = int.from_bytes(head[-4:], "little")
        text = ctypes.string_at(data + len(head), size)
        out[0] = self._new(json.loads(text))

    def _cuModuleUnload(self, module: int) -> None:
        self._of(module, dict)
        del self._handles[module]

    def _cuModuleGetFunction(self, out: Any, module: int, name: bytes) -> None:
        found = self._of(module, dict)["kernel"]
        if found != name.decode() or found not in self.kernels:
            raise Fault(NOT_FOUND, f"there is no kernel {name.decode()}")
        out[0] = self._new([found, 48 << 10])

    def _cuFuncSetAttribute(self, function: int, attribute: int, value: int) -> None:
        if attribute != 8 or value > self.shared_limit:
            raise Fault(INVALID_VALUE, f"attribute {attribute} = {value}")
        self._of(function, list)[1] = value

    def _cuMemGetInfo_v2(self, free: Any, total: Any) -> None:
        free[0], total[0] = self.total - self.live, self.total

    def _cuMemAlloc_v2(self, out: Any, size: int) -> None:
        out[0] = self._allocate(size, host=False)

    def _cuMemFree_v2(self, address: int) -> None:
        self._finish_all()
        self._release(address, host=False)

    def _cuMemAllocAsync(self, out: Any, size: int, stream: int | None) -> None:
        if self._stream(stream).capturing is not None:
            raise Fault(CAPTURE_UNSUPPORTED, "an allocation in a graph")
        out[0] = self._allocate(size, host=False)

    def _cuMemFreeAsync(self, address: int, stream: int | None) -> None:
        self._put(stream, lambda: self._release(address, host=False))

    def _cuMemHostAlloc(self, out: Any, size: int, flags: int) -> None:
        out[0] = self._allocate(size, host=True)

    def _cuMemFreeHost(self, address: int) -> None:
        self._release(address, host=True)

    def _cuMemcpyHtoDAsync_v2(self, to: int, source: int, size: int, stream: int) -> None:
        self.check(to, size, "a copy to the device")
        locked = self._find(source, host=True)
        if locked is None:
            # The driver has copied pageable memory away when it returns.
            content = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(source)).copy()
            self._put(stream, lambda: ctypes.memmove(to, content.ctypes.data, size) and None)
            return
        if not locked.live or not locked.holds(source, size):
            raise Fault(ILLEGAL_ADDRESS, f"{size} bytes of host memory at {source:#x}")
        self._put(stream, lambda: self._copy(to, source, size, to))

    def _cuMemcpyDtoHAsync_v2(self, to: int, source: int, size: int, stream: int) -> None:
        self.check(source, size, "a copy to the host")
        locked = self._find(to, host=True)
        if locked is not None and not (locked.live and locked.holds(to, size)):
            raise Fault(ILLEGAL_ADDRESS, f"{size} bytes of host memory at {to:#x}")
        self._put(stream, lambda: self._copy(to, source, size, source))

    def _cuMemcpyDtoDAsync_v2(self, to: int, source: int, size: int, stream: int) -> None:
        self.check(to, size, "a copy")
        self._put(stream, lambda: self._copy(to, source, size, to, source))

    def _copy(self, to: int, source: int, size: int, *device: int) -> None:
        for address in device:
            self.check(address, size, "a copy")
        ctypes.memmove(to, source, size)

    def _cuMemsetD8Async(self, to: int, value: int, size: int, stream: int) -> None:
        self.check(to, size, "a fill")
        self._put(stream, lambda: ctypes.memset(to, value, size) and None)

    def _cuStreamCreate(self, out: Any, flags: int) -> None:
        out[0] = self._new("stream")
        self._streams[out[0]] = Stream()

    def _cuStreamDestroy_v2(self, stream: int) -> None:
        self._finish(self._stream(stream))
        del self._streams[stream]

    def _cuStreamSynchronize(self, stream: int | None) -> None:
        self._finish(self._stream(stream))

    def _cuStreamWaitEvent(self, stream: int, event: int, flags: int) -> None:
        waited = self._of(event, Event)

        def wait() -> None:
            source = self._streams.get(waited.stream)
            while not waited.happened and source is not None and source.queue:
                source.queue.pop(0)()

        self._put(stream, wait)

    def _cuStreamBeginCapture_v2(self, stream: int, mode: int) -> None:
        found = self._stream(stream)
        if not self.can_capture or found.capturing is not None or stream in (None, 0):
            raise Fault(CAPTURE_UNSUPPORTED, "this stream cannot be captured")
        found.capturing = []

    def _cuStreamEndCapture(self, stream: int, out: Any) -> None:
        found = self._stream(stream)
        if found.capturing is None:
            raise Fault(INVALID_VALUE, "no capture was begun")
        work, found.capturing = found.capturing, None
        out[0] = self._new(tuple(work))

    def _cuGraphInstantiateWithFlags(self, out: Any, graph: int, flags: int) -> None:
        out[0] = self._new(frozenset([self._of(graph, tuple)]))

    def _cuGraphDestroy(self, graph: int) -> None:
        self._of(graph, tuple)
        del self._handles[graph]

    def _cuGraphLaunch(self, graph: int, stream: int) -> None:
        (work,) = self._of(graph, frozenset)

        def run() -> None:
            self._in_graph = True
            for step in work:
                step()
            self._in_graph = False

        self._put(stream, run)

    def _cuGraphExecDestroy(self, graph: int) -> None:
        self._of(graph, frozenset)
        del self._handles[graph]

    def _cuEventCreate(self, out: Any, flags: int) -> None:
        out[0] = self._new(Event())

    def _cuEventRecord(self, event: int, stream: int | None) -> None:
        recorded = self._of(event, Event)
        recorded.happened, recorded.stream = False, stream or 0

        def happen() -> None:
            recorded.happened, recorded.time = True, self._clock

        self._put(stream, happen)

    def _cuEventSynchronize(self, event: int) -> None:
        waited = self._of(event, Event)
        if not waited.happened:
            self._finish(self._stream(waited.stream))

    def _cuEventElapsedTime(self, out: Any, first: int, last: int) -> None:
        begin, end = self._of(first, Event), self._of(last, Event)
        if not begin.happened or not end.happened:
            raise Fault(INVALID_VALUE, "an event that has not happened")
        out[0] = end.time - begin.time

    def _cuEventDestroy_v2(self, event: int) -> None:
        self._of(event, Event)
        del self._handles[event]

    def _cuLaunchKernel(
        self,
        function: int,
        gx: int,
        gy: int,
        gz: int,
        bx: int,
        by: int,
        bz: int,
        shared: int,
        stream: int | None,
        parameters: Any,
        extra: Any,
    ) -> None:
        name, allowed = self._of(function, list)
        kernel = self.kernels[name]
        grid = (gx, gy, gz)
        what = f"kernel {name}"
        if not (0 < gx < 2**31 and 0 < gy < 65536 and 0 < gz < 65536):
            raise Fault(INVALID_VALUE, f"{what}: grid {grid}")
        if (bx, by, bz) != (kernel.threads, 1, 1):
            raise Fault(INVALID_VALUE, f"{what}: block {(bx, by, bz)}, wants {kernel.threads}")
        if shared != kernel.shared or shared > allowed:
            raise Fault(
                INVALID_VALUE,
                f"{what}: {shared} bytes of shared memory, {kernel.shared} wanted, {allowed} "
                "allowed",
            )
        values = list(self._values(kernel, parameters, what))
        scratch = self._word(parameters[len(values)])
        if kernel.scratch:
            self.check(scratch, kernel.scratch * gx * gy * gz, f"{what}: its scratch memory")
        profiler = self._word(parameters[len(values) + 1])
        if profiler:
            raise Fault(INVALID_VALUE, f"{what}: profiler memory {profiler:#x}")
        # The values are taken now, as the driver does; memory is looked at when it runs.
        self._put(stream, lambda: self._run(name, kernel, grid, values))

    def _values(self, kernel: Kernel, parameters: Any, what: str) -> Iterator[int]:
        for index, kind in enumerate(kernel.parameters):
            address = parameters[index]
            if not address:
                raise Fault(INVALID_VALUE, f"{what}: parameter {index} is missing")
            if kind == "pointer":
                value = self._word(address)
                self.check(value, 0, f"{what}, parameter {index}")
                yield value
            elif kind == "i32":
                yield ctypes.c_int32.from_address(address).value
            else:
                yield ctypes.c_int64.from_address(address).value

    @staticmethod
    def _word(address: int) -> int:
        return ctypes.c_uint64.from_address(address).value

    def _run(
        self, name: str, kernel: Kernel, grid: tuple[int, int, int], values: list[int]
    ) -> None:
        for kind, value in zip(kernel.parameters, values, strict=True):
            if kind == "pointer":
                self.check(value, 0, f"kernel {name}, when it runs,")
        self.launches.append(LaunchRecord(name, grid, values, self._in_graph))
        kernel.run(grid, values)
        self._check_guards(f"kernel {name}")
        self._clock += kernel.milliseconds

    def _check_guards(self, what: str) -> None:
        """Nothing was written just before or behind any memory."""
        for allocation in self._allocations:
            before = allocation.begin - allocation.block.ctypes.data
            rest = allocation.block[before + allocation.size :]
            if not ((allocation.block[:before] == POISON).all() and (rest == POISON).all()):
                raise Fault(
                    ILLEGAL_ADDRESS,
                    f"{what} wrote outside the {allocation.size} bytes at {allocation.begin:#x}",
                )
