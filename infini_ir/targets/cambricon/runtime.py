"""The vendor's runtime and tools in a project: CNRT calls, CMake text."""

from __future__ import annotations

from infini_ir.targets.c_project.device import DeviceRuntime
from infini_ir.targets.c_project.documents import Toolchain
from infini_ir.targets.cambricon.limits import ARCHITECTURES

_COPY = "cnrtMemcpyAsync(destination, const_cast<void*>(source), bytes, static_cast<cnrtQueue_t>(stream), {direction})"

RUNTIME = DeviceRuntime(
    name="CNRT",
    includes=("#include <cnrt.h>",),
    status="cnrtRet_t",
    success="cnrtSuccess",
    error_text="cnrtGetErrorStr(status)",
    open="cnrtSetDevice(number)",
    malloc="cnrtMalloc(pointer, bytes)",
    free="cnrtFree(pointer)",
    copy_to_device=_COPY.format(direction="cnrtMemcpyHostToDev"),
    copy_from_device=_COPY.format(direction="cnrtMemcpyDevToHost"),
    create_stream="cnrtQueueCreate(reinterpret_cast<cnrtQueue_t*>(stream))",
    destroy_stream="cnrtQueueDestroy(static_cast<cnrtQueue_t>(stream))",
    synchronize="cnrtQueueSync(static_cast<cnrtQueue_t>(stream))",
    last_error="cnrtGetLastError()",
    cores="""
int number = 0, clusters = 0, in_cluster = 0;
check(cnrtGetDevice(&number), "current device");
check(cnrtDeviceGetAttribute(&clusters, cnrtAttrClusterCount, number), "number of clusters");
check(cnrtDeviceGetAttribute(&in_cluster, cnrtAttrMcorePerCluster, number), "cores of a cluster");
cores = static_cast<int64_t>(clusters) * in_cluster;
""",
)

_SETUP = """
if(NOT DEFINED NEUWARE_HOME)
  set(NEUWARE_HOME $ENV{{NEUWARE_HOME}})
endif()
if(NOT NEUWARE_HOME)
  set(NEUWARE_HOME /usr/local/neuware)
endif()
set(BANG_ARCH {arch} CACHE STRING "architecture that cncc compiles for")
find_program(CNCC cncc HINTS ${{NEUWARE_HOME}}/bin REQUIRED)
find_library(CNRT cnrt HINTS ${{NEUWARE_HOME}}/lib64 REQUIRED)
"""

_LIBRARY = """
set(KERNEL_OBJECTS)
foreach(source ${KERNEL_SOURCES})
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${source}.o)
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${CNCC} -c ${CMAKE_CURRENT_SOURCE_DIR}/${source} -o ${object}
      --bang-mlu-arch=${BANG_ARCH} -O3 -fPIC -std=c++17
      -I${CMAKE_CURRENT_SOURCE_DIR} -I${NEUWARE_HOME}/include
    DEPENDS ${source} core.h core_copies.h core_rows.h core_masks.h core_reduce.h core_dot.h
      core_scalars.h kernels.h device.h sizes.h
    VERBATIM)
  list(APPEND KERNEL_OBJECTS ${object})
endforeach()
add_library(model STATIC ${HOST_SOURCES} ${KERNEL_OBJECTS})
set_source_files_properties(${KERNEL_OBJECTS} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
target_include_directories(model PRIVATE ${NEUWARE_HOME}/include)
target_link_libraries(model PUBLIC ${CNRT})
"""

_NOTES = """
- Kernels plan for 512 KB of NRAM (128 KB of it the stack's) and 32 KB of WRAM; compiling for a
  chip with less ends with a `static_assert`.
- Launches are Union1 tasks: 4 cores in x, as many clusters in y as the grid has work for.
- `max` and `min` carry NaN as far as `__bang_maxequal` and `__bang_minequal` do.
- On an MLU370 division is a reciprocal and a product, so quotients are rounded twice.
"""


def toolchain(architecture: str, *, library: bool = False) -> Toolchain:
    """How projects for one chip are built; `library`: they call CNNL."""
    setup, text = _SETUP.format(arch=ARCHITECTURES[architecture]), _LIBRARY
    if library:
        setup += "find_library(CNNL cnnl HINTS ${NEUWARE_HOME}/lib64 REQUIRED)\n"
        text = text.replace("${HOST_SOURCES}", "${HOST_SOURCES} library.cpp")
        text = text.replace("PUBLIC ${CNRT}", "PUBLIC ${CNNL} ${CNRT}")
    return Toolchain(
        title=f"Cambricon {architecture.upper()} (BANG C)",
        requirements="Cambricon Neuware with cncc and CNRT, at `$NEUWARE_HOME` or "
        "/usr/local/neuware, CMake and a C++17 compiler.",
        setup=setup,
        library=text,
        kernel_sources=("kernels.mlu",),
        notes=_NOTES,
        files={
            "kernels.mlu": "the kernels of this model and their launch functions",
            "core.h": "what kernels do on a core; includes the other core_*.h",
            "core_copies.h": "copies of slices between GDRAM and NRAM",
            "core_rows.h": "elementwise instructions on rows",
            "core_masks.h": "comparisons, masks, selection",
            "core_reduce.h": "reductions of rows",
            "core_dot.h": "products on the matrix unit",
            "core_scalars.h": "arithmetic of the scalar unit",
            "library.cpp": "products by the vendor's operator library CNNL",
        },
    )
