#include "npy.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>

namespace infini {

namespace {

struct Type {
  const char* name;
  const char* numpy;
  const char* code;  // in a file's header, without the byte order
  size_t size;
};

// The types that numpy has; all others are written as plain bytes, V1 or V2.
const Type types[] = {
    {"i1", "bool", "b1", 1},     {"i8", "int8", "i1", 1},     {"i16", "int16", "i2", 2},
    {"i32", "int32", "i4", 4},   {"i64", "int64", "i8", 8},   {"ui8", "uint8", "u1", 1},
    {"ui16", "uint16", "u2", 2}, {"ui32", "uint32", "u4", 4}, {"ui64", "uint64", "u8", 8},
    {"f16", "float16", "f2", 2}, {"f32", "float32", "f4", 4}, {"f64", "float64", "f8", 8},
};

using Handle = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

[[noreturn]] void fail(const std::string& path, const std::string& reason) {
  throw std::runtime_error("'" + path + "': " + reason);
}

Handle open_file(const std::string& path, const char* mode) {
  Handle file(std::fopen(path.c_str(), mode), std::fclose);
  if (file == nullptr) fail(path, std::strerror(errno));
  return file;
}

// The value that follows a key in the header's dictionary, from its first character.
size_t find_value(const std::string& path, const std::string& header, const char* key) {
  const size_t at = header.find("'" + std::string(key) + "'");
  const size_t colon = at == std::string::npos ? at : header.find(':', at);
  const size_t value =
      colon == std::string::npos ? colon : header.find_first_not_of(' ', colon + 1);
  if (value == std::string::npos) fail(path, std::string("its header has no '") + key + "'");
  return value;
}

std::string read_dtype(const std::string& path, const std::string& header, size_t& size) {
  const size_t begin = find_value(path, header, "descr");
  const size_t end = header.find('\'', begin + 1);
  if (header[begin] != '\'' || end == std::string::npos || end < begin + 4) {
    fail(path, "it holds records or objects, not numbers");
  }
  const char order = header[begin + 1];
  const std::string code = header.substr(begin + 2, end - begin - 2);
  for (const Type& type : types) {
    if (code != type.code) continue;
    if (order == '>' && type.size > 1) {
      fail(path, std::string("it is big-endian; convert it with .astype('") + type.numpy + "')");
    }
    size = type.size;
    return type.name;
  }
  if (code == "V1" || code == "V2" || code == "f1") {  // f1: how numpy writes some f8
    size = static_cast<size_t>(code[1] - '0');
    return size == 1 ? "1 byte" : "2 bytes";
  }
  fail(path, "it holds elements of type '" + code + "', which no model takes");
}

std::vector<int64_t> read_shape(const std::string& path, const std::string& header) {
  size_t at = find_value(path, header, "shape") + 1;
  const size_t end = header.find(')', at);
  std::vector<int64_t> shape;
  if (header[at - 1] != '(' || end == std::string::npos) fail(path, "its header has no shape");
  while (at < end) {
    const size_t digits = header.find_first_of("0123456789", at);
    if (digits >= end) break;
    int64_t size = 0;
    for (at = digits; at < end && header[at] >= '0' && header[at] <= '9'; ++at) {
      if (size > (INT64_MAX - 9) / 10) fail(path, "its shape is too large");
      size = 10 * size + (header[at] - '0');
    }
    shape.push_back(size);
  }
  return shape;
}

std::string read_header(const std::string& path, std::FILE* file) {
  unsigned char start[8];
  if (std::fread(start, 1, 8, file) != 8 || std::memcmp(start, "\x93NUMPY", 6) != 0) {
    fail(path, "it is no .npy file");
  }
  const size_t count = start[6] == 1 ? 2 : 4;
  unsigned char length[4] = {};
  if (std::fread(length, 1, count, file) != count) fail(path, "it is cut short");
  size_t size = 0;
  for (size_t i = 0; i < count; ++i) size |= size_t{length[i]} << (8 * i);
  if (size > (size_t{1} << 20)) fail(path, "its header is too long");
  std::string header(size, '\0');
  if (std::fread(&header[0], 1, size, file) != size) fail(path, "it is cut short");
  return header;
}

}  // namespace

Array read_npy(const std::string& path) {
  const Handle file = open_file(path, "rb");
  const std::string header = read_header(path, file.get());
  Array array;
  size_t bytes = 0;
  array.dtype = read_dtype(path, header, bytes);
  array.shape = read_shape(path, header);
  const bool fortran = header.compare(find_value(path, header, "fortran_order"), 4, "True") == 0;
  if (fortran && array.shape.size() > 1) {
    fail(path, "it is in Fortran order; save it with numpy.ascontiguousarray");
  }
  for (const int64_t size : array.shape) {
    if (__builtin_mul_overflow(bytes, static_cast<size_t>(size), &bytes)) {
      fail(path, "its shape is too large");
    }
  }
  const long begin = std::ftell(file.get());
  std::fseek(file.get(), 0, SEEK_END);
  if (begin < 0 || bytes > static_cast<size_t>(std::ftell(file.get()) - begin)) {
    fail(path, "it is cut short");
  }
  std::fseek(file.get(), begin, SEEK_SET);
  array.data.resize(bytes);
  if (std::fread(array.data.data(), 1, bytes, file.get()) != bytes) fail(path, "it is cut short");
  return array;
}

void write_npy(const std::string& path, const std::string& dtype,
               const std::vector<int64_t>& shape, const void* data, size_t bytes) {
  std::string code = dtype == "bf16" ? "|V2" : "|V1";
  for (const Type& type : types) {
    if (dtype == type.name) code = (type.size > 1 ? "<" : "|") + std::string(type.code);
  }
  std::string header = "{'descr': '" + code + "', 'fortran_order': False, 'shape': (";
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    header += (axis > 0 ? " " : "") + std::to_string(shape[axis]) + ",";
  }
  header += "), }";
  header.append(63 - (10 + header.size()) % 64, ' ');  // the data begins at a multiple of 64
  header += '\n';
  const unsigned char start[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0,
                                   static_cast<unsigned char>(header.size() & 255),
                                   static_cast<unsigned char>(header.size() >> 8)};
  Handle file = open_file(path, "wb");
  const bool written = std::fwrite(start, 1, 10, file.get()) == 10 &&
                       std::fwrite(header.data(), 1, header.size(), file.get()) == header.size() &&
                       std::fwrite(data, 1, bytes, file.get()) == bytes;
  if (!written || std::fclose(file.release()) != 0) fail(path, std::strerror(errno));
}

bool can_stand_for(const std::string& found, const std::string& wanted) {
  if (found == wanted) return true;
  for (const Type& type : types) {
    if (wanted == type.name) return false;
  }
  if (wanted == "bf16") return found == "2 bytes" || found == "ui16" || found == "i16";
  return found == "1 byte" || found == "ui8" || found == "i8";
}

std::string numpy_name(const std::string& dtype) {
  for (const Type& type : types) {
    if (dtype == type.name) return type.numpy;
  }
  return dtype == "bf16" ? "bfloat16" : dtype;
}

}  // namespace infini
