// Arithmetic of a core's scalar unit, where C++ alone would not say what is meant. Before this,
// a target defines INFINI_DEVICE (what marks a function for the device), the types half_t and
// bf16_t, and the functions `float widen(half_t)`, `float widen(bf16_t)`, `narrow<half_t>` and
// `narrow<bf16_t>` of a float.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
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
INFINI_DEVICE float reciprocal_root(float a) { return 1.0f / sqrtf(a); }

// To an integer, cut off at the ends of its range; NaN gives 0.
template <class T>
INFINI_DEVICE T saturate(float value) {
  constexpr float end = static_cast<float>(std::numeric_limits<T>::max() / 2 + 1) * 2.0f;
  if (!(value == value)) return 0;
  if (value >= end) return std::numeric_limits<T>::max();
  if (value <= static_cast<float>(std::numeric_limits<T>::min()))
    return std::numeric_limits<T>::min();
  return static_cast<T>(value);
}
