// RUN: rm -rf %t && env INFINI_CACHE_DIR=%t infini-opt %s -p 'cpu-tune{threads=1 seconds=1.0},cpu-plan,cpu-measured-plans{threads=1}' | filecheck %s

// Plans are tried on copies, and kept on disk: the kernel has a plan by rule or a measured one.
// CHECK-LABEL: tile.kernel @mm
// CHECK-SAME:    plan {BM
tile.kernel @mm(%A: !tile.view<[512, 128], f32>, %B: !tile.view<[128, 128], f32>, %Y: !tile.view<[512, 128], f32>) grid(%i : 512 by BM, %j : 128 by BN) {
  %c0 = arith.constant 0.0 : f32
  %z = tile.full %c0 : f32 -> !tile.tile<[BM, BN], f32>
  %K = tile.size <[128]>
  %r = tile.for %K by <[BK]> carry(%z : !tile.tile<[BM, BN], f32>) -> (!tile.tile<[BM, BN], f32>) {
  ^bb0(%k: index, %c: !tile.tile<[BM, BN], f32>):
    %a = tile.load %A[%i, %k] axes [0, 1] : !tile.view<[512, 128], f32> -> !tile.tile<[BM, BK], f32>
    %b = tile.load %B[%k, %j] axes [0, 1] : !tile.view<[128, 128], f32> -> !tile.tile<[BK, BN], f32>
    %d = tile.dot %a, %b, %c : !tile.tile<[BM, BK], f32>, !tile.tile<[BK, BN], f32>, !tile.tile<[BM, BN], f32> -> !tile.tile<[BM, BN], f32>
    tile.yield %d : !tile.tile<[BM, BN], f32>
  }
  tile.store set %r, %Y[%i, %j] axes [0, 1] : !tile.tile<[BM, BN], f32> -> !tile.view<[512, 128], f32>
}
tile.program @large inputs 2 {
^bb0(%a: !tile.view<[512, 128], f32>, %b: !tile.view<[128, 128], f32>, %y: !tile.view<[512, 128], f32>):
  tile.launch @mm(%a, %b, %y) : !tile.view<[512, 128], f32>, !tile.view<[128, 128], f32>, !tile.view<[512, 128], f32>
}
