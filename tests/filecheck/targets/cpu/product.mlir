// RUN: infini-opt %s -p tile-plan-memory,tile-insert-barriers --target llvm:x86-64-v4 | filecheck %s

// The accumulators of a strip are cells of their own; what follows the product is computed
// on them before they are stored.
tile.kernel @mm(%A: !tile.view<[2, 20], f32>, %B: !tile.view<[20, 32], f32>, %Y: !tile.view<[2, 32], f32>) grid(%i : 2 by 2, %j : 32 by 32) plan {BK = 1024 : i64, strip = array<i64: 1, 2>, vectors = 2 : i64, panels = 1 : i64} {
  %c0 = arith.constant 0.0 : f32
  %z = tile.full %c0 : f32 -> !tile.tile<[2, 32], f32>
  %K = tile.size <[20]>
  %r = tile.for %K by <[BK]> carry(%z : !tile.tile<[2, 32], f32>) -> (!tile.tile<[2, 32], f32>) {
  ^bb0(%k: index, %c: !tile.tile<[2, 32], f32>):
    %a = tile.load %A[%i, %k] axes [0, 1] : !tile.view<[2, 20], f32> -> !tile.tile<[2, BK], f32>
    %b = tile.load %B[%k, %j] axes [0, 1] : !tile.view<[20, 32], f32> -> !tile.tile<[BK, 32], f32>
    %d = tile.dot %a, %b, %c : !tile.tile<[2, BK], f32>, !tile.tile<[BK, 32], f32>, !tile.tile<[2, 32], f32> -> !tile.tile<[2, 32], f32>
    tile.yield %d : !tile.tile<[2, 32], f32>
  }
  %y = tile.map %r dims [[0, 1]] : (!tile.tile<[2, 32], f32>) -> !tile.tile<[2, 32], f32> {
  ^bb0(%a: f32):
    %p = arith.mulf %a, %a : f32
    tile.yield %p : f32
  }
  tile.store set %y, %Y[%i, %j] axes [0, 1] : !tile.tile<[2, 32], f32> -> !tile.view<[2, 32], f32>
}
tile.program @main inputs 2 {
^bb0(%a: !tile.view<[2, 20], f32>, %b: !tile.view<[20, 32], f32>, %y: !tile.view<[2, 32], f32>):
  tile.launch @mm(%a, %b, %y) : !tile.view<[2, 20], f32>, !tile.view<[20, 32], f32>, !tile.view<[2, 32], f32>
}

// CHECK-LABEL:    define hidden void @mm(
// CHECK-COUNT-4:    alloca <16 x float>
// CHECK-COUNT-16:   call <16 x float> @llvm.fma.v16f32
// CHECK-NOT:        @llvm.fma
// CHECK-COUNT-4:    fmul <16 x float>
// CHECK:            ret void
