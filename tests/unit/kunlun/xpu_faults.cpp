// One kernel a planted fault, and what must go well: run with the number of a case.
#include <xpu/runtime.h>
#include <xpu/kernel/xtdk.h>

#include <string>

using Kernel = void (*)(float*, float*);

// A well-made kernel: y = 2 x, cores in turn.
static void good(float* x, float* y) {
  __local__ float rows[64];
  const int core = cluster_id() * core_num() + core_id();
  for (int p = core; p < 16; p += cluster_num() * core_num()) {
    GM2LM_ASYNC(x + p * 64, rows, 256);
    mfence();
    for (int i = 0; i < 64; ++i) rows[i] *= 2;
    LM2GM(rows, y + p * 64, 256);
  }
}
static void no_fence(float* x, float* y) {
  __local__ float rows[64];
  if (core_id() || cluster_id()) return;
  for (int p = 0; p < 16; ++p) {
    GM2LM_ASYNC(x + p * 64, rows, 256);
    for (int i = 0; i < 64; ++i) rows[i] *= 2;
    LM2GM(rows, y + p * 64, 256);
  }
}
static void in_flight(float* x, float*) {
  __local__ float rows[64];
  GM2LM_ASYNC(x, rows, 256);
}
static void global_operand(float* x, float* y) { y[0] = x[0] * 2; }
static void between_global(float* x, float* y) { GM2LM(x, y, 256); }
static void past_the_end(float* x, float*) {
  __local__ float rows[64];
  GM2LM(x + 1000, rows, 256);
}
static void too_much(float* x, float*) {
  __local__ float rows[4096];
  GM2LM(x, rows, 16384);
}
static void nothing(float* x, float*) {
  __local__ float rows[64];
  GM2LM(x, rows, 0);
}
static void two_writers(float*, float* y) {
  __local__ float rows[64];
  LM2GM(rows, y, 256);
}
static void reads_of_another(float*, float* y) {
  __local__ float rows[64];
  if (core_id() == 0 && cluster_id() == 0) LM2GM(rows, y, 256);
  if (core_id() == 1) GM2LM(y + 63, rows, 8);
}

static const Kernel kernels[] = {good,     no_fence, in_flight,   global_operand,   between_global,
                                 past_the_end, too_much, nothing, two_writers, reads_of_another};

int main(int, char** arguments) {
  void *x, *y;
  XPUStream stream;
  xpu_malloc(&x, 4096);
  xpu_malloc(&y, 4096);
  xpu_stream_create(&stream);
  std::vector<float> given(1024), got(1024);
  for (int i = 0; i < 1024; ++i) given[i] = i;
  xpu_memcpy(x, given.data(), 4096, XPU_HOST_TO_DEVICE);
  const Kernel kernel = kernels[std::stoi(arguments[1])];
  INFINI_LAUNCH(kernel, 2, 4, stream, static_cast<float*>(x), static_cast<float*>(y));
  xpu_memcpy(got.data(), y, 4096, XPU_DEVICE_TO_HOST);
  for (int i = 0; i < 1024; ++i)
    if (got[i] != 2.0f * i) return 3;
  return 0;
}
