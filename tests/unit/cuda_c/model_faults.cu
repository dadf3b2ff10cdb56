// Kernels with one planted fault each; the first argument chooses. 0 has none.
#include <cstdio>

#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "cuda_runtime.h"

namespace {

__global__ void right(Global<const float> x, Global<float> y) {
  __shared__ Shared<float, 64> kept;
  const int thread = threadIdx.x;
  const float mine = x[blockIdx.x * 64 + thread];
  kept[thread] = mine;
  __syncthreads();
  const float other = kept[63 - thread];
  float sum = other;
  for (int d = 1; d < INFINI_WARP; d *= 2) {
    sum += __shfl_xor_sync(~0ull >> (64 - INFINI_WARP), sum, d);
  }
  y[blockIdx.x * 64 + thread] = sum;
}

__global__ void no_barrier(Global<float> y) {
  __shared__ Shared<float, 64> kept;
  kept[threadIdx.x] = 1.0f;
  y[threadIdx.x] = float(kept[63 - threadIdx.x]);
}

__global__ void overwrites_too_soon(Global<float> y) {
  __shared__ Shared<float, 64> kept;
  kept[threadIdx.x] = 1.0f;
  __syncthreads();
  const float other = kept[63 - threadIdx.x];
  kept[threadIdx.x] = other;
  y[threadIdx.x] = other;
}

__global__ void diverges() {
  if (threadIdx.x < 32) __syncthreads();
}

__global__ void two_barriers() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void lane_is_missing(Global<float> y) {
  if (threadIdx.x == 3) return;
  y[threadIdx.x] = __shfl_xor_sync(~0ull >> (64 - INFINI_WARP), 1.0f, 1);
}

__global__ void outside(Global<float> y) { y[threadIdx.x + 1] = 0.0f; }

__global__ void outside_of_shared() {
  __shared__ Shared<float, 64> kept;
  kept[threadIdx.x + 1] = 0.0f;
}

__global__ void never_written(Global<float> y) {
  __shared__ Shared<float, 64> kept;
  y[threadIdx.x] = float(kept[threadIdx.x]);
}

__global__ void blocks_meet(Global<float> y) { y[0] = float(blockIdx.x); }

__global__ void threads_meet(Global<float> y) { y[0] = float(threadIdx.x); }

__global__ void reads_other_block(Global<float> y) {
  y[threadIdx.x + 64 * blockIdx.x] = float(y[threadIdx.x]);
}

__global__ void misaligned(Global<float> y) {
  __shared__ Shared<float, 64> kept;
  kept[threadIdx.x] = 1.0f;
  __syncthreads();
  float four[4];
  read_group<4>(kept, 2, four);
  y[threadIdx.x] = four[0];
}

__global__ void too_much_shared() {
  __shared__ Shared<float, 16384> kept;
  kept[0] = 1.0f;
}

}  // namespace

int main(int, char** arguments) {
  void* memory = nullptr;
  cudaMalloc(&memory, 256 * sizeof(float));
  std::vector<float> host(256, 1.0f);
  cudaMemcpyAsync(memory, host.data(), 1024, cudaMemcpyHostToDevice, nullptr);
  void* out = nullptr;
  cudaMalloc(&out, 128 * sizeof(float));
  cudaMemcpyAsync(out, host.data(), 512, cudaMemcpyHostToDevice, nullptr);
  const Global<const float> x(memory);
  const Global<float> y(out);
  cudaStream_t stream = nullptr;
  switch (std::atoi(arguments[1])) {
    case 0: {
      INFINI_LAUNCH(right, 2, 64, stream, x, y);
      cudaMemcpyAsync(host.data(), out, 512, cudaMemcpyDeviceToHost, stream);
      const bool good = host[0] == INFINI_WARP && host[127] == INFINI_WARP;
      INFINI_LAUNCH(right, 2, 4096, stream, x, y);
      const bool told = cudaGetLastError() != cudaSuccess && cudaGetLastError() == cudaSuccess;
      cudaFree(memory);
      return good && told ? 0 : 1;
    }
    case 1: INFINI_LAUNCH(no_barrier, 1, 64, stream, y); break;
    case 2: INFINI_LAUNCH(overwrites_too_soon, 1, 64, stream, y); break;
    case 3: cuda_model::launch("diverges", 1, 64, stream, [] { diverges(); }); break;
    case 4: cuda_model::launch("two_barriers", 1, 64, stream, [] { two_barriers(); }); break;
    case 5: INFINI_LAUNCH(lane_is_missing, 1, 64, stream, y); break;
    case 6: INFINI_LAUNCH(outside, 1, 128, stream, y); break;
    case 7: cuda_model::launch("outside_of_shared", 1, 64, stream, [] { outside_of_shared(); }); break;
    case 8: INFINI_LAUNCH(never_written, 1, 64, stream, y); break;
    case 9: INFINI_LAUNCH(blocks_meet, 2, 1, stream, y); break;
    case 10: INFINI_LAUNCH(threads_meet, 1, 2, stream, y); break;
    case 11: INFINI_LAUNCH(reads_other_block, 2, 64, stream, y); break;
    case 12: INFINI_LAUNCH(misaligned, 1, 64, stream, y); break;
    case 13: cuda_model::launch("too_much_shared", 1, 1, stream, [] { too_much_shared(); }); break;
    case 14: cudaMemcpyAsync(out, host.data(), 1024, cudaMemcpyHostToDevice, stream); break;
    case 15: cudaFree(static_cast<char*>(out) + 4); break;
  }
  return 0;
}
