// RUN: infini-opt %s -p ascend-split-cube --target ascend | filecheck %s
// RUN: infini-opt %s -p ascend-split-cube | filecheck %s --check-prefix PLAN

// A product that is only rounded needs no vector core: f32 becomes f16 on its way from L0C. The
// operands are loaded as fractals, tails as counts; pieces of the contraction have two buffers.
// PLAN:       unit = "cube"
// CHECK-LABEL: void dot_kernel(GM_ADDR A_address, GM_ADDR B_address, GM_ADDR Y_address, int64_t M) {
// CHECK-NEXT:  KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIC_ONLY);
// CHECK:       Product<half, Major::rows, Major::rows, 128, 256, 256, 64> product(&pipe);
// CHECK:       const int64_t i = program / 3 * 128;
// CHECK:       const int64_t rows = smaller(128, M - i);
// CHECK-NEXT:  const int64_t columns = smaller(256, 640 - j);
// CHECK-NEXT:  product.Begin(rows, columns);
// CHECK-NEXT:  for (int64_t k = 0; k < 1000; k += 256) {
// CHECK-NEXT:    const int64_t depth = smaller(256, 1000 - k);
// CHECK-NEXT:    product.NextPiece(depth);
// CHECK-NEXT:    product.LoadLeft(A[i * 1000 + k], 0, rows, 1000);
// CHECK-NEXT:    product.LoadRight(B[k * 640 + j], 640);
// CHECK-NEXT:    product.Multiply();
// CHECK-NEXT:  }
// CHECK-NEXT:  product.Finish();
// CHECK-NEXT:  product.StoreRows(Y[i * 640 + j], 0, rows, 640);
// CHECK-NEXT:  product.End();
// CHECK:       const int64_t blocks = smaller((cores + 1) / 2, programs);
builtin.module {
  tile.kernel @dot(%A: !tile.view<[M, 1000], f16>, %B: !tile.view<[1000, 640], f16>, %Y: !tile.view<[M, 640], f16>) grid(%i : M by BM, %j : 640 by BN) {
    %zero = arith.constant 0.0 : f32
    %begin = tile.full %zero : f32 -> !tile.tile<[BM, BN], f32>
    %depth = arith.constant 1000 : index
    %sum = tile.for %depth by <[BK]> carry(%begin : !tile.tile<[BM, BN], f32>) -> (!tile.tile<[BM, BN], f32>) {
    ^bb0(%k: index, %c: !tile.tile<[BM, BN], f32>):
      %a = tile.load %A[%i, %k] axes [0, 1] : !tile.view<[M, 1000], f16> -> !tile.tile<[BM, BK], f16>
      %b = tile.load %B[%k, %j] axes [0, 1] : !tile.view<[1000, 640], f16> -> !tile.tile<[BK, BN], f16>
      %d = tile.dot %a, %b, %c : !tile.tile<[BM, BK], f16>, !tile.tile<[BK, BN], f16>, !tile.tile<[BM, BN], f32> -> !tile.tile<[BM, BN], f32>
      tile.yield %d : !tile.tile<[BM, BN], f32>
    }
    %y = tile.map %sum dims [[0, 1]] : (!tile.tile<[BM, BN], f32>) -> !tile.tile<[BM, BN], f16> {
    ^bb0(%x: f32):
      %r = arith.truncf %x : f32 to f16
      tile.yield %r : f16
    }
    tile.store set %y, %Y[%i, %j] axes [0, 1] : !tile.tile<[BM, BN], f16> -> !tile.view<[M, 640], f16>
  }
}
