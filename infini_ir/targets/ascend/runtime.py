"""AscendCL behind the host program, and how a project is built with CANN."""

from collections.abc import Iterable
from dataclasses import replace

from infini_ir.targets.c_project.device import DeviceRuntime
from infini_ir.targets.c_project.documents import Toolchain

RUNTIME = DeviceRuntime(
    name="AscendCL",
    includes=('#include "acl/acl.h"',),
    status="aclError",
    success="ACL_SUCCESS",
    error_text='"error " + std::to_string(status) + ": " + '
    '(aclGetRecentErrMsg() == nullptr ? "no message" : aclGetRecentErrMsg())',
    declarations="""
// AscendCL is started once a process, by the first model. It fails where something else in
// this process has started it, and then the device can be opened all the same.
aclError open_device(int number) {
  static const aclError started = aclInit(nullptr);
  static_cast<void>(started);
  return aclrtSetDevice(number);
}
""",
    open="open_device(number)",
    close="aclrtResetDevice(number)",
    malloc="aclrtMalloc(pointer, bytes, ACL_MEM_MALLOC_HUGE_FIRST)",
    free="aclrtFree(pointer)",
    copy_to_device="aclrtMemcpyAsync(destination, bytes, source, bytes, "
    "ACL_MEMCPY_HOST_TO_DEVICE, stream)",
    copy_from_device="aclrtMemcpyAsync(destination, bytes, source, bytes, "
    "ACL_MEMCPY_DEVICE_TO_HOST, stream)",
    create_stream="aclrtCreateStream(stream)",
    destroy_stream="aclrtDestroyStream(stream)",
    synchronize="aclrtSynchronizeStream(stream)",
    cores="""
int32_t number = 0;
check(aclrtGetDevice(&number), "current device");
check(aclGetDeviceCapability(static_cast<uint32_t>(number), ACL_DEVICE_INFO_VECTOR_CORE_NUM, &cores),
      "counting cores");
""",
)
"""Launches are told of the vector cores; there are half as many cube cores."""

_SETUP = """\
# CANN, from its set_env.sh.
if(NOT DEFINED ENV{ASCEND_TOOLKIT_HOME})
  message(FATAL_ERROR "Source set_env.sh of the CANN toolkit first (ASCEND_TOOLKIT_HOME)")
endif()
set(ASCEND_CANN_PACKAGE_PATH $ENV{ASCEND_TOOLKIT_HOME})
set(SOC_VERSION "Ascend910B3" CACHE STRING "the device, as npu-smi info names it")
set(RUN_MODE "npu" CACHE STRING "npu or sim")

find_package(ASC QUIET)
if(NOT ASC_FOUND)
  foreach(where tools compiler ascendc_devkit)
    set(ASCENDC_CMAKE_DIR ${ASCEND_CANN_PACKAGE_PATH}/${where}/tikcpp/ascendc_kernel_cmake)
    if(EXISTS ${ASCENDC_CMAKE_DIR}/ascendc.cmake)
      include(${ASCENDC_CMAKE_DIR}/ascendc.cmake)
      break()
    endif()
  endforeach()
  if(NOT COMMAND ascendc_library)
    message(FATAL_ERROR "No Ascend C in ${ASCEND_CANN_PACKAGE_PATH}")
  endif()
endif()"""

_LIBRARY = """\
if(ASC_FOUND)
  # CANN 9: the kernels' language is known to CMake.
  enable_language(ASC)
  set_source_files_properties(${KERNEL_SOURCES} PROPERTIES LANGUAGE ASC)
  add_library(model SHARED ${HOST_SOURCES} ${KERNEL_SOURCES})
  target_compile_options(model PRIVATE $<$<COMPILE_LANGUAGE:ASC>:--npu-arch=dav-2201>)
else()
  # CANN 8: kernels and their launches become a library of their own.
  ascendc_library(kernels STATIC ${KERNEL_SOURCES})
  ascendc_include_directories(kernels PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  add_library(model SHARED ${HOST_SOURCES})
  target_link_libraries(model PRIVATE kernels)
endif()
target_include_directories(model PRIVATE ${ASCEND_CANN_PACKAGE_PATH}/include)
target_link_directories(model PUBLIC ${ASCEND_CANN_PACKAGE_PATH}/lib64)
target_link_libraries(model PUBLIC ascendcl)"""


def toolchain(kernels: Iterable[str], *, library: bool) -> Toolchain:
    """How a project with these files is built; `library`: it calls aclnn."""
    text = _LIBRARY
    if library:
        text = text.replace("${HOST_SOURCES}", "${HOST_SOURCES} library.cpp")
        text = text.replace("PUBLIC ascendcl", "PUBLIC ascendcl nnopbase opapi")
    sources = tuple(path for path in kernels if path.startswith("kernels"))
    return replace(_TOOLCHAIN, library=text, kernel_sources=sources)


_TOOLCHAIN = Toolchain(
    title="Ascend 910B (Ascend C)",
    requirements="""\
The CANN toolkit, 8.0 or newer, and CMake; `source` its `set_env.sh` first. The device is
`SOC_VERSION`, as `npu-smi info` says it (`Ascend910B1` to `Ascend910B4`).""",
    build="cmake -B build -DSOC_VERSION=Ascend910B3 && cmake --build build -j",
    setup=_SETUP,
    library=_LIBRARY,
    minimum_cmake="3.16",
    notes="""\
Kernels marked `KERNEL_TYPE_AIC_ONLY` run on the cube cores, the others on the vector cores. A
product and what follows it meet in global memory. Without a device, the same sources were
compiled with g++ against a functional model of Ascend C and run there.""",
    files={
        "ascend_ops.h": "the steps of vector kernels, a few instructions each",
        "ascend_cube.h": "a matrix product on a cube core",
        "kernels_cube.cpp": "kernels for cube cores",
        "core_scalars.h": "arithmetic of the scalar unit",
        "library.cpp": "calls of the vendor's operator library",
    },
)
