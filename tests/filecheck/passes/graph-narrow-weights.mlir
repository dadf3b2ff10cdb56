// RUN: infini-opt %s -p 'graph-fold-constants{keep-bytes=true keep-nibbles=true},graph-fuse{byte-factors=true}' --split-input-file | filecheck %s

// Zero points and scales of blocks stay as narrow as the weight that they belong to: the product's
// kernel makes floats of all three.
// CHECK-LABEL: @blocks
func.func @blocks(%x: !graph.tensor<[M, 64, 32], f32>) -> !graph.tensor<[M, 96], f32> {
  // CHECK-DAG:  %[[W:.*]] = graph.weight "w" : !graph.tensor<[64, 32, 96], ui4>
  // CHECK-DAG:  %[[Z:.*]] = graph.weight "z" : !graph.tensor<[64, 1, 96], ui4>
  // CHECK-DAG:  %[[S:.*]] = graph.weight "s" : !graph.tensor<[64, 1, 96], f16>
  // CHECK:      graph.fusion %x, %[[W]], %[[Z]], %[[S]]
  // CHECK:      graph.dot
  // CHECK:      func.return
  %w = graph.weight "w" : !graph.tensor<[64, 32, 96], ui4>
  %z = graph.weight "z" : !graph.tensor<[64, 1, 96], ui4>
  %s = graph.weight "s" : !graph.tensor<[64, 1, 96], f16>
  %0 = graph.cast %w saturate : (!graph.tensor<[64, 32, 96], ui4>) -> !graph.tensor<[64, 32, 96], f32>
  %1 = graph.cast %z saturate : (!graph.tensor<[64, 1, 96], ui4>) -> !graph.tensor<[64, 1, 96], f32>
  %2 = graph.broadcast %1 : (!graph.tensor<[64, 1, 96], f32>) -> !graph.tensor<[64, 32, 96], f32>
  %3 = graph.sub %0, %2 : !graph.tensor<[64, 32, 96], f32>
  %4 = graph.cast %s saturate : (!graph.tensor<[64, 1, 96], f16>) -> !graph.tensor<[64, 1, 96], f32>
  %5 = graph.broadcast %4 : (!graph.tensor<[64, 1, 96], f32>) -> !graph.tensor<[64, 32, 96], f32>
  %6 = graph.mul %3, %5 : !graph.tensor<[64, 32, 96], f32>
  %7 = graph.dot %x, %6 batch [] [] contract [1, 2] [0, 1] : (!graph.tensor<[M, 64, 32], f32>, !graph.tensor<[64, 32, 96], f32>) -> !graph.tensor<[M, 96], f32>
  func.return %7 : !graph.tensor<[M, 96], f32>
}

// -----

// Zero points of columns are few: as floats they are ready.
// CHECK-LABEL: @columns
func.func @columns(%x: !graph.tensor<[M, 64], f32>) -> !graph.tensor<[M, 96], f32> {
  // CHECK-DAG:  graph.weight "w" : !graph.tensor<[64, 96], ui4>
  // CHECK-DAG:  graph.weight "z.cast.{{.*}}" : !graph.tensor<[1, 96], f32>
  // CHECK:      graph.fusion
  %w = graph.weight "w" : !graph.tensor<[64, 96], ui4>
  %z = graph.weight "z" : !graph.tensor<[1, 96], ui4>
  %0 = graph.cast %w saturate : (!graph.tensor<[64, 96], ui4>) -> !graph.tensor<[64, 96], f32>
  %1 = graph.cast %z saturate : (!graph.tensor<[1, 96], ui4>) -> !graph.tensor<[1, 96], f32>
  %2 = graph.broadcast %1 : (!graph.tensor<[1, 96], f32>) -> !graph.tensor<[64, 96], f32>
  %3 = graph.sub %0, %2 : !graph.tensor<[64, 96], f32>
  %4 = graph.dot %x, %3 batch [] [] contract [1] [0] : (!graph.tensor<[M, 64], f32>, !graph.tensor<[64, 96], f32>) -> !graph.tensor<[M, 96], f32>
  func.return %4 : !graph.tensor<[M, 96], f32>
}

// -----

// Zero points that something else reads as floats.
// CHECK-LABEL: @read_elsewhere
func.func @read_elsewhere(%x: !graph.tensor<[M, 64, 32], f32>) -> (!graph.tensor<[M, 96], f32>, !graph.tensor<[64, 1, 96], f32>) {
  // CHECK-DAG:  graph.weight "z.cast.{{.*}}" : !graph.tensor<[64, 1, 96], f32>
  %w = graph.weight "w" : !graph.tensor<[64, 32, 96], ui4>
  %z = graph.weight "z" : !graph.tensor<[64, 1, 96], ui4>
  %0 = graph.cast %w saturate : (!graph.tensor<[64, 32, 96], ui4>) -> !graph.tensor<[64, 32, 96], f32>
  %1 = graph.cast %z saturate : (!graph.tensor<[64, 1, 96], ui4>) -> !graph.tensor<[64, 1, 96], f32>
  %2 = graph.broadcast %1 : (!graph.tensor<[64, 1, 96], f32>) -> !graph.tensor<[64, 32, 96], f32>
  %3 = graph.sub %0, %2 : !graph.tensor<[64, 32, 96], f32>
  %4 = graph.dot %x, %3 batch [] [] contract [1, 2] [0, 1] : (!graph.tensor<[M, 64, 32], f32>, !graph.tensor<[64, 32, 96], f32>) -> !graph.tensor<[M, 96], f32>
  func.return %4, %1 : !graph.tensor<[M, 96], f32>, !graph.tensor<[64, 1, 96], f32>
}
