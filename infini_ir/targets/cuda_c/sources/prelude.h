// What the kernels are written with: element types, memory, reductions over lanes, arithmetic
// that C++ leaves undefined. vendor.h has what differs between the vendors' compilers.
#pragma once

#include <cmath>
#include <cstdint>

#include "vendor.h"

#define INFINI_DEVICE __device__ __forceinline__
#ifndef INFINI_SIZE_FUNCTION
#define INFINI_SIZE_FUNCTION __host__ __device__ inline
#endif
#include "sizes.h"

// Lanes of a warp: the vendor's, unless the build says otherwise.
#ifdef INFINI_WARP
constexpr int WARP = INFINI_WARP;
#else
constexpr int WARP = VENDOR_WARP;
#endif

#ifndef INFINI_LAUNCH
#define INFINI_LAUNCH(kernel, blocks, threads, stream, ...) \
  kernel<<<blocks, threads, 0, stream>>>(__VA_ARGS__)
#endif

// Blocks of a launch. A grid that no launch can have becomes 0, which the runtime reports.
inline unsigned grid_of(int64_t blocks) {
  return blocks > INT64_C(2147483647) ? 0u : static_cast<unsigned>(blocks);
}

inline stream_t stream_of(void* stream) { return static_cast<stream_t>(stream); }

// Memory. A functional model brings its own, which checks every access.

#ifndef INFINI_CHECKED_MEMORY

// A view's elements in global memory.
template <typename T>
struct Global {
  T* data;
  Global() = default;
  __host__ __device__ explicit Global(void* pointer) : data(static_cast<T*>(pointer)) {}
  INFINI_DEVICE T& operator[](int64_t index) const { return data[index]; }
};

// An array in the shared memory of a block.
template <typename T, int N>
struct alignas(16) Shared {
  T data[N];
  INFINI_DEVICE T& operator[](int index) { return data[index]; }
};

template <typename T, int G>
struct alignas(sizeof(T) * G) Group {
  T element[G];
};

// G neighbours at once; the index is a multiple of G.
template <int G, typename T, int N>
INFINI_DEVICE void read_group(Shared<T, N>& array, int index, T* to) {
  const Group<T, G> group = *reinterpret_cast<const Group<T, G>*>(&array.data[index]);
#pragma unroll
  for (int g = 0; g < G; ++g) to[g] = group.element[g];
}

#endif

// Conversions. A float becomes the nearest integer towards 0.

INFINI_DEVICE float widen(half_t x) { return __half2float(x); }
INFINI_DEVICE float widen(bf16_t x) { return __bfloat162float(x); }

template <typename To, typename From>
struct Conversion {
  static INFINI_DEVICE To of(From x) { return static_cast<To>(x); }
};
template <typename To>
struct Conversion<To, half_t> {
  static INFINI_DEVICE To of(half_t x) { return static_cast<To>(__half2float(x)); }
};
template <typename To>
struct Conversion<To, bf16_t> {
  static INFINI_DEVICE To of(bf16_t x) { return static_cast<To>(__bfloat162float(x)); }
};
template <typename From>
struct Conversion<half_t, From> {
  static INFINI_DEVICE half_t of(From x) { return __float2half(static_cast<float>(x)); }
};
template <typename From>
struct Conversion<bf16_t, From> {
  static INFINI_DEVICE bf16_t of(From x) { return __float2bfloat16(static_cast<float>(x)); }
};
template <>
struct Conversion<half_t, half_t> {
  static INFINI_DEVICE half_t of(half_t x) { return x; }
};
template <>
struct Conversion<bf16_t, bf16_t> {
  static INFINI_DEVICE bf16_t of(bf16_t x) { return x; }
};
template <>
struct Conversion<half_t, bf16_t> {
  static INFINI_DEVICE half_t of(bf16_t x) { return __float2half(__bfloat162float(x)); }
};
template <>
struct Conversion<bf16_t, half_t> {
  static INFINI_DEVICE bf16_t of(half_t x) { return __float2bfloat16(__half2float(x)); }
};

// An element as one of another type.
template <typename To, typename From>
INFINI_DEVICE To convert(From x) {
  return Conversion<To, From>::of(x);
}

// The same bits as another type.
template <typename To, typename From>
INFINI_DEVICE To bit_cast(From x) {
  static_assert(sizeof(To) == sizeof(From), "the sizes differ");
  union Both {
    From from;
    To to;
    INFINI_DEVICE Both() {}
  } both;
  both.from = x;
  return both.to;
}

// Integers

template <typename T>
struct Unsigned;
template <>
struct Unsigned<bool> { using Type = unsigned char; };
template <>
struct Unsigned<int8_t> { using Type = uint8_t; };
template <>
struct Unsigned<int16_t> { using Type = uint16_t; };
template <>
struct Unsigned<int32_t> { using Type = uint32_t; };
template <>
struct Unsigned<int64_t> { using Type = uint64_t; };
template <>
struct Unsigned<uint8_t> { using Type = uint8_t; };
template <>
struct Unsigned<uint16_t> { using Type = uint16_t; };
template <>
struct Unsigned<uint32_t> { using Type = uint32_t; };
template <>
struct Unsigned<uint64_t> { using Type = uint64_t; };

// The bits, read as an unsigned number.
template <typename T>
INFINI_DEVICE typename Unsigned<T>::Type bits(T x) {
  return static_cast<typename Unsigned<T>::Type>(x);
}

template <typename T>
INFINI_DEVICE T wrapping_add(T a, T b) { return static_cast<T>(uint64_t(a) + uint64_t(b)); }
template <typename T>
INFINI_DEVICE T wrapping_sub(T a, T b) { return static_cast<T>(uint64_t(a) - uint64_t(b)); }
template <typename T>
INFINI_DEVICE T wrapping_mul(T a, T b) { return static_cast<T>(uint64_t(a) * uint64_t(b)); }

// Division is 0 by 0.
template <typename T>
INFINI_DEVICE T quotient(T a, T b) {
  if (b == 0) return 0;
  return b == T(-1) ? wrapping_sub<T>(0, a) : static_cast<T>(a / b);
}
template <typename T>
INFINI_DEVICE T remainder_of(T a, T b) {
  return b == 0 || b == T(-1) ? T(0) : static_cast<T>(a % b);
}
template <typename T>
INFINI_DEVICE T unsigned_quotient(T a, T b) {
  return b == 0 ? T(0) : static_cast<T>(bits(a) / bits(b));
}
template <typename T>
INFINI_DEVICE T unsigned_remainder(T a, T b) {
  return b == 0 ? T(0) : static_cast<T>(bits(a) % bits(b));
}
template <typename T>
INFINI_DEVICE T floor_divide(T a, T b) {
  const T q = quotient<T>(a, b);
  return b != 0 && remainder_of<T>(a, b) != 0 && (a < 0) != (b < 0) ? static_cast<T>(q - 1) : q;
}
template <typename T>
INFINI_DEVICE T ceil_divide(T a, T b) {
  const T q = quotient<T>(a, b);
  return b != 0 && remainder_of<T>(a, b) != 0 && (a < 0) == (b < 0) ? static_cast<T>(q + 1) : q;
}

// Shifts by the width or more give 0, or the sign.
template <typename T>
INFINI_DEVICE T shift_left(T a, T b) {
  return bits(b) < 8 * sizeof(T) ? static_cast<T>(uint64_t(bits(a)) << bits(b)) : T(0);
}
template <typename T>
INFINI_DEVICE T unsigned_shift_right(T a, T b) {
  return bits(b) < 8 * sizeof(T) ? static_cast<T>(bits(a) >> bits(b)) : T(0);
}
template <typename T>
INFINI_DEVICE T shift_right(T a, T b) {
  return bits(b) < 8 * sizeof(T) ? static_cast<T>(a >> bits(b)) : static_cast<T>(a < 0 ? -1 : 0);
}

template <typename T>
INFINI_DEVICE T larger_of(T a, T b) { return a > b ? a : b; }
template <typename T>
INFINI_DEVICE T smaller_of(T a, T b) { return a < b ? a : b; }
template <typename T>
INFINI_DEVICE T unsigned_larger(T a, T b) { return bits(a) > bits(b) ? a : b; }
template <typename T>
INFINI_DEVICE T unsigned_smaller(T a, T b) { return bits(a) < bits(b) ? a : b; }
template <typename T>
INFINI_DEVICE T magnitude(T a) { return a < 0 ? wrapping_sub<T>(0, a) : a; }

template <typename T>
INFINI_DEVICE T count_bits(T a) {
  int count = 0;
  for (uint64_t rest = bits(a); rest != 0; rest &= rest - 1) ++count;
  return static_cast<T>(count);
}
template <typename T>
INFINI_DEVICE T leading_zeros(T a) {
  int count = 8 * sizeof(T);
  for (uint64_t rest = bits(a); rest != 0; rest >>= 1) --count;
  return static_cast<T>(count);
}
template <typename T>
INFINI_DEVICE T trailing_zeros(T a) {
  int count = 0;
  for (uint64_t rest = bits(a); count < int(8 * sizeof(T)) && (rest & 1) == 0; rest >>= 1) ++count;
  return static_cast<T>(count);
}

// Positions and extents

// What a capacity leaves of a rest that may be negative.
INFINI_DEVICE int extent_of(int64_t rest, int capacity) {
  return rest < capacity ? (rest < 0 ? 0 : static_cast<int>(rest)) : capacity;
}
INFINI_DEVICE int64_t extent_of(int64_t rest, int64_t capacity) {
  return rest < capacity ? (rest < 0 ? 0 : rest) : capacity;
}
// A position moved inside, for elements that nobody needs.
INFINI_DEVICE int64_t clipped(int64_t position, int64_t size) {
  return position < 0 || size <= 0 ? 0 : position < size ? position : size - 1;
}
INFINI_DEVICE bool is_inside(int64_t position, int64_t size) {
  return position >= 0 && position < size;
}

// Floats

template <typename T>
INFINI_DEVICE T infinity();
template <>
INFINI_DEVICE float infinity<float>() { return __builtin_huge_valf(); }
template <>
INFINI_DEVICE double infinity<double>() { return __builtin_huge_val(); }
template <typename T>
INFINI_DEVICE T not_a_number();
template <>
INFINI_DEVICE float not_a_number<float>() { return __builtin_nanf(""); }
template <>
INFINI_DEVICE double not_a_number<double>() { return __builtin_nan(""); }

// The larger and the smaller of two; NaN wins, unlike with fmax.
INFINI_DEVICE float maximum(float a, float b) { return a > b || a != a ? a : b; }
INFINI_DEVICE double maximum(double a, double b) { return a > b || a != a ? a : b; }
INFINI_DEVICE float minimum(float a, float b) { return a < b || a != a ? a : b; }
INFINI_DEVICE double minimum(double a, double b) { return a < b || a != a ? a : b; }

INFINI_DEVICE float reciprocal_root(float x) { return 1.0f / sqrtf(x); }
INFINI_DEVICE double reciprocal_root(double x) { return 1.0 / sqrt(x); }

INFINI_DEVICE float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
INFINI_DEVICE double multiply_add(double a, double b, double c) { return fma(a, b, c); }
template <typename T>
INFINI_DEVICE T multiply_add(T a, T b, T c) {
  return wrapping_add<T>(wrapping_mul<T>(a, b), c);
}

// Ends of a type's range: neutral elements of max and min.
template <typename T>
INFINI_DEVICE T lowest() {
  return static_cast<T>(T(-1) < T(0) ? T(uint64_t(1) << (8 * sizeof(T) - 1)) : T(0));
}
template <typename T>
INFINI_DEVICE T highest() {
  return static_cast<T>(T(-1) < T(0) ? T((uint64_t(1) << (8 * sizeof(T) - 1)) - 1) : T(-1));
}
template <>
INFINI_DEVICE float lowest<float>() { return -infinity<float>(); }
template <>
INFINI_DEVICE double lowest<double>() { return -infinity<double>(); }
template <>
INFINI_DEVICE float highest<float>() { return infinity<float>(); }
template <>
INFINI_DEVICE double highest<double>() { return infinity<double>(); }

// Reductions

template <typename T>
struct IsFloat { static constexpr bool value = false; };
template <>
struct IsFloat<float> { static constexpr bool value = true; };
template <>
struct IsFloat<double> { static constexpr bool value = true; };

struct Add {
  static INFINI_DEVICE float combine(float a, float b) { return a + b; }
  static INFINI_DEVICE double combine(double a, double b) { return a + b; }
  template <typename T>
  static INFINI_DEVICE T combine(T a, T b) { return wrapping_add<T>(a, b); }
};
struct Mul {
  static INFINI_DEVICE float combine(float a, float b) { return a * b; }
  static INFINI_DEVICE double combine(double a, double b) { return a * b; }
  template <typename T>
  static INFINI_DEVICE T combine(T a, T b) { return wrapping_mul<T>(a, b); }
};
struct Max {
  static INFINI_DEVICE float combine(float a, float b) { return maximum(a, b); }
  static INFINI_DEVICE double combine(double a, double b) { return maximum(a, b); }
  template <typename T>
  static INFINI_DEVICE T combine(T a, T b) { return a > b ? a : b; }
};
struct Min {
  static INFINI_DEVICE float combine(float a, float b) { return minimum(a, b); }
  static INFINI_DEVICE double combine(double a, double b) { return minimum(a, b); }
  template <typename T>
  static INFINI_DEVICE T combine(T a, T b) { return a < b ? a : b; }
};
struct Or {
  static INFINI_DEVICE bool combine(bool a, bool b) { return a || b; }
};
struct And {
  static INFINI_DEVICE bool combine(bool a, bool b) { return a && b; }
};

// The lanes that work together with this one: L neighbours.
template <int L>
INFINI_DEVICE lane_mask_t lanes_of() {
  constexpr lane_mask_t all = ~lane_mask_t(0) >> (8 * sizeof(lane_mask_t) - L);
  return all << (threadIdx.x % WARP / L * L);
}

template <typename T, int Size>
struct Shuffle {
  template <int L>
  static INFINI_DEVICE T exchange(T x, int distance) {
    return static_cast<T>(vendor_shuffle_xor(lanes_of<L>(), static_cast<int>(x), distance));
  }
};
template <>
struct Shuffle<float, 4> {
  template <int L>
  static INFINI_DEVICE float exchange(float x, int distance) {
    return vendor_shuffle_xor(lanes_of<L>(), x, distance);
  }
};
template <typename T>
struct Shuffle<T, 8> {
  template <int L>
  static INFINI_DEVICE T exchange(T x, int distance) {
    const uint64_t whole = bit_cast<uint64_t>(x);
    const int low = vendor_shuffle_xor(lanes_of<L>(), static_cast<int>(whole), distance);
    const int high = vendor_shuffle_xor(lanes_of<L>(), static_cast<int>(whole >> 32), distance);
    return bit_cast<T>(uint64_t(uint32_t(high)) << 32 | uint32_t(low));
  }
};

// The combination of the values of L neighbouring lanes, in all of them.
template <typename F, int L, typename T>
INFINI_DEVICE T reduce_lanes(T x) {
#pragma unroll
  for (int distance = L / 2; distance > 0; distance /= 2) {
    x = F::combine(x, Shuffle<T, sizeof(T)>::template exchange<L>(x, distance));
  }
  return x;
}

// L neighbouring lanes meet; what they wrote before is seen after.
template <int L>
INFINI_DEVICE void meet_lanes() {
  if (L > 1) vendor_meet_lanes(lanes_of<L>());
}
