// Reductions, transpositions and products.
#pragma once

#define INFINI_REDUCE(name, function)                                              \
  template <class T>                                                               \
  INFINI_DEVICE void reduce_##name(T* to, const T* row, int64_t count) {           \
    T result = row[0];                                                             \
    for (int i = 1; i < static_cast<int>(count); ++i) result = function(result, row[i]); \
    *to = result;                                                                  \
  }
INFINI_REDUCE(add, sum_of)
INFINI_REDUCE(max, larger_of)
INFINI_REDUCE(min, smaller_of)
#undef INFINI_REDUCE

// Four sums, so that each addition need not wait for the one before.
INFINI_DEVICE void reduce_add(float* to, const float* row, int64_t count) {
  float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  const int n = static_cast<int>(count);
  int i = 0;
  for (; i + 3 < n; i += 4)
    for (int j = 0; j < 4; ++j) sums[j] += row[i + j];
  for (; i < n; ++i) sums[0] += row[i];
  *to = (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

template <class T>
INFINI_DEVICE void transpose_rows(T* to, int64_t to_pitch, const T* from, int64_t from_pitch,
                                  int64_t rows, int64_t columns) {
  const int height = static_cast<int>(rows), width = static_cast<int>(columns);
  const int down = static_cast<int>(to_pitch), across = static_cast<int>(from_pitch);
  for (int i = 0; i < height; ++i)
    for (int j = 0; j < width; ++j) to[j * down + i] = from[i * across + j];
}

template <class Left, class Right>
INFINI_DEVICE void dot(float* acc, int64_t acc_pitch, const Left* lhs, int64_t lhs_pitch,
                       const Right* rhs, int64_t rhs_pitch, int64_t m, int64_t n, int64_t k,
                       bool transposed) {
  const int height = static_cast<int>(m), width = static_cast<int>(n);
  const int depth = static_cast<int>(k);
  for (int i = 0; i < height; ++i) {
    float* out = acc + i * static_cast<int>(acc_pitch);
    const Left* left = lhs + i * static_cast<int>(lhs_pitch);
    if (transposed) {
      for (int j = 0; j < width; ++j) {
        const Right* right = rhs + j * static_cast<int>(rhs_pitch);
        float sum = 0.0f;
        for (int l = 0; l < depth; ++l) sum += widen(left[l]) * widen(right[l]);
        out[j] += sum;
      }
      continue;
    }
    for (int l = 0; l < depth; ++l) {
      const float factor = widen(left[l]);
      const Right* right = rhs + l * static_cast<int>(rhs_pitch);
      for (int j = 0; j < width; ++j) out[j] += factor * widen(right[j]);
    }
  }
}
