// RUN: infini-opt %s -p tile-share-kernels --split-input-file | filecheck %s

// Kernels that differ in two f32 and one i32 of their maps: one for all, with two views more. What
// is alike stays a constant, and so do bounds of loops.
// CHECK-LABEL: tile.kernel @first(
// CHECK-SAME:      %Y: !tile.view<[64], i32>, %[[F:.*]]: !tile.view<[2], f32>, %[[I:.*]]: !tile.view<[1], i32>) grid(
// CHECK-DAG:     %[[LOW:.*]] = tile.read %[[F]]
// CHECK-DAG:     %[[HIGH:.*]] = tile.read %[[F]]
// CHECK-DAG:     %[[POINT:.*]] = tile.read %[[I]]
// CHECK:         tile.map %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} dims {{\[\[}}0], [], [], []]
// CHECK:           arith.constant 2.000000e+00 : f32
// CHECK-NOT:     tile.kernel @second
// CHECK:         tile.program
// CHECK-DAG:       tile.weight "first.constants" : !tile.view<[2], f32>
// CHECK-DAG:       tile.weight "first.constants_1" : !tile.view<[1], i32>
// CHECK-DAG:       tile.weight "second.constants" : !tile.view<[2], f32>
// CHECK-DAG:       tile.weight "second.constants_1" : !tile.view<[1], i32>
// CHECK:           tile.launch @first
// CHECK:           tile.launch @first
tile.kernel @first(%X: !tile.view<[64], f32>, %Y: !tile.view<[64], i32>) grid(%i : 64 by 16) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[64], f32> -> !tile.tile<[16], f32>
  %y = tile.map %x dims [[0]] : (!tile.tile<[16], f32>) -> !tile.tile<[16], i32> {
  ^bb0(%a: f32):
    %two = arith.constant 2.0 : f32
    %low = arith.constant -100.0 : f32
    %high = arith.constant 27.0 : f32
    %point = arith.constant 100 : i32
    %b = arith.mulf %a, %two : f32
    %c = arith.maximumf %b, %low : f32
    %d = arith.minimumf %c, %high : f32
    %e = arith.fptosi %d : f32 to i32
    %f = arith.addi %e, %point : i32
    tile.yield %f : i32
  }
  tile.store set %y, %Y[%i] axes [0] : !tile.tile<[16], i32> -> !tile.view<[64], i32>
}
tile.kernel @second(%X: !tile.view<[64], f32>, %Y: !tile.view<[64], i32>) grid(%i : 64 by 16) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[64], f32> -> !tile.tile<[16], f32>
  %y = tile.map %x dims [[0]] : (!tile.tile<[16], f32>) -> !tile.tile<[16], i32> {
  ^bb0(%a: f32):
    %two = arith.constant 2.0 : f32
    %low = arith.constant -90.0 : f32
    %high = arith.constant 37.0 : f32
    %point = arith.constant 90 : i32
    %b = arith.mulf %a, %two : f32
    %c = arith.maximumf %b, %low : f32
    %d = arith.minimumf %c, %high : f32
    %e = arith.fptosi %d : f32 to i32
    %f = arith.addi %e, %point : i32
    tile.yield %f : i32
  }
  tile.store set %y, %Y[%i] axes [0] : !tile.tile<[16], i32> -> !tile.view<[64], i32>
}
tile.program @main inputs 1 {
^bb0(%x: !tile.view<[64], f32>, %y: !tile.view<[64], i32>, %z: !tile.view<[64], i32>):
  tile.launch @first(%x, %y) : !tile.view<[64], f32>, !tile.view<[64], i32>
  tile.launch @second(%x, %z) : !tile.view<[64], f32>, !tile.view<[64], i32>
}

// -----

// Equal but for names: one. Another step of the grid, or another operation: none is shared.
// CHECK-LABEL: tile.kernel @copy
// CHECK-NOT:   tile.kernel @again
// CHECK:       tile.kernel @by_eight
// CHECK:       tile.kernel @negated
// CHECK:       tile.kernel @root
// CHECK:       tile.launch @copy(%x, %y)
// CHECK:       tile.launch @copy(%x, %z)
tile.kernel @copy(%X: !tile.view<[64], f32>, %Y: !tile.view<[64], f32>) grid(%i : 64 by 16) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[64], f32> -> !tile.tile<[16], f32>
  tile.store set %x, %Y[%i] axes [0] : !tile.tile<[16], f32> -> !tile.view<[64], f32>
}
tile.kernel @again(%X: !tile.view<[64], f32>, %Y: !tile.view<[64], f32>) grid(%i : 64 by 16) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[64], f32> -> !tile.tile<[16], f32>
  tile.store set %x, %Y[%i] axes [0] : !tile.tile<[16], f32> -> !tile.view<[64], f32>
}
tile.kernel @by_eight(%X: !tile.view<[64], f32>, %Y: !tile.view<[64], f32>) grid(%i : 64 by 8) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[64], f32> -> !tile.tile<[16], f32>
  tile.store set %x, %Y[%i] axes [0] : !tile.tile<[16], f32> -> !tile.view<[64], f32>
}
tile.kernel @negated(%X: !tile.view<[64], f32>, %Y: !tile.view<[64], f32>) grid(%i : 64 by 16) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[64], f32> -> !tile.tile<[16], f32>
  %y = tile.map %x dims [[0]] : (!tile.tile<[16], f32>) -> !tile.tile<[16], f32> {
  ^bb0(%a: f32):
    %b = arith.negf %a : f32
    tile.yield %b : f32
  }
  tile.store set %y, %Y[%i] axes [0] : !tile.tile<[16], f32> -> !tile.view<[64], f32>
}
tile.kernel @root(%X: !tile.view<[64], f32>, %Y: !tile.view<[64], f32>) grid(%i : 64 by 16) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[64], f32> -> !tile.tile<[16], f32>
  %y = tile.map %x dims [[0]] : (!tile.tile<[16], f32>) -> !tile.tile<[16], f32> {
  ^bb0(%a: f32):
    %b = math.sqrt %a : f32
    tile.yield %b : f32
  }
  tile.store set %y, %Y[%i] axes [0] : !tile.tile<[16], f32> -> !tile.view<[64], f32>
}
tile.program @main inputs 1 {
^bb0(%x: !tile.view<[64], f32>, %y: !tile.view<[64], f32>, %z: !tile.view<[64], f32>):
  tile.launch @copy(%x, %y) : !tile.view<[64], f32>, !tile.view<[64], f32>
  tile.launch @again(%x, %z) : !tile.view<[64], f32>, !tile.view<[64], f32>
  tile.launch @by_eight(%x, %z) : !tile.view<[64], f32>, !tile.view<[64], f32>
  tile.launch @negated(%x, %z) : !tile.view<[64], f32>, !tile.view<[64], f32>
  tile.launch @root(%x, %z) : !tile.view<[64], f32>, !tile.view<[64], f32>
}
