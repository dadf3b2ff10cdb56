// RUN: infini-opt %s -p cpu-normal-factors | filecheck %s

// Exponentials that are a factor of a product may be 0 in place of subnormal.
// CHECK-LABEL: tile.kernel @weighted
// CHECK:       math.exp %{{.*}} fastmath<afn> : f32
// CHECK:       tile.dot
tile.kernel @weighted(%X: !tile.view<[64, 32], f32>, %V: !tile.view<[32, 48], f32>, %Y: !tile.view<[64, 48], f32>) grid(%i : 64 by BM) {
  %0 = arith.constant 0 : index
  %z = arith.constant 0.0 : f32
  %acc = tile.full %z : f32 -> !tile.tile<[BM, 48], f32>
  %x = tile.load %X[%i, %0] axes [0, 1] : !tile.view<[64, 32], f32> -> !tile.tile<[BM, 32], f32>
  %v = tile.load %V[%0, %0] axes [0, 1] : !tile.view<[32, 48], f32> -> !tile.tile<[32, 48], f32>
  %e = tile.map %x dims [[0, 1]] : (!tile.tile<[BM, 32], f32>) -> !tile.tile<[BM, 32], f32> {
  ^bb0(%a: f32):
    %p = math.exp %a : f32
    tile.yield %p : f32
  }
  %d = tile.dot %e, %v, %acc : !tile.tile<[BM, 32], f32>, !tile.tile<[32, 48], f32>, !tile.tile<[BM, 48], f32> -> !tile.tile<[BM, 48], f32>
  tile.store set %d, %Y[%i, %0] axes [0, 1] : !tile.tile<[BM, 48], f32> -> !tile.view<[64, 48], f32>
}

// Results keep their subnormal numbers.
// CHECK-LABEL: tile.kernel @exponentials
// CHECK:       math.exp %{{[a-z0-9]+}} : f32
tile.kernel @exponentials(%X: !tile.view<[64], f32>, %Y: !tile.view<[64], f32>) grid(%i : 64 by BC) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[64], f32> -> !tile.tile<[BC], f32>
  %e = tile.map %x dims [[0]] : (!tile.tile<[BC], f32>) -> !tile.tile<[BC], f32> {
  ^bb0(%a: f32):
    %p = math.exp %a : f32
    tile.yield %p : f32
  }
  tile.store set %e, %Y[%i] axes [0] : !tile.tile<[BC], f32> -> !tile.view<[64], f32>
}
