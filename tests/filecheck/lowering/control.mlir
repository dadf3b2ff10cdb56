// RUN: infini-opt %s -p graph-to-tile --split-input-file | filecheck %s

// The iteration number is a symbol: slices of scanned and stacked tensors are aliases.
// CHECK-LABEL: tile.program @main
// CHECK:       tile.launch @copy
// CHECK:       tile.loop "step.0" to <[S]> {
// CHECK:         tile.alias %{{.*}} offset <[4*step.0]>
// CHECK:         tile.launch @add
// CHECK:       }
func.func @main(%h: !graph.tensor<[4], f32>, %xs: !graph.tensor<[S, 4], f32>) -> (!graph.tensor<[4], f32>, !graph.tensor<[S, 4], f32>) {
  %r, %ys = graph.scan carried(%h : !graph.tensor<[4], f32>) over(%xs : !graph.tensor<[S, 4], f32>) length <[S]> -> (!graph.tensor<[4], f32>, !graph.tensor<[S, 4], f32>) {
  ^bb0(%i: !graph.tensor<[], i64>, %c: !graph.tensor<[4], f32>, %x: !graph.tensor<[4], f32>):
    %n = graph.add %c, %x : !graph.tensor<[4], f32>
    graph.yield %n, %n : !graph.tensor<[4], f32>, !graph.tensor<[4], f32>
  }
  func.return %r, %ys : !graph.tensor<[4], f32>, !graph.tensor<[S, 4], f32>
}

// -----

// How many elements are not zero is known only while running: the count becomes a size.
// CHECK-LABEL: tile.program @main
// CHECK:       tile.launch @nonzero(%{{.*}}) serial
// CHECK:       tile.bind %{{.*}} as "K"
// CHECK:       tile.alias %{{.*}} -> !tile.view<[1, K], i64, strides [N, 1]>
// CHECK:       tile.publish %{{.*}} as 0
func.func @main(%m: !graph.tensor<[N], i1>) -> !graph.tensor<[1, K], i64> {
  %i = graph.nonzero %m defines "K" : (!graph.tensor<[N], i1>) -> !graph.tensor<[1, K], i64>
  func.return %i : !graph.tensor<[1, K], i64>
}
