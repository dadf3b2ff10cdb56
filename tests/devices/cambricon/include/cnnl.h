// The part of CNNL that projects call, on the functional model: batched products.
//
// Source: InfiniTensor's Cambricon back ends (InfiniCore src/infiniop/ops/gemm/bang/gemm_bang.cc
// and its successor), which use these calls in this order.
#pragma once

#include <vector>

#include "cnrt.h"
#include "mlu_float16.h"

typedef enum { CNNL_STATUS_SUCCESS = 0, CNNL_STATUS_BAD_PARAM = 3 } cnnlStatus_t;
typedef enum { CNNL_LAYOUT_ARRAY = 4 } cnnlTensorLayout_t;
typedef enum { CNNL_DTYPE_HALF = 1, CNNL_DTYPE_FLOAT = 2, CNNL_DTYPE_BFLOAT16 = 14 } cnnlDataType_t;
typedef enum { CNNL_MATMUL_USE_STRIDE = 4 } cnnlMatMulDescAttribute_t;

struct cnnlTensor {
  cnnlDataType_t type;
  std::vector<int> lengths, strides;
};
struct cnnlMatMul {
  bool strided = false;
};
struct cnnlAlgorithm {
  bool chosen = false;
};
struct cnnlContext {
  cnrtQueue_t queue = nullptr;
};
typedef cnnlTensor* cnnlTensorDescriptor_t;
typedef cnnlMatMul* cnnlMatMulDescriptor_t;
typedef cnnlAlgorithm* cnnlMatMulAlgo_t;
typedef cnnlAlgorithm* cnnlMatMulHeuristicResult_t;
typedef cnnlContext* cnnlHandle_t;

inline const char* cnnlGetErrorString(cnnlStatus_t status) {
  return status == CNNL_STATUS_SUCCESS ? "success" : "bad parameter";
}

#define CNNL_MODEL_MADE(name, Type)                             \
  inline cnnlStatus_t cnnlCreate##name(Type** made) {           \
    *made = new Type;                                           \
    return CNNL_STATUS_SUCCESS;                                 \
  }                                                             \
  inline cnnlStatus_t cnnlDestroy##name(Type* gone) {           \
    delete gone;                                                \
    return CNNL_STATUS_SUCCESS;                                 \
  }
CNNL_MODEL_MADE(TensorDescriptor, cnnlTensor)
CNNL_MODEL_MADE(MatMulDescriptor, cnnlMatMul)
CNNL_MODEL_MADE(MatMulAlgo, cnnlAlgorithm)
CNNL_MODEL_MADE(MatMulHeuristicResult, cnnlAlgorithm)
CNNL_MODEL_MADE(, cnnlContext)
#undef CNNL_MODEL_MADE

inline cnnlStatus_t cnnlSetQueue(cnnlHandle_t handle, cnrtQueue_t queue) {
  handle->queue = queue;
  return CNNL_STATUS_SUCCESS;
}

inline cnnlStatus_t cnnlSetTensorDescriptorEx(cnnlTensorDescriptor_t tensor, cnnlTensorLayout_t,
                                              cnnlDataType_t type, int rank, const int* lengths,
                                              const int* strides) {
  if (rank < 2 || rank > 3) return CNNL_STATUS_BAD_PARAM;
  *tensor = {type, {lengths, lengths + rank}, {strides, strides + rank}};
  return CNNL_STATUS_SUCCESS;
}

inline cnnlStatus_t cnnlSetMatMulDescAttr(cnnlMatMulDescriptor_t product,
                                          cnnlMatMulDescAttribute_t, const void* value, size_t) {
  product->strided = *static_cast<const int32_t*>(value) != 0;
  return CNNL_STATUS_SUCCESS;
}

inline cnnlStatus_t cnnlGetBatchMatMulExAlgoHeuristic(
    cnnlHandle_t handle, cnnlMatMulDescriptor_t, cnnlTensorDescriptor_t a,
    cnnlTensorDescriptor_t b, cnnlTensorDescriptor_t y, void*, int, cnnlMatMulHeuristicResult_t* found,
    int* count) {
  if (handle->queue == nullptr || a->lengths.size() != b->lengths.size() ||
      a->lengths.back() != b->lengths[b->lengths.size() - 2] ||
      b->lengths.back() != y->lengths.back() || a->type != b->type)
    return CNNL_STATUS_BAD_PARAM;
  (*found)->chosen = true;
  *count = 1;
  return CNNL_STATUS_SUCCESS;
}

inline cnnlStatus_t cnnlGetBatchMatMulExHeuristicResult(cnnlMatMulHeuristicResult_t found,
                                                        cnnlMatMulAlgo_t algorithm,
                                                        size_t* bytes) {
  algorithm->chosen = found->chosen;
  *bytes = 256;
  return CNNL_STATUS_SUCCESS;
}

namespace mlu_model {

inline size_t cnnl_place(const cnnlTensor& tensor, int batch, int row, int column) {
  const size_t rank = tensor.strides.size();
  const int64_t outer = rank == 3 ? static_cast<int64_t>(batch) * tensor.strides[0] : 0;
  return outer + static_cast<int64_t>(row) * tensor.strides[rank - 2] +
         static_cast<int64_t>(column) * tensor.strides[rank - 1];
}

inline float cnnl_load(const cnnlTensor& tensor, const void* data, size_t at) {
  const size_t size = tensor.type == CNNL_DTYPE_FLOAT ? 4 : 2;
  check_range("cnnlBatchMatMulEx", "operand", static_cast<const char*>(data) + at * size, size,
              Space::gdram);
  if (tensor.type == CNNL_DTYPE_FLOAT) return static_cast<const float*>(data)[at];
  const uint16_t bits = static_cast<const uint16_t*>(data)[at];
  return tensor.type == CNNL_DTYPE_HALF ? half_value(bits) : bfloat16_value(bits);
}

inline void cnnl_store(const cnnlTensor& tensor, void* data, size_t at, float value) {
  const size_t size = tensor.type == CNNL_DTYPE_FLOAT ? 4 : 2;
  check_range("cnnlBatchMatMulEx", "result", static_cast<char*>(data) + at * size, size,
              Space::gdram);
  if (tensor.type == CNNL_DTYPE_FLOAT)
    static_cast<float*>(data)[at] = value;
  else
    static_cast<uint16_t*>(data)[at] =
        tensor.type == CNNL_DTYPE_HALF ? half_bits(value) : bfloat16_bits(value);
}

}  // namespace mlu_model

inline cnnlStatus_t cnnlBatchMatMulEx(cnnlHandle_t, cnnlMatMulDescriptor_t product,
                                      cnnlMatMulAlgo_t algorithm, const void* alpha,
                                      cnnlTensorDescriptor_t a, const void* left,
                                      cnnlTensorDescriptor_t b, const void* right,
                                      const void* beta, cnnlTensorDescriptor_t y, void* out,
                                      void* workspace, size_t bytes) {
  if (!algorithm->chosen || !product->strided || workspace == nullptr || bytes < 256 ||
      *static_cast<const float*>(alpha) != 1.0f || *static_cast<const float*>(beta) != 0.0f)
    return CNNL_STATUS_BAD_PARAM;
  const size_t rank = y->lengths.size();
  const int batches = rank == 3 ? y->lengths[0] : 1;
  for (int p = 0; p < batches; ++p)
    for (int i = 0; i < y->lengths[rank - 2]; ++i)
      for (int j = 0; j < y->lengths[rank - 1]; ++j) {
        float sum = 0;
        for (int l = 0; l < a->lengths[rank - 1]; ++l)
          sum += mlu_model::cnnl_load(*a, left, mlu_model::cnnl_place(*a, p, i, l)) *
                 mlu_model::cnnl_load(*b, right, mlu_model::cnnl_place(*b, p, l, j));
        mlu_model::cnnl_store(*y, out, mlu_model::cnnl_place(*y, p, i, j), sum);
      }
  return CNNL_STATUS_SUCCESS;
}
