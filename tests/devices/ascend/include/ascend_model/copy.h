// Copies between global memory and on-chip memory, and atomic writes.
//
// Sources: API pages DataCopy, DataCopyPad (blockCount 1 to 4095, blockLen in bytes up to
// 2097151; the stride of global memory is the gap in bytes, that of UB the gap in blocks of 32 B;
// each block begins at a multiple of 32 B in UB; padding of at most 32 B), DataCopy with
// Nd2NzParams, Fixpipe (NZ to ND; F322F16 and F322BF16 round to nearest even), SetAtomicAdd,
// SetAtomicMax, SetAtomicMin, SetAtomicNone.
#pragma once

#include "ascend_model/tensor.h"

namespace AscendC {

// Parameters take the vendor's types: a list in braces that narrows does not compile.
struct DataCopyParams {
    uint16_t blockCount = 1, blockLen = 0, srcGap = 0, dstGap = 0;
};

struct DataCopyExtParams {
    uint16_t blockCount;
    uint32_t blockLen, srcStride, dstStride, rsv;
    DataCopyExtParams(uint16_t count, uint32_t length, uint32_t source, uint32_t destination, uint32_t reserved)
        : blockCount(count), blockLen(length), srcStride(source),
          dstStride(destination), rsv(reserved) {
        if (count < 1 || count > 4095) fail("blockCount is 1 to 4095", "%u given", count);
        if (length < 1 || length > 2097151) fail("blockLen is 1 to 2097151 bytes", "%u given", length);
    }
};

template <typename T>
struct DataCopyPadExtParams {
    bool isPad;
    uint8_t leftPadding, rightPadding;
    T paddingValue;
    DataCopyPadExtParams(bool pad, uint8_t left, uint8_t right, T value)
        : isPad(pad), leftPadding(left), rightPadding(right), paddingValue(value) {
        if ((left + right) * sizeof(T) > 32) fail("padding is at most 32 B", "%d elements", left + right);
    }
};

template <typename T>
constexpr bool copied_type = std::is_same_v<T, half> || std::is_same_v<T, bfloat16_t> || std::is_same_v<T, float> ||
                             std::is_same_v<T, double> || std::is_integral_v<T>;

inline void want_ub(Space space) {
    if (space != Space::UB) fail("this copy is of UB", "the tensor is in %s", ascend_model::facts(space).name);
}

template <typename T>
inline void DataCopyPad(const LocalTensor<T>& dst, const GlobalTensor<T>& src, const DataCopyExtParams& params,
                        const DataCopyPadExtParams<T>& padding) {
    static_assert(copied_type<T>, "DataCopyPad does not know the type");
    InCall call("DataCopyPad");
    want_vector_core();
    want_ub(dst.space());
    machine().step(PIPE_MTE2);
    const size_t left = padding.isPad ? padding.leftPadding * sizeof(T) : 0;
    const size_t right = padding.isPad ? padding.rightPadding * sizeof(T) : 0;
    const size_t filled = (left + params.blockLen + right + 31) / 32 * 32;
    const size_t pitch = filled + size_t{params.dstStride} * 32;
    const size_t whole = (params.blockCount - 1) * pitch + filled;
    auto bytes = dst.template ReinterpretCast<uint8_t>();
    for (int i = 0; i < params.blockCount; ++i) {
        uint8_t* to = bytes[i * pitch].operand(PIPE_MTE2, filled, true);
        const int64_t offset = static_cast<int64_t>(i) * (params.blockLen + int64_t{params.srcStride});
        if (offset % static_cast<int64_t>(sizeof(T)))
            fail("strides are whole elements", "block %d begins at byte %lld", i, static_cast<long long>(offset));
        const uint8_t* from = src.access(PIPE_MTE2, offset / static_cast<int64_t>(sizeof(T)), params.blockLen, false);
        std::memset(to, 0xcd, filled);
        for (size_t at = 0; at < left; at += sizeof(T)) std::memcpy(to + at, &padding.paddingValue, sizeof(T));
        std::memcpy(to + left, from, params.blockLen);
        for (size_t at = 0; at < right; at += sizeof(T))
            std::memcpy(to + left + params.blockLen + at, &padding.paddingValue, sizeof(T));
    }
    (void)whole;
}

namespace detail {

template <typename T>
inline void meet(uint8_t* to, const uint8_t* from) {
    using ascend_model::Atomic;
    const Atomic atomic = machine().atomic;
    if constexpr (std::is_same_v<T, double> || std::is_same_v<T, bool> || sizeof(T) == 8 || std::is_unsigned_v<T>) {
        if (atomic != Atomic::none) fail("atomic copies are of half, bfloat16, float, int8, int16 or int32", "another type");
        std::memcpy(to, from, sizeof(T));
    } else {
        T held, given;
        std::memcpy(&held, to, sizeof(T));
        std::memcpy(&given, from, sizeof(T));
        if (atomic == Atomic::add) held = static_cast<T>(held + given);
        else if (atomic == Atomic::max) held = held < given ? given : held;
        else if (atomic == Atomic::min) held = given < held ? given : held;
        else held = given;
        std::memcpy(to, &held, sizeof(T));
    }
}

template <typename T>
inline void write_global(uint8_t* to, const uint8_t* from, size_t bytes) {
    if (machine().atomic == ascend_model::Atomic::none) {
        std::memcpy(to, from, bytes);
        return;
    }
    if (machine().atomic_width != sizeof(T))
        fail("the atomic mode's type is the copy's", "%zu B set, %zu B copied", machine().atomic_width, sizeof(T));
    for (size_t at = 0; at < bytes; at += sizeof(T)) meet<T>(to + at, from + at);
}

}  // namespace detail

template <typename T>
inline void DataCopyPad(const GlobalTensor<T>& dst, const LocalTensor<T>& src, const DataCopyExtParams& params) {
    static_assert(copied_type<T>, "DataCopyPad does not know the type");
    InCall call("DataCopyPad");
    want_vector_core();
    want_ub(src.space());
    machine().step(PIPE_MTE3);
    const size_t filled = (params.blockLen + 31) / 32 * 32;
    const size_t pitch = filled + size_t{params.srcStride} * 32;
    auto bytes = src.template ReinterpretCast<uint8_t>();
    for (int i = 0; i < params.blockCount; ++i) {
        const uint8_t* from = bytes[i * pitch].operand(PIPE_MTE3, params.blockLen, false);
        const int64_t offset = static_cast<int64_t>(i) * (params.blockLen + int64_t{params.dstStride});
        uint8_t* to = dst.access(PIPE_MTE3, offset / static_cast<int64_t>(sizeof(T)), params.blockLen, true);
        detail::write_global<T>(to, from, params.blockLen);
    }
}

template <typename T>
inline void DataCopy(const LocalTensor<T>& dst, const GlobalTensor<T>& src, uint32_t count) {
    InCall call("DataCopy");
    if (count * sizeof(T) % 32) fail("DataCopy moves whole blocks of 32 B", "%u elements of %zu B", count, sizeof(T));
    machine().step(PIPE_MTE2);
    const uint8_t* from = src.access(PIPE_MTE2, 0, count * sizeof(T), false);
    std::memcpy(dst.operand(PIPE_MTE2, count, true), from, count * sizeof(T));
}

template <typename T>
inline void DataCopy(const GlobalTensor<T>& dst, const LocalTensor<T>& src, uint32_t count) {
    InCall call("DataCopy");
    want_vector_core();
    if (count * sizeof(T) % 32) fail("DataCopy moves whole blocks of 32 B", "%u elements of %zu B", count, sizeof(T));
    machine().step(PIPE_MTE3);
    const T* from = src.operand(PIPE_MTE3, count, false);
    detail::write_global<T>(dst.access(PIPE_MTE3, 0, count * sizeof(T), true),
                            reinterpret_cast<const uint8_t*>(from), count * sizeof(T));
}

// UB to UB runs on the vector pipe.
template <typename T>
inline void DataCopy(const LocalTensor<T>& dst, const LocalTensor<T>& src, uint32_t count) {
    InCall call("DataCopy");
    want_vector_core();
    want_ub(dst.space());
    want_ub(src.space());
    if (count * sizeof(T) % 32) fail("DataCopy moves whole blocks of 32 B", "%u elements of %zu B", count, sizeof(T));
    machine().step(PIPE_V);
    const T* from = src.operand(PIPE_V, count, false);
    std::memmove(dst.operand(PIPE_V, count, true), from, count * sizeof(T));
}

template <typename T>
inline void set_atomic(ascend_model::Atomic mode) {
    static_assert(std::is_same_v<T, half> || std::is_same_v<T, bfloat16_t> || std::is_same_v<T, float> ||
                      std::is_same_v<T, int8_t> || std::is_same_v<T, int16_t> || std::is_same_v<T, int32_t>,
                  "atomic copies are of half, bfloat16, float, int8, int16 or int32");
    machine().atomic = mode;
    machine().atomic_width = sizeof(T);
}

template <typename T> inline void SetAtomicAdd() { set_atomic<T>(ascend_model::Atomic::add); }
template <typename T> inline void SetAtomicMax() { set_atomic<T>(ascend_model::Atomic::max); }
template <typename T> inline void SetAtomicMin() { set_atomic<T>(ascend_model::Atomic::min); }
inline void SetAtomicNone() { machine().atomic = ascend_model::Atomic::none; }

}  // namespace AscendC
