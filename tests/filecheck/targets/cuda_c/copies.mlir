// RUN: infini-opt %s -p cuda-c-plan --target cuda-c --split-input-file | filecheck %s

// A transposition goes over shared memory: neighbouring threads load along one axis and store
// along the other. Sizes are known, so positions are of 32 bits.
// CHECK-LABEL: transpose(Global<const float> X, Global<float> Y) {
// CHECK-NEXT:  using index_t = int;
// CHECK:       __shared__ Shared<float, {{[0-9]+}}> X_tile;
// CHECK:       = X[
// CHECK:       __syncthreads();  // before X_tile is read
// CHECK:       = X_tile[
// CHECK:       Y[
builtin.module {
  tile.kernel @transpose(%X: !tile.view<[512, 256], f32, strides [1, 512]>, %Y: !tile.view<[512, 256], f32>) grid(%i : 512 by BR, %j : 256 by BC) {
    %x = tile.load %X[%i, %j] axes [0, 1] : !tile.view<[512, 256], f32, strides [1, 512]> -> !tile.tile<[BR, BC], f32>
    tile.store set %x, %Y[%i, %j] axes [0, 1] : !tile.tile<[BR, BC], f32> -> !tile.view<[512, 256], f32>
  }
}

// -----

// A thread loads all its elements before it stores the first one. The edge is a condition, and
// a known size that the tile divides has none.
// CHECK-LABEL: doubled(Global<const float> X, Global<float> Y, int64_t N) {
// CHECK:       const int extent = extent_of(N - {{.*}}, 1024);
// CHECK:       float Y_values[8];
// CHECK:       if (element < extent) {
// CHECK:       Y_values[slot] =
// CHECK:       Y[{{.*}}] = Y_values[slot];
builtin.module {
  tile.kernel @doubled(%X: !tile.view<[N], f32>, %Y: !tile.view<[N], f32>) grid(%i : N by BC) {
    %x = tile.load %X[%i] axes [0] : !tile.view<[N], f32> -> !tile.tile<[BC], f32>
    %y = tile.map %x dims [[0]] : (!tile.tile<[BC], f32>) -> !tile.tile<[BC], f32> {
    ^bb0(%a: f32):
      %s = arith.addf %a, %a : f32
      tile.yield %s : f32
    }
    tile.store set %y, %Y[%i] axes [0] : !tile.tile<[BC], f32> -> !tile.view<[N], f32>
  }
}

// -----

// Elements are written one thread after another, in row-major order.
// CHECK-LABEL: scattered(Global<const float> U, Global<const int64_t> {{.*}}, Global<float> Y, int64_t N, {{.*}}int64_t programs) {
// CHECK:       is_inside(
// CHECK:       for (int turn = 0; turn < 32; ++turn) {
// CHECK-NEXT:  if (inside && thread == turn) {
// CHECK:       meet_lanes<32>();
builtin.module {
  tile.kernel @scattered(%U: !tile.view<[S, 32], f32>, %I: !tile.view<[S, 32], i64>, %Y: !tile.view<[S, N], f32>) grid(%i : S by 1) {
    %z = arith.constant 0 : index
    %u = tile.load %U[%i, %z] axes [1] : !tile.view<[S, 32], f32> -> !tile.tile<[32], f32>
    %p = tile.load %I[%i, %z] axes [1] : !tile.view<[S, 32], i64> -> !tile.tile<[32], i64>
    tile.scatter add %u, %Y[%i, %p] dims [[], [0]] : !tile.tile<[32], f32> -> !tile.view<[S, N], f32>[index, !tile.tile<[32], i64>]
  }
}
