// Arithmetic of a core's scalar unit, where C++ alone would not say what is meant. Before this,
// a target defines INFINI_DEVICE (what marks a function for the device), the types half_t and
// bf16_t, and the functions `float widen(half_t)`, `float widen(bf16_t)`, `narrow<half_t>` and
// `narrow<bf16_t>` of a float. A target whose scalar operations have more than arithmetic
// defines, here or after this, `exponential`, `logarithm`, `square_root` and `reciprocal_root`.
//
// Devices have no C++ library: types of <type_traits> alone are used, and no function of it.
#pragma once

#include <cstdint>
#include <type_traits>

template <class T>
INFINI_DEVICE std::make_unsigned_t<T> unsigned_of(T value) {
  return static_cast<std::make_unsigned_t<T>>(value);
}

template <class To, class From>
INFINI_DEVICE To same_bits(From value) {
  static_assert(sizeof(To) == sizeof(From), "a bitcast keeps the size");
  union {
    From from;
    To to;
  } both{value};
  return both.to;
}

INFINI_DEVICE float infinity() { return same_bits<float>(int32_t(0x7f800000)); }
INFINI_DEVICE float not_a_number() { return same_bits<float>(int32_t(0x7fc00000)); }

// Integers wrap around.
template <class T>
INFINI_DEVICE T wrapped_sum(T a, T b) {
  return static_cast<T>(unsigned_of(a) + unsigned_of(b));
}
template <class T>
INFINI_DEVICE T wrapped_difference(T a, T b) {
  return static_cast<T>(unsigned_of(a) - unsigned_of(b));
}
template <class T>
INFINI_DEVICE T wrapped_product(T a, T b) {
  return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}

// Division by zero gives zero, and that of the least number by -1 wraps.
template <class T>
INFINI_DEVICE T quotient(T a, T b) {
  if (b == 0) return 0;
  return b == -1 ? wrapped_difference<T>(0, a) : static_cast<T>(a / b);
}
template <class T>
INFINI_DEVICE T remainder_of(T a, T b) {
  return b == 0 || b == -1 ? 0 : static_cast<T>(a % b);
}
template <class T>
INFINI_DEVICE T unsigned_quotient(T a, T b) {
  return b == 0 ? 0 : static_cast<T>(unsigned_of(a) / unsigned_of(b));
}
template <class T>
INFINI_DEVICE T unsigned_remainder(T a, T b) {
  return b == 0 ? 0 : static_cast<T>(unsigned_of(a) % unsigned_of(b));
}
template <class T>
INFINI_DEVICE T quotient_down(T a, T b) {
  const T rest = remainder_of<T>(a, b);
  return static_cast<T>(quotient<T>(a, b) - (rest != 0 && (rest < 0) != (b < 0) ? 1 : 0));
}
template <class T>
INFINI_DEVICE T quotient_up(T a, T b) {
  const T rest = remainder_of<T>(a, b);
  return static_cast<T>(quotient<T>(a, b) + (rest != 0 && (rest < 0) == (b < 0) ? 1 : 0));
}

// Shifts by the width or more give zero, or the sign.
template <class T>
INFINI_DEVICE T shifted_left(T a, T b) {
  const uint64_t count = static_cast<uint64_t>(unsigned_of(b));
  return count >= 8 * sizeof(T) ? 0 : static_cast<T>(static_cast<uint64_t>(a) << count);
}
template <class T>
INFINI_DEVICE T shifted_right(T a, T b) {
  const uint64_t count = static_cast<uint64_t>(unsigned_of(b));
  return static_cast<T>(a >> (count >= 8 * sizeof(T) ? 8 * sizeof(T) - 1 : count));
}
template <class T>
INFINI_DEVICE T unsigned_shifted_right(T a, T b) {
  const uint64_t count = static_cast<uint64_t>(unsigned_of(b));
  return count >= 8 * sizeof(T) ? 0 : static_cast<T>(unsigned_of(a) >> count);
}

template <class T>
INFINI_DEVICE T larger_integer(T a, T b) { return a > b ? a : b; }
template <class T>
INFINI_DEVICE T smaller_integer(T a, T b) { return a < b ? a : b; }
template <class T>
INFINI_DEVICE T larger_unsigned(T a, T b) { return unsigned_of(a) > unsigned_of(b) ? a : b; }
template <class T>
INFINI_DEVICE T smaller_unsigned(T a, T b) { return unsigned_of(a) < unsigned_of(b) ? a : b; }
template <class T>
INFINI_DEVICE T magnitude(T a) { return a < 0 ? wrapped_difference<T>(0, a) : a; }

// NaN wins.
INFINI_DEVICE float larger_number(float a, float b) {
  if (a != a || b != b) return not_a_number();
  return a > b ? a : b;
}
INFINI_DEVICE float smaller_number(float a, float b) {
  if (a != a || b != b) return not_a_number();
  return a < b ? a : b;
}
// NaN loses.
INFINI_DEVICE float larger_but_nan(float a, float b) {
  if (a != a) return b;
  return b > a ? b : a;
}
INFINI_DEVICE float smaller_but_nan(float a, float b) {
  if (a != a) return b;
  return b < a ? b : a;
}

INFINI_DEVICE float absolute(float a) {
  return same_bits<float>(int32_t(same_bits<int32_t>(a) & 0x7fffffff));
}
INFINI_DEVICE float with_sign(float a, float sign) {
  const uint32_t digits = same_bits<uint32_t>(a) & 0x7fffffffu;
  return same_bits<float>(digits | (same_bits<uint32_t>(sign) & 0x80000000u));
}

// From 2^23 on floats are whole; NaN is left as it is.
INFINI_DEVICE float whole_towards_zero(float a) {
  if (!(absolute(a) < 8388608.0f)) return a;
  return with_sign(static_cast<float>(static_cast<int32_t>(a)), a);
}
INFINI_DEVICE float whole_below(float a) {
  const float whole = whole_towards_zero(a);
  return whole > a ? whole - 1.0f : whole;
}
INFINI_DEVICE float whole_above(float a) {
  const float whole = whole_towards_zero(a);
  return whole < a ? with_sign(whole + 1.0f, a) : whole;
}
// To nearest, and even of two.
INFINI_DEVICE float whole_nearest(float a) {
  const float below = whole_below(a), rest = a - below;
  if (!(absolute(a) < 8388608.0f)) return a;
  const bool odd = (static_cast<int32_t>(below) & 1) != 0;
  return with_sign(rest > 0.5f || (rest == 0.5f && odd) ? below + 1.0f : below, a);
}

// To an integer, cut off at the ends of its range; NaN gives 0.
template <class T>
INFINI_DEVICE T saturate(float value) {
  constexpr bool has_sign = static_cast<T>(-1) < static_cast<T>(0);
  constexpr T greatest = static_cast<T>(~uint64_t(0) >> (64 - 8 * sizeof(T) + (has_sign ? 1 : 0)));
  constexpr T least = static_cast<T>(has_sign ? -greatest - 1 : 0);
  constexpr float end = static_cast<float>(greatest / 2 + 1) * 2.0f;
  if (!(value == value)) return 0;
  if (value >= end) return greatest;
  if (value <= static_cast<float>(least)) return least;
  return static_cast<T>(value);
}
