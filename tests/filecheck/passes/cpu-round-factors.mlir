// RUN: infini-opt %s -p 'cpu-round-factors{cpu="sapphirerapids"}' --split-input-file | filecheck %s
// RUN: infini-opt %s -p 'cpu-round-factors{cpu="x86-64-v4"}' --split-input-file | filecheck %s --check-prefix VECTORS

// A computed f32 factor of a product with a bf16 one is rounded where a matrix unit multiplies
// them; the sum of its elements is that of the exact ones. Elsewhere it stays as it is.
// CHECK-LABEL: tile.kernel @weighted
// CHECK:       math.exp
// CHECK:       %[[R:[0-9]+]] = tile.map %e dims {{.*}} -> !tile.tile<[BM, 32], bf16>
// CHECK:       arith.truncf
// CHECK:       tile.reduce add %e
// CHECK:       tile.dot %[[R]]
// VECTORS-LABEL: tile.kernel @weighted
// VECTORS-NOT: arith.truncf
tile.kernel @weighted(%X: !tile.view<[64, 32], f32>, %V: !tile.view<[32, 48], bf16>, %Y: !tile.view<[64, 48], f32>, %S: !tile.view<[64], f32>) grid(%i : 64 by BM) {
  %0 = arith.constant 0 : index
  %z = arith.constant 0.0 : f32
  %acc = tile.full %z : f32 -> !tile.tile<[BM, 48], f32>
  %x = tile.load %X[%i, %0] axes [0, 1] : !tile.view<[64, 32], f32> -> !tile.tile<[BM, 32], f32>
  %v = tile.load %V[%0, %0] axes [0, 1] : !tile.view<[32, 48], bf16> -> !tile.tile<[32, 48], bf16>
  %e = tile.map %x dims [[0, 1]] : (!tile.tile<[BM, 32], f32>) -> !tile.tile<[BM, 32], f32> {
  ^bb0(%a: f32):
    %p = math.exp %a : f32
    tile.yield %p : f32
  }
  %s = tile.reduce add %e axes [1] : !tile.tile<[BM, 32], f32> -> !tile.tile<[BM], f32>
  %d = tile.dot %e, %v, %acc : !tile.tile<[BM, 32], f32>, !tile.tile<[32, 48], bf16>, !tile.tile<[BM, 48], f32> -> !tile.tile<[BM, 48], f32>
  tile.store set %d, %Y[%i, %0] axes [0, 1] : !tile.tile<[BM, 48], f32> -> !tile.view<[64, 48], f32>
  tile.store set %s, %S[%i] axes [0] : !tile.tile<[BM], f32> -> !tile.view<[64], f32>
}

// -----

// Factors that are loaded are not touched, nor rows that would leave most of a tile empty.
// CHECK-LABEL: tile.kernel @loaded
// CHECK-NOT:   arith.truncf
// VECTORS-LABEL: tile.kernel @loaded
tile.kernel @loaded(%X: !tile.view<[64, 32], f32>, %V: !tile.view<[32, 48], bf16>, %Y: !tile.view<[64, 48], f32>) grid(%i : 64 by BM) {
  %0 = arith.constant 0 : index
  %z = arith.constant 0.0 : f32
  %acc = tile.full %z : f32 -> !tile.tile<[BM, 48], f32>
  %x = tile.load %X[%i, %0] axes [0, 1] : !tile.view<[64, 32], f32> -> !tile.tile<[BM, 32], f32>
  %v = tile.load %V[%0, %0] axes [0, 1] : !tile.view<[32, 48], bf16> -> !tile.tile<[32, 48], bf16>
  %d = tile.dot %x, %v, %acc : !tile.tile<[BM, 32], f32>, !tile.tile<[32, 48], bf16>, !tile.tile<[BM, 48], f32> -> !tile.tile<[BM, 48], f32>
  tile.store set %d, %Y[%i, %0] axes [0, 1] : !tile.tile<[BM, 48], f32> -> !tile.view<[64, 48], f32>
}
// CHECK-LABEL: tile.kernel @few_rows
// CHECK-NOT:   arith.truncf
tile.kernel @few_rows(%X: !tile.view<[4, 32], f32>, %V: !tile.view<[32, 48], bf16>, %Y: !tile.view<[4, 48], f32>) grid(%i : 4 by BM) {
  %0 = arith.constant 0 : index
  %z = arith.constant 0.0 : f32
  %acc = tile.full %z : f32 -> !tile.tile<[BM, 48], f32>
  %x = tile.load %X[%i, %0] axes [0, 1] : !tile.view<[4, 32], f32> -> !tile.tile<[BM, 32], f32>
  %v = tile.load %V[%0, %0] axes [0, 1] : !tile.view<[32, 48], bf16> -> !tile.tile<[32, 48], bf16>
  %e = tile.map %x dims [[0, 1]] : (!tile.tile<[BM, 32], f32>) -> !tile.tile<[BM, 32], f32> {
  ^bb0(%a: f32):
    %p = math.exp %a : f32
    tile.yield %p : f32
  }
  %d = tile.dot %e, %v, %acc : !tile.tile<[BM, 32], f32>, !tile.tile<[32, 48], bf16>, !tile.tile<[BM, 48], f32> -> !tile.tile<[BM, 48], f32>
  tile.store set %d, %Y[%i, %0] axes [0, 1] : !tile.tile<[BM, 48], f32> -> !tile.view<[4, 48], f32>
}
