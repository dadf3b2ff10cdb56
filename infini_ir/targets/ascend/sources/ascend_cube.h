// A matrix product on a cube core: global memory to L1 as fractals, L1 to L0A and L0B, Mmad in
// L0C, Fixpipe back to global memory. Queues carry the synchronisation of the pipes; two
// buffers of each operand let copies run beside the product.
//
// Rows and columns of a tile that are not there are never loaded: m, n and the depth are the
// counts of the instructions. What lies in the rest of the last fractals is not used.
#pragma once

#include "kernel_operator.h"

enum class Major { rows, columns };  // which index of an operand has its elements side by side

// Left [m, k] and right [k, n], both of T; a tile of ROWS x COLUMNS, DEPTH of it in L1 and STEP
// in L0 at a time. All four are multiples of 16.
template <typename T, Major left_order, Major right_order, int64_t ROWS, int64_t COLUMNS, int64_t DEPTH, int64_t STEP>
class Product {
 public:
  static constexpr int64_t BLOCK = 32 / static_cast<int64_t>(sizeof(T));
  static constexpr int64_t FRACTAL = 16 * BLOCK;

  __aicore__ inline explicit Product(AscendC::TPipe* pipe) {
    pipe->InitBuffer(left_, 2, ROWS * DEPTH * sizeof(T));
    pipe->InitBuffer(right_, 2, DEPTH * COLUMNS * sizeof(T));
    pipe->InitBuffer(near_left_, 2, ROWS * STEP * sizeof(T));
    pipe->InitBuffer(near_right_, 2, STEP * COLUMNS * sizeof(T));
    pipe->InitBuffer(total_, ROWS * COLUMNS * sizeof(float) <= 65536 ? 2 : 1, ROWS * COLUMNS * sizeof(float));
  }

  __aicore__ inline void Begin(int64_t m, int64_t n) {
    m_ = m;
    n_ = n;
    first_ = true;
    sum_ = total_.template AllocTensor<float>();
  }

  // Opens the next piece of the contraction; then LoadLeft, LoadRight and Multiply.
  __aicore__ inline void NextPiece(int64_t depth) {
    depth_ = depth;
    a1_ = left_.template AllocTensor<T>();
    b1_ = right_.template AllocTensor<T>();
  }

  // `count` rows of the left operand from tile row `row` on. `stride`: from one line of
  // neighbours to the next, in elements.
  __aicore__ inline void LoadLeft(const AscendC::GlobalTensor<T>& global, int64_t row, int64_t count, int64_t stride) {
    if constexpr (left_order == Major::rows) {
      if (m_ == 1) {
        // One row twice: with m = 1, Mmad would read the operand as a plain vector.
        AscendC::DataCopy(a1_, global, AscendC::Nd2NzParams{2, 1, Sizes(depth_), 0, Sizes(depth_), ROWS, 1, BLOCK});
        return;
      }
      Fractals(a1_[row * BLOCK], global, count, depth_, stride, ROWS);
    } else {
      Fractals(a1_[row / BLOCK * DEPTH * BLOCK], global, depth_, count, stride, DEPTH);
    }
  }

  __aicore__ inline void LoadRight(const AscendC::GlobalTensor<T>& global, int64_t stride) {
    if constexpr (right_order == Major::columns) {
      Fractals(b1_, global, n_, depth_, stride, COLUMNS);
    } else if constexpr (sizeof(T) == 2) {
      Fractals(b1_, global, depth_, n_, stride, DEPTH);
    } else {
      // 16 rows at a time, so that two fractals beside each other make a square.
      for (int64_t k = 0; k < depth_; k += 16)
        Fractals(b1_[k * COLUMNS], global[k * stride], depth_ - k < 16 ? depth_ - k : 16, n_, stride, 16);
    }
  }

  __aicore__ inline void Multiply() {
    left_.EnQue(a1_);
    right_.EnQue(b1_);
    a1_ = left_.template DeQue<T>();
    b1_ = right_.template DeQue<T>();
    for (int64_t k = 0; k < depth_; k += STEP) Step(k, depth_ - k < STEP ? depth_ - k : STEP);
    left_.FreeTensor(a1_);
    right_.FreeTensor(b1_);
  }

  // The product is complete; StoreRows follow, then End.
  __aicore__ inline void Finish() {
    total_.EnQue(sum_);
    sum_ = total_.template DeQue<float>();
  }

  template <typename D>
  __aicore__ inline void StoreRows(const AscendC::GlobalTensor<D>& global, int64_t row, int64_t count, int64_t stride) {
    constexpr QuantMode_t mode = sizeof(D) == 4 ? QuantMode_t::NoQuant
                                 : AscendC::IsSameType<D, half>::value ? QuantMode_t::F322F16
                                                                       : QuantMode_t::F322BF16;
    AscendC::FixpipeParamsV220 params{Sizes(n_), Sizes(count), Sizes(Padded(m_)), static_cast<uint32_t>(stride),
                                      false, mode, 0, 1, 0, 0, 0};
    AscendC::Fixpipe(global, sum_[row * 16], params);
  }

  __aicore__ inline void End() { total_.FreeTensor(sum_); }

 private:
  AscendC::TQue<AscendC::QuePosition::A1, 2> left_;
  AscendC::TQue<AscendC::QuePosition::B1, 2> right_;
  AscendC::TQue<AscendC::QuePosition::A2, 2> near_left_;
  AscendC::TQue<AscendC::QuePosition::B2, 2> near_right_;
  AscendC::TQue<AscendC::QuePosition::CO1, 2> total_;
  AscendC::LocalTensor<T> a1_, b1_;
  AscendC::LocalTensor<float> sum_;
  int64_t m_ = 0, n_ = 0, depth_ = 0;
  bool first_ = true;

  static __aicore__ inline uint16_t Sizes(int64_t value) { return static_cast<uint16_t>(value); }
  static __aicore__ inline int64_t Padded(int64_t value) { return (value + 15) / 16 * 16; }

  // A row-major matrix as columns of blocks of 32 B, `lines` apart.
  __aicore__ inline void Fractals(const AscendC::LocalTensor<T>& local, const AscendC::GlobalTensor<T>& global,
                                  int64_t rows, int64_t columns, int64_t stride, int64_t lines) {
    if (stride > 0 && stride <= 65535) {
      AscendC::DataCopy(local, global, AscendC::Nd2NzParams{1, Sizes(rows), Sizes(columns), 0, Sizes(stride),
                                                            Sizes(lines), 1, 0});
      return;
    }
    for (int64_t row = 0; row < rows; ++row)
      AscendC::DataCopy(local[row * BLOCK], global[row * stride],
                        AscendC::Nd2NzParams{1, 1, Sizes(columns), 0, Sizes(columns), Sizes(lines), 1, 0});
  }

  __aicore__ inline void Step(int64_t k, int64_t depth) {
    const int64_t row_blocks = Padded(m_) / 16, column_blocks = Padded(n_) / 16;
    const int64_t depth_blocks = (depth + BLOCK - 1) / BLOCK;
    AscendC::LocalTensor<T> a2 = near_left_.template AllocTensor<T>();
    for (int64_t i = 0; i < row_blocks; ++i) NearLeft(a2[i * depth_blocks * FRACTAL], i, k, depth_blocks);
    near_left_.EnQue(a2);
    AscendC::LocalTensor<T> b2 = near_right_.template AllocTensor<T>();
    NearRight(b2, k, depth_blocks, column_blocks);
    near_right_.EnQue(b2);
    a2 = near_left_.template DeQue<T>();
    b2 = near_right_.template DeQue<T>();
    // Small products must wait for the one before, whose result they add to.
    if (!first_ && (m_ / 16) * (n_ / 16) < 10) AscendC::PipeBarrier<PIPE_M>();
    AscendC::Mmad(sum_, a2, b2,
                  AscendC::MmadParams{Sizes(m_ == 1 ? 2 : m_), Sizes(n_), Sizes(depth), 0, false, first_});
    first_ = false;
    near_left_.FreeTensor(a2);
    near_right_.FreeTensor(b2);
  }

  // One row of fractals of the left operand, [16, k].
  __aicore__ inline void NearLeft(const AscendC::LocalTensor<T>& near, int64_t i, int64_t k, int64_t depth_blocks) {
    if constexpr (left_order == Major::rows)
      AscendC::LoadData(near, a1_[k / BLOCK * ROWS * BLOCK + i * FRACTAL],
                        AscendC::LoadData2DParams{0, static_cast<uint8_t>(depth_blocks), Sizes(ROWS / 16), 0, 0, false, 0});
    else
      AscendC::LoadData(near, a1_[i * DEPTH * 16 + k * 16],
                        AscendC::LoadData2DParams{0, static_cast<uint8_t>(depth_blocks), 1, 0, 0, true, 0});
  }

  __aicore__ inline void NearRight(const AscendC::LocalTensor<T>& near, int64_t k, int64_t depth_blocks,
                                   int64_t column_blocks) {
    const uint8_t repeats = static_cast<uint8_t>(column_blocks);
    if constexpr (right_order == Major::rows && sizeof(T) == 4) {
      for (int64_t l = 0; l < (depth_blocks + 1) / 2; ++l)
        AscendC::LoadDataWithTranspose(
            near[2 * l * column_blocks * FRACTAL], b1_[(k + l * 16) * COLUMNS],
            AscendC::LoadData2dTransposeParams{0, repeats, 1, 0, Sizes(column_blocks - 1)});
      return;
    }
    for (int64_t l = 0; l < depth_blocks; ++l) {
      const AscendC::LocalTensor<T> to = near[l * column_blocks * FRACTAL];
      if constexpr (right_order == Major::columns)
        AscendC::LoadData(to, b1_[(k / BLOCK + l) * COLUMNS * BLOCK],
                          AscendC::LoadData2DParams{0, repeats, 1, 0, 0, false, 0});
      else
        AscendC::LoadData(to, b1_[(k + l * 16) * 16],
                          AscendC::LoadData2DParams{0, repeats, Sizes(DEPTH / 16), 0, 0, true, 0});
    }
  }
};
