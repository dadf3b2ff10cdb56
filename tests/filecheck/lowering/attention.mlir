// RUN: infini-opt %s -p graph-to-tile --split-input-file | filecheck %s

// One kernel with an online softmax: the scores are never stored. Grouped heads are a grid axis
// of their own, so that keys and values are read as they lie.
// CHECK-LABEL: tile.kernel @attention
// CHECK-SAME:  !tile.view<[B, 2, T, 8], f32>
// CHECK:       tile.for %{{.*}} by <[BN]> carry(
// CHECK:       tile.dot %{{.*}} transposed
// CHECK:       tile.coord 1
// CHECK:       arith.cmpi sle
// CHECK:       tile.reduce max
// CHECK:       math.exp
// CHECK:       tile.reduce add
// CHECK:       tile.dot
// CHECK:       arith.divf
// CHECK:       tile.store set
func.func @main(%q: !graph.tensor<[B, 4, S, 8], f32>, %k: !graph.tensor<[B, 2, T, 8], f32>, %v: !graph.tensor<[B, 2, T, 8], f32>) -> !graph.tensor<[B, 4, S, 8], f32> {
  %y = graph.attention %q, %k, %v scale 0.125 causal : !graph.tensor<[B, 4, S, 8], f32>, !graph.tensor<[B, 2, T, 8], f32>, !graph.tensor<[B, 2, T, 8], f32> -> !graph.tensor<[B, 4, S, 8], f32>
  func.return %y : !graph.tensor<[B, 4, S, 8], f32>
}
