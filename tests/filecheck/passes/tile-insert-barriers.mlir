// RUN: infini-opt %s -p tile-insert-barriers --split-input-file | filecheck %s

// A barrier where one launch reads what another wrote, and none between independent ones.
// CHECK-LABEL: tile.program @chain
tile.kernel @copy(%X: !tile.view<[N], f32>, %Y: !tile.view<[N], f32>) grid(%i : N by 64) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[N], f32> -> !tile.tile<[64], f32>
  tile.store set %x, %Y[%i] axes [0] : !tile.tile<[64], f32> -> !tile.view<[N], f32>
}
tile.program @chain inputs 1 {
^bb0(%x: !tile.view<[N], f32>, %y: !tile.view<[N], f32>, %z: !tile.view<[N], f32>):
  // CHECK:      tile.launch @copy(%x, %y)
  // CHECK-NEXT: tile.launch @copy(%x, %z)
  // CHECK-NEXT: tile.barrier
  // CHECK-NEXT: tile.launch @copy(%y, %z)
  // CHECK-NEXT: }
  tile.launch @copy(%x, %y) : !tile.view<[N], f32>, !tile.view<[N], f32>
  tile.launch @copy(%x, %z) : !tile.view<[N], f32>, !tile.view<[N], f32>
  tile.launch @copy(%y, %z) : !tile.view<[N], f32>, !tile.view<[N], f32>
}

// -----

// Launches on the one serial worker are in order; what follows on all workers waits.
// CHECK-LABEL: tile.program @serial
tile.kernel @copy(%X: !tile.view<[N], f32>, %Y: !tile.view<[N], f32>) grid(%i : N by 64) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[N], f32> -> !tile.tile<[64], f32>
  tile.store set %x, %Y[%i] axes [0] : !tile.tile<[64], f32> -> !tile.view<[N], f32>
}
tile.program @serial inputs 1 {
^bb0(%x: !tile.view<[N], f32>, %y: !tile.view<[N], f32>, %z: !tile.view<[N], f32>, %w: !tile.view<[N], f32>):
  // CHECK:      tile.launch @copy(%x, %y) serial
  // CHECK-NEXT: tile.launch @copy(%y, %z) serial
  // CHECK-NEXT: tile.barrier
  // CHECK-NEXT: tile.launch @copy(%z, %w)
  tile.launch @copy(%x, %y) serial : !tile.view<[N], f32>, !tile.view<[N], f32>
  tile.launch @copy(%y, %z) serial : !tile.view<[N], f32>, !tile.view<[N], f32>
  tile.launch @copy(%z, %w) : !tile.view<[N], f32>, !tile.view<[N], f32>
}

// -----

// Two values that share bytes of the arena count as one, side by side as two.
// CHECK-LABEL: tile.program @shared
tile.kernel @copy(%X: !tile.view<[16], f32>, %Y: !tile.view<[16], f32>) grid(%i : 16 by 8) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[16], f32> -> !tile.tile<[8], f32>
  tile.store set %x, %Y[%i] axes [0] : !tile.tile<[8], f32> -> !tile.view<[16], f32>
}
tile.program @shared inputs 1 {
^bb0(%x: !tile.view<[16], f32>):
  %a = tile.alloc at <[0]> : !tile.view<[16], f32>
  %b = tile.alloc at <[64]> : !tile.view<[16], f32>
  %c = tile.alloc at <[32]> : !tile.view<[16], f32>
  // CHECK:      tile.launch @copy(%x, %a)
  // CHECK-NEXT: tile.launch @copy(%x, %b)
  // CHECK-NEXT: tile.barrier
  // CHECK-NEXT: tile.launch @copy(%x, %c)
  tile.launch @copy(%x, %a) : !tile.view<[16], f32>, !tile.view<[16], f32>
  tile.launch @copy(%x, %b) : !tile.view<[16], f32>, !tile.view<[16], f32>
  tile.launch @copy(%x, %c) : !tile.view<[16], f32>, !tile.view<[16], f32>
}

// -----

// All workers read the flag of a branch, so that the branch may not write it at once; its
// regions end with a barrier.
// CHECK-LABEL: tile.program @branch
tile.kernel @flag(%X: !tile.view<[N], f32>, %F: !tile.view<[], i1>) grid(%i : 1 by 1) {
  %x = tile.load %X[%i] axes [] : !tile.view<[N], f32> -> !tile.tile<[], f32>
  %f = tile.map %x dims [[]] : (!tile.tile<[], f32>) -> !tile.tile<[], i1> {
  ^bb0(%a: f32):
    %c = arith.constant 0.0 : f32
    %g = arith.cmpf ogt, %a, %c : f32
    tile.yield %g : i1
  }
  tile.store set %f, %F[] axes [] : !tile.tile<[], i1> -> !tile.view<[], i1>
}
tile.program @branch inputs 1 {
^bb0(%x: !tile.view<[N], f32>, %f: !tile.view<[], i1>, %g: !tile.view<[], i1>):
  // CHECK:      tile.launch @flag
  // CHECK-NEXT: tile.barrier
  // CHECK-NEXT: tile.if %f
  // CHECK-NEXT:   tile.barrier
  // CHECK-NEXT:   tile.launch @flag
  // CHECK-NEXT:   tile.barrier
  // CHECK-NEXT: } {
  // CHECK-NEXT:   tile.launch @flag
  // CHECK-NEXT:   tile.barrier
  // CHECK-NEXT: }
  tile.launch @flag(%x, %f) : !tile.view<[N], f32>, !tile.view<[], i1>
  tile.if %f : !tile.view<[], i1> {
    tile.launch @flag(%x, %f) : !tile.view<[N], f32>, !tile.view<[], i1>
  } {
    tile.launch @flag(%x, %g) : !tile.view<[N], f32>, !tile.view<[], i1>
  }
}

// -----

// A loop of launches on one worker needs none.
// CHECK-LABEL: tile.program @serial_loop
tile.kernel @copy(%X: !tile.view<[N], f32>, %Y: !tile.view<[N], f32>) grid(%i : N by 64) {
  %x = tile.load %X[%i] axes [0] : !tile.view<[N], f32> -> !tile.tile<[64], f32>
  tile.store set %x, %Y[%i] axes [0] : !tile.tile<[64], f32> -> !tile.view<[N], f32>
}
tile.program @serial_loop inputs 1 {
^bb0(%x: !tile.view<[N], f32>, %y: !tile.view<[N], f32>):
  // CHECK-NOT: tile.barrier
  tile.loop "t" to <[5]> {
    tile.launch @copy(%x, %y) serial : !tile.view<[N], f32>, !tile.view<[N], f32>
    tile.launch @copy(%y, %y) serial : !tile.view<[N], f32>, !tile.view<[N], f32>
  }
}

// -----

// The border of a buffer and what is inside it are written at once, and read after both;
// two columns of blocks likewise. What overlaps waits.
// CHECK-LABEL: tile.program @border
tile.kernel @rows(%X: !tile.view<[2, 6], f32, strides [30, 1]>) grid(%i : 2 by 1) {
  %z = arith.constant 0.0 : f32
  %x = tile.full %z : f32 -> !tile.tile<[6], f32>
  %0 = arith.constant 0 : index
  tile.store set %x, %X[%i, %0] axes [1] : !tile.tile<[6], f32> -> !tile.view<[2, 6], f32, strides [30, 1]>
}
tile.kernel @ends(%X: !tile.view<[4, 2], f32, strides [6, 5]>) grid(%i : 4 by 1) {
  %z = arith.constant 0.0 : f32
  %x = tile.full %z : f32 -> !tile.tile<[2], f32>
  %0 = arith.constant 0 : index
  tile.store set %x, %X[%i, %0] axes [1] : !tile.tile<[2], f32> -> !tile.view<[4, 2], f32, strides [6, 5]>
}
tile.kernel @inside(%X: !tile.view<[4, 4], f32, strides [6, 1]>) grid(%i : 4 by 1) {
  %z = arith.constant 1.0 : f32
  %x = tile.full %z : f32 -> !tile.tile<[4], f32>
  %0 = arith.constant 0 : index
  tile.store set %x, %X[%i, %0] axes [1] : !tile.tile<[4], f32> -> !tile.view<[4, 4], f32, strides [6, 1]>
}
tile.program @border inputs 0 {
^bb0(%y: !tile.view<[6, 6], f32>):
  %a = tile.alias %y offset <[0]> : !tile.view<[6, 6], f32> -> !tile.view<[2, 6], f32, strides [30, 1]>
  %b = tile.alias %y offset <[6]> : !tile.view<[6, 6], f32> -> !tile.view<[4, 2], f32, strides [6, 5]>
  %c = tile.alias %y offset <[7]> : !tile.view<[6, 6], f32> -> !tile.view<[4, 4], f32, strides [6, 1]>
  %d = tile.alias %y offset <[8]> : !tile.view<[6, 6], f32> -> !tile.view<[4, 4], f32, strides [6, 1]>
  // CHECK:      tile.launch @rows
  // CHECK-NEXT: tile.launch @ends
  // CHECK-NEXT: tile.launch @inside
  // CHECK-NEXT: tile.barrier
  // CHECK-NEXT: tile.launch @inside
  // CHECK-NEXT: }
  tile.launch @rows(%a) : !tile.view<[2, 6], f32, strides [30, 1]>
  tile.launch @ends(%b) : !tile.view<[4, 2], f32, strides [6, 5]>
  tile.launch @inside(%c) : !tile.view<[4, 4], f32, strides [6, 1]>
  tile.launch @inside(%d) : !tile.view<[4, 4], f32, strides [6, 1]>
}
