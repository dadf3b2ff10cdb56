// RUN: infini-opt %s | filecheck %s

// Every operation reads as it is written.
tile.kernel @k(%x: !tile.view<[M, 64], f32>, %y: !tile.view<[M, 64], f32>) grid(%i : M by 4) {
  // CHECK: %u = buffer.alloc at 0 : !buffer.local<256, f32, vector>
  %u = buffer.alloc at 0 : !buffer.local<256, f32, vector>
  // CHECK: %h = buffer.alloc : !buffer.local<256, f16, vector>
  %h = buffer.alloc : !buffer.local<256, f16, vector>
  // CHECK: %m = buffer.alloc : !buffer.local<256, i1, vector>
  %m = buffer.alloc : !buffer.local<256, i1, vector>
  // CHECK: %b = buffer.alloc : !buffer.local<256, i8, vector>
  %b = buffer.alloc : !buffer.local<256, i8, vector>
  // CHECK: %e = buffer.alloc : !buffer.local<256, i32, vector>
  %e = buffer.alloc : !buffer.local<256, i32, vector>
  // CHECK: %q = buffer.alloc at 2048 queue input depth 2 : !buffer.local<256, f32, vector>
  %q = buffer.alloc at 2048 queue input depth 2 : !buffer.local<256, f32, vector>
  %z = arith.constant 0 : index
  %r = arith.constant 4 : index
  %n = arith.constant 64 : index
  %c = arith.constant 2.000000e+00 : f32
  %one = arith.constant 1 : i32
  // CHECK: %s = buffer.acquire %q : !buffer.local<256, f32, vector> -> !buffer.local<256, f32, vector>
  %s = buffer.acquire %q : !buffer.local<256, f32, vector> -> !buffer.local<256, f32, vector>
  // CHECK: buffer.copy_in %s[%z], %x[%i, %z] axes [0, 1] extents(%r, %n) pitches [64, 1] : !buffer.local<256, f32, vector>, !tile.view<[M, 64], f32>
  buffer.copy_in %s[%z], %x[%i, %z] axes [0, 1] extents(%r, %n) pitches [64, 1] : !buffer.local<256, f32, vector>, !tile.view<[M, 64], f32>
  // CHECK: buffer.enqueue %s : !buffer.local<256, f32, vector>
  buffer.enqueue %s : !buffer.local<256, f32, vector>
  // CHECK: buffer.dequeue %s : !buffer.local<256, f32, vector>
  buffer.dequeue %s : !buffer.local<256, f32, vector>
  // CHECK: buffer.unary exp %u[%z], %s[%z], %n : !buffer.local<256, f32, vector>, !buffer.local<256, f32, vector>
  buffer.unary exp %u[%z], %s[%z], %n : !buffer.local<256, f32, vector>, !buffer.local<256, f32, vector>
  // CHECK: buffer.free %s : !buffer.local<256, f32, vector>
  buffer.free %s : !buffer.local<256, f32, vector>
  // CHECK: buffer.binary add %u[%z], %u[%z], %u[%n], %n : !buffer.local<256, f32, vector>, !buffer.local<256, f32, vector>, !buffer.local<256, f32, vector>
  buffer.binary add %u[%z], %u[%z], %u[%n], %n : !buffer.local<256, f32, vector>, !buffer.local<256, f32, vector>, !buffer.local<256, f32, vector>
  // CHECK: buffer.binary_scalar mul %u[%z], %u[%z], %c, %n : !buffer.local<256, f32, vector>, !buffer.local<256, f32, vector>, f32
  buffer.binary_scalar mul %u[%z], %u[%z], %c, %n : !buffer.local<256, f32, vector>, !buffer.local<256, f32, vector>, f32
  // CHECK: buffer.compare lt %m[%z], %u[%z], %u[%n], %n : !buffer.local<256, i1, vector>, !buffer.local<256, f32, vector>, !buffer.local<256, f32, vector>
  buffer.compare lt %m[%z], %u[%z], %u[%n], %n : !buffer.local<256, i1, vector>, !buffer.local<256, f32, vector>, !buffer.local<256, f32, vector>
  // CHECK: buffer.compare_scalar ge %m[%z], %u[%z], %c, %n : !buffer.local<256, i1, vector>, !buffer.local<256, f32, vector>, f32
  buffer.compare_scalar ge %m[%z], %u[%z], %c, %n : !buffer.local<256, i1, vector>, !buffer.local<256, f32, vector>, f32
  // CHECK: buffer.mask_binary bit_and %m[%z], %m[%z], %m[%n], %n : !buffer.local<256, i1, vector>, !buffer.local<256, i1, vector>, !buffer.local<256, i1, vector>
  buffer.mask_binary bit_and %m[%z], %m[%z], %m[%n], %n : !buffer.local<256, i1, vector>, !buffer.local<256, i1, vector>, !buffer.local<256, i1, vector>
  // CHECK: buffer.mask_not %m[%z], %m[%z], %n : !buffer.local<256, i1, vector>, !buffer.local<256, i1, vector>
  buffer.mask_not %m[%z], %m[%z], %n : !buffer.local<256, i1, vector>, !buffer.local<256, i1, vector>
  // CHECK: buffer.mask_to_bytes %b[%z], %m[%z], %n : !buffer.local<256, i8, vector>, !buffer.local<256, i1, vector>
  buffer.mask_to_bytes %b[%z], %m[%z], %n : !buffer.local<256, i8, vector>, !buffer.local<256, i1, vector>
  // CHECK: buffer.mask_from_bytes %m[%z], %b[%z], %n : !buffer.local<256, i1, vector>, !buffer.local<256, i8, vector>
  buffer.mask_from_bytes %m[%z], %b[%z], %n : !buffer.local<256, i1, vector>, !buffer.local<256, i8, vector>
  // CHECK: buffer.select %u[%z], %m[%z], %u[%z], %u[%n], %n : !buffer.local<256, f32, vector>, !buffer.local<256, i1, vector>, !buffer.local<256, f32, vector>, !buffer.local<256, f32, vector>
  buffer.select %u[%z], %m[%z], %u[%z], %u[%n], %n : !buffer.local<256, f32, vector>, !buffer.local<256, i1, vector>, !buffer.local<256, f32, vector>, !buffer.local<256, f32, vector>
  // CHECK: buffer.cast nearest_even %h[%z], %u[%z], %n : !buffer.local<256, f16, vector>, !buffer.local<256, f32, vector>
  buffer.cast nearest_even %h[%z], %u[%z], %n : !buffer.local<256, f16, vector>, !buffer.local<256, f32, vector>
  // CHECK: buffer.cast trunc unsigned %e[%z], %u[%z], %n : !buffer.local<256, i32, vector>, !buffer.local<256, f32, vector>
  buffer.cast trunc unsigned %e[%z], %u[%z], %n : !buffer.local<256, i32, vector>, !buffer.local<256, f32, vector>
  // CHECK: buffer.fill %u[%z], %c, %n : !buffer.local<256, f32, vector>, f32
  buffer.fill %u[%z], %c, %n : !buffer.local<256, f32, vector>, f32
  // CHECK: buffer.iota %e[%z], %one, %n : !buffer.local<256, i32, vector>, i32
  buffer.iota %e[%z], %one, %n : !buffer.local<256, i32, vector>, i32
  // CHECK: buffer.copy %u[%z], %u[%n], %n : !buffer.local<256, f32, vector>, !buffer.local<256, f32, vector>
  buffer.copy %u[%z], %u[%n], %n : !buffer.local<256, f32, vector>, !buffer.local<256, f32, vector>
  // CHECK: buffer.reduce max %u[%z], %u[%n], %n work(%u : !buffer.local<256, f32, vector>) : !buffer.local<256, f32, vector>, !buffer.local<256, f32, vector>
  buffer.reduce max %u[%z], %u[%n], %n work(%u : !buffer.local<256, f32, vector>) : !buffer.local<256, f32, vector>, !buffer.local<256, f32, vector>
  // CHECK: buffer.transpose %u[%z], %u[%n], %r, %n pitches [8, 64] : !buffer.local<256, f32, vector>, !buffer.local<256, f32, vector>
  buffer.transpose %u[%z], %u[%n], %r, %n pitches [8, 64] : !buffer.local<256, f32, vector>, !buffer.local<256, f32, vector>
  // CHECK: buffer.dot %u[%z], %u[%n], %u[%n], %r, %n, %n pitches [64, 64, 64] transposed : !buffer.local<256, f32, vector>, !buffer.local<256, f32, vector>, !buffer.local<256, f32, vector>
  buffer.dot %u[%z], %u[%n], %u[%n], %r, %n, %n pitches [64, 64, 64] transposed : !buffer.local<256, f32, vector>, !buffer.local<256, f32, vector>, !buffer.local<256, f32, vector>
  // CHECK: %v = buffer.extract %u[%z] : !buffer.local<256, f32, vector> -> f32
  %v = buffer.extract %u[%z] : !buffer.local<256, f32, vector> -> f32
  // CHECK: buffer.insert %v, %u[%n] : f32, !buffer.local<256, f32, vector>
  buffer.insert %v, %u[%n] : f32, !buffer.local<256, f32, vector>
  // CHECK: buffer.sync vector to copy_out
  buffer.sync vector to copy_out
  // CHECK: buffer.copy_out add %y[%i, %z], %u[%z] axes [0, 1] extents(%r, %n) pitches [64, 1] : !tile.view<[M, 64], f32>, !buffer.local<256, f32, vector>
  buffer.copy_out add %y[%i, %z], %u[%z] axes [0, 1] extents(%r, %n) pitches [64, 1] : !tile.view<[M, 64], f32>, !buffer.local<256, f32, vector>
}
