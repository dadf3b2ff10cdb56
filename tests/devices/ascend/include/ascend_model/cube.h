// Matrix instructions.
//
// Sources: API pages DataCopy with Nd2NzParams (a row-major matrix to columns of blocks of
// 32 B; the last block is filled up with 0), LoadData with LoadData2DParams (fractals of 512 B;
// transposing 16 bits only), LoadDataWithTranspose (float: two neighbouring 16x8 fractals are
// one 16x16 square), Mmad (A as Zz, B as Zn, C as Nz; m = 1 reads A in plain rows: GEMV; small
// products in a row want PipeBarrier<PIPE_M>), Fixpipe (Nz to rows).
#pragma once

#include "ascend_model/copy.h"

enum QuantMode_t { NoQuant, F322F16, F322BF16 };

namespace AscendC {

// Parameters take the vendor's types: a list in braces that narrows does not compile.
struct Nd2NzParams {
    uint16_t ndNum, nValue, dValue, srcNdMatrixStride, srcDValue, dstNzC0Stride, dstNzNStride, dstNzMatrixStride;
    Nd2NzParams(uint16_t nd, uint16_t n, uint16_t d, uint16_t matrix, uint16_t row, uint16_t c0, uint16_t nstride, uint16_t nz)
        : ndNum(nd), nValue(n), dValue(d), srcNdMatrixStride(matrix), srcDValue(row), dstNzC0Stride(c0),
          dstNzNStride(nstride), dstNzMatrixStride(nz) {
        if (nd > 4095 || n > 16384 || row < 1 || c0 < 1 || c0 > 16384 || nstride < 1 || nstride > 16384)
            fail("Nd2NzParams are in their ranges", "%d %d %d %d %d %d %d %d", nd, n, d, matrix, row, c0, nstride, nz);
    }
};

template <typename T>
inline void DataCopy(const LocalTensor<T>& dst, const GlobalTensor<T>& src, const Nd2NzParams& p) {
    InCall call("DataCopy (Nd2Nz)");
    want_cube_core();
    if (dst.space() != Space::L1) fail("Nd2Nz goes to L1", "the tensor is in %s", ascend_model::facts(dst.space()).name);
    if (p.ndNum == 0 || p.nValue == 0 || p.dValue == 0) return;
    machine().step(PIPE_MTE2);
    constexpr int64_t c0 = 32 / sizeof(T);
    for (int64_t matrix = 0; matrix < p.ndNum; ++matrix)
        for (int64_t row = 0; row < p.nValue; ++row) {
            const int64_t from = matrix * p.srcNdMatrixStride + row * p.srcDValue;
            const uint8_t* source = src.access(PIPE_MTE2, from, p.dValue * sizeof(T), false);
            for (int64_t begin = 0; begin < p.dValue; begin += c0) {
                const int64_t count = std::min<int64_t>(c0, p.dValue - begin);
                const int64_t to = matrix * p.dstNzMatrixStride + (begin / c0 * p.dstNzC0Stride + row * p.dstNzNStride) * c0;
                T* place = dst[to].operand(PIPE_MTE2, c0, true);
                std::memset(static_cast<void*>(place), 0, 32);
                std::memcpy(static_cast<void*>(place), source + begin * sizeof(T), count * sizeof(T));
            }
        }
}

struct LoadData2DParams {
    uint16_t startIndex;
    uint8_t repeatTimes;
    uint16_t srcStride;
    uint8_t sid;
    uint16_t dstGap;
    bool ifTranspose;
    uint8_t addrMode;
    LoadData2DParams(uint16_t start, uint8_t repeats, uint16_t stride, uint8_t s, uint16_t gap, bool transpose, uint8_t mode)
        : startIndex(start), repeatTimes(repeats), srcStride(stride), sid(s), dstGap(gap), ifTranspose(transpose),
          addrMode(mode) {}
};

inline void want_l0(Space to, Space from) {
    if ((to != Space::L0A && to != Space::L0B) || from != Space::L1) fail("LoadData goes from L1 to L0A or L0B", "other memories");
}

template <typename T>
inline void LoadData(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LoadData2DParams& p) {
    InCall call("LoadData");
    want_cube_core();
    want_l0(dst.space(), src.space());
    if (p.ifTranspose && sizeof(T) != 2) fail("LoadData transposes 16 bits", "%zu B", sizeof(T));
    machine().step(PIPE_MTE1);
    constexpr int64_t fractal = 512 / sizeof(T);
    for (int64_t r = 0; r < p.repeatTimes; ++r) {
        const T* from = src[(p.startIndex + r * p.srcStride) * fractal].operand(PIPE_MTE1, fractal, false);
        T* to = dst[r * (1 + p.dstGap) * fractal].operand(PIPE_MTE1, fractal, true, 512);
        if (!p.ifTranspose) {
            std::memcpy(static_cast<void*>(to), from, 512);
        } else {
            for (int i = 0; i < 16; ++i)
                for (int j = 0; j < 16; ++j) to[j * 16 + i] = from[i * 16 + j];
        }
    }
}

struct LoadData2dTransposeParams {
    uint16_t startIndex;
    uint8_t repeatTimes;
    uint16_t srcStride, dstGap, dstFracGap;
    LoadData2dTransposeParams(uint16_t start, uint8_t repeats, uint16_t stride, uint16_t gap, uint16_t fractal_gap)
        : startIndex(start), repeatTimes(repeats), srcStride(stride), dstGap(gap), dstFracGap(fractal_gap) {}
};

template <typename T>
inline void LoadDataWithTranspose(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LoadData2dTransposeParams& p) {
    static_assert(sizeof(T) == 4, "the model transposes 32 bits here");
    InCall call("LoadDataWithTranspose");
    want_cube_core();
    want_l0(dst.space(), src.space());
    machine().step(PIPE_MTE1);
    for (int64_t r = 0; r < p.repeatTimes; ++r) {
        const T* from = src[(p.startIndex + r * p.srcStride) * 256].operand(PIPE_MTE1, 256, false);
        for (int half_number = 0; half_number < 2; ++half_number) {
            T* to = dst[r * (1 + p.dstGap) * 128 + half_number * (1 + p.dstFracGap) * 128].operand(PIPE_MTE1, 128, true, 512);
            for (int row = 0; row < 16; ++row)
                for (int column = 0; column < 8; ++column) {
                    // The square is two fractals side by side; its transpose splits the same way.
                    const int square_row = half_number * 8 + column, square_column = row;
                    to[row * 8 + column] = from[square_column / 8 * 128 + square_row * 8 + square_column % 8];
                }
        }
    }
}

struct MmadParams {
    uint16_t m, n, k;
    uint8_t unitFlag;
    bool cmatrixSource, cmatrixInitVal, kDirectionAlign = false;
    MmadParams(uint16_t rows, uint16_t columns, uint16_t depth, uint8_t flag, bool source, bool init)
        : m(rows), n(columns), k(depth), unitFlag(flag), cmatrixSource(source), cmatrixInitVal(init) {
        if (rows > 4095 || columns > 4095 || depth > 4095)
            fail("m, n and k are at most 4095", "%d %d %d", rows, columns, depth);
    }
};

template <typename D, typename T>
inline void Mmad(const LocalTensor<D>& dst, const LocalTensor<T>& fm, const LocalTensor<T>& filter, const MmadParams& p) {
    static_assert((std::is_same_v<D, float> && (std::is_same_v<T, half> || std::is_same_v<T, bfloat16_t> || std::is_same_v<T, float>)) || (std::is_same_v<D, int32_t> && std::is_same_v<T, int8_t>),
                  "Mmad does not know these types");
    InCall call("Mmad");
    want_cube_core();
    if (dst.space() != Space::L0C || fm.space() != Space::L0A || filter.space() != Space::L0B)
        fail("Mmad takes L0A and L0B and gives L0C", "other memories");
    if (p.m == 0 || p.n == 0 || p.k == 0) return;
    if (p.m == 1) fail("m = 1 reads A as a plain row", "load two rows and say m = 2");
    if (p.cmatrixSource) fail("the model has no bias table", "cmatrixSource");
    machine().step(PIPE_M);
    constexpr int64_t c0 = 32 / sizeof(T);
    const int64_t ms = (p.m + 15) / 16, ns = (p.n + 15) / 16, ks = (p.k + c0 - 1) / c0;
    const T* a = fm.operand(PIPE_M, ms * ks * 16 * c0, false, 512);
    const T* b = filter.operand(PIPE_M, ns * ks * 16 * c0, false, 512);
    // Large products in a row are ordered by the unit itself.
    if ((p.m / 16) * (p.n / 16) >= 10) machine().order_matrix();
    if (!p.cmatrixInitVal) dst.operand(PIPE_M, ms * ns * 256, false, 1024);
    D* c = dst.operand(PIPE_M, ms * ns * 256, true, 1024);
    std::vector<float> right(static_cast<size_t>(p.k) * p.n), left(p.k);
    for (int64_t l = 0; l < p.k; ++l)
        for (int64_t j = 0; j < p.n; ++j)
            right[l * p.n + j] = b[(l / c0 * ns + j / 16) * 16 * c0 + j % 16 * c0 + l % c0];
    std::vector<float> sum(p.n);
    for (int64_t i = 0; i < p.m; ++i) {
        for (int64_t l = 0; l < p.k; ++l) left[l] = a[(i / 16 * ks + l / c0) * 16 * c0 + i % 16 * c0 + l % c0];
        std::fill(sum.begin(), sum.end(), 0.0f);
        for (int64_t l = 0; l < p.k; ++l)
            for (int64_t j = 0; j < p.n; ++j) sum[j] += left[l] * right[l * p.n + j];
        for (int64_t j = 0; j < p.n; ++j) {
            D& to = c[(j / 16 * ms + i / 16) * 256 + i % 16 * 16 + j % 16];
            to = static_cast<D>((p.cmatrixInitVal ? 0.0f : static_cast<float>(to)) + sum[j]);
        }
    }
}

struct FixpipeParamsV220 {
    uint16_t nSize, mSize, srcStride;
    uint32_t dstStride;
    bool reluEn;
    QuantMode_t quantPre;
    FixpipeParamsV220(uint16_t n, uint16_t m, uint16_t source, uint32_t destination, bool relu, QuantMode_t quant,
                      int64_t, uint16_t nd, uint16_t, uint16_t, uint8_t)
        : nSize(n), mSize(m), srcStride(source), dstStride(destination), reluEn(relu), quantPre(quant) {
        if (n < 1 || n > 4095 || m < 1 || m > 8192 || nd != 1)
            fail("FixpipeParamsV220 are in their ranges", "n %d m %d stride %d", n, m, source);
    }
};

template <typename D, typename S>
inline void Fixpipe(const GlobalTensor<D>& dst, const LocalTensor<S>& src, const FixpipeParamsV220& p) {
    InCall call("Fixpipe");
    want_cube_core();
    if (src.space() != Space::L0C) fail("Fixpipe reads L0C", "the tensor is in %s", ascend_model::facts(src.space()).name);
    const bool fits = (p.quantPre == F322F16 && std::is_same_v<D, half>) || (p.quantPre == F322BF16 && std::is_same_v<D, bfloat16_t>) ||
                      (p.quantPre == NoQuant && std::is_same_v<D, S>);
    if (!fits) fail("Fixpipe's mode says the result's type", "mode %d", p.quantPre);
    machine().step(PIPE_FIX);
    std::vector<D> row(p.nSize);
    const int64_t columns = (p.nSize + 15) / 16;
    const S* from = src.operand(PIPE_FIX, ((columns - 1) * p.srcStride + p.mSize) * 16, false, 64);
    for (int64_t i = 0; i < p.mSize; ++i) {
        for (int64_t j = 0; j < p.nSize; ++j) {
            S value = from[(j / 16 * p.srcStride + i) * 16 + j % 16];
            if (p.reluEn && value < 0) value = 0;
            row[j] = static_cast<D>(value);
        }
        uint8_t* to = dst.access(PIPE_FIX, i * p.dstStride, p.nSize * sizeof(D), true);
        detail::write_global<D>(to, reinterpret_cast<const uint8_t*>(row.data()), p.nSize * sizeof(D));
    }
}

}  // namespace AscendC
