// RUN: infini-opt %s -p tile-use-library | filecheck %s

// The right factor is transposed and shared by the batch: an alias says so.
// CHECK-NOT:  tile.kernel
// CHECK:      tile.program @main
// CHECK:        %[[b:.*]] = tile.alias %b offset <[0]> : !tile.view<[8, 64], f32, strides [1, 8]> -> !tile.view<[B, 64, 8], f32, strides [0, 8, 1]>
// CHECK:        tile.library "matmul"(%a, %[[b]], %y) accumulate f32 for "z"
tile.kernel @dot(%a: !tile.view<[B, M, 64], f32>, %b: !tile.view<[8, 64], f32, strides [1, 8]>, %y: !tile.view<[B, M, 8], f32>) grid(%s : B by 1, %i : M by BM, %j : 8 by BN) {
  %0 = arith.constant 0.000000e+00 : f32
  %1 = tile.full %0 : f32 -> !tile.tile<[BM, BN], f32>
  %2 = arith.constant 64 : index
  %3 = tile.for %2 by <[BK]> carry(%1 : !tile.tile<[BM, BN], f32>) -> (!tile.tile<[BM, BN], f32>) {
  ^bb0(%k: index, %c: !tile.tile<[BM, BN], f32>):
    %l = tile.load %a[%s, %i, %k] axes [1, 2] : !tile.view<[B, M, 64], f32> -> !tile.tile<[BM, BK], f32>
    %r = tile.load %b[%j, %k] axes [1, 0] : !tile.view<[8, 64], f32, strides [1, 8]> -> !tile.tile<[BK, BN], f32>
    %d = tile.dot %l, %r, %c : !tile.tile<[BM, BK], f32>, !tile.tile<[BK, BN], f32>, !tile.tile<[BM, BN], f32> -> !tile.tile<[BM, BN], f32>
    tile.yield %d : !tile.tile<[BM, BN], f32>
  }
  tile.store set %3, %y[%s, %i, %j] axes [1, 2] : !tile.tile<[BM, BN], f32> -> !tile.view<[B, M, 8], f32>
}
tile.program @main inputs 2 {
^bb0(%a: !tile.view<[B, M, 64], f32>, %b: !tile.view<[8, 64], f32, strides [1, 8]>, %y: !tile.view<[B, M, 8], f32>):
  tile.launch @dot(%a, %b, %y) for "z" : !tile.view<[B, M, 64], f32>, !tile.view<[8, 64], f32, strides [1, 8]>, !tile.view<[B, M, 8], f32>
}
