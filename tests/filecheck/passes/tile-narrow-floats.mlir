// RUN: infini-opt %s -p tile-narrow-floats --split-input-file | filecheck %s

// The size of a range: nothing of it needs f64.
// CHECK-LABEL: tile.kernel @size
// CHECK:         %[[f:.*]] = arith.sitofp
// CHECK-NEXT:    %[[c:.*]] = math.ceil %[[f]] : f32
// CHECK:         %[[m:.*]] = arith.maximumf %[[c]], %{{.*}} : f32
// CHECK:         arith.cmpf oge, %[[m]], %{{.*}} : f32
// CHECK:         %[[s:.*]] = arith.select %{{.*}}, %[[m]], %{{.*}} : f32
// CHECK-NEXT:    arith.fptosi %[[s]] : f32 to i64
// CHECK-NOT:     f64
tile.kernel @size(%n: !tile.view<[], i64>, %y: !tile.view<[], i64>) grid() {
  %x = tile.load %n[] axes [] : !tile.view<[], i64> -> !tile.tile<[], i64>
  %r = tile.map %x dims [[]] : (!tile.tile<[], i64>) -> !tile.tile<[], i64> {
  ^bb0(%a: i64):
    %0 = arith.sitofp %a : i64 to f32
    %1 = arith.extf %0 : f32 to f64
    %2 = math.ceil %1 : f64
    %3 = arith.constant 0.000000e+00 : f64
    %4 = arith.maximumf %2, %3 : f64
    %5 = arith.constant -9.2233720368547758e+18 : f64
    %6 = arith.cmpf oge, %4, %5 : f64
    %7 = arith.select %6, %4, %3 : f64
    %8 = arith.fptosi %7 : f64 to i64
    tile.yield %8 : i64
  }
  tile.store set %r, %y[] axes [] : !tile.tile<[], i64> -> !tile.view<[], i64>
}

// -----

// A sum may not fit in f32, nor may a tenth: they stay.
// CHECK-LABEL: tile.kernel @sum
// CHECK:         %[[w:.*]] = arith.extf
// CHECK:         arith.addf %[[w]], %{{.*}} : f64
// CHECK:         %[[t:.*]] = arith.constant 1.000000e-01 : f64
// CHECK:         arith.maximumf %{{.*}}, %[[t]] : f64
tile.kernel @sum(%x: !tile.view<[], f32>, %y: !tile.view<[], f64>) grid() {
  %a = tile.load %x[] axes [] : !tile.view<[], f32> -> !tile.tile<[], f32>
  %r = tile.map %a dims [[]] : (!tile.tile<[], f32>) -> !tile.tile<[], f64> {
  ^bb0(%v: f32):
    %0 = arith.extf %v : f32 to f64
    %1 = arith.addf %0, %0 : f64
    %2 = arith.constant 1.000000e-01 : f64
    %3 = arith.maximumf %1, %2 : f64
    tile.yield %3 : f64
  }
  tile.store set %r, %y[] axes [] : !tile.tile<[], f64> -> !tile.view<[], f64>
}
