// One kernel a planted fault, and what must go well: run with the number of a case.
#include <bang.h>

#include <string>

__nram__ __attribute__((aligned(128))) char nram[8192];
__wram__ __attribute__((aligned(128))) float wram[64 * 64];

using Kernel = void (*)(float*, float*);
static float* rows(int at) { return reinterpret_cast<float*>(nram + at); }

// A well-made kernel: y = 2 x, tasks in turn.
static void good(float* x, float* y) {
  for (int p = taskId; p < 16; p += taskDim) {
    __memcpy(rows(0), x + p * 64, 256, GDRAM2NRAM);
    __bang_mul_scalar(rows(0), rows(0), 2.0f, 64);
    __memcpy(y + p * 64, rows(0), 256, NRAM2GDRAM);
  }
}
static void count(float*, float*) { __bang_add(rows(0), rows(256), rows(512), 63); }
static void alignment(float*, float*) { __bang_add(rows(0), rows(64), rows(512), 64); }
static void overlap(float*, float*) { __bang_abs(rows(128), rows(0), 64); }
static void direction(float* x, float*) { __memcpy(rows(0), x, 64, NRAM2GDRAM); }
static void global_operand(float* x, float*) { __bang_add(rows(0), x, x, 64); }
static void nram_end(float*, float*) { __bang_abs(rows(8192 - 256), rows(8192 - 256), 128); }
static void global_end(float* x, float*) { __memcpy(rows(0), x + 1020, 20, GDRAM2NRAM); }
static void strided_end(float* x, float*) {
  __memcpy(rows(0), x + 895, 8, GDRAM2NRAM, 8, 512, 1);
}
static void no_sync_in(float* x, float*) {
  __memcpy_async(rows(0), x, 256, GDRAM2NRAM);
  __bang_abs(rows(0), rows(0), 64);
}
static void no_sync_out(float*, float* y) {
  if (taskId != 0) return;
  __bang_write_zero(rows(0), 64);
  __memcpy_async(y, rows(0), 256, NRAM2GDRAM);
}
static void overwritten_while_leaving(float*, float* y) {
  if (taskId != 0) return;
  __bang_write_zero(rows(0), 64);
  __sync_compute();
  __memcpy_async(y, rows(0), 256, NRAM2GDRAM);
  __bang_write_zero(rows(0), 64);
}
static void loaded_while_read(float* x, float*) {
  __bang_write_zero(rows(0), 64);
  __sync_compute();
  __bang_abs(rows(512), rows(0), 64);
  __memcpy_async(rows(0), x, 256, GDRAM2NRAM);
}
static void in_flight_at_end(float* x, float*) { __memcpy_async(rows(0), x, 256, GDRAM2NRAM); }
static void two_writers(float*, float* y) { __memcpy(y, rows(0), 256, NRAM2GDRAM); }
static void reads_of_another(float*, float* y) {
  if (taskId == 0) __memcpy(y, rows(0), 256, NRAM2GDRAM);
  if (taskId == 1) __memcpy(rows(0), y + 63, 8, GDRAM2NRAM);
}
static void filter_in_nram(float*, float*) {
  __bang_matmul(rows(0), rows(4096), rows(4096), 1, 64, 64);
}
static void narrow_product(float*, float*) { __bang_matmul(rows(0), rows(4096), wram, 1, 60, 64); }
static void meeting(float*, float*) { __sync_all(); }
static void beyond_the_page(float*, float* y) { *(volatile float*)(y + 1024) = 1.0f; }

static const Kernel kernels[] = {
    good,        count,       alignment,         overlap,
    direction,   global_operand, nram_end,       global_end,
    strided_end, no_sync_in,  no_sync_out,       overwritten_while_leaving,
    loaded_while_read, in_flight_at_end, two_writers, reads_of_another,
    filter_in_nram, narrow_product, meeting,     beyond_the_page,
};

int main(int, char** arguments) {
  void *x, *y;
  cnrtQueue_t queue;
  cnrtMalloc(&x, 4096);
  cnrtMalloc(&y, 4096);
  cnrtQueueCreate(&queue);
  std::vector<float> given(1024), got(1024);
  for (int i = 0; i < 1024; ++i) given[i] = i;
  cnrtMemcpyAsync(x, given.data(), 4096, queue, cnrtMemcpyHostToDev);
  const Kernel kernel = kernels[std::stoi(arguments[1])];
  const cnrtDim3_t dim = {4, 2, 1};
  INFINI_LAUNCH(kernel, dim, cnrtFuncTypeUnion1, queue, static_cast<float*>(x),
                static_cast<float*>(y));
  cnrtMemcpyAsync(got.data(), y, 4096, queue, cnrtMemcpyDevToHost);
  for (int i = 0; i < 1024; ++i)
    if (got[i] != 2.0f * i) return 3;
  return 0;
}
