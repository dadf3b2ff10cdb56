// RUN: infini-opt %s -p nvidia-legalise -t triton --split-input-file | filecheck %s

// Programs in bands of eight tiles of rows. All turns but the last have whole tiles along k;
// rows of unknown number are masked. Three products of tf32 parts make one of f32.
// CHECK-LABEL: def matmul(a_ptr, b_ptr, y_ptr, M: tl.int32):
// CHECK:      program = tl.program_id(0)
// CHECK:      first = program // (8 * 2) * 8
// CHECK:      i_left = M - i
// CHECK-NEXT: c = tl.full((64, 64), 0.0, tl.float32)
// CHECK-NEXT: for k in range(0, 96, 32):
// CHECK-NEXT:   x = tl.load(a_ptr + i.to(tl.int64) * 100 + k + (r64[:, None] * 100 + r32[None, :]), mask=r64[:, None] < i_left, other=0.0)
// CHECK-NEXT:   w = tl.load(b_ptr + k * 128 + j + (r32[:, None] * 128 + r64[None, :]))
// CHECK-NEXT:   c = tl.dot(x, w, c, input_precision="tf32x3")
// CHECK-NEXT: for k in range(96, 100, 32):
// CHECK-NEXT:   k_left = 100 - k
// CHECK:        mask=r32[:, None] < k_left
tile.kernel @matmul(%a: !tile.view<[M, 100], f32>, %b: !tile.view<[100, 128], f32>, %y: !tile.view<[M, 128], f32>)
    grid(%i : M by BM, %j : 128 by BN) plan {BM = 64 : i64, BN = 64 : i64, BK = 32 : i64, stages = 3 : i64, group = 8 : i64} {
  %zero = arith.constant 0.0 : f32
  %z = tile.full %zero : f32 -> !tile.tile<[BM, BN], f32>
  %n = arith.constant 100 : index
  %acc = tile.for %n by <[BK]> carry(%z : !tile.tile<[BM, BN], f32>) -> (!tile.tile<[BM, BN], f32>) {
  ^bb0(%k: index, %c: !tile.tile<[BM, BN], f32>):
    %x = tile.load %a[%i, %k] axes [0, 1] : !tile.view<[M, 100], f32> -> !tile.tile<[BM, BK], f32>
    %w = tile.load %b[%k, %j] axes [0, 1] : !tile.view<[100, 128], f32> -> !tile.tile<[BK, BN], f32>
    %d = tile.dot %x, %w, %c : !tile.tile<[BM, BK], f32>, !tile.tile<[BK, BN], f32>, !tile.tile<[BM, BN], f32> -> !tile.tile<[BM, BN], f32>
    tile.yield %d : !tile.tile<[BM, BN], f32>
  }
  tile.store set %acc, %y[%i, %j] axes [0, 1] : !tile.tile<[BM, BN], f32> -> !tile.view<[M, 128], f32>
}

// -----

// Rows and columns of a window lie flat, and the loops over taps and channels are one.
// CHECK-LABEL: def conv(x_ptr, w_ptr, y_ptr):
// CHECK:      r128 = tl.arange(0, 128)
// CHECK-NEXT: r128_y = r128 // 16
// CHECK-NEXT: r128_x = r128 % 16
// CHECK:      for turn in range(0, 18):
// CHECK-NEXT:   p = turn // 6
// CHECK-NEXT:   q = turn // 2 % 3
// CHECK-NEXT:   c = (turn % 2) * 32
// CHECK-NEXT:   a = tl.load(x_ptr + i * 2176 + j * 64 + p * 2176 + q * 64 + c + (r128_y[:, None] * 2176 + r128_x[:, None] * 64 + r32[None, :]))
// CHECK:        c2 = tl.dot(a, b, c2)
tile.kernel @conv(%x: !tile.view<[32, 32, 3, 3, 64], f16, strides [2176, 64, 2176, 64, 1]>, %w: !tile.view<[3, 3, 64, 32], f16>, %y: !tile.view<[32, 32, 32], f32>)
    grid(%i : 32 by BH, %j : 32 by BW, %n : 32 by BN) plan {BH = 8 : i64, BW = 16 : i64, BN = 32 : i64, BK = 32 : i64} {
  %zero = arith.constant 0.0 : f32
  %z = tile.full %zero : f32 -> !tile.tile<[BH, BW, BN], f32>
  %three = arith.constant 3 : index
  %r = tile.for %three by <[1]> carry(%z : !tile.tile<[BH, BW, BN], f32>) -> (!tile.tile<[BH, BW, BN], f32>) {
  ^bb0(%p: index, %c0: !tile.tile<[BH, BW, BN], f32>):
    %s = tile.for %three by <[1]> carry(%c0 : !tile.tile<[BH, BW, BN], f32>) -> (!tile.tile<[BH, BW, BN], f32>) {
    ^bb1(%q: index, %c1: !tile.tile<[BH, BW, BN], f32>):
      %size = arith.constant 64 : index
      %t = tile.for %size by <[BK]> carry(%c1 : !tile.tile<[BH, BW, BN], f32>) -> (!tile.tile<[BH, BW, BN], f32>) {
      ^bb2(%c: index, %c2: !tile.tile<[BH, BW, BN], f32>):
        %a = tile.load %x[%i, %j, %p, %q, %c] axes [0, 1, 4] : !tile.view<[32, 32, 3, 3, 64], f16, strides [2176, 64, 2176, 64, 1]> -> !tile.tile<[BH, BW, BK], f16>
        %b = tile.load %w[%p, %q, %c, %n] axes [2, 3] : !tile.view<[3, 3, 64, 32], f16> -> !tile.tile<[BK, BN], f16>
        %d = tile.dot %a, %b, %c2 : !tile.tile<[BH, BW, BK], f16>, !tile.tile<[BK, BN], f16>, !tile.tile<[BH, BW, BN], f32> -> !tile.tile<[BH, BW, BN], f32>
        tile.yield %d : !tile.tile<[BH, BW, BN], f32>
      }
      tile.yield %t : !tile.tile<[BH, BW, BN], f32>
    }
    tile.yield %s : !tile.tile<[BH, BW, BN], f32>
  }
  tile.store set %r, %y[%i, %j, %n] axes [0, 1, 2] : !tile.tile<[BH, BW, BN], f32> -> !tile.view<[32, 32, 32], f32>
}
