// The part of BANG C that projects use, as plain C++: see mlu_model.h for the machine.
//
// Nothing here is the vendor's text: signatures and meanings are those of public uses, named
// at each family. What a source leaves open is modelled as what would be noticed: poison.
#pragma once

#include <cassert>
#include <climits>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>

#include "cnrt.h"
#include "mlu_float16.h"
#include "mlu_model.h"

#define __mlu_entry__
#define __mlu_global__
#define __mlu_func__ inline
#define __mlu_device__
#define __nram__ static __attribute__((section("mlu_nram"), no_reorder))
#define __wram__ static __attribute__((section("mlu_wram"), no_reorder))
#define __mlu_shared__ static __attribute__((section("mlu_sram"), aligned(128)))

// Memory begins with a byte of something else, so that an array is where its own alignment
// puts it.
__nram__ __attribute__((used)) char mlu_model_first_of_nram;
__wram__ __attribute__((used)) char mlu_model_first_of_wram;

// Built-in variables: one dimension of tasks, clusters of four cores (mlu-ops
// docs/BANG-C-OPS-Develop-Guide.md).
#define taskId (static_cast<int>(mlu_model::machine().task))
#define taskDim (static_cast<int>(mlu_model::machine().tasks))
#define coreDim (static_cast<int>(mlu_model::machine().cores_in_cluster))
#define coreId (taskId % coreDim)
#define clusterId (taskId / coreDim)
#define clusterDim ((taskDim + coreDim - 1) / coreDim)

typedef enum {
  GDRAM2NRAM,
  NRAM2GDRAM,
  NRAM2NRAM,
  NRAM2WRAM,
  GDRAM2WRAM,
  GDRAM2SRAM,
  SRAM2GDRAM,
  SRAM2NRAM,
  NRAM2SRAM,
  GDRAM2GDRAM,
} mluMemcpyDirection_t;

#include "bang_copies.h"
#include "bang_matrix.h"
#include "bang_vector.h"

// Kernels have no C++ library, and the scalar unit's functions have other names.
#pragma GCC poison numeric_limits sqrtf expf exp2f logf log2f powf sinf cosf tanhf
#pragma GCC poison floorf ceilf rintf truncf fabsf fmaxf fminf copysignf
