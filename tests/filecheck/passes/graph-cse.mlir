// RUN: infini-opt %s -p graph-cse --split-input-file | filecheck %s

// CHECK-LABEL: @equal
func.func @equal(%x: !graph.tensor<[N], f32>, %y: !graph.tensor<[N], f32>) -> !graph.tensor<[N], f32> {
  // Operands of a commutative operation may be swapped.
  // CHECK-NEXT: %[[A:.*]] = graph.add %x, %y
  // CHECK-NEXT: graph.mul %[[A]], %[[A]]
  %0 = graph.add %x, %y : !graph.tensor<[N], f32>
  %1 = graph.add %y, %x : !graph.tensor<[N], f32>
  %2 = graph.mul %0, %1 : !graph.tensor<[N], f32>
  func.return %2 : !graph.tensor<[N], f32>
}

// -----

// Zeros of different sign are different, weights of one handle are one.
// CHECK-LABEL: @constants
func.func @constants() -> (!graph.tensor<[], f32>, !graph.tensor<[], f32>, !graph.tensor<[4], f32>) {
  // CHECK-NEXT: graph.constant <[0.0]>
  // CHECK-NEXT: graph.constant <[-0.0]>
  // CHECK-NEXT: %[[W:.*]] = graph.weight "w"
  // CHECK-NEXT: graph.add %[[W]], %[[W]]
  %0 = graph.constant <[0.0]> : !graph.tensor<[], f32>
  %1 = graph.constant <[-0.0]> : !graph.tensor<[], f32>
  %a = graph.weight "w" : !graph.tensor<[4], f32>
  %b = graph.weight "w" : !graph.tensor<[4], f32>
  %2 = graph.add %a, %b : !graph.tensor<[4], f32>
  func.return %0, %1, %2 : !graph.tensor<[], f32>, !graph.tensor<[], f32>, !graph.tensor<[4], f32>
}

// -----

// A region may use what is outside, but not the other way round.
// CHECK-LABEL: @regions
func.func @regions(%c: !graph.tensor<[], i1>, %x: !graph.tensor<[N], f32>) -> (!graph.tensor<[N], f32>, !graph.tensor<[N], f32>) {
  // CHECK-NEXT: graph.exp
  // CHECK-NEXT: graph.if
  // CHECK-NEXT: graph.yield
  // CHECK: graph.neg
  // CHECK-NEXT: graph.yield
  // CHECK: graph.neg
  %0 = graph.exp %x : !graph.tensor<[N], f32>
  %1 = graph.if %c : (!graph.tensor<[], i1>) -> !graph.tensor<[N], f32> {
    %2 = graph.exp %x : !graph.tensor<[N], f32>
    graph.yield %2 : !graph.tensor<[N], f32>
  } {
    %3 = graph.neg %0 : !graph.tensor<[N], f32>
    graph.yield %3 : !graph.tensor<[N], f32>
  }
  %4 = graph.neg %0 : !graph.tensor<[N], f32>
  func.return %1, %4 : !graph.tensor<[N], f32>, !graph.tensor<[N], f32>
}
