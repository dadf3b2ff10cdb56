// RUN: infini-opt %s -p nvidia-plan,nvidia-legalise --split-input-file | filecheck %s

// Great products get tiles of 128 x 256 and a pipeline; the numbers go into types and steps.
// CHECK-LABEL: @matmul
// CHECK-SAME: grid(%i : 4096 by 128, %j : 4096 by 256) plan {BM = 128 : i64, BN = 256 : i64, BK = 64 : i64, warps = 8 : i64, stages = 4 : i64, group = 8 : i64, reason = "best of
// CHECK:      tile.for %n by <[64]> carry(%z : !tile.tile<[128, 256], f32>)
tile.kernel @matmul(%a: !tile.view<[4096, 4096], f16>, %b: !tile.view<[4096, 4096], f16>, %y: !tile.view<[4096, 4096], f32>)
    grid(%i : 4096 by BM, %j : 4096 by BN) {
  %zero = arith.constant 0.0 : f32
  %z = tile.full %zero : f32 -> !tile.tile<[BM, BN], f32>
  %n = arith.constant 4096 : index
  %acc = tile.for %n by <[BK]> carry(%z : !tile.tile<[BM, BN], f32>) -> (!tile.tile<[BM, BN], f32>) {
  ^bb0(%k: index, %c: !tile.tile<[BM, BN], f32>):
    %x = tile.load %a[%i, %k] axes [0, 1] : !tile.view<[4096, 4096], f16> -> !tile.tile<[BM, BK], f16>
    %w = tile.load %b[%k, %j] axes [0, 1] : !tile.view<[4096, 4096], f16> -> !tile.tile<[BK, BN], f16>
    %d = tile.dot %x, %w, %c : !tile.tile<[BM, BK], f16>, !tile.tile<[BK, BN], f16>, !tile.tile<[BM, BN], f32> -> !tile.tile<[BM, BN], f32>
    tile.yield %d : !tile.tile<[BM, BN], f32>
  }
  tile.store set %acc, %y[%i, %j] axes [0, 1] : !tile.tile<[BM, BN], f32> -> !tile.view<[4096, 4096], f32>
}

// -----

// The weights of a softmax are rounded to the values' type before they multiply them, and the
// device's own exponential will do.
// CHECK-LABEL: @weights
// CHECK:      math.exp %d fastmath<afn> : f32
// CHECK:      %0 = tile.map %p dims
// CHECK:        arith.truncf
// CHECK:      tile.dot %0, %v
tile.kernel @weights(%s: !tile.view<[16, 32], f32>, %vs: !tile.view<[32, 64], f16>, %y: !tile.view<[16, 64], f32>) grid() {
  %o = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %z = tile.full %zero : f32 -> !tile.tile<[16, 64], f32>
  %x = tile.load %s[%o, %o] axes [0, 1] : !tile.view<[16, 32], f32> -> !tile.tile<[16, 32], f32>
  %v = tile.load %vs[%o, %o] axes [0, 1] : !tile.view<[32, 64], f16> -> !tile.tile<[32, 64], f16>
  %m = tile.reduce max %x axes [1] : !tile.tile<[16, 32], f32> -> !tile.tile<[16], f32>
  %p = tile.map %x, %m dims [[0, 1], [0]] : (!tile.tile<[16, 32], f32>, !tile.tile<[16], f32>) -> !tile.tile<[16, 32], f32> {
  ^bb0(%a: f32, %b: f32):
    %d = arith.subf %a, %b : f32
    %e = math.exp %d : f32
    tile.yield %e : f32
  }
  %r = tile.dot %p, %v, %z : !tile.tile<[16, 32], f32>, !tile.tile<[32, 64], f16>, !tile.tile<[16, 64], f32> -> !tile.tile<[16, 64], f32>
  tile.store set %r, %y[%o, %o] axes [0, 1] : !tile.tile<[16, 64], f32> -> !tile.view<[16, 64], f32>
}
