// A functional model of the part of CUDA C++ that the cuda-c target emits, on a CPU.
//
// Threads of a block are fibers that run until they wait; blocks run one after another, the
// last first. What public documentation (CUDA C++ Programming Guide, CUDA Runtime API) says of a
// call, its model does; what it forbids, the model reports, and ends the process:
//
//   * __syncthreads() that not all threads of a block reach, or reach in different places;
//   * shuffles and __syncwarp() that not all lanes of the mask reach with the same mask;
//   * accesses outside of live allocations, or outside of a shared array, or misaligned groups;
//   * reads of shared memory that nobody wrote in this block;
//   * races: an element that a thread writes and another reads or writes with no barrier between;
//   * an element that a block writes and another block of the launch reads or writes;
//   * grids, blocks and shared memory beyond the limits; copies past an allocation.
//
// Only one thread of the process may use it.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static
#define INFINI_CHECKED_MEMORY
#ifndef INFINI_WARP
#define INFINI_WARP 32
#endif
#define VENDOR_WARP INFINI_WARP
using lane_mask_t = unsigned long long;

struct dim3 {
  unsigned x = 0, y = 0, z = 0;
};

namespace cuda_model {

constexpr int64_t kSharedBytes = 48 * 1024;
constexpr unsigned kThreads = 1024;
constexpr int64_t kTracedBytes = 4 << 20;  // of an allocation; races in larger ones go unseen
constexpr size_t kStackBytes = 96 * 1024;
constexpr int32_t kNobody = -1, kMany = -2;

// When a thread did something: accesses of two threads are ordered if a barrier lies between.
struct Moment {
  int32_t thread = kNobody;
  int32_t block = kNobody;
  uint32_t launch = 0;
  uint32_t epoch = 0;  // block-wide barriers before it
  uint32_t meets = 0;  // of its group of lanes, before it
};

struct Trace {
  Moment writer, reader;
  bool many_readers = false;
};

struct Allocation {
  char* begin;
  size_t bytes;
  std::vector<Trace> traces;  // one a byte; empty where it is too large
};

enum class Waits { no, barrier, lanes, done };

struct Fiber {
  void* stack_pointer = nullptr;
  std::unique_ptr<char[]> stack;
  Waits waits = Waits::no;
  const char* file = "";
  int line = 0;
  lane_mask_t mask = 0;
  int kind = 0;             // of the meeting: shuffle or __syncwarp
  uint64_t given = 0;       // to a shuffle
  uint64_t taken[64] = {};  // from it, by lane
  uint32_t meets = 0;
  lane_mask_t group = 0;
};

struct State {
  std::map<char*, Allocation> allocations;
  std::map<std::string, int64_t> shared_bytes;
  std::vector<Fiber> fibers;
  std::string kernel;
  std::function<void()> body;
  void* scheduler = nullptr;
  int current = 0;
  int threads = 0;
  int32_t block = 0;
  uint32_t launch = 0, epoch = 0;
  bool running = false;
  int last_error = 0;
};

inline State& state() {
  static State the_state;
  return the_state;
}

[[noreturn]] inline void fail(const char* rule, const std::string& what) {
  const State& s = state();
  std::fprintf(stderr, "cuda model: %s: %s", rule, what.c_str());
  if (s.running) {
    std::fprintf(stderr, " (kernel %s, block %d, thread %d)", s.kernel.c_str(), s.block, s.current);
  }
  std::fprintf(stderr, "\n");
  std::fflush(stderr);
  std::abort();
}

// Fibers

extern "C" void cuda_model_switch(void** save, void* load);
#if defined(__x86_64__)
__asm__(R"(
.text
.weak cuda_model_switch
cuda_model_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");
constexpr int kSaved = 6;
#elif defined(__aarch64__)
__asm__(R"(
.text
.weak cuda_model_switch
cuda_model_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
)");
#else
#error "the model has fibers for x86-64 and aarch64 only"
#endif

inline void yield() {
  State& s = state();
  cuda_model_switch(&s.fibers[s.current].stack_pointer, s.scheduler);
}

extern "C" inline void cuda_model_enter() {
  State& s = state();
  s.body();
  s.fibers[s.current].waits = Waits::done;
  yield();
  std::abort();
}

inline void prepare(Fiber& fiber) {
  if (!fiber.stack) fiber.stack.reset(new char[kStackBytes]);
  uintptr_t top = reinterpret_cast<uintptr_t>(fiber.stack.get() + kStackBytes) & ~uintptr_t(63);
#if defined(__x86_64__)
  void** slots = reinterpret_cast<void**>(top) - 1;  // as after a call: 8 off a multiple of 16
  *slots = nullptr;
  *--slots = reinterpret_cast<void*>(&cuda_model_enter);
  for (int i = 0; i < kSaved; ++i) *--slots = nullptr;
#else
  void** slots = reinterpret_cast<void**>(top) - 20;
  for (int i = 0; i < 20; ++i) slots[i] = nullptr;
  slots[11] = reinterpret_cast<void*>(&cuda_model_enter);
#endif
  fiber.stack_pointer = slots;
  fiber.waits = Waits::no;
  fiber.meets = 0;
  fiber.group = 0;
}

}  // namespace cuda_model

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace cuda_model {

inline std::string place(const Fiber& fiber) {
  std::string file = fiber.file;
  return file.substr(file.find_last_of('/') + 1) + ":" + std::to_string(fiber.line);
}

inline int first_of(lane_mask_t mask, int warp_begin) {
  return warp_begin + __builtin_ctzll(mask);
}

// Lets a group of lanes go on if all of them are there.
inline bool release_lanes(int thread) {
  State& s = state();
  Fiber& fiber = s.fibers[thread];
  const int begin = thread / INFINI_WARP * INFINI_WARP;
  if (!(fiber.mask >> (thread - begin) & 1)) {
    s.current = thread;
    fail("lanes", "a thread is not in its own mask at " + place(fiber));
  }
  for (int lane = 0; lane < INFINI_WARP; ++lane) {
    if (!(fiber.mask >> lane & 1)) continue;
    if (begin + lane >= s.threads) {
      s.current = thread;
      fail("lanes", "the mask names lanes past the block at " + place(fiber));
    }
    const Fiber& other = s.fibers[begin + lane];
    if (other.waits != Waits::lanes) return false;
    if (other.mask != fiber.mask || other.kind != fiber.kind) {
      s.current = thread;
      fail("lanes", "lanes meet with different masks at " + place(fiber) + " and " + place(other));
    }
  }
  for (int lane = 0; lane < INFINI_WARP; ++lane) {
    if (!(fiber.mask >> lane & 1)) continue;
    Fiber& other = s.fibers[begin + lane];
    for (int from = 0; from < INFINI_WARP; ++from) {
      if (fiber.mask >> from & 1) other.taken[from] = s.fibers[begin + from].given;
    }
    other.waits = Waits::no;
    if (other.kind == 1) {
      ++other.meets;
      other.group = fiber.mask;
    }
  }
  return true;
}

inline void run_block() {
  State& s = state();
  s.epoch = 0;
  for (Fiber& fiber : s.fibers) prepare(fiber);
  for (;;) {
    bool moved = false;
    int waiting = 0, done = 0;
    for (int thread = 0; thread < s.threads; ++thread) {
      Fiber& fiber = s.fibers[thread];
      if (fiber.waits == Waits::lanes) moved = release_lanes(thread) || moved;
      if (fiber.waits == Waits::no) {
        s.current = thread;
        threadIdx = {static_cast<unsigned>(thread), 0, 0};
        cuda_model_switch(&s.scheduler, fiber.stack_pointer);
        moved = true;
      }
      waiting += fiber.waits == Waits::barrier;
      done += fiber.waits == Waits::done;
    }
    if (done == s.threads) return;
    if (waiting == s.threads) {
      for (Fiber& fiber : s.fibers) {
        if (fiber.line != s.fibers[0].line) {
          fail("barrier", "threads meet at " + place(s.fibers[0]) + " and at " + place(fiber));
        }
      }
      for (Fiber& fiber : s.fibers) fiber.waits = Waits::no;
      ++s.epoch;
      moved = true;
    }
    if (!moved) {
      for (int thread = 0; thread < s.threads; ++thread) {
        const Fiber& fiber = s.fibers[thread];
        if (fiber.waits == Waits::barrier || fiber.waits == Waits::lanes) {
          s.current = thread;
          fail(fiber.waits == Waits::barrier ? "barrier" : "lanes",
               "not all threads come to " + place(fiber) + ": the others have returned, or wait "
               "elsewhere");
        }
      }
    }
  }
}

inline void launch(const char* kernel, int64_t blocks, int64_t threads, void*, std::function<void()> body) {
  State& s = state();
  if (blocks < 1 || blocks > INT64_C(2147483647) || threads < 1 || threads > kThreads) {
    s.last_error = 9;  // cudaErrorInvalidConfiguration
    return;
  }
  s.kernel = kernel;
  s.body = std::move(body);
  s.threads = static_cast<int>(threads);
  if (static_cast<int>(s.fibers.size()) != s.threads) s.fibers.resize(s.threads);
  ++s.launch;
  gridDim = {static_cast<unsigned>(blocks), 1, 1};
  blockDim = {static_cast<unsigned>(threads), 1, 1};
  s.running = true;
  for (int64_t block = blocks - 1; block >= 0; --block) {
    s.block = static_cast<int32_t>(block);
    blockIdx = {static_cast<unsigned>(block), 0, 0};
    run_block();
  }
  s.running = false;
}

// Meetings

inline void barrier(const char* file, int line) {
  State& s = state();
  Fiber& fiber = s.fibers[s.current];
  fiber.waits = Waits::barrier;
  fiber.file = file;
  fiber.line = line;
  yield();
}

inline void meet(lane_mask_t mask, int kind, const char* file, int line) {
  State& s = state();
  Fiber& fiber = s.fibers[s.current];
  fiber.waits = Waits::lanes;
  fiber.mask = mask;
  fiber.kind = kind;
  fiber.file = file;
  fiber.line = line;
  yield();
}

template <typename T>
T shuffle_xor(lane_mask_t mask, T x, int distance, const char* file, int line) {
  static_assert(sizeof(T) <= 8, "shuffles move up to 8 bytes");
  State& s = state();
  const int thread = s.current;
  Fiber& fiber = s.fibers[thread];
  fiber.given = 0;
  std::memcpy(&fiber.given, &x, sizeof(T));
  meet(mask, 0, file, line);
  const int from = (thread % INFINI_WARP) ^ distance;
  if (from >= INFINI_WARP || !(mask >> from & 1)) {
    fail("lanes", "a shuffle reads a lane that does not take part at " + place(fiber));
  }
  T result;
  std::memcpy(&result, &s.fibers[thread].taken[from], sizeof(T));
  return result;
}

// Races

inline Moment now() {
  const State& s = state();
  return {s.current, s.block, s.launch, s.epoch, s.fibers[s.current].meets};
}

// Whether an earlier access of a thread is ordered before one that happens now.
inline bool ordered(const Moment& old, const Moment& next) {
  if (old.launch != next.launch || old.thread == kNobody) return true;
  if (old.block != next.block) return false;
  if (old.thread == next.thread || old.epoch != next.epoch) return true;
  const State& s = state();
  const int begin = next.thread / INFINI_WARP * INFINI_WARP;
  const bool same = old.thread >= begin && old.thread < begin + INFINI_WARP &&
                    (s.fibers[next.thread].group >> (old.thread - begin) & 1);
  return same && old.meets != next.meets;
}

inline void note_read(Trace& trace, const std::string& where) {
  const Moment next = now();
  if (!ordered(trace.writer, next)) {
    fail("race", where + " is read, thread " + std::to_string(trace.writer.thread) + " of block " +
                     std::to_string(trace.writer.block) + " writes it, and no barrier is between");
  }
  trace.many_readers = !ordered(trace.reader, next) || (trace.many_readers &&
      trace.reader.launch == next.launch && trace.reader.block == next.block &&
      trace.reader.epoch == next.epoch && trace.reader.meets == next.meets);
  trace.reader = next;
}

inline void note_write(Trace& trace, const std::string& where) {
  const Moment next = now();
  const bool others = trace.many_readers && trace.reader.launch == next.launch &&
                      trace.reader.epoch == next.epoch && trace.reader.block == next.block &&
                      trace.reader.meets == next.meets;
  if (!ordered(trace.writer, next) || !ordered(trace.reader, next) || others) {
    const Moment& old = !ordered(trace.writer, next) ? trace.writer : trace.reader;
    fail("race", where + " is written, thread " + std::to_string(old.thread) + " of block " +
                     std::to_string(old.block) + " touches it too, and no barrier is between");
  }
  trace.writer = next;
  trace.many_readers = false;
}

inline Allocation* find(const void* pointer) {
  State& s = state();
  char* wanted = static_cast<char*>(const_cast<void*>(pointer));
  auto next = s.allocations.upper_bound(wanted);
  if (next == s.allocations.begin()) return nullptr;
  Allocation& found = std::prev(next)->second;
  return wanted <= found.begin + found.bytes ? &found : nullptr;
}

// An element that is read when it is converted, and written when something is assigned.
template <typename Memory, typename T>
struct Element {
  Memory& memory;
  int64_t index;
  operator T() const { return memory.read(index); }
  Element& operator=(const T& value) {
    memory.write(index, value);
    return *this;
  }
  template <typename U>
  bool operator!=(const U& other) const { return T(*this) != other; }
};

}  // namespace cuda_model

template <typename Q>
struct Global {
  using T = typename std::remove_const<Q>::type;
  char* data = nullptr;
  cuda_model::Allocation* home = nullptr;
  Global() = default;
  explicit Global(void* pointer) : data(static_cast<char*>(pointer)), home(cuda_model::find(pointer)) {}
  cuda_model::Element<const Global, T> operator[](int64_t index) const { return {*this, index}; }
  T* at(int64_t index) const {
    const int64_t begin = home == nullptr ? 0 : (data - home->begin) + index * int64_t(sizeof(T));
    if (home == nullptr || begin < 0 || begin + int64_t(sizeof(T)) > int64_t(home->bytes)) {
      cuda_model::fail("bounds", "element " + std::to_string(index) +
                                     " of a view is outside of its allocation of " +
                                     std::to_string(home ? home->bytes : 0) + " bytes");
    }
    if (begin % sizeof(T) != 0) cuda_model::fail("alignment", "a view is not aligned");
    return reinterpret_cast<T*>(home->begin + begin);
  }
  cuda_model::Trace* trace(const T* place) const {
    if (home->traces.empty()) return nullptr;
    return &home->traces[reinterpret_cast<const char*>(place) - home->begin];
  }
  T read(int64_t index) const {
    const T* place = at(index);
    if (auto* t = trace(place)) cuda_model::note_read(*t, "element " + std::to_string(index) + " of a view");
    return *place;
  }
  void write(int64_t index, const T& value) const {
    static_assert(!std::is_const<Q>::value, "the view is only read");
    T* place = at(index);
    if (auto* t = trace(place)) cuda_model::note_write(*t, "element " + std::to_string(index) + " of a view");
    *place = value;
  }
};

template <typename T, int N>
struct Shared {
  T data[N];
  cuda_model::Trace traces[N];
  Shared() {
    auto& s = cuda_model::state();
    int64_t& bytes = s.shared_bytes[s.kernel];
    bytes += (int64_t(sizeof(T)) * N + 15) / 16 * 16;
    if (bytes > cuda_model::kSharedBytes) {
      cuda_model::fail("shared memory", std::to_string(bytes) + " bytes are wanted, a block has " +
                                            std::to_string(cuda_model::kSharedBytes));
    }
  }
  cuda_model::Element<Shared, T> operator[](int64_t index) { return {*this, index}; }
  void check(int64_t index) const {
    if (index < 0 || index >= N) {
      cuda_model::fail("bounds", "element " + std::to_string(index) + " of a shared array of " + std::to_string(N));
    }
  }
  T read(int64_t index) {
    check(index);
    auto& s = cuda_model::state();
    auto& trace = traces[index];
    if (trace.writer.launch != s.launch || trace.writer.block != s.block) {
      cuda_model::fail("uninitialised", "element " + std::to_string(index) + " of a shared array is read before it is written");
    }
    cuda_model::note_read(trace, "element " + std::to_string(index) + " of a shared array");
    return data[index];
  }
  void write(int64_t index, const T& value) {
    check(index);
    auto& s = cuda_model::state();
    auto& trace = traces[index];
    if (trace.writer.block != s.block) trace = {};  // another block's memory
    if (trace.reader.block != s.block) trace.reader = {}, trace.many_readers = false;
    cuda_model::note_write(trace, "element " + std::to_string(index) + " of a shared array");
    data[index] = value;
  }
};

template <int G, typename T, int N>
void read_group(Shared<T, N>& array, int index, T* to) {
  if (index % G != 0) cuda_model::fail("alignment", "a group of " + std::to_string(G) + " begins at element " + std::to_string(index));
  for (int g = 0; g < G; ++g) to[g] = array.read(index + g);
}

#define __syncthreads() cuda_model::barrier(__FILE__, __LINE__)
#define __syncwarp(mask) cuda_model::meet(mask, 1, __FILE__, __LINE__)
#define __threadfence_block() cuda_model::meet(lanes, 1, __FILE__, __LINE__)
#define __shfl_xor_sync(mask, x, distance) cuda_model::shuffle_xor(mask, x, distance, __FILE__, __LINE__)
#define __shfl_xor(x, distance) cuda_model::shuffle_xor(lanes, x, distance, __FILE__, __LINE__)
#define INFINI_LAUNCH(kernel, blocks, threads, stream, ...) \
  cuda_model::launch(#kernel, blocks, threads, stream, [=] { kernel(__VA_ARGS__); })

// The runtime

using cudaError_t = int;
constexpr cudaError_t cudaSuccess = 0;
using cudaStream_t = struct CUstream_model*;
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };
struct cudaDeviceProp {
  int multiProcessorCount = 4;
};

inline cudaError_t cudaSetDevice(int number) { return number == 0 ? 0 : 101; }
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = cudaDeviceProp();
  return 0;
}
inline const char* cudaGetErrorString(cudaError_t error) {
  return error == 9 ? "invalid configuration argument" : error == 101 ? "invalid device ordinal" : "an error";
}
inline cudaError_t cudaGetLastError() {
  const int error = cuda_model::state().last_error;
  cuda_model::state().last_error = 0;
  return error;
}
inline cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  auto& s = cuda_model::state();
  char* memory = static_cast<char*>(std::aligned_alloc(256, (bytes + 511) / 256 * 256));
  std::memset(memory, 0xFF, bytes);
  auto& made = s.allocations[memory];
  made.begin = memory;
  made.bytes = bytes;
  if (int64_t(bytes) <= cuda_model::kTracedBytes) made.traces.resize(bytes);
  *pointer = memory;
  return 0;
}
inline cudaError_t cudaFree(void* pointer) {
  if (pointer == nullptr) return 0;
  auto& s = cuda_model::state();
  if (s.allocations.erase(static_cast<char*>(pointer)) == 0) {
    cuda_model::fail("memory", "what is freed was not allocated");
  }
  std::free(pointer);
  return 0;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  if (bytes == 0) return 0;
  const void* device = kind == cudaMemcpyHostToDevice ? to : from;
  const auto* home = cuda_model::find(device);
  const auto* other = cuda_model::find(kind == cudaMemcpyHostToDevice ? from : to);
  if (home == nullptr || static_cast<const char*>(device) + bytes > home->begin + home->bytes) {
    cuda_model::fail("memory", "a copy of " + std::to_string(bytes) + " bytes is outside of device memory");
  }
  if (other != nullptr) cuda_model::fail("memory", "a copy's host side is device memory");
  std::memcpy(to, from, bytes);
  return 0;
}
inline cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  *stream = reinterpret_cast<cudaStream_t>(new char);
  return 0;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete reinterpret_cast<char*>(stream);
  return 0;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return 0; }
