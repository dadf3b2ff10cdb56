// Vector instructions on `count` neighbours.
//
// Sources: the API pages of each call for Atlas A2 (910B): element types, alignment, Compare
// (count of whole repeats of 256 B; int32 only EQ; bits little end first), Select (half and
// float; modes 0 to 2), Cast (table of types and rounding modes), ReduceSum/ReduceMax (work
// space), WholeReduceMax (alignment of the result by order), Gather (offsets in bytes),
// CreateVecIndex, Transpose (one 16x16 tile of 16 bits), Brcb, Duplicate. A count of 0 does
// nothing. max and min: a NaN among the operands gives NaN.
#pragma once

#include <cfenv>
#include <cmath>
#include <limits>

#include "ascend_model/tensor.h"

namespace AscendC {

enum class RoundMode { CAST_NONE = 0, CAST_RINT, CAST_FLOOR, CAST_CEIL, CAST_ROUND, CAST_TRUNC, CAST_ODD };
enum class CMPMODE { LT = 0, GT, EQ, LE, GE, NE };
enum class SELMODE { VSEL_CMPMASK_SPR = 0, VSEL_TENSOR_SCALAR_MODE, VSEL_TENSOR_TENSOR_MODE };
enum class ReduceOrder { ORDER_VALUE_INDEX, ORDER_INDEX_VALUE, ORDER_ONLY_VALUE, ORDER_ONLY_INDEX };

struct BrcbRepeatParams {
    uint16_t dstBlkStride = 1, dstRepStride = 8;
};

template <typename T, typename... Options>
constexpr bool one_of = (std::is_same_v<T, Options> || ...);

template <typename T> constexpr bool arithmetic_type = one_of<T, half, float, int16_t, int32_t>;
template <typename T> constexpr bool float_type = one_of<T, half, float>;
template <typename T> constexpr bool word_type = one_of<T, int16_t, uint16_t>;
template <typename T> constexpr bool shift_type = one_of<T, int16_t, uint16_t, int32_t, uint32_t>;

namespace detail {

template <typename T>
T wide(T value) { return value; }
inline float wide(half value) { return value; }

inline void begin_vector() {
    want_vector_core();
    machine().step(PIPE_V);
}

template <typename T>
void want_ub_tensor(const LocalTensor<T>& tensor) {
    if (tensor.space() != Space::UB)
        fail("vector operands are in UB", "one is in %s", ascend_model::facts(tensor.space()).name);
}

// Operands that overlap must be the same (in place), else the order inside the row matters.
template <typename A, typename B>
void want_apart(const LocalTensor<A>& dst, const LocalTensor<B>& src, size_t count) {
    const size_t to = dst.slot->offset + dst.begin, from = src.slot->offset + src.begin;
    const size_t to_end = to + count * sizeof(A), from_end = from + count * sizeof(B);
    if (to == from && sizeof(A) <= sizeof(B)) return;
    if (to < from_end && from < to_end)
        fail("operands are the same or apart", "bytes %zu to %zu and %zu to %zu", to, to_end, from, from_end);
}

template <typename D, typename S, typename F>
void unary(const char* name, const LocalTensor<D>& dst, const LocalTensor<S>& src, uint32_t count, F f) {
    InCall call(name);
    if (count == 0) return;
    begin_vector();
    want_ub_tensor(dst), want_ub_tensor(src);
    want_apart(dst, src, count);
    const S* from = src.operand(PIPE_V, count, false);
    D* to = dst.operand(PIPE_V, count, true);
    for (uint32_t i = 0; i < count; ++i) to[i] = static_cast<D>(f(from[i]));
}

template <typename T, typename F>
void binary(const char* name, const LocalTensor<T>& dst, const LocalTensor<T>& a, const LocalTensor<T>& b,
            uint32_t count, F f) {
    InCall call(name);
    if (count == 0) return;
    begin_vector();
    want_ub_tensor(dst), want_ub_tensor(a), want_ub_tensor(b);
    want_apart(dst, a, count), want_apart(dst, b, count);
    const T* left = a.operand(PIPE_V, count, false);
    const T* right = b.operand(PIPE_V, count, false);
    T* to = dst.operand(PIPE_V, count, true);
    for (uint32_t i = 0; i < count; ++i) to[i] = static_cast<T>(f(left[i], right[i]));
}

template <typename T> auto add(T a, T b) {
    if constexpr (std::is_integral_v<T>) return static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
    else return static_cast<float>(a) + static_cast<float>(b);
}
template <typename T> auto sub(T a, T b) {
    if constexpr (std::is_integral_v<T>) return static_cast<T>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
    else return static_cast<float>(a) - static_cast<float>(b);
}
template <typename T> auto mul(T a, T b) {
    if constexpr (std::is_integral_v<T>) return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
    else return static_cast<float>(a) * static_cast<float>(b);
}
template <typename T> auto larger(T a, T b) {
    if constexpr (std::is_integral_v<T>) return a < b ? b : a;
    else {
        const float x = a, y = b;
        return std::isnan(x) || std::isnan(y) ? std::numeric_limits<float>::quiet_NaN() : (x < y ? y : x);
    }
}
template <typename T> auto smaller(T a, T b) {
    if constexpr (std::is_integral_v<T>) return b < a ? b : a;
    else {
        const float x = a, y = b;
        return std::isnan(x) || std::isnan(y) ? std::numeric_limits<float>::quiet_NaN() : (y < x ? y : x);
    }
}

}  // namespace detail

// ---- element by element

#define ASCEND_MODEL_BINARY(name, allowed, expression)                                                      \
    template <typename T>                                                                                   \
    inline void name(const LocalTensor<T>& dst, const LocalTensor<T>& src0, const LocalTensor<T>& src1,     \
                     int32_t count) {                                                                       \
        static_assert(allowed<T>, #name " does not know the element type");                                 \
        detail::binary(#name, dst, src0, src1, static_cast<uint32_t>(count), [](T a, T b) { return expression; }); \
    }

ASCEND_MODEL_BINARY(Add, arithmetic_type, detail::add(a, b))
ASCEND_MODEL_BINARY(Sub, arithmetic_type, detail::sub(a, b))
ASCEND_MODEL_BINARY(Mul, arithmetic_type, detail::mul(a, b))
ASCEND_MODEL_BINARY(Max, arithmetic_type, detail::larger(a, b))
ASCEND_MODEL_BINARY(Min, arithmetic_type, detail::smaller(a, b))
ASCEND_MODEL_BINARY(Div, float_type, static_cast<float>(a) / static_cast<float>(b))
ASCEND_MODEL_BINARY(And, word_type, a & b)
ASCEND_MODEL_BINARY(Or, word_type, a | b)
#undef ASCEND_MODEL_BINARY

// dst = src0 * src1 + dst, rounded once for each of the two.
template <typename T>
inline void MulAddDst(const LocalTensor<T>& dst, const LocalTensor<T>& src0, const LocalTensor<T>& src1, int32_t count) {
    static_assert(float_type<T>, "MulAddDst does not know the element type");
    InCall call("MulAddDst");
    if (count == 0) return;
    detail::begin_vector();
    const T* a = src0.operand(PIPE_V, count, false);
    const T* b = src1.operand(PIPE_V, count, false);
    dst.operand(PIPE_V, count, false);
    T* to = dst.operand(PIPE_V, count, true);
    for (int i = 0; i < count; ++i) to[i] = T(std::fma(float(a[i]), float(b[i]), float(to[i])));
}

#define ASCEND_MODEL_UNARY(name, allowed, expression)                                             \
    template <typename T>                                                                         \
    inline void name(const LocalTensor<T>& dst, const LocalTensor<T>& src, int32_t count) {       \
        static_assert(allowed<T>, #name " does not know the element type");                       \
        detail::unary(#name, dst, src, static_cast<uint32_t>(count), [](T value) {                \
            [[maybe_unused]] const auto x = detail::wide(value);                                  \
            return expression;                                                                    \
        });                                                                                       \
    }

template <typename T> constexpr bool relu_type = one_of<T, half, float, int32_t>;

ASCEND_MODEL_UNARY(Exp, float_type, static_cast<float>(std::exp(double(x))))
ASCEND_MODEL_UNARY(Ln, float_type, static_cast<float>(std::log(double(x))))
ASCEND_MODEL_UNARY(Abs, float_type, std::fabs(x))
ASCEND_MODEL_UNARY(Sqrt, float_type, std::sqrt(x))
ASCEND_MODEL_UNARY(Rsqrt, float_type, 1.0f / std::sqrt(x))
ASCEND_MODEL_UNARY(Reciprocal, float_type, 1.0f / x)
ASCEND_MODEL_UNARY(Relu, relu_type, x < 0 ? decltype(+x)(0) : x)
ASCEND_MODEL_UNARY(Not, word_type, ~x)
#undef ASCEND_MODEL_UNARY

#define ASCEND_MODEL_SCALAR(name, allowed, expression)                                                        \
    template <typename T>                                                                                     \
    inline void name(const LocalTensor<T>& dst, const LocalTensor<T>& src, const std::common_type_t<T>& scalar, \
                     int32_t count) {                                                                         \
        static_assert(allowed<T>, #name " does not know the element type");                                   \
        const T b = scalar;                                                                                   \
        detail::unary(#name, dst, src, static_cast<uint32_t>(count), [b](T a) { return expression; });        \
    }

ASCEND_MODEL_SCALAR(Adds, arithmetic_type, detail::add(a, b))
ASCEND_MODEL_SCALAR(Muls, arithmetic_type, detail::mul(a, b))
ASCEND_MODEL_SCALAR(Maxs, arithmetic_type, detail::larger(a, b))
ASCEND_MODEL_SCALAR(Mins, arithmetic_type, detail::smaller(a, b))
ASCEND_MODEL_SCALAR(ShiftLeft, shift_type, static_cast<std::make_unsigned_t<T>>(a) << b)
ASCEND_MODEL_SCALAR(ShiftRight, shift_type, a >> b)
#undef ASCEND_MODEL_SCALAR

template <typename T>
inline void Duplicate(const LocalTensor<T>& dst, const std::common_type_t<T>& scalar, int32_t count) {
    static_assert(one_of<T, half, bfloat16_t, float, int16_t, uint16_t, int32_t, uint32_t>,
                  "Duplicate does not know the element type");
    InCall call("Duplicate");
    if (count == 0) return;
    detail::begin_vector();
    detail::want_ub_tensor(dst);
    T* to = dst.operand(PIPE_V, count, true);
    for (int32_t i = 0; i < count; ++i) to[i] = scalar;
}

template <typename T>
inline void CreateVecIndex(LocalTensor<T> dst, const std::common_type_t<T>& first, uint32_t count) {
    static_assert(one_of<T, half, float, int16_t, int32_t>, "CreateVecIndex does not know the element type");
    InCall call("CreateVecIndex");
    if (count == 0) return;
    detail::begin_vector();
    T* to = dst.operand(PIPE_V, count, true);
    for (uint32_t i = 0; i < count; ++i) to[i] = static_cast<T>(first + static_cast<decltype(first + 0)>(i));
}

// ---- conversions

namespace detail {

inline double rounded(double x, RoundMode mode) {
    switch (mode) {
        case RoundMode::CAST_FLOOR: return std::floor(x);
        case RoundMode::CAST_CEIL: return std::ceil(x);
        case RoundMode::CAST_ROUND: return std::round(x);
        case RoundMode::CAST_TRUNC: return std::trunc(x);
        default: return std::nearbyint(x);
    }
}

template <typename D>
D saturated(double x) {
    if (std::isnan(x)) return 0;
    const double low = static_cast<double>(std::numeric_limits<D>::min());
    const double high = static_cast<double>(std::numeric_limits<D>::max());
    if (x <= low) return std::numeric_limits<D>::min();
    if (x >= high) return std::numeric_limits<D>::max();
    return static_cast<D>(x);
}

constexpr unsigned bit(RoundMode mode) { return 1u << static_cast<int>(mode); }
constexpr unsigned kNone = bit(RoundMode::CAST_NONE);
constexpr unsigned kFive = bit(RoundMode::CAST_RINT) | bit(RoundMode::CAST_FLOOR) | bit(RoundMode::CAST_CEIL) |
                           bit(RoundMode::CAST_ROUND) | bit(RoundMode::CAST_TRUNC);

template <typename D, typename S>
constexpr unsigned modes() {
    if constexpr (one_of<S, int8_t, uint8_t> && std::is_same_v<D, half>) return kNone;
    else if constexpr (std::is_same_v<S, int16_t> && std::is_same_v<D, half>) return kFive | kNone;
    else if constexpr (std::is_same_v<S, int16_t> && std::is_same_v<D, float>) return kNone;
    else if constexpr (std::is_same_v<S, half> && one_of<D, int8_t, uint8_t>) return kFive | kNone;
    else if constexpr (std::is_same_v<S, half> && one_of<D, int16_t, int32_t>) return kFive;
    else if constexpr (std::is_same_v<S, half> && std::is_same_v<D, float>) return kNone;
    else if constexpr (std::is_same_v<S, bfloat16_t> && std::is_same_v<D, int32_t>) return kFive;
    else if constexpr (std::is_same_v<S, bfloat16_t> && std::is_same_v<D, float>) return kNone;
    else if constexpr (std::is_same_v<S, int32_t> && std::is_same_v<D, int16_t>) return kNone;
    else if constexpr (std::is_same_v<S, int32_t> && std::is_same_v<D, float>) return kFive | kNone;
    else if constexpr (std::is_same_v<S, int32_t> && std::is_same_v<D, int64_t>) return kNone;
    else if constexpr (std::is_same_v<S, float> && one_of<D, int16_t, bfloat16_t, int32_t, float, int64_t>) return kFive;
    else if constexpr (std::is_same_v<S, float> && std::is_same_v<D, half>) return kFive | kNone | bit(RoundMode::CAST_ODD);
    else if constexpr (std::is_same_v<S, int64_t> && std::is_same_v<D, int32_t>) return kNone;
    else if constexpr (std::is_same_v<S, int64_t> && std::is_same_v<D, float>) return kFive;
    else return 0;
}

}  // namespace detail

template <typename D, typename S>
inline void Cast(const LocalTensor<D>& dst, const LocalTensor<S>& src, const RoundMode& mode, uint32_t count) {
    static_assert(detail::modes<D, S>() != 0, "Cast does not know this pair of types");
    InCall call("Cast");
    if (!(detail::modes<D, S>() & detail::bit(mode)))
        fail("Cast rounds as its table says", "mode %d is not for these types", static_cast<int>(mode));
    detail::unary("Cast", dst, src, count, [mode](S value) -> D {
        if constexpr (std::is_same_v<D, S>) return static_cast<D>(detail::rounded(value, mode));
        else if constexpr (one_of<D, half, bfloat16_t>) {
            if (mode != RoundMode::CAST_RINT && mode != RoundMode::CAST_NONE && !std::is_integral_v<S>)
                fail("the model rounds to nearest even", "mode %d to a float type is not modelled", static_cast<int>(mode));
            return D(static_cast<float>(value));
        } else if constexpr (std::is_integral_v<S> && std::is_integral_v<D>) {
            const int64_t wide = value;
            return detail::saturated<D>(static_cast<double>(wide)) == static_cast<D>(wide)
                       ? static_cast<D>(wide)
                       : (wide < 0 ? std::numeric_limits<D>::min() : std::numeric_limits<D>::max());
        } else if constexpr (std::is_integral_v<D>) {
            return detail::saturated<D>(detail::rounded(static_cast<double>(static_cast<float>(value)), mode));
        } else return static_cast<D>(value);
    });
}

// ---- masks of bits

namespace detail {

template <typename T>
bool compare(T a, T b, CMPMODE mode) {
    switch (mode) {
        case CMPMODE::LT: return a < b;
        case CMPMODE::GT: return a > b;
        case CMPMODE::EQ: return a == b;
        case CMPMODE::LE: return a <= b;
        case CMPMODE::GE: return a >= b;
        default: return a != b;
    }
}

template <typename T>
void want_compare(CMPMODE mode, uint32_t count) {
    static_assert(one_of<T, half, float, int32_t>, "Compare does not know the element type");
    if (std::is_same_v<T, int32_t> && mode != CMPMODE::EQ)
        fail("Compare of int32 knows only EQ", "mode %d", static_cast<int>(mode));
    if (count * sizeof(T) % 256)
        fail("Compare takes whole repeats of 256 B", "%u elements of %zu B", count, sizeof(T));
}

// Compares run over whole repeats: lanes after the tensor's size are read, too, and their bits
// say nothing; here they alternate.
template <typename T>
uint32_t lanes_of(const LocalTensor<T>& tensor, uint32_t count) {
    tensor.unchecked(count);
    return std::min<uint32_t>(count, tensor.GetSize());
}

inline void put_bit(uint8_t* to, uint32_t i, bool value) {
    const uint8_t mask = static_cast<uint8_t>(1u << (i % 8));
    to[i / 8] = static_cast<uint8_t>(value ? to[i / 8] | mask : to[i / 8] & ~mask);
}

}  // namespace detail

template <typename T, typename U>
inline void Compare(const LocalTensor<U>& dst, const LocalTensor<T>& src0, const LocalTensor<T>& src1, CMPMODE mode,
                    uint32_t count) {
    static_assert(one_of<U, uint8_t, int8_t>, "Compare gives bits in bytes");
    InCall call("Compare");
    if (count == 0) return;
    detail::want_compare<T>(mode, count);
    detail::begin_vector();
    const uint32_t lanes = std::min(detail::lanes_of(src0, count), detail::lanes_of(src1, count));
    const T* a = src0.operand(PIPE_V, lanes, false);
    const T* b = src1.operand(PIPE_V, lanes, false);
    uint8_t* to = reinterpret_cast<uint8_t*>(dst.operand(PIPE_V, count / 8, true));
    for (uint32_t i = 0; i < count; ++i)
        detail::put_bit(to, i, i < lanes ? detail::compare(detail::wide(a[i]), detail::wide(b[i]), mode) : i % 2);
}

template <typename T, typename U>
inline void CompareScalar(const LocalTensor<U>& dst, const LocalTensor<T>& src, const std::common_type_t<T> scalar,
                          CMPMODE mode, uint32_t count) {
    static_assert(one_of<U, uint8_t, int8_t>, "CompareScalar gives bits in bytes");
    InCall call("CompareScalar");
    if (count == 0) return;
    detail::want_compare<T>(mode, count);
    detail::begin_vector();
    const uint32_t lanes = detail::lanes_of(src, count);
    const T* a = src.operand(PIPE_V, lanes, false);
    const T b = scalar;
    uint8_t* to = reinterpret_cast<uint8_t*>(dst.operand(PIPE_V, count / 8, true));
    for (uint32_t i = 0; i < count; ++i)
        detail::put_bit(to, i, i < lanes ? detail::compare(detail::wide(a[i]), detail::wide(b), mode) : i % 2);
}

namespace detail {

template <typename T, typename U, typename F>
void select(const LocalTensor<T>& dst, const LocalTensor<U>& mask, const LocalTensor<T>& src0, uint32_t count, F other) {
    static_assert(float_type<T>, "Select does not know the element type");
    const uint8_t* bits = reinterpret_cast<const uint8_t*>(
        mask.template ReinterpretCast<uint8_t>().operand(PIPE_V, (count + 7) / 8, false));
    const T* a = src0.operand(PIPE_V, count, false);
    T* to = dst.operand(PIPE_V, count, true);
    using Bits = std::conditional_t<sizeof(T) == 2, uint16_t, uint32_t>;
    for (uint32_t i = 0; i < count; ++i) {
        const T chosen = (bits[i / 8] >> (i % 8)) & 1 ? a[i] : other(i);
        std::memcpy(to + i, &chosen, sizeof(Bits));
    }
}

}  // namespace detail

template <typename T, typename U>
inline void Select(const LocalTensor<T>& dst, const LocalTensor<U>& mask, const LocalTensor<T>& src0,
                   const LocalTensor<T>& src1, SELMODE mode, uint32_t count) {
    InCall call("Select");
    if (count == 0) return;
    if (mode != SELMODE::VSEL_TENSOR_TENSOR_MODE) fail("Select of two tensors is mode 2", "mode %d", static_cast<int>(mode));
    detail::begin_vector();
    const T* b = src1.operand(PIPE_V, count, false);
    detail::select(dst, mask, src0, count, [b](uint32_t i) { return b[i]; });
}

template <typename T, typename U>
inline void Select(const LocalTensor<T>& dst, const LocalTensor<U>& mask, const LocalTensor<T>& src0,
                   std::common_type_t<T> src1, SELMODE mode, uint32_t count) {
    InCall call("Select");
    if (count == 0) return;
    if (mode != SELMODE::VSEL_TENSOR_SCALAR_MODE) fail("Select of a scalar is mode 1", "mode %d", static_cast<int>(mode));
    detail::begin_vector();
    const T b = src1;
    detail::select(dst, mask, src0, count, [b](uint32_t) { return b; });
}

// ---- reductions

namespace detail {

template <typename T>
void want_work(const LocalTensor<T>& work, int32_t count, int factor) {
    const int32_t repeats = (count * static_cast<int32_t>(sizeof(T)) + 255) / 256;
    const int32_t block = 32 / static_cast<int32_t>(sizeof(T));
    const int32_t wanted = (repeats * factor + block - 1) / block * block;
    work.operand(PIPE_V, wanted, true);
}

template <typename T, typename F>
void reduce(const char* name, const LocalTensor<T>& dst, const LocalTensor<T>& src, const LocalTensor<T>& work,
            int32_t count, int factor, size_t alignment, F f) {
    static_assert(float_type<T>, "reductions are of half and float");
    InCall call(name);
    if (count == 0) return;
    begin_vector();
    const T* from = src.operand(PIPE_V, count, false);
    float result = from[0];
    for (int32_t i = 1; i < count; ++i) result = f(result, static_cast<float>(from[i]));
    want_work(work, count, factor);
    *dst.operand(PIPE_V, 1, true, alignment) = T(result);
}

}  // namespace detail

template <typename T>
inline void ReduceSum(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LocalTensor<T>& work, int32_t count) {
    InCall call("ReduceSum");
    static_assert(float_type<T>, "reductions are of half and float");
    if (count == 0) return;
    detail::begin_vector();
    const T* from = src.operand(PIPE_V, count, false);
    float result = 0;
    for (int32_t i = 0; i < count; ++i) result += static_cast<float>(from[i]);
    detail::want_work(work, count, 1);
    *dst.operand(PIPE_V, 1, true, sizeof(T)) = T(result);
}

template <typename T>
inline void ReduceMax(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LocalTensor<T>& work, int32_t count,
                      bool index = false) {
    if (index) fail("the model reduces to values", "calIndex is not modelled");
    detail::reduce("ReduceMax", dst, src, work, count, 2, 2 * sizeof(T),
                   [](float a, float b) { return detail::larger(a, b); });
}

template <typename T>
inline void ReduceMin(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LocalTensor<T>& work, int32_t count,
                      bool index = false) {
    if (index) fail("the model reduces to values", "calIndex is not modelled");
    detail::reduce("ReduceMin", dst, src, work, count, 2, 2 * sizeof(T),
                   [](float a, float b) { return detail::smaller(a, b); });
}

namespace detail {

template <typename T, typename F>
void whole_reduce(const char* name, const LocalTensor<T>& dst, const LocalTensor<T>& src, int32_t mask,
                  int32_t repeats, int32_t to_stride, int32_t block_stride, int32_t from_stride, ReduceOrder order, F f) {
    static_assert(float_type<T>, "reductions are of half and float");
    InCall call(name);
    if (mask == 0 || repeats == 0) return;
    const int32_t lanes = 256 / static_cast<int32_t>(sizeof(T));
    if (mask < 0 || mask > lanes) fail("a repeat has 256 B", "mask %d of %d lanes", mask, lanes);
    if (repeats > 255) fail("at most 255 repeats", "%d", repeats);
    if (block_stride != 1) fail("the model takes neighbouring blocks", "block stride %d", block_stride);
    if (order != ReduceOrder::ORDER_ONLY_VALUE) fail("the model reduces to values", "another order");
    begin_vector();
    const int32_t pitch = from_stride * 32 / static_cast<int32_t>(sizeof(T));
    for (int32_t r = 0; r < repeats; ++r) {
        const T* from = src[static_cast<size_t>(r) * pitch].operand(PIPE_V, mask, false);
        float result = from[0];
        for (int32_t i = 1; i < mask; ++i) result = f(result, static_cast<float>(from[i]));
        *dst[static_cast<size_t>(r) * to_stride].operand(PIPE_V, 1, true, sizeof(T)) = T(result);
    }
}

}  // namespace detail

template <typename T>
inline void WholeReduceMax(const LocalTensor<T>& dst, const LocalTensor<T>& src, int32_t mask, int32_t repeats,
                           int32_t dstRepStride, int32_t srcBlkStride, int32_t srcRepStride,
                           ReduceOrder order = ReduceOrder::ORDER_VALUE_INDEX) {
    detail::whole_reduce("WholeReduceMax", dst, src, mask, repeats, dstRepStride, srcBlkStride, srcRepStride, order,
                         [](float a, float b) { return detail::larger(a, b); });
}

template <typename T>
inline void WholeReduceMin(const LocalTensor<T>& dst, const LocalTensor<T>& src, int32_t mask, int32_t repeats,
                           int32_t dstRepStride, int32_t srcBlkStride, int32_t srcRepStride,
                           ReduceOrder order = ReduceOrder::ORDER_VALUE_INDEX) {
    detail::whole_reduce("WholeReduceMin", dst, src, mask, repeats, dstRepStride, srcBlkStride, srcRepStride, order,
                         [](float a, float b) { return detail::smaller(a, b); });
}

template <typename T>
inline void WholeReduceSum(const LocalTensor<T>& dst, const LocalTensor<T>& src, int32_t mask, int32_t repeats,
                           int32_t dstRepStride, int32_t srcBlkStride, int32_t srcRepStride) {
    detail::whole_reduce("WholeReduceSum", dst, src, mask, repeats, dstRepStride, srcBlkStride, srcRepStride,
                         ReduceOrder::ORDER_ONLY_VALUE, [](float a, float b) { return a + b; });
}

// ---- moving elements

// dst[i] is the element at `base + offset[i]` bytes of src.
template <typename T>
inline void Gather(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LocalTensor<uint32_t>& offset,
                   uint32_t base, uint32_t count) {
    static_assert(sizeof(T) == 2 || sizeof(T) == 4, "Gather is of 16 and 32 bits");
    InCall call("Gather");
    if (count == 0) return;
    detail::begin_vector();
    const uint32_t* where = offset.operand(PIPE_V, count, false);
    T* to = dst.operand(PIPE_V, count, true);
    for (uint32_t i = 0; i < count; ++i) {
        const uint32_t at = base + where[i];
        if (at % sizeof(T)) fail("Gather's offsets are of whole elements", "offset %u of lane %u", at, i);
        to[i] = *src.access(PIPE_V, at / sizeof(T), 1, false);
    }
}

template <typename T>
inline void Transpose(const LocalTensor<T>& dst, const LocalTensor<T>& src) {
    static_assert(one_of<T, half, int16_t, uint16_t>, "Transpose is of 16 bits");
    InCall call("Transpose");
    detail::begin_vector();
    const T* from = src.operand(PIPE_V, 256, false);
    T* to = dst.operand(PIPE_V, 256, true);
    T copy[256];
    std::memcpy(copy, from, sizeof(copy));
    for (int i = 0; i < 16; ++i)
        for (int j = 0; j < 16; ++j) to[j * 16 + i] = copy[i * 16 + j];
}

// Each of 8 elements a repeat fills one block of 32 B.
template <typename T>
inline void Brcb(const LocalTensor<T>& dst, const LocalTensor<T>& src, uint8_t repeats, const BrcbRepeatParams& params) {
    static_assert(sizeof(T) == 2 || sizeof(T) == 4, "Brcb is of 16 and 32 bits");
    InCall call("Brcb");
    detail::begin_vector();
    constexpr size_t block = 32 / sizeof(T);
    for (int r = 0; r < repeats; ++r) {
        const T* from = src[static_cast<size_t>(r) * 8].access(PIPE_V, 0, 8, false);
        for (int i = 0; i < 8; ++i) {
            const size_t at = (static_cast<size_t>(r) * params.dstRepStride + static_cast<size_t>(i) * params.dstBlkStride) * block;
            T* to = dst[at].operand(PIPE_V, block, true);
            for (size_t lane = 0; lane < block; ++lane) to[lane] = from[i];
        }
    }
}

}  // namespace AscendC
