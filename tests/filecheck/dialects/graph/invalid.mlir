// RUN: infini-opt %s --split-input-file --verify-diagnostics | filecheck %s

// CHECK: tuple<> is not an element type of the graph dialect
func.func @f(%x: !graph.tensor<[N], tuple<>>) {

  func.return
}

// -----

// CHECK: result 0 has type !graph.tensor<[N, 4], f32>, but the operands give !graph.tensor<[4, N], f32>
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  %0 = graph.transpose %x [1, 0] : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: axis 2 is outside a tensor of rank 2
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  %0 = graph.softmax %x axis 2 : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: axis list [1, 1] names one twice
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  %0 = graph.reduce sum %x axes [1, 1] : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N], f32>
  func.return
}

// -----

// CHECK: works on float elements, not on i32
func.func @f(%x: !graph.tensor<[N], i32>) {
  %0 = graph.exp %x : !graph.tensor<[N], i32>
  func.return
}

// -----

// CHECK: f8E5M2 only stores: cast before arithmetic
func.func @f(%x: !graph.tensor<[N], f8E5M2>) {
  %0 = graph.neg %x : !graph.tensor<[N], f8E5M2>
  func.return
}

// -----

// CHECK: operand types differ: !graph.tensor<[N, 4], f32> and !graph.tensor<[N, 1], f32>
func.func @f(%x: !graph.tensor<[N, 4], f32>, %y: !graph.tensor<[N, 1], f32>) {
  %0 = graph.compare lt %x, %y : (!graph.tensor<[N, 4], f32>, !graph.tensor<[N, 1], f32>) -> !graph.tensor<[N, 4], i1>
  func.return
}

// -----

// CHECK: the choices' types differ: !graph.tensor<[N, 4], f32> and !graph.tensor<[N, 4], f16>
func.func @f(%x: !graph.tensor<[N, 4], f32>, %y: !graph.tensor<[N, 4], f16>, %c: !graph.tensor<[N, 4], i1>) {
  %0 = graph.select %c, %x, %y : (!graph.tensor<[N, 4], i1>, !graph.tensor<[N, 4], f32>, !graph.tensor<[N, 4], f16>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: the condition has elements of i8, not i1
func.func @f(%x: !graph.tensor<[N, 4], f32>, %c: !graph.tensor<[N, 4], i8>) {
  %0 = graph.select %c, %x, %x : (!graph.tensor<[N, 4], i8>, !graph.tensor<[N, 4], f32>, !graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: shapes differ: !graph.tensor<[N, 1], i1> and !graph.tensor<[N, 4], f32>
func.func @f(%x: !graph.tensor<[N, 4], f32>, %c: !graph.tensor<[N, 1], i1>) {
  %0 = graph.select %c, %x, %x : (!graph.tensor<[N, 1], i1>, !graph.tensor<[N, 4], f32>, !graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: f32 and f16 have different widths
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  %0 = graph.bitcast %x : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], f16>
  func.return
}

// -----

// CHECK: a constant's size must be known, not !graph.tensor<[N], f32>
func.func @f() {
  %0 = graph.constant <[1.0]> : !graph.tensor<[N], f32>
  func.return
}

// -----

// CHECK: 1 elements given for !graph.tensor<[2], f32>
func.func @f() {
  %0 = graph.constant <[1.0]> : !graph.tensor<[2], f32>
  func.return
}

// -----

// CHECK: !graph.tensor<[129], f64> is over 1024 bytes: make it a weight
func.func @f() {
  %0 = graph.constant <[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]> : !graph.tensor<[129], f64>
  func.return
}

// -----

// CHECK: a weight's shape must be known, not !graph.tensor<[N], f32>
func.func @f() {
  %0 = graph.weight "w" : !graph.tensor<[N], f32>
  func.return
}

// -----

// CHECK: positions are numbers, not i1
func.func @f() {
  %0 = graph.iota axis 0 : !graph.tensor<[N], i1>
  func.return
}

// -----

// CHECK: !graph.tensor<[N, 4], f32> has more axes than !graph.tensor<[N], f32>
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  %0 = graph.broadcast %x : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N], f32>
  func.return
}

// -----

// CHECK: size 4 does not repeat to 8
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  %0 = graph.broadcast %x : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 8], f32>
  func.return
}

// -----

// CHECK: !graph.tensor<[3, 4], f32> and !graph.tensor<[3, 5], f32> have different numbers of elements
func.func @f(%x: !graph.tensor<[3, 4], f32>) {
  %0 = graph.reshape %x : (!graph.tensor<[3, 4], f32>) -> !graph.tensor<[3, 5], f32>
  func.return
}

// -----

// CHECK: [0, 0] is not a permutation of 2 axes
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  %0 = graph.transpose %x [0, 0] : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: concat wants at least one operand
func.func @f() {
  %0 = graph.concat axis 0 : () -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: !graph.tensor<[N, 4], f32> and !graph.tensor<[N], f32> do not concatenate
func.func @f(%x: !graph.tensor<[N, 4], f32>, %y: !graph.tensor<[N], f32>) {
  %0 = graph.concat %x, %y axis 0 : (!graph.tensor<[N, 4], f32>, !graph.tensor<[N], f32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: sizes of axis 1 differ: !graph.tensor<[N, 4], f32> and !graph.tensor<[N, 5], f32>
func.func @f(%x: !graph.tensor<[N, 4], f32>, %y: !graph.tensor<[N, 5], f32>) {
  %0 = graph.concat %x, %y axis 0 : (!graph.tensor<[N, 4], f32>, !graph.tensor<[N, 5], f32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: wants a start, step and size for each axis of !graph.tensor<[N, 4], f32>
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  %0 = graph.slice %x starts <[0]> steps [1] : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: a step is 0
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  %0 = graph.slice %x starts <[0, 0]> steps [0, 1] : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: 0 starts given for dynamic axes [1]
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  %0 = graph.slice %x starts <[0, 0]> steps [1, 1] dynamic [1] : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: a start is an i64 scalar, not !graph.tensor<[], i32>
func.func @f(%x: !graph.tensor<[N, 4], f32>, %n: !graph.tensor<[], i32>) {
  %0 = graph.slice %x, %n starts <[0, 0]> steps [1, 1] dynamic [1] : (!graph.tensor<[N, 4], f32>, !graph.tensor<[], i32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: axis 1: elements 2 to 5 of 4 do not exist
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  %0 = graph.slice %x starts <[0, 2]> steps [1, 1] : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: !graph.tensor<[N], f32> does not go into !graph.tensor<[N, 4], f32>
func.func @f(%x: !graph.tensor<[N, 4], f32>, %y: !graph.tensor<[N], f32>) {
  %0 = graph.insert_slice %x, %y starts <[0, 0]> : (!graph.tensor<[N, 4], f32>, !graph.tensor<[N], f32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: the value is a scalar of f32, not !graph.tensor<[], i32>
func.func @f(%x: !graph.tensor<[N, 4], f32>, %n: !graph.tensor<[], i32>) {
  %0 = graph.pad %x, %n lo <[0, 0]> hi <[0, 0]> interior [0, 0] : (!graph.tensor<[N, 4], f32>, !graph.tensor<[], i32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: wants lo, hi and interior for each axis of !graph.tensor<[N, 4], f32>
func.func @f(%x: !graph.tensor<[N, 4], f32>, %n: !graph.tensor<[], f32>) {
  %0 = graph.pad %x, %n lo <[0]> hi <[0, 0]> interior [0, 0] : (!graph.tensor<[N, 4], f32>, !graph.tensor<[], f32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: interior counts [0, -1] must not be negative
func.func @f(%x: !graph.tensor<[N, 4], f32>, %n: !graph.tensor<[], f32>) {
  %0 = graph.pad %x, %n lo <[0, 0]> hi <[0, 0]> interior [0, -1] : (!graph.tensor<[N, 4], f32>, !graph.tensor<[], f32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: wants a size, stride and dilation for each axis
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  %0 = graph.window %x axes [1] sizes <[2]> strides [] dilations [1] : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: strides and dilations must be at least 1
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  %0 = graph.window %x axes [1] sizes <[2]> strides [0] dilations [1] : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: gives one size
func.func @f() {
  %0 = graph.dim <[N, M]> : !graph.tensor<[], i64>
  func.return
}

// -----

// CHECK: binds an i64 scalar, not !graph.tensor<[N, 4], f32>
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  graph.bind %x as "K" : !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: indices are integers, not f32
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  %0 = graph.gather %x, %x axis 0 : (!graph.tensor<[N, 4], f32>, !graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4, 4], f32>
  func.return
}

// -----

// CHECK: !graph.tensor<[K], i64> has no known index length as its last axis
func.func @f(%x: !graph.tensor<[N, 4], f32>, %i: !graph.tensor<[K], i64>) {
  %0 = graph.gather_nd %x, %i batch_dims 0 : (!graph.tensor<[N, 4], f32>, !graph.tensor<[K], i64>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: !graph.tensor<[K, 3], i64> does not index !graph.tensor<[N, 4], f32> with 0 batch axes
func.func @f(%x: !graph.tensor<[N, 4], f32>, %i: !graph.tensor<[K, 3], i64>) {
  %0 = graph.gather_nd %x, %i batch_dims 0 : (!graph.tensor<[N, 4], f32>, !graph.tensor<[K, 3], i64>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: batch axes of !graph.tensor<[N, 4], f32> and !graph.tensor<[K, 1], i64> differ
func.func @f(%x: !graph.tensor<[N, 4], f32>, %i: !graph.tensor<[K, 1], i64>) {
  %0 = graph.gather_nd %x, %i batch_dims 1 : (!graph.tensor<[N, 4], f32>, !graph.tensor<[K, 1], i64>) -> !graph.tensor<[K], f32>
  func.return
}

// -----

// CHECK: !graph.tensor<[K, 3], i64> does not index !graph.tensor<[N, 4], f32>
func.func @f(%x: !graph.tensor<[N, 4], f32>, %i: !graph.tensor<[K, 3], i64>) {
  %0 = graph.scatter_nd set %x, %i, %x : (!graph.tensor<[N, 4], f32>, !graph.tensor<[K, 3], i64>, !graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: updates are !graph.tensor<[N, 4], f32>, but !graph.tensor<[K, 1], i64> wants !graph.tensor<[K, 4], f32>
func.func @f(%x: !graph.tensor<[N, 4], f32>, %i: !graph.tensor<[K, 1], i64>) {
  %0 = graph.scatter_nd set %x, %i, %x : (!graph.tensor<[N, 4], f32>, !graph.tensor<[K, 1], i64>, !graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: 2 keys of 1 operands
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  %0 = graph.sort %x axis 0 keys 2 : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: the operands' shapes differ
func.func @f(%x: !graph.tensor<[N, 4], f32>, %y: !graph.tensor<[N], f32>) {
  %0, %1 = graph.sort %x, %y axis 0 keys 1 : (!graph.tensor<[N, 4], f32>, !graph.tensor<[N], f32>) -> (!graph.tensor<[N, 4], f32>, !graph.tensor<[N], f32>)
  func.return
}

// -----

// CHECK: no sum of bools: cast first, or use max or min
func.func @f(%x: !graph.tensor<[N], i1>) {
  %0 = graph.reduce sum %x axes [0] : (!graph.tensor<[N], i1>) -> !graph.tensor<[], i1>
  func.return
}

// -----

// CHECK: no index of a sum
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  %0 = graph.arg_reduce sum %x axis 0 : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[4], i64>
  func.return
}

// -----

// CHECK: contracted sizes differ: ['4'] and ['N']
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  %0 = graph.dot %x, %x batch [] [] contract [1] [0] : (!graph.tensor<[N, 4], f32>, !graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: batch sizes differ: ['N'] and ['4']
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  %0 = graph.dot %x, %x batch [0] [1] contract [] [] : (!graph.tensor<[N, 4], f32>, !graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: the state is !graph.tensor<[2], ui64>, not !graph.tensor<[N, 4], f32>
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  %0, %1 = graph.rng %x : (!graph.tensor<[N, 4], f32>) -> (!graph.tensor<[3], ui32>, !graph.tensor<[N, 4], f32>)
  func.return
}

// -----

// CHECK: scale and bias are !graph.tensor<[4], f32>, not !graph.tensor<[5], f32>
func.func @f(%x: !graph.tensor<[N, 4], f32>, %s: !graph.tensor<[5], f32>) {
  %0 = graph.rms_norm %x scale %s axis 1 epsilon 1.0e-05 : (!graph.tensor<[N, 4], f32>, !graph.tensor<[5], f32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: bias !graph.tensor<[B, 1, 5, T], f32> does not repeat to the scores
func.func @f(%q: !graph.tensor<[B, 4, S, 8], f32>, %k: !graph.tensor<[B, 2, T, 8], f32>, %b: !graph.tensor<[B, 1, 5, T], f32>) {
  %0 = graph.attention %q, %k, %k bias %b : !graph.tensor<[B, 1, 5, T], f32> scale 1.0 : !graph.tensor<[B, 4, S, 8], f32>, !graph.tensor<[B, 2, T, 8], f32>, !graph.tensor<[B, 2, T, 8], f32> -> !graph.tensor<[B, 4, S, 8], f32>
  func.return
}

// -----

// CHECK: q, k and v are [batch, heads, positions, width]
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  %0 = graph.attention %x, %x, %x scale 1.0 : !graph.tensor<[N, 4], f32>, !graph.tensor<[N, 4], f32>, !graph.tensor<[N, 4], f32> -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: !graph.tensor<[B, 4, S, 8], f32>, !graph.tensor<[B, 2, T, 9], f32> and !graph.tensor<[B, 2, T, 8], f32> do not fit
func.func @f(%q: !graph.tensor<[B, 4, S, 8], f32>, %k: !graph.tensor<[B, 2, T, 9], f32>, %v: !graph.tensor<[B, 2, T, 8], f32>) {
  %0 = graph.attention %q, %k, %v scale 1.0 : !graph.tensor<[B, 4, S, 8], f32>, !graph.tensor<[B, 2, T, 9], f32>, !graph.tensor<[B, 2, T, 8], f32> -> !graph.tensor<[B, 4, S, 8], f32>
  func.return
}

// -----

// CHECK: 4 heads do not group over 3
func.func @f(%q: !graph.tensor<[B, 4, S, 8], f32>, %k: !graph.tensor<[B, 3, T, 8], f32>) {
  %0 = graph.attention %q, %k, %k scale 1.0 : !graph.tensor<[B, 4, S, 8], f32>, !graph.tensor<[B, 3, T, 8], f32>, !graph.tensor<[B, 3, T, 8], f32> -> !graph.tensor<[B, 4, S, 8], f32>
  func.return
}

// -----

// CHECK: !graph.tensor<[B, 4, S, 8], f32>, !graph.tensor<[P, 16, 2, 8], f32>, !graph.tensor<[P, 16, 2, 8], f32> and !graph.tensor<[B], i64> do not fit
func.func @f(%q: !graph.tensor<[B, 4, S, 8], f32>, %p: !graph.tensor<[P, 16, 2, 8], f32>, %t: !graph.tensor<[B], i64>) {
  %0 = graph.paged_attention %q, %p, %p, %t, %t scale 1.0 : (!graph.tensor<[B, 4, S, 8], f32>, !graph.tensor<[P, 16, 2, 8], f32>, !graph.tensor<[P, 16, 2, 8], f32>, !graph.tensor<[B], i64>, !graph.tensor<[B], i64>) -> !graph.tensor<[B, 4, S, 8], f32>
  func.return
}

// -----

// CHECK: kv_len is one i64 a row, not !graph.tensor<[B], i32>
func.func @f(%q: !graph.tensor<[B, 4, S, 8], f32>, %p: !graph.tensor<[P, 16, 2, 8], f32>, %t: !graph.tensor<[B, M], i64>, %l: !graph.tensor<[B], i32>) {
  %0 = graph.paged_attention %q, %p, %p, %t, %l scale 1.0 : (!graph.tensor<[B, 4, S, 8], f32>, !graph.tensor<[P, 16, 2, 8], f32>, !graph.tensor<[P, 16, 2, 8], f32>, !graph.tensor<[B, M], i64>, !graph.tensor<[B], i32>) -> !graph.tensor<[B, 4, S, 8], f32>
  func.return
}

// -----

// CHECK: cos and sin have one type and the rank of x: !graph.tensor<[N, 2], f32>, !graph.tensor<[N, 1], f32>
func.func @f(%x: !graph.tensor<[N, 4], f32>, %c: !graph.tensor<[N, 2], f32>, %s: !graph.tensor<[N, 1], f32>) {
  %0 = graph.rope %x, %c, %s : (!graph.tensor<[N, 4], f32>, !graph.tensor<[N, 2], f32>, !graph.tensor<[N, 1], f32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: !graph.tensor<[5, 2], f32> does not repeat over !graph.tensor<[N, 4], f32>
func.func @f(%x: !graph.tensor<[N, 4], f32>, %c: !graph.tensor<[5, 2], f32>) {
  %0 = graph.rope %x, %c, %c : (!graph.tensor<[N, 4], f32>, !graph.tensor<[5, 2], f32>, !graph.tensor<[5, 2], f32>) -> !graph.tensor<[N, 4], f32>
  func.return
}

// -----

// CHECK: !graph.tensor<[N, 4, 9], f32>, !graph.tensor<[6, 4], f32> and the spatial attributes do not fit
func.func @f(%x: !graph.tensor<[N, 4, 9], f32>, %w: !graph.tensor<[6, 4], f32>) {
  %0 = graph.conv channels_first %x, %w groups 1 strides [1] dilations [1] lo <[0]> hi <[0]> input_dilation [1] : (!graph.tensor<[N, 4, 9], f32>, !graph.tensor<[6, 4], f32>) -> !graph.tensor<[N, 4, 9], f32>
  func.return
}

// -----

// CHECK: strides and dilations must be at least 1
func.func @f(%x: !graph.tensor<[N, 4, 9], f32>, %w: !graph.tensor<[6, 4, 3], f32>) {
  %0 = graph.conv channels_first %x, %w groups 1 strides [0] dilations [1] lo <[0]> hi <[0]> input_dilation [1] : (!graph.tensor<[N, 4, 9], f32>, !graph.tensor<[6, 4, 3], f32>) -> !graph.tensor<[N, 4, 9], f32>
  func.return
}

// -----

// CHECK: !graph.tensor<[N, 4, 9], f32> does not have 1 groups of 5 channels
func.func @f(%x: !graph.tensor<[N, 4, 9], f32>, %w: !graph.tensor<[6, 5, 3], f32>) {
  %0 = graph.conv channels_first %x, %w groups 1 strides [1] dilations [1] lo <[0]> hi <[0]> input_dilation [1] : (!graph.tensor<[N, 4, 9], f32>, !graph.tensor<[6, 5, 3], f32>) -> !graph.tensor<[N, 4, 9], f32>
  func.return
}

// -----

// CHECK: 5 filters do not split into 2 groups
func.func @f(%x: !graph.tensor<[N, 4, 9], f32>, %w: !graph.tensor<[5, 2, 3], f32>) {
  %0 = graph.conv channels_first %x, %w groups 2 strides [1] dilations [1] lo <[0]> hi <[0]> input_dilation [1] : (!graph.tensor<[N, 4, 9], f32>, !graph.tensor<[5, 2, 3], f32>) -> !graph.tensor<[N, 4, 9], f32>
  func.return
}

// -----

// CHECK: the bias is one value a filter, not !graph.tensor<[5], f32>
func.func @f(%x: !graph.tensor<[N, 4, 9], f32>, %w: !graph.tensor<[6, 4, 3], f32>, %b: !graph.tensor<[5], f32>) {
  %0 = graph.conv channels_first %x, %w bias %b groups 1 strides [1] dilations [1] lo <[0]> hi <[0]> input_dilation [1] : (!graph.tensor<[N, 4, 9], f32>, !graph.tensor<[6, 4, 3], f32>, !graph.tensor<[5], f32>) -> !graph.tensor<[N, 4, 9], f32>
  func.return
}

// -----

// CHECK: wants a size, stride, dilation and padding a spatial axis of !graph.tensor<[N, 4, 9], f32>
func.func @f(%x: !graph.tensor<[N, 4, 9], f32>) {
  %0 = graph.pool max channels_first %x sizes [2, 2] strides [1] dilations [1] lo <[0]> hi <[0]> : (!graph.tensor<[N, 4, 9], f32>) -> !graph.tensor<[N, 4, 9], f32>
  func.return
}

// -----

// CHECK: scale !graph.tensor<[5], f32> does not fit !graph.tensor<[N, 4], f32>
func.func @f(%x: !graph.tensor<[N, 4], f32>, %s: !graph.tensor<[5], f32>) {
  %0 = graph.quantize %x, %s axis 1 : (!graph.tensor<[N, 4], f32>, !graph.tensor<[5], f32>) -> !graph.tensor<[N, 4], i8>
  func.return
}

// -----

// CHECK: !graph.tensor<[N, 4], i8> and !graph.tensor<[N, 4], i8> do not multiply
func.func @f(%a: !graph.tensor<[N, 4], i8>) {
  %0 = graph.quantized_matmul %a, %a : !graph.tensor<[N, 4], i8>, !graph.tensor<[N, 4], i8> -> !graph.tensor<[N, 4], i32>
  func.return
}

// -----

// CHECK: batch axes of !graph.tensor<[B, N, 4], i8> and !graph.tensor<[C, 4, M], i8> differ
func.func @f(%a: !graph.tensor<[B, N, 4], i8>, %b: !graph.tensor<[C, 4, M], i8>) {
  %0 = graph.quantized_matmul %a, %b : !graph.tensor<[B, N, 4], i8>, !graph.tensor<[C, 4, M], i8> -> !graph.tensor<[B, N, M], i32>
  func.return
}

// -----

// CHECK: the condition is a bool scalar, not !graph.tensor<[N, 4], f32>
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  %0 = graph.if %x : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], f32> {
    graph.yield %x : !graph.tensor<[N, 4], f32>
  } {
    graph.yield %x : !graph.tensor<[N, 4], f32>
  }
  func.return
}

// -----

// CHECK: a region must end with graph.yield
func.func @f(%x: !graph.tensor<[N, 4], f32>, %c: !graph.tensor<[], i1>) {
  %0 = graph.if %c : (!graph.tensor<[], i1>) -> !graph.tensor<[N, 4], f32> {
    tile.yield
  } {
    graph.yield %x : !graph.tensor<[N, 4], f32>
  }
  func.return
}

// -----

// CHECK: a branch gives !graph.tensor<[N, 4], f32> for !graph.tensor<[N], f32>
func.func @f(%x: !graph.tensor<[N, 4], f32>, %c: !graph.tensor<[], i1>) {
  %0 = graph.if %c : (!graph.tensor<[], i1>) -> !graph.tensor<[N], f32> {
    graph.yield %x : !graph.tensor<[N, 4], f32>
  } {
    graph.yield %x : !graph.tensor<[N, 4], f32>
  }
  func.return
}

// -----

// CHECK: a region gives 1 values for 2 results
func.func @f(%x: !graph.tensor<[N, 4], f32>, %c: !graph.tensor<[], i1>) {
  %0, %1 = graph.if %c : (!graph.tensor<[], i1>) -> (!graph.tensor<[N, 4], f32>, !graph.tensor<[N, 4], f32>) {
    graph.yield %x : !graph.tensor<[N, 4], f32>
  } {
    graph.yield %x : !graph.tensor<[N, 4], f32>
  }
  func.return
}

// -----

// CHECK: a branch takes (i1), wants ()
func.func @f(%x: !graph.tensor<[N, 4], f32>, %c: !graph.tensor<[], i1>) {
  %0 = graph.if %c : (!graph.tensor<[], i1>) -> !graph.tensor<[N, 4], f32> {
  ^bb0(%b: i1):
    graph.yield %x : !graph.tensor<[N, 4], f32>
  } {
    graph.yield %x : !graph.tensor<[N, 4], f32>
  }
  func.return
}

// -----

// CHECK: results have the types of the initial values
func.func @f(%x: !graph.tensor<[N, 4], f32>, %c: !graph.tensor<[], i1>) {
  %0 = graph.while %x : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N], f32> {
  ^bb0(%a: !graph.tensor<[N, 4], f32>):
    graph.yield %c : !graph.tensor<[], i1>
  } {
  ^bb0(%b: !graph.tensor<[N, 4], f32>):
    graph.yield %x : !graph.tensor<[N, 4], f32>
  }
  func.return
}

// -----

// CHECK: the condition region gives one bool scalar
func.func @f(%x: !graph.tensor<[N, 4], f32>, %c: !graph.tensor<[], i1>) {
  %0 = graph.while %x : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], f32> {
  ^bb0(%a: !graph.tensor<[N, 4], f32>):
    graph.yield %x : !graph.tensor<[N, 4], f32>
  } {
  ^bb0(%b: !graph.tensor<[N, 4], f32>):
    graph.yield %x : !graph.tensor<[N, 4], f32>
  }
  func.return
}

// -----

// CHECK: the body gives the next carried values, of the same types
func.func @f(%x: !graph.tensor<[N, 4], f32>, %c: !graph.tensor<[], i1>) {
  %0 = graph.while %x : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], f32> {
  ^bb0(%a: !graph.tensor<[N, 4], f32>):
    graph.yield %c : !graph.tensor<[], i1>
  } {
  ^bb0(%b: !graph.tensor<[N, 4], f32>):
    graph.yield %c : !graph.tensor<[], i1>
  }
  func.return
}

// -----

// CHECK: with until, the body gives a bool scalar first
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  %0 = graph.scan carried(%x : !graph.tensor<[N, 4], f32>) over() length <[3]> until "L" -> (!graph.tensor<[N, 4], f32>) {
  ^bb0(%i: !graph.tensor<[], i64>, %h: !graph.tensor<[N, 4], f32>):
    graph.yield %x : !graph.tensor<[N, 4], f32>
  }
  func.return
}

// -----

// CHECK: the body's values do not fit the carried values and stacks
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  %0 = graph.scan carried(%x : !graph.tensor<[N, 4], f32>) over() length <[3]> -> (!graph.tensor<[N, 4], f32>) {
  ^bb0(%i: !graph.tensor<[], i64>, %h: !graph.tensor<[N, 4], f32>):
    graph.yield
  }
  func.return
}

// -----

// CHECK: !graph.tensor<[N, 4], f32> is not stacked 3 high
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  graph.scan carried() over(%x : !graph.tensor<[N, 4], f32>) length <[3]> -> () {
  ^bb0(%i: !graph.tensor<[], i64>, %h: !graph.tensor<[4], f32>):
    graph.yield
  }
  func.return
}

// -----

// CHECK: the cluster's values do not have the results' types
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  %0 = graph.fusion %x "why" : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N], f32> {
  ^bb0(%a: !graph.tensor<[N, 4], f32>):
    graph.yield %a : !graph.tensor<[N, 4], f32>
  }
  func.return
}

// -----

// CHECK: a cluster sees its operands only
func.func @f(%x: !graph.tensor<[N, 4], f32>) {
  %0 = graph.fusion %x "why" : (!graph.tensor<[N, 4], f32>) -> !graph.tensor<[N, 4], f32> {
  ^bb0(%a: !graph.tensor<[N, 4], f32>):
    %1 = graph.add %a, %x : !graph.tensor<[N, 4], f32>
    graph.yield %1 : !graph.tensor<[N, 4], f32>
  }
  func.return
}
