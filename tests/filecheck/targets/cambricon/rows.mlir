// RUN: infini-opt %s -p cambricon-lower --target cambricon --split-input-file | filecheck %s

// A program loads a row, computes in f32, and stores it; cores take programs in turns. Counts
// are those of the row: the functions of core.h go over whole groups of lanes.
// CHECK-LABEL: static_assert(NRAM_BYTES
// CHECK:       __nram__ INFINI_ALIGNED char local_memory[NRAM_BYTES];
// CHECK:       __mlu_global__ void kernel_softmax(half_t* X, half_t* Y, int64_t M) {
// CHECK:         for (int64_t program = taskId; program < M; program += taskDim) {
// CHECK:           copy_in([[h:u[_0-9]*]], 0, 1, X + i * 100, 0, 1, 1, 100);
// CHECK-NEXT:      cast_f16_f32([[x:u[_0-9]*]], [[h]], 100);
// CHECK-NEXT:      reduce_max([[m:u[_0-9]*]], [[x]], 100);
// CHECK-NEXT:      const float [[most:v[0-9]+]] = [[m]][0];
// CHECK-NEXT:      sub_scalar_rows([[x]], [[x]], [[most]], 100);
// CHECK-NEXT:      exp_rows([[x]], [[x]], 100);
// CHECK-NEXT:      reduce_add([[s:u[_0-9]*]], [[x]], 100);
// CHECK:           div_scalar_rows([[x]], [[x]], {{.*}}, 100);
// CHECK-NEXT:      cast_f32_f16([[y:u[_0-9]*]], [[x]], 100);
// CHECK-NEXT:      copy_out(Y + i * 100, 0, 1, [[y]], 0, 1, 1, 100);
// CHECK:       extern "C" void launch_softmax(infini::Stream stream, int64_t cores, void* X, void* Y, int64_t M) {
// CHECK-NEXT:    const int64_t programs = M;
// CHECK-NEXT:    if (programs <= 0) return;
// CHECK-NEXT:    const int64_t unions = (smaller(programs, cores) + 3) / 4;
// CHECK-NEXT:    const cnrtDim3_t dim = {4, static_cast<unsigned int>(unions), 1};
// CHECK-NEXT:    INFINI_LAUNCH(kernel_softmax, dim, cnrtFuncTypeUnion1,
builtin.module {
  tile.kernel @softmax(%X: !tile.view<[M, 100], f16>, %Y: !tile.view<[M, 100], f16>) grid(%i : M by 1) {
    %0 = arith.constant 0 : index
    %x = tile.load %X[%i, %0] axes [1] : !tile.view<[M, 100], f16> -> !tile.tile<[100], f16>
    %w = tile.map %x dims [[0]] : (!tile.tile<[100], f16>) -> !tile.tile<[100], f32> {
    ^bb0(%a: f16):
      %e = arith.extf %a : f16 to f32
      tile.yield %e : f32
    }
    %m = tile.reduce max %w axes [0] : !tile.tile<[100], f32> -> !tile.tile<[], f32>
    %e = tile.map %w, %m dims [[0], []] : (!tile.tile<[100], f32>, !tile.tile<[], f32>) -> !tile.tile<[100], f32> {
    ^bb0(%a: f32, %b: f32):
      %d = arith.subf %a, %b : f32
      %p = math.exp %d : f32
      tile.yield %p : f32
    }
    %s = tile.reduce add %e axes [0] : !tile.tile<[100], f32> -> !tile.tile<[], f32>
    %y = tile.map %e, %s dims [[0], []] : (!tile.tile<[100], f32>, !tile.tile<[], f32>) -> !tile.tile<[100], f16> {
    ^bb0(%a: f32, %b: f32):
      %q = arith.divf %a, %b : f32
      %h = arith.truncf %q : f32 to f16
      tile.yield %h : f16
    }
    tile.store set %y, %Y[%i, %0] axes [1] : !tile.tile<[100], f16> -> !tile.view<[M, 100], f16>
  }
}

// -----

// Bools are bytes in memory and lanes of 0 and 1 on the core; adding to memory is atomic.
// CHECK-LABEL: kernel_masked(float* X, int8_t* C, int32_t* I_, float* Y, int64_t N)
// CHECK:         const int64_t [[n:v[0-9]+]] = smaller_integer<int64_t>({{.*}}, 4096);
// CHECK:         compare_scalar_lt([[l:u[_0-9]*]], {{.*}}, int32_t(7), [[n]]);
// CHECK-NEXT:    mask_from_bytes([[b:u[_0-9]*]], {{.*}}, [[n]]);
// CHECK-NEXT:    mask_and([[t:u[_0-9]*]], [[b]], [[l]], [[n]]);
// CHECK-NEXT:    cast_i32_f32([[f:u[_0-9]*]], {{.*}}, [[n]]);
// CHECK-NEXT:    sqrt_rows([[r:u[_0-9]*]], {{.*}}, [[n]]);
// CHECK-NEXT:    select_rows([[q:u[_0-9]*]], [[t]], [[r]], [[f]], [[n]]);
// CHECK-NEXT:    copy_out_add(Y + i, 0, 1, [[q]], 0, 1, 1, [[n]]);
builtin.module {
  tile.kernel @masked(%X: !tile.view<[N], f32>, %C: !tile.view<[N], i1>, %I: !tile.view<[N], i32>, %Y: !tile.view<[N], f32>) grid(%i : N by BC) {
    %x = tile.load %X[%i] axes [0] : !tile.view<[N], f32> -> !tile.tile<[BC], f32>
    %c = tile.load %C[%i] axes [0] : !tile.view<[N], i1> -> !tile.tile<[BC], i1>
    %n = tile.load %I[%i] axes [0] : !tile.view<[N], i32> -> !tile.tile<[BC], i32>
    %y = tile.map %x, %c, %n dims [[0], [0], [0]] : (!tile.tile<[BC], f32>, !tile.tile<[BC], i1>, !tile.tile<[BC], i32>) -> !tile.tile<[BC], f32> {
    ^bb0(%a: f32, %b: i1, %m: i32):
      %s = arith.constant 7 : i32
      %l = arith.cmpi slt, %m, %s : i32
      %t = arith.andi %b, %l : i1
      %f = arith.sitofp %m : i32 to f32
      %r = math.sqrt %a : f32
      %q = arith.select %t, %r, %f : f32
      tile.yield %q : f32
    }
    tile.store add %y, %Y[%i] axes [0] : !tile.tile<[BC], f32> -> !tile.view<[N], f32>
  }
}
