// RUN: infini-opt %s -p tile-plan-memory --split-input-file | filecheck %s

// Values whose lives do not meet share their bytes; every offset is a multiple of 64. The
// result of an elementwise kernel takes the place of an operand that ends there.
// CHECK-LABEL: tile.program @chain
// CHECK-SAME:    arena = #graph.dims<[448]>
tile.kernel @copy(%X: !tile.view<[100], f32>, %Y: !tile.view<[100], f32>) grid(%i : 100 by 100) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[100], f32> -> !tile.tile<[100], f32>
  tile.store set %x, %Y[%i] axes [0] : !tile.tile<[100], f32> -> !tile.view<[100], f32>
}
tile.program @chain inputs 1 {
^bb0(%x: !tile.view<[100], f32>, %y: !tile.view<[100], f32>):
  // CHECK: tile.alloc at <[0]> : !tile.view<[100], f32>
  // CHECK: tile.alloc at <[0]> : !tile.view<[100], f32>
  // CHECK: tile.alloc at <[0]> : !tile.view<[100], f32>
  %a = tile.alloc : !tile.view<[100], f32>
  %b = tile.alloc : !tile.view<[100], f32>
  %c = tile.alloc : !tile.view<[100], f32>
  tile.launch @copy(%x, %a) : !tile.view<[100], f32>, !tile.view<[100], f32>
  tile.launch @copy(%a, %b) : !tile.view<[100], f32>, !tile.view<[100], f32>
  tile.launch @copy(%b, %c) : !tile.view<[100], f32>, !tile.view<[100], f32>
  tile.launch @copy(%c, %y) : !tile.view<[100], f32>, !tile.view<[100], f32>
}

// -----

// A use through an alias counts; so does each turn of a loop: what is written before it and
// read inside lives through all of it.
// CHECK-LABEL: tile.program @loop
tile.kernel @copy(%X: !tile.view<[16], f32>, %Y: !tile.view<[16], f32>) grid(%i : 16 by 16) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[16], f32> -> !tile.tile<[16], f32>
  tile.store set %x, %Y[%i] axes [0] : !tile.tile<[16], f32> -> !tile.view<[16], f32>
}
tile.program @loop inputs 1 {
^bb0(%x: !tile.view<[16], f32>, %y: !tile.view<[16], f32>):
  // CHECK: tile.alloc at <[0]> : !tile.view<[32], f32>
  // CHECK: tile.loop
  // CHECK: tile.alloc at <[128]> : !tile.view<[16], f32>
  // CHECK: tile.alloc at <[128]> : !tile.view<[16], f32>
  %a = tile.alloc : !tile.view<[32], f32>
  %p = tile.alias %a offset <[16]> : !tile.view<[32], f32> -> !tile.view<[16], f32>
  tile.launch @copy(%x, %p) : !tile.view<[16], f32>, !tile.view<[16], f32>
  tile.loop "t" to <[3]> {
    %b = tile.alloc : !tile.view<[16], f32>
    %c = tile.alloc : !tile.view<[16], f32>
    tile.launch @copy(%p, %b) : !tile.view<[16], f32>, !tile.view<[16], f32>
    tile.launch @copy(%b, %c) : !tile.view<[16], f32>, !tile.view<[16], f32>
    tile.launch @copy(%c, %y) : !tile.view<[16], f32>, !tile.view<[16], f32>
  }
}

// -----

// A while's condition runs again after its body: what it reads stays.
// CHECK-LABEL: tile.program @while
tile.kernel @copy(%X: !tile.view<[16], f32>, %Y: !tile.view<[16], f32>) grid(%i : 16 by 16) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[16], f32> -> !tile.tile<[16], f32>
  tile.store set %x, %Y[%i] axes [0] : !tile.tile<[16], f32> -> !tile.view<[16], f32>
}
tile.kernel @test(%X: !tile.view<[16], f32>, %F: !tile.view<[], i1>) grid(%i : 1 by 1) {
  %z = tile.size <[0]>
  %x = tile.load %X[%z] axes [] : !tile.view<[16], f32> -> !tile.tile<[], f32>
  %f = tile.map %x dims [[]] : (!tile.tile<[], f32>) -> !tile.tile<[], i1> {
  ^bb0(%a: f32):
    %c = arith.constant 0.0 : f32
    %g = arith.cmpf ogt, %a, %c : f32
    tile.yield %g : i1
  }
  tile.store set %f, %F[] axes [] : !tile.tile<[], i1> -> !tile.view<[], i1>
}
tile.program @while inputs 1 {
^bb0(%x: !tile.view<[16], f32>, %y: !tile.view<[16], f32>):
  // CHECK: %f = tile.alloc at <[128]> : !tile.view<[], i1>
  // CHECK: %limit = tile.alloc at <[0]> : !tile.view<[16], f32>
  // CHECK: %b = tile.alloc at <[64]> : !tile.view<[16], f32>
  %f = tile.alloc : !tile.view<[], i1>
  %limit = tile.alloc : !tile.view<[16], f32>
  tile.launch @copy(%x, %limit) : !tile.view<[16], f32>, !tile.view<[16], f32>
  tile.while %f : !tile.view<[], i1> {
    tile.launch @test(%limit, %f) : !tile.view<[16], f32>, !tile.view<[], i1>
  } {
    %b = tile.alloc : !tile.view<[16], f32>
    tile.launch @copy(%x, %b) : !tile.view<[16], f32>, !tile.view<[16], f32>
    tile.launch @copy(%b, %y) : !tile.view<[16], f32>, !tile.view<[16], f32>
  }
}

// -----

// Symbolic sizes come after the known ones; memory taken while running has no place.
// CHECK-LABEL: tile.program @symbolic
// CHECK-SAME:    arena = #graph.dims<[64*floordiv(4*N + 63, 64) + 64]>
tile.kernel @copy(%X: !tile.view<[N], f32>, %Y: !tile.view<[N], f32>) grid(%i : N by 64) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[N], f32> -> !tile.tile<[64], f32>
  tile.store set %x, %Y[%i] axes [0] : !tile.tile<[64], f32> -> !tile.view<[N], f32>
}
tile.kernel @scale(%X: !tile.view<[N], f32>, %S: !tile.view<[4], f32>) grid(%i : 1 by 1) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[N], f32> -> !tile.tile<[4], f32>
  tile.store set %x, %S[%i] axes [0] : !tile.tile<[4], f32> -> !tile.view<[4], f32>
}
tile.program @symbolic inputs 1 {
^bb0(%x: !tile.view<[N], f32>, %y: !tile.view<[4], f32>):
  // CHECK: tile.alloc at <[64]> : !tile.view<[N], f32>
  // CHECK: tile.alloc at <[0]> : !tile.view<[4], f32>
  // CHECK: tile.alloc dynamic : !tile.view<[N], f32>
  %a = tile.alloc : !tile.view<[N], f32>
  %b = tile.alloc : !tile.view<[4], f32>
  %c = tile.alloc dynamic : !tile.view<[N], f32>
  tile.launch @copy(%x, %a) : !tile.view<[N], f32>, !tile.view<[N], f32>
  tile.launch @scale(%a, %b) : !tile.view<[N], f32>, !tile.view<[4], f32>
  tile.launch @copy(%a, %c) : !tile.view<[N], f32>, !tile.view<[N], f32>
  tile.launch @scale(%c, %y) : !tile.view<[N], f32>, !tile.view<[4], f32>
}

// -----

// The operand is also read backwards, so its elements must stay until the end.
// CHECK-LABEL: tile.program @twice
// CHECK-SAME:    arena = #graph.dims<[128]>
tile.kernel @fill(%Y: !tile.view<[16], f32>) grid(%i : 16 by 16) {
  %c = arith.constant 1.0 : f32
  %x = tile.full %c : f32 -> !tile.tile<[16], f32>
  tile.store set %x, %Y[%i] axes [0] : !tile.tile<[16], f32> -> !tile.view<[16], f32>
}
tile.kernel @add(%A: !tile.view<[16], f32>, %B: !tile.view<[16], f32, strides [-1]>, %Y: !tile.view<[16], f32>) grid(%i : 16 by 16) {
  %a = tile.load %A[%i] axes [0] : !tile.view<[16], f32> -> !tile.tile<[16], f32>
  %b = tile.load %B[%i] axes [0] : !tile.view<[16], f32, strides [-1]> -> !tile.tile<[16], f32>
  %s = tile.map %a, %b dims [[0], [0]] : (!tile.tile<[16], f32>, !tile.tile<[16], f32>) -> !tile.tile<[16], f32> {
  ^bb0(%p: f32, %q: f32):
    %r = arith.addf %p, %q : f32
    tile.yield %r : f32
  }
  tile.store set %s, %Y[%i] axes [0] : !tile.tile<[16], f32> -> !tile.view<[16], f32>
}
tile.kernel @copy(%X: !tile.view<[16], f32>, %Y: !tile.view<[16], f32>) grid(%i : 16 by 16) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[16], f32> -> !tile.tile<[16], f32>
  tile.store set %x, %Y[%i] axes [0] : !tile.tile<[16], f32> -> !tile.view<[16], f32>
}
tile.program @twice inputs 0 {
^bb0(%y: !tile.view<[16], f32>):
  // CHECK: tile.alloc at <[0]>
  // CHECK: tile.alloc at <[64]>
  %a = tile.alloc : !tile.view<[16], f32>
  %b = tile.alloc : !tile.view<[16], f32>
  tile.launch @fill(%a) : !tile.view<[16], f32>
  %r = tile.alias %a offset <[15]> : !tile.view<[16], f32> -> !tile.view<[16], f32, strides [-1]>
  tile.launch @add(%a, %r, %b) : !tile.view<[16], f32>, !tile.view<[16], f32, strides [-1]>, !tile.view<[16], f32>
  tile.launch @copy(%b, %y) : !tile.view<[16], f32>, !tile.view<[16], f32>
}
