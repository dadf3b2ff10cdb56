"""The vendors' runtimes and build tools, for the project around the kernels."""

from __future__ import annotations

from infini_ir.targets.c_project.device import DeviceRuntime
from infini_ir.targets.c_project.documents import Toolchain
from infini_ir.targets.cuda_c.vendors import Vendor


def device_runtime(vendor: Vendor) -> DeviceRuntime:
    """The functions of `device.h`: the CUDA runtime's calls under the vendor's names."""
    api = vendor.api
    stream = f"static_cast<{api}Stream_t>(stream)"
    copy = f"{api}MemcpyAsync(destination, source, bytes, {api}Memcpy{{}}, {stream})"
    return DeviceRuntime(
        name=api.upper() if api != "mc" else "MACA",
        includes=(f"#include <{vendor.runtime_header}>",),
        status=f"{api}Error_t",
        success=f"{api}Success",
        error_text=f"{api}GetErrorString(status)",
        open=f"{api}SetDevice(number)",
        malloc=f"{api}Malloc(pointer, bytes)",
        free=f"{api}Free(pointer)",
        copy_to_device=copy.format("HostToDevice"),
        copy_from_device=copy.format("DeviceToHost"),
        create_stream=f"{api}StreamCreate(reinterpret_cast<{api}Stream_t*>(stream))",
        destroy_stream=f"{api}StreamDestroy({stream})",
        synchronize=f"{api}StreamSynchronize({stream})",
        last_error=f"{api}GetLastError()",
    )


_NVIDIA_SETUP = """
find_package(CUDAToolkit REQUIRED)
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES OR CMAKE_CUDA_ARCHITECTURES STREQUAL "")
  set(CMAKE_CUDA_ARCHITECTURES native)
endif()
set(CMAKE_CUDA_STANDARD 17)
"""

_NVIDIA_LIBRARY = """
add_library(model SHARED ${HOST_SOURCES} ${KERNEL_SOURCES})
# Sums and products are rounded one by one, as the model says.
target_compile_options(model PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--fmad=false>)
target_link_libraries(model PRIVATE CUDA::cudart)
"""

_OTHER_SETUP = """
# The vendor's compiler; another path: cmake -DVENDOR_COMPILER=...
set(VENDOR_COMPILER "{compiler}" CACHE STRING "compiler of the kernels, with options")
separate_arguments(VENDOR_COMMAND UNIX_COMMAND "${{VENDOR_COMPILER}}")
set(VENDOR_ROOT "{root}" CACHE PATH "where the vendor's toolkit is")
"""

_OTHER_LIBRARY = """
foreach(source ${{KERNEL_SOURCES}})
  add_custom_command(
    OUTPUT ${{CMAKE_CURRENT_BINARY_DIR}}/${{source}}.o
    COMMAND ${{VENDOR_COMMAND}} -c ${{CMAKE_CURRENT_SOURCE_DIR}}/${{source}}
            -o ${{CMAKE_CURRENT_BINARY_DIR}}/${{source}}.o -O3 -fPIC -std=c++17
            -I${{CMAKE_CURRENT_SOURCE_DIR}} -I${{VENDOR_ROOT}}/include
    DEPENDS ${{CMAKE_CURRENT_SOURCE_DIR}}/${{source}} prelude.h vendor.h
    VERBATIM)
  list(APPEND KERNEL_OBJECTS ${{CMAKE_CURRENT_BINARY_DIR}}/${{source}}.o)
endforeach()
add_library(model SHARED ${{HOST_SOURCES}} ${{KERNEL_OBJECTS}})
target_include_directories(model PRIVATE ${{VENDOR_ROOT}}/include)
target_link_directories(model PRIVATE ${{VENDOR_ROOT}}/lib ${{VENDOR_ROOT}}/lib64)
target_link_libraries(model PRIVATE {library})
"""


def toolchain(vendor: Vendor, *, library: bool = False) -> Toolchain:
    """How a project for the vendor is built; `library`: it calls cuBLAS."""
    if not vendor.compiler:
        languages, setup, link = "CXX CUDA", _NVIDIA_SETUP, _NVIDIA_LIBRARY
    else:
        languages = "CXX"
        setup = _OTHER_SETUP.format(compiler=vendor.compiler, root=vendor.root)
        link = _OTHER_LIBRARY.format(library=vendor.library)
    if library:
        blas = f"target_link_libraries(model PRIVATE {vendor.blas})\n"
        if not vendor.compiler:
            blas = blas.replace(vendor.blas, f"CUDA::{vendor.blas}")
        link = link.replace("${HOST_SOURCES}", "${HOST_SOURCES} library.cpp") + blas
    return Toolchain(
        title=vendor.title,
        requirements=vendor.requirements,
        setup=setup,
        library=link,
        languages=languages,
        notes=_NOTES.format(warp=vendor.warp),
        files={
            f"kernels.{vendor.suffix}": "the kernels, each with its launch function",
            "prelude.h": "element types, memory, reductions over lanes: what kernels use",
            "vendor.h": "what this vendor's compiler calls things, and its warp",
            "library.cpp": "calls of cuBLAS",
        },
        kernel_sources=(f"kernels.{vendor.suffix}",),
    )


_NOTES = """
- The kernels are written for warps of 32 and of 64 lanes; `vendor.h` says {warp}. For a card
  with the other warp, build with `-DINFINI_WARP=...` in the compiler's options.
- No kernel wants more than 48 KB of shared memory, 1024 threads or a tensor core.
- Errors of launches are reported by the call of the model in which they happen.
"""
