// Masks: lanes of float, 1 where true and 0 where false.
#pragma once

#define INFINI_ROWS(name)                                                                  \
  INFINI_DEVICE void compare_##name(float* mask, float* a, float* b, int64_t count) {      \
    if (count > 0) __bang_##name(mask, a, b, round_up(count));                             \
  }                                                                                        \
  INFINI_DEVICE void compare_scalar_##name(float* mask, float* a, float b, int64_t count) { \
    if (count > 0) __bang_##name##_scalar(mask, a, b, round_up(count));                    \
  }                                                                                        \
  INFINI_DEVICE void compare_##name(float* mask, half_t* a, half_t* b, int64_t count) {    \
    for (int64_t i = 0; i < count; i += STRIP) {                                           \
      const int64_t n = smaller(STRIP, count - i);                                         \
      cast_f16_f32(strip(0), a + i, n);                                                    \
      cast_f16_f32(strip(1), b + i, n);                                                    \
      __bang_##name(mask + i, strip(0), strip(1), round_up(n));                            \
    }                                                                                      \
  }                                                                                        \
  INFINI_DEVICE void compare_scalar_##name(float* mask, half_t* a, half_t b, int64_t count) { \
    for (int64_t i = 0; i < count; i += STRIP) {                                           \
      const int64_t n = smaller(STRIP, count - i);                                         \
      cast_f16_f32(strip(0), a + i, n);                                                    \
      __bang_##name##_scalar(mask + i, strip(0), widen(b), round_up(n));                   \
    }                                                                                      \
  }
INFINI_ROWS(eq)
INFINI_ROWS(ne)
INFINI_ROWS(lt)
INFINI_ROWS(le)
INFINI_ROWS(gt)
INFINI_ROWS(ge)
#undef INFINI_ROWS

// Halves of integers as floats, which hold them exactly: value = high + low, 0 <= low < 2^16.
INFINI_DEVICE void halves_of(float* high, float* low, int32_t* value, int64_t count) {
  int32_t* bits = reinterpret_cast<int32_t*>(low);
  fill_rows(bits, 0xffff, count);
  bit_and_rows(bits, value, bits, count);
  int32_t* rest = reinterpret_cast<int32_t*>(high);
  sub_rows(rest, value, bits, count);
  cast_i32_f32(high, rest, count);
  cast_i32_f32(low, bits, count);
}

// Integers have no comparison: high halves decide, and low halves where those are equal.
#define INFINI_ROWS(name, strict)                                                          \
  INFINI_DEVICE void compare_scalar_##name(float* mask, int32_t* a, int32_t b, int64_t count) { \
    const float low = static_cast<float>(b & 0xffff);                                      \
    const float high = static_cast<float>(wrapped_difference<int32_t>(b, b & 0xffff));     \
    for (int64_t i = 0; i < count; i += STRIP) {                                           \
      const int64_t n = smaller(STRIP, count - i), m = round_up(n);                        \
      halves_of(strip(0), strip(1), a + i, n);                                             \
      __bang_##name##_scalar(strip(1), strip(1), low, m);                                  \
      __bang_eq_scalar(strip(2), strip(0), high, m);                                       \
      __bang_and(strip(1), strip(1), strip(2), m);                                         \
      __bang_##strict##_scalar(strip(0), strip(0), high, m);                               \
      __bang_or(mask + i, strip(0), strip(1), m);                                          \
    }                                                                                      \
  }                                                                                        \
  INFINI_DEVICE void compare_##name(float* mask, int32_t* a, int32_t* b, int64_t count) {  \
    for (int64_t i = 0; i < count; i += STRIP) {                                           \
      const int64_t n = smaller(STRIP, count - i), m = round_up(n);                        \
      halves_of(strip(0), strip(1), a + i, n);                                             \
      halves_of(strip(2), strip(3), b + i, n);                                             \
      __bang_##name(strip(1), strip(1), strip(3), m);                                      \
      __bang_eq(strip(3), strip(0), strip(2), m);                                          \
      __bang_and(strip(1), strip(1), strip(3), m);                                         \
      __bang_##strict(strip(0), strip(0), strip(2), m);                                    \
      __bang_or(mask + i, strip(0), strip(1), m);                                          \
    }                                                                                      \
  }
INFINI_ROWS(lt, lt)
INFINI_ROWS(le, lt)
INFINI_ROWS(gt, gt)
INFINI_ROWS(ge, gt)
#undef INFINI_ROWS

INFINI_DEVICE void compare_ne(float* mask, int32_t* a, int32_t* b, int64_t count) {
  for (int64_t i = 0; i < count; i += STRIP) {
    const int64_t n = smaller(STRIP, count - i);
    int32_t* rest = reinterpret_cast<int32_t*>(strip(0));
    bit_xor_rows(rest, a + i, b + i, n);
    cast_i32_f32(strip(0), rest, n);
    __bang_ne_scalar(mask + i, strip(0), 0.0f, round_up(n));
  }
}

INFINI_DEVICE void compare_scalar_ne(float* mask, int32_t* a, int32_t b, int64_t count) {
  int32_t* same = reinterpret_cast<int32_t*>(strip(1));
  fill_rows(same, b, smaller(STRIP, count));
  for (int64_t i = 0; i < count; i += STRIP)
    compare_ne(mask + i, a + i, same, smaller(STRIP, count - i));
}

INFINI_DEVICE void compare_scalar_eq(float* mask, int32_t* a, int32_t b, int64_t count) {
  compare_scalar_ne(mask, a, b, count);
  if (count > 0) __bang_not(mask, mask, round_up(count));
}

INFINI_DEVICE void compare_eq(float* mask, int32_t* a, int32_t* b, int64_t count) {
  compare_ne(mask, a, b, count);
  if (count > 0) __bang_not(mask, mask, round_up(count));
}

#define INFINI_ROWS(name)                                                                  \
  INFINI_DEVICE void mask_##name(float* to, float* a, float* b, int64_t count) {           \
    if (count > 0) __bang_##name(to, a, b, round_up(count));                               \
  }
INFINI_ROWS(and)
INFINI_ROWS(or)
INFINI_ROWS(xor)
#undef INFINI_ROWS

INFINI_DEVICE void mask_not(float* to, float* a, int64_t count) {
  if (count > 0) __bang_not(to, a, round_up(count));
}

INFINI_DEVICE void mask_from_bytes(float* mask, int8_t* bytes, int64_t count) {
  cast_i8_f32(mask, bytes, count);
  if (count > 0) __bang_ne_scalar(mask, mask, 0.0f, round_up(count));
}

INFINI_DEVICE void mask_to_bytes(int8_t* bytes, float* mask, int64_t count) {
  cast_f32_i8_nearest_even(bytes, mask, count);
}

// Bits of `a` where the mask is 1 and of `b` where it is 0: NaN and infinity of the side that
// is not taken leave nothing behind.
INFINI_DEVICE void select_strip(float* to, float* mask, float* a, float* b, int64_t count) {
  const int64_t n = round_up(count), bytes = 4 * n;
  int32_t* ones = reinterpret_cast<int32_t*>(strip(0));
  char* kept = reinterpret_cast<char*>(strip(1));
  char* bits = reinterpret_cast<char*>(ones);
  char* result = reinterpret_cast<char*>(to);
  __bang_float2int32_rn(ones, mask, n, 0);
  __bang_mul_scalar(ones, ones, -1, n);
  __bang_band(kept, reinterpret_cast<char*>(a), bits, bytes);
  __bang_bnot(bits, bits, bytes);
  __bang_band(result, reinterpret_cast<char*>(b), bits, bytes);
  __bang_bor(result, result, kept, bytes);
}

INFINI_DEVICE void select_rows(float* to, float* mask, float* a, float* b, int64_t count) {
  for (int64_t i = 0; i < count; i += STRIP)
    select_strip(to + i, mask + i, a + i, b + i, smaller(STRIP, count - i));
}

INFINI_DEVICE void select_rows(int32_t* to, float* mask, int32_t* a, int32_t* b, int64_t count) {
  select_rows(reinterpret_cast<float*>(to), mask, reinterpret_cast<float*>(a),
              reinterpret_cast<float*>(b), count);
}

// 16-bit floats go through float and back, which changes no number.
#define INFINI_ROWS(Type, up, down)                                                        \
  INFINI_DEVICE void select_rows(Type* to, float* mask, Type* a, Type* b, int64_t count) { \
    for (int64_t i = 0; i < count; i += STRIP) {                                           \
      const int64_t n = smaller(STRIP, count - i);                                         \
      up(strip(2), a + i, n);                                                              \
      up(strip(3), b + i, n);                                                              \
      select_strip(strip(2), mask + i, strip(2), strip(3), n);                             \
      down(to + i, strip(2), n);                                                           \
    }                                                                                      \
  }
INFINI_ROWS(half_t, cast_f16_f32, cast_f32_f16)
INFINI_ROWS(bf16_t, cast_bf16_f32, cast_f32_bf16)
INFINI_ROWS(int8_t, cast_i8_f32, cast_f32_i8_nearest_even)
#undef INFINI_ROWS
