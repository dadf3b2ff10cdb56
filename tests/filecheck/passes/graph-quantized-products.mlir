// RUN: infini-opt %s -p graph-quantized-products,graph-dce --split-input-file | filecheck %s

// One scale a column: it comes after the product, which is in f32 until then.
// CHECK-LABEL: @columns
func.func @columns(%x: !graph.tensor<[M, 64], f16>, %w: !graph.tensor<[64, 96], i8>, %s: !graph.tensor<[96], f16>) -> !graph.tensor<[M, 96], f16> {
  // CHECK:      %[[W:.*]] = graph.cast %w {{.*}} -> !graph.tensor<[64, 96], f16>
  // CHECK-NEXT: %[[Y:.*]] = graph.dot %x, %[[W]] batch [] [] contract [1] [0] {{.*}} -> !graph.tensor<[M, 96], f32>
  // CHECK:      graph.mul %[[Y]]
  // CHECK-NEXT: graph.cast {{.*}} -> !graph.tensor<[M, 96], f16>
  %0 = graph.dequantize %w, %s axis 1 : (!graph.tensor<[64, 96], i8>, !graph.tensor<[96], f16>) -> !graph.tensor<[64, 96], f16>
  %1 = graph.dot %x, %0 batch [] [] contract [1] [0] : (!graph.tensor<[M, 64], f16>, !graph.tensor<[64, 96], f16>) -> !graph.tensor<[M, 96], f16>
  func.return %1 : !graph.tensor<[M, 96], f16>
}

// -----

// A scale for 32 positions of the contracted axis stays in the factor; the axis becomes two.
// CHECK-LABEL: @blocks
func.func @blocks(%x: !graph.tensor<[M, 64], f32>, %w: !graph.tensor<[64, 96], ui8>, %s: !graph.tensor<[2, 96], f32>, %z: !graph.tensor<[2, 96], ui8>) -> !graph.tensor<[M, 96], f32> {
  // CHECK-DAG:  graph.reshape %w {{.*}} -> !graph.tensor<[2, 32, 96], ui8>
  // CHECK-DAG:  graph.reshape %z {{.*}} -> !graph.tensor<[2, 1, 96], ui8>
  // CHECK-DAG:  graph.reshape %x {{.*}} -> !graph.tensor<[M, 2, 32], f32>
  // CHECK:      graph.sub
  // CHECK:      graph.mul
  // CHECK:      graph.dot {{.*}} batch [] [] contract [1, 2] [0, 1]
  // CHECK-NEXT: func.return
  %0 = graph.dequantize %w, %s zero %z axis 0 block 32 : (!graph.tensor<[64, 96], ui8>, !graph.tensor<[2, 96], f32>, !graph.tensor<[2, 96], ui8>) -> !graph.tensor<[64, 96], f32>
  %1 = graph.dot %x, %0 batch [] [] contract [1] [0] : (!graph.tensor<[M, 64], f32>, !graph.tensor<[64, 96], f32>) -> !graph.tensor<[M, 96], f32>
  func.return %1 : !graph.tensor<[M, 96], f32>
}

// -----

// What else is read as floats stays.
// CHECK-LABEL: @read_elsewhere
func.func @read_elsewhere(%x: !graph.tensor<[M, 64], f32>, %w: !graph.tensor<[64, 96], i8>, %s: !graph.tensor<[96], f32>) -> (!graph.tensor<[M, 96], f32>, !graph.tensor<[64, 96], f32>) {
  // CHECK:      %[[W:.*]] = graph.dequantize
  // CHECK-NEXT: graph.dot %x, %[[W]]
  // CHECK-NEXT: func.return
  %0 = graph.dequantize %w, %s axis 1 : (!graph.tensor<[64, 96], i8>, !graph.tensor<[96], f32>) -> !graph.tensor<[64, 96], f32>
  %1 = graph.dot %x, %0 batch [] [] contract [1] [0] : (!graph.tensor<[M, 64], f32>, !graph.tensor<[64, 96], f32>) -> !graph.tensor<[M, 96], f32>
  func.return %1, %0 : !graph.tensor<[M, 96], f32>, !graph.tensor<[64, 96], f32>
}
