"""A vendor's runtime, as text: the functions of `device.h` in the vendor's own calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class DeviceRuntime:
    """
    How a target's host code gets memory, copies and waits.

    The calls are C++ expressions of the vendor's status type. They may name the arguments of
    the function they stand in:

        malloc             void** pointer, size_t bytes
        free               void* pointer
        copy_to_device     void* destination, const void* source, size_t bytes, Stream stream
        copy_from_device   void* destination, const void* source, size_t bytes, Stream stream
        create_stream      Stream* stream  (Stream is void*)
        destroy_stream     Stream stream
        synchronize        Stream stream
        open, close        int number: of the device
        last_error         the status of the launches so far; no argument

    An example (CUDA):

        DeviceRuntime(
            name="CUDA",
            includes=("#include <cuda_runtime.h>",),
            status="cudaError_t",
            success="cudaSuccess",
            error_text="cudaGetErrorString(status)",
            open="cudaSetDevice(number)",
            malloc="cudaMalloc(pointer, bytes)",
            free="cudaFree(pointer)",
            copy_to_device="cudaMemcpyAsync(destination, source, bytes, "
            "cudaMemcpyHostToDevice, static_cast<cudaStream_t>(stream))",
            ...
        )
    """

    name: str
    """Of the runtime, for errors: `CUDA`, `ACL`."""
    includes: tuple[str, ...]
    """Lines that bring the vendor's declarations."""
    status: str
    """Type of what the calls return."""
    success: str
    """Its value when all went well."""
    error_text: str
    """An expression that becomes a `std::string`, over `status`."""
    open: str
    malloc: str
    free: str
    copy_to_device: str
    copy_from_device: str
    create_stream: str
    destroy_stream: str
    synchronize: str
    close: str = ""
    """Empty where nothing is to be done."""
    last_error: str = ""
    """Empty where launches report nothing before the next wait."""
    cores: str = ""
    """Statements that set `int64_t cores` for the open device, which may use `check`; empty
    where launches do not want to know."""
    declarations: str = ""
    """C++ text before the functions, such as helpers that the calls use."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """More files of the project that the runtime needs: text by path."""
