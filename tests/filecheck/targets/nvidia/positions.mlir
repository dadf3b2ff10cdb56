// RUN: infini-opt %s -p nvidia-legalise -t triton --split-input-file | filecheck %s

// Signed positions of bytes are widened; of lanes that meet, the last writes.
// CHECK-LABEL: def scatter(ts_ptr, xs_ptr, y_ptr):
// CHECK:      place = tl.broadcast_to(t.to(tl.int64), (32,))
// CHECK-NEXT: live = tl.broadcast_to((t.to(tl.int64) >= 0) & (t.to(tl.int64) < 40), (32,))
// CHECK-NEXT: live = live & (tl.max(((place[None, :] == place[:, None]) & (r32[None, :] > r32[:, None]) & live[None, :]).to(tl.int32), axis=1) == 0)
// CHECK-NEXT: tl.store(y_ptr + place, x, mask=live)
tile.kernel @scatter(%ts: !tile.view<[32], i8>, %xs: !tile.view<[32], f32>, %y: !tile.view<[40], f32>) grid() {
  %zero = arith.constant 0 : index
  %t = tile.load %ts[%zero] axes [0] : !tile.view<[32], i8> -> !tile.tile<[32], i8>
  %x = tile.load %xs[%zero] axes [0] : !tile.view<[32], f32> -> !tile.tile<[32], f32>
  tile.scatter set %x, %y[%t] dims [[0]] : !tile.tile<[32], f32> -> !tile.view<[40], f32>[!tile.tile<[32], i8>]
}

// -----

// A view that may exceed 2^31 elements is addressed in 64 bits from the program on; lanes
// inside a tile need 32.
// CHECK-LABEL: def far(x_ptr, y_ptr):
// CHECK:      a = tl.load(x_ptr + i.to(tl.int64) * 1048576 + j + (r16[:, None] * 1048576 + r32[None, :]))
tile.kernel @far(%x: !tile.view<[4096, 1048576], f32>, %y: !tile.view<[4096, 1048576], f32>) grid(%i : 4096 by 16, %j : 1048576 by 32) {
  %a = tile.load %x[%i, %j] axes [0, 1] : !tile.view<[4096, 1048576], f32> -> !tile.tile<[16, 32], f32>
  tile.store add %a, %y[%i, %j] axes [0, 1] : !tile.tile<[16, 32], f32> -> !tile.view<[4096, 1048576], f32>
}
