// RUN: infini-opt %s -p tile-cut-epilogue | filecheck %s

// The product goes to a workspace in the accumulator's type; what follows reads it there.
// CHECK:      tile.kernel @dot_product(%{{.*}}: !tile.view<[M, 64], f16>, %{{.*}}: !tile.view<[64, 128], f16>, %[[w:.*]]: !tile.view<[M, 128], f32>) grid(%{{.*}} : M by BM, %{{.*}} : 128 by BN)
// CHECK:        %[[sum:.*]] = tile.for
// CHECK:          tile.dot
// CHECK:        tile.store set %[[sum]], %[[w]]
// CHECK:      tile.kernel @dot_epilogue(%[[w:.*]]: !tile.view<[M, 128], f32>, %[[y:.*]]: !tile.view<[M, 128], f16>) grid(%{{.*}} : M by BR, %{{.*}} : 128 by BC)
// CHECK-NEXT:   tile.load %[[w]]{{.*}} -> !tile.tile<[BR, BC], f32>
// CHECK-NEXT:   tile.map
// CHECK:        tile.store set %{{.*}}, %[[y]]
// CHECK:      tile.program @main
// CHECK:        %[[m:.*]] = tile.alloc : !tile.view<[M, 128], f32>
// CHECK-NEXT:   tile.launch @dot_product(%a, %b, %[[m]])
// CHECK-NEXT:   tile.launch @dot_epilogue(%[[m]], %y)
tile.kernel @dot(%a: !tile.view<[M, 64], f16>, %b: !tile.view<[64, 128], f16>, %y: !tile.view<[M, 128], f16>) grid(%i : M by BM, %j : 128 by BN) {
  %0 = arith.constant 0.000000e+00 : f32
  %1 = tile.full %0 : f32 -> !tile.tile<[BM, BN], f32>
  %2 = arith.constant 64 : index
  %3 = tile.for %2 by <[BK]> carry(%1 : !tile.tile<[BM, BN], f32>) -> (!tile.tile<[BM, BN], f32>) {
  ^bb0(%k: index, %c: !tile.tile<[BM, BN], f32>):
    %l = tile.load %a[%i, %k] axes [0, 1] : !tile.view<[M, 64], f16> -> !tile.tile<[BM, BK], f16>
    %r = tile.load %b[%k, %j] axes [0, 1] : !tile.view<[64, 128], f16> -> !tile.tile<[BK, BN], f16>
    %d = tile.dot %l, %r, %c : !tile.tile<[BM, BK], f16>, !tile.tile<[BK, BN], f16>, !tile.tile<[BM, BN], f32> -> !tile.tile<[BM, BN], f32>
    tile.yield %d : !tile.tile<[BM, BN], f32>
  }
  %4 = tile.map %3 dims [[0, 1]] : (!tile.tile<[BM, BN], f32>) -> !tile.tile<[BM, BN], f16> {
  ^bb0(%x: f32):
    %t = arith.truncf %x : f32 to f16
    tile.yield %t : f16
  }
  tile.store set %4, %y[%i, %j] axes [0, 1] : !tile.tile<[BM, BN], f16> -> !tile.view<[M, 128], f16>
}
tile.program @main inputs 2 {
^bb0(%a: !tile.view<[M, 64], f16>, %b: !tile.view<[64, 128], f16>, %y: !tile.view<[M, 128], f16>):
  tile.launch @dot(%a, %b, %y) : !tile.view<[M, 64], f16>, !tile.view<[64, 128], f16>, !tile.view<[M, 128], f16>
}
