// RUN: infini-opt %s -p tile-narrow-doubles --split-input-file | filecheck %s

// The length of a range: nothing here rounds, so that f32 does.
// CHECK-LABEL: @length
// CHECK-NOT:   f64
// CHECK:       math.ceil %{{.*}} : f32
// CHECK:       arith.maximumf %{{.*}} : f32
// CHECK:       arith.cmpf olt, %{{.*}} : f32
// CHECK:       arith.fptosi %{{.*}} : f32 to i64
tile.kernel @length(%x: !tile.view<[], f32>, %y: !tile.view<[], i64>) grid() {
  %t = tile.load %x[] axes [] : !tile.view<[], f32> -> !tile.tile<[], f32>
  %m = tile.map %t dims [[]] : (!tile.tile<[], f32>) -> !tile.tile<[], i64> {
  ^bb0(%a: f32):
    %w = arith.extf %a : f32 to f64
    %c = math.ceil %w : f64
    %z = arith.constant 0.0 : f64
    %b = arith.maximumf %c, %z : f64
    %l = arith.constant 9.2233720368547758e+18 : f64
    %i = arith.cmpf olt, %b, %l : f64
    %s = arith.select %i, %b, %z : f64
    %n = arith.fptosi %s : f64 to i64
    tile.yield %n : i64
  }
  tile.store set %m, %y[] axes [] : !tile.tile<[], i64> -> !tile.view<[], i64>
}

// -----

// A quotient is rounded: it stays.
// CHECK-LABEL: @quotient
// CHECK:       arith.divf %{{.*}} : f64
tile.kernel @quotient(%x: !tile.view<[], f32>, %y: !tile.view<[], i64>) grid() {
  %t = tile.load %x[] axes [] : !tile.view<[], f32> -> !tile.tile<[], f32>
  %m = tile.map %t dims [[]] : (!tile.tile<[], f32>) -> !tile.tile<[], i64> {
  ^bb0(%a: f32):
    %w = arith.extf %a : f32 to f64
    %d = arith.constant 3.0 : f64
    %q = arith.divf %w, %d : f64
    %n = arith.fptosi %q : f64 to i64
    tile.yield %n : i64
  }
  tile.store set %m, %y[] axes [] : !tile.tile<[], i64> -> !tile.view<[], i64>
}
