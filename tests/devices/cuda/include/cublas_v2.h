// The one call of cuBLAS that projects make, on the model's memory. Matrices lie by columns, as
// the cuBLAS documentation says; leading dimensions must cover a column.
#pragma once
#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "cuda_runtime.h"

using cublasStatus_t = int;
using cublasHandle_t = int*;
constexpr cublasStatus_t CUBLAS_STATUS_SUCCESS = 0;
enum cublasOperation_t { CUBLAS_OP_N, CUBLAS_OP_T };
enum cudaDataType_t { CUDA_R_16F, CUDA_R_16BF, CUDA_R_32F, CUDA_R_64F };
enum cublasComputeType_t { CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_64F };
enum cublasGemmAlgo_t { CUBLAS_GEMM_DEFAULT };

inline cublasStatus_t cublasCreate(cublasHandle_t* handle) { *handle = new int; return 0; }
inline cublasStatus_t cublasDestroy(cublasHandle_t handle) { delete handle; return 0; }
inline cublasStatus_t cublasSetStream(cublasHandle_t, cudaStream_t) { return 0; }

namespace cuda_model {
inline double element(const void* memory, cudaDataType_t type, int64_t index) {
  const char* begin = static_cast<const char*>(memory);
  const int bytes = type == CUDA_R_64F ? 8 : type == CUDA_R_32F ? 4 : 2;
  const auto* home = find(memory);
  if (home == nullptr || begin + (index + 1) * bytes > home->begin + home->bytes) {
    fail("bounds", "cuBLAS reads or writes outside of an allocation");
  }
  if (type == CUDA_R_64F) return static_cast<const double*>(memory)[index];
  if (type == CUDA_R_32F) return static_cast<const float*>(memory)[index];
  if (type == CUDA_R_16F) return __half2float(static_cast<const __half*>(memory)[index]);
  return __bfloat162float(static_cast<const __nv_bfloat16*>(memory)[index]);
}
}  // namespace cuda_model

inline cublasStatus_t cublasGemmStridedBatchedEx(
    cublasHandle_t, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k,
    const void*, const void* a, cudaDataType_t type_a, int lda, long long stride_a, const void* b,
    cudaDataType_t type_b, int ldb, long long stride_b, const void*, void* c, cudaDataType_t type_c,
    int ldc, long long stride_c, int batch, cublasComputeType_t, cublasGemmAlgo_t) {
  if (lda < (op_a == CUBLAS_OP_N ? m : k) || ldb < (op_b == CUBLAS_OP_N ? k : n) || ldc < m) return 7;
  for (int64_t t = 0; t < batch; ++t) {
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t i = 0; i < m; ++i) {
        double sum = 0;
        for (int64_t p = 0; p < k; ++p) {
          const int64_t at = t * stride_a + (op_a == CUBLAS_OP_N ? i + p * lda : p + i * lda);
          const int64_t bt = t * stride_b + (op_b == CUBLAS_OP_N ? p + j * ldb : j + p * ldb);
          sum += cuda_model::element(a, type_a, at) * cuda_model::element(b, type_b, bt);
        }
        const int64_t ct = t * stride_c + i + j * ldc;
        cuda_model::element(c, type_c, ct);
        if (type_c == CUDA_R_64F) static_cast<double*>(c)[ct] = sum;
        else if (type_c == CUDA_R_32F) static_cast<float*>(c)[ct] = static_cast<float>(sum);
        else if (type_c == CUDA_R_16F) static_cast<__half*>(c)[ct] = __float2half(static_cast<float>(sum));
        else static_cast<__nv_bfloat16*>(c)[ct] = __float2bfloat16(static_cast<float>(sum));
      }
    }
  }
  return 0;
}
