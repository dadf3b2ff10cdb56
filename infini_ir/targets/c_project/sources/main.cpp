// run_model: the model on inputs from .npy files.

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <sys/stat.h>
#include <vector>

#include "device.h"
#include "infini.h"
#include "npy.h"

#ifndef INFINI_WEIGHTS
#define INFINI_WEIGHTS "weights.bin"
#endif

namespace {

using infini::Array;

const char usage[] =
    "usage: run_model [options]\n"
    "  --input NAME=FILE.npy  an input; those not given are random\n"
    "  --size SYMBOL=N        a symbolic size, for random inputs\n"
    "  --seed N               of random inputs (0)\n"
    "  --output-dir FOLDER    write every output to FOLDER/NAME.npy\n"
    "  --repeat N             run N times more and print how long that takes\n"
    "  --weights FILE         the weights (" INFINI_WEIGHTS ")\n"
    "  --device N             number of the device (0)\n"
    "  --list                 print what the model takes and gives\n";

struct Options {
  std::map<std::string, std::string> inputs;
  std::map<std::string, int64_t> sizes;
  std::string output_dir;
  std::string weights = INFINI_WEIGHTS;
  uint64_t seed = 0;
  int64_t repeat = 0;
  int device = 0;
  bool list = false;
};

[[noreturn]] void fail(const std::string& text) { throw std::runtime_error(text); }

int64_t whole_number(const std::string& option, const std::string& text) {
  char* end = nullptr;
  const long long value = std::strtoll(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || value < 0) {
    fail(option + " is '" + text + "'; give a whole number, at least 0");
  }
  return value;
}

std::pair<std::string, std::string> pair_of(const std::string& option, const std::string& text) {
  const size_t at = text.find('=');
  if (at == std::string::npos || at == 0) {
    fail(option + " is '" + text + "'; give it as NAME=VALUE");
  }
  return {text.substr(0, at), text.substr(at + 1)};
}

Options parse(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string option = arguments[i];
    if (option == "--help" || option == "-h") {
      std::fputs(usage, stdout);
      std::exit(0);
    }
    if (option == "--list") {
      options.list = true;
      continue;
    }
    static const std::set<std::string> known = {"--input",  "--size",    "--seed",  "--output-dir",
                                                "--repeat", "--weights", "--device"};
    if (known.count(option) == 0) fail("unknown option '" + option + "'; see run_model --help");
    if (i + 1 == count) fail(option + " wants a value; see run_model --help");
    const std::string value = arguments[++i];
    if (option == "--input") {
      options.inputs.insert(pair_of(option, value));
    } else if (option == "--size") {
      const auto [name, size] = pair_of(option, value);
      options.sizes[name] = whole_number("--size " + name, size);
    } else if (option == "--seed") {
      options.seed = static_cast<uint64_t>(whole_number(option, value));
    } else if (option == "--repeat") {
      options.repeat = whole_number(option, value);
    } else if (option == "--device") {
      options.device = static_cast<int>(whole_number(option, value));
    } else {
      (option == "--weights" ? options.weights : options.output_dir) = value;
    }
  }
  return options;
}

// Descriptions

std::string type_text(const infini_tensor_info& info) {
  std::string text = std::string(info.dtype) + "[";
  for (int64_t axis = 0; axis < info.rank; ++axis) {
    text += (axis > 0 ? ", " : "") + std::string(info.size_texts[axis]);
  }
  return text + "]";
}

std::string described(const infini_tensor_info& info) {
  return std::string(info.name) + ": " + type_text(info);
}

void list_interface() {
  for (int i = 0; i < infini_input_count(); ++i) {
    std::printf("input  %s\n", described(*infini_input_info(i)).c_str());
  }
  for (int i = 0; i < infini_output_count(); ++i) {
    std::printf("output %s\n", described(*infini_output_info(i)).c_str());
  }
}

// Inputs

Array read_input(const infini_tensor_info& info, const std::string& path) {
  const std::string who = "input '" + std::string(info.name) + "'";
  Array array;
  try {
    array = infini::read_npy(path);
  } catch (const std::exception& error) {
    fail(who + ": cannot read " + error.what() + "; the model wants " + type_text(info));
  }
  if (!infini::can_stand_for(array.dtype, info.dtype)) {
    const std::string wanted = infini::numpy_name(info.dtype);
    fail(who + " has dtype " + infini::numpy_name(array.dtype) + ", but the model wants " +
         wanted + " (" + type_text(info) + "); convert it with .astype('" + wanted + "')");
  }
  if (array.shape.size() > INFINI_MAX_RANK) {
    fail(who + " has " + std::to_string(array.shape.size()) +
         " dimensions; the model wants " + type_text(info));
  }
  return array;
}

// Numbers that are the same everywhere for the same seed (splitmix64).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t bits() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(uniform()));
    return radius * std::cos(6.283185307179586 * uniform());
  }

 private:
  double uniform() { return (static_cast<double>(bits() >> 11) + 0.5) * 0x1p-53; }

  uint64_t state_;
};

// The upper bits of a float, rounded to nearest even: bf16.
uint16_t to_bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// Of random numbers, which are neither infinite nor NaN.
uint16_t to_f16(float value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const float magnitude = std::fabs(value);
  int exponent = 0;
  const float fraction = std::frexp(magnitude, &exponent);
  const int shift = std::min(11, exponent + 24);  // subnormal numbers have fewer bits
  const long mantissa = shift < 0 ? 0 : std::lrint(std::ldexp(fraction, shift));
  const long rest = exponent + 24 > 11 ? long(exponent + 13) * 1024 : 0;
  return static_cast<uint16_t>(sign | (rest + mantissa));
}

template <class T>
void store(char* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

// Integers may be positions, so they are from 0 to 3; masks and types from 0 to 1.
uint64_t highest_integer(const infini_tensor_info& info) {
  const std::string dtype = info.dtype;
  std::string name = info.name;
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) {
    return static_cast<char>(std::tolower(c));
  });
  const bool small = name.find("mask") != std::string::npos ||
                     name.find("type") != std::string::npos || dtype == "i1";
  if (small || dtype == "i2" || dtype == "ui2") return 1;
  return dtype == "i8" || dtype == "ui8" ? 255 : 3;
}

void fill(Array& array, const infini_tensor_info& info, Random& random) {
  const std::string dtype = info.dtype;
  const size_t size = static_cast<size_t>(info.item_size);
  const uint64_t highest = highest_integer(info);
  for (size_t at = 0; at + size <= array.data.size(); at += size) {
    char* to = &array.data[at];
    if (dtype == "f64") {
      store(to, random.normal());
    } else if (dtype == "f32") {
      store(to, static_cast<float>(random.normal()));
    } else if (dtype == "f16") {
      store(to, to_f16(static_cast<float>(random.normal())));
    } else if (dtype == "bf16") {
      store(to, to_bf16(static_cast<float>(random.normal())));
    } else if (dtype[0] == 'f') {
      fail("input '" + std::string(info.name) + "' is of type " + dtype +
           ", of which no random numbers are made; give it with --input");
    } else {
      const uint64_t value = random.bits() % (highest + 1);
      std::memcpy(to, &value, size);  // little endian
    }
  }
}

// 1 for a batch, else 16.
int64_t usual_size(const std::string& symbol) {
  std::string name = symbol;
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) {
    return static_cast<char>(std::tolower(c));
  });
  return name == "b" || name == "n" || name.find("batch") != std::string::npos ? 1 : 16;
}

Array random_input(const infini_tensor_info& info, const std::map<std::string, int64_t>& sizes,
                   Random& random) {
  Array array;
  array.dtype = info.dtype;
  size_t bytes = static_cast<size_t>(info.item_size);
  for (int64_t axis = 0; axis < info.rank; ++axis) {
    const std::string text = info.size_texts[axis];
    int64_t size = info.sizes[axis];
    if (size < 0 && sizes.count(text) > 0) size = sizes.at(text);
    if (size < 0 && text.find_first_of(" +-*(") != std::string::npos) {
      fail("input '" + std::string(info.name) + "' of " + type_text(info) +
           ": size " + text + " follows from others; give the input with --input");
    }
    if (size < 0) size = usual_size(text);
    array.shape.push_back(size);
    if (__builtin_mul_overflow(bytes, static_cast<size_t>(size), &bytes)) {
      fail("input '" + std::string(info.name) + "' is too large; give smaller sizes");
    }
  }
  array.data.resize(bytes);
  fill(array, info, random);
  return array;
}

std::vector<Array> make_inputs(const Options& options) {
  std::map<std::string, int> numbers;
  std::string wanted;
  for (int i = 0; i < infini_input_count(); ++i) {
    numbers[infini_input_info(i)->name] = i;
    wanted += (i > 0 ? ", " : "") + described(*infini_input_info(i));
  }
  std::vector<Array> arrays(numbers.size());
  std::map<std::string, int64_t> sizes;
  for (const auto& [name, path] : options.inputs) {
    if (numbers.count(name) == 0) {
      fail("there is no input '" + name + "'; the model wants " +
           (wanted.empty() ? "no inputs" : wanted));
    }
    const infini_tensor_info& info = *infini_input_info(numbers[name]);
    Array& array = arrays[static_cast<size_t>(numbers[name])] = read_input(info, path);
    const size_t rank = std::min(array.shape.size(), static_cast<size_t>(info.rank));
    for (size_t axis = 0; axis < rank; ++axis) {
      sizes.emplace(info.size_texts[axis], array.shape[axis]);
    }
  }
  for (const auto& [name, size] : options.sizes) sizes[name] = size;
  Random random(options.seed);
  for (int i = 0; i < infini_input_count(); ++i) {
    const infini_tensor_info& info = *infini_input_info(i);
    if (options.inputs.count(info.name) == 0) {
      arrays[static_cast<size_t>(i)] = random_input(info, sizes, random);
    }
  }
  return arrays;
}

std::vector<infini_tensor> tensors_of(std::vector<Array>& arrays) {
  std::vector<infini_tensor> tensors(arrays.size());
  for (size_t i = 0; i < arrays.size(); ++i) {
    tensors[i].data = arrays[i].data.empty() ? nullptr : arrays[i].data.data();
    tensors[i].rank = static_cast<int64_t>(arrays[i].shape.size());
    std::copy(arrays[i].shape.begin(), arrays[i].shape.end(), tensors[i].shape);
  }
  return tensors;
}

// Outputs

// A name as a file's: letters, digits, '-', '_' and '.'.
std::string file_name(const std::string& name) {
  std::string file;
  for (const char c : name) {
    file += std::isalnum(static_cast<unsigned char>(c)) || std::strchr("-_.", c) ? c : '_';
  }
  file.erase(0, file.find_first_not_of('.'));
  return file.empty() ? "output" : file;
}

void show_outputs(const std::vector<infini_tensor>& outputs, const std::string& folder) {
  if (!folder.empty()) mkdir(folder.c_str(), 0777);
  std::set<std::string> used;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const infini_tensor_info& info = *infini_output_info(static_cast<int>(i));
    const infini_tensor& tensor = outputs[i];
    const std::vector<int64_t> shape(tensor.shape, tensor.shape + tensor.rank);
    size_t bytes = static_cast<size_t>(info.item_size);
    std::string text = std::string(info.name) + ": " + info.dtype + "[";
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      bytes *= static_cast<size_t>(shape[axis]);
      text += (axis > 0 ? ", " : "") + std::to_string(shape[axis]);
    }
    text += "]";
    if (!folder.empty()) {
      std::string name = file_name(info.name);
      while (!used.insert(name).second) name += "_" + std::to_string(i);
      const std::string path = folder + "/" + name + ".npy";
      infini::write_npy(path, info.dtype, shape, tensor.data, bytes);
      text += " -> " + path;
    }
    std::printf("%s\n", text.c_str());
  }
}

// Running

struct Destroy {
  void operator()(infini_model* model) const { infini_model_destroy(model); }
};
using Model = std::unique_ptr<infini_model, Destroy>;
using Function = int (*)(infini_model*, const infini_tensor*, infini_tensor*);

void run(const Model& model, Function function, const std::vector<infini_tensor>& inputs,
         std::vector<infini_tensor>& outputs) {
  if (function(model.get(), inputs.data(), outputs.data()) != INFINI_OK) {
    fail(infini_model_error(model.get()));
  }
}

void measure(const Model& model, Function function, const std::vector<infini_tensor>& inputs,
             int64_t repeat, const char* what) {
  std::vector<infini_tensor> outputs(static_cast<size_t>(infini_output_count()));
  std::vector<double> times;
  for (int64_t i = 0; i < repeat; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    run(model, function, inputs, outputs);
    const std::chrono::duration<double, std::milli> taken =
        std::chrono::steady_clock::now() - begin;
    times.push_back(taken.count());
  }
  std::sort(times.begin(), times.end());
  std::printf("%s: median %.3f ms, least %.3f ms, most %.3f ms, of %lld calls\n", what,
              times[times.size() / 2], times.front(), times.back(),
              static_cast<long long>(repeat));
}

// Inputs in device memory.
class OnDevice {
 public:
  explicit OnDevice(std::vector<Array>& arrays) : tensors(tensors_of(arrays)) {
    const infini::Stream stream = infini::stream_create();
    for (size_t i = 0; i < arrays.size(); ++i) {
      const size_t bytes = arrays[i].data.size();
      tensors[i].data = infini::device_malloc(bytes > 0 ? bytes : 1);
      if (bytes > 0) {
        infini::copy_to_device(tensors[i].data, arrays[i].data.data(), bytes, stream);
      }
    }
    infini::synchronize(stream);
    infini::stream_destroy(stream);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  ~OnDevice() {
    try {
      for (const infini_tensor& tensor : tensors) infini::device_free(tensor.data);
    } catch (const std::exception&) {
      // The device is gone; there is nothing left to free.
    }
  }

  std::vector<infini_tensor> tensors;
};

void run_model(const Options& options) {
  if (options.list) {
    list_interface();
    return;
  }
  std::vector<Array> arrays = make_inputs(options);
  char error[1024] = "";
  const Model model(
      infini_model_create(options.weights.c_str(), options.device, error, sizeof error));
  if (model == nullptr) fail(error);
  const std::vector<infini_tensor> inputs = tensors_of(arrays);
  std::vector<infini_tensor> outputs(static_cast<size_t>(infini_output_count()));
  run(model, infini_model_run, inputs, outputs);
  show_outputs(outputs, options.output_dir);
  if (options.repeat > 0) {
    const OnDevice device(arrays);
    measure(model, infini_model_run_device, device.tensors, options.repeat, "on the device");
    measure(model, infini_model_run, inputs, options.repeat, "with copies");
  }
}

}  // namespace

int main(int count, char** arguments) {
  try {
    run_model(parse(count, arguments));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "run_model: %s\n", error.what());
    return 1;
  }
}
