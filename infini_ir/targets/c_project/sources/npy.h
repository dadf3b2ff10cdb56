// Arrays in .npy files (versions 1 and 2), as numpy reads and writes them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace infini {

struct Array {
  std::string dtype;  // f32, f16, bf16, i8, ui8, i1, ..; of a file that says only a size: "2 bytes"
  std::vector<int64_t> shape;
  std::vector<char> data;
};

// Both throw std::runtime_error, whose text names the file and what is wrong with it.
Array read_npy(const std::string& path);
void write_npy(const std::string& path, const std::string& dtype,
               const std::vector<int64_t>& shape, const void* data, size_t bytes);

// Whether elements of a file may stand for elements of the type that a model wants: types that
// numpy does not know (bf16, f8) are in files as plain bytes or as integers of their size.
bool can_stand_for(const std::string& found, const std::string& wanted);

// How numpy calls a type, for messages.
std::string numpy_name(const std::string& dtype);

}  // namespace infini
