// RUN: infini-opt %s -p cpu-pack-weights --split-input-file | filecheck %s

// A weight [k, n] on the right of a product is read in panels as wide as the register tile;
// the kernel for it is a copy, since another launch has a right operand that is no weight.
// CHECK-LABEL: tile.kernel @mm(
// CHECK-SAME:    %B: !tile.view<[20, 50], f32>,
// CHECK:       tile.kernel @mm_packed(
// CHECK-SAME:    %B: !tile.view<[20, 50], f32, panel 32>,
// CHECK:       tile.program @main
tile.kernel @mm(%A: !tile.view<[8, 20], f32>, %B: !tile.view<[20, 50], f32>, %Y: !tile.view<[8, 50], f32>) grid(%i : 8 by BM, %j : 50 by BN) plan {BM = 8 : i64, BN = 64 : i64, BK = 1024 : i64, strip = array<i64: 1, 8>, vectors = 2 : i64, panels = 1 : i64} {
  %c0 = arith.constant 0.0 : f32
  %z = tile.full %c0 : f32 -> !tile.tile<[BM, BN], f32>
  %K = tile.size <[20]>
  %r = tile.for %K by <[BK]> carry(%z : !tile.tile<[BM, BN], f32>) -> (!tile.tile<[BM, BN], f32>) {
  ^bb0(%k: index, %c: !tile.tile<[BM, BN], f32>):
    %a = tile.load %A[%i, %k] axes [0, 1] : !tile.view<[8, 20], f32> -> !tile.tile<[BM, BK], f32>
    %b = tile.load %B[%k, %j] axes [0, 1] : !tile.view<[20, 50], f32> -> !tile.tile<[BK, BN], f32>
    %d = tile.dot %a, %b, %c : !tile.tile<[BM, BK], f32>, !tile.tile<[BK, BN], f32>, !tile.tile<[BM, BN], f32> -> !tile.tile<[BM, BN], f32>
    tile.yield %d : !tile.tile<[BM, BN], f32>
  }
  tile.store set %r, %Y[%i, %j] axes [0, 1] : !tile.tile<[BM, BN], f32> -> !tile.view<[8, 50], f32>
}
tile.program @main inputs 2 {
^bb0(%a: !tile.view<[8, 20], f32>, %b: !tile.view<[20, 50], f32>, %y: !tile.view<[8, 50], f32>, %z: !tile.view<[8, 50], f32>):
  // CHECK: [[W:%[a-z0-9_]+]] = tile.weight {{.*}} : !tile.view<[20, 50], f32, panel 32>
  // CHECK: tile.launch @mm_packed(%a, [[W]], %y)
  // CHECK: tile.launch @mm(%a, %b, %z)
  %w = tile.weight "w" : !tile.view<[20, 50], f32>
  tile.launch @mm(%a, %w, %y) : !tile.view<[8, 20], f32>, !tile.view<[20, 50], f32>, !tile.view<[8, 50], f32>
  tile.launch @mm(%a, %b, %z) : !tile.view<[8, 20], f32>, !tile.view<[20, 50], f32>, !tile.view<[8, 50], f32>
}

// -----

// Products that sum bytes by fours read panels of 16 columns with k interleaved by 4.
// CHECK-LABEL: tile.kernel @bytes_packed(
// CHECK-SAME:    %B: !tile.view<[20, 50], i8, panel 16 by 4>,
tile.kernel @bytes(%A: !tile.view<[8, 20], i8>, %B: !tile.view<[20, 50], i8>, %Y: !tile.view<[8, 50], i32>) grid(%i : 8 by BM, %j : 50 by BN) plan {BM = 8 : i64, BN = 64 : i64, BK = 1024 : i64, strip = array<i64: 1, 32>, vectors = 2 : i64, panels = 1 : i64, unit = "amx", group = 4 : i64} {
  %c0 = arith.constant 0 : i32
  %z = tile.full %c0 : i32 -> !tile.tile<[BM, BN], i32>
  %K = tile.size <[20]>
  %r = tile.for %K by <[BK]> carry(%z : !tile.tile<[BM, BN], i32>) -> (!tile.tile<[BM, BN], i32>) {
  ^bb0(%k: index, %c: !tile.tile<[BM, BN], i32>):
    %a = tile.load %A[%i, %k] axes [0, 1] : !tile.view<[8, 20], i8> -> !tile.tile<[BM, BK], i8>
    %b = tile.load %B[%k, %j] axes [0, 1] : !tile.view<[20, 50], i8> -> !tile.tile<[BK, BN], i8>
    %d = tile.dot %a, %b, %c : !tile.tile<[BM, BK], i8>, !tile.tile<[BK, BN], i8>, !tile.tile<[BM, BN], i32> -> !tile.tile<[BM, BN], i32>
    tile.yield %d : !tile.tile<[BM, BN], i32>
  }
  tile.store set %r, %Y[%i, %j] axes [0, 1] : !tile.tile<[BM, BN], i32> -> !tile.view<[8, 50], i32>
}
tile.program @main inputs 2 {
^bb0(%a: !tile.view<[8, 20], i8>, %y: !tile.view<[8, 50], i32>):
  // CHECK: [[W:%[a-z0-9_]+]] = tile.weight {{.*}} : !tile.view<[20, 50], i8, panel 16 by 4>
  // CHECK: tile.launch @bytes_packed(%a, [[W]], %y)
  %w = tile.weight "w" : !tile.view<[20, 50], i8>
  tile.launch @bytes(%a, %w, %y) : !tile.view<[8, 20], i8>, !tile.view<[20, 50], i8>, !tile.view<[8, 50], i32>
}

// -----

// A weight that no product has on its right stays as it is.
// CHECK-LABEL: tile.kernel @add(
// CHECK-NOT:   panel
tile.kernel @add(%X: !tile.view<[20, 50], f32>, %Y: !tile.view<[20, 50], f32>) grid(%i : 20 by 1, %j : 50 by BC) plan {BC = 64 : i64} {
  %x = tile.load %X[%i, %j] axes [1] : !tile.view<[20, 50], f32> -> !tile.tile<[BC], f32>
  tile.store add %x, %Y[%i, %j] axes [1] : !tile.tile<[BC], f32> -> !tile.view<[20, 50], f32>
}
tile.program @main inputs 0 {
^bb0(%y: !tile.view<[20, 50], f32>):
  %w = tile.weight "w" : !tile.view<[20, 50], f32>
  tile.launch @add(%w, %y) : !tile.view<[20, 50], f32>, !tile.view<[20, 50], f32>
}
