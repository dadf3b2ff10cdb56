// RUN: infini-opt %s -p 'tile-block-rows' --split-input-file | filecheck %s
// RUN: infini-opt %s -p 'tile-block-rows{longest=32}' --split-input-file | filecheck %s --check-prefix=SHORT

// Tiles of rows get an axis in front; the scale, which all rows share, stays as it is.
// CHECK:       tile.kernel @normalise(%[[x:.*]]: !tile.view<[M, 48], f32>, %[[g:.*]]: {{.*}}, %[[y:.*]]: {{.*}}) grid(%[[i:.*]] : M by BR) {
// CHECK:         %[[row:.*]] = tile.load %[[x]][%[[i]], %{{.*}}] axes [0, 1] : {{.*}} -> !tile.tile<[BR, 48], f32>
// CHECK-NEXT:    %[[scale:.*]] = tile.load %[[g]][%[[i]], %{{.*}}] axes [1] : {{.*}} -> !tile.tile<[48], f32>
// CHECK-NEXT:    %[[sum:.*]] = tile.reduce add %[[row]] axes [1] : {{.*}} -> !tile.tile<[BR], f32>
// CHECK-NEXT:    %[[out:.*]] = tile.map %[[row]], %[[sum]], %[[scale]] dims {{\[\[0, 1\], \[0\], \[1\]\]}}
// CHECK:           tile.coord 1
// CHECK:         tile.store set %[[out]], %[[y]][%[[i]], %{{.*}}] axes [0, 1]
// SHORT:       tile.kernel @normalise({{.*}}) grid(%{{.*}} : M by 1)
tile.kernel @normalise(%x: !tile.view<[M, 48], f32>, %g: !tile.view<[M, 48], f32, strides [0, 1]>, %y: !tile.view<[M, 48], f32>) grid(%i : M by 1) {
  %0 = arith.constant 0 : index
  %row = tile.load %x[%i, %0] axes [1] : !tile.view<[M, 48], f32> -> !tile.tile<[48], f32>
  %scale = tile.load %g[%i, %0] axes [1] : !tile.view<[M, 48], f32, strides [0, 1]> -> !tile.tile<[48], f32>
  %sum = tile.reduce add %row axes [0] : !tile.tile<[48], f32> -> !tile.tile<[], f32>
  %out = tile.map %row, %sum, %scale dims [[0], [], [0]] : (!tile.tile<[48], f32>, !tile.tile<[], f32>, !tile.tile<[48], f32>) -> !tile.tile<[48], f32> {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %at = tile.coord 0
    %n = arith.index_cast %at : index to i32
    %f = arith.sitofp %n : i32 to f32
    %d = arith.divf %a, %b : f32
    %e = arith.mulf %d, %c : f32
    %h = arith.addf %e, %f : f32
    tile.yield %h : f32
  }
  tile.store set %out, %y[%i, %0] axes [1] : !tile.tile<[48], f32> -> !tile.view<[M, 48], f32>
}

// -----

// A loop carries a value for every row; scans go along the row still.
// CHECK:       tile.kernel @running({{.*}}) grid(%[[b:.*]] : 4 by 1, %[[i:.*]] : M by BR)
// CHECK:         %[[start:.*]] = tile.full %{{.*}} : f32 -> !tile.tile<[BR], f32>
// CHECK-NEXT:    tile.for %{{.*}} by <[8]> carry(%[[start]] : !tile.tile<[BR], f32>)
// CHECK:           %[[part:.*]] = tile.load %{{.*}}[%[[b]], %[[i]], %{{.*}}] axes [1, 2] : {{.*}} -> !tile.tile<[BR, 8], f32>
// CHECK-NEXT:      %[[sums:.*]] = tile.scan add %[[part]] axis 1 reverse
// CHECK-NEXT:      tile.store set %[[sums]]
// CHECK-NEXT:      tile.reduce max %[[sums]] axes [1]
// SHORT:       tile.kernel @running({{.*}}) grid(%{{.*}} : 4 by 1, %{{.*}} : M by BR)
tile.kernel @running(%x: !tile.view<[4, M, 32], f32>, %y: !tile.view<[4, M, 32], f32>, %z: !tile.view<[4, M], f32>) grid(%b : 4 by 1, %i : M by 1) {
  %n = arith.constant 32 : index
  %zero = arith.constant 0.0 : f32
  %start = tile.full %zero : f32 -> !tile.tile<[], f32>
  %end = tile.for %n by <[8]> carry(%start : !tile.tile<[], f32>) -> (!tile.tile<[], f32>) {
  ^bb0(%k: index, %c: !tile.tile<[], f32>):
    %part = tile.load %x[%b, %i, %k] axes [2] : !tile.view<[4, M, 32], f32> -> !tile.tile<[8], f32>
    %sums = tile.scan add %part axis 0 reverse : !tile.tile<[8], f32> -> !tile.tile<[8], f32>
    tile.store set %sums, %y[%b, %i, %k] axes [2] : !tile.tile<[8], f32> -> !tile.view<[4, M, 32], f32>
    %most = tile.reduce max %sums axes [0] : !tile.tile<[8], f32> -> !tile.tile<[], f32>
    tile.yield %most : !tile.tile<[], f32>
  }
  tile.store set %end, %z[%b, %i] axes [] : !tile.tile<[], f32> -> !tile.view<[4, M], f32>
}

// -----

// The row is read: each has its program.
// CHECK:       tile.kernel @looked_up({{.*}}) grid(%{{.*}} : M by 1)
tile.kernel @looked_up(%x: !tile.view<[N, 8], f32>, %t: !tile.view<[M], i64>, %y: !tile.view<[M, 8], f32>) grid(%i : M by 1) {
  %0 = arith.constant 0 : index
  %n = tile.read %t[%i] : !tile.view<[M], i64> -> i64
  %at = arith.index_cast %n : i64 to index
  %row = tile.load %x[%at, %0] axes [1] : !tile.view<[N, 8], f32> -> !tile.tile<[8], f32>
  tile.store set %row, %y[%i, %0] axes [1] : !tile.tile<[8], f32> -> !tile.view<[M, 8], f32>
}
