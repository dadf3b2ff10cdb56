// Transpositions, and products on the matrix unit: acc[m, n] += lhs[m, k] rhs[k, n].
//
// The unit multiplies rows in NRAM by a filter in WRAM, laid out by __bang_reshape_filter, and
// wants k and n to be multiples of 64. Products go in blocks: of n, of k, then of m.
#pragma once

__wram__ INFINI_ALIGNED char filter[MATRIX_BYTES];

template <class T>
INFINI_DEVICE T* operand(int number) {
  return reinterpret_cast<T*>(scratch + 4 * STRIP * 4 + number * MATRIX_BYTES);
}

// Rows of a block in NRAM, padded with zeros: `rows` x `columns` of it are there, the block has
// `all_rows` x `all_columns`; columns are a multiple of 64.
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

// Operands of two types, and bfloat16, which the unit does not have, go as float.
#define INFINI_GATHER(Source, cast)                                                          \
  INFINI_DEVICE void gather_block(float* to, Source* from, int64_t pitch, int64_t rows,      \
                                  int64_t columns, int64_t all_rows, int64_t all_columns) {  \
    __bang_write_zero(to, round_up(all_rows * all_columns));                                 \
    for (int64_t r = 0; r < rows; ++r)                                                       \
      for (int64_t c = 0; c < columns; c += STRIP) {                                         \
        const int64_t n = smaller(STRIP, columns - c);                                       \
        cast(strip(0), from + r * pitch + c, n);                                             \
        __memcpy(to + r * all_columns + c, strip(0), n * 4, NRAM2NRAM);                      \
      }                                                                                      \
  }
INFINI_GATHER(half_t, cast_f16_f32)
INFINI_GATHER(bf16_t, cast_bf16_f32)
#undef INFINI_GATHER

template <class Left, class Right>
struct OperandType {
  using type = float;
};
template <>
struct OperandType<half_t, half_t> {
  using type = half_t;
};

// to[j, i] = from[i, j], in blocks of 64 x 64.
template <class T>
INFINI_DEVICE void transpose_rows(T* to, int64_t to_pitch, T* from, int64_t from_pitch,
                                  int64_t rows, int64_t columns) {
  const int64_t size = sizeof(T);
  for (int64_t i = 0; i < rows; i += LANES)
    for (int64_t j = 0; j < columns; j += LANES) {
      const int64_t height = smaller(LANES, rows - i), width = smaller(LANES, columns - j);
      __memcpy(operand<T>(0), from + i * from_pitch + j, width * size, NRAM2NRAM, LANES * size,
               from_pitch * size, height - 1);
      __bang_transpose(operand<T>(1), operand<T>(0), LANES, LANES);
      __memcpy(to + j * to_pitch + i, operand<T>(1), height * size, NRAM2NRAM, to_pitch * size,
               LANES * size, width - 1);
    }
}

INFINI_DEVICE void transpose_rows(bf16_t* to, int64_t to_pitch, bf16_t* from,
                                  int64_t from_pitch, int64_t rows, int64_t columns) {
  transpose_rows(reinterpret_cast<half_t*>(to), to_pitch, reinterpret_cast<half_t*>(from),
                 from_pitch, rows, columns);  // bits alone move
}

// A block's filter to WRAM: `n` x `k` of it are there, it has `nb` x `kb`, multiples of 64.
template <class T, class Source>
INFINI_DEVICE void load_filter(Source* rhs, int64_t pitch, int64_t n, int64_t k, int64_t nb,
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

// Rows of results added to rows of the accumulator.
INFINI_DEVICE void add_block(float* acc, int64_t pitch, float* result, int64_t m, int64_t nb) {
  if (nb == pitch) {
    __bang_add(acc, acc, result, m * nb);
    return;
  }
  for (int64_t r = 0; r < m; ++r)
    __bang_add(acc + r * pitch, acc + r * pitch, result + r * nb, nb);
}

template <class Left, class Right>
INFINI_DEVICE void dot(float* acc, int64_t acc_pitch, Left* lhs, int64_t lhs_pitch, Right* rhs,
                       int64_t rhs_pitch, int64_t m, int64_t n, int64_t k, bool transposed) {
  using T = typename OperandType<Left, Right>::type;
  const int64_t room = MATRIX_BYTES / 4;  // of floats, which results are
  const int64_t most_k = smaller(round_up(k), 128);
  for (int64_t j = 0; j < n; j += room / most_k) {
    const int64_t columns = smaller(room / most_k, n - j), nb = round_up(columns);
    for (int64_t l = 0; l < k; l += most_k) {
      const int64_t depth = smaller(most_k, k - l), kb = round_up(depth);
      Right* block = transposed ? rhs + j * rhs_pitch + l : rhs + l * rhs_pitch + j;
      load_filter<T>(block, rhs_pitch, columns, depth, nb, kb, transposed);
      const int64_t most_m = smaller(room / nb, room / kb);
      for (int64_t i = 0; i < m; i += most_m) {
        const int64_t count = smaller(most_m, m - i);
        gather_block(operand<T>(0), lhs + i * lhs_pitch + l, lhs_pitch, count, depth, count, kb);
        __bang_matmul(operand<float>(1), operand<T>(0), reinterpret_cast<T*>(filter), count, kb, nb);
        add_block(acc + i * acc_pitch + j, acc_pitch, operand<float>(1), count, nb);
      }
    }
  }
}
