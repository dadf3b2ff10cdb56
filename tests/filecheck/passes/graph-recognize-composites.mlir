// RUN: infini-opt %s -p graph-recognize-composites --split-input-file | filecheck %s

// CHECK-LABEL: @layer_norm
func.func @layer_norm(%x: !graph.tensor<[B, 10], f32>, %s: !graph.tensor<[10], f32>, %b: !graph.tensor<[10], f32>) -> !graph.tensor<[B, 10], f32> {
  // CHECK-NEXT: graph.layer_norm %x scale %s : !graph.tensor<[10], f32> bias %b : !graph.tensor<[10], f32> axis 1 epsilon 1.000000e-05
  // CHECK-NEXT: func.return
  %n = graph.constant <[10.0]> : !graph.tensor<[], f32>
  %e = graph.constant <[1.0e-05]> : !graph.tensor<[], f32>
  %ns = graph.broadcast %n : (!graph.tensor<[], f32>) -> !graph.tensor<[B, 1], f32>
  %es = graph.broadcast %e : (!graph.tensor<[], f32>) -> !graph.tensor<[B, 1], f32>
  %0 = graph.reduce sum %x axes [1] keep : (!graph.tensor<[B, 10], f32>) -> !graph.tensor<[B, 1], f32>
  %1 = graph.div %0, %ns : !graph.tensor<[B, 1], f32>
  %2 = graph.broadcast %1 : (!graph.tensor<[B, 1], f32>) -> !graph.tensor<[B, 10], f32>
  %3 = graph.sub %x, %2 : !graph.tensor<[B, 10], f32>
  %4 = graph.mul %3, %3 : !graph.tensor<[B, 10], f32>
  %5 = graph.reduce sum %4 axes [1] keep : (!graph.tensor<[B, 10], f32>) -> !graph.tensor<[B, 1], f32>
  %6 = graph.div %5, %ns : !graph.tensor<[B, 1], f32>
  %7 = graph.add %6, %es : !graph.tensor<[B, 1], f32>
  %8 = graph.sqrt %7 : !graph.tensor<[B, 1], f32>
  %9 = graph.broadcast %8 : (!graph.tensor<[B, 1], f32>) -> !graph.tensor<[B, 10], f32>
  %10 = graph.div %3, %9 : !graph.tensor<[B, 10], f32>
  %11 = graph.broadcast %s : (!graph.tensor<[10], f32>) -> !graph.tensor<[B, 10], f32>
  %12 = graph.mul %10, %11 : !graph.tensor<[B, 10], f32>
  %13 = graph.broadcast %b : (!graph.tensor<[10], f32>) -> !graph.tensor<[B, 10], f32>
  %14 = graph.add %12, %13 : !graph.tensor<[B, 10], f32>
  func.return %14 : !graph.tensor<[B, 10], f32>
}

// -----

// CHECK-LABEL: @rms_norm
func.func @rms_norm(%x: !graph.tensor<[B, 8], f32>, %s: !graph.tensor<[8], f32>) -> !graph.tensor<[B, 8], f32> {
  // CHECK-NEXT: graph.rms_norm %x scale %s axis 1
  // CHECK-NEXT: func.return
  %n = graph.constant <[0.125]> : !graph.tensor<[], f32>
  %e = graph.constant <[1.0e-06]> : !graph.tensor<[], f32>
  %ns = graph.broadcast %n : (!graph.tensor<[], f32>) -> !graph.tensor<[B, 1], f32>
  %es = graph.broadcast %e : (!graph.tensor<[], f32>) -> !graph.tensor<[B, 1], f32>
  %0 = graph.mul %x, %x : !graph.tensor<[B, 8], f32>
  %1 = graph.reduce sum %0 axes [1] keep : (!graph.tensor<[B, 8], f32>) -> !graph.tensor<[B, 1], f32>
  %2 = graph.mul %1, %ns : !graph.tensor<[B, 1], f32>
  %3 = graph.add %2, %es : !graph.tensor<[B, 1], f32>
  %4 = graph.rsqrt %3 : !graph.tensor<[B, 1], f32>
  %5 = graph.broadcast %4 : (!graph.tensor<[B, 1], f32>) -> !graph.tensor<[B, 8], f32>
  %6 = graph.mul %x, %5 : !graph.tensor<[B, 8], f32>
  %7 = graph.broadcast %s : (!graph.tensor<[8], f32>) -> !graph.tensor<[B, 8], f32>
  %8 = graph.mul %7, %6 : !graph.tensor<[B, 8], f32>
  func.return %8 : !graph.tensor<[B, 8], f32>
}

// -----

// Not the mean that the normalisation wants: it divides by 9 of 8 elements.
// CHECK-LABEL: @no_mean
func.func @no_mean(%x: !graph.tensor<[8], f32>) -> !graph.tensor<[8], f32> {
  // CHECK-NOT: graph.rms_norm
  // CHECK: func.return
  %n = graph.constant <[9.0]> : !graph.tensor<[1], f32>
  %e = graph.constant <[1.0e-06]> : !graph.tensor<[1], f32>
  %0 = graph.mul %x, %x : !graph.tensor<[8], f32>
  %1 = graph.reduce sum %0 axes [0] keep : (!graph.tensor<[8], f32>) -> !graph.tensor<[1], f32>
  %2 = graph.div %1, %n : !graph.tensor<[1], f32>
  %3 = graph.add %2, %e : !graph.tensor<[1], f32>
  %4 = graph.rsqrt %3 : !graph.tensor<[1], f32>
  %5 = graph.broadcast %4 : (!graph.tensor<[1], f32>) -> !graph.tensor<[8], f32>
  %6 = graph.mul %x, %5 : !graph.tensor<[8], f32>
  func.return %6 : !graph.tensor<[8], f32>
}

// -----

// CHECK-LABEL: @gelu
func.func @gelu(%x: !graph.tensor<[1], f32>) -> (!graph.tensor<[1], f32>, !graph.tensor<[1], f32>) {
  // CHECK-NEXT: graph.gelu %x :
  // CHECK-NEXT: graph.gelu %x tanh
  // CHECK-NEXT: func.return
  %half = graph.constant <[0.5]> : !graph.tensor<[1], f32>
  %one = graph.constant <[1.0]> : !graph.tensor<[1], f32>
  %root = graph.constant <[1.4142135]> : !graph.tensor<[1], f32>
  %0 = graph.div %x, %root : !graph.tensor<[1], f32>
  %1 = graph.erf %0 : !graph.tensor<[1], f32>
  %2 = graph.add %1, %one : !graph.tensor<[1], f32>
  %3 = graph.mul %x, %2 : !graph.tensor<[1], f32>
  %4 = graph.mul %3, %half : !graph.tensor<[1], f32>
  %c = graph.constant <[0.044715]> : !graph.tensor<[1], f32>
  %k = graph.constant <[0.7978845608]> : !graph.tensor<[1], f32>
  %5 = graph.mul %x, %x : !graph.tensor<[1], f32>
  %6 = graph.mul %5, %c : !graph.tensor<[1], f32>
  %7 = graph.add %6, %one : !graph.tensor<[1], f32>
  %8 = graph.mul %x, %k : !graph.tensor<[1], f32>
  %9 = graph.mul %8, %7 : !graph.tensor<[1], f32>
  %10 = graph.tanh %9 : !graph.tensor<[1], f32>
  %11 = graph.add %one, %10 : !graph.tensor<[1], f32>
  %12 = graph.mul %x, %half : !graph.tensor<[1], f32>
  %13 = graph.mul %12, %11 : !graph.tensor<[1], f32>
  func.return %4, %13 : !graph.tensor<[1], f32>, !graph.tensor<[1], f32>
}

// -----

// CHECK-LABEL: @softmax
func.func @softmax(%x: !graph.tensor<[B, S], f32>) -> !graph.tensor<[B, S], f32> {
  // CHECK-NEXT: graph.softmax %x axis 1 :
  // CHECK-NEXT: func.return
  %0 = graph.reduce max %x axes [1] keep : (!graph.tensor<[B, S], f32>) -> !graph.tensor<[B, 1], f32>
  %1 = graph.broadcast %0 : (!graph.tensor<[B, 1], f32>) -> !graph.tensor<[B, S], f32>
  %2 = graph.sub %x, %1 : !graph.tensor<[B, S], f32>
  %3 = graph.exp %2 : !graph.tensor<[B, S], f32>
  %4 = graph.reduce sum %3 axes [1] keep : (!graph.tensor<[B, S], f32>) -> !graph.tensor<[B, 1], f32>
  %5 = graph.broadcast %4 : (!graph.tensor<[B, 1], f32>) -> !graph.tensor<[B, S], f32>
  %6 = graph.div %3, %5 : !graph.tensor<[B, S], f32>
  func.return %6 : !graph.tensor<[B, S], f32>
}

// -----

// Scaled scores, a mask of bools that selects, grouped heads.
// CHECK-LABEL: @attention
func.func @attention(%q: !graph.tensor<[B, 4, S, 8], f32>, %k: !graph.tensor<[B, 2, 1, T, 8], f32>, %v: !graph.tensor<[B, 2, 1, T, 8], f32>, %m: !graph.tensor<[B, 1, 1, T], i1>) -> !graph.tensor<[B, 4, S, 8], f32> {
  // CHECK-DAG: %[[K:.*]] = graph.reshape %k : (!graph.tensor<[B, 2, 1, T, 8], f32>) -> !graph.tensor<[B, 2, T, 8], f32>
  // CHECK-DAG: %[[V:.*]] = graph.reshape %v : (!graph.tensor<[B, 2, 1, T, 8], f32>) -> !graph.tensor<[B, 2, T, 8], f32>
  // CHECK: graph.attention %q, %[[K]], %[[V]] bias %m : !graph.tensor<[B, 1, 1, T], i1> scale 2.500000e-01
  %0 = graph.broadcast %k : (!graph.tensor<[B, 2, 1, T, 8], f32>) -> !graph.tensor<[B, 2, 2, T, 8], f32>
  %1 = graph.reshape %0 : (!graph.tensor<[B, 2, 2, T, 8], f32>) -> !graph.tensor<[B, 4, T, 8], f32>
  %2 = graph.broadcast %v : (!graph.tensor<[B, 2, 1, T, 8], f32>) -> !graph.tensor<[B, 2, 2, T, 8], f32>
  %3 = graph.reshape %2 : (!graph.tensor<[B, 2, 2, T, 8], f32>) -> !graph.tensor<[B, 4, T, 8], f32>
  %4 = graph.dot %q, %1 batch [0, 1] [0, 1] contract [3] [3] : (!graph.tensor<[B, 4, S, 8], f32>, !graph.tensor<[B, 4, T, 8], f32>) -> !graph.tensor<[B, 4, S, T], f32>
  %c = graph.constant <[4.0]> : !graph.tensor<[], f32>
  %5 = graph.broadcast %c : (!graph.tensor<[], f32>) -> !graph.tensor<[B, 4, S, T], f32>
  %6 = graph.div %4, %5 : !graph.tensor<[B, 4, S, T], f32>
  %7 = graph.broadcast %m : (!graph.tensor<[B, 1, 1, T], i1>) -> !graph.tensor<[B, 4, S, T], i1>
  %i = graph.constant <[-inf]> : !graph.tensor<[], f32>
  %8 = graph.broadcast %i : (!graph.tensor<[], f32>) -> !graph.tensor<[B, 4, S, T], f32>
  %9 = graph.select %7, %6, %8 : (!graph.tensor<[B, 4, S, T], i1>, !graph.tensor<[B, 4, S, T], f32>, !graph.tensor<[B, 4, S, T], f32>) -> !graph.tensor<[B, 4, S, T], f32>
  %10 = graph.softmax %9 axis 3 : (!graph.tensor<[B, 4, S, T], f32>) -> !graph.tensor<[B, 4, S, T], f32>
  %11 = graph.dot %10, %3 batch [0, 1] [0, 1] contract [3] [2] : (!graph.tensor<[B, 4, S, T], f32>, !graph.tensor<[B, 4, T, 8], f32>) -> !graph.tensor<[B, 4, S, 8], f32>
  func.return %11 : !graph.tensor<[B, 4, S, 8], f32>
}

// -----

// Keys with their axes in another order, a float bias and a soft cap; heads in the batch.
// CHECK-LABEL: @capped
func.func @capped(%q: !graph.tensor<[B, S, 8], f32>, %k: !graph.tensor<[B, 8, T], f32>, %v: !graph.tensor<[B, T, 8], f32>, %a: !graph.tensor<[S, T], f32>) -> !graph.tensor<[B, S, 8], f32> {
  // CHECK: graph.transpose %k [0, 2, 1]
  // CHECK: graph.attention
  // CHECK-SAME: bias %{{.*}} : !graph.tensor<[1, 1, S, T], f32> scale 1.000000e+00 softcap 2.000000e+00
  %0 = graph.dot %q, %k batch [0] [0] contract [2] [1] : (!graph.tensor<[B, S, 8], f32>, !graph.tensor<[B, 8, T], f32>) -> !graph.tensor<[B, S, T], f32>
  %c = graph.constant <[2.0]> : !graph.tensor<[], f32>
  %1 = graph.broadcast %c : (!graph.tensor<[], f32>) -> !graph.tensor<[B, S, T], f32>
  %2 = graph.div %0, %1 : !graph.tensor<[B, S, T], f32>
  %3 = graph.tanh %2 : !graph.tensor<[B, S, T], f32>
  %4 = graph.mul %3, %1 : !graph.tensor<[B, S, T], f32>
  %5 = graph.broadcast %a : (!graph.tensor<[S, T], f32>) -> !graph.tensor<[B, S, T], f32>
  %6 = graph.add %4, %5 : !graph.tensor<[B, S, T], f32>
  %7 = graph.softmax %6 axis 2 : (!graph.tensor<[B, S, T], f32>) -> !graph.tensor<[B, S, T], f32>
  %8 = graph.dot %7, %v batch [0] [0] contract [2] [1] : (!graph.tensor<[B, S, T], f32>, !graph.tensor<[B, T, 8], f32>) -> !graph.tensor<[B, S, 8], f32>
  func.return %8 : !graph.tensor<[B, S, 8], f32>
}

// -----

// CHECK-LABEL: @rope
func.func @rope(%x: !graph.tensor<[B, 4, S, 8], f32>, %f: !graph.tensor<[S, 4], f32>) -> !graph.tensor<[B, 4, S, 8], f32> {
  // CHECK: graph.rope %x
  // CHECK-NEXT: func.return
  %0 = graph.concat %f, %f axis 1 : (!graph.tensor<[S, 4], f32>, !graph.tensor<[S, 4], f32>) -> !graph.tensor<[S, 8], f32>
  %1 = graph.cos %0 : !graph.tensor<[S, 8], f32>
  %2 = graph.sin %0 : !graph.tensor<[S, 8], f32>
  %3 = graph.broadcast %1 : (!graph.tensor<[S, 8], f32>) -> !graph.tensor<[B, 4, S, 8], f32>
  %4 = graph.broadcast %2 : (!graph.tensor<[S, 8], f32>) -> !graph.tensor<[B, 4, S, 8], f32>
  %5 = graph.slice %x starts <[0, 0, 0, 4]> steps [1, 1, 1, 1] : (!graph.tensor<[B, 4, S, 8], f32>) -> !graph.tensor<[B, 4, S, 4], f32>
  %6 = graph.neg %5 : !graph.tensor<[B, 4, S, 4], f32>
  %7 = graph.slice %x starts <[0, 0, 0, 0]> steps [1, 1, 1, 1] : (!graph.tensor<[B, 4, S, 8], f32>) -> !graph.tensor<[B, 4, S, 4], f32>
  %8 = graph.concat %6, %7 axis 3 : (!graph.tensor<[B, 4, S, 4], f32>, !graph.tensor<[B, 4, S, 4], f32>) -> !graph.tensor<[B, 4, S, 8], f32>
  %9 = graph.mul %x, %3 : !graph.tensor<[B, 4, S, 8], f32>
  %10 = graph.mul %8, %4 : !graph.tensor<[B, 4, S, 8], f32>
  %11 = graph.add %9, %10 : !graph.tensor<[B, 4, S, 8], f32>
  func.return %11 : !graph.tensor<[B, 4, S, 8], f32>
}
