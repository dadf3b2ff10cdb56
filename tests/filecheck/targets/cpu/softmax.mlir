// RUN: infini-opt %s -p tile-plan-memory,tile-insert-barriers --target llvm:x86-64-v4 | filecheck %s
// RUN: infini-opt %s -p tile-plan-memory,tile-insert-barriers --target llvm:x86-64-v3 | filecheck %s --check-prefix AVX2

// One loop for each reduction and one for the store; the last vector of a row is masked with
// AVX-512, and done one by one without.
tile.kernel @softmax(%X: !tile.view<[M, N], f32>, %Y: !tile.view<[M, N], f32>) grid(%i : M by 1) {
  %z = tile.size <[0]>
  %x = tile.load %X[%i, %z] axes [1] : !tile.view<[M, N], f32> -> !tile.tile<[N], f32>
  %m = tile.reduce max %x axes [0] : !tile.tile<[N], f32> -> !tile.tile<[], f32>
  %e = tile.map %x, %m dims [[0], []] : (!tile.tile<[N], f32>, !tile.tile<[], f32>) -> !tile.tile<[N], f32> {
  ^bb0(%a: f32, %b: f32):
    %d = arith.subf %a, %b : f32
    tile.yield %d : f32
  }
  %l = tile.reduce add %e axes [0] : !tile.tile<[N], f32> -> !tile.tile<[], f32>
  %y = tile.map %e, %l dims [[0], []] : (!tile.tile<[N], f32>, !tile.tile<[], f32>) -> !tile.tile<[N], f32> {
  ^bb0(%a: f32, %b: f32):
    %p = arith.divf %a, %b : f32
    tile.yield %p : f32
  }
  tile.store set %y, %Y[%i, %z] axes [1] : !tile.tile<[N], f32> -> !tile.view<[M, N], f32>
}
tile.program @main inputs 1 {
^bb0(%x: !tile.view<[M, N], f32>, %y: !tile.view<[M, N], f32>):
  tile.launch @softmax(%x, %y) : !tile.view<[M, N], f32>, !tile.view<[M, N], f32>
}

// CHECK-LABEL: define hidden void @softmax(ptr %view0, ptr %view1, ptr %symbols, ptr %scratch, i64 %begin, i64 %end)
// CHECK:         load <16 x float>, ptr
// CHECK:         call nsz <16 x float> @llvm.maximum.v16f32
// CHECK:         call <16 x float> @llvm.masked.load.v16f32.p0
// CHECK:         fsub <16 x float>
// CHECK:         fadd <16 x float>
// CHECK:         call <16 x float> @llvm.masked.load.v16f32.p0
// CHECK:         fdiv <16 x float>
// CHECK:         store <16 x float>
// CHECK:         call void @llvm.masked.store.v16f32.p0
// CHECK:         ret void
// CHECK:       define void @infini_main(ptr %context, i64 %worker)
// CHECK:         call void @softmax(

// AVX2-LABEL: define hidden void @softmax(
// AVX2-NOT:     masked
// AVX2:         load <8 x float>, ptr
// AVX2:         fdiv <8 x float>
// AVX2:         store <8 x float>
// AVX2:         fdiv float
// AVX2:         store float
// AVX2:         ret void
