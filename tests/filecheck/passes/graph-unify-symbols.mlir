// RUN: infini-opt %s -p graph-unify-symbols --split-input-file | filecheck %s

// CHECK-LABEL: @equal
// CHECK-SAME: (%x: !graph.tensor<[N, 3], f32>, %y: !graph.tensor<[N, 3], f32>) -> !graph.tensor<[N, 3], f32>
// CHECK-SAME: graph.where = #graph.facts<N le 8>
func.func @equal(%x: !graph.tensor<[N, C], f32>, %y: !graph.tensor<[M, C], f32>) -> !graph.tensor<[N, C], f32>
    attributes {"graph.where" = #graph.facts<N eq M, C eq 3, M le 8>} {
  // CHECK-NEXT: graph.reshape %y : (!graph.tensor<[N, 3], f32>) -> !graph.tensor<[N, 3], f32>
  %0 = graph.reshape %y : (!graph.tensor<[M, C], f32>) -> !graph.tensor<[N, C], f32>
  func.return %0 : !graph.tensor<[N, C], f32>
}

// -----

// A size bound from a size is that size.
// CHECK-LABEL: @bound
func.func @bound(%x: !graph.tensor<[N], f32>) -> !graph.tensor<[K, N], f32> {
  // CHECK-NOT: graph.bind
  // CHECK: graph.broadcast %x : (!graph.tensor<[N], f32>) -> !graph.tensor<[2*N, N], f32>
  %n = graph.dim <[2*N]> : !graph.tensor<[], i64>
  graph.bind %n as "K" : !graph.tensor<[], i64>
  %0 = graph.broadcast %x : (!graph.tensor<[N], f32>) -> !graph.tensor<[K, N], f32>
  func.return %0 : !graph.tensor<[K, N], f32>
}

// -----

// A size that the data give and that must equal a known one is checked where it is bound.
// CHECK-LABEL: @checked
func.func @checked(%x: !graph.tensor<[N], f32>, %n: !graph.tensor<[], i64>) -> !graph.tensor<[K], f32>
    attributes {"graph.where" = #graph.facts<K eq N>} {
  // CHECK-NEXT: graph.bind %n as "K" where <K eq N>
  // CHECK-NEXT: graph.reshape %x : (!graph.tensor<[N], f32>) -> !graph.tensor<[N], f32>
  graph.bind %n as "K" : !graph.tensor<[], i64>
  %0 = graph.reshape %x : (!graph.tensor<[N], f32>) -> !graph.tensor<[K], f32>
  func.return %0 : !graph.tensor<[K], f32>
}

// -----

// What a bind checks is said in terms of the symbols that are left.
// CHECK-LABEL: @renamed
// CHECK-SAME: %y: !graph.tensor<[N], f32>
func.func @renamed(%x: !graph.tensor<[N], f32>, %y: !graph.tensor<[M], f32>, %n: !graph.tensor<[], i64>) -> !graph.tensor<[K], f32>
    attributes {"graph.where" = #graph.facts<N eq M>} {
  // CHECK-NEXT: graph.bind %n as "K" where <K le N>
  graph.bind %n as "K" where <K le M> : !graph.tensor<[], i64>
  %0 = graph.slice %x starts <[0]> steps [1] : (!graph.tensor<[N], f32>) -> !graph.tensor<[K], f32>
  func.return %0 : !graph.tensor<[K], f32>
}
