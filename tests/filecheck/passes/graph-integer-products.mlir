// RUN: infini-opt %s -p graph-integer-products,graph-cleanup --split-input-file | filecheck %s

// The zero point of the image is a sum of weights, taken off in i32; scales come after.
// CHECK-LABEL: @columns
func.func @columns(%x: !graph.tensor<[M, 64], ui8>, %w: !graph.tensor<[64, 96], i8>, %t: !graph.tensor<[96], f32>) -> !graph.tensor<[M, 96], f32> {
  // CHECK:      %[[Y:.*]] = graph.dot %x, %w batch [] [] contract [1] [0] {{.*}} -> !graph.tensor<[M, 96], i32>
  // CHECK:      %[[S:.*]] = graph.reduce sum {{.*}} axes [0] keep
  // CHECK:      graph.mul %[[S]]
  // CHECK:      %[[D:.*]] = graph.sub %[[Y]]
  // CHECK:      graph.cast %[[D]] {{.*}} f32>
  // CHECK:      graph.mul
  // CHECK:      func.return
  %s = graph.constant <[0.5]> : !graph.tensor<[], f32>
  %z = graph.constant <[7]> : !graph.tensor<[], ui8>
  %0 = graph.dequantize %x, %s zero %z : (!graph.tensor<[M, 64], ui8>, !graph.tensor<[], f32>, !graph.tensor<[], ui8>) -> !graph.tensor<[M, 64], f32>
  %1 = graph.dequantize %w, %t axis 1 : (!graph.tensor<[64, 96], i8>, !graph.tensor<[96], f32>) -> !graph.tensor<[64, 96], f32>
  %2 = graph.dot %0, %1 batch [] [] contract [1] [0] : (!graph.tensor<[M, 64], f32>, !graph.tensor<[64, 96], f32>) -> !graph.tensor<[M, 96], f32>
  func.return %2 : !graph.tensor<[M, 96], f32>
}

// -----

// Around the image is its zero point.
// CHECK-LABEL: @image
func.func @image(%x: !graph.tensor<[1, 8, 9, 9], ui8>, %w: !graph.tensor<[4, 8, 3, 3], i8>, %b: !graph.tensor<[4], f32>) -> !graph.tensor<[1, 4, 9, 9], ui8> {
  // CHECK:      graph.conv channels_first %x, %w groups 1 {{.*}} border 7 {{.*}} -> !graph.tensor<[1, 4, 9, 9], i32>
  // CHECK:      %[[N:.*]] = graph.neg
  // CHECK:      graph.add
  // CHECK:      graph.quantize
  %s = graph.constant <[0.5]> : !graph.tensor<[], f32>
  %z = graph.constant <[7]> : !graph.tensor<[], ui8>
  %0 = graph.dequantize %x, %s zero %z : (!graph.tensor<[1, 8, 9, 9], ui8>, !graph.tensor<[], f32>, !graph.tensor<[], ui8>) -> !graph.tensor<[1, 8, 9, 9], f32>
  %1 = graph.dequantize %w, %s : (!graph.tensor<[4, 8, 3, 3], i8>, !graph.tensor<[], f32>) -> !graph.tensor<[4, 8, 3, 3], f32>
  %2 = graph.conv channels_first %0, %1 bias %b groups 1 strides [1, 1] dilations [1, 1] lo <[1, 1]> hi <[1, 1]> input_dilation [1, 1] : (!graph.tensor<[1, 8, 9, 9], f32>, !graph.tensor<[4, 8, 3, 3], f32>, !graph.tensor<[4], f32>) -> !graph.tensor<[1, 4, 9, 9], f32>
  %3 = graph.quantize %2, %s zero %z : (!graph.tensor<[1, 4, 9, 9], f32>, !graph.tensor<[], f32>, !graph.tensor<[], ui8>) -> !graph.tensor<[1, 4, 9, 9], ui8>
  func.return %3 : !graph.tensor<[1, 4, 9, 9], ui8>
}

// -----

// Scales that change along the contracted axis stay in the factor.
// CHECK-LABEL: @rows
func.func @rows(%x: !graph.tensor<[M, 64], ui8>, %w: !graph.tensor<[64, 96], i8>, %s: !graph.tensor<[], f32>, %t: !graph.tensor<[64], f32>) -> !graph.tensor<[M, 96], f32> {
  // CHECK: graph.dot {{.*}} : (!graph.tensor<[M, 64], f32>, !graph.tensor<[64, 96], f32>)
  %0 = graph.dequantize %x, %s : (!graph.tensor<[M, 64], ui8>, !graph.tensor<[], f32>) -> !graph.tensor<[M, 64], f32>
  %1 = graph.dequantize %w, %t axis 0 : (!graph.tensor<[64, 96], i8>, !graph.tensor<[64], f32>) -> !graph.tensor<[64, 96], f32>
  %2 = graph.dot %0, %1 batch [] [] contract [1] [0] : (!graph.tensor<[M, 64], f32>, !graph.tensor<[64, 96], f32>) -> !graph.tensor<[M, 96], f32>
  func.return %2 : !graph.tensor<[M, 96], f32>
}
