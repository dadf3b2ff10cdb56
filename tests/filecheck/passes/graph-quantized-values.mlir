// RUN: infini-opt %s -p graph-quantized-values,graph-dce --split-input-file | filecheck %s

// Bytes are moved, and what is quantised as it was before is the bytes.
// CHECK-LABEL: @moved
func.func @moved(%x: !graph.tensor<[N, 6, 8], ui8>) -> !graph.tensor<[8, N, 3, 2], ui8> {
  // CHECK:      %[[T:.*]] = graph.transpose %x {{.*}} -> !graph.tensor<[8, N, 6], ui8>
  // CHECK-NEXT: %[[R:.*]] = graph.reshape %[[T]] {{.*}} -> !graph.tensor<[8, N, 3, 2], ui8>
  // CHECK-NEXT: func.return %[[R]]
  %s = graph.constant <[0.5]> : !graph.tensor<[], f32>
  %z = graph.constant <[7]> : !graph.tensor<[], ui8>
  %0 = graph.dequantize %x, %s zero %z : (!graph.tensor<[N, 6, 8], ui8>, !graph.tensor<[], f32>, !graph.tensor<[], ui8>) -> !graph.tensor<[N, 6, 8], f32>
  %1 = graph.transpose %0 [2, 0, 1] : (!graph.tensor<[N, 6, 8], f32>) -> !graph.tensor<[8, N, 6], f32>
  %2 = graph.reshape %1 : (!graph.tensor<[8, N, 6], f32>) -> !graph.tensor<[8, N, 3, 2], f32>
  %3 = graph.quantize %2, %s zero %z : (!graph.tensor<[8, N, 3, 2], f32>, !graph.tensor<[], f32>, !graph.tensor<[], ui8>) -> !graph.tensor<[8, N, 3, 2], ui8>
  func.return %3 : !graph.tensor<[8, N, 3, 2], ui8>
}

// -----

// Pieces of one scale are joined as bytes; the axis of scales follows a transpose.
// CHECK-LABEL: @joined
func.func @joined(%x: !graph.tensor<[4, 8], i8>, %y: !graph.tensor<[4, 8], i8>, %s: !graph.tensor<[8], f32>) -> (!graph.tensor<[8, 8], f32>, !graph.tensor<[8, 4], f32>) {
  // CHECK:      %[[C:.*]] = graph.concat %x, %y axis 0
  // CHECK-NEXT: graph.dequantize %[[C]]
  // CHECK:      %[[T:.*]] = graph.transpose %y
  // CHECK-NEXT: graph.dequantize %[[T]], %s axis 0
  %one = graph.constant <[1.0]> : !graph.tensor<[], f32>
  %0 = graph.dequantize %x, %one : (!graph.tensor<[4, 8], i8>, !graph.tensor<[], f32>) -> !graph.tensor<[4, 8], f32>
  %1 = graph.dequantize %y, %one : (!graph.tensor<[4, 8], i8>, !graph.tensor<[], f32>) -> !graph.tensor<[4, 8], f32>
  %2 = graph.concat %0, %1 axis 0 : (!graph.tensor<[4, 8], f32>, !graph.tensor<[4, 8], f32>) -> !graph.tensor<[8, 8], f32>
  %3 = graph.dequantize %y, %s axis 1 : (!graph.tensor<[4, 8], i8>, !graph.tensor<[8], f32>) -> !graph.tensor<[4, 8], f32>
  %4 = graph.transpose %3 [1, 0] : (!graph.tensor<[4, 8], f32>) -> !graph.tensor<[8, 4], f32>
  func.return %2, %4 : !graph.tensor<[8, 8], f32>, !graph.tensor<[8, 4], f32>
}

// -----

// Saturation at 0 is a clamp at 0; one above the least number has to stay.
// CHECK-LABEL: @clamped
func.func @clamped(%x: !graph.tensor<[N], f32>) -> (!graph.tensor<[N], ui8>, !graph.tensor<[N], i8>) {
  // CHECK-DAG:  graph.quantize %x
  // CHECK-DAG:  %[[M:.*]] = graph.max %x
  // CHECK:      graph.quantize %[[M]]
  %s = graph.constant <[0.5]> : !graph.tensor<[], f32>
  %0 = graph.constant <[0.0]> : !graph.tensor<[], f32>
  %1 = graph.broadcast %0 : (!graph.tensor<[], f32>) -> !graph.tensor<[N], f32>
  %2 = graph.max %x, %1 : !graph.tensor<[N], f32>
  %3 = graph.quantize %2, %s : (!graph.tensor<[N], f32>, !graph.tensor<[], f32>) -> !graph.tensor<[N], ui8>
  %4 = graph.quantize %2, %s : (!graph.tensor<[N], f32>, !graph.tensor<[], f32>) -> !graph.tensor<[N], i8>
  func.return %3, %4 : !graph.tensor<[N], ui8>, !graph.tensor<[N], i8>
}

// -----

// Another scale: the numbers change.
// CHECK-LABEL: @rescaled
func.func @rescaled(%x: !graph.tensor<[N], ui8>) -> !graph.tensor<[N], ui8> {
  // CHECK:      graph.dequantize
  // CHECK:      graph.quantize
  %s = graph.constant <[0.5]> : !graph.tensor<[], f32>
  %t = graph.constant <[0.25]> : !graph.tensor<[], f32>
  %0 = graph.dequantize %x, %s : (!graph.tensor<[N], ui8>, !graph.tensor<[], f32>) -> !graph.tensor<[N], f32>
  %1 = graph.quantize %0, %t : (!graph.tensor<[N], f32>, !graph.tensor<[], f32>) -> !graph.tensor<[N], ui8>
  func.return %1 : !graph.tensor<[N], ui8>
}
