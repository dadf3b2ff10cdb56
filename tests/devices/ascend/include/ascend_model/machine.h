// The machine: on-chip memories, pipes with vector clocks, events, global memory.
//
// Sources (public): sizes and alignment, architecture page "NPU 2201" of the Ascend C guide;
// pipes and hard events, API pages SetFlag/WaitFlag and PipeBarrier; 8 event ids a direction,
// API page AllocEventID. Order between pipes is checked with vector clocks: each instruction
// belongs to a pipe, a pipe runs its instructions in order, and one pipe knows of another
// pipe's work only through an event, a queue or a barrier. Two accesses of the same bytes, one
// of them a write, must be ordered so. Within the vector and the cube pipe, an instruction that
// needs an earlier one's result wants PipeBarrier<PIPE_V> or <PIPE_M>.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "ascend_model/report.h"

enum pipe_t { PIPE_S = 0, PIPE_V, PIPE_M, PIPE_MTE1, PIPE_MTE2, PIPE_MTE3, PIPE_FIX, PIPE_ALL };

namespace ascend_model {

constexpr int PIPES = 7;
constexpr int EVENTS = 8;
constexpr size_t GRANULE = 32;

inline const char* pipe_name(int pipe) {
    static const char* names[] = {"S", "V", "M", "MTE1", "MTE2", "MTE3", "FIX", "ALL"};
    return names[pipe];
}

enum class Space { UB, L1, L0A, L0B, L0C };
constexpr int SPACES = 5;

struct SpaceFacts {
    const char* name;
    size_t bytes;
    size_t alignment;
};

// UB: 192 KB less 256 B, and less the 8 KB that the tools keep by default.
inline const SpaceFacts& facts(Space space) {
    static const SpaceFacts table[SPACES] = {
        {"UB", 192 * 1024 - 256 - 8 * 1024, 32}, {"L1", 512 * 1024 - 256, 32},
        {"L0A", 64 * 1024, 512},                 {"L0B", 64 * 1024, 512},
        {"L0C", 128 * 1024, 64},
    };
    return table[static_cast<int>(space)];
}

using Clock = std::array<uint32_t, PIPES>;

inline void join(Clock& into, const Clock& other) {
    for (int i = 0; i < PIPES; ++i) into[i] = std::max(into[i], other[i]);
}

struct Granule {
    int8_t writer = -1;
    uint32_t write_time = 0;
    Clock read_time{};
};

struct Memory {
    std::vector<uint8_t> bytes;
    std::vector<Granule> granules;
    size_t used = 0;
};

// What is known of one byte of global memory within a launch.
struct GlobalByte {
    uint32_t write_launch = 0, read_launch = 0;
    uint16_t write_core = 0, read_core = 0;
    uint8_t write_pipe = 0, read_pipe = 0;
    bool atomic = false;
    uint32_t write_time = 0, read_time = 0;
};

struct Allocation {
    uint8_t* base;
    size_t size;
    std::unordered_map<size_t, std::vector<GlobalByte>> pages;
    static constexpr size_t PAGE = 4096;

    GlobalByte& at(size_t offset) {
        auto& page = pages[offset / PAGE];
        if (page.empty()) page.resize(PAGE);
        return page[offset % PAGE];
    }
};

struct Flag {
    bool set = false;
    Clock clock{};
};

enum class Atomic { none, add, max, min };

class Machine {
  public:
    static Machine& get() {
        static Machine machine;
        return machine;
    }

    // ---- cores and launches

    uint32_t launch = 0;
    int64_t blocks = 1;
    int kind = 0;  // 0 not said, 1 vector core, 2 cube core
    Atomic atomic = Atomic::none;
    size_t atomic_width = 0;

    void begin_core(int64_t core) {
        place().core = core;
        kind = 0;
        atomic = Atomic::none;
        for (int i = 0; i < SPACES; ++i) {
            Memory& memory = memories_[i];
            const size_t size = facts(static_cast<Space>(i)).bytes;
            if (memory.bytes.size() != size) {
                memory.bytes.assign(size, 0xcd);
                memory.granules.assign((size + GRANULE - 1) / GRANULE, Granule());
            } else {
                const size_t used = std::min(size, memory.used);
                std::fill(memory.bytes.begin(), memory.bytes.begin() + used, 0xcd);
                std::fill(memory.granules.begin(),
                          memory.granules.begin() + (used + GRANULE - 1) / GRANULE, Granule());
            }
            memory.used = 0;
        }
        for (auto& clock : clocks_) clock.fill(0);
        barrier_.fill(0);
        for (auto& from : flags_)
            for (auto& to : from) to.fill(Flag());
        for (auto& from : held_) from.fill(0);
    }

    void end_core() {
        for (int from = 0; from < PIPES; ++from)
            for (int to = 0; to < PIPES; ++to)
                for (int id = 0; id < EVENTS; ++id)
                    if (flags_[from][to][id].set)
                        fail("every SetFlag has a WaitFlag", "event %s_%s id %d is still set at the end",
                             pipe_name(from), pipe_name(to), id);
        if (atomic != Atomic::none)
            fail("atomic mode ends", "SetAtomicNone was not called before the kernel ended");
    }

    // ---- on-chip memory

    size_t reserve(Space space, size_t bytes) {
        Memory& memory = memories_[static_cast<int>(space)];
        const SpaceFacts& limits = facts(space);
        if (bytes == 0 || bytes % 32)
            fail("buffers are whole blocks of 32 B", "%zu bytes asked for in %s", bytes, limits.name);
        const size_t at = (memory.used + limits.alignment - 1) / limits.alignment * limits.alignment;
        if (at + bytes > limits.bytes)
            fail("on-chip memory is limited", "%s has %zu bytes; %zu in use, %zu more wanted",
                 limits.name, limits.bytes, memory.used, bytes);
        memory.used = at + bytes;
        return at;
    }

    uint8_t* local(Space space, size_t offset) {
        return memories_[static_cast<int>(space)].bytes.data() + offset;
    }

    // ---- pipes

    void barrier(int pipe) {
        if (pipe != PIPE_ALL) {
            barrier_[pipe] = clocks_[pipe][pipe];
            return;
        }
        Clock all{};
        for (const auto& clock : clocks_) join(all, clock);
        for (auto& clock : clocks_) join(clock, all);
        for (int i = 0; i < PIPES; ++i) barrier_[i] = clocks_[i][i];
    }

    // Instructions of the cube pipe before the current one count as ended.
    void order_matrix() { barrier_[PIPE_M] = std::max(barrier_[PIPE_M], clocks_[PIPE_M][PIPE_M] - 1); }

    Clock snapshot(int pipe) const { return clocks_[pipe]; }

    // A pipe learns what another one had seen; its own part of that has ended.
    void learn(int pipe, const Clock& clock) {
        join(clocks_[pipe], clock);
        barrier_[pipe] = std::max(barrier_[pipe], clock[pipe]);
    }

    void set_flag(int from, int to, int id) {
        Flag& flag = flag_of(from, to, id);
        if (flag.set)
            fail("an event is waited for before it is set again", "event %s_%s id %d is already set",
                 pipe_name(from), pipe_name(to), id);
        flag.set = true;
        flag.clock = clocks_[from];
    }

    void wait_flag(int from, int to, int id) {
        Flag& flag = flag_of(from, to, id);
        if (!flag.set)
            fail("an event is set before it is waited for", "event %s_%s id %d is not set",
                 pipe_name(from), pipe_name(to), id);
        flag.set = false;
        learn(to, flag.clock);
    }

    // Ids that queues hold from EnQue to DeQue and from FreeTensor to AllocTensor: the highest.
    void take_event(int from, int to) {
        if (++held_[from][to] > EVENTS)
            fail("8 event ids a direction", "queues hold more of event %s_%s", pipe_name(from), pipe_name(to));
    }
    void release_event(int from, int to) { --held_[from][to]; }
    int8_t free_event(int from, int to) {
        for (int id = 0; id < EVENTS - held_[from][to]; ++id)
            if (!flags_[from][to][id].set) return static_cast<int8_t>(id);
        fail("8 event ids a direction", "none of event %s_%s is free", pipe_name(from), pipe_name(to));
    }

    uint32_t step(int pipe) { return ++clocks_[pipe][pipe]; }

    void touch(Space space, size_t offset, size_t bytes, int pipe, bool write) {
        if (bytes == 0) return;
        const uint32_t now = clocks_[pipe][pipe];
        auto& granules = memories_[static_cast<int>(space)].granules;
        const size_t last = (offset + bytes - 1) / GRANULE;
        for (size_t number = offset / GRANULE; number <= last; ++number) {
            Granule& granule = granules[number];
            check_after_write(space, number, granule, pipe, now);
            if (!write) {
                granule.read_time[pipe] = now;
                continue;
            }
            for (int other = 0; other < PIPES; ++other)
                if (other != pipe && granule.read_time[other] > clocks_[pipe][other])
                    unordered(space, number, other, "read", pipe, "writes");
            granule.writer = static_cast<int8_t>(pipe);
            granule.write_time = now;
        }
    }

    // ---- global memory

    void add_allocation(void* base, size_t size) {
        uint8_t* bytes = static_cast<uint8_t*>(base);
        allocations_[bytes] = std::make_unique<Allocation>(Allocation{bytes, size, {}});
    }

    bool remove_allocation(void* base) { return allocations_.erase(static_cast<uint8_t*>(base)) > 0; }

    // Checks an access of global memory and notes it. Returns the address.
    uint8_t* global(const void* address, size_t bytes, int pipe, bool write) {
        uint8_t* at = static_cast<uint8_t*>(const_cast<void*>(address));
        if (bytes == 0) return at;
        Allocation& allocation = find(at, bytes);
        const size_t begin = static_cast<size_t>(at - allocation.base);
        const bool is_atomic = write && pipe == PIPE_MTE3 && atomic != Atomic::none;
        const bool fix_atomic = write && pipe == PIPE_FIX && atomic != Atomic::none;
        for (size_t offset = begin; offset < begin + bytes;) {
            const size_t end = std::min(begin + bytes, (offset / Allocation::PAGE + 1) * Allocation::PAGE);
            GlobalByte* byte = &allocation.at(offset);
            for (; offset < end; ++offset) note(*byte++, allocation.size, offset, pipe, write, is_atomic || fix_atomic);
        }
        return at;
    }

    void check_alive(const void* address, size_t bytes) {
        find(static_cast<uint8_t*>(const_cast<void*>(address)), bytes);
    }

  private:
    std::array<Memory, SPACES> memories_;
    std::array<Clock, PIPES> clocks_{};
    Clock barrier_{};
    std::array<std::array<std::array<Flag, EVENTS>, PIPES>, PIPES> flags_{};
    std::array<std::array<int, PIPES>, PIPES> held_{};
    std::map<uint8_t*, std::unique_ptr<Allocation>> allocations_;

    Flag& flag_of(int from, int to, int id) {
        if (id < 0 || id >= EVENTS)
            fail("8 event ids a direction", "id %d of event %s_%s", id, pipe_name(from), pipe_name(to));
        return flags_[from][to][id];
    }

    [[noreturn]] void unordered(Space space, size_t number, int other, const char* did, int pipe,
                                const char* does) {
        if (other == pipe)
            fail("dependent instructions of a pipe want PipeBarrier",
                 "pipe %s %s bytes at %zu of %s that it wrote since the last PipeBarrier<PIPE_%s>",
                 pipe_name(pipe), does, number * GRANULE, facts(space).name, pipe_name(pipe));
        fail("pipes are synchronised", "pipe %s %s bytes at %zu of %s that pipe %s %s, with no event %s_%s between",
             pipe_name(pipe), does, number * GRANULE, facts(space).name, pipe_name(other), did,
             pipe_name(other), pipe_name(pipe));
    }

    void check_after_write(Space space, size_t number, const Granule& granule, int pipe, uint32_t now) {
        const int writer = granule.writer;
        if (writer < 0 || granule.write_time == 0) return;
        if (writer == pipe) {
            const bool wants_barrier = pipe == PIPE_V || pipe == PIPE_M;
            if (wants_barrier && granule.write_time > barrier_[pipe] && granule.write_time < now)
                unordered(space, number, writer, "wrote", pipe, "uses");
        } else if (clocks_[pipe][writer] < granule.write_time) {
            unordered(space, number, writer, "wrote", pipe, "uses");
        }
    }

    Allocation& find(uint8_t* at, size_t bytes) {
        auto next = allocations_.upper_bound(at);
        if (next != allocations_.begin()) {
            Allocation& allocation = *std::prev(next)->second;
            if (at + bytes <= allocation.base + allocation.size) return allocation;
        }
        fail("global memory is accessed inside its buffers", "%zu bytes at %p are in no buffer", bytes,
             static_cast<void*>(at));
    }

    void note(GlobalByte& byte, size_t size, size_t offset, int pipe, bool write, bool is_atomic) {
        const uint16_t core = static_cast<uint16_t>(place().core);
        const uint32_t now = clocks_[pipe][pipe];
        if (byte.write_launch == launch) {
            const bool both_atomic = byte.atomic && is_atomic;
            if (byte.write_core != core && !both_atomic)
                fail("cores do not touch what another core writes",
                     "byte %zu of a buffer of %zu was written by core %d and is %s by core %d", offset,
                     size, byte.write_core, write ? "written" : "read", core);
            if (byte.write_core == core && byte.write_pipe != pipe && !both_atomic &&
                clocks_[pipe][byte.write_pipe] < byte.write_time)
                fail("pipes are synchronised",
                     "pipe %s uses byte %zu of a buffer of %zu in global memory that pipe %s wrote, with no event between",
                     pipe_name(pipe), offset, size, pipe_name(byte.write_pipe));
        }
        if (!write) {
            byte.read_launch = launch, byte.read_core = core;
            byte.read_pipe = static_cast<uint8_t>(pipe), byte.read_time = now;
            return;
        }
        if (byte.read_launch == launch) {
            if (byte.read_core != core)
                fail("cores do not touch what another core writes",
                     "byte %zu of a buffer of %zu was read by core %d and is written by core %d", offset,
                     size, byte.read_core, core);
            if (byte.read_pipe != pipe && clocks_[pipe][byte.read_pipe] < byte.read_time)
                fail("pipes are synchronised",
                     "pipe %s writes byte %zu of a buffer of %zu in global memory that pipe %s read, with no event between",
                     pipe_name(pipe), offset, size, pipe_name(byte.read_pipe));
        }
        byte.write_launch = launch, byte.write_core = core;
        byte.write_pipe = static_cast<uint8_t>(pipe), byte.write_time = now;
        byte.atomic = is_atomic;
    }
};

inline Machine& machine() { return Machine::get(); }

inline void kind_of_file(const char* file, int kind) {
    static std::map<std::string, int> kinds;
    if (kinds.emplace(file, kind).first->second != kind)
        fail("kernels of a file are of one kind", "%s has kernels for vector and for cube cores", file);
}

// One kernel over its blocks, in order: what cores may not see of each other is checked.
template <typename Body>
void launch(const char* name, int64_t blocks, Body body) {
    if (blocks < 1 || blocks > 65535) fail("1 to 65535 blocks", "%s was given %lld", name, static_cast<long long>(blocks));
    Machine& m = machine();
    place().kernel = name;
    ++m.launch;
    m.blocks = blocks;
    for (int64_t core = 0; core < blocks; ++core) {
        m.begin_core(core);
        body();
        m.end_core();
    }
    place() = Place();
}

}  // namespace ascend_model
