// RUN: infini-opt %s -p graph-to-tile --split-input-file | filecheck %s

// A gathered slice is one clamped position and one contiguous load.
// CHECK-LABEL: tile.kernel @gather
// CHECK:       [[I:%.*]] = tile.read
// CHECK:       arith.minsi
// CHECK:       [[P:%.*]] = arith.maxsi
// CHECK:       tile.load %{{.*}}[%{{.*}}, [[P]]] axes [0]
// CHECK:       tile.store set
func.func @main(%x: !graph.tensor<[V, 16], f32>, %i: !graph.tensor<[B], i64>) -> !graph.tensor<[B, 16], f32> {
  %y = graph.gather %x, %i axis 0 : (!graph.tensor<[V, 16], f32>, !graph.tensor<[B], i64>) -> !graph.tensor<[B, 16], f32>
  func.return %y : !graph.tensor<[B, 16], f32>
}

// -----

// Updates are made in order; programs share out the slice, so none writes what another does.
// CHECK-LABEL: tile.kernel @scatter
// CHECK-SAME:  grid(%{{.*}} : 4 by BC)
// CHECK:       tile.for %{{.*}} by <[1]> carry()
// CHECK:       arith.cmpi ult
// CHECK:       tile.store add
// CHECK-LABEL: tile.program @main
// CHECK:       tile.launch @copy
// CHECK:       tile.launch @scatter
func.func @main(%x: !graph.tensor<[N, 4], f32>, %i: !graph.tensor<[K, 1], i64>, %u: !graph.tensor<[K, 4], f32>) -> !graph.tensor<[N, 4], f32> {
  %y = graph.scatter_nd add %x, %i, %u : (!graph.tensor<[N, 4], f32>, !graph.tensor<[K, 1], i64>, !graph.tensor<[K, 4], f32>) -> !graph.tensor<[N, 4], f32>
  func.return %y : !graph.tensor<[N, 4], f32>
}
