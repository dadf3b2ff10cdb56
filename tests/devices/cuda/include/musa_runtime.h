// Moore Threads's names of the runtime.
#pragma once
#include "cuda_runtime.h"
#define musaError_t cudaError_t
#define musaSuccess cudaSuccess
#define musaStream_t cudaStream_t
#define musaGetErrorString cudaGetErrorString
#define musaSetDevice cudaSetDevice
#define musaMalloc cudaMalloc
#define musaFree cudaFree
#define musaMemcpyAsync cudaMemcpyAsync
#define musaMemcpyHostToDevice cudaMemcpyHostToDevice
#define musaMemcpyDeviceToHost cudaMemcpyDeviceToHost
#define musaStreamCreate cudaStreamCreate
#define musaStreamDestroy cudaStreamDestroy
#define musaStreamSynchronize cudaStreamSynchronize
#define musaGetLastError cudaGetLastError
