// Arithmetic of sizes, for host code and for kernels.
#pragma once

#include <cstdint>

// A vendor's compiler may want functions marked for the device: define this before.
#ifndef INFINI_SIZE_FUNCTION
#define INFINI_SIZE_FUNCTION inline
#endif

// Division rounding down; 0 by 0.
INFINI_SIZE_FUNCTION int64_t floor_div(int64_t a, int64_t b) {
  if (b == 0) return 0;
  const int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

// What that division leaves: of the divisor's sign.
INFINI_SIZE_FUNCTION int64_t floor_mod(int64_t a, int64_t b) {
  return b == 0 ? 0 : a - b * floor_div(a, b);
}

INFINI_SIZE_FUNCTION int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

INFINI_SIZE_FUNCTION int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
