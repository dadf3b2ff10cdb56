#include "runtime.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace infini {

namespace {

struct WrongInput : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct ModelFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Device memory that grows when more is asked for.
class Block {
 public:
  Block() = default;
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  ~Block() {
    try {
      device_free(pointer_);
    } catch (const std::exception&) {
      // The device is gone; there is nothing left to free.
    }
  }

  char* grow(size_t bytes, Stream stream) {
    if (pointer_ == nullptr || bytes > size_) {
      synchronize(stream);  // kernels may still use the old memory
      void* old = pointer_;
      pointer_ = nullptr;
      size_ = 0;
      device_free(old);
      pointer_ = static_cast<char*>(device_malloc(bytes > 0 ? bytes : 1));
      size_ = bytes;
    }
    return pointer_;
  }

 private:
  char* pointer_ = nullptr;
  size_t size_ = 0;
};

std::string quoted(const char* name) { return "'" + std::string(name) + "'"; }

std::string type_text(const infini_tensor_info& info) {
  std::string text = std::string(info.dtype) + "[";
  for (int64_t axis = 0; axis < info.rank; ++axis) {
    text += (axis > 0 ? ", " : "") + std::string(info.size_texts[axis]);
  }
  return text + "]";
}

std::string shape_text(const infini_tensor& tensor) {
  std::string text = "[";
  const int64_t shown = smaller(larger(tensor.rank, 0), INFINI_MAX_RANK);
  for (int64_t axis = 0; axis < shown; ++axis) {
    text += (axis > 0 ? ", " : "") + std::to_string(tensor.shape[axis]);
  }
  return text + "]";
}

// More than any memory holds; sums and products of sizes stay far from overflow.
constexpr size_t largest_tensor = size_t{1} << 48;

// Bytes of a tensor; throws where no memory could hold them.
size_t byte_count(const infini_tensor& tensor, int64_t item_size) {
  size_t bytes = static_cast<size_t>(item_size);
  for (int64_t axis = 0; axis < tensor.rank; ++axis) {
    const size_t size = static_cast<size_t>(tensor.shape[axis]);
    if (__builtin_mul_overflow(bytes, size, &bytes) || bytes > largest_tensor) {
      throw WrongInput("a tensor of shape " + shape_text(tensor) + " is too large");
    }
  }
  return bytes;
}

void set_shape(infini_tensor& tensor, void* data, std::initializer_list<int64_t> shape) {
  tensor.data = data;
  tensor.rank = 0;
  for (int64_t size : shape) tensor.shape[tensor.rank++] = size;
}

}  // namespace

// What lives as long as the model.
struct State {
  int device = 0;
  bool opened = false;
  Stream stream = nullptr;
  int64_t cores = 1;
  bool synchronous = false;
  std::string error;

  std::unique_ptr<Block> weights = std::make_unique<Block>();
  std::unique_ptr<Block> arena = std::make_unique<Block>();
  std::vector<Block> inputs = std::vector<Block>(size_t(description.input_count));
  std::vector<Block> outputs = std::vector<Block>(size_t(description.output_count));
  std::vector<Block> blocks = std::vector<Block>(size_t(description.block_count));
  std::vector<std::vector<char>> host_outputs =
      std::vector<std::vector<char>>(size_t(description.output_count));

  // Of the call in progress: the value of each symbol, and the input that gave it.
  struct Source {
    int64_t value;
    int input;
  };
  std::map<std::string, Source> symbols;

  void open(const char* weights_path, int number);
  void load_weights(const char* path);
  void run(const infini_tensor* given, infini_tensor* results, bool on_device);
  void collect(infini_tensor* results, bool on_device);
  ~State();
};

// Loading

namespace {

class File {
 public:
  explicit File(const char* path) : path_(path), file_(std::fopen(path, "rb")) {
    if (file_ == nullptr) fail(std::string("it cannot be opened: ") + std::strerror(errno));
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (file_ != nullptr) std::fclose(file_);
  }

  void read(void* to, size_t bytes) {
    if (std::fread(to, 1, bytes, file_) != bytes) fail("it is cut short");
  }

  [[noreturn]] void fail(const std::string& reason) const {
    throw std::runtime_error("weights file " + quoted(path_) + ": " + reason +
                             "; give the weights.bin that was written with this project");
  }

 private:
  const char* path_;
  std::FILE* file_;
};

std::string hexadecimal(const unsigned char* bytes, size_t count) {
  static const char digits[] = "0123456789abcdef";
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    text += digits[bytes[i] >> 4];
    text += digits[bytes[i] & 15];
  }
  return text;
}

}  // namespace

void State::load_weights(const char* path) {
  if (description.weights_size == 0) return;
  File file(path != nullptr ? path : "weights.bin");
  std::vector<unsigned char> part(size_t{1} << 24);
  file.read(part.data(), 64);
  uint64_t size = 0;
  for (int i = 0; i < 8; ++i) size |= uint64_t{part[static_cast<size_t>(8 + i)]} << (8 * i);
  if (std::memcmp(part.data(), "INFINIW1", 8) != 0) file.fail("it is no file of weights");
  if (size != description.weights_size ||
      hexadecimal(&part[16], 32) != description.weights_digest) {
    file.fail("it belongs to another model");
  }
  char* to = weights->grow(size, stream);
  for (uint64_t done = 64; done < size;) {
    const size_t bytes = smaller(int64_t(size - done), int64_t(part.size()));
    file.read(part.data(), bytes);
    copy_to_device(to + done, part.data(), bytes, stream);
    synchronize(stream);
    done += bytes;
  }
}

void State::open(const char* weights_path, int number) {
  device = number;
  device_open(number);
  opened = true;
  stream = stream_create();
  cores = device_cores();
  const char* wish = std::getenv("INFINI_SYNCHRONIZE");
  synchronous = wish != nullptr && *wish != '\0' && std::strcmp(wish, "0") != 0;
  load_weights(weights_path);
}

State::~State() {
  weights.reset();
  arena.reset();
  inputs.clear();
  outputs.clear();
  blocks.clear();
  try {
    if (stream != nullptr) stream_destroy(stream);
    if (opened) device_close(device);
  } catch (const std::exception&) {
    // The device is gone, and its stream with it.
  }
}

// Running

void State::run(const infini_tensor* given, infini_tensor* results, bool on_device) {
  symbols.clear();
  for (int i = 0; i < description.output_count; ++i) results[i] = infini_tensor{};
  Call call(*this, given, results, on_device);
  try {
    call.ranks();
    run_program(call);
    collect(results, on_device);
    synchronize(stream);
  } catch (...) {
    try {
      synchronize(stream);  // copies from the caller's memory may be in flight
    } catch (const std::exception&) {
      // The first error is the one to tell.
    }
    throw;
  }
}

// Checks that all outputs are there, and copies them to the host where they are wanted.
void State::collect(infini_tensor* results, bool on_device) {
  for (int i = 0; i < description.output_count; ++i) {
    const infini_tensor_info& info = description.outputs[i];
    const size_t bytes = byte_count(results[i], info.item_size);
    if (results[i].rank != info.rank || (results[i].data == nullptr && bytes > 0)) {
      throw ModelFailure("the program gave no memory for output " + quoted(info.name));
    }
    if (on_device) continue;
    std::vector<char>& host = host_outputs[static_cast<size_t>(i)];
    if (host.size() < bytes + 1) host.resize(bytes + 1);
    if (bytes > 0) copy_from_device(host.data(), results[i].data, bytes, stream);
    results[i].data = host.data();
  }
}

Call::Call(State& state, const infini_tensor* inputs, infini_tensor* outputs, bool on_device)
    : stream(state.stream),
      cores(state.cores),
      state_(state),
      inputs_(inputs),
      outputs_(outputs),
      on_device_(on_device) {}

void Call::ranks() const {
  for (int i = 0; i < description.input_count; ++i) {
    const infini_tensor& given = inputs_[i];
    const std::string who = "input " + quoted(info(i).name);
    if (given.rank != info(i).rank) {
      throw WrongInput(who + " has " + std::to_string(given.rank) + " dimensions, shape " +
                       shape_text(given) + "; the model wants " + type_text(info(i)));
    }
    for (int64_t axis = 0; axis < given.rank; ++axis) {
      if (given.shape[axis] < 0) {
        throw WrongInput(who + ": dim " + std::to_string(axis) + " is " +
                         std::to_string(given.shape[axis]) + ", but must not be negative");
      }
    }
    if (byte_count(given, info(i).item_size) > 0 && given.data == nullptr) {
      throw WrongInput(who + " has no data; the model wants " + type_text(info(i)));
    }
  }
}

int64_t Call::define(const char* symbol, int input, int axis) {
  const int64_t value = inputs_[input].shape[axis];
  state_.symbols[symbol] = {value, input};
  return value;
}

void Call::wants(int input, int axis, int64_t size) const {
  const int64_t found = inputs_[input].shape[axis];
  if (found != size) {
    throw WrongInput("input " + quoted(info(input).name) + ": dim " + std::to_string(axis) +
                     " is " + std::to_string(found) + ", but the model wants " +
                     std::to_string(size) + ": " + type_text(info(input)));
  }
}

void Call::agrees(int input, int axis, int64_t size, const char* text,
                  std::initializer_list<const char*> symbols) const {
  const int64_t found = inputs_[input].shape[axis];
  if (found == size) return;
  std::string known;
  for (const char* symbol : symbols) {
    const State::Source& source = state_.symbols.at(symbol);
    known += (known.empty() ? "" : ", ") + quoted(symbol) + " is " +
             std::to_string(source.value) + " by input " + quoted(info(source.input).name);
  }
  const bool bare = symbols.size() == 1 && std::strcmp(*symbols.begin(), text) == 0;
  const std::string wanted =
      bare ? known : quoted(text) + " is " + std::to_string(size) + ", as " + known;
  throw WrongInput("input " + quoted(info(input).name) + ": dim " + std::to_string(axis) +
                   " is " + std::to_string(found) + ", but " + wanted);
}

namespace {

void require(bool holds, const char* left, int64_t a, const char* relation, const char* right,
             int64_t b) {
  if (holds) return;
  throw WrongInput("size " + std::string(left) + " " + relation + " " + right +
                   ", but they are " + std::to_string(a) + " and " + std::to_string(b));
}

}  // namespace

void Call::must_equal(const char* left, int64_t a, const char* right, int64_t b) const {
  require(a == b, left, a, "must equal", right, b);
}

void Call::must_be_at_most(const char* left, int64_t a, const char* right, int64_t b) const {
  require(a <= b, left, a, "must be at most", right, b);
}

void Call::must_be_at_least(const char* left, int64_t a, const char* right, int64_t b) const {
  require(a >= b, left, a, "must be at least", right, b);
}

char* Call::arena(int64_t bytes) {
  try {
    return state_.arena->grow(static_cast<size_t>(bytes), stream);
  } catch (const std::exception& error) {
    throw std::runtime_error("the model needs " + std::to_string(bytes) +
                             " bytes of device memory for these input sizes, which the device "
                             "does not give (" +
                             error.what() + "); use smaller inputs");
  }
}

char* Call::weights() { return state_.weights->grow(0, stream); }

char* Call::input(int index) {
  const infini_tensor& given = inputs_[index];
  if (on_device_) return static_cast<char*>(given.data);
  const size_t bytes = byte_count(given, info(index).item_size);
  char* memory = state_.inputs[static_cast<size_t>(index)].grow(bytes, stream);
  if (bytes > 0) copy_to_device(memory, given.data, bytes, stream);
  return memory;
}

char* Call::output(int index, std::initializer_list<int64_t> shape) {
  infini_tensor& result = outputs_[index];
  set_shape(result, nullptr, shape);
  const size_t bytes = byte_count(result, description.outputs[index].item_size);
  char* memory = state_.outputs[static_cast<size_t>(index)].grow(bytes, stream);
  result.data = memory;
  return memory;
}

char* Call::block(int index, int64_t bytes) {
  try {
    return state_.blocks[static_cast<size_t>(index)].grow(static_cast<size_t>(bytes), stream);
  } catch (const std::exception& error) {
    throw std::runtime_error("out of memory: " + std::to_string(bytes) +
                             " bytes were wanted (" + error.what() + ")");
  }
}

int64_t Call::read_size(const char* symbol, const char* pointer) {
  int64_t value = 0;
  copy_from_device(&value, pointer, sizeof value, stream);
  synchronize(stream);
  if (value < 0) {
    throw WrongInput("size " + quoted(symbol) + " computed by the model is " +
                     std::to_string(value) + ", but must not be negative");
  }
  return value;
}

bool Call::read_flag(const char* pointer) {
  unsigned char value = 0;
  copy_from_device(&value, pointer, sizeof value, stream);
  synchronize(stream);
  return value != 0;
}

void Call::publish(int index, char* pointer, std::initializer_list<int64_t> shape) {
  set_shape(outputs_[index], pointer, shape);
}

void Call::launched(const char* kernel) {
  check_launch(kernel);
  if (!state_.synchronous) return;
  try {
    synchronize(stream);
  } catch (const std::exception& error) {
    throw std::runtime_error("kernel " + quoted(kernel) + " failed: " + error.what());
  }
}

}  // namespace infini

// The C interface

struct infini_model {
  infini::State state;
};

namespace {

int guarded_run(infini_model* model, const infini_tensor* inputs, infini_tensor* outputs,
                bool on_device) {
  std::string& error = model->state.error;
  error.clear();
  try {
    model->state.run(inputs, outputs, on_device);
    return INFINI_OK;
  } catch (const infini::WrongInput& wrong) {
    error = wrong.what();
    return INFINI_WRONG_INPUT;
  } catch (const infini::ModelFailure& failure) {
    error = failure.what();
    return INFINI_MODEL_ERROR;
  } catch (const std::exception& failure) {
    error = failure.what();
    return INFINI_DEVICE_ERROR;
  }
}

}  // namespace

extern "C" {

int infini_input_count(void) { return infini::description.input_count; }

int infini_output_count(void) { return infini::description.output_count; }

const infini_tensor_info* infini_input_info(int index) {
  return &infini::description.inputs[index];
}

const infini_tensor_info* infini_output_info(int index) {
  return &infini::description.outputs[index];
}

infini_model* infini_model_create(const char* weights_path, int device, char* error,
                                  size_t error_size) {
  std::unique_ptr<infini_model> model;
  try {
    model = std::make_unique<infini_model>();
    model->state.open(weights_path, device);
    return model.release();
  } catch (const std::exception& failure) {
    if (error != nullptr && error_size > 0) {
      std::snprintf(error, error_size, "%s", failure.what());
    }
    return nullptr;
  }
}

void infini_model_destroy(infini_model* model) { delete model; }

int infini_model_run(infini_model* model, const infini_tensor* inputs, infini_tensor* outputs) {
  return guarded_run(model, inputs, outputs, false);
}

int infini_model_run_device(infini_model* model, const infini_tensor* inputs,
                            infini_tensor* outputs) {
  return guarded_run(model, inputs, outputs, true);
}

const char* infini_model_error(const infini_model* model) {
  return model->state.error.c_str();
}

}  // extern "C"
