// What the host program in model.cpp is written with. The same in every project.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "device.h"
#include "infini.h"
#include "sizes.h"

namespace infini {

// What model.cpp says of its model.
struct Description {
  const infini_tensor_info* inputs;
  int input_count;
  const infini_tensor_info* outputs;
  int output_count;
  uint64_t weights_size;      // of the file; 0 where the model has no weights
  const char* weights_digest; // 64 hexadecimal digits, as in the file's header
  int block_count;            // memory whose size is known only while running
};

extern const Description description;

struct State;

// One call of the model: its inputs, the sizes they have, and memory. All functions throw when
// something does not fit, with the text that the caller of the library gets.
class Call {
 public:
  Call(State& state, const infini_tensor* inputs, infini_tensor* outputs, bool on_device);

  const Stream stream;
  const int64_t cores;

  // Sizes of inputs. Every rank is checked by `ranks`; a symbol takes the size of the first
  // input that has it; every other size is checked.
  void ranks() const;
  int64_t define(const char* symbol, int input, int axis);
  void wants(int input, int axis, int64_t size) const;
  void agrees(int input, int axis, int64_t size, const char* text,
              std::initializer_list<const char*> symbols) const;

  // Facts that the program relies on.
  void must_equal(const char* left, int64_t a, const char* right, int64_t b) const;
  void must_be_at_most(const char* left, int64_t a, const char* right, int64_t b) const;
  void must_be_at_least(const char* left, int64_t a, const char* right, int64_t b) const;

  // Device memory. It belongs to the model and is used again by the next call.
  char* arena(int64_t bytes);
  char* weights();
  char* input(int index);
  char* output(int index, std::initializer_list<int64_t> shape);
  char* block(int index, int64_t bytes);

  // Waits for the device, and reads what it computed.
  int64_t read_size(const char* symbol, const char* pointer);
  bool read_flag(const char* pointer);

  // Gives an output whose size became known while running.
  void publish(int index, char* pointer, std::initializer_list<int64_t> shape);

  // After each launch. With INFINI_SYNCHRONIZE=1 in the environment it waits for the kernel,
  // so that an error names the kernel that made it.
  void launched(const char* kernel);

 private:
  const infini_tensor_info& info(int input) const { return description.inputs[input]; }

  State& state_;
  const infini_tensor* inputs_;
  infini_tensor* outputs_;
  bool on_device_;
};

// The host program: model.cpp has it.
void run_program(Call& call);

}  // namespace infini

// Starts a kernel.
#define LAUNCH(kernel, ...) \
  (launch_##kernel(call.stream, call.cores, __VA_ARGS__), call.launched(#kernel))
