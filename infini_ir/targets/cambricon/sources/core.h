// What kernels do on a core of an MLU: rows in NRAM, any number of elements.
//
// Rows begin at multiples of 64 elements and have room up to the next one, so an instruction
// runs over whole groups of 64 lanes: what it makes of the lanes past a row's end is never
// used. Where it would be (reductions, products), those lanes are replaced first.
#pragma once

#include <bang.h>

#define INFINI_DEVICE __mlu_func__

// Instructions want operands at multiples of 128 bytes, and chars alone lie anywhere.
#define INFINI_ALIGNED __attribute__((aligned(128)))

using half_t = half;
using bf16_t = bfloat16_t;

INFINI_DEVICE float widen(half_t value) { return static_cast<float>(value); }
INFINI_DEVICE float widen(bf16_t value) { return static_cast<float>(value); }
INFINI_DEVICE float widen(float value) { return value; }
template <class T>
INFINI_DEVICE T narrow(float value) {
  return static_cast<T>(value);  // to nearest even
}

#include "core_scalars.h"
#define INFINI_SIZE_FUNCTION INFINI_DEVICE
#include "sizes.h"

constexpr int64_t LANES = 64;
constexpr int64_t STRIP = 1024;         // elements worked on at a time where room is needed
constexpr int64_t MATRIX_BYTES = 32768;  // of an operand of the matrix unit
constexpr int64_t SCRATCH_BYTES = 4 * STRIP * 4 + 2 * MATRIX_BYTES;

// Memory of these functions: strips first, then operands of the matrix unit.
__nram__ INFINI_ALIGNED char scratch[SCRATCH_BYTES];

INFINI_DEVICE float* strip(int number) {
  return reinterpret_cast<float*>(scratch) + number * STRIP;
}

INFINI_DEVICE int64_t round_up(int64_t count) { return (count + LANES - 1) / LANES * LANES; }

#include "core_copies.h"
#include "core_rows.h"
#include "core_masks.h"
#include "core_reduce.h"
#include "core_dot.h"
