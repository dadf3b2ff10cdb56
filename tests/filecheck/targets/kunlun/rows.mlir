// RUN: infini-opt %s -p kunlun-lower --target kunlun --split-input-file | filecheck %s

// Local memory is the kernel's, for want of global variables; sizes are long long, on which host
// and device agree.
// CHECK-LABEL: // kernel_softmax.xpu
// CHECK:       __global__ void kernel_softmax(__global_ptr__ half_t* X, __global_ptr__ half_t* Y, long long M) {
// CHECK-NEXT:    __local__ long long words[{{[0-9]+}}];
// CHECK:         const int64_t core = cluster_id() * core_num() + core_id();
// CHECK:         for (int64_t program = core; program < M; program += cores_of_all) {
// CHECK:           copy_in([[h:u[_0-9]*]], 0, 1, X + i * 100, 0, 1, 1, 100);
// CHECK-NEXT:      cast_f16_f32([[x:u[_0-9]*]], [[h]], 100);
// CHECK-NEXT:      reduce_max({{.*}}, [[x]], 100);
// CHECK:           copy_out(Y + i * 100, 0, 1, {{.*}}, 0, 1, 1, 100);
// CHECK:         const int clusters = static_cast<int>((smaller(programs, cores) + 63) / 64);
// CHECK-NEXT:    INFINI_LAUNCH(kernel_softmax, clusters, 64, static_cast<XPUStream>(stream),
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

// Nothing is atomic on global memory: what adds to it runs on one core.
// CHECK-LABEL: kernel_masked(
// CHECK:         copy_out_add(Y + i,
// CHECK-LABEL: launch_masked(
// CHECK:         INFINI_LAUNCH(kernel_masked, 1, 1, static_cast<XPUStream>(stream),
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
