// RUN: infini-opt %s -p graph-dce --split-input-file | filecheck %s

// CHECK-LABEL: @unused
func.func @unused(%x: !graph.tensor<[N], f32>) -> !graph.tensor<[N], f32> {
  // CHECK-NEXT: graph.exp
  // CHECK-NEXT: func.return
  %0 = graph.neg %x : !graph.tensor<[N], f32>
  %1 = graph.abs %0 : !graph.tensor<[N], f32>
  %2 = graph.exp %x : !graph.tensor<[N], f32>
  func.return %2 : !graph.tensor<[N], f32>
}

// -----

// A loop whose results nothing uses goes, and with it the symbol it defines.
// CHECK-LABEL: @loop
func.func @loop(%x: !graph.tensor<[N], f32>, %m: !graph.tensor<[N], i1>) -> !graph.tensor<[N], f32> {
  // CHECK-NEXT: func.return
  %i = graph.nonzero %m defines "K" : (!graph.tensor<[N], i1>) -> !graph.tensor<[1, K], i64>
  %0 = graph.scan carried(%x : !graph.tensor<[N], f32>) over() length <[K]> -> (!graph.tensor<[N], f32>) {
  ^bb0(%n: !graph.tensor<[], i64>, %c: !graph.tensor<[N], f32>):
    %1 = graph.neg %c : !graph.tensor<[N], f32>
    graph.yield %1 : !graph.tensor<[N], f32>
  }
  func.return %x : !graph.tensor<[N], f32>
}

// -----

// The symbol is used in a type, so that its definition stays, whose result is not used.
// CHECK-LABEL: @symbol_used
func.func @symbol_used(%m: !graph.tensor<[N], i1>) -> !graph.tensor<[K], f32> {
  // CHECK-NEXT: graph.nonzero
  %i = graph.nonzero %m defines "K" : (!graph.tensor<[N], i1>) -> !graph.tensor<[1, K], i64>
  %c = graph.constant <[1.0]> : !graph.tensor<[], f32>
  %0 = graph.broadcast %c : (!graph.tensor<[], f32>) -> !graph.tensor<[K], f32>
  func.return %0 : !graph.tensor<[K], f32>
}

// -----

// A bind that checks a fact stays: the reshape relies on it.
// CHECK-LABEL: @checked
func.func @checked(%x: !graph.tensor<[N], f32>, %n: !graph.tensor<[], i64>) -> !graph.tensor<[2, K], f32> {
  // CHECK-NEXT: graph.bind %n as "K"
  // CHECK-NEXT: graph.dim <[2*K]>
  // CHECK-NEXT: graph.bind %{{.*}} as "checked" where <2*K eq N>
  // CHECK-NEXT: graph.reshape
  graph.bind %n as "K" : !graph.tensor<[], i64>
  %0 = graph.dim <[2*K]> : !graph.tensor<[], i64>
  graph.bind %0 as "checked" where <2*K eq N> : !graph.tensor<[], i64>
  %1 = graph.reshape %x : (!graph.tensor<[N], f32>) -> !graph.tensor<[2, K], f32>
  func.return %1 : !graph.tensor<[2, K], f32>
}
