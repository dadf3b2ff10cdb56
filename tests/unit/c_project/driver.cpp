// Uses the C interface as a program of its own would: calls of growing and shrinking sizes,
// from host and from device memory, and after one that failed.

#include <cstdio>
#include <cstring>
#include <vector>

#include "infini.h"

static int failures = 0;

static void expect(bool holds, const char* what) {
  if (!holds) {
    std::fprintf(stderr, "failed: %s\n", what);
    ++failures;
  }
}

// y[i] = 0.31 * sum(x) - 0.17 * sum(x) + 0.01 * i
static bool right(const infini_tensor& y, int64_t n) {
  const float* values = static_cast<const float*>(y.data);
  bool good = y.rank == 1 && y.shape[0] == n;
  for (int64_t i = 0; good && i < n; ++i) {
    const float wanted = 0.14f * float(n) + 0.01f * float(i);
    good = values[i] - wanted < 1e-3f * float(n) && wanted - values[i] < 1e-3f * float(n);
  }
  return good;
}

int main() {
  char error[200] = "";
  infini_model* model = infini_model_create(nullptr, 0, error, sizeof error);
  expect(model != nullptr, "create");
  expect(infini_input_count() == 1 && infini_output_count() == 1, "counts");
  expect(std::strcmp(infini_input_info(0)->name, "input0") == 0, "name");
  expect(infini_input_info(0)->sizes[0] == -1, "sizes");
  std::vector<float> ones(1000, 1.0f);
  for (const int64_t n : {1, 1000, 10, 0, 999}) {
    const infini_tensor x = {ones.data(), 1, {n}};
    infini_tensor y = {};
    expect(infini_model_run(model, &x, &y) == INFINI_OK, "run");
    expect(right(y, n), "values");
    expect(infini_model_run_device(model, &x, &y) == INFINI_OK, "run on the device");
    expect(right(y, n), "values on the device");

    infini_tensor wrong = x;
    wrong.rank = 2;
    expect(infini_model_run(model, &wrong, &y) == INFINI_WRONG_INPUT, "wrong rank");
    expect(std::strlen(infini_model_error(model)) > 0, "error of a wrong rank");
    wrong = x;
    wrong.shape[0] = -1;
    expect(infini_model_run(model, &wrong, &y) == INFINI_WRONG_INPUT, "negative size");
    wrong = {nullptr, 1, {5}};
    expect(infini_model_run(model, &wrong, &y) == INFINI_WRONG_INPUT, "no data");
    wrong = {ones.data(), 1, {INT64_MAX / 2}};
    expect(infini_model_run(model, &wrong, &y) == INFINI_WRONG_INPUT, "size too large");
    expect(infini_model_run(model, &x, &y) == INFINI_OK, "run after failures");
    expect(std::strlen(infini_model_error(model)) == 0, "no error after success");
  }
  infini_model_destroy(model);
  return failures;
}
