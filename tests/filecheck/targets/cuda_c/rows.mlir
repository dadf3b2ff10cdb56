// RUN: infini-opt %s -p cuda-c-plan --target cuda-c --split-input-file | filecheck %s

// A row is loaded once into the registers of the threads that compute with it; the two
// reductions go through shared memory in two arrays by turns, so that one barrier each is enough.
// CHECK-LABEL: softmax(Global<const float> X, Global<float> Y) {
// CHECK:       __shared__ Shared<float, 4> partials_0;
// CHECK-NEXT:  __shared__ Shared<float, 4> partials_1;
// CHECK:       float X_tile[8] = {};
// CHECK:       partial = Max::combine(partial, X_tile[slot]);
// CHECK:       partial = reduce_lanes<Max, WARP>(partial);
// CHECK-NEXT:  if (thread % WARP == 0) partials_0[thread / WARP] = partial;
// CHECK-NEXT:  __syncthreads();  // before partials_0 is read
// CHECK:       expf(
// CHECK-NOT:   __syncthreads
// CHECK:       if (thread % WARP == 0) partials_1[thread / WARP]
// CHECK-NEXT:  __syncthreads();  // before partials_1 is read
// CHECK-NOT:   __syncthreads
// CHECK:       Y[Y_at + element] =
// CHECK-LABEL: extern "C" void launch_softmax(
// CHECK:       INFINI_LAUNCH(softmax, grid_of(programs), 128, stream_of(stream),
builtin.module {
  tile.kernel @softmax(%X: !tile.view<[M, 1000], f32>, %Y: !tile.view<[M, 1000], f32>) grid(%i : M by 1) {
    %z = arith.constant 0 : index
    %x = tile.load %X[%i, %z] axes [1] : !tile.view<[M, 1000], f32> -> !tile.tile<[1000], f32>
    %m = tile.reduce max %x axes [0] : !tile.tile<[1000], f32> -> !tile.tile<[], f32>
    %e = tile.map %x, %m dims [[0], []] : (!tile.tile<[1000], f32>, !tile.tile<[], f32>) -> !tile.tile<[1000], f32> {
    ^bb0(%a: f32, %b: f32):
      %d = arith.subf %a, %b : f32
      %p = math.exp %d : f32
      tile.yield %p : f32
    }
    %l = tile.reduce add %e axes [0] : !tile.tile<[1000], f32> -> !tile.tile<[], f32>
    %y = tile.map %e, %l dims [[0], []] : (!tile.tile<[1000], f32>, !tile.tile<[], f32>) -> !tile.tile<[1000], f32> {
    ^bb0(%a: f32, %b: f32):
      %p = arith.divf %a, %b : f32
      tile.yield %p : f32
    }
    tile.store set %y, %Y[%i, %z] axes [1] : !tile.tile<[1000], f32> -> !tile.view<[M, 1000], f32>
  }
}

// -----

// A short row has a few lanes of a warp, and needs no shared memory.
// CHECK-LABEL: short_rows(Global<const half_t> X, Global<half_t> Y, int64_t programs) {
// CHECK-NEXT:  using index_t = int64_t;
// CHECK-NEXT:  const int thread = threadIdx.x % 16;
// CHECK-NEXT:  const int group = threadIdx.x / 16;
// CHECK-NOT:   __shared__
// CHECK:       widen(
// CHECK:       reduce_lanes<Add, 16>(
// CHECK-NOT:   __syncthreads
// CHECK-LABEL: extern "C" void launch_short_rows(
builtin.module {
  tile.kernel @short_rows(%X: !tile.view<[M, 16], f16>, %Y: !tile.view<[M], f16>) grid(%i : M by 1) {
    %z = arith.constant 0 : index
    %x = tile.load %X[%i, %z] axes [1] : !tile.view<[M, 16], f16> -> !tile.tile<[16], f16>
    %m = tile.reduce add %x axes [0] : !tile.tile<[16], f16> -> !tile.tile<[], f16>
    tile.store set %m, %Y[%i] axes [] : !tile.tile<[], f16> -> !tile.view<[M], f16>
  }
}
