"""Waits between pipes: inserted where they must be, and missed where they are not."""

from dataclasses import replace

import pytest
from xdsl.parser import Parser

from infini_ir.dialects import tile
from infini_ir.dialects.buffer import Pipe, memory
from infini_ir.dialects.context import compiler_context
from infini_ir.passes.buffer.insert_sync import synchronise
from infini_ir.passes.buffer.machines import TEST
from infini_ir.passes.buffer.plan import plan_kernel
from infini_ir.passes.buffer.tile_to_buffer import to_buffer
from infini_ir.passes.buffer.verify_sync import verify_synchronised
from infini_ir.utils.errors import CompileError

NORM = """
tile.kernel @norm(%x: !tile.view<[M, 96], f32>, %y: !tile.view<[M, 96], f32>) grid(%i : M by 4) {
  %0 = arith.constant 0 : index
  %a = tile.load %x[%i, %0] axes [0, 1] : !tile.view<[M, 96], f32> -> !tile.tile<[4, 96], f32>
  %m = tile.reduce max %a axes [1] : !tile.tile<[4, 96], f32> -> !tile.tile<[4], f32>
  %s = tile.map %a, %m dims [[0, 1], [0]] : (!tile.tile<[4, 96], f32>, !tile.tile<[4], f32>) -> !tile.tile<[4, 96], f32> {
  ^bb0(%v: f32, %w: f32):
    %d = arith.subf %v, %w : f32
    %e = math.exp %d : f32
    tile.yield %e : f32
  }
  tile.store set %s, %y[%i, %0] axes [0, 1] : !tile.tile<[4, 96], f32> -> !tile.view<[M, 96], f32>
}
"""
REWRITE = """
tile.kernel @rewrite(%x: !tile.view<[M, 64], f32>, %y: !tile.view<[M, 64], f32>) grid(%i : M by 1) {
  %0 = arith.constant 0 : index
  %a = tile.load %x[%i, %0] axes [1] : !tile.view<[M, 64], f32> -> !tile.tile<[64], f32>
  tile.store set %a, %y[%i, %0] axes [1] : !tile.tile<[64], f32> -> !tile.view<[M, 64], f32>
  %b = tile.load %y[%i, %0] axes [1] : !tile.view<[M, 64], f32> -> !tile.tile<[64], f32>
  tile.store set %b, %x[%i, %0] axes [1] : !tile.tile<[64], f32> -> !tile.view<[M, 64], f32>
}
"""
PLAIN = replace(TEST, queues={})
BARRIERS = replace(TEST, in_order=frozenset(Pipe) - {Pipe.vector})


def buffer_kernel(text: str, machine=TEST) -> tile.KernelOp:
    module = Parser(compiler_context(), text).parse_module()
    kernel = module.body.block.first_op
    assert isinstance(kernel, tile.KernelOp)
    plan_kernel(kernel, machine)
    to_buffer(kernel, machine)
    synchronise(kernel, machine)
    kernel.verify()
    return kernel


def ops(kernel: tile.KernelOp, kind: type) -> list:
    return [op for op in kernel.body.walk() if isinstance(op, kind)]


@pytest.mark.parametrize("machine", [TEST, PLAIN, BARRIERS])
@pytest.mark.parametrize("text", [NORM, REWRITE])
def test_checked(text: str, machine):
    verify_synchronised(buffer_kernel(text, machine), machine)


@pytest.mark.parametrize(
    ("text", "machine"), [(NORM, TEST), (NORM, PLAIN), (REWRITE, PLAIN), (NORM, BARRIERS)]
)
def test_no_wait_can_go(text: str, machine):
    kernel = buffer_kernel(text, machine)
    syncs = ops(kernel, memory.SyncOp)
    assert syncs
    missed = 0
    for sync in syncs:
        following, block = sync.next_op, sync.parent
        sync.detach()
        try:
            verify_synchronised(kernel, machine)
        except CompileError as error:
            assert "does not wait" in str(error)
            missed += 1
        block.insert_op_before(sync, following)
    assert missed == len(syncs)


@pytest.mark.parametrize("kind", [memory.EnqueueOp, memory.FreeOp])
def test_queues_have_one_of_each(kind: type):
    kernel = buffer_kernel(NORM)
    slots = {op.out for op in ops(kernel, memory.AcquireOp)}
    assert slots
    assert sorted(map(id, (op.slot for op in ops(kernel, kind)))) == sorted(map(id, slots))


def test_later_load_waits_for_store():
    kernel = buffer_kernel(REWRITE, PLAIN)
    first, second = ops(kernel, memory.CopyInOp)
    pairs = [(s.source.data, s.target.data) for s in ops(kernel, memory.SyncOp)]
    assert (Pipe.copy_out, Pipe.copy_in) in pairs
    assert first.is_before_in_block(second)


def test_nothing_for_one_pipe_at_a_time():
    kernel = buffer_kernel(NORM, replace(TEST, concurrent=False))
    assert not ops(kernel, memory.AcquireOp)
