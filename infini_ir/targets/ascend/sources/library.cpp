// Products by the vendor's operator library: first how much workspace, then the call itself.

#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "acl/acl.h"
#include "aclnnop/aclnn_matmul.h"
#include "device.h"

namespace infini {

namespace {

void want(int status, const char* what) {
  if (status == 0) return;
  const char* text = aclGetRecentErrMsg();
  throw std::runtime_error(std::string(what) + ": error " + std::to_string(status) + ": " +
                           (text == nullptr ? "no message" : text));
}

// A view of device memory; sizes are `rank` lengths, then `rank` strides.
class Tensor {
 public:
  Tensor(aclDataType type, int rank, const int64_t* sizes, const void* data) {
    int64_t count = 1;
    for (int axis = 0; axis < rank; ++axis) count += (sizes[axis] - 1) * sizes[rank + axis];
    tensor_ = aclCreateTensor(sizes, static_cast<uint64_t>(rank), type, sizes + rank, 0, ACL_FORMAT_ND, &count, 1,
                              const_cast<void*>(data));
    if (tensor_ == nullptr) throw std::runtime_error("aclCreateTensor made no tensor");
  }
  ~Tensor() { aclDestroyTensor(tensor_); }
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;
  aclTensor* get() const { return tensor_; }

 private:
  aclTensor* tensor_;
};

// Memory that grows; work in one stream uses it one after the other.
void* workspace_of(Stream stream, uint64_t bytes) {
  static std::mutex lock;
  static std::map<Stream, std::pair<void*, uint64_t>> all;
  const std::lock_guard<std::mutex> held(lock);
  auto& [memory, size] = all[stream];
  if (size < bytes) {
    if (memory != nullptr) {
      synchronize(stream);
      device_free(memory);
    }
    memory = device_malloc(bytes);
    size = bytes;
  }
  return memory;
}

}  // namespace

void library_matmul(Stream stream, const char* type, int rank, const int64_t* sizes, const void* a, const void* b,
                    void* y) {
  const std::string name = type;
  const aclDataType data = name == "f32" ? ACL_FLOAT : name == "f16" ? ACL_FLOAT16 : ACL_BF16;
  const Tensor left(data, rank, sizes, a), right(data, rank, sizes + 2 * rank, b);
  const Tensor result(data, rank, sizes + 4 * rank, y);
  uint64_t bytes = 0;
  aclOpExecutor* executor = nullptr;
  constexpr int8_t keep_types = 0;
  want(aclnnMatmulGetWorkspaceSize(left.get(), right.get(), result.get(), keep_types, &bytes, &executor),
       "aclnnMatmulGetWorkspaceSize");
  void* workspace = bytes == 0 ? nullptr : workspace_of(stream, bytes);
  want(aclnnMatmul(workspace, bytes, executor, stream), "aclnnMatmul");
}

}  // namespace infini
