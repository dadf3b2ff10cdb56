// Kernels that are right, and kernels with one fault each that the model must find.
#include <cstdio>
#include <cstring>
#include <string>

#include "acl/acl.h"
#include "kernel_operator.h"

using namespace AscendC;

static const char* fault = "none";
static bool is(const char* name) { return std::strcmp(fault, name) == 0; }

static DataCopyExtParams row(uint32_t bytes) { return DataCopyExtParams{1, bytes, 0, 0, 0}; }
static DataCopyPadExtParams<float> bare() { return DataCopyPadExtParams<float>{false, 0, 0, 0}; }

// y = 2x with queues: every fault of queue discipline, tails and cores.
extern "C" __global__ __aicore__ void queues(GM_ADDR x, GM_ADDR y, int64_t n) {
    KERNEL_TASK_TYPE_DEFAULT(is("wrong core") ? KERNEL_TYPE_AIC_ONLY : KERNEL_TYPE_AIV_ONLY);
    TPipe pipe;
    TQue<QuePosition::VECIN, 1> in;
    TQue<QuePosition::VECOUT, 1> out;
    pipe.InitBuffer(in, 2, is("oversized buffer") ? 160 * 1024 : 512);
    pipe.InitBuffer(out, 2, is("odd buffer") ? 500 : 512);
    GlobalTensor<float> from, to;
    from.SetGlobalBuffer((__gm__ float*)x, n);
    to.SetGlobalBuffer((__gm__ float*)y, n);
    const int64_t first = is("core race") ? 0 : GetBlockIdx() * 100;
    for (int64_t p = first; p < n; p += GetBlockNum() * 100) {
        const uint32_t count = is("tail overrun") ? 100 : n - p < 100 ? n - p : 100;
        LocalTensor<float> a = in.AllocTensor<float>();
        if (is("misaligned copy")) a = a[1];
        DataCopyPad(a, from[p], row(count * 4), bare());
        if (!is("missing EnQue")) in.EnQue(a);
        a = in.DeQue<float>();
        LocalTensor<float> b = out.AllocTensor<float>();
        Muls(b, a, 2.0f, count);
        if (!is("missing free")) in.FreeTensor(a);
        if (is("double free")) in.FreeTensor(a);
        if (is("use after free")) Muls(b, a, 2.0f, count);
        if (is("whole blocks")) { DataCopy(to[p], b, 3); }
        if (is("skipped queue")) { DataCopyPad(to[p], b, row(count * 4)); }
        out.EnQue(b);
        b = out.DeQue<float>();
        DataCopyPad(to[p], b, row(count * 4));
        out.FreeTensor(b);
    }
}

// y = (2x) * first element, with events.
extern "C" __global__ __aicore__ void events(GM_ADDR x, GM_ADDR y, int64_t n) {
    KERNEL_TASK_TYPE_DEFAULT(is("two kinds in a file") ? KERNEL_TYPE_AIC_ONLY : KERNEL_TYPE_AIV_ONLY);
    TPipe pipe;
    TBuf<TPosition::VECCALC> memory;
    pipe.InitBuffer(memory, 4096);
    LocalTensor<float> all = memory.Get<float>();
    LocalTensor<float> a = all, b = all[512];
    GlobalTensor<float> from, to;
    from.SetGlobalBuffer((__gm__ float*)x, n);
    to.SetGlobalBuffer((__gm__ float*)y, n);
    if (GetBlockIdx() != 0) return;
    DataCopyPad(a, from, row(n * 4), bare());
    if (!is("missing event")) {
        SetFlag<HardEvent::MTE2_V>(is("event id") ? 8 : EVENT_ID0);
        if (is("set twice")) SetFlag<HardEvent::MTE2_V>(EVENT_ID0);
        WaitFlag<HardEvent::MTE2_V>(EVENT_ID0);
    }
    if (is("wait alone")) WaitFlag<HardEvent::V_MTE2>(EVENT_ID0);
    Muls(b, a, 2.0f, n);
    if (!is("missing barrier")) PipeBarrier<PIPE_V>();
    Adds(b, b, 0.0f, n);
    if (!is("scalar without event")) {
        SetFlag<HardEvent::V_S>(EVENT_ID0);
        WaitFlag<HardEvent::V_S>(EVENT_ID0);
    }
    const float first = b.GetValue(0);
    if (!is("overwritten")) {
        SetFlag<HardEvent::S_V>(EVENT_ID0);
        WaitFlag<HardEvent::S_V>(EVENT_ID0);
        PipeBarrier<PIPE_V>();
    } else {
        PipeBarrier<PIPE_V>();
    }
    Muls(b, b, first, n);
    SetFlag<HardEvent::V_MTE3>(EVENT_ID1);
    WaitFlag<HardEvent::V_MTE3>(EVENT_ID1);
    if (is("atomic left on")) SetAtomicAdd<float>();
    DataCopyPad(to, b, row(n * 4));
    if (is("flag left set")) SetFlag<HardEvent::MTE3_V>(EVENT_ID2);
    if (is("read back")) DataCopyPad(a, to, row(n * 4), bare());
    if (is("overlap")) { PipeBarrier<PIPE_ALL>(); Add(b, b[8], a, 16); }
    if (is("misaligned operand")) { PipeBarrier<PIPE_ALL>(); Add(b[1], a, a, 8); }
    if (is("ragged compare")) {
        PipeBarrier<PIPE_ALL>();
        CompareScalar(b.ReinterpretCast<uint8_t>(), a, 0.0f, CMPMODE::LT, 10);
    }
    if (is("integer compare")) {
        PipeBarrier<PIPE_ALL>();
        CompareScalar(b.ReinterpretCast<uint8_t>(), a.ReinterpretCast<int32_t>(), 0, CMPMODE::LT, 64);
    }
    if (is("rounding")) { PipeBarrier<PIPE_ALL>(); Cast(b.ReinterpretCast<int32_t>(), a, RoundMode::CAST_NONE, 8); }
    if (is("out of buffer")) { PipeBarrier<PIPE_ALL>(); Adds(b, a, 1.0f, 1000); }
    if (is("past the end")) { PipeBarrier<PIPE_ALL>(); Adds(b, b, 1.0f, 513); }
    if (is("scalar write")) to.SetValue(0, 1.0f);
}

int main(int count, char** arguments) {
    if (count > 1) fault = arguments[1];
    constexpr int64_t n = 250;
    float host[n];
    for (int64_t i = 0; i < n; ++i) host[i] = static_cast<float>(i + 1);
    void *x, *y;
    aclrtMalloc(&x, sizeof(host), ACL_MEM_MALLOC_HUGE_FIRST);
    aclrtMalloc(&y, sizeof(host), ACL_MEM_MALLOC_HUGE_FIRST);
    aclrtMemcpy(x, sizeof(host), host, sizeof(host), ACL_MEMCPY_HOST_TO_DEVICE);
    float result[n];
    for (int pass = 0; pass < 2; ++pass) {
        if (pass == 0) INFINI_LAUNCH(queues, 3, nullptr, nullptr, (uint8_t*)x, (uint8_t*)y, n);
        else INFINI_LAUNCH(events, 3, nullptr, nullptr, (uint8_t*)x, (uint8_t*)y, n);
        aclrtMemcpy(result, sizeof(host), y, sizeof(host), ACL_MEMCPY_DEVICE_TO_HOST);
        for (int64_t i = 0; i < n; ++i)
            if (result[i] != host[i] * (pass == 0 ? 2.0f : 4.0f)) {
                std::printf("pass %d: element %d is %f\n", pass, (int)i, result[i]);
                return 1;
            }
    }
    std::puts("right");
    return 0;
}
