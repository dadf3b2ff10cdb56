// Copies of slices between global and local memory, to the byte.
#pragma once

// Pitches are in local memory, strides in global memory, in elements, the first of rows and the
// second inside a row. Parts are copied side by side, and all have arrived at the end.
template <class T>
INFINI_DEVICE void copy_in(T* local, int64_t pitch, int64_t inner_pitch,
                           __global_ptr__ const T* memory, int64_t stride, int64_t inner_stride,
                           int64_t rows, int64_t count) {
  if (rows <= 0 || count <= 0) return;
  const int size = sizeof(T), most = static_cast<int>(count);
  const bool whole = count == 1 || (inner_pitch == 1 && inner_stride == 1);
  for (int64_t r = 0; r < rows; ++r) {
    T* to = local + r * pitch;
    __global_ptr__ const T* from = memory + r * stride;
    if (whole) {
      GM2LM_ASYNC(from, to, most * size);
      continue;
    }
    for (int c = 0; c < most; ++c)
      GM2LM_ASYNC(from + c * inner_stride, to + c * inner_pitch, size);
  }
  mfence();
}

template <class T>
INFINI_DEVICE void copy_out(__global_ptr__ T* memory, int64_t stride, int64_t inner_stride,
                            T* local, int64_t pitch, int64_t inner_pitch, int64_t rows,
                            int64_t count) {
  if (rows <= 0 || count <= 0) return;
  const int size = sizeof(T), most = static_cast<int>(count);
  const bool whole = count == 1 || (inner_pitch == 1 && inner_stride == 1);
  mfence();
  for (int64_t r = 0; r < rows; ++r) {
    __global_ptr__ T* to = memory + r * stride;
    T* from = local + r * pitch;
    if (whole) {
      LM2GM_ASYNC(from, to, most * size);
      continue;
    }
    for (int c = 0; c < most; ++c)
      LM2GM_ASYNC(from + c * inner_pitch, to + c * inner_stride, size);
  }
  mfence();
}

// One element to the scalar unit.
template <class T>
INFINI_DEVICE T read_element(__global_ptr__ const T* memory) {
  __local__ T value[1];
  GM2LM(memory, value, static_cast<int>(sizeof(T)));
  return value[0];
}

// There are no atomic operations on global memory: kernels that combine with what is there run
// on one core.
#define INFINI_COMBINE(name, combined)                                                        \
  template <class T>                                                                          \
  INFINI_DEVICE void copy_out_##name(__global_ptr__ T* memory, int64_t stride,                \
                                     int64_t inner_stride, T* local, int64_t pitch,           \
                                     int64_t inner_pitch, int64_t rows, int64_t count) {      \
    __local__ T value[1];                                                                     \
    for (int64_t r = 0; r < rows; ++r)                                                        \
      for (int64_t c = 0; c < count; ++c) {                                                   \
        __global_ptr__ T* place = memory + r * stride + c * inner_stride;                     \
        const T b = local[r * pitch + c * inner_pitch];                                       \
        GM2LM(place, value, static_cast<int>(sizeof(T)));                                     \
        const T a = value[0];                                                                 \
        value[0] = combined;                                                                  \
        mfence();                                                                             \
        LM2GM(value, place, static_cast<int>(sizeof(T)));                                     \
      }                                                                                       \
  }
INFINI_COMBINE(add, sum_of(a, b))
INFINI_COMBINE(mul, product_of(a, b))
INFINI_COMBINE(max, larger_of(a, b))
INFINI_COMBINE(min, smaller_of(a, b))
#undef INFINI_COMBINE

// Inside local memory.
template <class T>
INFINI_DEVICE void copy_row(T* to, const T* from, int64_t count) {
  for (int i = 0; i < static_cast<int>(count); ++i) to[i] = from[i];
}
