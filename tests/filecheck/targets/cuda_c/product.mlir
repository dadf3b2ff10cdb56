// RUN: infini-opt %s -p cuda-c-plan --target cuda-c | filecheck %s
// RUN: infini-opt %s -p cuda-c-plan | filecheck %s --check-prefix PLAN

// The next pieces are fetched while the present ones are multiplied; shared memory is doubled,
// so that a turn has one barrier.
// PLAN:        plan {BK = 16 : i64, BM = 64 : i64, BN = 64 : i64, threads = 256 : i64
// PLAN-SAME:   reason = "64 x 64 products on 256 threads
// CHECK-LABEL: dot(Global<const half_t> A, Global<const half_t> B, Global<float> Y) {
// CHECK:       __shared__ Shared<float, 2176> factor_a;
// CHECK-NEXT:  __shared__ Shared<float, 2176> factor_b;
// CHECK:       float sums[16] = {};
// CHECK:       factor_a[half_ * 1088 + {{.*}}] = fetched[slot];
// CHECK:       for (index_t turn = 0; turn < 32; ++turn) {
// CHECK:       if (more) {
// CHECK:       fetched[slot] = convert<float, half_t>(
// CHECK:       __syncthreads();  // before factor_a is read
// CHECK:       read_group<4>(factor_a
// CHECK:       sums[slot] = multiply_add(a[slot / 4], b[slot % 4], sums[slot]);
// CHECK-NOT:   __syncthreads
// CHECK:       factor_a[(1 - half_) * 1088 + {{.*}}] = fetched[slot];
// CHECK:       half_ = 1 - half_;
// CHECK-NOT:   __syncthreads
// CHECK:       Y[
builtin.module {
  tile.kernel @dot(%A: !tile.view<[768, 512], f16>, %B: !tile.view<[512, 768], f16>, %Y: !tile.view<[768, 768], f32>) grid(%i : 768 by BM, %j : 768 by BN) {
    %0 = arith.constant 0.0 : f32
    %zero = tile.full %0 : f32 -> !tile.tile<[BM, BN], f32>
    %K = arith.constant 512 : index
    %sum = tile.for %K by <[BK]> carry(%zero : !tile.tile<[BM, BN], f32>) -> (!tile.tile<[BM, BN], f32>) {
    ^bb0(%k: index, %acc: !tile.tile<[BM, BN], f32>):
      %a = tile.load %A[%i, %k] axes [0, 1] : !tile.view<[768, 512], f16> -> !tile.tile<[BM, BK], f16>
      %b = tile.load %B[%k, %j] axes [0, 1] : !tile.view<[512, 768], f16> -> !tile.tile<[BK, BN], f16>
      %d = tile.dot %a, %b, %acc : !tile.tile<[BM, BK], f16>, !tile.tile<[BK, BN], f16>, !tile.tile<[BM, BN], f32> -> !tile.tile<[BM, BN], f32>
      tile.yield %d : !tile.tile<[BM, BN], f32>
    }
    tile.store set %sum, %Y[%i, %j] axes [0, 1] : !tile.tile<[BM, BN], f32> -> !tile.view<[768, 768], f32>
  }
}
