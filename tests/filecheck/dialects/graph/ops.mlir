// RUN: infini-opt %s --split-input-file | filecheck %s

// Elementwise arithmetic.
func.func @f0(%x: !graph.tensor<[N, 4], f32>, %y: !graph.tensor<[N, 4], f32>) {
  // CHECK: %r0 = graph.neg %x : !graph.tensor<[N, 4], f32>
  %r0 = graph.neg %x : !graph.tensor<[N, 4], f32>
  // CHECK: %r1 = graph.abs %x : !graph.tensor<[N, 4], f32>
  %r1 = graph.abs %x : !graph.tensor<[N, 4], f32>
  // CHECK: %r2 = graph.floor %x : !graph.tensor<[N, 4], f32>
  %r2 = graph.floor %x : !graph.tensor<[N, 4], f32>
  // CHECK: %r3 = graph.ceil %x : !graph.tensor<[N, 4], f32>
  %r3 = graph.ceil %x : !graph.tensor<[N, 4], f32>
  // CHECK: %r4 = graph.round %x : !graph.tensor<[N, 4], f32>
  %r4 = graph.round %x : !graph.tensor<[N, 4], f32>
  // CHECK: %r5 = graph.sqrt %x : !graph.tensor<[N, 4], f32>
  %r5 = graph.sqrt %x : !graph.tensor<[N, 4], f32>
  // CHECK: %r6 = graph.rsqrt %x : !graph.tensor<[N, 4], f32>
  %r6 = graph.rsqrt %x : !graph.tensor<[N, 4], f32>
  // CHECK: %r7 = graph.exp %x : !graph.tensor<[N, 4], f32>
  %r7 = graph.exp %x : !graph.tensor<[N, 4], f32>
  // CHECK: %r8 = graph.expm1 %x : !graph.tensor<[N, 4], f32>
  %r8 = graph.expm1 %x : !graph.tensor<[N, 4], f32>
  // CHECK: %r9 = graph.log %x : !graph.tensor<[N, 4], f32>
  %r9 = graph.log %x : !graph.tensor<[N, 4], f32>
  // CHECK: %r10 = graph.log1p %x : !graph.tensor<[N, 4], f32>
  %r10 = graph.log1p %x : !graph.tensor<[N, 4], f32>
  // CHECK: %r11 = graph.sin %x : !graph.tensor<[N, 4], f32>
  %r11 = graph.sin %x : !graph.tensor<[N, 4], f32>
  // CHECK: %r12 = graph.cos %x : !graph.tensor<[N, 4], f32>
  %r12 = graph.cos %x : !graph.tensor<[N, 4], f32>
  // CHECK: %r13 = graph.tan %x : !graph.tensor<[N, 4], f32>
  %r13 = graph.tan %x : !graph.tensor<[N, 4], f32>
  // CHECK: %r14 = graph.tanh %x : !graph.tensor<[N, 4], f32>
  %r14 = graph.tanh %x : !graph.tensor<[N, 4], f32>
  // CHECK: %r15 = graph.sigmoid %x : !graph.tensor<[N, 4], f32>
  %r15 = graph.sigmoid %x : !graph.tensor<[N, 4], f32>
  // CHECK: %r16 = graph.erf %x : !graph.tensor<[N, 4], f32>
  %r16 = graph.erf %x : !graph.tensor<[N, 4], f32>
  // CHECK: %r17 = graph.add %x, %y : !graph.tensor<[N, 4], f32>
  %r17 = graph.add %x, %y : !graph.tensor<[N, 4], f32>
  // CHECK: %r18 = graph.sub %x, %y : !graph.tensor<[N, 4], f32>
  %r18 = graph.sub %x, %y : !graph.tensor<[N, 4], f32>
  // CHECK: %r19 = graph.mul %x, %y : !graph.tensor<[N, 4], f32>
  %r19 = graph.mul %x, %y : !graph.tensor<[N, 4], f32>
  // CHECK: %r20 = graph.div %x, %y : !graph.tensor<[N, 4], f32>
  %r20 = graph.div %x, %y : !graph.tensor<[N, 4], f32>
  // CHECK: %r21 = graph.rem %x, %y : !graph.tensor<[N, 4], f32>
  %r21 = graph.rem %x, %y : !graph.tensor<[N, 4], f32>
  // CHECK: %r22 = graph.pow %x, %y : !graph.tensor<[N, 4], f32>
  %r22 = graph.pow %x, %y : !graph.tensor<[N, 4], f32>
  // CHECK: %r23 = graph.max %x, %y : !graph.tensor<[N, 4], f32>
  %r23 = graph.max %x, %y : !graph.tensor<[N, 4], f32>
  // CHECK: %r24 = graph.min %x, %y : !graph.tensor<[N, 4], f32>
  %r24 = graph.min %x, %y : !graph.tensor<[N, 4], f32>
  // CHECK: %r25 = graph.atan2 %x, %y : !graph.tensor<[N, 4], f32>
  %r25 = graph.atan2 %x, %y : !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// Bits, relations and conversions.
func.func @f1(%i: !graph.tensor<[N, 4], i32>, %j: !graph.tensor<[N, 4], i32>, %b: !graph.tensor<[N, 4], i1>, %x: !graph.tensor<[N, 4], f32>) {
  // CHECK: %r0 = graph.not %b : !graph.tensor<[N, 4], i1>
  %r0 = graph.not %b : !graph.tensor<[N, 4], i1>
  // CHECK: %r1 = graph.and %i, %j : !graph.tensor<[N, 4], i32>
  %r1 = graph.and %i, %j : !graph.tensor<[N, 4], i32>
  // CHECK: %r2 = graph.or %i, %j : !graph.tensor<[N, 4], i32>
  %r2 = graph.or %i, %j : !graph.tensor<[N, 4], i32>
  // CHECK: %r3 = graph.xor %i, %j : !graph.tensor<[N, 4], i32>
  %r3 = graph.xor %i, %j : !graph.tensor<[N, 4], i32>
  // CHECK: %r4 = graph.shl %i, %j : !graph.tensor<[N, 4], i32>
  %r4 = graph.shl %i, %j : !graph.tensor<[N, 4], i32>
  // CHECK: %r5 = graph.shr %i, %j : !graph.tensor<[N, 4], i32>
  %r5 = graph.shr %i, %j : !graph.tensor<[N, 4], i32>
  // CHECK: %r6 = graph.compare eq %i, %j : (!graph.tensor<[N, 4], i32>, !graph.tensor<[N, 4], i32>) -> !graph.tensor<[N, 4], i1>
  %r6 = graph.compare eq %i, %j : (!graph.tensor<[N, 4], i32>, !graph.tensor<[N, 4], i32>) -> !graph.tensor<[N, 4], i1>
  // CHECK: %r7 = graph.compare ne %i, %j : (!graph.tensor<[N, 4], i32>, !graph.tensor<[N, 4], i32>) -> !graph.tensor<[N, 4], i1>
  %r7 = graph.compare ne %i, %j : (!graph.tensor<[N, 4], i32>, !graph.tensor<[N, 4], i32>) -> !graph.tensor<[N, 4], i1>
  // CHECK: %r8 = graph.compare lt %i, %j : (!graph.tensor<[N, 4], i32>, !graph.tensor<[N, 4], i32>) -> !graph.tensor<[N, 4], i1>
  %r8 = graph.compare lt %i, %j : (!graph.tensor<[N, 4], i32>, !graph.tensor<[N, 4], i32>) -> !graph.tensor<[N, 4], i1>
  // CHECK: %r9 = graph.compare le %i, %j : (!graph.tensor<[N, 4], i32>, !graph.tensor<[N, 4], i32>) -> !graph.tensor<[N, 4], i1>
  %r9 = graph.compare le %i, %j : (!graph.tensor<[N, 4], i32>, !graph.tensor<[N, 4], i32>) -> !graph.tensor<[N, 4], i1>
  // CHECK: %r10 = graph.compare gt %i, %j : (!graph.tensor<[N, 4], i32>, !graph.tensor<[N, 4], i32>) -> !graph.tensor<[N, 4], i1>
  %r10 = graph.compare gt %i, %j : (!graph.tensor<[N, 4], i32>, !graph.tensor<[N, 4], i32>) -> !graph.tensor<[N, 4], i1>
  // CHECK: %r11 = graph.compare ge %i, %j : (!graph.tensor<[N, 4], i32>, !graph.tensor<[N, 4], i32>) -> !graph.tensor<[N, 4], i1>
  %r11 = graph.compare ge %i, %j : (!graph.tensor<[N, 4], i32>, !graph.tensor<[N, 4], i32>) -> !graph.tensor<[N, 4], i1>
  // CHECK: %r12 = graph.select %b, %i, %j : (!graph.tensor<[N, 4], i1>, !graph.tensor<[N, 4], i32>, !graph.tensor<[N, 4], i32>) -> !graph.tensor<[N, 4], i32>
  %r12 = graph.select %b, %i, %j : (!graph.tensor<[N, 4], i1>, !graph.tensor<[N, 4], i32>, !graph.tensor<[N, 4], i32>) -> !graph.tensor<[N, 4], i32>
  // CHECK: %r13 = graph.cast %x : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], i8>
  %r13 = graph.cast %x : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], i8>
  // CHECK: %r14 = graph.cast %x saturate : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], f8E4M3FN>
  %r14 = graph.cast %x saturate : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], f8E4M3FN>
  // CHECK: %r15 = graph.cast %x saturate rounding up : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], f8E8M0FNU>
  %r15 = graph.cast %x saturate rounding up : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], f8E8M0FNU>
  // CHECK: %r16 = graph.bitcast %x : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], ui32>
  %r16 = graph.bitcast %x : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], ui32>
  func.return
}

// -----

// Constants and shapes.
func.func @f2(%x: !graph.tensor<[B, S, 8], f32>, %y: !graph.tensor<[B, 2, 8], f32>, %n: !graph.tensor<[], i64>, %z: !graph.tensor<[], f32>) {
  // CHECK: %r0 = graph.constant <[1.0, -inf, nan, 1.5e-08]> : !graph.tensor<[4], f32>
  %r0 = graph.constant <[1.0, -inf, nan, 1.5e-08]> : !graph.tensor<[4], f32>
  // CHECK: %r1 = graph.constant <[true]> : !graph.tensor<[], i1>
  %r1 = graph.constant <[true]> : !graph.tensor<[], i1>
  // CHECK: %r2 = graph.constant <[]> : !graph.tensor<[0], ui8>
  %r2 = graph.constant <[]> : !graph.tensor<[0], ui8>
  // CHECK: %r3 = graph.weight "conv1.weight" : !graph.tensor<[8, 3, 3, 3], bf16>
  %r3 = graph.weight "conv1.weight" : !graph.tensor<[8, 3, 3, 3], bf16>
  // CHECK: %r4 = graph.iota axis 0 : !graph.tensor<[S, 4], i64>
  %r4 = graph.iota axis 0 : !graph.tensor<[S, 4], i64>
  // CHECK: %r5 = graph.broadcast %z : (!graph.tensor<[], f32>) -> !graph.tensor<[B, S], f32>
  %r5 = graph.broadcast %z : (!graph.tensor<[], f32>) -> !graph.tensor<[B, S], f32>
  // CHECK: %r6 = graph.reshape %x : (!graph.tensor<[B, S, 8], f32>) -> !graph.tensor<[B*S, 2, 4], f32>
  %r6 = graph.reshape %x : (!graph.tensor<[B, S, 8], f32>) -> !graph.tensor<[B*S, 2, 4], f32>
  // CHECK: %r7 = graph.transpose %x [2, 0, 1] : (!graph.tensor<[B, S, 8], f32>) -> !graph.tensor<[8, B, S], f32>
  %r7 = graph.transpose %x [2, 0, 1] : (!graph.tensor<[B, S, 8], f32>) -> !graph.tensor<[8, B, S], f32>
  // CHECK: %r8 = graph.concat %x, %y axis 1 : (!graph.tensor<[B, S, 8], f32>, !graph.tensor<[B, 2, 8], f32>) -> !graph.tensor<[B, S + 2, 8], f32>
  %r8 = graph.concat %x, %y axis 1 : (!graph.tensor<[B, S, 8], f32>, !graph.tensor<[B, 2, 8], f32>) -> !graph.tensor<[B, S + 2, 8], f32>
  // CHECK: %r9 = graph.slice %x starts <[0, S - 1, 7]> steps [1, -1, -2] : (!graph.tensor<[B, S, 8], f32>) -> !graph.tensor<[B, S, 4], f32>
  %r9 = graph.slice %x starts <[0, S - 1, 7]> steps [1, -1, -2] : (!graph.tensor<[B, S, 8], f32>) -> !graph.tensor<[B, S, 4], f32>
  // CHECK: %r10 = graph.slice %x, %n starts <[0, 0, 0]> steps [1, 1, 1] dynamic [2] : (!graph.tensor<[B, S, 8], f32>, !graph.tensor<[], i64>) -> !graph.tensor<[B, S, 4], f32>
  %r10 = graph.slice %x, %n starts <[0, 0, 0]> steps [1, 1, 1] dynamic [2] : (!graph.tensor<[B, S, 8], f32>, !graph.tensor<[], i64>) -> !graph.tensor<[B, S, 4], f32>
  // CHECK: %r11 = graph.insert_slice %x, %y starts <[0, S - 2, 0]> : (!graph.tensor<[B, S, 8], f32>, !graph.tensor<[B, 2, 8], f32>) -> !graph.tensor<[B, S, 8], f32>
  %r11 = graph.insert_slice %x, %y starts <[0, S - 2, 0]> : (!graph.tensor<[B, S, 8], f32>, !graph.tensor<[B, 2, 8], f32>) -> !graph.tensor<[B, S, 8], f32>
  // CHECK: %r12 = graph.insert_slice %x, %y, %n starts <[0, 0, 0]> dynamic [1] : (!graph.tensor<[B, S, 8], f32>, !graph.tensor<[B, 2, 8], f32>, !graph.tensor<[], i64>) -> !graph.tensor<[B, S, 8], f32>
  %r12 = graph.insert_slice %x, %y, %n starts <[0, 0, 0]> dynamic [1] : (!graph.tensor<[B, S, 8], f32>, !graph.tensor<[B, 2, 8], f32>, !graph.tensor<[], i64>) -> !graph.tensor<[B, S, 8], f32>
  // CHECK: %r13 = graph.pad %x, %z lo <[0, -1, 1]> hi <[0, S, 2]> interior [0, 0, 1] : (!graph.tensor<[B, S, 8], f32>, !graph.tensor<[], f32>) -> !graph.tensor<[B, 2*S - 1, 18], f32>
  %r13 = graph.pad %x, %z lo <[0, -1, 1]> hi <[0, S, 2]> interior [0, 0, 1] : (!graph.tensor<[B, S, 8], f32>, !graph.tensor<[], f32>) -> !graph.tensor<[B, 2*S - 1, 18], f32>
  // CHECK: %r14 = graph.window %x axes [2] sizes <[3]> strides [2] dilations [1] : (!graph.tensor<[B, S, 8], f32>) -> !graph.tensor<[B, S, 3, 3], f32>
  %r14 = graph.window %x axes [2] sizes <[3]> strides [2] dilations [1] : (!graph.tensor<[B, S, 8], f32>) -> !graph.tensor<[B, S, 3, 3], f32>
  // CHECK: %r15 = graph.dim <[B*S + 1]> : !graph.tensor<[], i64>
  %r15 = graph.dim <[B*S + 1]> : !graph.tensor<[], i64>
  // CHECK: graph.bind %n as "K" where <K le S, 4*K eq S> : !graph.tensor<[], i64>
  graph.bind %n as "K" where <K le S, 4*K eq S> : !graph.tensor<[], i64>
  func.return
}

// -----

// Computed positions.
func.func @f3(%x: !graph.tensor<[N, M, 4], f32>, %i: !graph.tensor<[K], i64>, %j: !graph.tensor<[N, K, 1], i32>, %u: !graph.tensor<[K, M, 4], f32>, %k: !graph.tensor<[K, 1], i64>, %m: !graph.tensor<[N, M], i1>) {
  // CHECK: %r0 = graph.gather %x, %i axis 1 : (!graph.tensor<[N, M, 4], f32>, !graph.tensor<[K], i64>) -> !graph.tensor<[N, K, 4], f32>
  %r0 = graph.gather %x, %i axis 1 : (!graph.tensor<[N, M, 4], f32>, !graph.tensor<[K], i64>) -> !graph.tensor<[N, K, 4], f32>
  // CHECK: %r1 = graph.gather_nd %x, %j batch_dims 1 : (!graph.tensor<[N, M, 4], f32>, !graph.tensor<[N, K, 1], i32>) -> !graph.tensor<[N, K, 4], f32>
  %r1 = graph.gather_nd %x, %j batch_dims 1 : (!graph.tensor<[N, M, 4], f32>, !graph.tensor<[N, K, 1], i32>) -> !graph.tensor<[N, K, 4], f32>
  // CHECK: %r2 = graph.scatter_nd set %x, %k, %u : (!graph.tensor<[N, M, 4], f32>, !graph.tensor<[K, 1], i64>, !graph.tensor<[K, M, 4], f32>) -> !graph.tensor<[N, M, 4], f32>
  %r2 = graph.scatter_nd set %x, %k, %u : (!graph.tensor<[N, M, 4], f32>, !graph.tensor<[K, 1], i64>, !graph.tensor<[K, M, 4], f32>) -> !graph.tensor<[N, M, 4], f32>
  // CHECK: %r3 = graph.scatter_nd add %x, %k, %u : (!graph.tensor<[N, M, 4], f32>, !graph.tensor<[K, 1], i64>, !graph.tensor<[K, M, 4], f32>) -> !graph.tensor<[N, M, 4], f32>
  %r3 = graph.scatter_nd add %x, %k, %u : (!graph.tensor<[N, M, 4], f32>, !graph.tensor<[K, 1], i64>, !graph.tensor<[K, M, 4], f32>) -> !graph.tensor<[N, M, 4], f32>
  // CHECK: %r4 = graph.scatter_nd mul %x, %k, %u : (!graph.tensor<[N, M, 4], f32>, !graph.tensor<[K, 1], i64>, !graph.tensor<[K, M, 4], f32>) -> !graph.tensor<[N, M, 4], f32>
  %r4 = graph.scatter_nd mul %x, %k, %u : (!graph.tensor<[N, M, 4], f32>, !graph.tensor<[K, 1], i64>, !graph.tensor<[K, M, 4], f32>) -> !graph.tensor<[N, M, 4], f32>
  // CHECK: %r5 = graph.scatter_nd max %x, %k, %u : (!graph.tensor<[N, M, 4], f32>, !graph.tensor<[K, 1], i64>, !graph.tensor<[K, M, 4], f32>) -> !graph.tensor<[N, M, 4], f32>
  %r5 = graph.scatter_nd max %x, %k, %u : (!graph.tensor<[N, M, 4], f32>, !graph.tensor<[K, 1], i64>, !graph.tensor<[K, M, 4], f32>) -> !graph.tensor<[N, M, 4], f32>
  // CHECK: %r6 = graph.scatter_nd min %x, %k, %u : (!graph.tensor<[N, M, 4], f32>, !graph.tensor<[K, 1], i64>, !graph.tensor<[K, M, 4], f32>) -> !graph.tensor<[N, M, 4], f32>
  %r6 = graph.scatter_nd min %x, %k, %u : (!graph.tensor<[N, M, 4], f32>, !graph.tensor<[K, 1], i64>, !graph.tensor<[K, M, 4], f32>) -> !graph.tensor<[N, M, 4], f32>
  // CHECK: %r7 = graph.sort %x axis 1 keys 1 descending : (!graph.tensor<[N, M, 4], f32>) -> !graph.tensor<[N, M, 4], f32>
  %r7 = graph.sort %x axis 1 keys 1 descending : (!graph.tensor<[N, M, 4], f32>) -> !graph.tensor<[N, M, 4], f32>
  // CHECK: %r8, %r8_1 = graph.sort %x, %x axis 0 keys 2 : (!graph.tensor<[N, M, 4], f32>, !graph.tensor<[N, M, 4], f32>) -> (!graph.tensor<[N, M, 4], f32>, !graph.tensor<[N, M, 4], f32>)
  %r8, %r8_1 = graph.sort %x, %x axis 0 keys 2 : (!graph.tensor<[N, M, 4], f32>, !graph.tensor<[N, M, 4], f32>) -> (!graph.tensor<[N, M, 4], f32>, !graph.tensor<[N, M, 4], f32>)
  // CHECK: %r9 = graph.nonzero %m defines "P" : (!graph.tensor<[N, M], i1>) -> !graph.tensor<[2, P], i64>
  %r9 = graph.nonzero %m defines "P" : (!graph.tensor<[N, M], i1>) -> !graph.tensor<[2, P], i64>
  func.return
}

// -----

// Reductions, contractions and random numbers.
func.func @f4(%x: !graph.tensor<[B, M, K], f32>, %w: !graph.tensor<[B, K, N], f32>, %s: !graph.tensor<[2], ui64>) {
  // CHECK: %r0 = graph.reduce sum %x axes [0, 2] : (!graph.tensor<[B, M, K], f32>) -> !graph.tensor<[M], f32>
  %r0 = graph.reduce sum %x axes [0, 2] : (!graph.tensor<[B, M, K], f32>) -> !graph.tensor<[M], f32>
  // CHECK: %r1 = graph.reduce prod %x axes [0, 2] : (!graph.tensor<[B, M, K], f32>) -> !graph.tensor<[M], f32>
  %r1 = graph.reduce prod %x axes [0, 2] : (!graph.tensor<[B, M, K], f32>) -> !graph.tensor<[M], f32>
  // CHECK: %r2 = graph.reduce max %x axes [0, 2] : (!graph.tensor<[B, M, K], f32>) -> !graph.tensor<[M], f32>
  %r2 = graph.reduce max %x axes [0, 2] : (!graph.tensor<[B, M, K], f32>) -> !graph.tensor<[M], f32>
  // CHECK: %r3 = graph.reduce min %x axes [0, 2] : (!graph.tensor<[B, M, K], f32>) -> !graph.tensor<[M], f32>
  %r3 = graph.reduce min %x axes [0, 2] : (!graph.tensor<[B, M, K], f32>) -> !graph.tensor<[M], f32>
  // CHECK: %r4 = graph.reduce sum %x axes [2] keep : (!graph.tensor<[B, M, K], f32>) -> !graph.tensor<[B, M, 1], f32>
  %r4 = graph.reduce sum %x axes [2] keep : (!graph.tensor<[B, M, K], f32>) -> !graph.tensor<[B, M, 1], f32>
  // CHECK: %r5 = graph.arg_reduce max %x axis 1 : (!graph.tensor<[B, M, K], f32>) -> !graph.tensor<[B, K], i64>
  %r5 = graph.arg_reduce max %x axis 1 : (!graph.tensor<[B, M, K], f32>) -> !graph.tensor<[B, K], i64>
  // CHECK: %r6 = graph.arg_reduce min %x axis 1 keep last : (!graph.tensor<[B, M, K], f32>) -> !graph.tensor<[B, 1, K], i64>
  %r6 = graph.arg_reduce min %x axis 1 keep last : (!graph.tensor<[B, M, K], f32>) -> !graph.tensor<[B, 1, K], i64>
  // CHECK: %r7 = graph.cumulative sum %x axis 2 : (!graph.tensor<[B, M, K], f32>) -> !graph.tensor<[B, M, K], f32>
  %r7 = graph.cumulative sum %x axis 2 : (!graph.tensor<[B, M, K], f32>) -> !graph.tensor<[B, M, K], f32>
  // CHECK: %r8 = graph.cumulative max %x axis 2 exclusive reverse : (!graph.tensor<[B, M, K], f32>) -> !graph.tensor<[B, M, K], f32>
  %r8 = graph.cumulative max %x axis 2 exclusive reverse : (!graph.tensor<[B, M, K], f32>) -> !graph.tensor<[B, M, K], f32>
  // CHECK: %r9 = graph.dot %x, %w batch [0] [0] contract [2] [1] : (!graph.tensor<[B, M, K], f32>, !graph.tensor<[B, K, N], f32>) -> !graph.tensor<[B, M, N], f32>
  %r9 = graph.dot %x, %w batch [0] [0] contract [2] [1] : (!graph.tensor<[B, M, K], f32>, !graph.tensor<[B, K, N], f32>) -> !graph.tensor<[B, M, N], f32>
  // CHECK: %r10, %r10_1 = graph.rng %s : (!graph.tensor<[2], ui64>) -> (!graph.tensor<[B, 3], ui32>, !graph.tensor<[2], ui64>)
  %r10, %r10_1 = graph.rng %s : (!graph.tensor<[2], ui64>) -> (!graph.tensor<[B, 3], ui32>, !graph.tensor<[2], ui64>)
  func.return
}

// -----

// Normalisation and activation.
func.func @f5(%x: !graph.tensor<[B, S, 8], f16>, %p: !graph.tensor<[8], f16>, %c: !graph.tensor<[B, 1, 4], f16>) {
  // CHECK: %r0 = graph.softmax %x axis 2 : (!graph.tensor<[B, S, 8], f16>) -> !graph.tensor<[B, S, 8], f16>
  %r0 = graph.softmax %x axis 2 : (!graph.tensor<[B, S, 8], f16>) -> !graph.tensor<[B, S, 8], f16>
  // CHECK: %r1 = graph.softmax %x axis 1 log : (!graph.tensor<[B, S, 8], f16>) -> !graph.tensor<[B, S, 8], f16>
  %r1 = graph.softmax %x axis 1 log : (!graph.tensor<[B, S, 8], f16>) -> !graph.tensor<[B, S, 8], f16>
  // CHECK: %r2, %r2_1, %r2_2 = graph.layer_norm %x axis 2 epsilon 1.000000e-05 : !graph.tensor<[B, S, 8], f16> -> !graph.tensor<[B, S, 8], f16>, !graph.tensor<[B, S, 1], f32>, !graph.tensor<[B, S, 1], f32>
  %r2, %r2_1, %r2_2 = graph.layer_norm %x axis 2 epsilon 1.000000e-05 : !graph.tensor<[B, S, 8], f16> -> !graph.tensor<[B, S, 8], f16>, !graph.tensor<[B, S, 1], f32>, !graph.tensor<[B, S, 1], f32>
  // CHECK: %r3, %r3_1, %r3_2 = graph.layer_norm %x scale %p : !graph.tensor<[8], f16> bias %p : !graph.tensor<[8], f16> axis 2 epsilon 1.000000e-05 : !graph.tensor<[B, S, 8], f16> -> !graph.tensor<[B, S, 8], f16>, !graph.tensor<[B, S, 1], f32>, !graph.tensor<[B, S, 1], f32>
  %r3, %r3_1, %r3_2 = graph.layer_norm %x scale %p : !graph.tensor<[8], f16> bias %p : !graph.tensor<[8], f16> axis 2 epsilon 1.000000e-05 : !graph.tensor<[B, S, 8], f16> -> !graph.tensor<[B, S, 8], f16>, !graph.tensor<[B, S, 1], f32>, !graph.tensor<[B, S, 1], f32>
  // CHECK: %r4 = graph.rms_norm %x axis 2 epsilon 1.000000e-06 : (!graph.tensor<[B, S, 8], f16>) -> !graph.tensor<[B, S, 8], f16>
  %r4 = graph.rms_norm %x axis 2 epsilon 1.000000e-06 : (!graph.tensor<[B, S, 8], f16>) -> !graph.tensor<[B, S, 8], f16>
  // CHECK: %r5 = graph.rms_norm %x scale %p axis 2 epsilon 1.000000e-06 : (!graph.tensor<[B, S, 8], f16>, !graph.tensor<[8], f16>) -> !graph.tensor<[B, S, 8], f16>
  %r5 = graph.rms_norm %x scale %p axis 2 epsilon 1.000000e-06 : (!graph.tensor<[B, S, 8], f16>, !graph.tensor<[8], f16>) -> !graph.tensor<[B, S, 8], f16>
  // CHECK: %r6 = graph.gelu %x : (!graph.tensor<[B, S, 8], f16>) -> !graph.tensor<[B, S, 8], f16>
  %r6 = graph.gelu %x : (!graph.tensor<[B, S, 8], f16>) -> !graph.tensor<[B, S, 8], f16>
  // CHECK: %r7 = graph.gelu %x tanh : (!graph.tensor<[B, S, 8], f16>) -> !graph.tensor<[B, S, 8], f16>
  %r7 = graph.gelu %x tanh : (!graph.tensor<[B, S, 8], f16>) -> !graph.tensor<[B, S, 8], f16>
  // CHECK: %r8 = graph.rope %x, %c, %c : (!graph.tensor<[B, S, 8], f16>, !graph.tensor<[B, 1, 4], f16>, !graph.tensor<[B, 1, 4], f16>) -> !graph.tensor<[B, S, 8], f16>
  %r8 = graph.rope %x, %c, %c : (!graph.tensor<[B, S, 8], f16>, !graph.tensor<[B, 1, 4], f16>, !graph.tensor<[B, 1, 4], f16>) -> !graph.tensor<[B, S, 8], f16>
  // CHECK: %r9 = graph.rope %x, %c, %c interleaved : (!graph.tensor<[B, S, 8], f16>, !graph.tensor<[B, 1, 4], f16>, !graph.tensor<[B, 1, 4], f16>) -> !graph.tensor<[B, S, 8], f16>
  %r9 = graph.rope %x, %c, %c interleaved : (!graph.tensor<[B, S, 8], f16>, !graph.tensor<[B, 1, 4], f16>, !graph.tensor<[B, 1, 4], f16>) -> !graph.tensor<[B, S, 8], f16>
  func.return
}

// -----

// Attention.
func.func @f6(%q: !graph.tensor<[B, 8, S, 64], f32>, %k: !graph.tensor<[B, 2, T, 64], f32>, %v: !graph.tensor<[B, 2, T, 32], f32>, %m: !graph.tensor<[B, 1, 1, T], i1>, %l: !graph.tensor<[B], i64>, %o: !graph.tensor<[], i64>, %p: !graph.tensor<[P, 16, 2, 64], f32>, %t: !graph.tensor<[B, N], i32>) {
  // CHECK: %r0 = graph.attention %q, %k, %v scale 1.250000e-01 : !graph.tensor<[B, 8, S, 64], f32>, !graph.tensor<[B, 2, T, 64], f32>, !graph.tensor<[B, 2, T, 32], f32> -> !graph.tensor<[B, 8, S, 32], f32>
  %r0 = graph.attention %q, %k, %v scale 1.250000e-01 : !graph.tensor<[B, 8, S, 64], f32>, !graph.tensor<[B, 2, T, 64], f32>, !graph.tensor<[B, 2, T, 32], f32> -> !graph.tensor<[B, 8, S, 32], f32>
  // CHECK: %r1 = graph.attention %q, %k, %v bias %m : !graph.tensor<[B, 1, 1, T], i1> kv_len %l : !graph.tensor<[B], i64> offset %o : !graph.tensor<[], i64> scale 1.250000e-01 causal window 128 softcap 5.000000e+01 : !graph.tensor<[B, 8, S, 64], f32>, !graph.tensor<[B, 2, T, 64], f32>, !graph.tensor<[B, 2, T, 32], f32> -> !graph.tensor<[B, 8, S, 32], f32>
  %r1 = graph.attention %q, %k, %v bias %m : !graph.tensor<[B, 1, 1, T], i1> kv_len %l : !graph.tensor<[B], i64> offset %o : !graph.tensor<[], i64> scale 1.250000e-01 causal window 128 softcap 5.000000e+01 : !graph.tensor<[B, 8, S, 64], f32>, !graph.tensor<[B, 2, T, 64], f32>, !graph.tensor<[B, 2, T, 32], f32> -> !graph.tensor<[B, 8, S, 32], f32>
  // CHECK: %r2 = graph.paged_attention %q, %p, %p, %t, %l scale 1.250000e-01 : (!graph.tensor<[B, 8, S, 64], f32>, !graph.tensor<[P, 16, 2, 64], f32>, !graph.tensor<[P, 16, 2, 64], f32>, !graph.tensor<[B, N], i32>, !graph.tensor<[B], i64>) -> !graph.tensor<[B, 8, S, 64], f32>
  %r2 = graph.paged_attention %q, %p, %p, %t, %l scale 1.250000e-01 : (!graph.tensor<[B, 8, S, 64], f32>, !graph.tensor<[P, 16, 2, 64], f32>, !graph.tensor<[P, 16, 2, 64], f32>, !graph.tensor<[B, N], i32>, !graph.tensor<[B], i64>) -> !graph.tensor<[B, 8, S, 64], f32>
  func.return
}

// -----

// Convolution, pooling and quantisation.
func.func @f7(%x: !graph.tensor<[N, 4, H, 9], f32>, %w: !graph.tensor<[6, 2, 3, 3], f32>, %b: !graph.tensor<[6], f32>, %s: !graph.tensor<[], f32>, %z: !graph.tensor<[], i8>, %c: !graph.tensor<[4], f32>, %q: !graph.tensor<[N, 4, H, 9], i8>, %a: !graph.tensor<[N, 16], ui8>, %e: !graph.tensor<[16, 8], i8>, %g: !graph.tensor<[N, 4, H, 3], f32>) {
  // CHECK: %r0 = graph.conv channels_first %x, %w groups 2 strides [2, 1] dilations [1, 1] lo <[1, 0]> hi <[1, 0]> input_dilation [1, 1] : (!graph.tensor<[N, 4, H, 9], f32>, !graph.tensor<[6, 2, 3, 3], f32>) -> !graph.tensor<[N, 6, floordiv(H + 1, 2), 7], f32>
  %r0 = graph.conv channels_first %x, %w groups 2 strides [2, 1] dilations [1, 1] lo <[1, 0]> hi <[1, 0]> input_dilation [1, 1] : (!graph.tensor<[N, 4, H, 9], f32>, !graph.tensor<[6, 2, 3, 3], f32>) -> !graph.tensor<[N, 6, floordiv(H + 1, 2), 7], f32>
  // CHECK: %r1 = graph.conv channels_first %x, %w bias %b groups 2 strides [1, 1] dilations [1, 2] lo <[0, 0]> hi <[0, 0]> input_dilation [1, 2] : (!graph.tensor<[N, 4, H, 9], f32>, !graph.tensor<[6, 2, 3, 3], f32>, !graph.tensor<[6], f32>) -> !graph.tensor<[N, 6, H - 2, 13], f32>
  %r1 = graph.conv channels_first %x, %w bias %b groups 2 strides [1, 1] dilations [1, 2] lo <[0, 0]> hi <[0, 0]> input_dilation [1, 2] : (!graph.tensor<[N, 4, H, 9], f32>, !graph.tensor<[6, 2, 3, 3], f32>, !graph.tensor<[6], f32>) -> !graph.tensor<[N, 6, H - 2, 13], f32>
  // CHECK: %r2 = graph.pool max channels_first %x sizes [2, 3] strides [1, 3] dilations [1, 1] lo <[0, 0]> hi <[0, 0]> : (!graph.tensor<[N, 4, H, 9], f32>) -> !graph.tensor<[N, 4, H - 1, 3], f32>
  %r2 = graph.pool max channels_first %x sizes [2, 3] strides [1, 3] dilations [1, 1] lo <[0, 0]> hi <[0, 0]> : (!graph.tensor<[N, 4, H, 9], f32>) -> !graph.tensor<[N, 4, H - 1, 3], f32>
  // CHECK: %r3 = graph.pool avg channels_first %x sizes [2, 3] strides [1, 3] dilations [1, 1] lo <[0, 0]> hi <[1, 0]> count_pad <[0, 0]> : (!graph.tensor<[N, 4, H, 9], f32>) -> !graph.tensor<[N, 4, H, 3], f32>
  %r3 = graph.pool avg channels_first %x sizes [2, 3] strides [1, 3] dilations [1, 1] lo <[0, 0]> hi <[1, 0]> count_pad <[0, 0]> : (!graph.tensor<[N, 4, H, 9], f32>) -> !graph.tensor<[N, 4, H, 3], f32>
  // CHECK: %r4 = graph.pool sum channels_last %x sizes [1, 1] strides [1, 1] dilations [1, 1] lo <[0, 0]> hi <[0, 0]> : (!graph.tensor<[N, 4, H, 9], f32>) -> !graph.tensor<[N, 4, H, 9], f32>
  %r4 = graph.pool sum channels_last %x sizes [1, 1] strides [1, 1] dilations [1, 1] lo <[0, 0]> hi <[0, 0]> : (!graph.tensor<[N, 4, H, 9], f32>) -> !graph.tensor<[N, 4, H, 9], f32>
  // CHECK: %r5, %r5_1 = graph.topk %x axis 3 largest : (!graph.tensor<[N, 4, H, 9], f32>) -> (!graph.tensor<[N, 4, H, 5], f32>, !graph.tensor<[N, 4, H, 5], i64>)
  %r5, %r5_1 = graph.topk %x axis 3 largest : (!graph.tensor<[N, 4, H, 9], f32>) -> (!graph.tensor<[N, 4, H, 5], f32>, !graph.tensor<[N, 4, H, 5], i64>)
  // CHECK: %r6, %r6_1 = graph.topk %x axis 3 : (!graph.tensor<[N, 4, H, 9], f32>) -> (!graph.tensor<[N, 4, H, 5], f32>, !graph.tensor<[N, 4, H, 5], i64>)
  %r6, %r6_1 = graph.topk %x axis 3 : (!graph.tensor<[N, 4, H, 9], f32>) -> (!graph.tensor<[N, 4, H, 5], f32>, !graph.tensor<[N, 4, H, 5], i64>)
  // CHECK: %r7 = graph.quantize %x, %s zero %z : (!graph.tensor<[N, 4, H, 9], f32>, !graph.tensor<[], f32>, !graph.tensor<[], i8>) -> !graph.tensor<[N, 4, H, 9], i8>
  %r7 = graph.quantize %x, %s zero %z : (!graph.tensor<[N, 4, H, 9], f32>, !graph.tensor<[], f32>, !graph.tensor<[], i8>) -> !graph.tensor<[N, 4, H, 9], i8>
  // CHECK: %r8 = graph.quantize %x, %c axis 1 : (!graph.tensor<[N, 4, H, 9], f32>, !graph.tensor<[4], f32>) -> !graph.tensor<[N, 4, H, 9], i8>
  %r8 = graph.quantize %x, %c axis 1 : (!graph.tensor<[N, 4, H, 9], f32>, !graph.tensor<[4], f32>) -> !graph.tensor<[N, 4, H, 9], i8>
  // CHECK: %r9 = graph.dequantize %q, %s zero %z : (!graph.tensor<[N, 4, H, 9], i8>, !graph.tensor<[], f32>, !graph.tensor<[], i8>) -> !graph.tensor<[N, 4, H, 9], f32>
  %r9 = graph.dequantize %q, %s zero %z : (!graph.tensor<[N, 4, H, 9], i8>, !graph.tensor<[], f32>, !graph.tensor<[], i8>) -> !graph.tensor<[N, 4, H, 9], f32>
  // CHECK: %r10 = graph.dequantize %q, %g axis 3 block 3 : (!graph.tensor<[N, 4, H, 9], i8>, !graph.tensor<[N, 4, H, 3], f32>) -> !graph.tensor<[N, 4, H, 9], f32>
  %r10 = graph.dequantize %q, %g axis 3 block 3 : (!graph.tensor<[N, 4, H, 9], i8>, !graph.tensor<[N, 4, H, 3], f32>) -> !graph.tensor<[N, 4, H, 9], f32>
  // CHECK: %r11 = graph.quantized_matmul %a, %e : !graph.tensor<[N, 16], ui8>, !graph.tensor<[16, 8], i8> -> !graph.tensor<[N, 8], i32>
  %r11 = graph.quantized_matmul %a, %e : !graph.tensor<[N, 16], ui8>, !graph.tensor<[16, 8], i8> -> !graph.tensor<[N, 8], i32>
  // CHECK: %r12 = graph.quantized_matmul %a, %e a_zero %z : !graph.tensor<[], i8> b_zero %z : !graph.tensor<[], i8> : !graph.tensor<[N, 16], ui8>, !graph.tensor<[16, 8], i8> -> !graph.tensor<[N, 8], i32>
  %r12 = graph.quantized_matmul %a, %e a_zero %z : !graph.tensor<[], i8> b_zero %z : !graph.tensor<[], i8> : !graph.tensor<[N, 16], ui8>, !graph.tensor<[16, 8], i8> -> !graph.tensor<[N, 8], i32>
  func.return
}

// -----

// Control flow: regions see outer values, a cluster does not.
func.func @control(%c: !graph.tensor<[], i1>, %x: !graph.tensor<[N], f32>, %xs: !graph.tensor<[S, N], f32>) {
  // CHECK: %r0 = graph.if %c : (!graph.tensor<[], i1>) -> !graph.tensor<[N], f32> {
  %r0 = graph.if %c : (!graph.tensor<[], i1>) -> !graph.tensor<[N], f32> {
    // CHECK: graph.yield %x : !graph.tensor<[N], f32>
    graph.yield %x : !graph.tensor<[N], f32>
  } {
    // CHECK: %r1 = graph.neg %x : !graph.tensor<[N], f32>
    %r1 = graph.neg %x : !graph.tensor<[N], f32>
    // CHECK: graph.yield %r1 : !graph.tensor<[N], f32>
    graph.yield %r1 : !graph.tensor<[N], f32>
  }
  // CHECK: %r2 = graph.if %c defines ["K"] : (!graph.tensor<[], i1>) -> !graph.tensor<[K, N], f32> {
  %r2 = graph.if %c defines ["K"] : (!graph.tensor<[], i1>) -> !graph.tensor<[K, N], f32> {
    // CHECK: graph.yield %xs : !graph.tensor<[S, N], f32>
    graph.yield %xs : !graph.tensor<[S, N], f32>
  } {
    // CHECK: %r3 = graph.reshape %x : (!graph.tensor<[N], f32>) -> !graph.tensor<[1, N], f32>
    %r3 = graph.reshape %x : (!graph.tensor<[N], f32>) -> !graph.tensor<[1, N], f32>
    // CHECK: graph.yield %r3 : !graph.tensor<[1, N], f32>
    graph.yield %r3 : !graph.tensor<[1, N], f32>
  }
  // CHECK: %r4 = graph.while %x : (!graph.tensor<[N], f32>) -> !graph.tensor<[N], f32> {
  %r4 = graph.while %x : (!graph.tensor<[N], f32>) -> !graph.tensor<[N], f32> {
  ^bb0(%a: !graph.tensor<[N], f32>):
    // CHECK: graph.yield %c : !graph.tensor<[], i1>
    graph.yield %c : !graph.tensor<[], i1>
  } {
  ^bb0(%b: !graph.tensor<[N], f32>):
    // CHECK: graph.yield %b : !graph.tensor<[N], f32>
    graph.yield %b : !graph.tensor<[N], f32>
  }
  // CHECK: %r5, %r6 = graph.scan carried(%x : !graph.tensor<[N], f32>) over(%xs : !graph.tensor<[S, N], f32>) length <[S]> -> (!graph.tensor<[N], f32>, !graph.tensor<[S, N], f32>) {
  %r5, %r6 = graph.scan carried(%x : !graph.tensor<[N], f32>) over(%xs : !graph.tensor<[S, N], f32>) length <[S]> -> (!graph.tensor<[N], f32>, !graph.tensor<[S, N], f32>) {
  ^bb0(%i: !graph.tensor<[], i64>, %h: !graph.tensor<[N], f32>, %e: !graph.tensor<[N], f32>):
    // CHECK: %r7 = graph.add %h, %e : !graph.tensor<[N], f32>
    %r7 = graph.add %h, %e : !graph.tensor<[N], f32>
    // CHECK: graph.yield %r7, %e : !graph.tensor<[N], f32>, !graph.tensor<[N], f32>
    graph.yield %r7, %e : !graph.tensor<[N], f32>, !graph.tensor<[N], f32>
  }
  // CHECK: %r8 = graph.scan carried() over() length <[16]> until "L" -> (!graph.tensor<[L], i64>) {
  %r8 = graph.scan carried() over() length <[16]> until "L" -> (!graph.tensor<[L], i64>) {
  ^bb0(%j: !graph.tensor<[], i64>):
    // CHECK: graph.yield %c, %j : !graph.tensor<[], i1>, !graph.tensor<[], i64>
    graph.yield %c, %j : !graph.tensor<[], i1>, !graph.tensor<[], i64>
  }
  // CHECK: %r9 = graph.fusion %x, %x "two uses" : (!graph.tensor<[N], f32>, !graph.tensor<[N], f32>) -> !graph.tensor<[N], f32> {
  %r9 = graph.fusion %x, %x "two uses" : (!graph.tensor<[N], f32>, !graph.tensor<[N], f32>) -> !graph.tensor<[N], f32> {
  ^bb0(%k: !graph.tensor<[N], f32>, %l: !graph.tensor<[N], f32>):
    // CHECK: %r10 = graph.mul %k, %l : !graph.tensor<[N], f32>
    %r10 = graph.mul %k, %l : !graph.tensor<[N], f32>
    // CHECK: graph.yield %r10 : !graph.tensor<[N], f32>
    graph.yield %r10 : !graph.tensor<[N], f32>
  }
  func.return
}
