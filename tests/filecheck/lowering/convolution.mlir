// RUN: infini-opt %s -p graph-to-tile --split-input-file | filecheck %s

// The padding is made once around a copy in channels-last order; the kernel reads overlapping
// windows of that buffer through strides, and is a product over the rows and columns of taps.
// CHECK-LABEL: tile.kernel @conv_3x3
// CHECK-SAME:  !tile.view<[9, 9, 3, 3, 3], f32, strides [33, 3, 33, 3, 1]>
// CHECK-SAME:  9 by BH
// CHECK-SAME:  9 by BW
// CHECK:       tile.for %{{.*}} by <[1]>
// CHECK:       tile.for %{{.*}} by <[1]>
// CHECK:       tile.for %{{.*}} by <[BK]>
// CHECK:       tile.load %{{.*}} axes [0, 1, 4]
// CHECK:       tile.dot
// CHECK-LABEL: tile.program @main
// CHECK:       [[PADDED:%.*]] = tile.alloc : !tile.view<[1, 11, 11, 3], f32>
// CHECK:       tile.launch @fill
// CHECK:       tile.launch @copy
// CHECK:       tile.alias [[PADDED]] offset <[0]>
// CHECK:       tile.launch @conv_3x3
func.func @main(%x: !graph.tensor<[1, 3, 9, 9], f32>, %w: !graph.tensor<[8, 3, 3, 3], f32>) -> !graph.tensor<[1, 8, 9, 9], f32> {
  %y = graph.conv channels_first %x, %w groups 1 strides [1, 1] dilations [1, 1] lo <[1, 1]> hi <[1, 1]> input_dilation [1, 1] : (!graph.tensor<[1, 3, 9, 9], f32>, !graph.tensor<[8, 3, 3, 3], f32>) -> !graph.tensor<[1, 8, 9, 9], f32>
  func.return %y : !graph.tensor<[1, 8, 9, 9], f32>
}
