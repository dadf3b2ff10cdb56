// RUN: infini-opt %s -p graph-fold-batch-norm,graph-dce --split-input-file | filecheck %s

// CHECK-LABEL: @conv
func.func @conv(%x: !graph.tensor<[N, 3, 8, 8], f32>) -> !graph.tensor<[N, 4, 8, 8], f32> {
  // CHECK-DAG: %[[W:.*]] = graph.weight "w.mul.{{[0-9a-f]+}}"
  // CHECK-DAG: %[[B:.*]] = graph.weight "{{.*}}" : !graph.tensor<[4], f32>
  // CHECK: graph.conv channels_first %x, %[[W]] bias %[[B]]
  // CHECK-NEXT: func.return
  %w = graph.weight "w" : !graph.tensor<[4, 3, 1, 1], f32>
  %s = graph.weight "s" : !graph.tensor<[4, 1, 1], f32>
  %t = graph.weight "t" : !graph.tensor<[4, 1, 1], f32>
  %0 = graph.conv channels_first %x, %w groups 1 strides [1, 1] dilations [1, 1] lo <[0, 0]> hi <[0, 0]> input_dilation [1, 1] : (!graph.tensor<[N, 3, 8, 8], f32>, !graph.tensor<[4, 3, 1, 1], f32>) -> !graph.tensor<[N, 4, 8, 8], f32>
  %1 = graph.broadcast %t : (!graph.tensor<[4, 1, 1], f32>) -> !graph.tensor<[N, 4, 8, 8], f32>
  %2 = graph.sub %0, %1 : !graph.tensor<[N, 4, 8, 8], f32>
  %3 = graph.broadcast %s : (!graph.tensor<[4, 1, 1], f32>) -> !graph.tensor<[N, 4, 8, 8], f32>
  %4 = graph.mul %2, %3 : !graph.tensor<[N, 4, 8, 8], f32>
  func.return %4 : !graph.tensor<[N, 4, 8, 8], f32>
}

// -----

// CHECK-LABEL: @dot
func.func @dot(%x: !graph.tensor<[N, 300], f32>) -> !graph.tensor<[N, 400], f32> {
  // CHECK: %[[Y:.*]] = graph.dot %x, %{{.*}} batch [] [] contract [1] [0]
  // CHECK: graph.add %[[Y]], %{{.*}}
  // CHECK-NEXT: func.return
  %w = graph.weight "w" : !graph.tensor<[300, 400], f32>
  %s = graph.weight "s" : !graph.tensor<[400], f32>
  %t = graph.weight "t" : !graph.tensor<[400], f32>
  %0 = graph.dot %x, %w batch [] [] contract [1] [0] : (!graph.tensor<[N, 300], f32>, !graph.tensor<[300, 400], f32>) -> !graph.tensor<[N, 400], f32>
  %1 = graph.broadcast %t : (!graph.tensor<[400], f32>) -> !graph.tensor<[N, 400], f32>
  %2 = graph.add %0, %1 : !graph.tensor<[N, 400], f32>
  %3 = graph.broadcast %s : (!graph.tensor<[400], f32>) -> !graph.tensor<[N, 400], f32>
  %4 = graph.mul %2, %3 : !graph.tensor<[N, 400], f32>
  func.return %4 : !graph.tensor<[N, 400], f32>
}

// -----

// The convolution's result is wanted unscaled too.
// CHECK-LABEL: @used_twice
func.func @used_twice(%x: !graph.tensor<[N, 3, 8, 8], f32>) -> (!graph.tensor<[N, 4, 8, 8], f32>, !graph.tensor<[N, 4, 8, 8], f32>) {
  // CHECK: graph.mul
  %w = graph.weight "w" : !graph.tensor<[4, 3, 1, 1], f32>
  %s = graph.weight "s" : !graph.tensor<[4, 1, 1], f32>
  %0 = graph.conv channels_first %x, %w groups 1 strides [1, 1] dilations [1, 1] lo <[0, 0]> hi <[0, 0]> input_dilation [1, 1] : (!graph.tensor<[N, 3, 8, 8], f32>, !graph.tensor<[4, 3, 1, 1], f32>) -> !graph.tensor<[N, 4, 8, 8], f32>
  %1 = graph.broadcast %s : (!graph.tensor<[4, 1, 1], f32>) -> !graph.tensor<[N, 4, 8, 8], f32>
  %2 = graph.mul %0, %1 : !graph.tensor<[N, 4, 8, 8], f32>
  func.return %0, %2 : !graph.tensor<[N, 4, 8, 8], f32>, !graph.tensor<[N, 4, 8, 8], f32>
}
