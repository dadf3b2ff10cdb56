// RUN: infini-opt %s -p graph-layout,graph-dce --split-input-file | filecheck %s

// Between two convolutions no transpose is left; the input is turned once, the result back.
// CHECK-LABEL: @residual
func.func @residual(%x: !graph.tensor<[N, 8, 6, 6], f32>) -> !graph.tensor<[N, 8, 6, 6], f32> {
  // CHECK: %[[X:.*]] = graph.transpose %x [0, 2, 3, 1]
  // CHECK: %[[A:.*]] = graph.conv channels_last %[[X]], %{{.*}} :
  // CHECK-NOT: graph.transpose
  // CHECK: graph.mul %{{.*}}, %{{.*}} : !graph.tensor<[N, 6, 6, 8], f32>
  // CHECK: graph.conv channels_last
  // CHECK-NEXT: %[[S:.*]] = graph.add
  // CHECK-NEXT: %[[R:.*]] = graph.transpose %[[S]] [0, 3, 1, 2]
  // CHECK-NEXT: func.return %[[R]]
  %w = graph.weight "w" : !graph.tensor<[8, 8, 1, 1], f32>
  %c = graph.weight "c" : !graph.tensor<[8, 1, 1], f32>
  %0 = graph.conv channels_first %x, %w groups 1 strides [1, 1] dilations [1, 1] lo <[0, 0]> hi <[0, 0]> input_dilation [1, 1] : (!graph.tensor<[N, 8, 6, 6], f32>, !graph.tensor<[8, 8, 1, 1], f32>) -> !graph.tensor<[N, 8, 6, 6], f32>
  %1 = graph.broadcast %c : (!graph.tensor<[8, 1, 1], f32>) -> !graph.tensor<[N, 8, 6, 6], f32>
  %2 = graph.mul %0, %1 : !graph.tensor<[N, 8, 6, 6], f32>
  %3 = graph.conv channels_first %2, %w groups 1 strides [1, 1] dilations [1, 1] lo <[0, 0]> hi <[0, 0]> input_dilation [1, 1] : (!graph.tensor<[N, 8, 6, 6], f32>, !graph.tensor<[8, 8, 1, 1], f32>) -> !graph.tensor<[N, 8, 6, 6], f32>
  %4 = graph.add %0, %3 : !graph.tensor<[N, 8, 6, 6], f32>
  func.return %4 : !graph.tensor<[N, 8, 6, 6], f32>
}

// -----

// Concatenation and reduction take the moved order.
// CHECK-LABEL: @dense
func.func @dense(%x: !graph.tensor<[N, 1, 6, 6], f32>) -> !graph.tensor<[N, 8], f32> {
  // CHECK: graph.reshape %x
  // CHECK-NOT: graph.transpose
  // CHECK: graph.concat %{{.*}}, %{{.*}} axis 3
  // CHECK: graph.reduce sum %{{.*}} axes [1, 2]
  // CHECK-NEXT: func.return
  %w = graph.weight "w" : !graph.tensor<[4, 1, 1, 1], f32>
  %v = graph.weight "v" : !graph.tensor<[4, 4, 1, 1], f32>
  %0 = graph.conv channels_first %x, %w groups 1 strides [1, 1] dilations [1, 1] lo <[0, 0]> hi <[0, 0]> input_dilation [1, 1] : (!graph.tensor<[N, 1, 6, 6], f32>, !graph.tensor<[4, 1, 1, 1], f32>) -> !graph.tensor<[N, 4, 6, 6], f32>
  %1 = graph.conv channels_first %0, %v groups 1 strides [1, 1] dilations [1, 1] lo <[0, 0]> hi <[0, 0]> input_dilation [1, 1] : (!graph.tensor<[N, 4, 6, 6], f32>, !graph.tensor<[4, 4, 1, 1], f32>) -> !graph.tensor<[N, 4, 6, 6], f32>
  %2 = graph.concat %0, %1 axis 1 : (!graph.tensor<[N, 4, 6, 6], f32>, !graph.tensor<[N, 4, 6, 6], f32>) -> !graph.tensor<[N, 8, 6, 6], f32>
  %3 = graph.reduce sum %2 axes [2, 3] : (!graph.tensor<[N, 8, 6, 6], f32>) -> !graph.tensor<[N, 8], f32>
  func.return %3 : !graph.tensor<[N, 8], f32>
}

// -----

// Flattened into a product: the matrix's rows are reordered instead.
// CHECK-LABEL: @flatten
func.func @flatten(%x: !graph.tensor<[N, 4, 6, 6], f32>) -> !graph.tensor<[N, 10], f32> {
  // CHECK: %[[P:.*]] = graph.pool max channels_last
  // CHECK: %[[F:.*]] = graph.reshape %[[P]]
  // CHECK-NEXT: graph.dot %[[F]]
  %w = graph.weight "w" : !graph.tensor<[36, 10], f32>
  %0 = graph.pool max channels_first %x sizes [2, 2] strides [2, 2] dilations [1, 1] lo <[0, 0]> hi <[0, 0]> : (!graph.tensor<[N, 4, 6, 6], f32>) -> !graph.tensor<[N, 4, 3, 3], f32>
  %1 = graph.reshape %0 : (!graph.tensor<[N, 4, 3, 3], f32>) -> !graph.tensor<[N, 36], f32>
  %2 = graph.dot %1, %w batch [] [] contract [1] [0] : (!graph.tensor<[N, 36], f32>, !graph.tensor<[36, 10], f32>) -> !graph.tensor<[N, 10], f32>
  func.return %2 : !graph.tensor<[N, 10], f32>
}
