// Products of every type and layout by `Product` of ascend_cube.h, at odd sizes and at whole tiles.
#include <array>
#include <cmath>
#include <cstdio>
#include <vector>

#include "acl/acl.h"
#include "ascend_cube.h"

constexpr int64_t ROWS = 32, COLUMNS = 48, DEPTH = 64, STEP = 32;

template <typename T, Major L, Major R>
void kernel(uint8_t* a, uint8_t* b, uint8_t* c, int64_t m, int64_t n, int64_t k) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIC_ONLY);
    AscendC::TPipe pipe;
    Product<T, L, R, ROWS, COLUMNS, DEPTH, STEP> product(&pipe);
    AscendC::GlobalTensor<T> left, right;
    AscendC::GlobalTensor<float> result;
    left.SetGlobalBuffer(reinterpret_cast<T*>(a), m * k);
    right.SetGlobalBuffer(reinterpret_cast<T*>(b), n * k);
    result.SetGlobalBuffer(reinterpret_cast<float*>(c), m * n);
    const int64_t across = (n + COLUMNS - 1) / COLUMNS, programs = (m + ROWS - 1) / ROWS * across;
    for (int64_t p = AscendC::GetBlockIdx(); p < programs; p += AscendC::GetBlockNum()) {
        const int64_t i = p / across * ROWS, j = p % across * COLUMNS;
        const int64_t rows = std::min(ROWS, m - i);
        product.Begin(rows, std::min(COLUMNS, n - j));
        for (int64_t l = 0; l < k; l += DEPTH) {
            product.NextPiece(std::min(DEPTH, k - l));
            if (L == Major::rows) product.LoadLeft(left[i * k + l], 0, rows, k);
            else product.LoadLeft(left[l * m + i], 0, rows, m);
            if (R == Major::rows) product.LoadRight(right[l * n + j], n);
            else product.LoadRight(right[j * k + l], k);
            product.Multiply();
        }
        product.Finish();
        product.StoreRows(result[i * n + j], 0, rows, n);
        product.End();
    }
}

static float left_at(int64_t i, int64_t l) { return static_cast<float>(std::sin(i * 1.3 + l * 0.7)); }
static float right_at(int64_t l, int64_t j) { return static_cast<float>(std::cos(l * 0.3 - j * 1.1)); }

template <typename T, Major L, Major R>
void test(int64_t m, int64_t n, int64_t k) {
    void *x, *y, *z;
    aclrtMalloc(&x, m * k * sizeof(T), ACL_MEM_MALLOC_HUGE_FIRST);
    aclrtMalloc(&y, n * k * sizeof(T), ACL_MEM_MALLOC_HUGE_FIRST);
    aclrtMalloc(&z, m * n * sizeof(float), ACL_MEM_MALLOC_HUGE_FIRST);
    for (int64_t l = 0; l < k; ++l) {
        for (int64_t i = 0; i < m; ++i) static_cast<T*>(x)[L == Major::rows ? i * k + l : l * m + i] = T(left_at(i, l));
        for (int64_t j = 0; j < n; ++j) static_cast<T*>(y)[R == Major::rows ? l * n + j : j * k + l] = T(right_at(l, j));
    }
    INFINI_LAUNCH((kernel<T, L, R>), 3, nullptr, nullptr, static_cast<uint8_t*>(x), static_cast<uint8_t*>(y),
                  static_cast<uint8_t*>(z), m, n, k);
    for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) {
            double sum = 0;
            for (int64_t l = 0; l < k; ++l)
                sum += double(static_cast<float>(T(left_at(i, l)))) * static_cast<float>(T(right_at(l, j)));
            const float got = static_cast<float*>(z)[i * n + j];
            if (std::fabs(sum - got) > 1e-5 * k) {
                std::printf("%d %d %d, %zu bytes, %d %d: element %d %d is %g, not %g\n", int(m), int(n), int(k),
                            sizeof(T), int(L), int(R), int(i), int(j), got, sum);
                std::exit(1);
            }
        }
    for (void* memory : {x, y, z}) aclrtFree(memory);
}

template <typename T>
void all(int64_t m, int64_t n, int64_t k) {
    test<T, Major::rows, Major::rows>(m, n, k);
    test<T, Major::rows, Major::columns>(m, n, k);
    if constexpr (sizeof(T) == 2) {
        test<T, Major::columns, Major::rows>(m, n, k);
        test<T, Major::columns, Major::columns>(m, n, k);
    }
}

int main() {
    const std::array<std::array<int64_t, 3>, 4> sizes = {{{37, 29, 45}, {1, 50, 100}, {64, 96, 128}, {5, 3, 7}}};
    for (const auto& [m, n, k] : sizes) {
        all<half>(m, n, k);
        all<float>(m, n, k);
        all<bfloat16_t>(m, n, k);
    }
    std::puts("right");
    return 0;
}
