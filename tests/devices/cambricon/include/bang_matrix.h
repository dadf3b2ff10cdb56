// Pools, reductions, transposes and the matrix unit.
#pragma once

#include "bang_vector.h"

namespace mlu_model {

// Pools over [height, width, channel]: InfiniCore src/infiniop/reduce/bang/reduce_bang.h.
template <class T, class Combine>
void pool(const char* call, T* dst, const T* src, int channel, int height, int width,
          int kernel_height, int kernel_width, int stride_height, int stride_width,
          Combine combine) {
  static_assert(is_float_lane<T>, "pools: half or float");
  if (channel * static_cast<int>(sizeof(T)) % 128)
    fail("count", call, "%d channels are no multiple of 128 bytes", channel);
  if (height < kernel_height || width < kernel_width || stride_height < 1 || stride_width < 1)
    fail("size", call, "kernel %d x %d of %d x %d", kernel_height, kernel_width, height, width);
  const int rows = (height - kernel_height) / stride_height + 1;
  const int columns = (width - kernel_width) / stride_width + 1;
  auto aligned = [](int64_t count) { return (count + kCountGranule - 1) / kCountGranule * kCountGranule; };
  reading(call, src, aligned(static_cast<int64_t>(height) * width * channel));
  writing(call, dst, aligned(static_cast<int64_t>(rows) * columns * channel));
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < columns; ++c)
      for (int k = 0; k < channel; ++k) {
        bool first = true;
        float result = 0;
        for (int y = 0; y < kernel_height; ++y)
          for (int x = 0; x < kernel_width; ++x) {
            const int at = (r * stride_height + y) * width + c * stride_width + x;
            const float value = src[static_cast<int64_t>(at) * channel + k];
            result = first ? value : combine(result, value);
            first = false;
          }
        dst[(static_cast<int64_t>(r) * columns + c) * channel + k] = T(result);
      }
}

constexpr int kMatrixGranule = 64;

// Where the matrix unit wants element (n, k) of a filter [n][k]. The real order is not public;
// this one only makes sure that nothing but __bang_reshape_filter makes it.
inline int64_t filter_place(int64_t n, int64_t k, int64_t columns) {
  const int64_t block = k / kMatrixGranule, inside = k % kMatrixGranule;
  return n * columns + block * kMatrixGranule + (inside * 37 + 11 * (n % 64)) % kMatrixGranule;
}

}  // namespace mlu_model

template <class T>
void __bang_sumpool(T* dst, const T* src, int channel, int height, int width, int kernel_height,
                    int kernel_width, int stride_height, int stride_width) {
  mlu_model::pool("__bang_sumpool", dst, src, channel, height, width, kernel_height,
                  kernel_width, stride_height, stride_width,
                  [](float a, float b) { return a + b; });
}

template <class T>
void __bang_maxpool(T* dst, const T* src, int channel, int height, int width, int kernel_height,
                    int kernel_width, int stride_height, int stride_width) {
  mlu_model::pool("__bang_maxpool", dst, src, channel, height, width, kernel_height,
                  kernel_width, stride_height, stride_width, mlu_model::larger_of);
}

template <class T>
void __bang_minpool(T* dst, const T* src, int channel, int height, int width, int kernel_height,
                    int kernel_width, int stride_height, int stride_width) {
  mlu_model::pool("__bang_minpool", dst, src, channel, height, width, kernel_height,
                  kernel_width, stride_height, stride_width, mlu_model::smaller_of);
}

// The sum of each 128 bytes, at their first element; the others are left as no one knows
// (JittorNeuware gathers every 32nd element after it).
inline void __bang_reduce_sum(float* dst, const float* src, int count) {
  mlu_model::reading("__bang_reduce_sum", src, count);
  mlu_model::writing("__bang_reduce_sum", dst, count);
  for (int i = 0; i < count; i += 32) {
    float sum = src[i];
    for (int j = 1; j < 32; ++j) sum += src[i + j];
    for (int j = 1; j < 32; ++j) dst[i + j] = std::numeric_limits<float>::quiet_NaN();
    dst[i] = sum;
  }
}

// dst[0]: the largest element, dst[1]: its position as uint32_t (mlu-ops nms, box_iou_rotated).
inline void __bang_argmax(float* dst, const float* src, int count) {
  mlu_model::reading("__bang_argmax", src, count);
  mlu_model::writing("__bang_argmax", dst, 64);
  float best = src[0];
  uint32_t place = 0;
  for (int i = 1; i < count; ++i)
    if (src[i] > best || (std::isnan(src[i]) && !std::isnan(best))) {
      best = src[i];
      place = i;
    }
  dst[0] = best;
  std::memcpy(dst + 1, &place, 4);
}

// [height, width] to [width, height]; both multiples of 64 here (mlu-ops fft pads to 64).
template <class T>
void __bang_transpose(T* dst, const T* src, int height, int width) {
  if (height % 64 || width % 64)
    mlu_model::fail("count", "__bang_transpose", "%d x %d, no multiples of 64", height, width);
  mlu_model::reading("__bang_transpose", src, static_cast<int64_t>(height) * width);
  mlu_model::writing("__bang_transpose", dst, static_cast<int64_t>(height) * width);
  if (dst == src) mlu_model::fail("overlap", "__bang_transpose", "result and operand are one");
  mlu_model::not_crossing("__bang_transpose", dst, src, static_cast<int64_t>(height) * width);
  for (int64_t i = 0; i < height; ++i)
    for (int64_t j = 0; j < width; ++j) dst[j * height + i] = src[i * width + j];
}

// Puts a filter [n][h][w][c] into the matrix unit's order, in NRAM: mlu-ops
// kernels/fft/fft_optm_device/fft_generic_butterfly.h with h = w = 1.
template <class T>
void __bang_reshape_filter(T* dst, const T* src, int n, int h, int w, int c) {
  const char* call = "__bang_reshape_filter";
  const int64_t count = static_cast<int64_t>(n) * h * w * c;
  if (h != 1 || w != 1) mlu_model::fail("unsupported", call, "h %d, w %d", h, w);
  if (n % mlu_model::kMatrixGranule || c % mlu_model::kMatrixGranule)
    mlu_model::fail("count", call, "%d x %d, no multiples of 64", n, c);
  mlu_model::reading(call, src, count);
  mlu_model::writing(call, dst, count);
  if (dst == src) mlu_model::fail("overlap", call, "result and operand are one");
  mlu_model::not_crossing(call, dst, src, count);
  for (int64_t row = 0; row < n; ++row)
    for (int64_t k = 0; k < c; ++k) dst[mlu_model::filter_place(row, k, c)] = src[row * c + k];
}

// dst[m, n] = a[m, k] times the filter b[n][k] in WRAM; rows without gaps. k and n are
// multiples of 64 (mlu-ops fft pads them so). float, and half with a float result.
template <class T>
void __bang_matmul(float* dst, const T* a, const T* b, int m, int k, int n) {
  const char* call = "__bang_matmul";
  static_assert(mlu_model::is_float_lane<T>, "__bang_matmul: half or float");
  if (m <= 0 || k <= 0 || n <= 0 || k % mlu_model::kMatrixGranule || n % mlu_model::kMatrixGranule)
    mlu_model::fail("count", call, "m %d, k %d, n %d", m, k, n);
  mlu_model::check_range(call, "b", b, static_cast<size_t>(n) * k * sizeof(T), mlu_model::Space::wram);
  mlu_model::reading(call, a, static_cast<int64_t>(m) * k);
  mlu_model::writing(call, dst, static_cast<int64_t>(m) * n);
  mlu_model::not_crossing(call, dst, a, static_cast<int64_t>(m) * n);
  std::vector<float> rows(static_cast<size_t>(n) * k), left(k);
  for (int64_t j = 0; j < n; ++j)
    for (int64_t p = 0; p < k; ++p) rows[p * n + j] = b[mlu_model::filter_place(j, p, k)];
  for (int64_t i = 0; i < m; ++i) {
    float* out = dst + i * n;
    std::fill(out, out + n, 0.0f);
    for (int64_t p = 0; p < k; ++p) {
      const float factor = a[i * k + p];
      const float* row = rows.data() + p * n;
      for (int64_t j = 0; j < n; ++j) out[j] += factor * row[j];
    }
  }
}
