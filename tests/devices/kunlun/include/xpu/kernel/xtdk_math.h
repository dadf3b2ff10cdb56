// Functions of floats. The vendor's header has them by the names of their doubles, and expf
// (the list in Baidu's xpu/kernel/cluster_math.h); no other function of the C library.
#pragma once

#include <math.h>

#pragma GCC poison sqrtf logf exp2f log2f powf sinf cosf floorf ceilf rintf truncf fabsf fmaxf fminf
#pragma GCC poison copysignf numeric_limits
