// RUN: infini-opt %s -p cambricon-lower --target cambricon | filecheck %s

// Operands are loaded one iteration ahead: the first before the loop, the next one's beside the
// product, into the other of two places.
// CHECK-LABEL: kernel_product(half_t* A, half_t* B, float* Y, int64_t M)
// CHECK:         fill_rows([[acc:u[_0-9]*]], 0.0f, 16384);
// CHECK:           wait_for_computing();
// CHECK-NEXT:      copy_in_ahead([[a:u[_0-9]*]], 128, 1, A + i * 1000, 1000, 1,
// CHECK-NEXT:      copy_in_ahead([[b:u[_0-9]*]], 128, 1, B + j, 256, 1,
// CHECK:         for (int64_t [[k:i[_0-9]*]] = 0; [[k]] < 1000; [[k]] += 125) {
// CHECK:           const int64_t [[turn:v[0-9]+]] = remainder_of<int64_t>({{.*}}, 2);
// CHECK-NEXT:      wait_for_copies();
// CHECK-NEXT:      wait_for_computing();
// CHECK-NEXT:      const int64_t [[other:v[0-9]+]] = (1 - [[turn]]);
// CHECK-NEXT:      const int64_t [[next:v[0-9]+]] = ([[k]] + 125);
// CHECK-NEXT:      const bool [[more:v[0-9]+]] = ([[next]] < 1000);
// CHECK-NEXT:      if ([[more]]) {
// CHECK:             copy_in_ahead([[a]] + {{.*}}, 128, 1, A + i * 1000 + [[next]], 1000, 1,
// CHECK:             copy_in_ahead([[b]] + {{.*}}, 128, 1, B + [[next]] * 256 + j, 256, 1,
// CHECK:           dot([[acc]], 128, [[a]] + {{.*}}, 128, [[b]] + {{.*}}, 128, {{.*}}, 128, 125, false);
// CHECK:         copy_out(Y + i * 256 + j, 256, 1, [[acc]], 128, 1,
builtin.module {
  tile.kernel @product(%A: !tile.view<[M, 1000], f16>, %B: !tile.view<[1000, 256], f16>, %Y: !tile.view<[M, 256], f32>) grid(%i : M by BM, %j : 256 by BN) {
    %0 = arith.constant 0.000000e+00 : f32
    %z = tile.full %0 : f32 -> !tile.tile<[BM, BN], f32>
    %n = arith.constant 1000 : index
    %r = tile.for %n by <[BK]> carry(%z : !tile.tile<[BM, BN], f32>) -> (!tile.tile<[BM, BN], f32>) {
    ^bb0(%k: index, %c: !tile.tile<[BM, BN], f32>):
      %a = tile.load %A[%i, %k] axes [0, 1] : !tile.view<[M, 1000], f16> -> !tile.tile<[BM, BK], f16>
      %b = tile.load %B[%k, %j] axes [0, 1] : !tile.view<[1000, 256], f16> -> !tile.tile<[BK, BN], f16>
      %d = tile.dot %a, %b, %c : !tile.tile<[BM, BK], f16>, !tile.tile<[BK, BN], f16>, !tile.tile<[BM, BN], f32> -> !tile.tile<[BM, BN], f32>
      tile.yield %d : !tile.tile<[BM, BN], f32>
    }
    tile.store set %r, %Y[%i, %j] axes [0, 1] : !tile.tile<[BM, BN], f32> -> !tile.view<[M, 256], f32>
  }
}
