// RUN: infini-opt %s --split-input-file --verify-diagnostics | filecheck %s

// CHECK: elements of local memory are signless, not ui8
%0 = buffer.alloc : !buffer.local<32, ui8, vector>

// -----

// CHECK: a queue has a depth, and only a queue
%0 = "buffer.alloc"() <{queue = #buffer.queue input}> : () -> !buffer.local<32, f32, vector>

// -----

// CHECK: a slot comes from an allocation that is a queue
%0 = buffer.alloc : !buffer.local<32, f32, vector>
%1 = buffer.acquire %0 : !buffer.local<32, f32, vector> -> !buffer.local<32, f32, vector>

// -----

// CHECK: wants a slot that was acquired
%0 = buffer.alloc : !buffer.local<32, f32, vector>
buffer.free %0 : !buffer.local<32, f32, vector>

// -----

// CHECK: operands have different elements: f32, f16
%0 = buffer.alloc : !buffer.local<32, f32, vector>
%1 = buffer.alloc : !buffer.local<32, f16, vector>
%z = arith.constant 0 : index
buffer.unary exp %0[%z], %1[%z], %z : !buffer.local<32, f32, vector>, !buffer.local<32, f16, vector>

// -----

// CHECK: wants a mask, not !buffer.local<32, f32, vector>
%0 = buffer.alloc : !buffer.local<32, f32, vector>
%z = arith.constant 0 : index
buffer.compare lt %0[%z], %0[%z], %0[%z], %z : !buffer.local<32, f32, vector>, !buffer.local<32, f32, vector>, !buffer.local<32, f32, vector>

// -----

// CHECK: scalar index does not meet !buffer.local<32, f32, vector>
%0 = buffer.alloc : !buffer.local<32, f32, vector>
%z = arith.constant 0 : index
buffer.fill %0[%z], %z, %z : !buffer.local<32, f32, vector>, index

// -----

// CHECK: single lanes of a mask are not written; write bytes
%0 = buffer.alloc : !buffer.local<32, i1, vector>
%z = arith.constant 0 : index
%t = arith.constant true
buffer.insert %t, %0[%z] : i1, !buffer.local<32, i1, vector>

// -----

// CHECK: wants an extent and a pitch for each axis
tile.kernel @k(%x: !tile.view<[N], f32>) grid() {
  %0 = buffer.alloc : !buffer.local<32, f32, vector>
  %z = arith.constant 0 : index
  buffer.copy_in %0[%z], %x[%z] axes [0] extents() pitches [1] : !buffer.local<32, f32, vector>, !tile.view<[N], f32>
}

// -----

// CHECK: !tile.view<[N], f16> does not move to !buffer.local<32, f32, vector>
tile.kernel @k(%x: !tile.view<[N], f16>) grid() {
  %0 = buffer.alloc : !buffer.local<32, f32, vector>
  %z = arith.constant 0 : index
  buffer.copy_in %0[%z], %x[%z] axes [0] extents(%z) pitches [1] : !buffer.local<32, f32, vector>, !tile.view<[N], f16>
}
