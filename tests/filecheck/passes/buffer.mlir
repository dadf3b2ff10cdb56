// RUN: infini-opt %s -p buffer-plan,tile-to-buffer,buffer-insert-sync --split-input-file | filecheck %s

// Rows come and go through queues; the scalar unit waits for what it reads.
// CHECK-LABEL: tile.kernel @softmax
// CHECK:      [[IN:%[0-9]+]] = buffer.alloc at {{[0-9]+}} queue input depth 2 : !buffer.local<104, f32, vector>
// CHECK-NEXT: [[OUT:%[0-9]+]] = buffer.alloc at {{[0-9]+}} queue output depth 2 : !buffer.local<104, f32, vector>
// CHECK:      [[X:%[0-9]+]] = buffer.acquire [[IN]]
// CHECK-NEXT: buffer.copy_in [[X]]
// CHECK-NEXT: buffer.enqueue [[X]]
// CHECK-NEXT: buffer.dequeue [[X]]
// CHECK-NEXT: buffer.reduce max
// CHECK:      buffer.sync vector to scalar
// CHECK:      buffer.extract
// CHECK:      [[Y:%[0-9]+]] = buffer.acquire [[OUT]]
// CHECK-NEXT: buffer.binary_scalar add [[Y]]
// CHECK-NEXT: buffer.free [[X]]
// CHECK-NEXT: buffer.unary exp [[Y]]{{.*}}, [[Y]]
// CHECK:      buffer.reduce add
// CHECK:      buffer.binary div [[Y]]
// CHECK-NEXT: buffer.enqueue [[Y]]
// CHECK-NEXT: buffer.dequeue [[Y]]
// CHECK-NEXT: buffer.copy_out set %y
// CHECK-NEXT: buffer.free [[Y]]
tile.kernel @softmax(%x: !tile.view<[M, 100], f32>, %y: !tile.view<[M, 100], f32>) grid(%i : M by 1) {
  %0 = arith.constant 0 : index
  %a = tile.load %x[%i, %0] axes [1] : !tile.view<[M, 100], f32> -> !tile.tile<[100], f32>
  %m = tile.reduce max %a axes [0] : !tile.tile<[100], f32> -> !tile.tile<[], f32>
  %e = tile.map %a, %m dims [[0], []] : (!tile.tile<[100], f32>, !tile.tile<[], f32>) -> !tile.tile<[100], f32> {
  ^bb0(%v: f32, %w: f32):
    %d = arith.subf %v, %w : f32
    %p = math.exp %d : f32
    tile.yield %p : f32
  }
  %s = tile.reduce add %e axes [0] : !tile.tile<[100], f32> -> !tile.tile<[], f32>
  %q = tile.map %e, %s dims [[0], []] : (!tile.tile<[100], f32>, !tile.tile<[], f32>) -> !tile.tile<[100], f32> {
  ^bb0(%v: f32, %w: f32):
    %p = arith.divf %v, %w : f32
    tile.yield %p : f32
  }
  tile.store set %q, %y[%i, %0] axes [1] : !tile.tile<[100], f32> -> !tile.view<[M, 100], f32>
}

// -----

// All rows of a tile are one instruction; a vector that repeats goes row by row.
// CHECK-LABEL: tile.kernel @rows
// CHECK:      buffer.copy_in {{.*}} axes [0, 1] extents({{.*}}) pitches [64, 1]
// CHECK:      buffer.unary exp
// CHECK-NOT:  buffer.unary exp
// CHECK:      scf.for
// CHECK:      buffer.binary add
tile.kernel @rows(%x: !tile.view<[M, 64], f32>, %b: !tile.view<[64], f32>, %y: !tile.view<[M, 64], f32>) grid(%i : M by BR) {
  %0 = arith.constant 0 : index
  %a = tile.load %x[%i, %0] axes [0, 1] : !tile.view<[M, 64], f32> -> !tile.tile<[BR, 64], f32>
  %v = tile.load %b[%0] axes [0] : !tile.view<[64], f32> -> !tile.tile<[64], f32>
  %e = tile.map %a, %v dims [[0, 1], [1]] : (!tile.tile<[BR, 64], f32>, !tile.tile<[64], f32>) -> !tile.tile<[BR, 64], f32> {
  ^bb0(%p: f32, %w: f32):
    %d = math.exp %p : f32
    %s = arith.addf %d, %w : f32
    tile.yield %s : f32
  }
  tile.store set %e, %y[%i, %0] axes [0, 1] : !tile.tile<[BR, 64], f32> -> !tile.view<[M, 64], f32>
}

// -----

// The vector unit has no i64: the scalar unit goes over the elements.
// CHECK-LABEL: tile.kernel @positions
// CHECK:      scf.for
// CHECK:        [[V:%[0-9]+]] = buffer.extract
// CHECK:        %s = arith.addi [[V]]
// CHECK:        buffer.insert %s
tile.kernel @positions(%x: !tile.view<[N], i64>, %y: !tile.view<[N], i64>) grid(%i : N by BC) {
  %a = tile.load %x[%i] axes [0] : !tile.view<[N], i64> -> !tile.tile<[BC], i64>
  %e = tile.map %a dims [[0]] : (!tile.tile<[BC], i64>) -> !tile.tile<[BC], i64> {
  ^bb0(%p: i64):
    %s = arith.addi %p, %p : i64
    tile.yield %s : i64
  }
  tile.store set %e, %y[%i] axes [0] : !tile.tile<[BC], i64> -> !tile.view<[N], i64>
}
