// half and bfloat16_t of the functional model: exact IEEE binary16 and bfloat16.
//
// Arithmetic is done in float and rounded once, which gives what a unit for the type gives:
// float has more than twice the digits of both types.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace mlu_model {

enum class Rounding { nearest_even, to_zero, down, up };

inline uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

inline float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

// Rounds away `count` low bits of a magnitude.
inline uint32_t round_bits(uint32_t magnitude, int count, bool negative, Rounding rounding) {
  if (count == 0) return magnitude;
  if (count > 31) count = 31;
  const uint32_t kept = magnitude >> count;
  const uint32_t rest = magnitude & ((1u << count) - 1);
  const uint32_t middle = 1u << (count - 1);
  bool up = false;
  if (rounding == Rounding::nearest_even) up = rest > middle || (rest == middle && (kept & 1));
  if (rounding == Rounding::down) up = negative && rest != 0;
  if (rounding == Rounding::up) up = !negative && rest != 0;
  return kept + (up ? 1 : 0);
}

inline uint16_t half_bits(float value, Rounding rounding = Rounding::nearest_even) {
  const uint32_t bits = bits_of(value);
  const bool negative = bits >> 31;
  const uint16_t sign = negative ? 0x8000 : 0;
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude == 0x7f800000) return sign | 0x7c00;
  const int exponent = static_cast<int>(magnitude >> 23) - 127;
  if (exponent > 15) {
    const bool to_infinity = rounding == Rounding::nearest_even ||
                             (rounding == Rounding::up && !negative) ||
                             (rounding == Rounding::down && negative);
    return sign | (to_infinity ? 0x7c00 : 0x7bff);
  }
  if (exponent >= -14) {
    const uint32_t rebased = magnitude - (112u << 23);
    const uint32_t rounded = round_bits(rebased, 13, negative, rounding);
    return static_cast<uint16_t>(sign | rounded);  // a carry gives infinity by itself
  }
  const uint32_t mantissa =
      magnitude >= 0x00800000 ? (magnitude & 0x7fffff) | 0x800000 : magnitude << 1;
  const int shift = exponent < -126 ? 31 : -exponent - 1;
  return static_cast<uint16_t>(sign | round_bits(mantissa, shift, negative, rounding));
}

inline float half_value(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  if (exponent == 31) return float_of(sign | 0x7f800000 | (mantissa << 13));
  if (exponent == 0) {
    const float value = std::ldexp(static_cast<float>(mantissa), -24);
    return sign ? -value : value;
  }
  return float_of(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

inline uint16_t bfloat16_bits(float value, Rounding rounding = Rounding::nearest_even) {
  const uint32_t bits = bits_of(value), magnitude = bits & 0x7fffffff;
  const bool negative = bits >> 31;
  const uint16_t sign = negative ? 0x8000 : 0;
  if (magnitude > 0x7f800000) return sign | 0x7fc0;
  return static_cast<uint16_t>(sign | round_bits(magnitude, 16, negative, rounding));
}

inline float bfloat16_value(uint16_t bits) {
  return float_of(static_cast<uint32_t>(bits) << 16);
}

// A 16-bit float: numbers go in and out as float.
template <uint16_t (*encode)(float, Rounding), float (*decode)(uint16_t)>
struct Float16 {
  uint16_t bits;
  Float16() = default;
  Float16(float value) : bits(encode(value, Rounding::nearest_even)) {}
  Float16(double value) : Float16(static_cast<float>(value)) {}
  Float16(int value) : Float16(static_cast<float>(value)) {}
  operator float() const { return decode(bits); }
};

}  // namespace mlu_model

using half = mlu_model::Float16<mlu_model::half_bits, mlu_model::half_value>;
using bfloat16_t = mlu_model::Float16<mlu_model::bfloat16_bits, mlu_model::bfloat16_value>;
