// The part of the XPU runtime that projects use, on the functional model: the programming
// guide, 3.1.1.1 and 4.3.5, and InfiniCore src/infinirt/kunlun. Clusters of the device: 12 on a
// P800 (InfiniCore, paged attention).
#pragma once

#define XPU_MODEL_RUNTIME

#include "xpu_model.h"

struct XPUStreamModel {
  bool alive;
};
typedef XPUStreamModel* XPUStream;

enum XPUMemcpyKind { XPU_HOST_TO_DEVICE = 0, XPU_DEVICE_TO_HOST, XPU_DEVICE_TO_DEVICE };
enum XPUMemoryKind { XPU_MEM_MAIN = 0, XPU_MEM_L3 };

enum XPUDeviceAttr { XPUATTR_NUM_CLUSTER = 7 };

inline int xpu_set_device(int number) { return number == 0 ? 0 : 1; }

inline int xpu_current_device(int* number) { return *number = 0; }

inline int xpu_device_get_attr(uint64_t* value, XPUDeviceAttr, int number) {
  *value = 12;
  return number == 0 ? 0 : 1;
}

inline int xpu_malloc(void** pointer, uint64_t bytes, XPUMemoryKind = XPU_MEM_MAIN) {
  return xpu_model::allocate(pointer, bytes);
}

inline int xpu_free(void* pointer) { return pointer == nullptr ? 0 : xpu_model::release(pointer); }

inline int xpu_stream_create(XPUStream* stream) {
  *stream = new XPUStreamModel{true};
  return 0;
}

inline int xpu_stream_destroy(XPUStream stream) {
  if (stream == nullptr || !stream->alive) return 1;
  delete stream;
  return 0;
}

inline int xpu_wait(XPUStream stream = nullptr) {
  return stream == nullptr || stream->alive ? 0 : 1;
}

inline int xpu_memcpy(void* destination, const void* source, uint64_t bytes, XPUMemcpyKind kind) {
  if (bytes == 0) return 0;
  const bool to = kind != XPU_DEVICE_TO_HOST, from = kind != XPU_HOST_TO_DEVICE;
  char* place = to ? xpu_model::global("xpu_memcpy", destination, bytes)
                   : static_cast<char*>(destination);
  const char* origin = from ? xpu_model::global("xpu_memcpy", source, bytes)
                            : static_cast<const char*>(source);
  if ((!to && xpu_model::allocation_of(destination)) || (!from && xpu_model::allocation_of(source)))
    xpu_model::fail("address space", "xpu_memcpy", "host memory is on the device");
  std::memcpy(place, origin, bytes);
  return 0;
}

// `kernel<<<clusters, cores, stream>>>(...)` is written as this macro, which is the launch on
// the vendor's compiler.
template <class Kernel, class... Arguments>
void xpu_launch(const char* name, Kernel kernel, int clusters, int cores, XPUStream stream,
                Arguments... arguments) {
  if (stream == nullptr || !stream->alive) xpu_model::fail("launch", name, "no stream");
  if (clusters < 1 || clusters > 255 || cores < 1 || cores > 64)
    xpu_model::fail("launch", name, "%d clusters of %d cores", clusters, cores);
  xpu_model::run_cores(name, clusters, cores, [&] { kernel(arguments...); });
}

#define INFINI_LAUNCH(kernel, clusters, cores, stream, ...) \
  xpu_launch(#kernel, kernel, clusters, cores, stream, __VA_ARGS__)
