// RUN: infini-opt %s -p 'tile-expand-math{sigmoid=true native_f32="math.exp"}' --split-input-file | filecheck %s
// RUN: infini-opt %s -p 'tile-expand-math{sigmoid=true native_f32="math.exp" estimates=true}' --split-input-file | filecheck %s --check-prefix=ESTIMATE

// The divisor's rounding error goes into the quotient; no exp is left of it.
// CHECK-LABEL: tile.kernel @logistic
// CHECK-NOT:     math.exp
// CHECK:         arith.divf
// CHECK-NEXT:    arith.mulf
// CHECK:         tile.yield

// Where the target has estimates, one step takes in what the estimate lacks too.
// ESTIMATE-LABEL: tile.kernel @logistic
// ESTIMATE:         arith.divf {{.*}} fastmath<arcp>
// ESTIMATE-COUNT-3: math.fma
// ESTIMATE:         tile.yield
tile.kernel @logistic(%X: !tile.view<[N], f32>, %Y: !tile.view<[N], f32>) grid(%i : N by 64) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[N], f32> -> !tile.tile<[64], f32>
  %y = tile.map %x dims [[0]] : (!tile.tile<[64], f32>) -> !tile.tile<[64], f32> {
  ^bb0(%a: f32):
    %one = arith.constant 1.0 : f32
    %n = arith.negf %a : f32
    %e = math.exp %n : f32
    %d = arith.addf %one, %e : f32
    %r = arith.divf %one, %d : f32
    tile.yield %r : f32
  }
  tile.store set %y, %Y[%i] axes [0] : !tile.tile<[64], f32> -> !tile.view<[N], f32>
}

// -----

// Another number than 1 above: an ordinary quotient.
// CHECK-LABEL: tile.kernel @scaled
// CHECK:         math.exp
// CHECK:         arith.divf
tile.kernel @scaled(%X: !tile.view<[N], f32>, %Y: !tile.view<[N], f32>) grid(%i : N by 64) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[N], f32> -> !tile.tile<[64], f32>
  %y = tile.map %x dims [[0]] : (!tile.tile<[64], f32>) -> !tile.tile<[64], f32> {
  ^bb0(%a: f32):
    %one = arith.constant 1.0 : f32
    %two = arith.constant 2.0 : f32
    %n = arith.negf %a : f32
    %e = math.exp %n : f32
    %d = arith.addf %one, %e : f32
    %r = arith.divf %two, %d : f32
    tile.yield %r : f32
  }
  tile.store set %y, %Y[%i] axes [0] : !tile.tile<[64], f32> -> !tile.view<[N], f32>
}
