// RUN: infini-opt %s -p nvidia-plan,nvidia-legalise -t triton --split-input-file | filecheck %s

// A row of 1000 is a tensor of 1024: what is beyond the row is neutral in reductions and not
// stored. Maxima carry NaN.
// CHECK:      def nan_max(a, b):
// CHECK-NEXT:   return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)
// CHECK-LABEL: def softmax(x_ptr, y_ptr):
// CHECK:      i = tl.cast(tl.program_id(0), tl.int64)
// CHECK-NEXT: a = tl.load(x_ptr + i * 1000 + r1024, mask=r1024 < 1000, other=0.0)
// CHECK-NEXT: m = tl.reduce(tl.where(r1024 < 1000, a, float("-inf")), 0, nan_max)
// CHECK-NEXT: e = libdevice.exp(a - m)
// CHECK-NEXT: l = tl.sum(tl.where(r1024 < 1000, e, 0.0), axis=0)
// CHECK-NEXT: q = tl.div_rn(e, l)
// CHECK-NEXT: tl.store(y_ptr + i * 1000 + r1024, q, mask=r1024 < 1000)
tile.kernel @softmax(%x: !tile.view<[M, 1000], f32>, %y: !tile.view<[M, 1000], f32>) grid(%i : M by 1) {
  %zero = arith.constant 0 : index
  %a = tile.load %x[%i, %zero] axes [1] : !tile.view<[M, 1000], f32> -> !tile.tile<[1000], f32>
  %m = tile.reduce max %a axes [0] : !tile.tile<[1000], f32> -> !tile.tile<[], f32>
  %e = tile.map %a, %m dims [[0], []] : (!tile.tile<[1000], f32>, !tile.tile<[], f32>) -> !tile.tile<[1000], f32> {
  ^bb0(%s: f32, %t: f32):
    %d = arith.subf %s, %t : f32
    %p = math.exp %d : f32
    tile.yield %p : f32
  }
  %l = tile.reduce add %e axes [0] : !tile.tile<[1000], f32> -> !tile.tile<[], f32>
  %q = tile.map %e, %l dims [[0], []] : (!tile.tile<[1000], f32>, !tile.tile<[], f32>) -> !tile.tile<[1000], f32> {
  ^bb0(%s: f32, %t: f32):
    %d = arith.divf %s, %t : f32
    tile.yield %d : f32
  }
  tile.store set %q, %y[%i, %zero] axes [1] : !tile.tile<[1000], f32> -> !tile.view<[M, 1000], f32>
}

// -----

// What is known to divide has no mask. Unsigned numbers are compared as such, a bool is a byte.
// CHECK-LABEL: def unsigned(x_ptr, y_ptr, z_ptr):
// CHECK-NOT:  mask
// CHECK:      m = tl.max(a.to(tl.uint8, bitcast=True), axis=0).to(tl.uint8).to(tl.int8, bitcast=True)
// CHECK-NEXT: b = tl.load(y_ptr + i * 512 + r512) != 0
// CHECK-NEXT: n = tl.min((b).to(tl.int32), axis=0) != 0
// CHECK:      tl.store(z_ptr + i, q.to(tl.int8))
tile.kernel @unsigned(%x: !tile.view<[4, 512], ui8>, %y: !tile.view<[4, 512], i1>, %z: !tile.view<[4], i1>) grid(%i : 4 by 1) {
  %zero = arith.constant 0 : index
  %a = tile.load %x[%i, %zero] axes [1] : !tile.view<[4, 512], ui8> -> !tile.tile<[512], ui8>
  %m = tile.reduce max %a axes [0] : !tile.tile<[512], ui8> -> !tile.tile<[], ui8>
  %b = tile.load %y[%i, %zero] axes [1] : !tile.view<[4, 512], i1> -> !tile.tile<[512], i1>
  %n = tile.reduce min %b axes [0] : !tile.tile<[512], i1> -> !tile.tile<[], i1>
  %q = tile.map %m, %n dims [[], []] : (!tile.tile<[], ui8>, !tile.tile<[], i1>) -> !tile.tile<[], i1> {
  ^bb0(%s: i8, %t: i1):
    %c = arith.constant 7 : i8
    %d = arith.cmpi ugt, %s, %c : i8
    %e = arith.andi %d, %t : i1
    tile.yield %e : i1
  }
  tile.store set %q, %z[%i] axes [] : !tile.tile<[], i1> -> !tile.view<[4], i1>
}
