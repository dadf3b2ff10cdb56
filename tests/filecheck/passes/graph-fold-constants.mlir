// RUN: infini-opt %s -p graph-fold-constants,graph-dce --split-input-file | filecheck %s

// CHECK-LABEL: @small
func.func @small() -> !graph.tensor<[2], f32> {
  // CHECK-NEXT: graph.constant <[1.5, 2.5]>
  // CHECK-NEXT: func.return
  %0 = graph.constant <[1.0, 2.0]> : !graph.tensor<[2], f32>
  %1 = graph.constant <[0.5]> : !graph.tensor<[], f32>
  %2 = graph.broadcast %1 : (!graph.tensor<[], f32>) -> !graph.tensor<[2], f32>
  %3 = graph.add %0, %2 : !graph.tensor<[2], f32>
  func.return %3 : !graph.tensor<[2], f32>
}

// -----

// The weights of a chain are derived one from the other.
// CHECK-LABEL: @chain
func.func @chain() -> !graph.tensor<[8, 512], f32> {
  // CHECK-NEXT: graph.weight "w.transpose10.mul.{{[0-9a-f]+}}" : !graph.tensor<[8, 512], f32>
  // CHECK-NEXT: func.return
  %w = graph.weight "w" : !graph.tensor<[512, 8], f32>
  %s = graph.weight "s" : !graph.tensor<[512], f32>
  %0 = graph.transpose %w [1, 0] : (!graph.tensor<[512, 8], f32>) -> !graph.tensor<[8, 512], f32>
  %1 = graph.broadcast %s : (!graph.tensor<[512], f32>) -> !graph.tensor<[8, 512], f32>
  %2 = graph.mul %0, %1 : !graph.tensor<[8, 512], f32>
  func.return %2 : !graph.tensor<[8, 512], f32>
}

// -----

// A table much larger than its source stays a computation, and so does what has an input.
// CHECK-LABEL: @left_alone
func.func @left_alone(%x: !graph.tensor<[4], f32>) -> (!graph.tensor<[512, 512], f32>, !graph.tensor<[4], f32>) {
  // CHECK: graph.dot
  // CHECK: graph.add
  %w = graph.weight "w" : !graph.tensor<[512], f32>
  %c = graph.constant <[1.0, 2.0, 3.0, 4.0]> : !graph.tensor<[4], f32>
  %0 = graph.dot %w, %w batch [] [] contract [] [] : (!graph.tensor<[512], f32>, !graph.tensor<[512], f32>) -> !graph.tensor<[512, 512], f32>
  %1 = graph.add %x, %c : !graph.tensor<[4], f32>
  func.return %0, %1 : !graph.tensor<[512, 512], f32>, !graph.tensor<[4], f32>
}
