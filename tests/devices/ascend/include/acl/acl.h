// A model of the host calls of AscendCL that projects use: device memory is host memory that
// the machine model knows of, and a stream does at once what it is given.
//
// Sources: the AscendCL guide's pages of each call. Errors are returned as the real calls do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "ascend_model/machine.h"

using aclError = int;
using aclrtStream = void*;
using aclrtContext = void*;

constexpr int ACL_SUCCESS = 0;
constexpr int ACL_ERROR_INVALID_PARAM = 100000;
constexpr int ACL_ERROR_BAD_ALLOC = 200000;

enum aclrtMemMallocPolicy { ACL_MEM_MALLOC_HUGE_FIRST, ACL_MEM_MALLOC_HUGE_ONLY, ACL_MEM_MALLOC_NORMAL_ONLY };
enum aclrtMemcpyKind {
    ACL_MEMCPY_HOST_TO_HOST,
    ACL_MEMCPY_HOST_TO_DEVICE,
    ACL_MEMCPY_DEVICE_TO_HOST,
    ACL_MEMCPY_DEVICE_TO_DEVICE,
};
enum aclDeviceInfo { ACL_DEVICE_INFO_AI_CORE_NUM = 0, ACL_DEVICE_INFO_VECTOR_CORE_NUM = 1 };

inline aclError aclInit(const char*) { return ACL_SUCCESS; }
inline aclError aclFinalize() { return ACL_SUCCESS; }
inline aclError aclrtSetDevice(int32_t device) { return device == 0 ? ACL_SUCCESS : ACL_ERROR_INVALID_PARAM; }
inline aclError aclrtResetDevice(int32_t) { return ACL_SUCCESS; }
inline aclError aclrtCreateStream(aclrtStream* stream) {
    static int only;
    *stream = &only;
    return ACL_SUCCESS;
}
inline aclError aclrtDestroyStream(aclrtStream) { return ACL_SUCCESS; }
inline aclError aclrtSynchronizeStream(aclrtStream stream) { return stream ? ACL_SUCCESS : ACL_ERROR_INVALID_PARAM; }
inline const char* aclGetRecentErrMsg() { return "(model)"; }

inline aclError aclrtGetDevice(int32_t* number) {
    *number = 0;
    return ACL_SUCCESS;
}

inline aclError aclGetDeviceCapability(uint32_t, aclDeviceInfo attribute, int64_t* value) {
    const char* given = std::getenv("ASCEND_MODEL_CORES");
    const int64_t cubes = given ? std::atoll(given) : 3;
    *value = attribute == ACL_DEVICE_INFO_VECTOR_CORE_NUM ? 2 * cubes : cubes;
    return ACL_SUCCESS;
}

inline aclError aclrtMalloc(void** pointer, size_t size, aclrtMemMallocPolicy) {
    if (size == 0) return ACL_ERROR_INVALID_PARAM;
    *pointer = std::aligned_alloc(512, (size + 511) / 512 * 512);
    if (!*pointer) return ACL_ERROR_BAD_ALLOC;
    std::memset(*pointer, 0xcd, size);
    ascend_model::machine().add_allocation(*pointer, size);
    return ACL_SUCCESS;
}

inline aclError aclrtFree(void* pointer) {
    if (!ascend_model::machine().remove_allocation(pointer)) return ACL_ERROR_INVALID_PARAM;
    std::free(pointer);
    return ACL_SUCCESS;
}

inline aclError aclrtMemcpy(void* destination, size_t space, const void* source, size_t size, aclrtMemcpyKind kind) {
    if (size > space) return ACL_ERROR_INVALID_PARAM;
    if (kind == ACL_MEMCPY_HOST_TO_DEVICE) ascend_model::machine().check_alive(destination, size);
    if (kind == ACL_MEMCPY_DEVICE_TO_HOST) ascend_model::machine().check_alive(source, size);
    std::memcpy(destination, source, size);
    return ACL_SUCCESS;
}

inline aclError aclrtMemcpyAsync(void* destination, size_t space, const void* source, size_t size,
                                 aclrtMemcpyKind kind, aclrtStream) {
    return aclrtMemcpy(destination, space, source, size, kind);
}
