// RUN: infini-opt %s -p graph-causal-bias --split-input-file | filecheck %s

// The bias hides the keys after each query, and nothing else.
// CHECK-LABEL: @lower_triangle
func.func @lower_triangle(%q: !graph.tensor<[1, 2, 2, 4], f32>, %k: !graph.tensor<[1, 2, 3, 4], f32>)
    -> !graph.tensor<[1, 2, 2, 4], f32> {
  %m = graph.constant <[true, true, false, true, true, true]> : !graph.tensor<[1, 1, 2, 3], i1>
  // CHECK: graph.attention %q, %k, %k scale 5.000000e-01 causal
  %y = graph.attention %q, %k, %k bias %m : !graph.tensor<[1, 1, 2, 3], i1> scale 0.5 : !graph.tensor<[1, 2, 2, 4], f32>, !graph.tensor<[1, 2, 3, 4], f32>, !graph.tensor<[1, 2, 3, 4], f32> -> !graph.tensor<[1, 2, 2, 4], f32>
  func.return %y : !graph.tensor<[1, 2, 2, 4], f32>
}

// -----

// The first query sees a later key.
// CHECK-LABEL: @full_first_row
func.func @full_first_row(%q: !graph.tensor<[1, 2, 2, 4], f32>, %k: !graph.tensor<[1, 2, 2, 4], f32>)
    -> !graph.tensor<[1, 2, 2, 4], f32> {
  %m = graph.constant <[true, true, true, true]> : !graph.tensor<[1, 1, 2, 2], i1>
  // CHECK: graph.attention %q, %k, %k bias
  %y = graph.attention %q, %k, %k bias %m : !graph.tensor<[1, 1, 2, 2], i1> scale 0.5 : !graph.tensor<[1, 2, 2, 4], f32>, !graph.tensor<[1, 2, 2, 4], f32>, !graph.tensor<[1, 2, 2, 4], f32> -> !graph.tensor<[1, 2, 2, 4], f32>
  func.return %y : !graph.tensor<[1, 2, 2, 4], f32>
}

// -----

// A low number that scores can count beside.
// CHECK-LABEL: @finite
func.func @finite(%q: !graph.tensor<[1, 2, 2, 4], f32>, %k: !graph.tensor<[1, 2, 2, 4], f32>)
    -> !graph.tensor<[1, 2, 2, 4], f32> {
  %m = graph.constant <[0.0, -1.0e9, 0.0, 0.0]> : !graph.tensor<[1, 1, 2, 2], f32>
  // CHECK: graph.attention %q, %k, %k bias
  %y = graph.attention %q, %k, %k bias %m : !graph.tensor<[1, 1, 2, 2], f32> scale 0.5 : !graph.tensor<[1, 2, 2, 4], f32>, !graph.tensor<[1, 2, 2, 4], f32>, !graph.tensor<[1, 2, 2, 4], f32> -> !graph.tensor<[1, 2, 2, 4], f32>
  func.return %y : !graph.tensor<[1, 2, 2, 4], f32>
}

// -----

// CHECK-LABEL: @lowest
func.func @lowest(%q: !graph.tensor<[1, 2, 2, 4], f32>, %k: !graph.tensor<[1, 2, 2, 4], f32>)
    -> !graph.tensor<[1, 2, 2, 4], f32> {
  %m = graph.constant <[0.0, -3.4028234663852886e38, 0.0, 0.0]> : !graph.tensor<[1, 1, 2, 2], f32>
  // CHECK: graph.attention %q, %k, %k scale 5.000000e-01 causal
  %y = graph.attention %q, %k, %k bias %m : !graph.tensor<[1, 1, 2, 2], f32> scale 0.5 : !graph.tensor<[1, 2, 2, 4], f32>, !graph.tensor<[1, 2, 2, 4], f32>, !graph.tensor<[1, 2, 2, 4], f32> -> !graph.tensor<[1, 2, 2, 4], f32>
  func.return %y : !graph.tensor<[1, 2, 2, 4], f32>
}
