// RUN: infini-opt %s -p graph-expand-composites --split-input-file | filecheck %s

// The axis keeps size 1 in the maximum and the sum, which repeat over it.
// CHECK-LABEL: @softmax
func.func @softmax(%x: !graph.tensor<[B, S], f32>) -> !graph.tensor<[B, S], f32> {
  // CHECK:      graph.reduce max %x axes [1] keep
  // CHECK-NEXT: graph.broadcast
  // CHECK-NEXT: graph.sub
  // CHECK-NEXT: graph.exp
  // CHECK-NEXT: graph.reduce sum {{.*}} axes [1] keep
  // CHECK-NEXT: graph.broadcast
  // CHECK-NEXT: graph.div
  // CHECK-NOT:  graph.softmax
  %y = graph.softmax %x axis 1 : (!graph.tensor<[B, S], f32>) -> !graph.tensor<[B, S], f32>
  func.return %y : !graph.tensor<[B, S], f32>
}

// -----

// Narrow floats compute in f32 and round once, at the end.
// CHECK-LABEL: @gelu_bf16
func.func @gelu_bf16(%x: !graph.tensor<[N], bf16>) -> !graph.tensor<[N], bf16> {
  // CHECK:      graph.cast %x {{.*}} -> !graph.tensor<[N], f32>
  // CHECK:      graph.erf {{.*}} : !graph.tensor<[N], f32>
  // CHECK:      graph.add {{.*}} : !graph.tensor<[N], f32>
  // CHECK:      graph.mul {{.*}} : !graph.tensor<[N], f32>
  // CHECK:      graph.mul {{.*}} : !graph.tensor<[N], f32>
  // CHECK-NEXT: graph.cast {{.*}} -> !graph.tensor<[N], bf16>
  // CHECK-NEXT: func.return
  %y = graph.gelu %x : (!graph.tensor<[N], bf16>) -> !graph.tensor<[N], bf16>
  func.return %y : !graph.tensor<[N], bf16>
}

// -----

// A convolution is a product of windows; without padding nothing is padded.
// CHECK-LABEL: @conv
func.func @conv(%x: !graph.tensor<[N, 4, H, W], f32>, %w: !graph.tensor<[8, 4, 3, 3], f32>) -> !graph.tensor<[N, 8, H - 2, W - 2], f32> {
  // CHECK-NOT:  graph.pad
  // CHECK:      graph.window %x axes [2, 3] sizes <[3, 3]> strides [1, 1] dilations [1, 1]
  // CHECK-NEXT: graph.dot {{.*}} batch [] [] contract [1, 4, 5] [1, 2, 3]
  // CHECK-NEXT: graph.transpose {{.*}} [0, 3, 1, 2]
  // CHECK-NEXT: func.return
  %y = graph.conv channels_first %x, %w groups 1 strides [1, 1] dilations [1, 1] lo <[0, 0]> hi <[0, 0]> input_dilation [1, 1] : (!graph.tensor<[N, 4, H, W], f32>, !graph.tensor<[8, 4, 3, 3], f32>) -> !graph.tensor<[N, 8, H - 2, W - 2], f32>
  func.return %y : !graph.tensor<[N, 8, H - 2, W - 2], f32>
}

// -----

// Groups are a batch axis; dilation of the input is interior padding.
// CHECK-LABEL: @grouped_conv
func.func @grouped_conv(%x: !graph.tensor<[N, 4, W], f16>, %w: !graph.tensor<[6, 2, 3], f16>) -> !graph.tensor<[N, 6, 2*W - 1], f16> {
  // CHECK:      graph.pad %x, {{.*}} interior [0, 0, 1]
  // CHECK-NEXT: graph.window
  // CHECK-NEXT: graph.reshape {{.*}} -> !graph.tensor<[N, 2, 2, 2*W - 1, 3], f16>
  // CHECK-NEXT: graph.reshape %w {{.*}} -> !graph.tensor<[2, 3, 2, 3], f16>
  // CHECK-NEXT: graph.dot {{.*}} batch [1] [0] contract [2, 4] [2, 3] {{.*}} -> !graph.tensor<[2, N, 2*W - 1, 3], f32>
  %y = graph.conv channels_first %x, %w groups 2 strides [1] dilations [1] lo <[1]> hi <[1]> input_dilation [2] : (!graph.tensor<[N, 4, W], f16>, !graph.tensor<[6, 2, 3], f16>) -> !graph.tensor<[N, 6, 2*W - 1], f16>
  func.return %y : !graph.tensor<[N, 6, 2*W - 1], f16>
}

// -----

// Heads that share keys are an axis of the queries; no mask is made where none is asked for.
// CHECK-LABEL: @attention
func.func @attention(%q: !graph.tensor<[B, 8, S, 64], f32>, %k: !graph.tensor<[B, 2, T, 64], f32>) -> !graph.tensor<[B, 8, S, 64], f32> {
  // CHECK:      graph.reshape %q {{.*}} -> !graph.tensor<[B, 2, 4, S, 64], f32>
  // CHECK-NEXT: graph.dot {{.*}} batch [0, 1] [0, 1] contract [4] [3]
  // CHECK-NOT:  graph.compare le
  // CHECK:      graph.reduce max
  // CHECK:      graph.compare eq
  // CHECK:      graph.dot {{.*}} batch [0, 1] [0, 1] contract [4] [2]
  // CHECK:      graph.reshape {{.*}} -> !graph.tensor<[B, 8, S, 64], f32>
  %y = graph.attention %q, %k, %k scale 0.125 : !graph.tensor<[B, 8, S, 64], f32>, !graph.tensor<[B, 2, T, 64], f32>, !graph.tensor<[B, 2, T, 64], f32> -> !graph.tensor<[B, 8, S, 64], f32>
  func.return %y : !graph.tensor<[B, 8, S, 64], f32>
}

// -----

// Zero points correct the product of the bytes, which stays a product of bytes.
// CHECK-LABEL: @quantized_matmul
func.func @quantized_matmul(%a: !graph.tensor<[M, K], ui8>, %b: !graph.tensor<[K, 4], i8>, %z: !graph.tensor<[], ui8>) -> !graph.tensor<[M, 4], i32> {
  // CHECK:      graph.dot %a, %b {{.*}} -> !graph.tensor<[M, 4], i32>
  // CHECK:      graph.reduce sum {{.*}} axes [0] keep
  // CHECK:      graph.sub
  // CHECK-NEXT: func.return
  %y = graph.quantized_matmul %a, %b a_zero %z : !graph.tensor<[], ui8> : !graph.tensor<[M, K], ui8>, !graph.tensor<[K, 4], i8> -> !graph.tensor<[M, 4], i32>
  func.return %y : !graph.tensor<[M, 4], i32>
}

// -----

// What is no composite stays.
// CHECK-LABEL: @primitives
func.func @primitives(%x: !graph.tensor<[N], f32>) -> !graph.tensor<[N], f32> {
  // CHECK-NEXT: graph.exp %x
  // CHECK-NEXT: func.return
  %y = graph.exp %x : !graph.tensor<[N], f32>
  func.return %y : !graph.tensor<[N], f32>
}
