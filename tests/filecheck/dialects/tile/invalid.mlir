// RUN: infini-opt %s --split-input-file --verify-diagnostics | filecheck %s

// CHECK: 1 strides for 2 axes
tile.kernel @k(%x: !tile.view<[M, N], f32, strides [1]>) grid() {}

// -----

// CHECK: wants a step for each grid axis
"tile.kernel"() <{sym_name = "k", bounds = #graph.dims<[N]>, steps = #graph.dims<[]>}> ({
^bb0(%i: index):
}) : () -> ()

// -----

// CHECK: kernel operands are views, not f32
tile.kernel @k(%x: f32) grid() {}

// -----

// CHECK: grid offsets are indices, not i64
"tile.kernel"() <{sym_name = "k", bounds = #graph.dims<[N]>, steps = #graph.dims<[1]>}> ({
^bb0(%i: i64):
}) : () -> ()

// -----

// CHECK: 1 offsets for !tile.view<[M, N], f32>
tile.kernel @k(%x: !tile.view<[M, N], f32>) grid(%i : M by BM) {
  %0 = tile.load %x[%i] axes [0] : !tile.view<[M, N], f32> -> !tile.tile<[BM], f32>
}

// -----

// CHECK: axes [1, 1] of !tile.view<[M, N], f32> do not make !tile.tile<[BM, BN], f32>
tile.kernel @k(%x: !tile.view<[M, N], f32>) grid(%i : M by BM) {
  %0 = tile.load %x[%i, %i] axes [1, 1] : !tile.view<[M, N], f32> -> !tile.tile<[BM, BN], f32>
}

// -----

// CHECK: !tile.view<[M], f32> and !tile.tile<[BM], f64> have different elements
tile.kernel @k(%x: !tile.view<[M], f32>) grid(%i : M by BM) {
  %0 = tile.load %x[%i] axes [0] : !tile.view<[M], f32> -> !tile.tile<[BM], f64>
}

// -----

// CHECK: axes [0, 1] of !tile.view<[M], f32> do not make !tile.tile<[BM], f32>
tile.kernel @k(%x: !tile.view<[M], f32>, %t: !tile.view<[M], f32>) grid(%i : M by BM) {
  %0 = tile.load %x[%i] axes [0] : !tile.view<[M], f32> -> !tile.tile<[BM], f32>
  tile.store set %0, %x[%i] axes [0, 1] : !tile.tile<[BM], f32> -> !tile.view<[M], f32>
}

// -----

// CHECK: 1 positions for !tile.view<[M, N], f32>
tile.kernel @k(%x: !tile.view<[M, N], f32>) grid(%i : M by BM) {
  %0 = tile.gather %x[%i] dims [[]] : !tile.view<[M, N], f32>[index] -> !tile.tile<[BM], f32>
}

// -----

// CHECK: wants a dims list for each position
tile.kernel @k(%x: !tile.view<[M, N], f32>) grid(%i : M by BM) {
  %0 = tile.gather %x[%i, %i] dims [[]] : !tile.view<[M, N], f32>[index, index] -> !tile.tile<[BM], f32>
}

// -----

// CHECK: !tile.view<[M], f32> and !tile.tile<[BM], f16> have different elements
tile.kernel @k(%x: !tile.view<[M], f32>) grid(%i : M by BM) {
  %0 = tile.gather %x[%i] dims [[]] : !tile.view<[M], f32>[index] -> !tile.tile<[BM], f16>
}

// -----

// CHECK: a position is an index or integers, not !tile.tile<[BM], f32>
tile.kernel @k(%x: !tile.view<[M], f32>) grid(%i : M by BM) {
  %0 = tile.load %x[%i] axes [0] : !tile.view<[M], f32> -> !tile.tile<[BM], f32>
  tile.scatter set %0, %x[%0] dims [[0]] : !tile.tile<[BM], f32> -> !tile.view<[M], f32>[!tile.tile<[BM], f32>]
}

// -----

// CHECK: scalar index covers no axis
tile.kernel @k(%x: !tile.view<[M], f32>) grid(%i : M by BM) {
  %0 = tile.gather %x[%i] dims [[0]] : !tile.view<[M], f32>[index] -> !tile.tile<[BM], f32>
}

// -----

// CHECK: capacity of !tile.tile<[BN], i64> does not match axes [0]
tile.kernel @k(%x: !tile.view<[M], i64>) grid(%i : M by BM) {
  %p = tile.load %x[%i] axes [0] : !tile.view<[M], i64> -> !tile.tile<[BN], i64>
  %0 = tile.gather %x[%p] dims [[0]] : !tile.view<[M], i64>[!tile.tile<[BN], i64>] -> !tile.tile<[BM], i64>
}

// -----

// CHECK: f32 does not fill !tile.tile<[BM], f16>
tile.kernel @k() grid() {
  %c = arith.constant 0.0 : f32
  %0 = tile.full %c : f32 -> !tile.tile<[BM], f16>
}

// -----

// CHECK: wants a dims list for each input
tile.kernel @k() grid(%i : N by BM) {
  %0 = tile.map %i dims [] : (index) -> !tile.tile<[BM], f32> {
  ^bb0(%x: index):
    %c = arith.constant 0.0 : f32
    tile.yield %c : f32
  }
}

// -----

// CHECK: a map has a result
tile.kernel @k() grid(%i : N by BM) {
  tile.map %i dims [[]] : (index) -> () {
  ^bb0(%x: index):
    tile.yield
  }
}

// -----

// CHECK: the results' shapes differ
tile.kernel @k() grid() {
  %0, %1 = tile.map dims [] : () -> (!tile.tile<[BM], f32>, !tile.tile<[BN], f32>) {
    %c = arith.constant 0.0 : f32
    tile.yield %c, %c : f32, f32
  }
}

// -----

// CHECK: wants a region argument for each input
tile.kernel @k() grid(%i : N by BM) {
  %0 = tile.map %i dims [[]] : (index) -> !tile.tile<[BM], f32> {
    %c = arith.constant 0.0 : f32
    tile.yield %c : f32
  }
}

// -----

// CHECK: a region argument is ui8 for !tile.tile<[BM], ui8>
tile.kernel @k(%x: !tile.view<[M], ui8>) grid(%i : M by BM) {
  %t = tile.load %x[%i] axes [0] : !tile.view<[M], ui8> -> !tile.tile<[BM], ui8>
  %0 = tile.map %t dims [[0]] : (!tile.tile<[BM], ui8>) -> !tile.tile<[BM], f32> {
  ^bb0(%b: ui8):
    %c = arith.constant 0.0 : f32
    tile.yield %c : f32
  }
}

// -----

// CHECK: the region gives a scalar for each result, of its element
tile.kernel @k() grid() {
  %0 = tile.map dims [] : () -> !tile.tile<[BM], f64> {
    %c = arith.constant 0.0 : f32
    tile.yield %c : f32
  }
}

// -----

// CHECK: the region must end with tile.yield
tile.kernel @k() grid() {
  %0 = tile.map dims [] : () -> !tile.tile<[BM], f64> {
    graph.yield
  }
}

// -----

// CHECK: 1 is not an axis of the results
tile.kernel @k() grid() {
  %0 = tile.map dims [] : () -> !tile.tile<[BM], index> {
    %c = tile.coord 1
    tile.yield %c : index
  }
}

// -----

// CHECK: 1 is not an axis of !tile.tile<[BM], f32>
tile.kernel @k(%x: !tile.view<[M], f32>) grid(%i : M by BM) {
  %t = tile.load %x[%i] axes [0] : !tile.view<[M], f32> -> !tile.tile<[BM], f32>
  %0 = tile.scan add %t axis 1 : !tile.tile<[BM], f32> -> !tile.tile<[BM], f32>
}

// -----

// CHECK: a scan of !tile.tile<[BM], f32> does not give !tile.tile<[BM], f16>
tile.kernel @k(%x: !tile.view<[M], f32>) grid(%i : M by BM) {
  %t = tile.load %x[%i] axes [0] : !tile.view<[M], f32> -> !tile.tile<[BM], f32>
  %0 = tile.scan add %t axis 0 : !tile.tile<[BM], f32> -> !tile.tile<[BM], f16>
}

// -----

// CHECK: axes [1] are not axes of !tile.tile<[BM], f32>
tile.kernel @k(%x: !tile.view<[M], f32>) grid(%i : M by BM) {
  %t = tile.load %x[%i] axes [0] : !tile.view<[M], f32> -> !tile.tile<[BM], f32>
  %0 = tile.reduce add %t axes [1] : !tile.tile<[BM], f32> -> !tile.tile<[], f32>
}

// -----

// CHECK: !tile.tile<[BM], f32> does not reduce to !tile.tile<[BM], f32>
tile.kernel @k(%x: !tile.view<[M], f32>) grid(%i : M by BM) {
  %t = tile.load %x[%i] axes [0] : !tile.view<[M], f32> -> !tile.tile<[BM], f32>
  %0 = tile.reduce add %t axes [0] : !tile.tile<[BM], f32> -> !tile.tile<[BM], f32>
}

// -----

// CHECK: !tile.tile<[BM], f32> and !tile.tile<[BM], f32> do not multiply
tile.kernel @k(%x: !tile.view<[M], f32>) grid(%i : M by BM) {
  %t = tile.load %x[%i] axes [0] : !tile.view<[M], f32> -> !tile.tile<[BM], f32>
  %0 = tile.dot %t, %t, %t : !tile.tile<[BM], f32>, !tile.tile<[BM], f32>, !tile.tile<[BM], f32> -> !tile.tile<[BM], f32>
}

// -----

// CHECK: contracted sizes differ: !tile.tile<[BM, BN], f32> and !tile.tile<[BM, BN], f32>
tile.kernel @k(%x: !tile.view<[M, N], f32>) grid(%i : M by BM) {
  %t = tile.load %x[%i, %i] axes [0, 1] : !tile.view<[M, N], f32> -> !tile.tile<[BM, BN], f32>
  %0 = tile.dot %t, %t, %t : !tile.tile<[BM, BN], f32>, !tile.tile<[BM, BN], f32>, !tile.tile<[BM, BN], f32> -> !tile.tile<[BM, BN], f32>
}

// -----

// CHECK: !tile.tile<[BM, BN], f32> and !tile.tile<[BM, BN], f32> do not accumulate in !tile.tile<[BM, BN], f32>
tile.kernel @k(%x: !tile.view<[M, N], f32>) grid(%i : M by BM) {
  %t = tile.load %x[%i, %i] axes [0, 1] : !tile.view<[M, N], f32> -> !tile.tile<[BM, BN], f32>
  %0 = tile.dot %t, %t, %t transposed <[]> : !tile.tile<[BM, BN], f32>, !tile.tile<[BM, BN], f32>, !tile.tile<[BM, BN], f32> -> !tile.tile<[BM, BN], f32>
}

// -----

// CHECK: the results have the types of the carried tiles
tile.kernel @k(%x: !tile.view<[M], f32>) grid(%i : M by BM) {
  %t = tile.load %x[%i] axes [0] : !tile.view<[M], f32> -> !tile.tile<[BM], f32>
  tile.for %i by <[1]> carry(%t : !tile.tile<[BM], f32>) -> () {
  ^bb0(%k: index, %c: !tile.tile<[BM], f32>):
    tile.yield %c : !tile.tile<[BM], f32>
  }
}

// -----

// CHECK: the region takes an index and the carried tiles
tile.kernel @k() grid(%i : M by BM) {
  tile.for %i by <[1]> carry() -> () {
  ^bb0(%k: i64):
    tile.yield
  }
}

// -----

// CHECK: the region gives the next carried tiles
tile.kernel @k(%x: !tile.view<[M], f32>) grid(%i : M by BM) {
  %t = tile.load %x[%i] axes [0] : !tile.view<[M], f32> -> !tile.tile<[BM], f32>
  %0 = tile.for %i by <[1]> carry(%t : !tile.tile<[BM], f32>) -> (!tile.tile<[BM], f32>) {
  ^bb0(%k: index, %c: !tile.tile<[BM], f32>):
    tile.yield
  }
}

// -----

// CHECK: 0 offsets for !tile.view<[M], f32>
tile.kernel @k(%x: !tile.view<[M], f32>) grid(%i : M by BM) {
  %t = tile.read %x[] : !tile.view<[M], f32> -> f32
}

// -----

// CHECK: an element of !tile.view<[M], ui16> is not ui16
tile.kernel @k(%x: !tile.view<[M], ui16>) grid(%i : M by BM) {
  %t = tile.read %x[%i] : !tile.view<[M], ui16> -> ui16
}

// -----

// CHECK: a program's arguments are views, not index
tile.program @main inputs 0 {
^bb0(%n: index):
}

// -----

// CHECK: 2 inputs of 1 arguments
tile.program @main inputs 2 {
^bb0(%x: !tile.view<[N], f32>):
}

// -----

// CHECK: !tile.view<[N], f32> and !tile.view<[N], i32> have different elements
tile.program @main inputs 1 {
^bb0(%x: !tile.view<[N], f32>):
  %0 = tile.alias %x offset <[0]> : !tile.view<[N], f32> -> !tile.view<[N], i32>
}

// -----

// CHECK: 1 batch axes leave none to pack
tile.program @main inputs 0 {
  %x = tile.weight "w" : !tile.view<[8, 40], i8, panel 16 by 4 batch 1>
}

// -----

// CHECK: packed memory has no aliases
tile.program @main inputs 0 {
  %x = tile.weight "w" : !tile.view<[8, 40], f32, panel 32>
  %0 = tile.alias %x offset <[0]> : !tile.view<[8, 40], f32, panel 32> -> !tile.view<[40], f32>
}

// -----

// CHECK: there is no kernel @k
tile.program @main inputs 1 {
^bb0(%x: !tile.view<[N], f32>):
  tile.launch @k(%x) : !tile.view<[N], f32>
}

// -----

// CHECK: @k takes 0 views, not 1
tile.kernel @k() grid() {}
tile.program @main inputs 1 {
^bb0(%x: !tile.view<[N], f32>):
  tile.launch @k(%x) : !tile.view<[N], f32>
}

// -----

// CHECK: view 0 of @k is !tile.view<[M], f32>, not !tile.view<[N], f32>
tile.kernel @k(%x: !tile.view<[M], f32>) grid() {}
tile.program @main inputs 1 {
^bb0(%x: !tile.view<[N], f32>):
  tile.launch @k(%x) : !tile.view<[N], f32>
}

// -----

// CHECK: a size is read from !tile.view<[], i64>, not !tile.view<[N], i64>
tile.program @main inputs 1 {
^bb0(%x: !tile.view<[N], i64>):
  tile.bind %x as "K" : !tile.view<[N], i64>
}

// -----

// CHECK: the condition is !tile.view<[], i1>, not !tile.view<[], i8>
tile.program @main inputs 1 {
^bb0(%x: !tile.view<[], i8>):
  tile.if %x : !tile.view<[], i8> { tile.barrier } { tile.barrier }
}

// -----

// CHECK: the flag is !tile.view<[], i1>, not !tile.view<[], i8>
tile.program @main inputs 1 {
^bb0(%x: !tile.view<[], i8>):
  tile.loop "t" to <[4]> until %x : !tile.view<[], i8> { tile.barrier }
}

// -----

// CHECK: the flag is !tile.view<[], i1>, not !tile.view<[], i8>
tile.program @main inputs 1 {
^bb0(%x: !tile.view<[], i8>):
  tile.while %x : !tile.view<[], i8> { tile.barrier } { tile.barrier }
}

// -----

// CHECK: an output is dense, not !tile.view<[N], f32, strides [2]>
tile.program @main inputs 1 {
^bb0(%x: !tile.view<[N], f32, strides [2]>):
  tile.publish %x as 0 : !tile.view<[N], f32, strides [2]>
}

// -----

// CHECK: !tile.view<[4, 5], f32> and !tile.view<[6, 7], f32> do not multiply to !tile.view<[4, 7], f32>
tile.program @main inputs 2 {
^bb0(%a: !tile.view<[4, 5], f32>, %b: !tile.view<[6, 7], f32>, %y: !tile.view<[4, 7], f32>):
  tile.library "matmul" (%a, %b, %y) accumulate f32 : !tile.view<[4, 5], f32>, !tile.view<[6, 7], f32>, !tile.view<[4, 7], f32>
}

// -----

// CHECK: there is no library call 'fft'
tile.program @main inputs 0 {
  tile.library "fft" () accumulate f32 :
}
