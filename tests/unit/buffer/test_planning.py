"""Plans: what fits, what is said where nothing does, and where memory lies."""

from dataclasses import replace

import pytest
from xdsl.parser import Parser

from infini_ir.dialects import tile
from infini_ir.dialects.buffer import local_type, memory
from infini_ir.dialects.context import compiler_context
from infini_ir.passes.buffer.machines import TEST
from infini_ir.passes.buffer.plan import plan_kernel, planned
from infini_ir.passes.buffer.tile_to_buffer import to_buffer
from infini_ir.utils.errors import CompileError

ADD = """
tile.kernel @add(%x: !tile.view<[ROWS, COLUMNS], f32>, %z: !tile.view<[ROWS, COLUMNS], f32>)
    grid(%i : ROWS by BR, %j : COLUMNS by BC) {
  %a = tile.load %x[%i, %j] axes [0, 1] : !tile.view<[ROWS, COLUMNS], f32> -> !tile.tile<[BR, BC], f32>
  %s = tile.map %a dims [[0, 1]] : (!tile.tile<[BR, BC], f32>) -> !tile.tile<[BR, BC], f32> {
  ^bb0(%v: f32):
    %d = arith.addf %v, %v : f32
    tile.yield %d : f32
  }
  tile.store set %s, %z[%i, %j] axes [0, 1] : !tile.tile<[BR, BC], f32> -> !tile.view<[ROWS, COLUMNS], f32>
}
"""
ROW = """
tile.kernel @sum(%x: !tile.view<[M, 65536], f32>, %z: !tile.view<[M, 65536], f32>) grid(%i : M by 1) {
  %0 = arith.constant 0 : index
  %a = tile.load %x[%i, %0] axes [1] : !tile.view<[M, 65536], f32> -> !tile.tile<[65536], f32>
  %b = tile.scan add %a axis 0 : !tile.tile<[65536], f32> -> !tile.tile<[65536], f32>
  tile.store set %b, %z[%i, %0] axes [1] : !tile.tile<[65536], f32> -> !tile.view<[M, 65536], f32>
}
"""


def parsed(text: str) -> tile.KernelOp:
    module = Parser(compiler_context(), text).parse_module()
    kernel = module.body.block.first_op
    assert isinstance(kernel, tile.KernelOp)
    return kernel


def plan_of(rows: object, columns: object, machine=TEST) -> dict[str, int]:
    kernel = parsed(ADD.replace("ROWS", str(rows)).replace("COLUMNS", str(columns)))
    plan_kernel(kernel, machine)
    to_buffer(kernel, machine)
    kernel.verify()
    return planned(kernel)


@pytest.mark.parametrize(("rows", "columns"), [("M", "N"), (1, 1), (7, 100000), ("M", 5)])
def test_fits(rows: object, columns: object):
    assert plan_of(rows, columns)["bytes"] <= TEST.vector_bytes


def test_short_rows_come_together():
    assert plan_of("M", 64)["BR"] >= 64


def test_every_core_has_a_program():
    plan = plan_of(64, 1024)
    assert -(-64 // plan["BR"]) * -(-1024 // plan["BC"]) >= TEST.cores


def test_smaller_memory_makes_smaller_tiles():
    small = replace(TEST, vector_bytes=4096)
    assert plan_of("M", "N", small)["bytes"] <= 4096


def test_says_what_does_not_fit():
    tiny = replace(TEST, vector_bytes=16, name="tiny core")
    with pytest.raises(CompileError, match=r"kernel 'add'.* bytes .*tiny core has 16"):
        plan_of("M", "N", tiny)


def test_parameters_must_be_fixed():
    with pytest.raises(CompileError, match="BR, BC are not fixed; run buffer-plan"):
        to_buffer(parsed(ADD.replace("ROWS", "M").replace("COLUMNS", "N")), TEST)


def test_row_that_must_stay_whole():
    with pytest.raises(CompileError, match="kernel 'sum'"):
        plan_kernel(parsed(ROW), TEST)


def test_queues_share_with_nobody():
    kernel = parsed(ADD.replace("ROWS", "M").replace("COLUMNS", "N"))
    plan_kernel(kernel, TEST)
    to_buffer(kernel, TEST)
    spans = []
    for op in kernel.body.walk():
        if isinstance(op, memory.AllocOp):
            type = local_type(op.out)
            size = TEST.bytes_of(type.count, type.dtype) * op.slots
            spans.append((op.offset, op.offset + size, op.queue is not None))
    queues = [s for s in spans if s[2]]
    assert queues
    for begin, end, _ in queues:
        others = [s for s in spans if s[:2] != (begin, end)]
        assert all(e <= begin or end <= b for b, e, _ in others)
