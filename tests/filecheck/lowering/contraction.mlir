// RUN: infini-opt %s -p graph-to-tile --split-input-file | filecheck %s

// Free axes of the left factor merge; what follows the product is one map before the store.
// CHECK-LABEL: builtin.module
builtin.module {
func.func @main(%x: !graph.tensor<[B, S, 6], f32>, %w: !graph.tensor<[6, 5], f32>, %b: !graph.tensor<[5], f32>) -> !graph.tensor<[B, S, 5], f32> {
  // CHECK: tile.kernel @dot(%[[A:.*]]: !tile.view<[B*S, 6], f32>, %[[W:.*]]: !tile.view<[6, 5], f32>, %{{.*}}: !tile.view<[B*S, 5], f32>, %{{.*}}: !tile.view<[B*S, 5], f32, strides [0, 1]>) grid(%[[I:.*]] : B*S by BM, %[[J:.*]] : 5 by BN) from "dot, broadcast, add: bias"
  // CHECK: %[[Z:.*]] = tile.full
  // CHECK: %[[R:.*]] = tile.for %{{.*}} by <[BK]> carry(%[[Z]]
  // CHECK: %[[L:.*]] = tile.load %[[A]][%[[I]], %[[K:.*]]] axes [0, 1]
  // CHECK-NEXT: %[[M:.*]] = tile.load %[[W]][%[[K]], %[[J]]] axes [0, 1]
  // CHECK-NEXT: tile.dot %[[L]], %[[M]]
  // CHECK: tile.map %[[R]]
  // CHECK: tile.store
  %y = graph.fusion %x, %w, %b "bias" : (!graph.tensor<[B, S, 6], f32>, !graph.tensor<[6, 5], f32>, !graph.tensor<[5], f32>) -> !graph.tensor<[B, S, 5], f32> {
  ^bb0(%a: !graph.tensor<[B, S, 6], f32>, %f: !graph.tensor<[6, 5], f32>, %v: !graph.tensor<[5], f32>):
    %d = graph.dot %a, %f batch [] [] contract [2] [0] : (!graph.tensor<[B, S, 6], f32>, !graph.tensor<[6, 5], f32>) -> !graph.tensor<[B, S, 5], f32>
    %c = graph.broadcast %v : (!graph.tensor<[5], f32>) -> !graph.tensor<[B, S, 5], f32>
    %e = graph.add %d, %c : !graph.tensor<[B, S, 5], f32>
    graph.yield %e : !graph.tensor<[B, S, 5], f32>
  }
  func.return %y : !graph.tensor<[B, S, 5], f32>
}
}

// -----

// Of two factors that lie with k last, the right one is read transposed; batch axes are grid axes.
// CHECK-LABEL: builtin.module
builtin.module {
func.func @main(%q: !graph.tensor<[B, S, 2, 6], f32>, %k: !graph.tensor<[B, S, 2, 6], f32>) -> !graph.tensor<[B, 2, S, S], f32> {
  // CHECK: grid(%{{.*}} : B by 1, %{{.*}} : 2 by 1, %{{.*}} : S by BM, %{{.*}} : S by BN)
  // CHECK: tile.load {{.*}} axes [3, 2] : {{.*}} -> !tile.tile<[BN, BK], f32>
  // CHECK-NEXT: tile.dot {{.*}} transposed
  %y = graph.dot %q, %k batch [0, 2] [0, 2] contract [3] [3] : (!graph.tensor<[B, S, 2, 6], f32>, !graph.tensor<[B, S, 2, 6], f32>) -> !graph.tensor<[B, 2, S, S], f32>
  func.return %y : !graph.tensor<[B, 2, S, S], f32>
}
}

// -----

// A convolution reads windows of its padded input; only the border is written beside it.
// CHECK-LABEL: builtin.module
builtin.module {
func.func @main(%x: !graph.tensor<[N, 8, 9, 4], f32>, %w: !graph.tensor<[3, 3, 4, 5], f32>) -> !graph.tensor<[N, 8, 9, 5], f32> {
  // CHECK: tile.kernel @conv_3x3(%{{.*}}: !tile.view<[N, 8, 9, 3, 12], f32, strides [440, 44, 4, 44, 1]>, %{{.*}}: !tile.view<[3, 12, 5], f32>, %{{.*}}: !tile.view<[N, 8, 9, 5], f32>)
  // CHECK-SAME: grid(%{{.*}} : N by 1, %{{.*}} : 8 by BH, %{{.*}} : 9 by BW, %{{.*}} : 5 by BN)
  // CHECK: by <[1]> carry
  // CHECK: by <[BK]> carry
  // CHECK: tile.program
  // CHECK: %[[P:.*]] = tile.alloc : !tile.view<[N, 10, 11, 4], f32>
  // CHECK: tile.launch @fill
  // CHECK: tile.launch @fill
  // CHECK: tile.launch @copy
  // CHECK: tile.launch @conv_3x3
  %y = graph.conv channels_last %x, %w groups 1 strides [1, 1] dilations [1, 1] lo <[1, 1]> hi <[1, 1]> input_dilation [1, 1] : (!graph.tensor<[N, 8, 9, 4], f32>, !graph.tensor<[3, 3, 4, 5], f32>) -> !graph.tensor<[N, 8, 9, 5], f32>
  func.return %y : !graph.tensor<[N, 8, 9, 5], f32>
}
}
