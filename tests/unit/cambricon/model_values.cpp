// Values of the model's calls: exact 16-bit floats, conversions, comparisons, products.
#include <bang.h>

__nram__ __attribute__((aligned(128))) char nram[1 << 17];
__wram__ __attribute__((aligned(128))) float wram[64 * 128];

static int failures = 0;
static void expect(bool right, const char* what) {
  if (!right) std::fprintf(stderr, "wrong: %s\n", what), ++failures;
}

static uint16_t reference_half(double value) {  // by search among all halves
  uint16_t best = 0;
  double distance = 1e300;
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const double found = std::fabs(mlu_model::half_value(bits) - std::fabs(value));
    if (found < distance || (found == distance && bits % 2 == 0)) distance = found, best = bits;
  }
  return std::signbit(value) ? best | 0x8000 : best;
}

static void numbers() {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = mlu_model::half_value(bits);
    if (!std::isnan(value)) expect(mlu_model::half_bits(value) == bits, "half there and back");
    const float wide = mlu_model::bfloat16_value(bits);
    if (!std::isnan(wide)) expect(mlu_model::bfloat16_bits(wide) == bits, "bfloat16 there and back");
  }
  for (float value : {1e-8f, 2.98e-8f, 3e-8f, 6e-8f, 6.1e-5f, 6.0976e-5f, 0.1f, -2049.0f, 2051.0f, 65503.0f})
    expect(mlu_model::half_bits(value) == reference_half(value), "half rounding");
  expect(mlu_model::half_bits(65520.0f) == 0x7c00, "half overflow");
  expect(mlu_model::half_bits(65519.0f) == 0x7bff, "half greatest");
  expect(mlu_model::half_bits(1e30f, mlu_model::Rounding::to_zero) == 0x7bff, "toward zero");
  expect(mlu_model::bfloat16_bits(mlu_model::float_of(0x3f808000)) == 0x3f80, "tie to even");
  expect(mlu_model::bfloat16_bits(mlu_model::float_of(0x3f818000)) == 0x3f82, "tie to even up");
}

static void calls() {
  float* a = reinterpret_cast<float*>(nram);
  float* b = a + 4096;
  float* c = b + 8192;
  float* d = c + 8192;
  for (int i = 0; i < 64; ++i) a[i] = i - 32.5f;
  int* whole = reinterpret_cast<int*>(b);
  __bang_float2int32_tz(whole, a, 64, 0);
  expect(whole[0] == -32 && whole[63] == 30, "toward zero");
  __bang_float2int32_rn(whole, a, 64, 0);
  expect(whole[0] == -32 && whole[1] == -32, "to nearest even");
  __bang_lt_scalar(b, a, 0.0f, 64);
  expect(b[0] == 1 && b[63] == 0, "comparison");
  for (int i = 0; i < 64 * 64; ++i) a[i] = i % 13 - 6;          // [64, 64]
  for (int i = 0; i < 64 * 128; ++i) b[i] = i % 7 - 3;          // [64, 128]: k, n
  __bang_transpose(c, b, 64, 128);
  expect(c[5 * 64 + 3] == b[3 * 128 + 5], "transpose");
  __bang_reshape_filter(d, c, 128, 1, 1, 64);
  __memcpy(wram, d, 64 * 128 * 4, NRAM2WRAM);
  __bang_matmul(c, a, wram, 64, 64, 128);
  for (int i = 0; i < 64; ++i)
    for (int j = 0; j < 128; ++j) {
      float sum = 0;
      for (int p = 0; p < 64; ++p) sum += a[i * 64 + p] * b[p * 128 + j];
      expect(c[i * 128 + j] == sum, "product");
    }
  for (int i = 0; i < 256; ++i) a[i] = i;
  __bang_sumpool(b, a, 64, 1, 4, 1, 4, 1, 1);
  __bang_reduce_sum(b, b, 64);
  expect(b[0] + b[32] == 255 * 128, "sum of a row");
  __bang_argmax(b, a, 256);
  expect(b[0] == 255 && mlu_model::bits_of(b[1]) == 255, "argmax");
}

int main() {
  numbers();
  mlu_model::run_tasks("calls", 1, calls);
  return failures ? 1 : 0;
}
