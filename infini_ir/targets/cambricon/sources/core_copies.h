// Copies of slices between global memory and NRAM, to the byte.
#pragma once

// Moves `rows` rows of `count` elements; pitches are in NRAM, strides in global memory, in
// elements, the first of rows and the second inside a row.
template <class T>
INFINI_DEVICE void copy_in(T* local, int64_t pitch, int64_t inner_pitch, T* memory,
                           int64_t stride, int64_t inner_stride, int64_t rows, int64_t count) {
  if (rows <= 0 || count <= 0) return;
  const int64_t size = sizeof(T);
  if (count == 1 || (inner_pitch == 1 && inner_stride == 1)) {
    if (rows > 1 && pitch >= count && stride >= count) {
      __memcpy(local, memory, count * size, GDRAM2NRAM, pitch * size, stride * size, rows - 1);
      return;
    }
    for (int64_t r = 0; r < rows; ++r)
      __memcpy(local + r * pitch, memory + r * stride, count * size, GDRAM2NRAM);
    return;
  }
  for (int64_t r = 0; r < rows; ++r) {
    T* to = local + r * pitch;
    T* from = memory + r * stride;
    if (inner_stride > 0 && inner_pitch > 0) {
      __memcpy(to, from, size, GDRAM2NRAM, inner_pitch * size, inner_stride * size, count - 1);
      continue;
    }
    for (int64_t c = 0; c < count; ++c) to[c * inner_pitch] = from[c * inner_stride];
  }
}

// The same beside what follows, up to `wait_for_copies`. Elements that must be moved one by one
// are moved now.
template <class T>
INFINI_DEVICE void copy_in_ahead(T* local, int64_t pitch, int64_t inner_pitch, T* memory,
                                 int64_t stride, int64_t inner_stride, int64_t rows,
                                 int64_t count) {
  if (rows <= 0 || count <= 0) return;
  const int64_t size = sizeof(T);
  if (count > 1 && (inner_pitch != 1 || inner_stride != 1)) {
    copy_in(local, pitch, inner_pitch, memory, stride, inner_stride, rows, count);
  } else if (rows > 1 && pitch >= count && stride >= count) {
    __memcpy_async(local, memory, count * size, GDRAM2NRAM, pitch * size, stride * size,
                   rows - 1);
  } else {
    for (int64_t r = 0; r < rows; ++r)
      __memcpy_async(local + r * pitch, memory + r * stride, count * size, GDRAM2NRAM);
  }
}

INFINI_DEVICE void wait_for_copies() { __sync_io(); }
INFINI_DEVICE void wait_for_computing() { __sync_compute(); }

template <class T>
INFINI_DEVICE void copy_out(T* memory, int64_t stride, int64_t inner_stride, T* local,
                            int64_t pitch, int64_t inner_pitch, int64_t rows, int64_t count) {
  if (rows <= 0 || count <= 0) return;
  const int64_t size = sizeof(T);
  if (count == 1 || (inner_pitch == 1 && inner_stride == 1)) {
    if (rows > 1 && pitch >= count && stride >= count) {
      __memcpy(memory, local, count * size, NRAM2GDRAM, stride * size, pitch * size, rows - 1);
      return;
    }
    for (int64_t r = 0; r < rows; ++r)
      __memcpy(memory + r * stride, local + r * pitch, count * size, NRAM2GDRAM);
    return;
  }
  for (int64_t r = 0; r < rows; ++r) {
    T* to = memory + r * stride;
    T* from = local + r * pitch;
    if (inner_stride > 0 && inner_pitch > 0) {
      __memcpy(to, from, size, NRAM2GDRAM, inner_stride * size, inner_pitch * size, count - 1);
      continue;
    }
    for (int64_t c = 0; c < count; ++c) to[c * inner_stride] = from[c * inner_pitch];
  }
}

// Adds to global memory, no other core coming between.
template <class T>
INFINI_DEVICE void copy_out_add(T* memory, int64_t stride, int64_t inner_stride, T* local,
                                int64_t pitch, int64_t inner_pitch, int64_t rows,
                                int64_t count) {
  for (int64_t r = 0; r < rows; ++r) {
    T* to = memory + r * stride;
    T* from = local + r * pitch;
    if (count > 0 && inner_stride == 1 && inner_pitch == 1) {
      __bang_atomic_reduce_add(to, from, count);
      continue;
    }
    for (int64_t c = 0; c < count; ++c)
      __bang_atomic_reduce_add(to + c * inner_stride, from + c * inner_pitch, 1);
  }
}

// Inside NRAM.
template <class T>
INFINI_DEVICE void copy_row(T* to, T* from, int64_t count) {
  if (count > 0 && to != from)
    __memcpy(to, from, count * static_cast<int64_t>(sizeof(T)), NRAM2NRAM);
}
