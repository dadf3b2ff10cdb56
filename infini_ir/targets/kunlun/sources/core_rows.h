// Elementwise instructions on rows: loops that the compiler vectorises as it can.
#pragma once

#define INFINI_EACH for (int i = 0; i < static_cast<int>(count); ++i)

#define INFINI_ROWS(name, function)                                                \
  template <class T>                                                               \
  INFINI_DEVICE void name##_rows(T* to, const T* a, const T* b, int64_t count) {   \
    INFINI_EACH to[i] = function(a[i], b[i]);                                      \
  }                                                                                \
  template <class T>                                                               \
  INFINI_DEVICE void name##_scalar_rows(T* to, const T* a, T b, int64_t count) {   \
    INFINI_EACH to[i] = function(a[i], b);                                         \
  }
INFINI_ROWS(add, sum_of)
INFINI_ROWS(sub, difference_of)
INFINI_ROWS(mul, product_of)
INFINI_ROWS(div, quotient_of)
INFINI_ROWS(max, larger_of)
INFINI_ROWS(min, smaller_of)
INFINI_ROWS(shift_left, shifted_left<T>)
INFINI_ROWS(shift_right, shifted_right<T>)
INFINI_ROWS(shift_right_unsigned, unsigned_shifted_right<T>)
#undef INFINI_ROWS

#define INFINI_ROWS(name, operation)                                               \
  template <class T>                                                               \
  INFINI_DEVICE void name##_rows(T* to, const T* a, const T* b, int64_t count) {   \
    INFINI_EACH to[i] = static_cast<T>(a[i] operation b[i]);                       \
  }                                                                                \
  template <class T>                                                               \
  INFINI_DEVICE void name##_scalar_rows(T* to, const T* a, T b, int64_t count) {   \
    INFINI_EACH to[i] = static_cast<T>(a[i] operation b);                          \
  }
INFINI_ROWS(bit_and, &)
INFINI_ROWS(bit_or, |)
INFINI_ROWS(bit_xor, ^)
#undef INFINI_ROWS

// Functions of floats.
#define INFINI_ROWS(name, expression)                                              \
  template <class T>                                                               \
  INFINI_DEVICE void name##_rows(T* to, const T* a, int64_t count) {               \
    INFINI_EACH {                                                                  \
      const float x = widen(a[i]);                                                 \
      to[i] = narrow<T>(expression);                                               \
    }                                                                              \
  }
INFINI_ROWS(exp, exponential(x))
INFINI_ROWS(ln, logarithm(x))
INFINI_ROWS(sqrt, square_root(x))
INFINI_ROWS(rsqrt, reciprocal_root(x))
INFINI_ROWS(reciprocal, 1.0f / x)
INFINI_ROWS(floor, floor(x))
INFINI_ROWS(ceil, ceil(x))
#undef INFINI_ROWS

template <class T>
INFINI_DEVICE T opposite(T a) { return wrapped_difference<T>(0, a); }
INFINI_DEVICE float opposite(float a) { return -a; }
INFINI_DEVICE half_t opposite(half_t a) {
  a.bits ^= 0x8000;
  return a;
}
INFINI_DEVICE bf16_t opposite(bf16_t a) {
  a.bits ^= 0x8000;
  return a;
}

template <class T>
INFINI_DEVICE void neg_rows(T* to, const T* a, int64_t count) {
  INFINI_EACH to[i] = opposite(a[i]);
}

template <class T>
INFINI_DEVICE void abs_rows(T* to, const T* a, int64_t count) {
  INFINI_EACH to[i] = number(a[i]) < 0 ? opposite(a[i]) : a[i];
}
INFINI_DEVICE void abs_rows(float* to, const float* a, int64_t count) {
  INFINI_EACH to[i] = float_of_bits(bits_of_float(a[i]) & 0x7fffffff);
}
INFINI_DEVICE void abs_rows(half_t* to, const half_t* a, int64_t count) {
  INFINI_EACH to[i].bits = a[i].bits & 0x7fff;
}
INFINI_DEVICE void abs_rows(bf16_t* to, const bf16_t* a, int64_t count) {
  INFINI_EACH to[i].bits = a[i].bits & 0x7fff;
}

template <class T>
INFINI_DEVICE void bit_not_rows(T* to, const T* a, int64_t count) {
  INFINI_EACH to[i] = static_cast<T>(~a[i]);
}

template <class T>
INFINI_DEVICE void fill_rows(T* to, T value, int64_t count) {
  INFINI_EACH to[i] = value;
}

template <class T>
INFINI_DEVICE void iota_rows(T* to, T start, int64_t count) {
  INFINI_EACH to[i] = wrapped_sum<T>(start, static_cast<T>(i));
}

template <class T>
INFINI_DEVICE void relu_rows(T* to, const T* a, int64_t count) {
  T zero;
  fill_rows(&zero, narrow<T>(0.0f), 1);
  INFINI_EACH to[i] = larger_of(a[i], zero);
}

// Masks: bytes of 1 and 0.
#define INFINI_ROWS(name, operation)                                                          \
  template <class T>                                                                          \
  INFINI_DEVICE void compare_##name(int8_t* mask, const T* a, const T* b, int64_t count) {    \
    INFINI_EACH mask[i] = number(a[i]) operation number(b[i]) ? 1 : 0;                        \
  }                                                                                           \
  template <class T>                                                                          \
  INFINI_DEVICE void compare_scalar_##name(int8_t* mask, const T* a, T b, int64_t count) {    \
    INFINI_EACH mask[i] = number(a[i]) operation number(b) ? 1 : 0;                           \
  }
INFINI_ROWS(eq, ==)
INFINI_ROWS(ne, !=)
INFINI_ROWS(lt, <)
INFINI_ROWS(le, <=)
INFINI_ROWS(gt, >)
INFINI_ROWS(ge, >=)
#undef INFINI_ROWS

#define INFINI_ROWS(name, operation)                                                          \
  INFINI_DEVICE void mask_##name(int8_t* to, const int8_t* a, const int8_t* b, int64_t count) { \
    INFINI_EACH to[i] = a[i] operation b[i];                                                  \
  }
INFINI_ROWS(and, &)
INFINI_ROWS(or, |)
INFINI_ROWS(xor, ^)
#undef INFINI_ROWS

INFINI_DEVICE void mask_not(int8_t* to, const int8_t* a, int64_t count) {
  INFINI_EACH to[i] = a[i] ^ 1;
}
INFINI_DEVICE void mask_from_bytes(int8_t* mask, const int8_t* bytes, int64_t count) {
  INFINI_EACH mask[i] = bytes[i] != 0 ? 1 : 0;
}
INFINI_DEVICE void mask_to_bytes(int8_t* bytes, const int8_t* mask, int64_t count) {
  INFINI_EACH bytes[i] = mask[i];
}

template <class T>
INFINI_DEVICE void select_rows(T* to, const int8_t* mask, const T* a, const T* b, int64_t count) {
  INFINI_EACH to[i] = mask[i] ? a[i] : b[i];
}

// Conversions, named by their types and rounding.
#define INFINI_CAST(name, To, From, expression)                                    \
  INFINI_DEVICE void cast_##name(To* to, const From* from, int64_t count) {        \
    INFINI_EACH {                                                                  \
      const From x = from[i];                                                      \
      to[i] = expression;                                                          \
    }                                                                              \
  }
INFINI_CAST(f16_f32, float, half_t, widen(x))
INFINI_CAST(bf16_f32, float, bf16_t, widen(x))
INFINI_CAST(f32_f16, half_t, float, narrow<half_t>(x))
INFINI_CAST(f32_bf16, bf16_t, float, narrow<bf16_t>(x))
INFINI_CAST(i32_f32, float, int32_t, static_cast<float>(x))
INFINI_CAST(i64_f32, float, int64_t, static_cast<float>(x))
INFINI_CAST(i8_f32, float, int8_t, static_cast<float>(x))
INFINI_CAST(ui8_f32, float, int8_t, static_cast<float>(static_cast<int>(x) & 255))
INFINI_CAST(f32_i32_trunc, int32_t, float, saturate<int32_t>(x))
INFINI_CAST(f32_i32_nearest_even, int32_t, float, saturate<int32_t>(rint(x)))
INFINI_CAST(f32_i64_trunc, int64_t, float, saturate<int64_t>(x))
INFINI_CAST(f32_i8_trunc, int8_t, float, saturate<int8_t>(x))
INFINI_CAST(f32_i8_nearest_even, int8_t, float, saturate<int8_t>(rint(x)))
INFINI_CAST(i8_i32, int32_t, int8_t, x)
INFINI_CAST(ui8_i32, int32_t, int8_t, static_cast<int>(x) & 255)
INFINI_CAST(i32_i8, int8_t, int32_t, static_cast<int8_t>(x))
INFINI_CAST(i32_i64, int64_t, int32_t, x)
INFINI_CAST(i64_i32, int32_t, int64_t, static_cast<int32_t>(x))
#undef INFINI_CAST
#undef INFINI_EACH
