// A model of aclnnMatmul, in two steps as the real one. Sources: the operator library's page of
// aclnnMatmul and the AscendCL pages of aclCreateTensor and aclDestroyTensor.
#pragma once

#include <vector>

#include "acl/acl.h"
#include "ascend_model/number_types.h"
#include "ascend_model/report.h"

enum aclDataType { ACL_FLOAT = 0, ACL_FLOAT16 = 1, ACL_BF16 = 27 };
enum aclFormat { ACL_FORMAT_ND = 2 };
using aclnnStatus = int32_t;

struct aclTensor {
    std::vector<int64_t> shape, strides;
    aclDataType type;
    void* data;
};

struct aclOpExecutor {
    const aclTensor *left, *right, *result;
};

inline aclTensor* aclCreateTensor(const int64_t* shape, uint64_t rank, aclDataType type, const int64_t* strides,
                                  int64_t offset, aclFormat, const int64_t* storage, uint64_t storage_rank, void* data) {
    if (offset != 0 || storage_rank != 1 || *storage < 1) return nullptr;
    return new aclTensor{{shape, shape + rank}, {strides, strides + rank}, type, data};
}

inline aclnnStatus aclDestroyTensor(const aclTensor* tensor) {
    delete tensor;
    return 0;
}

inline aclnnStatus aclnnMatmulGetWorkspaceSize(const aclTensor* self, const aclTensor* mat2, aclTensor* out, int8_t,
                                               uint64_t* bytes, aclOpExecutor** executor) {
    if (self->type != mat2->type || self->type != out->type) return 161002;
    *bytes = 4096;
    *executor = new aclOpExecutor{self, mat2, out};
    return 0;
}

namespace ascend_model {

inline float element(const aclTensor& tensor, int64_t at) {
    if (tensor.type == ACL_FLOAT) return static_cast<const float*>(tensor.data)[at];
    if (tensor.type == ACL_FLOAT16) return static_cast<const half*>(tensor.data)[at];
    return static_cast<const bfloat16_t*>(tensor.data)[at];
}

inline void put_element(const aclTensor& tensor, int64_t at, float value) {
    if (tensor.type == ACL_FLOAT) static_cast<float*>(tensor.data)[at] = value;
    else if (tensor.type == ACL_FLOAT16) static_cast<half*>(tensor.data)[at] = half(value);
    else static_cast<bfloat16_t*>(tensor.data)[at] = bfloat16_t(value);
}

}  // namespace ascend_model

inline aclnnStatus aclnnMatmul(void* workspace, uint64_t bytes, aclOpExecutor* executor, aclrtStream) {
    ascend_model::machine().check_alive(workspace, bytes);
    const aclTensor &a = *executor->left, &b = *executor->right, &y = *executor->result;
    const size_t rank = y.shape.size();
    int64_t batches = 1;
    for (size_t axis = 0; axis + 2 < rank; ++axis) batches *= y.shape[axis];
    for (int64_t batch = 0; batch < batches; ++batch) {
        int64_t at[3] = {0, 0, 0};
        int64_t rest = batch;
        for (size_t axis = rank - 2; axis-- > 0;) {
            const int64_t index = rest % y.shape[axis];
            rest /= y.shape[axis];
            at[0] += index * a.strides[axis], at[1] += index * b.strides[axis], at[2] += index * y.strides[axis];
        }
        for (int64_t i = 0; i < y.shape[rank - 2]; ++i)
            for (int64_t j = 0; j < y.shape[rank - 1]; ++j) {
                float sum = 0;
                for (int64_t k = 0; k < a.shape[rank - 1]; ++k)
                    sum += ascend_model::element(a, at[0] + i * a.strides[rank - 2] + k * a.strides[rank - 1]) *
                           ascend_model::element(b, at[1] + k * b.strides[rank - 2] + j * b.strides[rank - 1]);
                ascend_model::put_element(y, at[2] + i * y.strides[rank - 2] + j * y.strides[rank - 1], sum);
            }
    }
    delete executor;
    return 0;
}
