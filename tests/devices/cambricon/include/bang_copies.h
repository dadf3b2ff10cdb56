// Copies and syncs.
//
// __memcpy(dst, src, bytes, direction[, dst_stride, src_stride, segments - 1]), strides in
// bytes: mlu-ops kernels/utils/common.h. __memcpy sees what was computed before it and is done
// when it returns; __memcpy_async runs beside computing until __sync_io (copies),
// __sync_compute (computing), __sync_io_move_compute or __sync (all), and sees what was computed
// before the last of the latter three: mlu-ops docs/BANG-C-OPS-Develop-Guide.md, three-stage
// pipelines.
#pragma once

namespace mlu_model {

struct Ends {
  Space destination, source;
};

inline Ends ends_of(mluMemcpyDirection_t direction) {
  switch (direction) {
    case GDRAM2NRAM: return {Space::nram, Space::gdram};
    case NRAM2GDRAM: return {Space::gdram, Space::nram};
    case NRAM2NRAM: return {Space::nram, Space::nram};
    case NRAM2WRAM: return {Space::wram, Space::nram};
    case GDRAM2WRAM: return {Space::wram, Space::gdram};
    case GDRAM2SRAM: return {Space::sram, Space::gdram};
    case SRAM2GDRAM: return {Space::gdram, Space::sram};
    case SRAM2NRAM: return {Space::nram, Space::sram};
    case NRAM2SRAM: return {Space::sram, Space::nram};
    case GDRAM2GDRAM: return {Space::gdram, Space::gdram};
  }
  fail("direction", "__memcpy", "%d", static_cast<int>(direction));
}

struct Copy {
  char* destination;
  const char* source;
  size_t bytes, destination_stride, source_stride, segments;
  Ends ends;

  void check(const char* call) const {
    if (bytes == 0 || segments == 0) fail("size", call, "%zu segments of %zu bytes", segments, bytes);
    if (segments > 1 && destination_stride < bytes)
      fail("stride", call, "destination stride %zu for %zu bytes", destination_stride, bytes);
    for (size_t i = 0; i < segments; ++i) {
      check_range(call, "destination", destination + i * destination_stride, bytes,
                  ends.destination);
      check_range(call, "source", source + i * source_stride, bytes, ends.source);
    }
    if (ends.destination == Space::wram && reinterpret_cast<uintptr_t>(destination) % 64)
      fail("alignment", call, "WRAM address %p is no multiple of 64", static_cast<void*>(destination));
  }

  template <class Each>
  void each(Each visit) const {
    for (size_t i = 0; i < segments; ++i)
      visit(destination + i * destination_stride, source + i * source_stride);
  }

  // What other tasks may see of it.
  void note(const char* call) const {
    each([&](char* to, const char* from) {
      if (ends.source == Space::gdram) note_global_read(call, from, bytes);
      if (ends.destination == Space::gdram) note_global_write(call, to, bytes);
    });
  }

  void perform() const {
    each([&](char* to, const char* from) { std::memmove(to, from, bytes); });
  }
};

inline Copy make_copy(const char* call, void* destination, const void* source, size_t bytes,
                      mluMemcpyDirection_t direction, int64_t destination_stride,
                      int64_t source_stride, int64_t segments_less_one) {
  if (destination_stride < 0 || source_stride < 0 || segments_less_one < 0)
    fail("stride", call, "negative stride or count");
  Copy copy{static_cast<char*>(destination),
            static_cast<const char*>(source),
            bytes,
            static_cast<size_t>(destination_stride),
            static_cast<size_t>(source_stride),
            static_cast<size_t>(segments_less_one) + 1,
            ends_of(direction)};
  copy.check(call);
  copy.note(call);
  return copy;
}

inline void copy_now(const Copy& copy) {
  copy.each([&](char* to, const char* from) {
    before_read("__memcpy", "source", from, copy.bytes);
    before_write("__memcpy", "destination", to, copy.bytes);
  });
  copy.perform();
}

inline void copy_later(const Copy& copy) {
  const char* call = "__memcpy_async";
  Machine& m = machine();
  copy.each([&](char* to, const char* from) {
    check_free(m.compute_writes, call, "source", "is still being computed", from, copy.bytes);
    check_free(m.compute_writes, call, "destination", "is still being computed", to, copy.bytes);
    check_free(m.compute_reads, call, "destination", "is still being read", to, copy.bytes);
    // Copies are done in the order of their issue.
    mark(m.io_reads, from, copy.bytes);
    mark(m.io_writes, to, copy.bytes);
  });
  m.pending.push_back({[copy] { copy.perform(); }});
}

}  // namespace mlu_model

inline void __memcpy(void* dst, const void* src, int64_t size, mluMemcpyDirection_t direction,
                     int64_t dst_stride = 0, int64_t src_stride = 0, int64_t segnum = 0) {
  mlu_model::copy_now(mlu_model::make_copy("__memcpy", dst, src, size, direction, dst_stride,
                                           src_stride, segnum));
}

inline void __memcpy_async(void* dst, const void* src, int64_t size,
                           mluMemcpyDirection_t direction, int64_t dst_stride = 0,
                           int64_t src_stride = 0, int64_t segnum = 0) {
  mlu_model::copy_later(mlu_model::make_copy("__memcpy_async", dst, src, size, direction,
                                             dst_stride, src_stride, segnum));
}

inline void __sync_io() { mlu_model::finish_copies(); }

inline void __sync_compute() { mlu_model::finish_computing(); }

inline void __sync_io_move_compute() {
  mlu_model::finish_copies();
  mlu_model::finish_computing();
}

inline void __sync() { __sync_io_move_compute(); }

// Tasks run one after another, so meeting is not modelled: a kernel that needs it is refused.
inline void __sync_cluster() {
  if (taskDim > 1) mlu_model::fail("unsupported", "__sync_cluster", "%d tasks", taskDim);
}

inline void __sync_all() {
  if (taskDim > 1) mlu_model::fail("unsupported", "__sync_all", "%d tasks", taskDim);
}

// Adds a row in NRAM to memory, no other core coming between (mlu-ops: roi_align, voxel
// pooling). The three-operand form keeps the old values.
template <class T>
void __bang_atomic_reduce_add(T* dst, const T* src, int count) {
  const char* call = "__bang_atomic_reduce_add";
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, half> || std::is_same_v<T, int>,
                "half, float and int");
  mlu_model::check_range(call, "destination", dst, count * sizeof(T), mlu_model::Space::gdram);
  mlu_model::check_range(call, "source", src, count * sizeof(T), mlu_model::Space::nram);
  mlu_model::before_read(call, "source", src, count * sizeof(T));
  for (int i = 0; i < count; ++i) dst[i] = static_cast<T>(dst[i] + src[i]);
}
