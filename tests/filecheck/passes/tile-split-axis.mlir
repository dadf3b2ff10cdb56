// RUN: infini-opt %s -p tile-split-axis --split-input-file | filecheck %s

// A row of unknown size: a loop for the sum, one for what depends on it.
// CHECK-LABEL: tile.kernel @scaled
// CHECK:       %[[zero:.*]] = tile.full {{.*}} -> !tile.tile<[], f32>
// CHECK:       %[[n:.*]] = tile.size <[N]>
// CHECK-NEXT:  %[[sum:.*]] = tile.for %[[n]] by <[BC]> carry(%[[zero]]
// CHECK:         tile.load {{.*}} axes [1] : {{.*}} -> !tile.tile<[BC], f32>
// CHECK-NEXT:    %[[part:.*]] = tile.reduce add
// CHECK-NEXT:    tile.map %{{.*}}, %[[part]]
// CHECK:       tile.for %{{.*}} by <[BC]> carry() -> ()
// CHECK:         tile.load {{.*}} -> !tile.tile<[BC], f32>
// CHECK-NEXT:    tile.map %{{.*}}, %[[sum]]
// CHECK:         tile.store set
tile.kernel @scaled(%x: !tile.view<[M, N], f32>, %y: !tile.view<[M, N], f32>) grid(%i : M by 1) {
  %0 = arith.constant 0 : index
  %row = tile.load %x[%i, %0] axes [1] : !tile.view<[M, N], f32> -> !tile.tile<[N], f32>
  %sum = tile.reduce add %row axes [0] : !tile.tile<[N], f32> -> !tile.tile<[], f32>
  %out = tile.map %row, %sum dims [[0], []] : (!tile.tile<[N], f32>, !tile.tile<[], f32>) -> !tile.tile<[N], f32> {
  ^bb0(%a: f32, %b: f32):
    %c = arith.divf %a, %b : f32
    tile.yield %c : f32
  }
  tile.store set %out, %y[%i, %0] axes [1] : !tile.tile<[N], f32> -> !tile.view<[M, N], f32>
}

// -----

// What is known and short stays whole; BC is in use, so that the chunk takes BR.
// CHECK-LABEL: tile.kernel @columns
// CHECK:       tile.load {{.*}} -> !tile.tile<[8, BC], f32>
// CHECK:       tile.for %{{.*}} by <[BR]>
// CHECK:         tile.load {{.*}} -> !tile.tile<[BR, BC], f32>
tile.kernel @columns(%x: !tile.view<[8, M], f32>, %z: !tile.view<[N, M], f32>, %y: !tile.view<[M], f32>) grid(%i : M by BC) {
  %0 = arith.constant 0 : index
  %a = tile.load %x[%0, %i] axes [0, 1] : !tile.view<[8, M], f32> -> !tile.tile<[8, BC], f32>
  %s = tile.reduce max %a axes [0] : !tile.tile<[8, BC], f32> -> !tile.tile<[BC], f32>
  tile.store set %s, %y[%i] axes [0] : !tile.tile<[BC], f32> -> !tile.view<[M], f32>
  %b = tile.load %z[%0, %i] axes [0, 1] : !tile.view<[N, M], f32> -> !tile.tile<[N, BC], f32>
  %t = tile.reduce max %b axes [0] : !tile.tile<[N, BC], f32> -> !tile.tile<[BC], f32>
  tile.store max %t, %y[%i] axes [0] : !tile.tile<[BC], f32> -> !tile.view<[M], f32>
}
