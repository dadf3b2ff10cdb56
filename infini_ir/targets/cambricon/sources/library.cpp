// Products by the vendor's operator library CNNL.

#include <cnnl.h>
#include <cnrt.h>

#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "device.h"

namespace infini {

namespace {

void want(cnnlStatus_t status, const char* what) {
  if (status == CNNL_STATUS_SUCCESS) return;
  throw std::runtime_error(std::string(what) + ": " + cnnlGetErrorString(status));
}

cnnlDataType_t type_of(const std::string& name) {
  if (name == "f32") return CNNL_DTYPE_FLOAT;
  return name == "f16" ? CNNL_DTYPE_HALF : CNNL_DTYPE_BFLOAT16;
}

// A view's description; sizes are `rank` lengths, then `rank` strides.
class Tensor {
 public:
  Tensor(const std::string& type, int rank, const int64_t* sizes) {
    std::vector<int> lengths(sizes, sizes + rank), strides(sizes + rank, sizes + 2 * rank);
    want(cnnlCreateTensorDescriptor(&descriptor_), "cnnlCreateTensorDescriptor");
    want(cnnlSetTensorDescriptorEx(descriptor_, CNNL_LAYOUT_ARRAY, type_of(type), rank,
                                   lengths.data(), strides.data()),
         "cnnlSetTensorDescriptorEx");
  }
  ~Tensor() { cnnlDestroyTensorDescriptor(descriptor_); }
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;
  cnnlTensorDescriptor_t get() const { return descriptor_; }

 private:
  cnnlTensorDescriptor_t descriptor_ = nullptr;
};

// How a product is done: found for its sizes, and let go after the call.
struct Product {
  cnnlMatMulDescriptor_t descriptor = nullptr;
  cnnlMatMulAlgo_t algorithm = nullptr;
  cnnlMatMulHeuristicResult_t found = nullptr;

  Product() {
    want(cnnlCreateMatMulDescriptor(&descriptor), "cnnlCreateMatMulDescriptor");
    want(cnnlCreateMatMulAlgo(&algorithm), "cnnlCreateMatMulAlgo");
    want(cnnlCreateMatMulHeuristicResult(&found), "cnnlCreateMatMulHeuristicResult");
    int32_t strided = 1;
    want(cnnlSetMatMulDescAttr(descriptor, CNNL_MATMUL_USE_STRIDE, &strided, sizeof strided),
         "cnnlSetMatMulDescAttr");
  }
  ~Product() {
    cnnlDestroyMatMulHeuristicResult(found);
    cnnlDestroyMatMulAlgo(algorithm);
    cnnlDestroyMatMulDescriptor(descriptor);
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;
};

// What calls in one stream share: a handle, and workspace that grows.
struct Shared {
  cnnlHandle_t handle = nullptr;
  void* workspace = nullptr;
  size_t bytes = 0;
};

Shared& shared_of(Stream stream, size_t bytes) {
  static std::mutex lock;
  static std::map<Stream, Shared> all;
  const std::lock_guard<std::mutex> held(lock);
  Shared& shared = all[stream];
  if (shared.handle == nullptr) {
    want(cnnlCreate(&shared.handle), "cnnlCreate");
    want(cnnlSetQueue(shared.handle, static_cast<cnrtQueue_t>(stream)), "cnnlSetQueue");
  }
  if (shared.bytes < bytes) {
    if (shared.workspace != nullptr) {
      synchronize(stream);
      device_free(shared.workspace);
    }
    shared.workspace = device_malloc(bytes);
    shared.bytes = bytes;
  }
  return shared;
}

// One product of matrices, or of one axis of batches.
void multiply(Stream stream, const std::string& type, const std::string& result, int rank,
              const int64_t* sizes, const void* a, const void* b, void* y) {
  const Tensor left(type, rank, sizes), right(type, rank, sizes + 2 * rank);
  const Tensor out(result, rank, sizes + 4 * rank);
  Product product;
  cnnlHandle_t handle = shared_of(stream, 0).handle;
  int count = 0;
  want(cnnlGetBatchMatMulExAlgoHeuristic(handle, product.descriptor, left.get(), right.get(),
                                         out.get(), nullptr, 1, &product.found, &count),
       "cnnlGetBatchMatMulExAlgoHeuristic");
  size_t bytes = 0;
  want(cnnlGetBatchMatMulExHeuristicResult(product.found, product.algorithm, &bytes),
       "cnnlGetBatchMatMulExHeuristicResult");
  const float one = 1.0f, zero = 0.0f;
  void* workspace = shared_of(stream, bytes).workspace;
  want(cnnlBatchMatMulEx(handle, product.descriptor, product.algorithm, &one, left.get(), a,
                         right.get(), b, &zero, out.get(), y, workspace, bytes),
       "cnnlBatchMatMulEx");
}

int64_t item_size(const std::string& type) { return type == "f32" ? 4 : 2; }

}  // namespace

// Views of `rank` axes, the last two of matrices: products one after the other over all axes
// of batches but the last.
void library_matmul(Stream stream, const char* type, const char* result, int rank,
                    const int64_t* sizes, const void* a, const void* b, void* y) {
  for (int axis = 0; axis < rank; ++axis)
    if (sizes[4 * rank + axis] == 0) return;
  if (rank <= 3) {
    multiply(stream, type, result, rank, sizes, a, b, y);
    return;
  }
  std::vector<int64_t> inner;
  for (int part = 0; part < 6; ++part)
    inner.insert(inner.end(), sizes + part * rank + 1, sizes + (part + 1) * rank);
  const char* left = static_cast<const char*>(a);
  const char* right = static_cast<const char*>(b);
  char* out = static_cast<char*>(y);
  for (int64_t i = 0; i < sizes[0]; ++i) {
    library_matmul(stream, type, result, rank - 1, inner.data(), left, right, out);
    left += sizes[rank] * item_size(type);
    right += sizes[3 * rank] * item_size(type);
    out += sizes[5 * rank] * item_size(result);
  }
}

}  // namespace infini
