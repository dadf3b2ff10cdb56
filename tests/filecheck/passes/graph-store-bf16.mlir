// RUN: infini-opt %s -p graph-fuse,graph-store-bf16 --split-input-file | filecheck %s

// What goes from one product to the next is bf16, sums and biases are f32, and so are the
// function's input and output.
// CHECK-LABEL: @layers
func.func @layers(%x: !graph.tensor<[M, 64], f32>, %b: !graph.tensor<[96], f32>) -> !graph.tensor<[M, 32], f32> {
  // CHECK:      %[[X:.*]] = graph.fusion %x "stored as bf16" : (!graph.tensor<[M, 64], f32>) -> !graph.tensor<[M, 64], bf16>
  // CHECK:      %[[V:.*]] = graph.cast %w {{.*}} -> !graph.tensor<[64, 96], bf16>
  // CHECK:      %[[U:.*]] = graph.cast %u {{.*}} -> !graph.tensor<[96, 32], bf16>
  // CHECK:      graph.fusion %[[X]], %[[V]], %b {{.*}} : (!graph.tensor<[M, 64], bf16>, !graph.tensor<[64, 96], bf16>, !graph.tensor<[96], f32>) -> !graph.tensor<[M, 96], bf16>
  // CHECK:      graph.dot {{.*}} : (!graph.tensor<[M, 64], bf16>, !graph.tensor<[64, 96], bf16>) -> !graph.tensor<[M, 96], f32>
  // CHECK:      graph.add {{.*}} f32>
  // CHECK-NEXT: graph.cast {{.*}} -> !graph.tensor<[M, 96], bf16>
  // CHECK:      graph.fusion {{.*}} -> !graph.tensor<[M, 32], f32>
  %w = graph.weight "w" : !graph.tensor<[64, 96], f32>
  %u = graph.weight "u" : !graph.tensor<[96, 32], f32>
  %0 = graph.dot %x, %w batch [] [] contract [1] [0] : (!graph.tensor<[M, 64], f32>, !graph.tensor<[64, 96], f32>) -> !graph.tensor<[M, 96], f32>
  %1 = graph.broadcast %b : (!graph.tensor<[96], f32>) -> !graph.tensor<[M, 96], f32>
  %2 = graph.add %0, %1 : !graph.tensor<[M, 96], f32>
  %3 = graph.dot %2, %u batch [] [] contract [1] [0] : (!graph.tensor<[M, 96], f32>, !graph.tensor<[96, 32], f32>) -> !graph.tensor<[M, 32], f32>
  func.return %3 : !graph.tensor<[M, 32], f32>
}

// -----

// A value that is also an output is stored twice; views of it are of the one wanted.
// CHECK-LABEL: @output_and_factor
func.func @output_and_factor(%x: !graph.tensor<[32, 64], f32>, %w: !graph.tensor<[64, 32], f32>) -> (!graph.tensor<[64, 32], f32>, !graph.tensor<[64, 64], f32>) {
  // CHECK:      %[[T:.*]], %[[N:.*]] = graph.fusion %x "one operation" : (!graph.tensor<[32, 64], f32>) -> (!graph.tensor<[32, 64], bf16>, !graph.tensor<[32, 64], f32>)
  // CHECK:      graph.transpose %[[T]] {{.*}} -> !graph.tensor<[64, 32], bf16>
  // CHECK:      graph.transpose %[[N]] {{.*}} -> !graph.tensor<[64, 32], f32>
  // CHECK:      graph.dot {{.*}} : (!graph.tensor<[64, 32], bf16>, !graph.tensor<[64, 32], bf16>)
  %0 = graph.exp %x : !graph.tensor<[32, 64], f32>
  %1 = graph.transpose %0 [1, 0] : (!graph.tensor<[32, 64], f32>) -> !graph.tensor<[64, 32], f32>
  %2 = graph.dot %1, %w batch [] [] contract [1] [1] : (!graph.tensor<[64, 32], f32>, !graph.tensor<[64, 32], f32>) -> !graph.tensor<[64, 64], f32>
  func.return %1, %2 : !graph.tensor<[64, 32], f32>, !graph.tensor<[64, 64], f32>
}

// -----

// A maximum of bf16 is one; the filter of a depthwise convolution stays f32.
// CHECK-LABEL: @windows
func.func @windows(%x: !graph.tensor<[1, 16, 16, 64], f32>) -> !graph.tensor<[1, 16, 16, 64], f32> {
  // CHECK:      graph.pool max channels_last {{.*}} : (!graph.tensor<[1, 16, 16, 64], bf16>) -> !graph.tensor<[1, 16, 16, 64], bf16>
  // CHECK-NOT:  graph.cast
  // CHECK:      graph.conv channels_last {{.*}} : (!graph.tensor<[1, 16, 16, 64], bf16>, !graph.tensor<[3, 3, 1, 64], f32>) -> !graph.tensor<[1, 16, 16, 64], f32>
  %w = graph.weight "w" : !graph.tensor<[3, 3, 1, 64], f32>
  %0 = graph.exp %x : !graph.tensor<[1, 16, 16, 64], f32>
  %1 = graph.pool max channels_last %0 sizes [3, 3] strides [1, 1] dilations [1, 1] lo <[1, 1]> hi <[1, 1]> : (!graph.tensor<[1, 16, 16, 64], f32>) -> !graph.tensor<[1, 16, 16, 64], f32>
  %2 = graph.conv channels_last %1, %w groups 64 strides [1, 1] dilations [1, 1] lo <[1, 1]> hi <[1, 1]> input_dilation [1, 1] : (!graph.tensor<[1, 16, 16, 64], f32>, !graph.tensor<[3, 3, 1, 64], f32>) -> !graph.tensor<[1, 16, 16, 64], f32>
  func.return %2 : !graph.tensor<[1, 16, 16, 64], f32>
}

// -----

// Positions and a mask with the least f32 stay f32, and so does a product of positions.
// CHECK-LABEL: @positions
func.func @positions(%i: !graph.tensor<[S, 64], i64>, %w: !graph.tensor<[64, 64], f32>, %v: !graph.tensor<[64, 64], f32>) -> !graph.tensor<[S, 64], f32> {
  // CHECK-NOT:  bf16
  // CHECK:      return
  %0 = graph.cast %i saturate : (!graph.tensor<[S, 64], i64>) -> !graph.tensor<[S, 64], f32>
  %1 = graph.dot %0, %w batch [] [] contract [1] [0] : (!graph.tensor<[S, 64], f32>, !graph.tensor<[64, 64], f32>) -> !graph.tensor<[S, 64], f32>
  func.return %1 : !graph.tensor<[S, 64], f32>
}

// -----

// Keys and values of a cache that is an input are read as they are.
// CHECK-LABEL: @cache
func.func @cache(%x: !graph.tensor<[1, 2, 1, 64], f32>, %k: !graph.tensor<[1, 2, S, 64], f32>) -> !graph.tensor<[1, 2, 1, 64], f32> {
  // CHECK:      graph.attention {{.*}} -> !graph.tensor<[1, 2, 1, 64], f32>
  %0 = graph.exp %x : !graph.tensor<[1, 2, 1, 64], f32>
  %1 = graph.attention %0, %k, %k scale 0.125 : !graph.tensor<[1, 2, 1, 64], f32>, !graph.tensor<[1, 2, S, 64], f32>, !graph.tensor<[1, 2, S, 64], f32> -> !graph.tensor<[1, 2, 1, 64], f32>
  func.return %1 : !graph.tensor<[1, 2, 1, 64], f32>
}

// -----

// What only products of a loop's body read is carried in bf16; sums over steps are not.
// CHECK-LABEL: @recurrence
func.func @recurrence(%h: !graph.tensor<[4, 64], f32>, %c: !graph.tensor<[4, 64], f32>, %w: !graph.tensor<[64, 64], f32>) -> !graph.tensor<[4, 64], f32> {
  // CHECK:      graph.scan carried({{.*}} : !graph.tensor<[4, 64], bf16>, !graph.tensor<[4, 64], f32>) {{.*}} -> (!graph.tensor<[4, 64], bf16>, !graph.tensor<[4, 64], f32>)
  // CHECK:      graph.fusion {{.*}} -> (!graph.tensor<[4, 64], f32>, !graph.tensor<[4, 64], bf16>)
  // CHECK:      graph.cast {{.*}} -> !graph.tensor<[4, 64], f32>
  // CHECK:      func.return
  %0, %1 = graph.scan carried(%h, %c : !graph.tensor<[4, 64], f32>, !graph.tensor<[4, 64], f32>) over() length <[8]> -> (!graph.tensor<[4, 64], f32>, !graph.tensor<[4, 64], f32>) {
  ^bb0(%i: !graph.tensor<[], i64>, %a: !graph.tensor<[4, 64], f32>, %s: !graph.tensor<[4, 64], f32>):
    %2 = graph.dot %a, %w batch [] [] contract [1] [0] : (!graph.tensor<[4, 64], f32>, !graph.tensor<[64, 64], f32>) -> !graph.tensor<[4, 64], f32>
    %3 = graph.add %s, %2 : !graph.tensor<[4, 64], f32>
    %4 = graph.tanh %3 : !graph.tensor<[4, 64], f32>
    graph.yield %4, %3 : !graph.tensor<[4, 64], f32>, !graph.tensor<[4, 64], f32>
  }
  func.return %0 : !graph.tensor<[4, 64], f32>
}
