// RUN: infini-opt %s -p ascend-lower-vector --target ascend | filecheck %s

// Rows of f16 come through a queue, are computed in f32 and leave through another one. The
// scalar unit waits for the vector unit before it reads a row's maximum, and the vector unit for
// itself between instructions that need each other's results.
// CHECK-LABEL: void softmax_kernel(GM_ADDR Y_address, GM_ADDR X_address, int64_t M) {
// CHECK-NEXT:  KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIV_ONLY);
// CHECK:       X.SetGlobalBuffer(reinterpret_cast<__gm__ half*>(X_address), 77 * M);
// CHECK:       AscendC::TQue<AscendC::QuePosition::VECIN, 2> queue;
// CHECK-NEXT:  pipe.InitBuffer(queue, 2, 160);
// CHECK:       AscendC::TQue<AscendC::QuePosition::VECOUT, 2> queue_2;
// CHECK:       for (int64_t program = AscendC::GetBlockIdx(); program < programs; program += AscendC::GetBlockNum()) {
// CHECK:       queue_slot = queue.AllocTensor<half>();
// CHECK-NEXT:  CopyIn(queue_slot, X[{{.*}}], 1, 77, 77, 0);
// CHECK-NEXT:  queue.EnQue(queue_slot);
// CHECK:       queue_slot = queue.DeQue<half>();
// CHECK:       AscendC::Cast({{.*}}, queue_slot, AscendC::RoundMode::CAST_NONE, 77);
// CHECK:       queue.FreeTensor(queue_slot);
// CHECK:       VectorBarrier();
// CHECK:       ExtremeOfRow<true>(
// CHECK:       Sync<AscendC::HardEvent::V_S>();
// CHECK:       GetValue(0);
// CHECK:       AscendC::Exp(
// CHECK:       SumRow(
// CHECK:       AscendC::Div(
// CHECK:       AscendC::RoundMode::CAST_RINT, 77);
// CHECK:       queue_2.EnQue(queue_2_slot);
// CHECK:       CopyOut(Y[{{.*}}], queue_2_slot, 1, 77, 77, 0);
// CHECK-NEXT:  queue_2.FreeTensor(queue_2_slot);
// CHECK-LABEL: extern "C" void launch_softmax_kernel(
// CHECK:       const int64_t blocks = smaller(cores, programs);
// CHECK:       INFINI_LAUNCH(softmax_kernel, blocks, nullptr, stream,
builtin.module {
  tile.kernel @softmax(%Y: !tile.view<[M, 77], f16>, %X: !tile.view<[M, 77], f16>) grid(%i : M by 1) from "softmax" {
    %z = arith.constant 0 : index
    %h = tile.load %X[%i, %z] axes [1] : !tile.view<[M, 77], f16> -> !tile.tile<[77], f16>
    %x = tile.map %h dims [[0]] : (!tile.tile<[77], f16>) -> !tile.tile<[77], f32> {
    ^bb0(%a: f16):
      %w = arith.extf %a : f16 to f32
      tile.yield %w : f32
    }
    %m = tile.reduce max %x axes [0] : !tile.tile<[77], f32> -> !tile.tile<[], f32>
    %e = tile.map %x, %m dims [[0], []] : (!tile.tile<[77], f32>, !tile.tile<[], f32>) -> !tile.tile<[77], f32> {
    ^bb0(%a: f32, %b: f32):
      %d = arith.subf %a, %b : f32
      %p = math.exp %d : f32
      tile.yield %p : f32
    }
    %l = tile.reduce add %e axes [0] : !tile.tile<[77], f32> -> !tile.tile<[], f32>
    %y = tile.map %e, %l dims [[0], []] : (!tile.tile<[77], f32>, !tile.tile<[], f32>) -> !tile.tile<[77], f16> {
    ^bb0(%a: f32, %b: f32):
      %q = arith.divf %a, %b : f32
      %r = arith.truncf %q : f32 to f16
      tile.yield %r : f16
    }
    tile.store set %y, %Y[%i, %z] axes [1] : !tile.tile<[77], f16> -> !tile.view<[M, 77], f16>
  }
}
