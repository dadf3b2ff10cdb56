// RUN: infini-opt %s -p graph-fuse --split-input-file | filecheck %s

// What follows a product elementwise becomes one kernel with it.
// CHECK-LABEL: @epilogue
func.func @epilogue(%x: !graph.tensor<[N, 300], f32>, %r: !graph.tensor<[N, 400], f32>) -> !graph.tensor<[N, 400], f32> {
  // CHECK: graph.fusion %x, %w, %b, %r "bias add, relu, add into dot: saves 9600*N bytes of traffic"
  // CHECK: graph.dot
  // CHECK-NEXT: graph.broadcast
  // CHECK-NEXT: graph.add
  // CHECK: graph.max
  // CHECK-NEXT: graph.add
  // CHECK-NEXT: graph.yield
  %w = graph.weight "w" : !graph.tensor<[300, 400], f32>
  %b = graph.weight "b" : !graph.tensor<[400], f32>
  %z = graph.constant <[0.0]> : !graph.tensor<[], f32>
  %0 = graph.dot %x, %w batch [] [] contract [1] [0] : (!graph.tensor<[N, 300], f32>, !graph.tensor<[300, 400], f32>) -> !graph.tensor<[N, 400], f32>
  %1 = graph.broadcast %b : (!graph.tensor<[400], f32>) -> !graph.tensor<[N, 400], f32>
  %2 = graph.add %0, %1 : !graph.tensor<[N, 400], f32>
  %3 = graph.broadcast %z : (!graph.tensor<[], f32>) -> !graph.tensor<[N, 400], f32>
  %4 = graph.max %2, %3 : !graph.tensor<[N, 400], f32>
  %5 = graph.add %4, %r : !graph.tensor<[N, 400], f32>
  func.return %5 : !graph.tensor<[N, 400], f32>
}

// -----

// Of two products, the one computed last takes their sum; what comes before a product stays out.
// CHECK-LABEL: @two_products
func.func @two_products(%x: !graph.tensor<[N, 8], f32>, %w: !graph.tensor<[8, 8], f32>) -> !graph.tensor<[N, 8], f32> {
  // CHECK-NEXT: %[[A:.*]] = graph.dot
  // CHECK-NEXT: %[[E:.*]] = graph.exp %x
  // CHECK-NEXT: graph.fusion %[[E]], %w, %[[A]]
  %0 = graph.dot %x, %w batch [] [] contract [1] [0] : (!graph.tensor<[N, 8], f32>, !graph.tensor<[8, 8], f32>) -> !graph.tensor<[N, 8], f32>
  %1 = graph.exp %x : !graph.tensor<[N, 8], f32>
  %2 = graph.dot %1, %w batch [] [] contract [1] [0] : (!graph.tensor<[N, 8], f32>, !graph.tensor<[8, 8], f32>) -> !graph.tensor<[N, 8], f32>
  %3 = graph.add %0, %2 : !graph.tensor<[N, 8], f32>
  func.return %3 : !graph.tensor<[N, 8], f32>
}

// -----

// A normalisation over rows, with what makes its input, which is wanted too.
// CHECK-LABEL: @rows
func.func @rows(%x: !graph.tensor<[B, S], f32>, %y: !graph.tensor<[B, S], f32>) -> (!graph.tensor<[B, S], f32>, !graph.tensor<[B, S], f32>) {
  // CHECK-NEXT: %[[F:.*]], %{{.*}} = graph.fusion %x, %y
  // CHECK: graph.add
  // CHECK-NEXT: graph.reduce max
  // CHECK-NEXT: graph.reshape
  // CHECK-NEXT: graph.broadcast
  // CHECK-NEXT: graph.sub
  // CHECK-NEXT: graph.yield
  // CHECK: func.return
  %0 = graph.add %x, %y : !graph.tensor<[B, S], f32>
  %1 = graph.reduce max %0 axes [1] : (!graph.tensor<[B, S], f32>) -> !graph.tensor<[B], f32>
  %2 = graph.reshape %1 : (!graph.tensor<[B], f32>) -> !graph.tensor<[B, 1], f32>
  %3 = graph.broadcast %2 : (!graph.tensor<[B, 1], f32>) -> !graph.tensor<[B, S], f32>
  %4 = graph.sub %0, %3 : !graph.tensor<[B, S], f32>
  func.return %0, %4 : !graph.tensor<[B, S], f32>, !graph.tensor<[B, S], f32>
}

// -----

// The maxima of rows are repeated down the columns: not within one kernel of rows.
// CHECK-LABEL: @square
func.func @square(%x: !graph.tensor<[S, S], f32>) -> !graph.tensor<[S, S], f32> {
  // CHECK-NEXT: %[[M:.*]] = graph.reduce max %x
  // CHECK-NEXT: graph.fusion %x, %[[M]]
  %0 = graph.reduce max %x axes [1] : (!graph.tensor<[S, S], f32>) -> !graph.tensor<[S], f32>
  %1 = graph.broadcast %0 : (!graph.tensor<[S], f32>) -> !graph.tensor<[S, S], f32>
  %2 = graph.sub %x, %1 : !graph.tensor<[S, S], f32>
  func.return %2 : !graph.tensor<[S, S], f32>
}

// -----

// Putting the first and the last operation together would leave the product inside a cycle.
// CHECK-LABEL: @cycle
func.func @cycle(%x: !graph.tensor<[N, 8], f32>, %w: !graph.tensor<[8, 8], f32>) -> !graph.tensor<[N, 8], f32> {
  // CHECK-NEXT: %[[E:.*]] = graph.exp %x
  // CHECK-NEXT: graph.fusion %[[E]], %w "add into dot
  // CHECK: func.return
  %0 = graph.exp %x : !graph.tensor<[N, 8], f32>
  %1 = graph.dot %0, %w batch [] [] contract [1] [0] : (!graph.tensor<[N, 8], f32>, !graph.tensor<[8, 8], f32>) -> !graph.tensor<[N, 8], f32>
  %2 = graph.add %0, %1 : !graph.tensor<[N, 8], f32>
  func.return %2 : !graph.tensor<[N, 8], f32>
}

// -----

// A cheap cast is computed in both kernels that read it; an exponential is not.
// CHECK-LABEL: @copies
func.func @copies(%a: !graph.tensor<[N, 8], i8>, %x: !graph.tensor<[N, 8], f32>, %w: !graph.tensor<[8, 8], f32>) -> (!graph.tensor<[N, 8], f32>, !graph.tensor<[N, 8], f32>) {
  // CHECK: graph.exp
  // CHECK: graph.fusion
  // CHECK: graph.cast
  // CHECK: graph.fusion
  // CHECK: graph.cast
  %0 = graph.cast %a saturate : (!graph.tensor<[N, 8], i8>) -> !graph.tensor<[N, 8], f32>
  %e = graph.exp %x : !graph.tensor<[N, 8], f32>
  %1 = graph.dot %e, %w batch [] [] contract [1] [0] : (!graph.tensor<[N, 8], f32>, !graph.tensor<[8, 8], f32>) -> !graph.tensor<[N, 8], f32>
  %2 = graph.add %0, %1 : !graph.tensor<[N, 8], f32>
  %3 = graph.dot %2, %w batch [] [] contract [1] [0] : (!graph.tensor<[N, 8], f32>, !graph.tensor<[8, 8], f32>) -> !graph.tensor<[N, 8], f32>
  %4 = graph.mul %0, %3 : !graph.tensor<[N, 8], f32>
  func.return %2, %4 : !graph.tensor<[N, 8], f32>, !graph.tensor<[N, 8], f32>
}

// -----

// Bodies of loops are fused too.
// CHECK-LABEL: @loop
func.func @loop(%x: !graph.tensor<[N], f32>) -> !graph.tensor<[N], f32> {
  // CHECK: graph.scan
  // CHECK: graph.fusion %{{.*}} "neg, exp: saves 8*N bytes of traffic"
  %0 = graph.scan carried(%x : !graph.tensor<[N], f32>) over() length <[4]> -> (!graph.tensor<[N], f32>) {
  ^bb0(%n: !graph.tensor<[], i64>, %c: !graph.tensor<[N], f32>):
    %1 = graph.neg %c : !graph.tensor<[N], f32>
    %2 = graph.exp %1 : !graph.tensor<[N], f32>
    graph.yield %2 : !graph.tensor<[N], f32>
  }
  func.return %0 : !graph.tensor<[N], f32>
}
