// RUN: infini-opt %s -p graph-to-tile --split-input-file | filecheck %s

// Repetition and transposing are strides; equal kernels are kept once.
// CHECK-LABEL: builtin.module
builtin.module {
func.func @main(%x: !graph.tensor<[B, 5], f32>, %b: !graph.tensor<[5], f32>) -> (!graph.tensor<[B, 5], f32>, !graph.tensor<[B, 5], f32>) {
  // CHECK: tile.kernel @add(%[[Y:.*]]: !tile.view<[B, 5], f32>, %[[X:.*]]: !tile.view<[B, 5], f32>, %[[V:.*]]: !tile.view<[B, 5], f32, strides [0, 1]>) grid(%[[I:.*]] : B by BR, %[[J:.*]] : 5 by BC) from "add"
  // CHECK-NEXT: %[[A:.*]] = tile.load %[[X]][%[[I]], %[[J]]] axes [0, 1]
  // CHECK-NEXT: %[[C:.*]] = tile.load %[[V]][%[[I]], %[[J]]] axes [1] : {{.*}} -> !tile.tile<[BC], f32>
  // CHECK-NEXT: %[[S:.*]] = tile.map %[[A]], %[[C]] dims {{\[\[0, 1\], \[1\]\]}}
  // CHECK: arith.addf
  // CHECK: tile.store set %[[S]], %[[Y]][%[[I]], %[[J]]] axes [0, 1]
  // CHECK-NOT: tile.kernel
  // CHECK: tile.program @main inputs 2
  // CHECK: tile.launch @add
  // CHECK: tile.launch @add
  %c = graph.broadcast %b : (!graph.tensor<[5], f32>) -> !graph.tensor<[B, 5], f32>
  %y = graph.add %x, %c : !graph.tensor<[B, 5], f32>
  %z = graph.add %y, %c : !graph.tensor<[B, 5], f32>
  func.return %y, %z : !graph.tensor<[B, 5], f32>, !graph.tensor<[B, 5], f32>
}
}

// -----

// A number is a constant of the map, and so is one repeated; positions come from the grid.
// CHECK-LABEL: builtin.module
builtin.module {
func.func @main(%x: !graph.tensor<[2, N], f32>) -> !graph.tensor<[2, N], f32> {
  // CHECK: tile.kernel @pointwise
  // CHECK: tile.map
  // CHECK: tile.coord 1
  // CHECK: arith.sitofp
  // CHECK: arith.constant 2.000000e+00 : f32
  // CHECK: tile.launch @pointwise(%{{.*}}, %{{.*}})
  %y = graph.fusion %x "positions times two, added" : (!graph.tensor<[2, N], f32>) -> !graph.tensor<[2, N], f32> {
  ^bb0(%a: !graph.tensor<[2, N], f32>):
    %i = graph.iota axis 1 : !graph.tensor<[2, N], f32>
    %n = graph.constant <[2.0]> : !graph.tensor<[], f32>
    %r = graph.broadcast %n : (!graph.tensor<[], f32>) -> !graph.tensor<[2, N], f32>
    %t = graph.mul %i, %r : !graph.tensor<[2, N], f32>
    %s = graph.add %t, %a : !graph.tensor<[2, N], f32>
    graph.yield %s : !graph.tensor<[2, N], f32>
  }
  func.return %y : !graph.tensor<[2, N], f32>
}
}
