// Products of matrices by cuBLAS.
#include <cublas_v2.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "device.h"

namespace infini {

namespace {

void check(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw std::runtime_error(std::string(what) + " failed with status " + std::to_string(status));
}

// One for each thread of the host, as long as the thread lives.
struct Handle {
  cublasHandle_t handle = nullptr;
  Handle() { check(cublasCreate(&handle), "cublasCreate"); }
  ~Handle() { cublasDestroy(handle); }
};

// A matrix as cuBLAS wants it: by columns, or its transpose by columns.
struct Matrix {
  cublasOperation_t operation;
  int leading;
};

// `rows` x `columns` of row-major strides, seen as its transpose by columns.
Matrix transposed(int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride) {
  if (column_stride == 1) {
    return {CUBLAS_OP_N, static_cast<int>(std::max({row_stride, columns, int64_t(1)}))};
  }
  if (row_stride != 1) throw std::runtime_error("cuBLAS wants neighbours along rows or columns");
  return {CUBLAS_OP_T, static_cast<int>(std::max({column_stride, rows, int64_t(1)}))};
}

}  // namespace

// y = a b. `sizes`: shape and strides of a, of b and of y; a batch axis comes first.
void library_matmul(Stream stream, const char* type, int rank, const int64_t* sizes,
                    const void* a, const void* b, void* y) {
  const int64_t* shape_a = sizes;
  const int64_t* strides_a = sizes + rank;
  const int64_t* shape_b = sizes + 2 * rank;
  const int64_t* strides_b = sizes + 3 * rank;
  const int64_t* shape_y = sizes + 4 * rank;
  const int64_t* strides_y = sizes + 5 * rank;
  const int64_t m = shape_y[rank - 2], n = shape_y[rank - 1], k = shape_a[rank - 1];
  const int64_t batch = rank > 2 ? shape_y[0] : 1;
  if (m == 0 || n == 0 || batch == 0) return;
  // By columns, memory holds the transposes: y' = b' a'.
  const Matrix left = transposed(shape_b[rank - 2], n, strides_b[rank - 2], strides_b[rank - 1]);
  const Matrix right = transposed(m, k, strides_a[rank - 2], strides_a[rank - 1]);
  const std::string name = type;
  const bool wide = name == "f64";
  const cudaDataType_t element = wide             ? CUDA_R_64F
                                 : name == "f32"  ? CUDA_R_32F
                                 : name == "bf16" ? CUDA_R_16BF
                                                  : CUDA_R_16F;
  const float one = 1.0f, zero = 0.0f;
  const double wide_one = 1.0, wide_zero = 0.0;
  const auto* alpha = wide ? static_cast<const void*>(&wide_one) : &one;
  const auto* beta = wide ? static_cast<const void*>(&wide_zero) : &zero;
  thread_local Handle blas;
  check(cublasSetStream(blas.handle, static_cast<cudaStream_t>(stream)), "cublasSetStream");
  check(cublasGemmStridedBatchedEx(
            blas.handle, left.operation, right.operation, static_cast<int>(n),
            static_cast<int>(m), static_cast<int>(k), alpha, b, element, left.leading,
            rank > 2 ? strides_b[0] : 0, a, element, right.leading, rank > 2 ? strides_a[0] : 0,
            beta, y, element, static_cast<int>(std::max(strides_y[rank - 2], n)),
            rank > 2 ? strides_y[0] : 0, static_cast<int>(batch),
            wide ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
        "cublasGemmStridedBatchedEx");
}

}  // namespace infini
