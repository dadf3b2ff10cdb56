"""A device that is the host: kernels are plain C++ functions, memory is the heap's."""

from infini_ir.targets.c_project.device import DeviceRuntime
from infini_ir.targets.c_project.documents import Toolchain

HOST_RUNTIME = DeviceRuntime(
    name="host",
    includes=("#include <cstdlib>", "#include <cstring>"),
    status="int",
    success="0",
    error_text='"no memory"',
    open="0",
    malloc="(*pointer = std::malloc(bytes)) == nullptr",
    free="(std::free(pointer), 0)",
    copy_to_device="(std::memcpy(destination, source, bytes), 0)",
    copy_from_device="(std::memcpy(destination, source, bytes), 0)",
    create_stream="(*stream = nullptr, 0)",
    destroy_stream="0",
    synchronize="0",
    cores="cores = 2;",
)

HOST_TOOLCHAIN = Toolchain(
    title="the host",
    requirements="A C++17 compiler and CMake.",
    setup="# Nothing to find.",
    library="add_library(model STATIC ${HOST_SOURCES} ${KERNEL_SOURCES})",
)
