// RUN: infini-opt %s -p graph-to-tile --split-input-file | filecheck %s

// A row is a tile; the exponentials are kept for the sum and the quotient.
// CHECK-LABEL: builtin.module
builtin.module {
func.func @main(%x: !graph.tensor<[B, S], f32>) -> !graph.tensor<[B, S], f32> {
  // CHECK: tile.kernel @softmax({{.*}}) grid(%{{.*}} : B by 1)
  // CHECK: %[[X:.*]] = tile.load {{.*}} -> !tile.tile<[S], f32>
  // CHECK-NEXT: %[[M:.*]] = tile.reduce max %[[X]] axes [0] : !tile.tile<[S], f32> -> !tile.tile<[], f32>
  // CHECK-NEXT: %[[E:.*]] = tile.map %[[X]], %[[M]]
  // CHECK: math.exp
  // CHECK: %[[T:.*]] = tile.reduce add %[[E]]
  // CHECK-NEXT: tile.map %[[E]], %[[T]]
  %y = graph.softmax %x axis 1 : (!graph.tensor<[B, S], f32>) -> !graph.tensor<[B, S], f32>
  func.return %y : !graph.tensor<[B, S], f32>
}
}

// -----

// The last axis is not reduced: it is tiled, and the reduced one stands before it.
// CHECK-LABEL: builtin.module
builtin.module {
func.func @main(%x: !graph.tensor<[B, 49, C], f32>) -> !graph.tensor<[B, C], f32> {
  // CHECK: grid(%{{.*}} : B by 1, %{{.*}} : C by BC)
  // CHECK: tile.reduce add %{{.*}} axes [0] : !tile.tile<[49, BC], f32> -> !tile.tile<[BC], f32>
  %y = graph.reduce sum %x axes [1] : (!graph.tensor<[B, 49, C], f32>) -> !graph.tensor<[B, C], f32>
  func.return %y : !graph.tensor<[B, C], f32>
}
}

// -----

// Operations fused with reductions over other axes become kernels of their own.
// CHECK-LABEL: builtin.module
builtin.module {
func.func @main(%x: !graph.tensor<[B, S], f32>) -> (!graph.tensor<[B], f32>, !graph.tensor<[S], f32>) {
  // CHECK-DAG: tile.kernel @reduce_sum
  // CHECK-DAG: tile.kernel @reduce_max
  %y, %z = graph.fusion %x "two sums" : (!graph.tensor<[B, S], f32>) -> (!graph.tensor<[B], f32>, !graph.tensor<[S], f32>) {
  ^bb0(%a: !graph.tensor<[B, S], f32>):
    %r = graph.reduce sum %a axes [1] : (!graph.tensor<[B, S], f32>) -> !graph.tensor<[B], f32>
    %c = graph.reduce max %a axes [0] : (!graph.tensor<[B, S], f32>) -> !graph.tensor<[S], f32>
    graph.yield %r, %c : !graph.tensor<[B], f32>, !graph.tensor<[S], f32>
  }
  func.return %y, %z : !graph.tensor<[B], f32>, !graph.tensor<[S], f32>
}
}
