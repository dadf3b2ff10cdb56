// The part of the CNRT host interface that projects use, on the functional model.
//
// Sources: names, enumerators and argument orders as used by
// github.com/InfiniTensor/InfiniCore src/infinirt/bang/infinirt_bang.cc and
// github.com/Cambricon/mlu-ops (cnrtDim3_t, function types, cnrtMemcpyAsync).
#pragma once

#include <cstddef>
#include <cstdint>

#include "mlu_model.h"

typedef int cnrtRet_t;
constexpr cnrtRet_t cnrtSuccess = 0;
constexpr cnrtRet_t cnrtErrorArgsInvalid = 100100;
constexpr cnrtRet_t cnrtErrorNoMem = 100101;

struct cnrtQueue;
typedef cnrtQueue* cnrtQueue_t;
struct cnrtQueue {
  bool alive;
};

typedef enum {
  cnrtMemcpyHostToDev = 0,
  cnrtMemcpyDevToDev,
  cnrtMemcpyDevToHost,
  cnrtMemcpyHostToHost,
} cnrtMemTransDir_t;

typedef enum {
  cnrtFuncTypeBlock = 1,
  cnrtFuncTypeUnion1 = 4,
  cnrtFuncTypeUnion2 = 8,
  cnrtFuncTypeUnion4 = 16,
} cnrtFunctionType_t;

typedef struct {
  unsigned int x, y, z;
} cnrtDim3_t;

typedef enum {
  cnrtAttrClusterCount = 1,
  cnrtAttrMcorePerCluster = 2,
} cnrtDeviceAttr_t;

inline const char* cnrtGetErrorStr(cnrtRet_t error) {
  if (error == cnrtSuccess) return "success";
  return error == cnrtErrorNoMem ? "out of memory" : "invalid argument";
}

inline cnrtRet_t cnrtSetDevice(int number) {
  return number == 0 ? cnrtSuccess : cnrtErrorArgsInvalid;
}

inline cnrtRet_t cnrtGetDevice(int* number) {
  *number = 0;
  return cnrtSuccess;
}

// A small device: 2 clusters of 4 cores, so that every core of a test has work.
inline cnrtRet_t cnrtDeviceGetAttribute(int* value, cnrtDeviceAttr_t attribute, int) {
  *value = attribute == cnrtAttrClusterCount ? 2 : 4;
  return cnrtSuccess;
}

inline cnrtRet_t cnrtMalloc(void** pointer, size_t bytes) {
  *pointer = mlu_model::allocate(bytes);
  return *pointer == nullptr ? cnrtErrorNoMem : cnrtSuccess;
}

inline cnrtRet_t cnrtFree(void* pointer) {
  if (pointer == nullptr) return cnrtSuccess;
  return mlu_model::release(pointer) ? cnrtSuccess : cnrtErrorArgsInvalid;
}

inline cnrtRet_t cnrtQueueCreate(cnrtQueue_t* queue) {
  *queue = new cnrtQueue{true};
  return cnrtSuccess;
}

inline cnrtRet_t cnrtQueueDestroy(cnrtQueue_t queue) {
  if (queue == nullptr || !queue->alive) return cnrtErrorArgsInvalid;
  queue->alive = false;
  delete queue;
  return cnrtSuccess;
}

inline cnrtRet_t cnrtQueueSync(cnrtQueue_t queue) {
  return queue != nullptr && queue->alive ? cnrtSuccess : cnrtErrorArgsInvalid;
}

inline cnrtRet_t cnrtMemcpyAsync(void* destination, void* source, size_t bytes,
                                 cnrtQueue_t queue, cnrtMemTransDir_t direction) {
  using mlu_model::Space;
  if (queue == nullptr || !queue->alive) return cnrtErrorArgsInvalid;
  if (bytes == 0) return cnrtSuccess;
  const bool to = direction == cnrtMemcpyHostToDev || direction == cnrtMemcpyDevToDev;
  const bool from = direction == cnrtMemcpyDevToHost || direction == cnrtMemcpyDevToDev;
  mlu_model::check_range("cnrtMemcpyAsync", "destination", destination, to ? bytes : 0,
                         to ? Space::gdram : Space::host);
  mlu_model::check_range("cnrtMemcpyAsync", "source", source, from ? bytes : 0,
                         from ? Space::gdram : Space::host);
  std::memcpy(destination, source, bytes);
  return cnrtSuccess;
}

inline cnrtRet_t cnrtGetLastError() { return cnrtSuccess; }

// `kernel<<<dim, type, queue>>>(...)` is written as this macro, which is the launch on the
// vendor's compiler.
template <class Kernel, class... Arguments>
void mlu_launch(const char* name, Kernel kernel, cnrtDim3_t dim, cnrtFunctionType_t type,
                cnrtQueue_t queue, Arguments... arguments) {
  const unsigned tasks = dim.x * dim.y * dim.z;
  if (queue == nullptr || !queue->alive)
    mlu_model::fail("launch", name, "the queue is not alive");
  if (tasks == 0) mlu_model::fail("launch", name, "no tasks: %u x %u x %u", dim.x, dim.y, dim.z);
  if (type != cnrtFuncTypeBlock && dim.x % static_cast<unsigned>(type) != 0)
    mlu_model::fail("launch", name, "dim.x %u is no multiple of the %u cores of a union", dim.x,
                    static_cast<unsigned>(type));
  mlu_model::run_tasks(name, tasks, [&] { kernel(arguments...); });
}

#define INFINI_LAUNCH(kernel, dim, type, queue, ...) \
  mlu_launch(#kernel, kernel, dim, type, queue, __VA_ARGS__)
