"""A vendor's runtime, as text: the functions of `device.h` in the vendor's own calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
        last_error         const char* kernel: the status of its launch

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
    """Statements that set `int64_t cores` for the open device, and may call
    `check(status, "what")`; empty where launches do not want to know."""
    declarations: str = ""
    """C++ text before the functions, such as helpers that the calls use; it sees `check`."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """More files of the project that the runtime needs: text by path."""

    def source(self) -> str:
        """`device.cpp`: the functions of `device.h`."""
        includes = "\n".join(self.includes)
        declarations = f"\n{self.declarations.strip()}\n" if self.declarations else ""
        head = _HEAD.format(
            includes=includes,
            status=self.status,
            success=self.success,
            error_text=self.error_text,
            declarations=declarations,
        )
        return "\n".join([head, *self._functions(), "}  // namespace infini", ""])

    def _functions(self) -> Iterator[str]:
        number, stream = "[[maybe_unused]] int number", "[[maybe_unused]] Stream stream"
        copied = "void* destination, const void* source, size_t bytes"
        bytes_text = 'std::to_string(bytes) + " bytes'
        yield _function(
            "void device_open(int number)",
            _checked(self.open, '"device " + std::to_string(number)'),
        )
        yield _function(f"void device_close({number})", _checked(self.close, '"closing"'))
        yield _function(
            "int64_t device_cores()",
            f"int64_t cores = 1;\n{self.cores}".strip() + "\nreturn cores;",
        )
        yield _function(
            "Stream stream_create()",
            "Stream created = nullptr;\nStream* const stream = &created;\n"
            + _checked(self.create_stream, '"making a stream"')
            + "\nreturn created;",
        )
        yield _function(
            f"void stream_destroy({stream})",
            _checked(self.destroy_stream, '"ending a stream"'),
        )
        yield _function(
            "void* device_malloc(size_t bytes)",
            "void* memory = nullptr;\nvoid** const pointer = &memory;\n"
            + _checked(self.malloc, f'{bytes_text} of memory"')
            + "\nreturn memory;",
        )
        yield _function(
            "void device_free(void* pointer)",
            "if (pointer == nullptr) return;\n" + _checked(self.free, '"freeing memory"'),
        )
        yield _function(
            f"void copy_to_device({copied}, {stream})",
            _checked(self.copy_to_device, f'"copying " + {bytes_text} to the device"'),
        )
        yield _function(
            f"void copy_from_device({copied}, {stream})",
            _checked(self.copy_from_device, f'"copying " + {bytes_text} from the device"'),
        )
        yield _function(
            f"void synchronize({stream})", _checked(self.synchronize, '"waiting for kernels"')
        )
        yield _function(
            "void check_launch([[maybe_unused]] const char* kernel)",
            _checked(self.last_error, 'std::string("starting kernel ") + kernel'),
        )


_HEAD = """\
#include "device.h"

#include <stdexcept>
#include <string>

{includes}

namespace infini {{

namespace {{

[[maybe_unused]] void check({status} status, const std::string& what) {{
  if (status == {success}) return;
  throw std::runtime_error(what + ": " + {error_text});
}}
{declarations}
}}  // namespace
"""


def _checked(call: str, what: str) -> str:
    return f"check({call}, {what});" if call else ""


def _function(head: str, body: str) -> str:
    lines = [f"  {line}" if line else "" for line in body.splitlines() if line.strip()]
    return "\n".join([f"{head} {{", *lines, "}", ""])
