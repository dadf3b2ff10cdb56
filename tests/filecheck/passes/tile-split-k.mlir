// RUN: infini-opt %s -p 'tile-split-k{kernels="dot=4"}' | filecheck %s

// Four times the programs, each over a quarter of the axis; then the sum of the quarters.
// CHECK:      tile.kernel @dot_partial(%[[a:.*]]: !tile.view<[M, 4, 16], f32>, %[[b:.*]]: !tile.view<[4, 16, 8], f32>, %[[w:.*]]: !tile.view<[4, M, 8], f32>) grid(%[[s:.*]] : 4 by 1, %[[i:.*]] : M by BM, %[[j:.*]] : 8 by BN)
// CHECK:        %[[n:.*]] = arith.constant 16 : index
// CHECK:        %[[sum:.*]] = tile.for %[[n]]
// CHECK:          tile.load %[[a]][%[[i]], %[[s]], %[[k:.*]]] axes [0, 2]
// CHECK:          tile.load %[[b]][%[[s]], %[[k]], %[[j]]] axes [1, 2]
// CHECK:        tile.store set %[[sum]], %[[w]][%[[s]], %[[i]], %[[j]]] axes [1, 2]
// CHECK:      tile.kernel @dot_epilogue
// CHECK:        %[[parts:.*]] = tile.load {{.*}} -> !tile.tile<[4, BR, BC], f32>
// CHECK-NEXT:   %[[total:.*]] = tile.reduce add %[[parts]] axes [0]
// CHECK:        tile.store set %[[total]]
// CHECK:      tile.program @main
// CHECK:        tile.launch @dot_partial
// CHECK-NEXT:   tile.launch @dot_epilogue
tile.kernel @dot(%a: !tile.view<[M, 64], f32>, %b: !tile.view<[64, 8], f32>, %y: !tile.view<[M, 8], f32>) grid(%i : M by BM, %j : 8 by BN) {
  %0 = arith.constant 0.000000e+00 : f32
  %1 = tile.full %0 : f32 -> !tile.tile<[BM, BN], f32>
  %2 = arith.constant 64 : index
  %3 = tile.for %2 by <[BK]> carry(%1 : !tile.tile<[BM, BN], f32>) -> (!tile.tile<[BM, BN], f32>) {
  ^bb0(%k: index, %c: !tile.tile<[BM, BN], f32>):
    %l = tile.load %a[%i, %k] axes [0, 1] : !tile.view<[M, 64], f32> -> !tile.tile<[BM, BK], f32>
    %r = tile.load %b[%k, %j] axes [0, 1] : !tile.view<[64, 8], f32> -> !tile.tile<[BK, BN], f32>
    %d = tile.dot %l, %r, %c : !tile.tile<[BM, BK], f32>, !tile.tile<[BK, BN], f32>, !tile.tile<[BM, BN], f32> -> !tile.tile<[BM, BN], f32>
    tile.yield %d : !tile.tile<[BM, BN], f32>
  }
  tile.store set %3, %y[%i, %j] axes [0, 1] : !tile.tile<[BM, BN], f32> -> !tile.view<[M, 8], f32>
}
tile.program @main inputs 2 {
^bb0(%a: !tile.view<[M, 64], f32>, %b: !tile.view<[64, 8], f32>, %y: !tile.view<[M, 8], f32>):
  tile.launch @dot(%a, %b, %y) : !tile.view<[M, 64], f32>, !tile.view<[64, 8], f32>, !tile.view<[M, 8], f32>
}
