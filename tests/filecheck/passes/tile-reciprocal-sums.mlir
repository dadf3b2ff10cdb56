// RUN: infini-opt %s -p tile-reciprocal-sums --split-input-file | filecheck %s

// CHECK-LABEL: tile.kernel @softmax
// CHECK:         %[[SUM:.*]] = tile.reduce add
// CHECK-NEXT:    %[[R:.*]] = tile.map %[[SUM]]
// CHECK:           arith.divf
// CHECK:         tile.map %{{.*}}, %[[R]]
// CHECK-NOT:       arith.divf
// CHECK:           arith.mulf
tile.kernel @softmax(%Y: !tile.view<[128, 768], f32>, %X: !tile.view<[128, 768], f32>) grid(%i : 128 by 1) {
  %0 = arith.constant 0 : index
  %x = tile.load %X[%i, %0] axes [1] : !tile.view<[128, 768], f32> -> !tile.tile<[768], f32>
  %m = tile.reduce max %x axes [0] : !tile.tile<[768], f32> -> !tile.tile<[], f32>
  %e = tile.map %x, %m dims [[0], []] : (!tile.tile<[768], f32>, !tile.tile<[], f32>) -> !tile.tile<[768], f32> {
  ^bb0(%a: f32, %b: f32):
    %d = arith.subf %a, %b : f32
    %f = math.exp %d : f32
    tile.yield %f : f32
  }
  %s = tile.reduce add %e axes [0] : !tile.tile<[768], f32> -> !tile.tile<[], f32>
  %y = tile.map %e, %s dims [[0], []] : (!tile.tile<[768], f32>, !tile.tile<[], f32>) -> !tile.tile<[768], f32> {
  ^bb0(%a: f32, %b: f32):
    %q = arith.divf %a, %b : f32
    tile.yield %q : f32
  }
  tile.store set %y, %Y[%i, %0] axes [1] : !tile.tile<[768], f32> -> !tile.view<[128, 768], f32>
}

// -----

// Nothing is known of a sum of exponentials that were not made small first.
// CHECK-LABEL: tile.kernel @unsafe
// CHECK:         tile.reduce add
// CHECK-NEXT:    tile.map
// CHECK-NEXT:    ^{{.*}}(
// CHECK-NEXT:      arith.divf
tile.kernel @unsafe(%Y: !tile.view<[128, 768], f32>, %X: !tile.view<[128, 768], f32>) grid(%i : 128 by 1) {
  %0 = arith.constant 0 : index
  %x = tile.load %X[%i, %0] axes [1] : !tile.view<[128, 768], f32> -> !tile.tile<[768], f32>
  %e = tile.map %x dims [[0]] : (!tile.tile<[768], f32>) -> !tile.tile<[768], f32> {
  ^bb0(%a: f32):
    %f = math.exp %a : f32
    tile.yield %f : f32
  }
  %s = tile.reduce add %e axes [0] : !tile.tile<[768], f32> -> !tile.tile<[], f32>
  %y = tile.map %e, %s dims [[0], []] : (!tile.tile<[768], f32>, !tile.tile<[], f32>) -> !tile.tile<[768], f32> {
  ^bb0(%a: f32, %b: f32):
    %q = arith.divf %a, %b : f32
    tile.yield %q : f32
  }
  tile.store set %y, %Y[%i, %0] axes [1] : !tile.tile<[768], f32> -> !tile.view<[128, 768], f32>
}
