// RUN: infini-opt %s -p graph-simplify --split-input-file | filecheck %s

// Neutral elements go, signed zeros are respected.
// CHECK-LABEL: @neutral
func.func @neutral(%x: !graph.tensor<[N], f32>) -> (!graph.tensor<[N], f32>, !graph.tensor<[N], f32>) {
  %one = graph.constant <[1.0]> : !graph.tensor<[], f32>
  %ones = graph.broadcast %one : (!graph.tensor<[], f32>) -> !graph.tensor<[N], f32>
  %zero = graph.constant <[0.0]> : !graph.tensor<[], f32>
  %zeros = graph.broadcast %zero : (!graph.tensor<[], f32>) -> !graph.tensor<[N], f32>
  // CHECK-NOT: graph.mul
  // CHECK-NOT: graph.sub
  // CHECK: %[[S:.*]] = graph.add %x
  // CHECK-NEXT: func.return %x, %[[S]]
  %0 = graph.mul %x, %ones : !graph.tensor<[N], f32>
  %1 = graph.sub %0, %zeros : !graph.tensor<[N], f32>
  %2 = graph.add %1, %zeros : !graph.tensor<[N], f32>
  func.return %1, %2 : !graph.tensor<[N], f32>, !graph.tensor<[N], f32>
}

// -----

// Bounds merge: a second relu and a clip inside another go.
// CHECK-LABEL: @clips
func.func @clips(%x: !graph.tensor<[4], f32>) -> !graph.tensor<[4], f32> {
  %c0 = graph.constant <[0.0, 0.0, 0.0, 0.0]> : !graph.tensor<[4], f32>
  %c6 = graph.constant <[6.0, 6.0, 6.0, 6.0]> : !graph.tensor<[4], f32>
  // CHECK: graph.max %x
  // CHECK-NEXT: graph.min
  // CHECK-NEXT: func.return
  %0 = graph.max %x, %c0 : !graph.tensor<[4], f32>
  %1 = graph.min %0, %c6 : !graph.tensor<[4], f32>
  %2 = graph.max %1, %c0 : !graph.tensor<[4], f32>
  %3 = graph.min %2, %c6 : !graph.tensor<[4], f32>
  func.return %3 : !graph.tensor<[4], f32>
}

// -----

// A cast that loses nothing goes; one that rounds stays.
// CHECK-LABEL: @casts
func.func @casts(%x: !graph.tensor<[N], f16>, %y: !graph.tensor<[N], f32>) -> (!graph.tensor<[N], f16>, !graph.tensor<[N], f32>) {
  // CHECK: graph.cast %y
  // CHECK-NEXT: graph.cast
  // CHECK-NEXT: func.return %x
  %0 = graph.cast %x saturate : (!graph.tensor<[N], f16>) -> !graph.tensor<[N], f32>
  %1 = graph.cast %0 saturate : (!graph.tensor<[N], f32>) -> !graph.tensor<[N], f16>
  %2 = graph.cast %y saturate : (!graph.tensor<[N], f32>) -> !graph.tensor<[N], f16>
  %3 = graph.cast %2 saturate : (!graph.tensor<[N], f16>) -> !graph.tensor<[N], f32>
  func.return %1, %3 : !graph.tensor<[N], f16>, !graph.tensor<[N], f32>
}

// -----

// CHECK-LABEL: @shapes
func.func @shapes(%x: !graph.tensor<[B, 1, S, 8], f32>) -> (!graph.tensor<[S, B, 8], f32>, !graph.tensor<[B, S, 8], f32>) {
  // Transposes compose; the one that moves the axis of size 1 is a reshape.
  // CHECK: graph.reshape %x
  // CHECK-NEXT: graph.transpose
  // CHECK-SAME: [1, 0, 2]
  // CHECK-NEXT: func.return
  %0 = graph.transpose %x [0, 2, 1, 3] : (!graph.tensor<[B, 1, S, 8], f32>) -> !graph.tensor<[B, S, 1, 8], f32>
  %1 = graph.reshape %0 : (!graph.tensor<[B, S, 1, 8], f32>) -> !graph.tensor<[B, S, 8], f32>
  %2 = graph.transpose %1 [1, 0, 2] : (!graph.tensor<[B, S, 8], f32>) -> !graph.tensor<[S, B, 8], f32>
  func.return %2, %1 : !graph.tensor<[S, B, 8], f32>, !graph.tensor<[B, S, 8], f32>
}

// -----

// CHECK-LABEL: @slices
func.func @slices(%a: !graph.tensor<[B, P], f32>, %b: !graph.tensor<[B, S], f32>) -> !graph.tensor<[B, P - 2], f32> {
  // The slice lies in the first piece, and slices of slices are one.
  // CHECK-NEXT: graph.slice %a starts <[0, 2]>
  // CHECK-NEXT: func.return
  %0 = graph.concat %a, %b axis 1 : (!graph.tensor<[B, P], f32>, !graph.tensor<[B, S], f32>) -> !graph.tensor<[B, P + S], f32>
  %1 = graph.slice %0 starts <[0, 1]> steps [1, 1] : (!graph.tensor<[B, P + S], f32>) -> !graph.tensor<[B, P - 1], f32>
  %2 = graph.slice %1 starts <[0, 1]> steps [1, 1] : (!graph.tensor<[B, P - 1], f32>) -> !graph.tensor<[B, P - 2], f32>
  func.return %2 : !graph.tensor<[B, P - 2], f32>
}

// -----

// The transposed key goes into the axes of the product.
// CHECK-LABEL: @scores
func.func @scores(%q: !graph.tensor<[B, 4, S, 8], f32>, %k: !graph.tensor<[B, 4, T, 8], f32>) -> !graph.tensor<[B, 4, S, T], f32> {
  // CHECK-NEXT: graph.dot %q, %k batch [0, 1] [0, 1] contract [3] [3]
  %0 = graph.transpose %k [0, 1, 3, 2] : (!graph.tensor<[B, 4, T, 8], f32>) -> !graph.tensor<[B, 4, 8, T], f32>
  %1 = graph.dot %q, %0 batch [0, 1] [0, 1] contract [3] [2] : (!graph.tensor<[B, 4, S, 8], f32>, !graph.tensor<[B, 4, 8, T], f32>) -> !graph.tensor<[B, 4, S, T], f32>
  func.return %1 : !graph.tensor<[B, 4, S, T], f32>
}

// -----

// CHECK-LABEL: @padded_conv
func.func @padded_conv(%x: !graph.tensor<[N, 3, 8, 8], f32>, %w: !graph.tensor<[4, 3, 3, 3], f32>) -> !graph.tensor<[N, 4, 8, 8], f32> {
  // CHECK-NOT: graph.pad
  // CHECK: graph.conv
  // CHECK-SAME: lo <[1, 1]> hi <[1, 1]>
  %z = graph.constant <[0.0]> : !graph.tensor<[], f32>
  %0 = graph.pad %x, %z lo <[0, 0, 1, 1]> hi <[0, 0, 1, 1]> interior [0, 0, 0, 0] : (!graph.tensor<[N, 3, 8, 8], f32>, !graph.tensor<[], f32>) -> !graph.tensor<[N, 3, 10, 10], f32>
  %1 = graph.conv channels_first %0, %w groups 1 strides [1, 1] dilations [1, 1] lo <[0, 0]> hi <[0, 0]> input_dilation [1, 1] : (!graph.tensor<[N, 3, 10, 10], f32>, !graph.tensor<[4, 3, 3, 3], f32>) -> !graph.tensor<[N, 4, 8, 8], f32>
  func.return %1 : !graph.tensor<[N, 4, 8, 8], f32>
}

// -----

// Arithmetic on repeated values happens before the repetition.
// CHECK-LABEL: @repeated
func.func @repeated(%a: !graph.tensor<[64], f32>, %b: !graph.tensor<[64], f32>) -> !graph.tensor<[N, 64], f32> {
  // CHECK-NEXT: graph.add %a, %b : !graph.tensor<[64], f32>
  // CHECK-NEXT: graph.broadcast
  %0 = graph.broadcast %a : (!graph.tensor<[64], f32>) -> !graph.tensor<[N, 64], f32>
  %1 = graph.broadcast %b : (!graph.tensor<[64], f32>) -> !graph.tensor<[N, 64], f32>
  %2 = graph.add %0, %1 : !graph.tensor<[N, 64], f32>
  func.return %2 : !graph.tensor<[N, 64], f32>
}
