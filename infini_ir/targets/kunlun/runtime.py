"""The vendor's runtime and tools in a project: XPU runtime calls, CMake text."""

from __future__ import annotations

from infini_ir.targets.c_project.device import DeviceRuntime
from infini_ir.targets.c_project.documents import Toolchain
from infini_ir.targets.kunlun.limits import CORES_OF_CLUSTER

HEADERS = (
    "core.h", "core_numbers.h", "core_copies.h", "core_rows.h", "core_products.h",
)  # fmt: skip

RUNTIME = DeviceRuntime(
    name="XPU",
    includes=("#include <xpu/runtime.h>",),
    status="int",
    success="0",
    error_text='"error " + std::to_string(status)',
    open="xpu_set_device(number)",
    malloc="xpu_malloc(pointer, bytes)",
    free="xpu_free(pointer)",
    copy_to_device="copied(destination, source, bytes, XPU_HOST_TO_DEVICE, stream)",
    copy_from_device="copied(destination, source, bytes, XPU_DEVICE_TO_HOST, stream)",
    create_stream="xpu_stream_create(reinterpret_cast<XPUStream*>(stream))",
    destroy_stream="xpu_stream_destroy(static_cast<XPUStream>(stream))",
    synchronize="xpu_wait(static_cast<XPUStream>(stream))",
    cores=f"""
int number = 0;
check(xpu_current_device(&number), "current device");
uint64_t clusters = 0;
check(xpu_device_get_attr(&clusters, XPUATTR_NUM_CLUSTER, number), "number of clusters");
cores = static_cast<int64_t>(clusters) * {CORES_OF_CLUSTER};
""",
    declarations="""
// Copies are synchronous: what is in the stream goes first.
int copied(void* destination, const void* source, size_t bytes, XPUMemcpyKind kind,
           Stream stream) {
  const int waited = xpu_wait(static_cast<XPUStream>(stream));
  return waited != 0 ? waited : xpu_memcpy(destination, source, bytes, kind);
}
""",
)

_SETUP = """
if(NOT DEFINED XTDK_PATH)
  set(XTDK_PATH $ENV{XTDK_PATH})
endif()
if(NOT DEFINED XPU_RUNTIME_PATH)
  set(XPU_RUNTIME_PATH $ENV{XPU_RUNTIME_PATH})
endif()
set(XPU_SYSROOT / CACHE PATH "where the headers of the host's compiler lie")
find_program(XPU_CLANG clang++ HINTS ${XTDK_PATH}/bin NO_DEFAULT_PATH REQUIRED)
find_library(XPURT xpurt HINTS ${XPU_RUNTIME_PATH}/so ${XPU_RUNTIME_PATH}/lib64 REQUIRED)
"""

_LIBRARY = """
set(KERNEL_OBJECTS)
foreach(source ${KERNEL_SOURCES})
  # One object holds the launch for the host and the kernel for the device.
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${source}.o)
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${XPU_CLANG} -c ${CMAKE_CURRENT_SOURCE_DIR}/${source} -o ${object}
      --sysroot=${XPU_SYSROOT} --target=${CMAKE_SYSTEM_PROCESSOR}-linux-gnu
      --xpu-arch=xpu3 -O2 -fno-builtin -fPIC -std=c++17
      -I${CMAKE_CURRENT_SOURCE_DIR} -I${XTDK_PATH}/include -I${XPU_RUNTIME_PATH}/include
    DEPENDS ${source} core.h core_numbers.h core_copies.h core_rows.h core_products.h
      core_scalars.h kernels.h device.h sizes.h
    VERBATIM)
  list(APPEND KERNEL_OBJECTS ${object})
endforeach()
add_library(model STATIC ${HOST_SOURCES} ${KERNEL_OBJECTS})
set_source_files_properties(${KERNEL_OBJECTS} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
target_include_directories(model PRIVATE ${XPU_RUNTIME_PATH}/include)
target_link_libraries(model PUBLIC ${XPURT})
"""

_NOTES = """
- Every kernel is a source of its own, and has no global variables: the compiler's rules.
- Kernels plan for 8 KB of local memory a core, 2 KB of it for the stack.
- Launches take clusters of 64 cores, as many as the grid has work for. A kernel that adds to
  what is in global memory runs on one core, as there are no atomic operations on it.
"""


def toolchain() -> Toolchain:
    """How projects are built."""
    return Toolchain(
        title="Kunlun XPU3 (XPU C)",
        requirements="XTDK (the compiler `clang++` with `--xpu-arch=xpu3`) at `$XTDK_PATH` and "
        "the XPU runtime at `$XPU_RUNTIME_PATH`, CMake and a C++17 compiler.",
        setup=_SETUP,
        library=_LIBRARY,
        notes=_NOTES,
        files={
            "core.h": "16-bit floats; includes the other core_*.h",
            "core_numbers.h": "arithmetic of one element by its type",
            "core_copies.h": "copies of slices between global and local memory",
            "core_rows.h": "elementwise instructions on rows",
            "core_products.h": "reductions, transpositions, products",
            "core_scalars.h": "arithmetic of single numbers",
        },
    )
