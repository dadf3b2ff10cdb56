// RUN: infini-opt %s -p 'cpu-plan{cpu="x86-64-v4"}' --split-input-file | filecheck %s
// RUN: infini-opt %s -p 'cpu-plan{cpu="x86-64-v3"}' --split-input-file | filecheck %s --check-prefix AVX2

// A register tile of at most 14 rows by 2 vectors where there are 32 registers, of 6 by 2
// where 16: the rows of a program in strips that are as even as they can be.
// CHECK-LABEL: tile.kernel @mm
// CHECK-SAME:    strip = array<i64: 1, 11>, vectors = 2 : i64, panels = 1 : i64
// CHECK-SAME:    reason = "right operand of 65536 bytes stays in L2, rows are shared"
// AVX2-LABEL:  tile.kernel @mm
// AVX2-SAME:     strip = array<i64: 1, 6>, vectors = 2 : i64
tile.kernel @mm(%A: !tile.view<[512, 128], f32>, %B: !tile.view<[128, 128], f32>, %Y: !tile.view<[512, 128], f32>) grid(%i : 512 by BM, %j : 128 by BN) {
  %c0 = arith.constant 0.0 : f32
  %z = tile.full %c0 : f32 -> !tile.tile<[BM, BN], f32>
  %K = tile.size <[128]>
  %r = tile.for %K by <[BK]> carry(%z : !tile.tile<[BM, BN], f32>) -> (!tile.tile<[BM, BN], f32>) {
  ^bb0(%k: index, %c: !tile.tile<[BM, BN], f32>):
    %a = tile.load %A[%i, %k] axes [0, 1] : !tile.view<[512, 128], f32> -> !tile.tile<[BM, BK], f32>
    %b = tile.load %B[%k, %j] axes [0, 1] : !tile.view<[128, 128], f32> -> !tile.tile<[BK, BN], f32>
    %d = tile.dot %a, %b, %c : !tile.tile<[BM, BK], f32>, !tile.tile<[BK, BN], f32>, !tile.tile<[BM, BN], f32> -> !tile.tile<[BM, BN], f32>
    tile.yield %d : !tile.tile<[BM, BN], f32>
  }
  tile.store set %r, %Y[%i, %j] axes [0, 1] : !tile.tile<[BM, BN], f32> -> !tile.view<[512, 128], f32>
}
tile.program @large inputs 2 {
^bb0(%a: !tile.view<[512, 128], f32>, %b: !tile.view<[128, 128], f32>, %y: !tile.view<[512, 128], f32>):
  // CHECK: tile.launch @mm(%a, %b, %y) :
  tile.launch @mm(%a, %b, %y) : !tile.view<[512, 128], f32>, !tile.view<[128, 128], f32>, !tile.view<[512, 128], f32>
}

// -----

// A kernel this small runs on one worker. Only parameters that a kernel names are fixed.
// CHECK-LABEL: tile.kernel @negate
// CHECK-SAME:    plan {BC = 100 : i64, strip
tile.kernel @negate(%X: !tile.view<[100], f32>, %Y: !tile.view<[100], f32>) grid(%i : 100 by BC) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[100], f32> -> !tile.tile<[BC], f32>
  %y = tile.map %x dims [[0]] : (!tile.tile<[BC], f32>) -> !tile.tile<[BC], f32> {
  ^bb0(%a: f32):
    %n = arith.negf %a : f32
    tile.yield %n : f32
  }
  tile.store set %y, %Y[%i] axes [0] : !tile.tile<[BC], f32> -> !tile.view<[100], f32>
}
tile.program @small inputs 1 {
^bb0(%x: !tile.view<[100], f32>, %y: !tile.view<[100], f32>):
  // CHECK: tile.launch @negate(%x, %y) serial
  tile.launch @negate(%x, %y) : !tile.view<[100], f32>, !tile.view<[100], f32>
}

// -----

// A kernel whose size is not known may be large.
// CHECK-LABEL: tile.program @unknown
tile.kernel @copy(%X: !tile.view<[N], f32>, %Y: !tile.view<[N], f32>) grid(%i : N by BC) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[N], f32> -> !tile.tile<[BC], f32>
  tile.store set %x, %Y[%i] axes [0] : !tile.tile<[BC], f32> -> !tile.view<[N], f32>
}
tile.program @unknown inputs 1 {
^bb0(%x: !tile.view<[N], f32>, %y: !tile.view<[N], f32>):
  // CHECK: tile.launch @copy(%x, %y) :
  tile.launch @copy(%x, %y) : !tile.view<[N], f32>, !tile.view<[N], f32>
}

// -----

// Of a large left operand, as many rows as fill a quarter of the L2 cache are taken through
// all columns of the right one.
// CHECK-LABEL: tile.kernel @square
// CHECK-SAME:    plan {BM = 64 : i64, BN = 1024 : i64, BK = 1024 : i64
// CHECK-SAME:    reason = "rows of the left operand stay in L2, 4194304 bytes pass by"
tile.kernel @square(%A: !tile.view<[1024, 1024], f32>, %B: !tile.view<[1024, 1024], f32>, %Y: !tile.view<[1024, 1024], f32>) grid(%i : 1024 by BM, %j : 1024 by BN) {
  %c0 = arith.constant 0.0 : f32
  %z = tile.full %c0 : f32 -> !tile.tile<[BM, BN], f32>
  %K = tile.size <[1024]>
  %r = tile.for %K by <[BK]> carry(%z : !tile.tile<[BM, BN], f32>) -> (!tile.tile<[BM, BN], f32>) {
  ^bb0(%k: index, %c: !tile.tile<[BM, BN], f32>):
    %a = tile.load %A[%i, %k] axes [0, 1] : !tile.view<[1024, 1024], f32> -> !tile.tile<[BM, BK], f32>
    %b = tile.load %B[%k, %j] axes [0, 1] : !tile.view<[1024, 1024], f32> -> !tile.tile<[BK, BN], f32>
    %d = tile.dot %a, %b, %c : !tile.tile<[BM, BK], f32>, !tile.tile<[BK, BN], f32>, !tile.tile<[BM, BN], f32> -> !tile.tile<[BM, BN], f32>
    tile.yield %d : !tile.tile<[BM, BN], f32>
  }
  tile.store set %r, %Y[%i, %j] axes [0, 1] : !tile.tile<[BM, BN], f32> -> !tile.view<[1024, 1024], f32>
}

// -----

// Two strips of rows take turns at a part of a panel, which is then in the first cache for the
// second one.
// CHECK-LABEL: tile.kernel @few
// CHECK-SAME:    plan {BM = 16 : i64, BN = 128 : i64, BK = 128 : i64, strip = array<i64: 1, 8>
// CHECK-SAME:    reason = "right operand of 8388608 bytes is read once, columns are shared; strips take turns at 128 of k, which stay in L1"
tile.kernel @few(%A: !tile.view<[16, 1024], f32>, %B: !tile.view<[1024, 2048], f32>, %Y: !tile.view<[16, 2048], f32>) grid(%i : 16 by BM, %j : 2048 by BN) {
  %c0 = arith.constant 0.0 : f32
  %z = tile.full %c0 : f32 -> !tile.tile<[BM, BN], f32>
  %K = tile.size <[1024]>
  %r = tile.for %K by <[BK]> carry(%z : !tile.tile<[BM, BN], f32>) -> (!tile.tile<[BM, BN], f32>) {
  ^bb0(%k: index, %c: !tile.tile<[BM, BN], f32>):
    %a = tile.load %A[%i, %k] axes [0, 1] : !tile.view<[16, 1024], f32> -> !tile.tile<[BM, BK], f32>
    %b = tile.load %B[%k, %j] axes [0, 1] : !tile.view<[1024, 2048], f32> -> !tile.tile<[BK, BN], f32>
    %d = tile.dot %a, %b, %c : !tile.tile<[BM, BK], f32>, !tile.tile<[BK, BN], f32>, !tile.tile<[BM, BN], f32> -> !tile.tile<[BM, BN], f32>
    tile.yield %d : !tile.tile<[BM, BN], f32>
  }
  tile.store set %r, %Y[%i, %j] axes [0, 1] : !tile.tile<[BM, BN], f32> -> !tile.view<[16, 2048], f32>
}
