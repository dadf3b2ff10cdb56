// What the kernels of this project are made of: rows of on-chip memory in a few calls each.
//
// Every function issues the Ascend C instructions of one step. Copies run on the pipes MTE2
// and MTE3, the rest on the vector pipe; kernels synchronise between steps. Functions that take
// `scratch` use it between barriers of their own; it has SCRATCH_BYTES.
#pragma once

#include <cstdint>

#include "kernel_operator.h"

// ---- the scalar unit

#define INFINI_DEVICE __aicore__ inline
using half_t = half;
using bf16_t = bfloat16_t;

INFINI_DEVICE float widen(half_t value) { return static_cast<float>(value); }
INFINI_DEVICE float widen(bf16_t value) { return AscendC::ToFloat(value); }
template <class T>
INFINI_DEVICE T narrow(float value) {
  if constexpr (AscendC::IsSameType<T, bf16_t>::value)
    return AscendC::ToBfloat16(value);
  else
    return static_cast<T>(value);
}

#include "core_scalars.h"

// Sizes, as in sizes.h, which is the host's.
INFINI_DEVICE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
INFINI_DEVICE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
INFINI_DEVICE int64_t floor_div(int64_t a, int64_t b) { return quotient_down<int64_t>(a, b); }
INFINI_DEVICE int64_t floor_mod(int64_t a, int64_t b) { return b == 0 ? 0 : a - b * floor_div(a, b); }
namespace host {
#include "sizes.h"
}

// ---- places

constexpr uint32_t SCRATCH_BYTES = 4096;
constexpr int64_t REPEAT_BYTES = 256;

// A part of on-chip memory: `count` elements from byte `offset` on.
template <typename T>
__aicore__ inline AscendC::LocalTensor<T> Place(const AscendC::LocalTensor<uint8_t>& memory,
                                                uint32_t offset, uint32_t count) {
  AscendC::LocalTensor<T> place = memory[offset].template ReinterpretCast<T>();
  place.SetSize(count);
  return place;
}

template <typename T>
__aicore__ inline AscendC::LocalTensor<T> Scratch(const AscendC::LocalTensor<uint8_t>& scratch,
                                                  uint32_t offset = 0) {
  return scratch[offset].template ReinterpretCast<T>();
}

// One pipe waits for another.
template <AscendC::HardEvent event>
__aicore__ inline void Sync() {
  const event_t id = static_cast<event_t>(GetTPipePtr()->FetchEventID(event));
  AscendC::SetFlag<event>(id);
  AscendC::WaitFlag<event>(id);
}

__aicore__ inline void VectorBarrier() { AscendC::PipeBarrier<PIPE_V>(); }

__aicore__ inline int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// ---- copies: `rows` rows of `count` neighbours, `stride` apart in global memory and `pitch`
// apart on chip, in elements

template <typename T>
__aicore__ inline void CopyIn(const AscendC::LocalTensor<T>& local, const AscendC::GlobalTensor<T>& global,
                              int64_t rows, int64_t count, int64_t stride, int64_t pitch) {
  if (rows <= 0 || count <= 0) return;
  const uint32_t bytes = static_cast<uint32_t>(count * sizeof(T));
  const AscendC::DataCopyPadExtParams<T> bare{false, 0, 0, static_cast<T>(0)};
  if (stride < count || pitch * static_cast<int64_t>(sizeof(T)) % 32 != 0) {
    for (int64_t row = 0; row < rows; ++row)
      AscendC::DataCopyPad(local[row * pitch], global[row * stride],
                           AscendC::DataCopyExtParams{1, bytes, 0, 0, 0}, bare);
    return;
  }
  const uint32_t gap = static_cast<uint32_t>((stride - count) * sizeof(T));
  const uint32_t blocks = static_cast<uint32_t>((pitch * sizeof(T) - RoundUp(bytes, 32)) / 32);
  for (int64_t row = 0; row < rows; row += 4095) {
    const uint16_t now = static_cast<uint16_t>(rows - row < 4095 ? rows - row : 4095);
    AscendC::DataCopyPad(local[row * pitch], global[row * stride],
                         AscendC::DataCopyExtParams{now, bytes, gap, blocks, 0}, bare);
  }
}

template <typename T>
__aicore__ inline void CopyOut(const AscendC::GlobalTensor<T>& global, const AscendC::LocalTensor<T>& local,
                               int64_t rows, int64_t count, int64_t stride, int64_t pitch) {
  if (rows <= 0 || count <= 0) return;
  const uint32_t bytes = static_cast<uint32_t>(count * sizeof(T));
  if (stride < count || pitch * static_cast<int64_t>(sizeof(T)) % 32 != 0) {
    for (int64_t row = 0; row < rows; ++row)
      AscendC::DataCopyPad(global[row * stride], local[row * pitch],
                           AscendC::DataCopyExtParams{1, bytes, 0, 0, 0});
    return;
  }
  const uint32_t gap = static_cast<uint32_t>((stride - count) * sizeof(T));
  const uint32_t blocks = static_cast<uint32_t>((pitch * sizeof(T) - RoundUp(bytes, 32)) / 32);
  for (int64_t row = 0; row < rows; row += 4095) {
    const uint16_t now = static_cast<uint16_t>(rows - row < 4095 ? rows - row : 4095);
    AscendC::DataCopyPad(global[row * stride], local[row * pitch],
                         AscendC::DataCopyExtParams{now, bytes, blocks, gap, 0});
  }
}

// Elements that are not neighbours in global memory: each lands in a block of its own, and the
// scalar unit moves it to its place. Slow: kernels that do this often should be laid out anew.
template <typename T>
__aicore__ inline void CopyInScattered(const AscendC::LocalTensor<T>& local, const AscendC::GlobalTensor<T>& global,
                                       int64_t count, int64_t stride, int64_t pitch,
                                       const AscendC::LocalTensor<uint8_t>& scratch) {
  const AscendC::DataCopyPadExtParams<T> bare{false, 0, 0, static_cast<T>(0)};
  const AscendC::LocalTensor<T> blocks = Scratch<T>(scratch);
  constexpr int64_t room = SCRATCH_BYTES / 32, step = 32 / sizeof(T);
  for (int64_t first = 0; first < count; first += room) {
    const int64_t now = count - first < room ? count - first : room;
    AscendC::PipeBarrier<PIPE_ALL>();
    Sync<AscendC::HardEvent::S_MTE2>();
    CopyIn(blocks, global[first * stride], now, 1, stride, step);
    AscendC::PipeBarrier<PIPE_ALL>();
    Sync<AscendC::HardEvent::MTE2_S>();
    for (int64_t i = 0; i < now; ++i) local.SetValue((first + i) * pitch, blocks.GetValue(i * step));
  }
  Sync<AscendC::HardEvent::S_V>();
  Sync<AscendC::HardEvent::S_MTE3>();
  AscendC::PipeBarrier<PIPE_ALL>();
}

template <typename T>
__aicore__ inline void CopyOutScattered(const AscendC::GlobalTensor<T>& global, const AscendC::LocalTensor<T>& local,
                                        int64_t count, int64_t stride, int64_t pitch,
                                        const AscendC::LocalTensor<uint8_t>& scratch) {
  const AscendC::LocalTensor<T> blocks = Scratch<T>(scratch);
  constexpr int64_t room = SCRATCH_BYTES / 32, step = 32 / sizeof(T);
  for (int64_t first = 0; first < count; first += room) {
    const int64_t now = count - first < room ? count - first : room;
    AscendC::PipeBarrier<PIPE_ALL>();
    Sync<AscendC::HardEvent::V_S>();
    Sync<AscendC::HardEvent::MTE3_S>();
    for (int64_t i = 0; i < now; ++i) blocks.SetValue(i * step, local.GetValue((first + i) * pitch));
    Sync<AscendC::HardEvent::S_MTE3>();
    CopyOut(global[first * stride], blocks, now, 1, stride, step);
  }
  AscendC::PipeBarrier<PIPE_ALL>();
}

// ---- rows of elements

// The bits of a row, as integers to which 0 is added; of 8-bit rows, up to an even length.
template <typename Word, typename T>
__aicore__ inline void CopyWords(const AscendC::LocalTensor<T>& dst, const AscendC::LocalTensor<T>& src, int64_t bytes) {
  AscendC::Adds(dst.template ReinterpretCast<Word>(), src.template ReinterpretCast<Word>(), static_cast<Word>(0),
                static_cast<int32_t>((bytes + sizeof(Word) - 1) / sizeof(Word)));
}

template <typename T>
__aicore__ inline void CopyLocal(const AscendC::LocalTensor<T>& dst, const AscendC::LocalTensor<T>& src, int64_t count) {
  if constexpr (sizeof(T) >= 4)
    CopyWords<int32_t>(dst, src, count * sizeof(T));
  else
    CopyWords<int16_t>(dst, src, count * sizeof(T));
}

__aicore__ inline void FillBytes(const AscendC::LocalTensor<int8_t>& dst, int8_t value, int64_t count) {
  const uint16_t twice = static_cast<uint16_t>(static_cast<uint8_t>(value) * 0x0101);
  AscendC::Duplicate(dst.template ReinterpretCast<uint16_t>(), twice, static_cast<int32_t>((count + 1) / 2));
}

// 64 bits are two words: the high one where the bit of the mask is set.
__aicore__ inline void FillWide(const AscendC::LocalTensor<int64_t>& dst, int64_t value, int64_t count,
                                const AscendC::LocalTensor<uint8_t>& scratch) {
  constexpr int32_t room = SCRATCH_BYTES / 8;
  const AscendC::LocalTensor<int32_t> high = Scratch<int32_t>(scratch);
  const AscendC::LocalTensor<uint8_t> odd = scratch[SCRATCH_BYTES / 2];
  VectorBarrier();
  AscendC::Duplicate(high, static_cast<int32_t>(value >> 32), room);
  AscendC::Duplicate(odd.template ReinterpretCast<uint16_t>(), static_cast<uint16_t>(0xaaaa), room / 16);
  VectorBarrier();
  const AscendC::LocalTensor<float> words = dst.template ReinterpretCast<float>();
  const float low = same_bits<float>(static_cast<int32_t>(value));
  for (int64_t first = 0; first < 2 * count; first += room)
    AscendC::Select(words[first], odd, high.template ReinterpretCast<float>(), low,
                    AscendC::SELMODE::VSEL_TENSOR_SCALAR_MODE,
                    static_cast<uint32_t>(2 * count - first < room ? 2 * count - first : room));
}

// Integers as words of 16 bits.
template <typename T>
__aicore__ inline AscendC::LocalTensor<int16_t> Words(const AscendC::LocalTensor<T>& tensor) {
  return tensor.template ReinterpretCast<int16_t>();
}

template <typename T>
__aicore__ inline int32_t WordCount(int64_t count) {
  return static_cast<int32_t>((count * sizeof(T) + 1) / 2);
}

// a ^ b = (a | b) - (a & b)
__aicore__ inline void ExclusiveOr(const AscendC::LocalTensor<int16_t>& dst, const AscendC::LocalTensor<int16_t>& a,
                                   const AscendC::LocalTensor<int16_t>& b, int32_t count,
                                   const AscendC::LocalTensor<uint8_t>& scratch) {
  const AscendC::LocalTensor<int16_t> both = Scratch<int16_t>(scratch);
  constexpr int32_t room = SCRATCH_BYTES / 2;
  for (int32_t first = 0; first < count; first += room) {
    const int32_t now = count - first < room ? count - first : room;
    VectorBarrier();
    AscendC::And(both, a[first], b[first], now);
    VectorBarrier();
    AscendC::Or(dst[first], a[first], b[first], now);
    VectorBarrier();
    AscendC::Sub(dst[first], dst[first], both, now);
  }
}

// ---- masks: a bit a lane, the lowest first. Compares take whole repeats; the lanes after
// `count` are computed from what lies there, and mean nothing.

template <typename T>
__aicore__ inline uint32_t WholeRepeats(int64_t count) {
  return static_cast<uint32_t>(RoundUp(count * sizeof(T), REPEAT_BYTES) / sizeof(T));
}

template <typename T>
__aicore__ inline AscendC::LocalTensor<T> Lanes(AscendC::LocalTensor<T> tensor, int64_t count) {
  tensor.SetSize(static_cast<uint32_t>(count));
  return tensor;
}

template <typename T>
__aicore__ inline void CompareRow(const AscendC::LocalTensor<uint8_t>& dst, const AscendC::LocalTensor<T>& a,
                                  const AscendC::LocalTensor<T>& b, AscendC::CMPMODE mode, int64_t count) {
  if (count > 0) AscendC::Compare(dst, Lanes(a, count), Lanes(b, count), mode, WholeRepeats<T>(count));
}

template <typename T>
__aicore__ inline void CompareRowScalar(const AscendC::LocalTensor<uint8_t>& dst, const AscendC::LocalTensor<T>& a,
                                        T scalar, AscendC::CMPMODE mode, int64_t count) {
  if (count > 0) AscendC::CompareScalar(dst, Lanes(a, count), scalar, mode, WholeRepeats<T>(count));
}

__aicore__ inline int32_t MaskWords(int64_t lanes) { return static_cast<int32_t>((lanes + 15) / 16); }

// Integers know only EQ: a <= b where max(a, b) is b, a >= b where min(a, b) is b.
enum class Order { equal, different, less, less_equal, greater, greater_equal };

__aicore__ inline void FinishIntegers(const AscendC::LocalTensor<uint8_t>& dst, const AscendC::LocalTensor<int32_t>& a,
                                      const AscendC::LocalTensor<int32_t>& b, bool turned, int64_t count) {
  VectorBarrier();
  CompareRow(dst, a, b, AscendC::CMPMODE::EQ, count);
  if (!turned) return;
  VectorBarrier();
  AscendC::Not(Words(dst), Words(dst), MaskWords(WholeRepeats<int32_t>(count)));
}

__aicore__ inline void CompareIntegers(const AscendC::LocalTensor<uint8_t>& dst, const AscendC::LocalTensor<int32_t>& a,
                                       const AscendC::LocalTensor<int32_t>& b, Order order, int64_t count,
                                       const AscendC::LocalTensor<uint8_t>& scratch) {
  const AscendC::LocalTensor<int32_t> chosen = Scratch<int32_t>(scratch);
  constexpr int64_t room = SCRATCH_BYTES / 4;
  const bool turned = order == Order::different || order == Order::less || order == Order::greater;
  for (int64_t first = 0; first < count; first += room) {
    const int64_t now = count - first < room ? count - first : room;
    const AscendC::LocalTensor<uint8_t> to = dst[first / 8];
    if (order == Order::equal || order == Order::different) {
      FinishIntegers(to, a[first], b[first], turned, now);
      continue;
    }
    VectorBarrier();
    // a < b: not a >= b; a > b: not a <= b.
    if (order == Order::less || order == Order::greater_equal)
      AscendC::Max(chosen, a[first], b[first], static_cast<int32_t>(now));
    else
      AscendC::Min(chosen, a[first], b[first], static_cast<int32_t>(now));
    FinishIntegers(to, chosen, a[first], turned, now);
  }
}

__aicore__ inline void CompareIntegersScalar(const AscendC::LocalTensor<uint8_t>& dst,
                                             const AscendC::LocalTensor<int32_t>& a, int32_t scalar, Order order,
                                             int64_t count, const AscendC::LocalTensor<uint8_t>& scratch) {
  const AscendC::LocalTensor<int32_t> chosen = Scratch<int32_t>(scratch);
  constexpr int64_t room = SCRATCH_BYTES / 4;
  const bool turned = order == Order::different || order == Order::less || order == Order::greater;
  for (int64_t first = 0; first < count; first += room) {
    const int64_t now = count - first < room ? count - first : room;
    const AscendC::LocalTensor<uint8_t> to = dst[first / 8];
    VectorBarrier();
    if (order == Order::equal || order == Order::different)
      AscendC::Duplicate(chosen, scalar, static_cast<int32_t>(now));
    else if (order == Order::less || order == Order::greater_equal)
      AscendC::Maxs(chosen, a[first], scalar, static_cast<int32_t>(now));
    else
      AscendC::Mins(chosen, a[first], scalar, static_cast<int32_t>(now));
    FinishIntegers(to, chosen, a[first], turned, now);
  }
}

// Where the bit is set the first, else the second; bits are kept.
template <typename T>
__aicore__ inline void SelectRow(const AscendC::LocalTensor<T>& dst, const AscendC::LocalTensor<uint8_t>& mask,
                                 const AscendC::LocalTensor<T>& a, const AscendC::LocalTensor<T>& b, int64_t count) {
  constexpr AscendC::SELMODE mode = AscendC::SELMODE::VSEL_TENSOR_TENSOR_MODE;
  if constexpr (sizeof(T) == 2)
    AscendC::Select(dst.template ReinterpretCast<half>(), mask, a.template ReinterpretCast<half>(),
                    b.template ReinterpretCast<half>(), mode, static_cast<uint32_t>(count));
  else
    AscendC::Select(dst.template ReinterpretCast<float>(), mask, a.template ReinterpretCast<float>(),
                    b.template ReinterpretCast<float>(), mode, static_cast<uint32_t>(count));
}

__aicore__ inline void MaskFromBytes(const AscendC::LocalTensor<uint8_t>& dst, const AscendC::LocalTensor<int8_t>& src,
                                     int64_t count, const AscendC::LocalTensor<uint8_t>& scratch) {
  const AscendC::LocalTensor<half> wide = Scratch<half>(scratch);
  constexpr int64_t room = SCRATCH_BYTES / 2;
  for (int64_t first = 0; first < count; first += room) {
    const int64_t now = count - first < room ? count - first : room;
    VectorBarrier();
    AscendC::Cast(wide, src[first], AscendC::RoundMode::CAST_NONE, static_cast<uint32_t>(now));
    VectorBarrier();
    CompareRowScalar(dst[first / 8], wide, static_cast<half>(0.0f), AscendC::CMPMODE::NE, now);
  }
}

__aicore__ inline void MaskToBytes(const AscendC::LocalTensor<int8_t>& dst, const AscendC::LocalTensor<uint8_t>& src,
                                   int64_t count, const AscendC::LocalTensor<uint8_t>& scratch) {
  constexpr int64_t room = SCRATCH_BYTES / 4;
  const AscendC::LocalTensor<half> ones = Scratch<half>(scratch), chosen = Scratch<half>(scratch, SCRATCH_BYTES / 2);
  VectorBarrier();
  AscendC::Duplicate(ones, static_cast<half>(1.0f), static_cast<int32_t>(room));
  for (int64_t first = 0; first < count; first += room) {
    const int64_t now = count - first < room ? count - first : room;
    VectorBarrier();
    AscendC::Select(chosen, src[first / 8], ones, static_cast<half>(0.0f), AscendC::SELMODE::VSEL_TENSOR_SCALAR_MODE,
                    static_cast<uint32_t>(now));
    VectorBarrier();
    AscendC::Cast(dst[first], chosen, AscendC::RoundMode::CAST_TRUNC, static_cast<uint32_t>(now));
  }
}

__aicore__ inline bool MaskLane(const AscendC::LocalTensor<uint8_t>& mask, int64_t lane) {
  return ((mask.GetValue(static_cast<uint32_t>(lane / 8)) >> (lane % 8)) & 1) != 0;
}

// ---- reductions of a row to one element, which need not be aligned

enum class Kind { sum, largest, smallest };

// Each of `repeats` groups of `lanes` neighbours, groups 256 B apart: one element for each.
template <Kind kind, typename T>
__aicore__ inline void ReduceGroups(const AscendC::LocalTensor<T>& dst, const AscendC::LocalTensor<T>& src,
                                    int64_t lanes, int64_t repeats) {
  constexpr AscendC::ReduceOrder order = AscendC::ReduceOrder::ORDER_ONLY_VALUE;
  const int32_t mask = static_cast<int32_t>(lanes), times = static_cast<int32_t>(repeats);
  if constexpr (kind == Kind::sum)
    AscendC::WholeReduceSum<T>(dst, src, mask, times, 1, 1, 8);
  else if constexpr (kind == Kind::largest)
    AscendC::WholeReduceMax<T>(dst, src, mask, times, 1, 1, 8, order);
  else
    AscendC::WholeReduceMin<T>(dst, src, mask, times, 1, 1, 8, order);
}

// Longer rows: the vendor's calls, of which some wait for the scalar unit.
template <Kind kind, typename T>
__aicore__ inline void ReduceLongRow(const AscendC::LocalTensor<T>& dst, const AscendC::LocalTensor<T>& src,
                                     int64_t count, const AscendC::LocalTensor<uint8_t>& scratch) {
  const AscendC::LocalTensor<T> found = Scratch<T>(scratch), work = Scratch<T>(scratch, 32);
  if constexpr (kind == Kind::sum)
    AscendC::ReduceSum<T>(found, src, work, static_cast<int32_t>(count));
  else if constexpr (kind == Kind::largest)
    AscendC::ReduceMax<T>(found, src, work, static_cast<int32_t>(count));
  else
    AscendC::ReduceMin<T>(found, src, work, static_cast<int32_t>(count));
  VectorBarrier();
  ReduceGroups<kind>(dst, found, 1, 1);
}

// One instruction for a row of a repeat, two for as many repeats as a repeat has lanes.
template <Kind kind, typename T>
__aicore__ inline void ReduceRow(const AscendC::LocalTensor<T>& dst, const AscendC::LocalTensor<T>& src, int64_t count,
                                 const AscendC::LocalTensor<uint8_t>& scratch) {
  constexpr int64_t lanes = REPEAT_BYTES / static_cast<int64_t>(sizeof(T));
  VectorBarrier();
  if (count <= lanes) {
    ReduceGroups<kind>(dst, src, count, 1);
    return;
  }
  if (count > lanes * lanes) {
    ReduceLongRow<kind>(dst, src, count, scratch);
    return;
  }
  const AscendC::LocalTensor<T> parts = Scratch<T>(scratch);
  const int64_t whole = count / lanes, rest = count % lanes;
  ReduceGroups<kind>(parts, src, lanes, whole);
  VectorBarrier();
  if (rest > 0) {
    ReduceGroups<kind>(parts[whole], src[whole * lanes], rest, 1);
    VectorBarrier();
  }
  ReduceGroups<kind>(dst, parts, rest > 0 ? whole + 1 : whole, 1);
}

template <typename T>
__aicore__ inline void SumRow(const AscendC::LocalTensor<T>& dst, const AscendC::LocalTensor<T>& src, int64_t count,
                              const AscendC::LocalTensor<uint8_t>& scratch) {
  ReduceRow<Kind::sum>(dst, src, count, scratch);
}

template <bool largest, typename T>
__aicore__ inline void ExtremeOfRow(const AscendC::LocalTensor<T>& dst, const AscendC::LocalTensor<T>& src,
                                    int64_t count, const AscendC::LocalTensor<uint8_t>& scratch) {
  ReduceRow<largest ? Kind::largest : Kind::smallest>(dst, src, count, scratch);
}

// dst[j * dst_pitch + i] = src[i * src_pitch + j]
template <typename T>
__aicore__ inline void TransposeRows(const AscendC::LocalTensor<T>& dst, const AscendC::LocalTensor<T>& src,
                                     int64_t rows, int64_t columns, int64_t dst_pitch, int64_t src_pitch,
                                     const AscendC::LocalTensor<uint8_t>& scratch) {
  constexpr int64_t room = SCRATCH_BYTES / 4;
  const AscendC::LocalTensor<int32_t> places = Scratch<int32_t>(scratch);
  if (rows <= 0 || columns <= 0) return;
  const int32_t known = static_cast<int32_t>(rows < room ? rows : room);
  VectorBarrier();
  AscendC::CreateVecIndex(places, 0, static_cast<uint32_t>(known));
  VectorBarrier();
  AscendC::Muls(places, places, static_cast<int32_t>(src_pitch * sizeof(T)), known);
  VectorBarrier();
  for (int64_t first = 0; first < rows; first += room) {
    const uint32_t now = static_cast<uint32_t>(rows - first < room ? rows - first : room);
    for (int64_t column = 0; column < columns; ++column)
      AscendC::Gather(dst[column * dst_pitch + first], src, places.template ReinterpretCast<uint32_t>(),
                      static_cast<uint32_t>((first * src_pitch + column) * sizeof(T)), now);
  }
}
