// Tensors, buffers and queues.
//
// Sources: API pages LocalTensor, GlobalTensor, TPipe (InitBuffer, FetchEventID), TQue
// (AllocTensor, EnQue, DeQue, FreeTensor), TBuf, SetFlag/WaitFlag, PipeBarrier,
// DataCacheCleanAndInvalid, GetBlockIdx/GetBlockNum.
//
// A queue carries the synchronisation of its ends: EnQue sets an event of the producing pipe,
// DeQue waits for it; FreeTensor sets one of the consuming pipe, AllocTensor waits for it.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <type_traits>
#include <vector>

#include "ascend_model/machine.h"
#include "ascend_model/number_types.h"

#define __global__
#define __aicore__
#define __gm__
#define __ubuf__
#define __cube__
#define __vector__
#define GM_ADDR uint8_t*

using event_t = int32_t;
constexpr event_t EVENT_ID0 = 0, EVENT_ID1 = 1, EVENT_ID2 = 2, EVENT_ID3 = 3;
constexpr event_t EVENT_ID4 = 4, EVENT_ID5 = 5, EVENT_ID6 = 6, EVENT_ID7 = 7;

enum KernelTaskType { KERNEL_TYPE_AIV_ONLY = 1, KERNEL_TYPE_AIC_ONLY = 2 };
// A kernel says for which cores it is, once, at its beginning. The build of kernels that are
// launched directly (CANN's ascendc_kernel_cmake, extract_host_stub.py) takes the first of a
// source file for all of that file's kernels.
#define KERNEL_TASK_TYPE_DEFAULT(type) \
    (::ascend_model::kind_of_file(__FILE__, static_cast<int>(type)), \
     ::ascend_model::machine().kind = static_cast<int>(type))

namespace AscendC {

// Conversions of the scalar unit.
inline float ToFloat(::bfloat16_t value) { return value; }
inline ::bfloat16_t ToBfloat16(float value) { return ::bfloat16_t(value); }

template <typename A, typename B>
struct IsSameType : std::is_same<A, B> {};

using ::bfloat16_t;
using ::half;
using ascend_model::fail;
using ascend_model::InCall;
using ascend_model::machine;
using ascend_model::Space;

enum class TPosition { GM, A1, A2, B1, B2, CO1, CO2, VECIN, VECOUT, VECCALC };
using QuePosition = TPosition;

enum class HardEvent {
    MTE2_V, V_MTE2, MTE3_V, V_MTE3, MTE2_MTE3, MTE3_MTE2, V_S, S_V, MTE2_S, S_MTE2, MTE3_S, S_MTE3,
    MTE2_MTE1, MTE1_MTE2, MTE1_M, M_MTE1, M_FIX, FIX_M, FIX_MTE2, MTE2_FIX, MTE1_FIX, FIX_MTE1,
    FIX_S, S_FIX, M_S, S_M, M_V, V_M, MTE3_MTE1, MTE1_MTE3,
};

struct Ends {
    pipe_t from, to;
};

constexpr Ends ends_of(HardEvent event) {
    constexpr Ends table[] = {
        {PIPE_MTE2, PIPE_V},    {PIPE_V, PIPE_MTE2},    {PIPE_MTE3, PIPE_V},    {PIPE_V, PIPE_MTE3},
        {PIPE_MTE2, PIPE_MTE3}, {PIPE_MTE3, PIPE_MTE2}, {PIPE_V, PIPE_S},       {PIPE_S, PIPE_V},
        {PIPE_MTE2, PIPE_S},    {PIPE_S, PIPE_MTE2},    {PIPE_MTE3, PIPE_S},    {PIPE_S, PIPE_MTE3},
        {PIPE_MTE2, PIPE_MTE1}, {PIPE_MTE1, PIPE_MTE2}, {PIPE_MTE1, PIPE_M},    {PIPE_M, PIPE_MTE1},
        {PIPE_M, PIPE_FIX},     {PIPE_FIX, PIPE_M},     {PIPE_FIX, PIPE_MTE2},  {PIPE_MTE2, PIPE_FIX},
        {PIPE_MTE1, PIPE_FIX},  {PIPE_FIX, PIPE_MTE1},  {PIPE_FIX, PIPE_S},     {PIPE_S, PIPE_FIX},
        {PIPE_M, PIPE_S},       {PIPE_S, PIPE_M},       {PIPE_M, PIPE_V},       {PIPE_V, PIPE_M},
        {PIPE_MTE3, PIPE_MTE1}, {PIPE_MTE1, PIPE_MTE3},
    };
    return table[static_cast<int>(event)];
}

template <HardEvent event>
inline void SetFlag(event_t id) {
    InCall call("SetFlag");
    machine().set_flag(ends_of(event).from, ends_of(event).to, id);
}

template <HardEvent event>
inline void WaitFlag(event_t id) {
    InCall call("WaitFlag");
    machine().wait_flag(ends_of(event).from, ends_of(event).to, id);
}

template <pipe_t pipe>
inline void PipeBarrier() {
    static_assert(pipe != PIPE_S, "PipeBarrier takes no PIPE_S");
    machine().barrier(pipe);
}

inline int64_t GetBlockIdx() { return ascend_model::place().core; }
inline int64_t GetBlockNum() { return machine().blocks; }

constexpr Space space_of(TPosition position) {
    switch (position) {
        case TPosition::A1:
        case TPosition::B1: return Space::L1;
        case TPosition::A2: return Space::L0A;
        case TPosition::B2: return Space::L0B;
        case TPosition::CO1: return Space::L0C;
        default: return Space::UB;
    }
}

// A piece of on-chip memory as it was handed out; `number` changes when it is given back.
struct Slot {
    Space space = Space::UB;
    size_t offset = 0, bytes = 0;
    uint32_t number = 0;
    bool out = false, queued = false;
};

template <typename T>
class LocalTensor {
  public:
    using PrimType = T;
    std::shared_ptr<Slot> slot;
    uint32_t number = 0;
    size_t begin = 0;  // bytes from the slot's beginning
    size_t length = 0; // elements from there

    uint32_t GetSize() const { return static_cast<uint32_t>(length); }
    uint32_t GetLength() const { return static_cast<uint32_t>(length * sizeof(T)); }

    void SetSize(uint32_t size) { length = size; }

    LocalTensor operator[](size_t offset) const {
        if (offset > length) fail("tensors are used inside their buffer", "offset %zu of %zu elements", offset, length);
        LocalTensor part = *this;
        part.begin += offset * sizeof(T);
        part.length -= offset;
        return part;
    }

    template <typename U>
    LocalTensor<U> ReinterpretCast() const {
        LocalTensor<U> other;
        other.slot = slot;
        other.number = number;
        other.begin = begin;
        other.length = length * sizeof(T) / sizeof(U);
        return other;
    }

    T GetValue(size_t index) const {
        InCall call("GetValue");
        machine().step(PIPE_S);
        return *access(PIPE_S, index, 1, false);
    }

    template <typename U>
    void SetValue(size_t index, U value) const {
        InCall call("SetValue");
        machine().step(PIPE_S);
        *access(PIPE_S, index, 1, true) = static_cast<T>(value);
    }

    // The address without a check; only what is inside the memory may be looked at.
    const T* unchecked(size_t count) const {
        const size_t at = slot->offset + begin;
        if (at + count * sizeof(T) > ascend_model::facts(slot->space).bytes)
            fail("tensors are used inside their buffer", "%zu bytes from %zu on are not in %s", count * sizeof(T), at,
                 ascend_model::facts(slot->space).name);
        return reinterpret_cast<const T*>(machine().local(slot->space, at));
    }

    // Checks `count` elements from `index` on and notes the access of that pipe.
    T* access(int pipe, size_t index, size_t count, bool write) const {
        if (!slot) fail("tensors come from a buffer", "this tensor was never given one");
        if (slot->number != number) fail("tensors are used between AllocTensor and FreeTensor", "it was freed");
        if (index + count > length)
            fail("tensors are used inside their buffer", "elements %zu to %zu of %zu (%zu B each)", index,
                 index + count, length, sizeof(T));
        const size_t at = slot->offset + begin + index * sizeof(T);
        machine().touch(slot->space, at, count * sizeof(T), pipe, write);
        return reinterpret_cast<T*>(machine().local(slot->space, at));
    }

    // As `access`, for instructions that want their operands aligned.
    T* operand(int pipe, size_t count, bool write, size_t alignment = 32) const {
        const size_t at = (slot ? slot->offset : 0) + begin;
        if (at % alignment)
            fail("operands are aligned", "address %zu in %s is no multiple of %zu", at,
                 slot ? ascend_model::facts(slot->space).name : "?", alignment);
        return access(pipe, 0, count, write);
    }

    Space space() const { return slot ? slot->space : Space::UB; }
};

template <typename T>
class GlobalTensor {
  public:
    T* base = nullptr;
    uint64_t size = 0;
    bool sized = false;
    int64_t shift = 0;

    void SetGlobalBuffer(T* buffer) { base = buffer, sized = false, shift = 0; }
    void SetGlobalBuffer(T* buffer, uint64_t elements) {
        base = buffer, size = elements, sized = true, shift = 0;
    }
    GlobalTensor operator[](int64_t offset) const {
        GlobalTensor part = *this;
        part.shift += offset;
        return part;
    }
    const T* GetPhyAddr() const { return base + shift; }
    uint64_t GetSize() const { return size; }

    T GetValue(int64_t index) const {
        InCall call("GlobalTensor::GetValue");
        machine().step(PIPE_S);
        T value;
        std::memcpy(&value, access(PIPE_S, index, sizeof(T), false), sizeof(T));
        return value;
    }

    void SetValue(int64_t, T) const {
        fail("global memory is written by copies",
             "a scalar write goes through a cache line of 64 B that cores would share");
    }

    uint8_t* access(int pipe, int64_t index, size_t bytes, bool write) const {
        const int64_t first = shift + index;
        const int64_t last = first + static_cast<int64_t>((bytes + sizeof(T) - 1) / sizeof(T));
        if (sized && (first < 0 || last > static_cast<int64_t>(size)))
            fail("global memory is accessed inside its buffers", "elements %lld to %lld of %llu",
                 static_cast<long long>(first), static_cast<long long>(last),
                 static_cast<unsigned long long>(size));
        return machine().global(base + first, bytes, pipe, write);
    }
};

struct QueueEnds {
    pipe_t producer, consumer;
};

constexpr QueueEnds queue_ends(TPosition position) {
    switch (position) {
        case TPosition::VECIN: return {PIPE_MTE2, PIPE_V};
        case TPosition::VECOUT: return {PIPE_V, PIPE_MTE3};
        case TPosition::A1:
        case TPosition::B1: return {PIPE_MTE2, PIPE_MTE1};
        case TPosition::A2:
        case TPosition::B2: return {PIPE_MTE1, PIPE_M};
        case TPosition::CO1: return {PIPE_M, PIPE_FIX};
        default: return {PIPE_V, PIPE_V};
    }
}

class TPipe;

template <TPosition position, int32_t depth, int32_t mask = 0>
class TQue {
  public:
    ~TQue() {
        for (const auto& slot : slots_)
            if (slot->out && !ascend_model::place().kernel.empty())
                fail("each AllocTensor has one FreeTensor", "a tensor of a queue was not freed at the end");
        if (!waiting_.empty())
            fail("each EnQue has one DeQue", "%zu tensors are still in a queue at the end", waiting_.size());
    }

    template <typename T>
    LocalTensor<T> AllocTensor() {
        InCall call("AllocTensor");
        for (size_t i = 0; i < slots_.size(); ++i) {
            const size_t number = (next_ + i) % slots_.size();
            Slot& slot = *slots_[number];
            if (slot.out) continue;
            next_ = number + 1;
            slot.out = true;
            if (used_[number]) machine().release_event(queue_ends(position).consumer, queue_ends(position).producer);
            used_[number] = false;
            machine().learn(queue_ends(position).producer, freed_[number]);
            LocalTensor<T> tensor;
            tensor.slot = slots_[number];
            tensor.number = slot.number;
            tensor.length = slot.bytes / sizeof(T);
            return tensor;
        }
        fail("a queue has no more tensors than buffers", "all %zu are out (free one first)", slots_.size());
    }

    template <typename T>
    bool EnQue(const LocalTensor<T>& tensor) {
        InCall call("EnQue");
        check_own(tensor);
        if (tensor.slot->queued) fail("each EnQue has one DeQue", "the tensor is in the queue already");
        if (waiting_.size() >= static_cast<size_t>(depth < 1 ? 1 : depth))
            fail("a queue holds no more tensors than its depth", "depth %d", depth);
        tensor.slot->queued = true;
        machine().take_event(queue_ends(position).producer, queue_ends(position).consumer);
        waiting_.push_back({tensor.slot, machine().snapshot(queue_ends(position).producer)});
        return true;
    }

    template <typename T>
    LocalTensor<T> DeQue() {
        InCall call("DeQue");
        if (waiting_.empty()) fail("EnQue comes before DeQue", "the queue is empty");
        auto [slot, clock] = waiting_.front();
        waiting_.pop_front();
        slot->queued = false;
        machine().release_event(queue_ends(position).producer, queue_ends(position).consumer);
        machine().learn(queue_ends(position).consumer, clock);
        LocalTensor<T> tensor;
        tensor.slot = slot;
        tensor.number = slot->number;
        tensor.length = slot->bytes / sizeof(T);
        return tensor;
    }

    template <typename T>
    void FreeTensor(LocalTensor<T>& tensor) {
        InCall call("FreeTensor");
        check_own(tensor);
        if (tensor.slot->queued) fail("a tensor in the queue is not freed", "DeQue it first");
        tensor.slot->out = false;
        ++tensor.slot->number;
        for (size_t i = 0; i < slots_.size(); ++i)
            if (slots_[i] == tensor.slot) {
                freed_[i] = machine().snapshot(queue_ends(position).consumer);
                used_[i] = true;
                machine().take_event(queue_ends(position).consumer, queue_ends(position).producer);
            }
    }

  private:
    friend class TPipe;
    struct Waiting {
        std::shared_ptr<Slot> slot;
        ascend_model::Clock clock;
    };
    std::vector<std::shared_ptr<Slot>> slots_;
    std::vector<ascend_model::Clock> freed_;
    std::vector<bool> used_;
    std::deque<Waiting> waiting_;
    size_t next_ = 0;

    template <typename T>
    void check_own(const LocalTensor<T>& tensor) const {
        for (const auto& slot : slots_)
            if (slot == tensor.slot) {
                if (slot->number != tensor.number || !slot->out)
                    fail("each AllocTensor has one FreeTensor", "the tensor was freed already");
                return;
            }
        fail("a queue takes its own tensors", "this tensor is of another buffer");
    }
};

template <TPosition position>
class TBuf {
  public:
    template <typename T>
    LocalTensor<T> Get() const {
        if (!slot_) fail("InitBuffer comes first", "the TBuf has no memory");
        LocalTensor<T> tensor;
        tensor.slot = slot_;
        tensor.length = slot_->bytes / sizeof(T);
        return tensor;
    }

  private:
    friend class TPipe;
    std::shared_ptr<Slot> slot_;
};

class TPipe {
  public:
    template <TPosition position, int32_t depth, int32_t mask>
    bool InitBuffer(TQue<position, depth, mask>& queue, uint8_t count, uint32_t bytes) {
        InCall call("InitBuffer");
        for (int i = 0; i < count; ++i) {
            queue.slots_.push_back(slot(space_of(position), bytes));
            queue.freed_.push_back(ascend_model::Clock{});
            queue.used_.push_back(false);
        }
        return true;
    }

    template <TPosition position>
    bool InitBuffer(TBuf<position>& buffer, uint32_t bytes) {
        InCall call("InitBuffer");
        buffer.slot_ = slot(space_of(position), bytes);
        return true;
    }

    // An id that nothing uses now; it stays free.
    int8_t FetchEventID(HardEvent event) { return machine().free_event(ends_of(event).from, ends_of(event).to); }

  private:
    static std::shared_ptr<Slot> slot(Space space, uint32_t bytes) {
        auto made = std::make_shared<Slot>();
        made->space = space;
        made->bytes = bytes;
        made->offset = machine().reserve(space, bytes);
        return made;
    }
};

inline TPipe* GetTPipePtr() {
    static TPipe pipe;
    return &pipe;
}

// Instructions are checked to be of the cores that have them.
inline void want_vector_core() {
    if (machine().kind == 2) fail("vector instructions run on vector cores", "the kernel is for cube cores");
}
inline void want_cube_core() {
    if (machine().kind == 1) fail("cube instructions run on cube cores", "the kernel is for vector cores");
}

}  // namespace AscendC

using AscendC::GetTPipePtr;
