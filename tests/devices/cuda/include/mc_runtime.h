// MetaX's names of the runtime.
#pragma once
#include "cuda_runtime.h"
#define mcError_t cudaError_t
#define mcSuccess cudaSuccess
#define mcStream_t cudaStream_t
#define mcGetErrorString cudaGetErrorString
#define mcSetDevice cudaSetDevice
#define mcMalloc cudaMalloc
#define mcFree cudaFree
#define mcMemcpyAsync cudaMemcpyAsync
#define mcMemcpyHostToDevice cudaMemcpyHostToDevice
#define mcMemcpyDeviceToHost cudaMemcpyDeviceToHost
#define mcStreamCreate cudaStreamCreate
#define mcStreamDestroy cudaStreamDestroy
#define mcStreamSynchronize cudaStreamSynchronize
#define mcGetLastError cudaGetLastError
