// The machine behind the functional model of BANG C: address spaces, tasks, copies in flight.
//
// Tasks of a launch run one after another on one core, each beginning with poisoned on-chip
// memory, so that what a task reads it wrote itself. Violated rules end the program with
// "MLU model: <rule>: <call>, <numbers> (kernel <name>, task <n>)".
//
// Sources of the rules:
//   - on-chip sizes as macros in KB, 128 KB of NRAM reserved for the stack, alignments
//     NFU_ALIGN_SIZE 128, WRAM_ALIGN_SIZE 64, COMPUTE_COUNT_ALIGN 64:
//     github.com/Cambricon/mlu-ops kernels/kernel.h
//   - pipelines, which sync waits for what, what may overlap: mlu-ops
//     docs/BANG-C-OPS-Develop-Guide.md (sections on three-stage pipelines)
//   - address spaces of operands, no scalar access to WRAM: errors that cncc gives, reported
//     in public notes on __bang_matmul
// The sizes of NRAM and WRAM of a chip are not public: 512 KB each is an assumption that a
// macro changes.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <vector>

#ifndef __MLU_NRAM_SIZE__
#define __MLU_NRAM_SIZE__ 512
#endif
#ifndef __MLU_WRAM_SIZE__
#define __MLU_WRAM_SIZE__ 512
#endif
#ifndef __MLU_SRAM_SIZE__
#define __MLU_SRAM_SIZE__ 2048
#endif
#ifndef __BANG_ARCH__
#define __BANG_ARCH__ 592
#endif

// Sections named as C identifiers: the linker gives their bounds.
extern "C" {
extern char __start_mlu_nram[] __attribute__((weak, visibility("hidden")));
extern char __stop_mlu_nram[] __attribute__((weak, visibility("hidden")));
extern char __start_mlu_wram[] __attribute__((weak, visibility("hidden")));
extern char __stop_mlu_wram[] __attribute__((weak, visibility("hidden")));
extern char __start_mlu_sram[] __attribute__((weak, visibility("hidden")));
extern char __stop_mlu_sram[] __attribute__((weak, visibility("hidden")));
}

namespace mlu_model {

constexpr size_t kStackReserve = 128 * 1024;
constexpr size_t kLine = 64;  // bytes of on-chip memory followed together
constexpr size_t kLines = (4u << 20) / kLine;

enum class Space { nram, wram, sram, gdram, host };

inline const char* name_of(Space space) {
  const char* names[] = {"NRAM", "WRAM", "SRAM", "GDRAM", "host memory"};
  return names[static_cast<int>(space)];
}

struct Allocation {
  char* base;
  size_t bytes;
  char* mapping;
  size_t mapped;
  std::vector<uint32_t> writers;  // which task of which launch wrote a byte, once any did
};

struct PendingCopy {
  std::function<void()> perform;
};

// Lines of on-chip memory touched since the last sync of a kind: those whose number is current.
struct LineSet {
  std::vector<uint32_t> marks = std::vector<uint32_t>(kLines, 0);
  uint32_t current = 1;
  void clear() { ++current; }
};

struct Machine {
  const char* kernel = "none";
  uint32_t task = 0, tasks = 0, cores_in_cluster = 4;
  uint32_t launch = 0;
  bool inside = false;
  std::map<char*, Allocation> allocations;  // by base
  std::vector<PendingCopy> pending;
  LineSet io_writes, io_reads, compute_writes, compute_reads;
  size_t allocated = 0;
};

inline Machine& machine() {
  static Machine* only = new Machine;
  return *only;
}

[[noreturn]] inline void fail(const char* rule, const char* call, const char* format, ...) {
  va_list list;
  va_start(list, format);
  std::fprintf(stderr, "MLU model: %s: %s, ", rule, call);
  std::vfprintf(stderr, format, list);
  va_end(list);
  std::fprintf(stderr, " (kernel %s, task %u)\n", machine().kernel, machine().task);
  std::fflush(stderr);
  std::_Exit(66);
}

inline bool within(const void* pointer, const char* begin, const char* end) {
  const char* p = static_cast<const char*>(pointer);
  return begin != nullptr && p >= begin && p < end;
}

inline Space space_of(const void* pointer) {
  if (within(pointer, __start_mlu_nram, __stop_mlu_nram)) return Space::nram;
  if (within(pointer, __start_mlu_wram, __stop_mlu_wram)) return Space::wram;
  if (within(pointer, __start_mlu_sram, __stop_mlu_sram)) return Space::sram;
  auto& known = machine().allocations;
  auto next = known.upper_bound(const_cast<char*>(static_cast<const char*>(pointer)));
  if (next != known.begin() && !known.empty()) {
    const Allocation& a = std::prev(next)->second;
    if (pointer < a.base + a.bytes) return Space::gdram;
  }
  return Space::host;
}

inline char* section_end(Space space) {
  if (space == Space::nram) return __stop_mlu_nram;
  return space == Space::wram ? __stop_mlu_wram : __stop_mlu_sram;
}

inline Allocation& allocation_of(const void* pointer) {
  return std::prev(machine().allocations.upper_bound(
                       const_cast<char*>(static_cast<const char*>(pointer))))
      ->second;
}

// A pointer must be in a space, and all bytes from it too.
inline void check_range(const char* call, const char* role, const void* pointer, size_t bytes,
                        Space wanted) {
  const Space space = space_of(pointer);
  if (space != wanted)
    fail("address space", call, "%s is in %s, not %s", role, name_of(space), name_of(wanted));
  const char* p = static_cast<const char*>(pointer);
  const char* end = section_end(space);
  if (space == Space::gdram) {
    const Allocation& a = allocation_of(pointer);
    end = a.base + a.bytes;
  }
  if (bytes > static_cast<size_t>(end - p))
    fail("bounds", call, "%s: %zu bytes, %zu left in %s", role, bytes,
         static_cast<size_t>(end - p), name_of(space));
}

// Which task wrote: two tasks must not write one byte, nor one read what another wrote.
inline void note_global_write(const char* call, const void* pointer, size_t bytes) {
  Machine& m = machine();
  Allocation& a = allocation_of(pointer);
  if (a.writers.empty()) a.writers.assign(a.bytes, 0);
  const uint32_t mark = (m.launch << 12) | (m.task & 0xfff);
  const size_t at = static_cast<const char*>(pointer) - a.base;
  for (size_t i = at; i < at + bytes; ++i) {
    if (a.writers[i] >> 12 == m.launch && a.writers[i] != mark && m.launch != 0)
      fail("race", call, "byte %zu of an allocation of %zu was written by task %u", i, a.bytes,
           a.writers[i] & 0xfff);
    a.writers[i] = mark;
  }
}

inline void note_global_read(const char* call, const void* pointer, size_t bytes) {
  Machine& m = machine();
  const Allocation& a = allocation_of(pointer);
  if (a.writers.empty()) return;
  const uint32_t mark = (m.launch << 12) | (m.task & 0xfff);
  const size_t at = static_cast<const char*>(pointer) - a.base;
  for (size_t i = at; i < at + bytes; ++i)
    if (a.writers[i] >> 12 == m.launch && a.writers[i] != mark)
      fail("race", call, "byte %zu of an allocation of %zu was written by task %u", i, a.bytes,
           a.writers[i] & 0xfff);
}

// Positions of the lines of an NRAM range.
inline std::pair<size_t, size_t> lines_of(const void* pointer, size_t bytes) {
  const size_t at = static_cast<const char*>(pointer) - __start_mlu_nram;
  return {at / kLine, (at + bytes + kLine - 1) / kLine};
}

inline void mark(LineSet& set, const void* pointer, size_t bytes) {
  if (bytes == 0 || space_of(pointer) != Space::nram) return;
  auto [first, last] = lines_of(pointer, bytes);
  for (size_t i = first; i < last; ++i) set.marks[i] = set.current;
}

inline void check_free(const LineSet& set, const char* call, const char* role, const char* why,
                       const void* pointer, size_t bytes) {
  if (bytes == 0 || space_of(pointer) != Space::nram) return;
  auto [first, last] = lines_of(pointer, bytes);
  for (size_t i = first; i < last; ++i)
    if (set.marks[i] == set.current)
      fail("missing sync", call, "%s at NRAM byte %zu %s", role, i * kLine, why);
}

inline void before_read(const char* call, const char* role, const void* pointer, size_t bytes) {
  check_free(machine().io_writes, call, role, "is still being copied in", pointer, bytes);
}

inline void before_write(const char* call, const char* role, const void* pointer, size_t bytes) {
  check_free(machine().io_writes, call, role, "is still being copied in", pointer, bytes);
  check_free(machine().io_reads, call, role, "is still being copied out", pointer, bytes);
}

inline void finish_copies() {
  Machine& m = machine();
  for (auto& copy : m.pending) copy.perform();
  m.pending.clear();
  m.io_writes.clear();
  m.io_reads.clear();
}

inline void finish_computing() {
  machine().compute_writes.clear();
  machine().compute_reads.clear();
}

inline void poison(char* begin, char* end) {
  // A signalling NaN as half, bfloat16 and float; a large number as an integer.
  uint32_t pattern = 0x7fa5ffa5;
  for (char* p = begin; p + 4 <= end; p += 4) std::memcpy(p, &pattern, 4);
}

inline void check_sizes() {
  const size_t nram = __stop_mlu_nram - __start_mlu_nram;
  if (nram + kStackReserve > __MLU_NRAM_SIZE__ * 1024u)
    fail("NRAM size", "launch", "%zu bytes and %zu of stack, %d KB there", nram, kStackReserve,
         __MLU_NRAM_SIZE__);
  const size_t wram = __stop_mlu_wram - __start_mlu_wram;
  if (wram > __MLU_WRAM_SIZE__ * 1024u)
    fail("WRAM size", "launch", "%zu bytes, %d KB there", wram, __MLU_WRAM_SIZE__);
  const size_t sram = __stop_mlu_sram - __start_mlu_sram;
  if (sram > __MLU_SRAM_SIZE__ * 1024u)
    fail("SRAM size", "launch", "%zu bytes, %d KB there", sram, __MLU_SRAM_SIZE__);
}

// Runs `body` once for each task. MLU_MODEL_REVERSE in the environment turns their order
// around, which shows a task that reads what a later one writes.
inline void run_tasks(const char* kernel, uint32_t tasks, const std::function<void()>& body) {
  static const bool reverse = std::getenv("MLU_MODEL_REVERSE") != nullptr;
  Machine& m = machine();
  m.kernel = kernel;
  m.tasks = tasks;
  m.launch = (m.launch + 1) & 0xfffff;
  check_sizes();
  m.inside = true;
  for (uint32_t number = 0; number < tasks; ++number) {
    m.task = reverse ? tasks - 1 - number : number;
    poison(__start_mlu_nram, __stop_mlu_nram);
    poison(__start_mlu_wram, __stop_mlu_wram);
    body();
    if (!m.pending.empty())
      fail("missing sync", "end of the kernel", "%zu copies are in flight", m.pending.size());
    finish_computing();
  }
  m.inside = false;
  m.kernel = "none";
}

// GDRAM: memory that ends (to 64 bytes) where a page without access begins.
inline void* allocate(size_t bytes) {
  const size_t page = static_cast<size_t>(getpagesize());
  const size_t used = (bytes + 63) / 64 * 64;
  const size_t body = (used + page - 1) / page * page;
  const size_t mapped = body + 2 * page;
  void* mapping = mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return nullptr;
  char* start = static_cast<char*>(mapping) + page;
  mprotect(start, body, PROT_READ | PROT_WRITE);
  char* base = start + body - used;
  poison(base, base + used);
  machine().allocations[base] = Allocation{base, bytes, static_cast<char*>(mapping), mapped, {}};
  return base;
}

inline bool release(void* pointer) {
  auto found = machine().allocations.find(static_cast<char*>(pointer));
  if (found == machine().allocations.end()) return false;
  munmap(found->second.mapping, found->second.mapped);
  machine().allocations.erase(found);
  return true;
}

}  // namespace mlu_model
