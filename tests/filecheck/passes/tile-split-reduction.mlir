// RUN: infini-opt %s -p 'tile-split-reduction{programs=4 bytes=0}' --split-input-file | filecheck %s

// A sum over everything: four parts of equal length, then their sum and what follows it.
// CHECK:       tile.kernel @mean_part(%[[x:.*]]: !tile.view<[4, 250], f32>, %[[sums:.*]]: !tile.view<[4, 1], f32>) grid(%[[part:.*]] : 4 by 1, %[[i:.*]] : 1 by 1) {
// CHECK:         %[[row:.*]] = tile.load %[[x]][%[[part]], %{{.*}}] axes [1] : {{.*}} -> !tile.tile<[250], f32>
// CHECK-NEXT:    %[[sum:.*]] = tile.reduce add %[[row]] axes [0]
// CHECK-NEXT:    tile.store set %[[sum]], %[[sums]][%[[part]], %[[i]]] axes []
// CHECK:       tile.kernel @mean_total(%[[y:.*]]: !tile.view<[1], f32>, %[[sums:.*]]: !tile.view<[4, 1], f32>) grid(%[[i:.*]] : 1 by 1) {
// CHECK:         %[[each:.*]] = tile.load %[[sums]][%{{.*}}, %[[i]]] axes [0] : {{.*}} -> !tile.tile<[4], f32>
// CHECK-NEXT:    %[[sum:.*]] = tile.reduce add %[[each]] axes [0]
// CHECK-NEXT:    tile.map %[[sum]]
// CHECK:         tile.store set
// CHECK:       tile.program
// CHECK:         %[[parts:.*]] = tile.alias %[[x:.*]] offset <[0]> : !tile.view<[1000], f32> -> !tile.view<[4, 250], f32>
// CHECK-NEXT:    %[[sums:.*]] = tile.alloc : !tile.view<[4, 1], f32>
// CHECK-NEXT:    tile.launch @mean_part(%[[parts]], %[[sums]])
// CHECK-NEXT:    tile.launch @mean_total(%{{.*}}, %[[sums]])
tile.kernel @mean(%x: !tile.view<[1000], f32>, %y: !tile.view<[1], f32>) grid(%i : 1 by 1) {
  %0 = arith.constant 0 : index
  %row = tile.load %x[%0] axes [0] : !tile.view<[1000], f32> -> !tile.tile<[1000], f32>
  %sum = tile.reduce add %row axes [0] : !tile.tile<[1000], f32> -> !tile.tile<[], f32>
  %out = tile.map %sum dims [[]] : (!tile.tile<[], f32>) -> !tile.tile<[], f32> {
  ^bb0(%a: f32):
    %n = arith.constant 1000.0 : f32
    %c = arith.divf %a, %n : f32
    tile.yield %c : f32
  }
  tile.store set %out, %y[%i] axes [] : !tile.tile<[], f32> -> !tile.view<[1], f32>
}
tile.program @main inputs 1 {
^bb0(%x: !tile.view<[1000], f32>, %y: !tile.view<[1], f32>):
  tile.launch @mean(%x, %y) : !tile.view<[1000], f32>, !tile.view<[1], f32>
}

// -----

// Columns of unknown length: as many parts as there are rows, at most four, and no program
// where there is no row. The last kernel takes in what equal parts leave over.
// CHECK:       tile.kernel @most_part({{.*}}) grid(%{{.*}} : min(4, floordiv(N, max(1, floordiv(N, 4)))) by 1, %{{.*}} : 64 by BC)
// CHECK:         tile.load {{.*}} axes [1, 2] : {{.*}} -> !tile.tile<[max(1, floordiv(N, 4)), BC], f16>
// CHECK:       tile.kernel @most_total(%{{.*}}: !tile.view<[64], f16>, %[[rest:.*]]: !tile.view<[N - max(1, floordiv(N, 4))*min({{.*}}), 64], f16>,
// CHECK:         %[[each:.*]] = tile.load {{.*}} axes [0, 1] : {{.*}} -> !tile.tile<[min({{.*}}), BC], f16>
// CHECK-NEXT:    %[[parts:.*]] = tile.reduce max %[[each]] axes [0]
// CHECK:         %[[left:.*]] = tile.load %[[rest]]
// CHECK-NEXT:    %[[other:.*]] = tile.reduce max %[[left]] axes [0]
// CHECK-NEXT:    tile.map %[[parts]], %[[other]]
// CHECK:       tile.program
// CHECK:         tile.alias %{{.*}} offset <[64*max(1, floordiv(N, 4))*min({{.*}})]>
tile.kernel @most(%x: !tile.view<[N, 64], f16>, %y: !tile.view<[64], f16>) grid(%i : 64 by BC) {
  %0 = arith.constant 0 : index
  %rows = tile.load %x[%0, %i] axes [0, 1] : !tile.view<[N, 64], f16> -> !tile.tile<[N, BC], f16>
  %out = tile.reduce max %rows axes [0] : !tile.tile<[N, BC], f16> -> !tile.tile<[BC], f16>
  tile.store set %out, %y[%i] axes [0] : !tile.tile<[BC], f16> -> !tile.view<[64], f16>
}
tile.program @main inputs 1 {
^bb0(%x: !tile.view<[N, 64], f16>, %y: !tile.view<[64], f16>):
  tile.launch @most(%x, %y) : !tile.view<[N, 64], f16>, !tile.view<[64], f16>
}

// -----

// Programs for every row there are enough of.
// CHECK:       tile.kernel @rows(
// CHECK-NOT:   tile.kernel
tile.kernel @rows(%x: !tile.view<[3, 64], f32>, %y: !tile.view<[3], f32>) grid(%i : 3 by 1) {
  %0 = arith.constant 0 : index
  %row = tile.load %x[%i, %0] axes [1] : !tile.view<[3, 64], f32> -> !tile.tile<[64], f32>
  %out = tile.reduce add %row axes [0] : !tile.tile<[64], f32> -> !tile.tile<[], f32>
  tile.store set %out, %y[%i] axes [] : !tile.tile<[], f32> -> !tile.view<[3], f32>
}
