// What kernels do on a core of an XPU: loops over rows in local memory.
//
// Kernels have no global variables, and global memory is only reached by copies, whose sizes
// are in bytes: all local memory is the kernel's, and every access to global memory is a copy.
// Numbers of 64 bits are software's, so rows are counted with int.
// Sizes differ between host and device, so headers of the host come before those of the
// device: a kernel's source includes xpu/runtime.h first.
#pragma once

#include <cstdint>
#include <type_traits>

#include "xpu/kernel/xtdk.h"
#include "xpu/kernel/xtdk_math.h"

#define INFINI_DEVICE inline __device__

// 16-bit floats are kept as bits: arithmetic is in float.
struct half_t {
  unsigned short bits;
};
struct bf16_t {
  unsigned short bits;
};

INFINI_DEVICE unsigned bits_of_float(float value) {
  union {
    float from;
    unsigned to;
  } both = {value};
  return both.to;
}

INFINI_DEVICE float float_of_bits(unsigned value) {
  union {
    unsigned from;
    float to;
  } both = {value};
  return both.to;
}

INFINI_DEVICE float widen(float value) { return value; }
INFINI_DEVICE float widen(bf16_t value) {
  return float_of_bits(static_cast<unsigned>(value.bits) << 16);
}
INFINI_DEVICE float widen(half_t value) {
  const unsigned sign = static_cast<unsigned>(value.bits & 0x8000) << 16;
  const unsigned exponent = (value.bits >> 10) & 31, mantissa = value.bits & 1023;
  if (exponent == 31) return float_of_bits(sign | 0x7f800000u | mantissa << 13);
  if (exponent != 0) return float_of_bits(sign | (exponent + 112) << 23 | mantissa << 13);
  const float small = static_cast<float>(static_cast<int>(mantissa)) * 5.9604644775390625e-8f;
  return sign ? -small : small;
}

// To nearest even.
template <class T>
INFINI_DEVICE T narrow(float value);
template <>
INFINI_DEVICE float narrow<float>(float value) { return value; }
template <>
INFINI_DEVICE bf16_t narrow<bf16_t>(float value) {
  const unsigned bits = bits_of_float(value);
  bf16_t result;
  if ((bits & 0x7fffffff) > 0x7f800000)
    result.bits = static_cast<unsigned short>(bits >> 16 | 64);
  else
    result.bits = static_cast<unsigned short>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  return result;
}
template <>
INFINI_DEVICE half_t narrow<half_t>(float value) {
  const unsigned bits = bits_of_float(value), magnitude = bits & 0x7fffffff;
  const unsigned sign = bits >> 16 & 0x8000;
  unsigned rounded;
  if (magnitude > 0x7f800000) {
    rounded = 0x7e00;
  } else if (magnitude >= 0x477ff000) {
    rounded = 0x7c00;  // what rounds past the greatest half, and infinity
  } else if (magnitude >= 0x38800000) {
    rounded = (magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13;
  } else {
    // Adding 1/2 puts a subnormal half's digits at the end of the sum, rounded by the addition.
    const float sum = float_of_bits(magnitude) + 0.5f;
    rounded = bits_of_float(sum) - 0x3f000000;
  }
  half_t result;
  result.bits = static_cast<unsigned short>(sign | rounded);
  return result;
}

// Functions of floats go by their double's names in xtdk_math.h.
INFINI_DEVICE float exponential(float a) { return exp(a); }
INFINI_DEVICE float logarithm(float a) { return log(a); }
INFINI_DEVICE float square_root(float a) { return sqrt(a); }
INFINI_DEVICE float reciprocal_root(float a) { return 1.0f / sqrt(a); }

#include "core_scalars.h"
#define INFINI_SIZE_FUNCTION INFINI_DEVICE
#include "sizes.h"

#include "core_numbers.h"
#include "core_copies.h"
#include "core_rows.h"
#include "core_products.h"
