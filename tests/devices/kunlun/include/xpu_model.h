// The machine behind the functional model of XPU C: global memory, cores, copies in flight.
//
// Cores of a launch run one after another. Violated rules end the program with
// "XPU model: <rule>: <call>, <numbers> (kernel <name>, cluster <c>, core <n>)".
//
// Source of the rules: Kunlun's "XPU C/C++ programming guide" as found in public repositories:
// memories and their sizes (2.3), address spaces (3.2.2, 4.3), no 64-bit or global variables,
// one kernel a source (4.7), copies (5.2: order of arguments, bytes, no alignment on XPU2 and
// later, at most the size of local memory). Local memory is 32 KB for 4 cores on XPU2; for
// XPU3 no size is published, so the same is assumed.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <vector>

#ifndef XPU_LOCAL_BYTES
#define XPU_LOCAL_BYTES 8192
#endif

namespace xpu_model {

struct Allocation {
  char* address;  // what programs see; no access while kernels run
  char* memory;   // the same pages, for copies
  char* mapping;
  char* memory_mapping;
  size_t bytes, mapped;
  std::vector<uint32_t> writers;
};

struct Machine {
  const char* kernel = "none";
  int cluster = 0, core = 0, clusters = 0, cores = 0;
  uint32_t launch = 0;
  bool inside = false;
  char* stack_top = nullptr;
  std::map<char*, Allocation> allocations;
  std::vector<std::function<void()>> pending;
};

inline Machine& machine() {
  static Machine* only = new Machine;
  return *only;
}

[[noreturn]] inline void fail(const char* rule, const char* call, const char* format, ...) {
  va_list list;
  va_start(list, format);
  std::fprintf(stderr, "XPU model: %s: %s, ", rule, call);
  std::vfprintf(stderr, format, list);
  va_end(list);
  const Machine& m = machine();
  std::fprintf(stderr, " (kernel %s, cluster %d, core %d)\n", m.kernel, m.cluster, m.core);
  std::fflush(stderr);
  std::_Exit(66);
}

inline Allocation* allocation_of(const void* pointer) {
  auto& known = machine().allocations;
  auto next = known.upper_bound(const_cast<char*>(static_cast<const char*>(pointer)));
  if (next == known.begin()) return nullptr;
  Allocation& a = std::prev(next)->second;
  return pointer < a.address + a.bytes ? &a : nullptr;
}

// The memory behind a global address; all bytes from it must be there.
inline char* global(const char* call, const void* pointer, size_t bytes) {
  Allocation* a = allocation_of(pointer);
  if (a == nullptr) fail("address space", call, "%p is not in global memory", pointer);
  const size_t at = static_cast<const char*>(pointer) - a->address;
  if (bytes > a->bytes - at)
    fail("bounds", call, "%zu bytes, %zu left in global memory", bytes, a->bytes - at);
  return a->memory + at;
}

// Local memory is the core's stack.
inline void check_local(const char* call, const void* pointer, size_t bytes) {
  const char* p = static_cast<const char*>(pointer);
  const char* top = machine().stack_top;
  if (p < top - (1 << 20) || p > top) fail("address space", call, "%p is not in local memory", pointer);
  if (bytes > static_cast<size_t>(top - p))
    fail("bounds", call, "%zu bytes, %zu left in local memory", bytes,
         static_cast<size_t>(top - p));
}

inline void check_size(const char* call, int64_t bytes) {
  if (bytes <= 0 || bytes > XPU_LOCAL_BYTES)
    fail("size", call, "%lld bytes, 1 to %d can be copied", static_cast<long long>(bytes),
         XPU_LOCAL_BYTES);
}

inline uint32_t mark() {
  const Machine& m = machine();
  return m.launch << 12 | ((m.cluster * m.cores + m.core) & 0xfff);
}

// Two cores must not write one byte, nor one read what another wrote.
inline void note(const char* call, const void* pointer, size_t bytes, bool writes) {
  Allocation& a = *allocation_of(pointer);
  if (a.writers.empty()) {
    if (!writes) return;
    a.writers.assign(a.bytes, 0);
  }
  const uint32_t mine = mark();
  const size_t at = static_cast<const char*>(pointer) - a.address;
  for (size_t i = at; i < at + bytes; ++i) {
    if (a.writers[i] >> 12 == mine >> 12 && a.writers[i] != mine)
      fail("race", call, "byte %zu of an allocation of %zu was written by core %u", i, a.bytes,
           a.writers[i] & 0xfff);
    if (writes) a.writers[i] = mine;
  }
}

inline void finish_copies() {
  for (auto& copy : machine().pending) copy();
  machine().pending.clear();
}

inline void protect(int rights) {
  for (auto& [address, a] : machine().allocations) mprotect(a.mapping, a.mapped, rights);
}

inline void run_cores(const char* kernel, int clusters, int cores,
                      const std::function<void()>& body) {
  static const bool reverse = std::getenv("XPU_MODEL_REVERSE") != nullptr;
  Machine& m = machine();
  m.kernel = kernel;
  m.clusters = clusters;
  m.cores = cores;
  m.launch = (m.launch + 1) & 0xfffff;
  char top;
  m.stack_top = &top;
  protect(PROT_NONE);
  m.inside = true;
  for (int number = 0; number < clusters * cores; ++number) {
    const int at = reverse ? clusters * cores - 1 - number : number;
    m.cluster = at / cores;
    m.core = at % cores;
    body();
    if (!m.pending.empty())
      fail("missing mfence", "end of the kernel", "%zu copies are in flight", m.pending.size());
  }
  m.inside = false;
  protect(PROT_READ | PROT_WRITE);
  m.kernel = "none";
}

inline int allocate(void** pointer, size_t bytes) {
  const size_t page = static_cast<size_t>(getpagesize());
  const size_t used = (bytes + 63) / 64 * 64, body = (used + page) / page * page;
  const int file = memfd_create("xpu", 0);
  if (file < 0 || ftruncate(file, body) != 0) return 1;
  // A page of address space more than the file has: access to it is an error.
  char* mapping = static_cast<char*>(
      mmap(nullptr, body + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  mmap(mapping, body, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0);
  char* memory =
      static_cast<char*>(mmap(nullptr, body, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
  close(file);
  const size_t offset = body - used;
  for (size_t i = 0; i + 4 <= body; i += 4) std::memcpy(memory + i, "\xa5\xff\xa5\x7f", 4);
  *pointer = mapping + offset;
  machine().allocations[mapping + offset] =
      Allocation{mapping + offset, memory + offset, mapping, memory, bytes, body, {}};
  return 0;
}

inline int release(void* pointer) {
  auto found = machine().allocations.find(static_cast<char*>(pointer));
  if (found == machine().allocations.end()) return 1;
  const Allocation& a = found->second;
  munmap(a.mapping, a.mapped + getpagesize());
  munmap(a.memory_mapping, a.mapped);
  machine().allocations.erase(found);
  return 0;
}

}  // namespace xpu_model
