// RUN: infini-opt %s -p tile-expand-math --split-input-file | filecheck %s

// exp becomes multiply-adds and a power of two made from bits; what is one instruction
// anyway (sqrt, fma, floor) stays.
// CHECK-LABEL: tile.kernel @maths
// CHECK-COUNT-8: math.fma
// CHECK-NOT:     math.exp
// CHECK:         math.sqrt
// CHECK:         math.floor
// CHECK:         tile.yield
tile.kernel @maths(%X: !tile.view<[N], f32>, %Y: !tile.view<[N], f32>) grid(%i : N by 64) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[N], f32> -> !tile.tile<[64], f32>
  %y = tile.map %x dims [[0]] : (!tile.tile<[64], f32>) -> !tile.tile<[64], f32> {
  ^bb0(%a: f32):
    %e = math.exp %a : f32
    %s = math.sqrt %e : f32
    %f = math.floor %s : f32
    tile.yield %f : f32
  }
  tile.store set %y, %Y[%i] axes [0] : !tile.tile<[64], f32> -> !tile.view<[N], f32>
}

// -----

// CHECK-LABEL: tile.kernel @others
// CHECK-NOT:     math.{{tanh|erf|log|sin|powf}}
// CHECK:         tile.store
tile.kernel @others(%X: !tile.view<[N], f64>, %Y: !tile.view<[N], f64>) grid(%i : N by 64) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[N], f64> -> !tile.tile<[64], f64>
  %y = tile.map %x dims [[0]] : (!tile.tile<[64], f64>) -> !tile.tile<[64], f64> {
  ^bb0(%a: f64):
    %t = math.tanh %a : f64
    %e = math.erf %t : f64
    %l = math.log %e : f64
    %s = math.sin %l : f64
    %p = math.powf %s, %a : f64
    tile.yield %p : f64
  }
  tile.store set %y, %Y[%i] axes [0] : !tile.tile<[64], f64> -> !tile.view<[N], f64>
}

// -----

// A power that is a root becomes one, without a logarithm.
// CHECK-LABEL: tile.kernel @roots
// CHECK-NOT:     math.{{powf|fma}}
// CHECK-COUNT-2: math.sqrt
// CHECK:         tile.yield
tile.kernel @roots(%X: !tile.view<[N], f32>, %Y: !tile.view<[N], f32>) grid(%i : N by 64) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[N], f32> -> !tile.tile<[64], f32>
  %y = tile.map %x dims [[0]] : (!tile.tile<[64], f32>) -> !tile.tile<[64], f32> {
  ^bb0(%a: f32):
    %c = arith.constant 0.25 : f32
    %p = math.powf %a, %c : f32
    tile.yield %p : f32
  }
  tile.store set %y, %Y[%i] axes [0] : !tile.tile<[64], f32> -> !tile.view<[N], f32>
}

// -----

// Without the option the logistic function is what it is written as.
// CHECK-LABEL: tile.kernel @logistic
// CHECK:         arith.negf
// CHECK:         arith.addf %{{.*}}, %{{.*}} : f32
// CHECK:         arith.divf
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
