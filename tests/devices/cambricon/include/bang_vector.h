// Vector calls: (dst, operands.., element count).
//
// Operands lie in NRAM, at addresses that are multiples of 128 bytes (64 for rows of bytes);
// counts are multiples of 64 elements: NFU_ALIGN_SIZE and COMPUTE_COUNT_ALIGN of mlu-ops
// kernels/kernel.h. dst may be an operand, but may not overlap one otherwise.
#pragma once

namespace mlu_model {

constexpr int kCountGranule = 64;

template <class T>
void check_vector(const char* call, const char* role, const T* pointer, int64_t count) {
  const size_t alignment = std::min<size_t>(128, kCountGranule * sizeof(T));
  if (count <= 0 || count % kCountGranule)
    fail("count", call, "%lld elements, no multiple of %d", static_cast<long long>(count),
         kCountGranule);
  check_range(call, role, pointer, count * sizeof(T), Space::nram);
  const size_t address = reinterpret_cast<const char*>(pointer) - __start_mlu_nram;
  if (address % alignment)
    fail("alignment", call, "%s at NRAM byte %zu, no multiple of %zu", role, address, alignment);
}

template <class T>
void reading(const char* call, const T* pointer, int64_t count) {
  check_vector(call, "operand", pointer, count);
  before_read(call, "operand", pointer, count * sizeof(T));
  mark(machine().compute_reads, pointer, count * sizeof(T));
}

template <class T>
void writing(const char* call, const T* pointer, int64_t count) {
  check_vector(call, "result", pointer, count);
  before_write(call, "result", pointer, count * sizeof(T));
  mark(machine().compute_writes, pointer, count * sizeof(T));
}

template <class D, class S>
void not_crossing(const char* call, const D* dst, const S* src, int64_t count) {
  const char* a = reinterpret_cast<const char*>(dst);
  const char* b = reinterpret_cast<const char*>(src);
  if (a == b && sizeof(D) <= sizeof(S)) return;
  if (a < b + count * sizeof(S) && b < a + count * sizeof(D))
    fail("overlap", call, "result and operand overlap by part");
}

template <class D, class S, class Function>
void apply(const char* call, D* dst, const S* src, int64_t count, Function function) {
  reading(call, src, count);
  writing(call, dst, count);
  not_crossing(call, dst, src, count);
  for (int64_t i = 0; i < count; ++i) dst[i] = function(src[i]);
}

template <class D, class S, class Function>
void apply(const char* call, D* dst, const S* a, const S* b, int64_t count, Function function) {
  reading(call, a, count);
  reading(call, b, count);
  writing(call, dst, count);
  not_crossing(call, dst, a, count);
  not_crossing(call, dst, b, count);
  for (int64_t i = 0; i < count; ++i) dst[i] = function(a[i], b[i]);
}

template <class T>
constexpr bool is_float_lane = std::is_same_v<T, float> || std::is_same_v<T, half>;
template <class T>
constexpr bool is_number_lane = is_float_lane<T> || std::is_same_v<T, int>;

// Integer lanes wrap around.
template <class T>
using Wide = std::conditional_t<std::is_same_v<T, int>, unsigned, float>;

template <class T, class Function>
T wrapped(T a, T b, Function function) {
  return static_cast<T>(function(static_cast<Wide<T>>(a), static_cast<Wide<T>>(b)));
}

inline float larger_of(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<float>::quiet_NaN();
  return a > b ? a : b;
}

inline float smaller_of(float a, float b) { return -larger_of(-a, -b); }

}  // namespace mlu_model

// Arithmetic: half, float and int lanes (mlu-ops kernels/utils/common.h; int also
// kernels/../ctc_loss: __bang_mul_scalar on int).
#define MLU_MODEL_BINARY(name, operation)                                               \
  template <class T>                                                                    \
  void __bang_##name(T* dst, const T* a, const T* b, int count) {                       \
    static_assert(mlu_model::is_number_lane<T>, "__bang_" #name ": half, float or int"); \
    mlu_model::apply("__bang_" #name, dst, a, b, count, [](T x, T y) {                  \
      return mlu_model::wrapped(x, y, [](auto p, auto q) { return p operation q; });    \
    });                                                                                 \
  }                                                                                     \
  template <class T>                                                                    \
  void __bang_##name##_scalar(T* dst, const T* a, std::common_type_t<T> scalar, int count) { \
    static_assert(mlu_model::is_number_lane<T>, "__bang_" #name "_scalar: half, float or int"); \
    mlu_model::apply("__bang_" #name "_scalar", dst, a, count, [scalar](T x) {          \
      return mlu_model::wrapped(x, scalar, [](auto p, auto q) { return p operation q; }); \
    });                                                                                 \
  }
MLU_MODEL_BINARY(add, +)
MLU_MODEL_BINARY(sub, -)
MLU_MODEL_BINARY(mul, *)
#undef MLU_MODEL_BINARY

// Not on MLU370 (mlu-ops __mluop_div: arch >= 300 and not 372).
#if __BANG_ARCH__ != 372
template <class T>
void __bang_div(T* dst, const T* a, const T* b, int count) {
  static_assert(mlu_model::is_float_lane<T>, "__bang_div: half or float");
  mlu_model::apply("__bang_div", dst, a, b, count,
                   [](T x, T y) { return static_cast<T>(float(x) / float(y)); });
}
#endif

// The sources say nothing of NaN: here it carries, as in IEEE 754-2019 maximum and minimum.
template <class T>
void __bang_maxequal(T* dst, const T* a, const T* b, int count) {
  static_assert(mlu_model::is_float_lane<T>, "__bang_maxequal: half or float");
  mlu_model::apply("__bang_maxequal", dst, a, b, count,
                   [](T x, T y) { return static_cast<T>(mlu_model::larger_of(x, y)); });
}

template <class T>
void __bang_minequal(T* dst, const T* a, const T* b, int count) {
  static_assert(mlu_model::is_float_lane<T>, "__bang_minequal: half or float");
  mlu_model::apply("__bang_minequal", dst, a, b, count,
                   [](T x, T y) { return static_cast<T>(mlu_model::smaller_of(x, y)); });
}

// Comparisons give 1 or 0 in lanes of the operands' type.
#define MLU_MODEL_COMPARE(name, operation)                                                 \
  template <class T>                                                                       \
  void __bang_##name(T* dst, const T* a, const T* b, int count) {                          \
    static_assert(mlu_model::is_float_lane<T>, "__bang_" #name ": half or float");         \
    mlu_model::apply("__bang_" #name, dst, a, b, count, [](T x, T y) {                     \
      return static_cast<T>(float(x) operation float(y) ? 1.0f : 0.0f);                    \
    });                                                                                    \
  }                                                                                        \
  template <class T>                                                                       \
  void __bang_##name##_scalar(T* dst, const T* a, std::common_type_t<T> scalar, int count) { \
    static_assert(mlu_model::is_float_lane<T>, "__bang_" #name "_scalar: half or float");  \
    mlu_model::apply("__bang_" #name "_scalar", dst, a, count, [scalar](T x) {             \
      return static_cast<T>(float(x) operation float(scalar) ? 1.0f : 0.0f);               \
    });                                                                                    \
  }
MLU_MODEL_COMPARE(eq, ==)
MLU_MODEL_COMPARE(ne, !=)
MLU_MODEL_COMPARE(gt, >)
MLU_MODEL_COMPARE(ge, >=)
MLU_MODEL_COMPARE(lt, <)
MLU_MODEL_COMPARE(le, <=)
#undef MLU_MODEL_COMPARE

// Logic of lanes that are 0 or not: 1 or 0 (mlu-ops box_iou_rotated: __bang_and, __bang_not).
#define MLU_MODEL_LOGIC(name, expression)                                          \
  template <class T>                                                               \
  void __bang_##name(T* dst, const T* a, const T* b, int count) {                  \
    static_assert(mlu_model::is_float_lane<T>, "__bang_" #name ": half or float"); \
    mlu_model::apply("__bang_" #name, dst, a, b, count, [](T p, T q) {             \
      const bool x = float(p) != 0, y = float(q) != 0;                             \
      return static_cast<T>(expression ? 1.0f : 0.0f);                             \
    });                                                                            \
  }
MLU_MODEL_LOGIC(and, (x && y))
MLU_MODEL_LOGIC(or, (x || y))
MLU_MODEL_LOGIC(xor, (x != y))
#undef MLU_MODEL_LOGIC

template <class T>
void __bang_not(T* dst, const T* src, int count) {
  static_assert(mlu_model::is_float_lane<T>, "__bang_not: half or float");
  mlu_model::apply("__bang_not", dst, src, count,
                   [](T x) { return static_cast<T>(float(x) == 0 ? 1.0f : 0.0f); });
}

// Bits, counted in bytes (mlu-ops ctc_loss: __bang_band((char*)dst, .., num * sizeof(float))).
inline void __bang_band(char* dst, const char* a, const char* b, int bytes) {
  mlu_model::apply("__bang_band", dst, a, b, bytes, [](char x, char y) { return x & y; });
}

inline void __bang_bor(char* dst, const char* a, const char* b, int bytes) {
  mlu_model::apply("__bang_bor", dst, a, b, bytes, [](char x, char y) { return x | y; });
}

inline void __bang_bxor(char* dst, const char* a, const char* b, int bytes) {
  mlu_model::apply("__bang_bxor", dst, a, b, bytes, [](char x, char y) { return x ^ y; });
}

inline void __bang_bnot(char* dst, const char* src, int bytes) {
  mlu_model::apply("__bang_bnot", dst, src, bytes, [](char x) { return ~x; });
}

// Functions of float lanes: __mluop_exp multiplies by log2(e) before pow2, __mluop_log by
// ln(2) after log2. What older releases call __bang_log is not there.
#define MLU_MODEL_UNARY(name, expression)                                              \
  inline void __bang_##name(float* dst, const float* src, int count) {                 \
    mlu_model::apply("__bang_" #name, dst, src, count, [](float x) { return expression; }); \
  }
MLU_MODEL_UNARY(pow2, std::exp2(x))
MLU_MODEL_UNARY(log2, std::log2(x))
MLU_MODEL_UNARY(sqrt, std::sqrt(x))
MLU_MODEL_UNARY(recip, 1.0f / x)
MLU_MODEL_UNARY(floor, std::floor(x))
#undef MLU_MODEL_UNARY

template <class T>
void __bang_abs(T* dst, const T* src, int count) {
  static_assert(mlu_model::is_float_lane<T>, "__bang_abs: half or float");
  mlu_model::apply("__bang_abs", dst, src, count,
                   [](T x) { return static_cast<T>(std::fabs(float(x))); });
}

// Any count of elements and any alignment would do; the rules of other calls are kept to. The
// result is a void*: the value's type says how wide lanes are (bang_device_functions.h, 2020:
// integers of 8 to 32 bits, half and float).
template <class V>
void __bang_write_value(void* dst, int count, V value) {
  static_assert(std::is_same_v<V, half> || std::is_same_v<V, float> ||
                    (std::is_integral_v<V> && sizeof(V) <= 4 && !std::is_same_v<V, bool>),
                "__bang_write_value: half, float or an integer of up to 32 bits");
  V* lanes = static_cast<V*>(dst);
  mlu_model::writing("__bang_write_value", lanes, count);
  for (int i = 0; i < count; ++i) lanes[i] = value;
}

template <class T>
void __bang_write_zero(T* dst, int count) {
  mlu_model::writing("__bang_write_zero", dst, count);
  std::memset(static_cast<void*>(dst), 0, count * sizeof(T));
}

// Conversions (mlu-ops kernels/utils/common.h, philox_generator.h; Cambricon/catch
// Convert<..>). Those of integers have a fixed point position, here always 0.
#define MLU_MODEL_CONVERT(name, From, To, expression)                                    \
  inline void __bang_##name(To* dst, const From* src, int count) {                       \
    mlu_model::apply("__bang_" #name, dst, src, count, [](From x) { return To(expression); }); \
  }
#define MLU_MODEL_CONVERT_FIXED(name, From, To, expression)                              \
  inline void __bang_##name(To* dst, const From* src, int count, int position) {         \
    if (position != 0) mlu_model::fail("unsupported", "__bang_" #name, "position %d", position); \
    mlu_model::apply("__bang_" #name, dst, src, count, [](From x) { return To(expression); }); \
  }

namespace mlu_model {

// To an integer type, cut off at its ends; NaN, about which the sources say nothing, gives 0.
template <class To>
To saturated(float value) {
  if (std::isnan(value)) return 0;
  const double low = std::numeric_limits<To>::min(), high = std::numeric_limits<To>::max();
  return static_cast<To>(std::min(std::max(static_cast<double>(value), low), high));
}

inline half rounded_half(float value, Rounding rounding) {
  half result;
  result.bits = half_bits(value, rounding);
  return result;
}

inline bfloat16_t rounded_bfloat16(float value, Rounding rounding) {
  bfloat16_t result;
  result.bits = bfloat16_bits(value, rounding);
  return result;
}

}  // namespace mlu_model

MLU_MODEL_CONVERT(half2float, half, float, x)
MLU_MODEL_CONVERT(bfloat162float, bfloat16_t, float, x)
MLU_MODEL_CONVERT(float2half_rn, float, half,
                  mlu_model::rounded_half(x, mlu_model::Rounding::nearest_even))
MLU_MODEL_CONVERT(float2half_tz, float, half,
                  mlu_model::rounded_half(x, mlu_model::Rounding::to_zero))
MLU_MODEL_CONVERT(float2bfloat16_rn, float, bfloat16_t,
                  mlu_model::rounded_bfloat16(x, mlu_model::Rounding::nearest_even))
MLU_MODEL_CONVERT(float2bfloat16_tz, float, bfloat16_t,
                  mlu_model::rounded_bfloat16(x, mlu_model::Rounding::to_zero))
MLU_MODEL_CONVERT(uchar2float, unsigned char, float, x)
MLU_MODEL_CONVERT_FIXED(int82float, int8_t, float, x)
MLU_MODEL_CONVERT_FIXED(int322float, int, float, x)
MLU_MODEL_CONVERT_FIXED(float2int32_tz, float, int, mlu_model::saturated<int>(std::trunc(x)))
MLU_MODEL_CONVERT_FIXED(float2int32_rn, float, int, mlu_model::saturated<int>(std::nearbyint(x)))
MLU_MODEL_CONVERT_FIXED(float2int8_tz, float, int8_t,
                        mlu_model::saturated<int8_t>(std::trunc(x)))
MLU_MODEL_CONVERT_FIXED(float2int8_rn, float, int8_t,
                        mlu_model::saturated<int8_t>(std::nearbyint(x)))
#undef MLU_MODEL_CONVERT
#undef MLU_MODEL_CONVERT_FIXED
