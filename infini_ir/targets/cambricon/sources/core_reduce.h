// Reductions of a row to one element.
#pragma once

constexpr int64_t POOL = 128;  // groups of 64 lanes that one pooling instruction takes

// The last part of a row, fewer than 64 elements, filled up with `neutral`: in strip 3.
INFINI_DEVICE float* tail_of(float* row, int64_t count, float neutral) {
  fill_rows(strip(3), neutral, LANES);
  __memcpy(strip(3), row, count * 4, NRAM2NRAM);
  return strip(3);
}

// 64 partial results of a row: in strip 2.
#define INFINI_PARTIAL(name, pool, combine, neutral)                                       \
  INFINI_DEVICE float* name(float* row, int64_t count) {                                   \
    fill_rows(strip(2), neutral, LANES);                                                   \
    const int64_t groups = count / LANES;                                                  \
    for (int64_t g = 0; g < groups; g += POOL) {                                           \
      const int64_t width = smaller(POOL, groups - g);                                     \
      pool(strip(1), row + g * LANES, LANES, 1, width, 1, width, 1, 1);                    \
      combine(strip(2), strip(2), strip(1), LANES);                                        \
    }                                                                                      \
    const int64_t rest = count % LANES;                                                    \
    if (rest > 0)                                                                          \
      combine(strip(2), strip(2), tail_of(row + groups * LANES, rest, neutral), LANES);    \
    return strip(2);                                                                       \
  }
INFINI_PARTIAL(partial_sums, __bang_sumpool, __bang_add, 0.0f)
INFINI_PARTIAL(partial_maxima, __bang_maxpool, __bang_maxequal, -infinity())
INFINI_PARTIAL(partial_minima, __bang_minpool, __bang_minequal, infinity())
#undef INFINI_PARTIAL

INFINI_DEVICE void reduce_add(float* to, float* row, int64_t count) {
  float* partial = partial_sums(row, count);
  __bang_reduce_sum(partial, partial, LANES);  // of each 32 lanes
  *to = partial[0] + partial[32];
}

INFINI_DEVICE void reduce_max(float* to, float* row, int64_t count) {
  float* partial = partial_maxima(row, count);
  __bang_argmax(strip(1), partial, LANES);
  *to = strip(1)[0];
}

INFINI_DEVICE void reduce_min(float* to, float* row, int64_t count) {
  float* partial = partial_minima(row, count);
  neg_rows(partial, partial, LANES);
  __bang_argmax(strip(1), partial, LANES);
  *to = -strip(1)[0];
}

// 64 lanes are added to 64 others until they are left over.
INFINI_DEVICE void reduce_add(int32_t* to, int32_t* row, int64_t count) {
  int32_t* partial = reinterpret_cast<int32_t*>(strip(2));
  fill_rows(partial, 0, LANES);
  const int64_t whole = count / LANES * LANES;
  for (int64_t i = 0; i < whole; i += LANES) __bang_add(partial, partial, row + i, LANES);
  int32_t sum = 0;
  for (int64_t i = 0; i < LANES; ++i) sum = wrapped_sum<int32_t>(sum, partial[i]);
  for (int64_t i = whole; i < count; ++i) sum = wrapped_sum<int32_t>(sum, row[i]);
  *to = sum;
}
