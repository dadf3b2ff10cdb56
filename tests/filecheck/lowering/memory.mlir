// RUN: infini-opt %s -p graph-to-tile --split-input-file | filecheck %s

// Both products are computed in their halves of the output.
// CHECK-LABEL: builtin.module
builtin.module {
func.func @main(%x: !graph.tensor<[B, 6], f32>, %w: !graph.tensor<[6, 5], f32>) -> !graph.tensor<[B, 10], f32> {
  // CHECK: ^bb0(%[[X:.*]]: !tile.view<[B, 6], f32>, %[[W:.*]]: !tile.view<[6, 5], f32>, %[[Y:.*]]: !tile.view<[B, 10], f32>):
  // CHECK-NEXT: %[[L:.*]] = tile.alias %[[Y]] offset <[0]> {{.*}} -> !tile.view<[B, 5], f32, strides [10, 1]>
  // CHECK-NEXT: tile.launch @dot(%[[X]], %[[W]], %[[L]])
  // CHECK-NEXT: %[[R:.*]] = tile.alias %[[Y]] offset <[5]> {{.*}} -> !tile.view<[B, 5], f32, strides [10, 1]>
  // CHECK-NEXT: %[[M:.*]] = tile.alias %[[Y]] offset <[0]>
  // CHECK-NEXT: tile.launch @exp(%[[R]], %[[M]])
  // CHECK-NEXT: }
  %a = graph.dot %x, %w batch [] [] contract [1] [0] : (!graph.tensor<[B, 6], f32>, !graph.tensor<[6, 5], f32>) -> !graph.tensor<[B, 5], f32>
  %b = graph.exp %a : !graph.tensor<[B, 5], f32>
  %y = graph.concat %a, %b axis 1 : (!graph.tensor<[B, 5], f32>, !graph.tensor<[B, 5], f32>) -> !graph.tensor<[B, 10], f32>
  func.return %y : !graph.tensor<[B, 10], f32>
}
}

// -----

// A start known only at run time is clamped, read, and is the offset of a view.
// CHECK-LABEL: builtin.module
builtin.module {
func.func @main(%x: !graph.tensor<[B, 6], f32>, %i: !graph.tensor<[], i64>) -> !graph.tensor<[B, 2], f32> {
  // CHECK: tile.launch @clamp
  // CHECK: tile.bind %{{.*}} as "start.0"
  // CHECK: tile.alias %{{.*}} offset <[start.0]>
  // CHECK: tile.launch @copy
  %y = graph.slice %x, %i starts <[0, 0]> steps [1, 1] dynamic [1] : (!graph.tensor<[B, 6], f32>, !graph.tensor<[], i64>) -> !graph.tensor<[B, 2], f32>
  func.return %y : !graph.tensor<[B, 2], f32>
}
}

// -----

// A result whose size the data decides is no argument: it is given by publish.
// CHECK-LABEL: builtin.module
builtin.module {
func.func @main(%x: !graph.tensor<[N], i1>) -> !graph.tensor<[1, K], i64> {
  // CHECK: ^bb0(%{{[0-9]+}}: !tile.view<[N], i1>):
  // CHECK: tile.bind %{{.*}} as "K"
  // CHECK: tile.publish %{{.*}} as 0
  %y = graph.nonzero %x defines "K" : (!graph.tensor<[N], i1>) -> !graph.tensor<[1, K], i64>
  func.return %y : !graph.tensor<[1, K], i64>
}
}

// -----

// Slices and stacks of a scan are views that move with the iteration number.
// CHECK-LABEL: builtin.module
builtin.module {
func.func @main(%h: !graph.tensor<[N], f32>, %xs: !graph.tensor<[S, N], f32>) -> (!graph.tensor<[N], f32>, !graph.tensor<[S, N], f32>) {
  // CHECK: tile.loop "step.0" to <[S]>
  // CHECK: tile.alias %{{.*}} offset <[N*step.0]>
  // CHECK: tile.launch @add
  %r, %ys = graph.scan carried(%h : !graph.tensor<[N], f32>) over(%xs : !graph.tensor<[S, N], f32>) length <[S]> -> (!graph.tensor<[N], f32>, !graph.tensor<[S, N], f32>) {
  ^bb0(%i: !graph.tensor<[], i64>, %a: !graph.tensor<[N], f32>, %x: !graph.tensor<[N], f32>):
    %s = graph.add %a, %x : !graph.tensor<[N], f32>
    graph.yield %s, %s : !graph.tensor<[N], f32>, !graph.tensor<[N], f32>
  }
  func.return %r, %ys : !graph.tensor<[N], f32>, !graph.tensor<[S, N], f32>
}
}

// -----

// A size bound to a name only to check facts takes no memory.
// CHECK-LABEL: builtin.module
builtin.module {
func.func @main(%x: !graph.tensor<[N], f32>, %n: !graph.tensor<[], i64>) -> !graph.tensor<[2, K], f32> {
  // CHECK-NOT: tile.launch
  // CHECK: tile.bind %{{.*}} as "K"
  // CHECK-NEXT: tile.set "checked" to <[2*K]> where <2*K eq N>
  graph.bind %n as "K" : !graph.tensor<[], i64>
  %0 = graph.dim <[2*K]> : !graph.tensor<[], i64>
  graph.bind %0 as "checked" where <2*K eq N> : !graph.tensor<[], i64>
  %1 = graph.reshape %x : (!graph.tensor<[N], f32>) -> !graph.tensor<[2, K], f32>
  func.return %1 : !graph.tensor<[2, K], f32>
}
}
