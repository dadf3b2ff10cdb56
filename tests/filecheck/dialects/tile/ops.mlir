// RUN: infini-opt %s --split-input-file | filecheck %s

// A contraction with an epilogue.
// CHECK: tile.kernel @product(%A: !tile.view<[M, 7], f32>, %B: !tile.view<[7, N], f32>, %bias: !tile.view<[N], f32>, %Y: !tile.view<[M, N], f32>) grid(%i : M by BM, %j : N by BN) from "dot" plan {BM = 6 : i64} {
tile.kernel @product(%A: !tile.view<[M, 7], f32>, %B: !tile.view<[7, N], f32>, %bias: !tile.view<[N], f32>, %Y: !tile.view<[M, N], f32>)
    grid(%i : M by BM, %j : N by BN) from "dot" plan {"BM" = 6 : i64} {
  %zero = arith.constant 0.0 : f32
  // CHECK: tile.full %zero : f32 -> !tile.tile<[BM, BN], f32>
  %z = tile.full %zero : f32 -> !tile.tile<[BM, BN], f32>
  // CHECK-NEXT: tile.size <[7]>
  %K = tile.size <[7]>
  // CHECK-NEXT: tile.for %K by <[BK]> carry(%z : !tile.tile<[BM, BN], f32>) -> (!tile.tile<[BM, BN], f32>) {
  %acc = tile.for %K by <[BK]> carry(%z : !tile.tile<[BM, BN], f32>) -> (!tile.tile<[BM, BN], f32>) {
  ^bb0(%k: index, %c: !tile.tile<[BM, BN], f32>):
    // CHECK: tile.load %A[%i, %k] axes [0, 1] : !tile.view<[M, 7], f32> -> !tile.tile<[BM, BK], f32>
    %a = tile.load %A[%i, %k] axes [0, 1] : !tile.view<[M, 7], f32> -> !tile.tile<[BM, BK], f32>
    %b = tile.load %B[%k, %j] axes [0, 1] : !tile.view<[7, N], f32> -> !tile.tile<[BK, BN], f32>
    // CHECK: tile.dot %a, %b, %c : !tile.tile<[BM, BK], f32>, !tile.tile<[BK, BN], f32>, !tile.tile<[BM, BN], f32> -> !tile.tile<[BM, BN], f32>
    %d = tile.dot %a, %b, %c : !tile.tile<[BM, BK], f32>, !tile.tile<[BK, BN], f32>, !tile.tile<[BM, BN], f32> -> !tile.tile<[BM, BN], f32>
    // CHECK-NEXT: tile.yield %d : !tile.tile<[BM, BN], f32>
    tile.yield %d : !tile.tile<[BM, BN], f32>
  }
  %v = tile.load %bias[%j] axes [0] : !tile.view<[N], f32> -> !tile.tile<[BN], f32>
  // CHECK: tile.map %acc, %v dims {{\[\[0, 1\], \[1\]\]}} : (!tile.tile<[BM, BN], f32>, !tile.tile<[BN], f32>) -> !tile.tile<[BM, BN], f32> {
  %y = tile.map %acc, %v dims [[0, 1], [1]] : (!tile.tile<[BM, BN], f32>, !tile.tile<[BN], f32>) -> !tile.tile<[BM, BN], f32> {
  ^bb0(%x: f32, %w: f32):
    %s = arith.addf %x, %w : f32
    tile.yield %s : f32
  }
  // CHECK: tile.store set %y, %Y[%i, %j] axes [0, 1] : !tile.tile<[BM, BN], f32> -> !tile.view<[M, N], f32>
  tile.store set %y, %Y[%i, %j] axes [0, 1] : !tile.tile<[BM, BN], f32> -> !tile.view<[M, N], f32>
}

// -----

// Rows, positions, and the other operand of a product read along its last axis.
tile.kernel @rows(%X: !tile.view<[M, 9], f32>, %Q: !tile.view<[M, 9], f32>, %Y: !tile.view<[M], f32>, %S: !tile.view<[M, M], f32>) grid(%i : M by BM) {
  %0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %x = tile.load %X[%i, %0] axes [0, 1] : !tile.view<[M, 9], f32> -> !tile.tile<[BM, 9], f32>
  // CHECK: tile.map %x, %i dims {{\[\[0, 1\], \[\]\]}}
  %m = tile.map %x, %i dims [[0, 1], []] : (!tile.tile<[BM, 9], f32>, index) -> !tile.tile<[BM, 9], f32> {
  ^bb0(%e: f32, %r: index):
    // CHECK: tile.coord 1
    %c = tile.coord 1
    %row = arith.addi %r, %c : index
    %n = arith.index_cast %row : index to i64
    %f = arith.sitofp %n : i64 to f32
    %s = arith.addf %e, %f : f32
    tile.yield %s : f32
  }
  // CHECK: tile.reduce max %m axes [1] : !tile.tile<[BM, 9], f32> -> !tile.tile<[BM], f32>
  %t = tile.reduce max %m axes [1] : !tile.tile<[BM, 9], f32> -> !tile.tile<[BM], f32>
  // CHECK: tile.scan max %m axis 1 exclusive reverse : !tile.tile<[BM, 9], f32> -> !tile.tile<[BM, 9], f32>
  %u = tile.scan max %m axis 1 exclusive reverse : !tile.tile<[BM, 9], f32> -> !tile.tile<[BM, 9], f32>
  tile.store add %t, %Y[%i] axes [0] : !tile.tile<[BM], f32> -> !tile.view<[M], f32>
  %q = tile.load %Q[%i, %0] axes [0, 1] : !tile.view<[M, 9], f32> -> !tile.tile<[BM, 9], f32>
  %z = tile.full %zero : f32 -> !tile.tile<[BM, BM], f32>
  // CHECK: tile.dot %x, %q, %z transposed <[]> :
  %p = tile.dot %x, %q, %z transposed <[]> : !tile.tile<[BM, 9], f32>, !tile.tile<[BM, 9], f32>, !tile.tile<[BM, BM], f32> -> !tile.tile<[BM, BM], f32>
  tile.store set %p, %S[%i, %i] axes [0, 1] : !tile.tile<[BM, BM], f32> -> !tile.view<[M, M], f32>
}

// -----

// Computed positions.
// CHECK: tile.kernel @places(%X: !tile.view<[M, 4], ui8>, %I: !tile.view<[N], i32>, %Y: !tile.view<[N, 4], ui8, strides [1, N]>) grid(%i : N by BM, %j : 4 by 1) {
tile.kernel @places(%X: !tile.view<[M, 4], ui8>, %I: !tile.view<[N], i32>, %Y: !tile.view<[N, 4], ui8, strides [1, N]>) grid(%i : N by BM, %j : 4 by 1) {
  %p = tile.load %I[%i] axes [0] : !tile.view<[N], i32> -> !tile.tile<[BM], i32>
  // CHECK: tile.gather %X[%p, %j] dims {{\[\[0\], \[\]\]}} : !tile.view<[M, 4], ui8>[!tile.tile<[BM], i32>, index] -> !tile.tile<[BM], ui8>
  %x = tile.gather %X[%p, %j] dims [[0], []] : !tile.view<[M, 4], ui8>[!tile.tile<[BM], i32>, index] -> !tile.tile<[BM], ui8>
  // CHECK-NEXT: tile.scatter max %x, %Y[%p, %j] dims {{\[\[0\], \[\]\]}} : !tile.tile<[BM], ui8> -> !tile.view<[N, 4], ui8, strides [1, N]>[!tile.tile<[BM], i32>, index]
  tile.scatter max %x, %Y[%p, %j] dims [[0], []] : !tile.tile<[BM], ui8> -> !tile.view<[N, 4], ui8, strides [1, N]>[!tile.tile<[BM], i32>, index]
  // CHECK-NEXT: tile.read %X[%i, %j] : !tile.view<[M, 4], ui8> -> i8
  %r = tile.read %X[%i, %j] : !tile.view<[M, 4], ui8> -> i8
}

// -----

tile.kernel @copy(%X: !tile.view<[N], f32>, %Y: !tile.view<[N], f32>) grid(%i : N by BC) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[N], f32> -> !tile.tile<[BC], f32>
  tile.store set %x, %Y[%i] axes [0] : !tile.tile<[BC], f32> -> !tile.view<[N], f32>
}

// The host program.
// CHECK: tile.program @main inputs 3 where <N le 4096> signature {inputs = ["x", "n", "c"]} {
tile.program @main inputs 3 where <N le 4096> signature {"inputs" = ["x", "n", "c"]} {
// CHECK-NEXT: ^{{.*}}(%x: !tile.view<[N], f32>, %n: !tile.view<[], i64>, %c: !tile.view<[], i1>):
^bb0(%x: !tile.view<[N], f32>, %n: !tile.view<[], i64>, %c: !tile.view<[], i1>):
  // CHECK-NEXT: tile.alloc at <[64]> : !tile.view<[N], f32>
  %b = tile.alloc at <[64]> : !tile.view<[N], f32>
  // CHECK-NEXT: tile.weight "w" : !tile.view<[8, 40], f32, panel 32>
  %w = tile.weight "w" : !tile.view<[8, 40], f32, panel 32>
  // CHECK-NEXT: tile.weight "v" : !tile.view<[8, 40], i8, panel 16 by 4>
  %v = tile.weight "v" : !tile.view<[8, 40], i8, panel 16 by 4>
  // CHECK-NEXT: tile.weight "u" : !tile.view<[3, 8, 40], i8, panel 16 by 4 batch 1>
  %u = tile.weight "u" : !tile.view<[3, 8, 40], i8, panel 16 by 4 batch 1>
  // CHECK-NEXT: tile.weight "t" : !tile.view<[3, 8, 40], f32, panel 32 batch 1>
  %t = tile.weight "t" : !tile.view<[3, 8, 40], f32, panel 32 batch 1>
  // CHECK-NEXT: tile.launch @copy(%x, %b) serial for "node 1" : !tile.view<[N], f32>, !tile.view<[N], f32>
  tile.launch @copy(%x, %b) serial for "node 1" : !tile.view<[N], f32>, !tile.view<[N], f32>
  // CHECK-NEXT: tile.barrier
  tile.barrier
  // CHECK-NEXT: tile.alias %b offset <[N - 1]> : !tile.view<[N], f32> -> !tile.view<[N, 1], f32, strides [-1, 1]>
  %r = tile.alias %b offset <[N - 1]> : !tile.view<[N], f32> -> !tile.view<[N, 1], f32, strides [-1, 1]>
  // CHECK-NEXT: tile.bind %n as "K" where <K le N> : !tile.view<[], i64>
  tile.bind %n as "K" where <K le N> : !tile.view<[], i64>
  // CHECK-NEXT: tile.set "L" to <[K + 1]>
  tile.set "L" to <[K + 1]>
  // CHECK-NEXT: tile.set "M" to <[2*K]> where <2*K eq N>
  tile.set "M" to <[2*K]> where <2*K eq N>
  // CHECK-NEXT: tile.alloc dynamic : !tile.view<[K], f32>
  %d = tile.alloc dynamic : !tile.view<[K], f32>
  // CHECK-NEXT: tile.if %c : !tile.view<[], i1> {
  tile.if %c : !tile.view<[], i1> {
    tile.barrier
  } {
    tile.barrier
  }
  // CHECK: tile.loop "t" to <[K]> {
  tile.loop "t" to <[K]> {
    tile.barrier
  }
  // CHECK: tile.loop "u" to <[K]> until %c : !tile.view<[], i1> {
  tile.loop "u" to <[K]> until %c : !tile.view<[], i1> {
    tile.barrier
  }
  // CHECK: tile.while %c : !tile.view<[], i1> {
  tile.while %c : !tile.view<[], i1> {
    tile.barrier
  } {
    tile.barrier
  }
  // CHECK: tile.library "matmul"(%p, %p, %q) accumulate f32 for "y" : !tile.view<[K, K], f16>, !tile.view<[K, K], f16>, !tile.view<[K, K], f32>
  %p = tile.alloc dynamic : !tile.view<[K, K], f16>
  %q = tile.alloc dynamic : !tile.view<[K, K], f32>
  tile.library "matmul" (%p, %p, %q) accumulate f32 for "y" : !tile.view<[K, K], f16>, !tile.view<[K, K], f16>, !tile.view<[K, K], f32>
  // CHECK: tile.publish %d as 0 : !tile.view<[K], f32>
  tile.publish %d as 0 : !tile.view<[K], f32>
}

// -----

// A tile of which the store takes what it needs.
// CHECK: tile.kernel @part
tile.kernel @part(%X: !tile.view<[9], f32>, %Y: !tile.view<[8], f32>) grid(%i : 9 by BM) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[9], f32> -> !tile.tile<[BM], f32>
  // CHECK: tile.open %x : !tile.tile<[BM], f32> -> !tile.tile<[BM], f32>
  %y = tile.open %x : !tile.tile<[BM], f32> -> !tile.tile<[BM], f32>
  tile.store set %y, %Y[%i] axes [0] : !tile.tile<[BM], f32> -> !tile.view<[8], f32>
}
