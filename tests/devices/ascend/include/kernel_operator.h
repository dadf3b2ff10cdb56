// A functional model of the part of Ascend C that our kernels use: g++ compiles emitted kernels
// against it unchanged, and they run on the CPU. It is written from public documentation (each
// part names its pages) and stops at the first broken rule, saying rule, call, kernel and core.
//
// Blocks run one after another. What real cores and pipes do at the same time is checked, not
// simulated: see machine.h.
#pragma once

#include "ascend_model/report.h"
#include "ascend_model/machine.h"
#include "ascend_model/number_types.h"
#include "ascend_model/tensor.h"
#include "ascend_model/copy.h"
#include "ascend_model/vector.h"
#include "ascend_model/cube.h"

#define INFINI_LAUNCH(kernel, blocks, threads, stream, ...) \
    ::ascend_model::launch(#kernel, (static_cast<void>(stream), blocks), [&] { kernel(__VA_ARGS__); })

// Kernels have no C++ library ("STL is not supported", "library functions must be marked
// aicore": C++ standard support, programming guide).
#pragma GCC poison numeric_limits sqrtf expf exp2f logf log2f powf sinf cosf tanhf
#pragma GCC poison floorf ceilf rintf truncf fabsf fmaxf fminf copysignf
