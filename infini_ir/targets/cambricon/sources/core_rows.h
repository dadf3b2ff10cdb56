// Elementwise instructions on rows.
#pragma once

#define INFINI_ROWS(name, call)                                                  \
  template <class T>                                                             \
  INFINI_DEVICE void name##_rows(T* to, T* a, T* b, int64_t count) {             \
    if (count > 0) call(to, a, b, round_up(count));                              \
  }
INFINI_ROWS(add, __bang_add)
INFINI_ROWS(sub, __bang_sub)
INFINI_ROWS(mul, __bang_mul)
INFINI_ROWS(max, __bang_maxequal)
INFINI_ROWS(min, __bang_minequal)
#undef INFINI_ROWS

#define INFINI_ROWS(name, call)                                                  \
  template <class T>                                                             \
  INFINI_DEVICE void name##_scalar_rows(T* to, T* a, T scalar, int64_t count) {  \
    if (count > 0) call(to, a, scalar, round_up(count));                         \
  }
INFINI_ROWS(add, __bang_add_scalar)
INFINI_ROWS(sub, __bang_sub_scalar)
INFINI_ROWS(mul, __bang_mul_scalar)
#undef INFINI_ROWS

template <class T>
INFINI_DEVICE void fill_rows(T* to, T scalar, int64_t count) {
  if (count > 0) __bang_write_value(to, round_up(count), scalar);
}
// The value's type chooses the instruction, and there is none for 64 bits: a first group by the
// scalar unit, then each part from the one before; nor for bfloat16: its bits.
INFINI_DEVICE void fill_rows(int64_t* to, int64_t scalar, int64_t count) {
  const int64_t whole = round_up(count);
  for (int64_t i = 0; i < LANES && i < whole; ++i) to[i] = scalar;
  for (int64_t done = LANES; done < whole; done *= 2)
    __memcpy(to + done, to, smaller(done, whole - done) * 8, NRAM2NRAM);
}
INFINI_DEVICE void fill_rows(bf16_t* to, bf16_t scalar, int64_t count) {
  if (count > 0) __bang_write_value(to, round_up(count), same_bits<uint16_t>(scalar));
}

// The MLU370 has no division: there the quotient is rounded twice.
template <class T>
INFINI_DEVICE void div_rows(T* to, T* a, T* b, int64_t count) {
#if __BANG_ARCH__ == 372
  for (int64_t i = 0; i < count; i += STRIP) {
    const int64_t n = round_up(smaller(STRIP, count - i));
    __bang_recip(strip(0), b + i, n);
    __bang_mul(to + i, a + i, strip(0), n);
  }
#else
  if (count > 0) __bang_div(to, a, b, round_up(count));
#endif
}

// Instructions that there are for two rows only: the scalar becomes one.
#define INFINI_ROWS(name)                                                        \
  template <class T>                                                             \
  INFINI_DEVICE void name##_scalar_rows(T* to, T* a, T scalar, int64_t count) {  \
    T* same = reinterpret_cast<T*>(strip(1));                                    \
    fill_rows(same, scalar, smaller(STRIP, count));                              \
    for (int64_t i = 0; i < count; i += STRIP)                                   \
      name##_rows(to + i, a + i, same, smaller(STRIP, count - i));               \
  }
INFINI_ROWS(div)
INFINI_ROWS(max)
INFINI_ROWS(min)
#undef INFINI_ROWS

// exp(x) = 2^(x log2(e))
INFINI_DEVICE void exp_rows(float* to, float* a, int64_t count) {
  if (count <= 0) return;
  __bang_mul_scalar(to, a, 1.44269504088896340736f, round_up(count));
  __bang_pow2(to, to, round_up(count));
}

INFINI_DEVICE void ln_rows(float* to, float* a, int64_t count) {
  if (count <= 0) return;
  __bang_log2(to, a, round_up(count));
  __bang_mul_scalar(to, to, 0.69314718055994530942f, round_up(count));
}

INFINI_DEVICE void sqrt_rows(float* to, float* a, int64_t count) {
  if (count > 0) __bang_sqrt(to, a, round_up(count));
}

INFINI_DEVICE void reciprocal_rows(float* to, float* a, int64_t count) {
  if (count > 0) __bang_recip(to, a, round_up(count));
}

INFINI_DEVICE void rsqrt_rows(float* to, float* a, int64_t count) {
  sqrt_rows(to, a, count);
  reciprocal_rows(to, to, count);
}

// Of one number, by the same instructions: the scalar unit's own go by other names on each
// release of the compiler.
#define INFINI_ONE(name, rows)                                                   \
  INFINI_DEVICE float name(float a) {                                            \
    fill_rows(strip(0), a, 1);                                                   \
    rows(strip(0), strip(0), 1);                                                 \
    return strip(0)[0];                                                          \
  }
INFINI_ONE(exponential, exp_rows)
INFINI_ONE(logarithm, ln_rows)
INFINI_ONE(square_root, sqrt_rows)
INFINI_ONE(reciprocal_root, rsqrt_rows)
#undef INFINI_ONE

INFINI_DEVICE void floor_rows(float* to, float* a, int64_t count) {
  if (count > 0) __bang_floor(to, a, round_up(count));
}

template <class T>
INFINI_DEVICE void abs_rows(T* to, T* a, int64_t count) {
  if (count > 0) __bang_abs(to, a, round_up(count));
}

template <class T>
INFINI_DEVICE void neg_rows(T* to, T* a, int64_t count) {
  if (count > 0) __bang_mul_scalar(to, a, static_cast<T>(-1), round_up(count));
}

INFINI_DEVICE void ceil_rows(float* to, float* a, int64_t count) {
  neg_rows(to, a, count);
  floor_rows(to, to, count);
  neg_rows(to, to, count);
}

template <class T>
INFINI_DEVICE void relu_rows(T* to, T* a, int64_t count) {
  max_scalar_rows(to, a, static_cast<T>(0), count);
}

// Bits of integers.
#define INFINI_ROWS(name, call)                                                            \
  INFINI_DEVICE void name##_rows(int32_t* to, int32_t* a, int32_t* b, int64_t count) {     \
    if (count > 0)                                                                         \
      call(reinterpret_cast<char*>(to), reinterpret_cast<char*>(a),                        \
           reinterpret_cast<char*>(b), round_up(count) * 4);                               \
  }                                                                                        \
  INFINI_DEVICE void name##_scalar_rows(int32_t* to, int32_t* a, int32_t scalar, int64_t count) { \
    int32_t* same = reinterpret_cast<int32_t*>(strip(1));                                  \
    fill_rows(same, scalar, smaller(STRIP, count));                                        \
    for (int64_t i = 0; i < count; i += STRIP)                                             \
      name##_rows(to + i, a + i, same, smaller(STRIP, count - i));                         \
  }
INFINI_ROWS(bit_and, __bang_band)
INFINI_ROWS(bit_or, __bang_bor)
INFINI_ROWS(bit_xor, __bang_bxor)
#undef INFINI_ROWS

INFINI_DEVICE void bit_not_rows(int32_t* to, int32_t* a, int64_t count) {
  if (count > 0)
    __bang_bnot(reinterpret_cast<char*>(to), reinterpret_cast<char*>(a), round_up(count) * 4);
}

// start, start + 1, ..: a first group by the scalar unit, then each part from the one before.
INFINI_DEVICE void iota_rows(int32_t* to, int32_t start, int64_t count) {
  const int64_t whole = round_up(count);
  for (int64_t i = 0; i < LANES && i < whole; ++i) to[i] = wrapped_sum<int32_t>(start, i);
  for (int64_t done = LANES; done < whole; done *= 2)
    __bang_add_scalar(to + done, to, static_cast<int32_t>(done), smaller(done, whole - done));
}

// Conversions, named by their types and rounding.
#define INFINI_CAST(name, To, From, call)                                        \
  INFINI_DEVICE void cast_##name(To* to, From* from, int64_t count) {            \
    if (count > 0) call;                                                         \
  }
INFINI_CAST(f16_f32, float, half_t, __bang_half2float(to, from, round_up(count)))
INFINI_CAST(bf16_f32, float, bf16_t, __bang_bfloat162float(to, from, round_up(count)))
INFINI_CAST(f32_f16, half_t, float, __bang_float2half_rn(to, from, round_up(count)))
INFINI_CAST(f32_bf16, bf16_t, float, __bang_float2bfloat16_rn(to, from, round_up(count)))
INFINI_CAST(i32_f32, float, int32_t, __bang_int322float(to, from, round_up(count), 0))
INFINI_CAST(i8_f32, float, int8_t, __bang_int82float(to, from, round_up(count), 0))
INFINI_CAST(ui8_f32, float, int8_t,
            __bang_uchar2float(to, reinterpret_cast<unsigned char*>(from), round_up(count)))
INFINI_CAST(f32_i32_trunc, int32_t, float, __bang_float2int32_tz(to, from, round_up(count), 0))
INFINI_CAST(f32_i32_nearest_even, int32_t, float,
            __bang_float2int32_rn(to, from, round_up(count), 0))
INFINI_CAST(f32_i8_trunc, int8_t, float, __bang_float2int8_tz(to, from, round_up(count), 0))
INFINI_CAST(f32_i8_nearest_even, int8_t, float,
            __bang_float2int8_rn(to, from, round_up(count), 0))
#undef INFINI_CAST

// Rows of bytes to four-byte lanes and back, exactly.
INFINI_DEVICE void cast_i8_i32(int32_t* to, int8_t* from, int64_t count) {
  for (int64_t i = 0; i < count; i += STRIP) {
    const int64_t n = smaller(STRIP, count - i);
    cast_i8_f32(strip(0), from + i, n);
    cast_f32_i32_trunc(to + i, strip(0), n);
  }
}
