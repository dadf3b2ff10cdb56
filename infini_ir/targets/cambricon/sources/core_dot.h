// Products on the matrix unit: acc[m, n] += lhs[m, k] rhs[k, n].
//
// The unit multiplies rows in NRAM by a filter in WRAM, laid out by __bang_reshape_filter, and
// wants k and n to be multiples of 64. Products go in blocks: of n, of k, then of m.
#pragma once

__wram__ char filter[MATRIX_BYTES];

template <class T>
INFINI_DEVICE T* operand(int number) {
  return reinterpret_cast<T*>(scratch + 4 * STRIP * 4 + number * MATRIX_BYTES);
}

// Rows of a block in NRAM, padded with zeros: `rows` x `columns` of it are there, the block has
// `all_rows` x `all_columns`, multiples of 64 where it matters.
template <class T>
INFINI_DEVICE void gather_block(T* to, T* from, int64_t pitch, int64_t rows, int64_t columns,
                                int64_t all_rows, int64_t all_columns) {
  const int64_t size = sizeof(T);
  if (rows < all_rows || columns < all_columns)
    __bang_write_zero(to, round_up(all_rows * all_columns));
  if (rows > 1)
    __memcpy(to, from, columns * size, NRAM2NRAM, all_columns * size, pitch * size, rows - 1);
  else
    __memcpy(to, from, columns * size, NRAM2NRAM);
}

// The block's filter to WRAM. `nb` x `kb`, multiples of 64.
template <class T>
INFINI_DEVICE void load_filter(T* rhs, int64_t pitch, int64_t n, int64_t k, int64_t nb,
                               int64_t kb, bool transposed) {
  if (transposed) {
    gather_block(operand<T>(0), rhs, pitch, n, k, nb, kb);
  } else {
    gather_block(operand<T>(1), rhs, pitch, k, n, kb, nb);
    __bang_transpose(operand<T>(0), operand<T>(1), kb, nb);
  }
  __bang_reshape_filter(operand<T>(1), operand<T>(0), nb, 1, 1, kb);
  __memcpy(filter, operand<T>(1), nb * kb * static_cast<int64_t>(sizeof(T)), NRAM2WRAM);
}

template <class T>
INFINI_DEVICE void dot(float* acc, int64_t acc_pitch, T* lhs, int64_t lhs_pitch, T* rhs,
                       int64_t rhs_pitch, int64_t m, int64_t n, int64_t k, bool transposed) {
  const int64_t room = MATRIX_BYTES / 4;  // of floats, which results are
  const int64_t most_k = smaller(round_up(k), 128);
  const int64_t most_n = smaller(round_up(n), room / most_k);
  for (int64_t j = 0; j < n; j += most_n) {
    const int64_t nn = smaller(most_n, n - j), nb = round_up(nn);
    for (int64_t l = 0; l < k; l += most_k) {
      const int64_t kk = smaller(most_k, k - l), kb = round_up(kk);
      T* block = transposed ? rhs + j * rhs_pitch + l : rhs + l * rhs_pitch + j;
      load_filter(block, rhs_pitch, nn, kk, nb, kb, transposed);
      const int64_t most_m = smaller(room / nb, room / kb);
      for (int64_t i = 0; i < m; i += most_m) {
        const int64_t mb = smaller(most_m, m - i);
        float* result = operand<float>(1);
        gather_block(operand<T>(0), lhs + i * lhs_pitch + l, lhs_pitch, mb, kk, mb, kb);
        __bang_matmul(result, operand<T>(0), reinterpret_cast<T*>(filter), mb, kb, nb);
        if (nb == acc_pitch) {
          __bang_add(acc + i * acc_pitch + j, acc + i * acc_pitch + j, result, mb * nb);
          continue;
        }
        for (int64_t r = 0; r < mb; ++r) {
          float* row = acc + (i + r) * acc_pitch + j;
          __bang_add(row, row, result + r * nb, nb);
        }
      }
    }
  }
}
