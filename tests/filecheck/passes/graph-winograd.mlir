// RUN: infini-opt %s -p graph-winograd --split-input-file | filecheck %s

// Many channels: the 16 products of a tile cost less than the 36 that they stand for.
// CHECK-LABEL: @many
func.func @many(%x: !graph.tensor<[1, 28, 28, 64], f32>) -> !graph.tensor<[1, 28, 28, 64], f32> {
  // CHECK: graph.conv channels_last {{.*}} input_dilation [1, 1] winograd "about 1.{{[0-9]+}} times as fast as 9 products a result"
  %w = graph.weight "w" : !graph.tensor<[3, 3, 64, 64], f32>
  %0 = graph.conv channels_last %x, %w groups 1 strides [1, 1] dilations [1, 1] lo <[1, 1]> hi <[1, 1]> input_dilation [1, 1] : (!graph.tensor<[1, 28, 28, 64], f32>, !graph.tensor<[3, 3, 64, 64], f32>) -> !graph.tensor<[1, 28, 28, 64], f32>
  func.return %0 : !graph.tensor<[1, 28, 28, 64], f32>
}

// -----

// Few channels: transforming them takes longer than it saves.
// CHECK-LABEL: @few
func.func @few(%x: !graph.tensor<[1, 28, 28, 4], f32>) -> !graph.tensor<[1, 28, 28, 8], f32> {
  // CHECK-NOT: winograd
  %w = graph.weight "w" : !graph.tensor<[3, 3, 4, 8], f32>
  %0 = graph.conv channels_last %x, %w groups 1 strides [1, 1] dilations [1, 1] lo <[1, 1]> hi <[1, 1]> input_dilation [1, 1] : (!graph.tensor<[1, 28, 28, 4], f32>, !graph.tensor<[3, 3, 4, 8], f32>) -> !graph.tensor<[1, 28, 28, 8], f32>
  func.return %0 : !graph.tensor<[1, 28, 28, 8], f32>
}

// -----

// Few positions: the filters, which grow, take too long to arrive.
// CHECK-LABEL: @small_image
func.func @small_image(%x: !graph.tensor<[1, 7, 7, 512], f32>) -> !graph.tensor<[1, 7, 7, 512], f32> {
  // CHECK-NOT: winograd
  %w = graph.weight "w" : !graph.tensor<[3, 3, 512, 512], f32>
  %0 = graph.conv channels_last %x, %w groups 1 strides [1, 1] dilations [1, 1] lo <[1, 1]> hi <[1, 1]> input_dilation [1, 1] : (!graph.tensor<[1, 7, 7, 512], f32>, !graph.tensor<[3, 3, 512, 512], f32>) -> !graph.tensor<[1, 7, 7, 512], f32>
  func.return %0 : !graph.tensor<[1, 7, 7, 512], f32>
}

// -----

// Not with a stride, not in another type, not for images of unknown size.
// CHECK-LABEL: @others
func.func @others(%x: !graph.tensor<[1, 28, 28, 64], f32>, %h: !graph.tensor<[1, 28, 28, 64], f16>, %n: !graph.tensor<[N, 28, 28, 64], f32>)
    -> (!graph.tensor<[1, 14, 14, 64], f32>, !graph.tensor<[1, 28, 28, 64], f16>, !graph.tensor<[N, 28, 28, 64], f32>) {
  // CHECK-NOT: winograd
  %w = graph.weight "w" : !graph.tensor<[3, 3, 64, 64], f32>
  %v = graph.weight "v" : !graph.tensor<[3, 3, 64, 64], f16>
  %0 = graph.conv channels_last %x, %w groups 1 strides [2, 2] dilations [1, 1] lo <[1, 1]> hi <[1, 1]> input_dilation [1, 1] : (!graph.tensor<[1, 28, 28, 64], f32>, !graph.tensor<[3, 3, 64, 64], f32>) -> !graph.tensor<[1, 14, 14, 64], f32>
  %1 = graph.conv channels_last %h, %v groups 1 strides [1, 1] dilations [1, 1] lo <[1, 1]> hi <[1, 1]> input_dilation [1, 1] : (!graph.tensor<[1, 28, 28, 64], f16>, !graph.tensor<[3, 3, 64, 64], f16>) -> !graph.tensor<[1, 28, 28, 64], f16>
  %2 = graph.conv channels_last %n, %w groups 1 strides [1, 1] dilations [1, 1] lo <[1, 1]> hi <[1, 1]> input_dilation [1, 1] : (!graph.tensor<[N, 28, 28, 64], f32>, !graph.tensor<[3, 3, 64, 64], f32>) -> !graph.tensor<[N, 28, 28, 64], f32>
  func.return %0, %1, %2 : !graph.tensor<[1, 14, 14, 64], f32>, !graph.tensor<[1, 28, 28, 64], f16>, !graph.tensor<[N, 28, 28, 64], f32>
}
