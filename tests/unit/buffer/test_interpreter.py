"""The interpreter of the buffer form finds what hardware would not forgive."""

import numpy as np
import pytest
from xdsl.parser import Parser

from infini_ir.dialects import tile
from infini_ir.dialects.context import compiler_context
from infini_ir.interpreters.buffer import CoreLimits, run_buffer_kernel
from infini_ir.utils.errors import ModelError

U = "!buffer.local<64, f32, vector>"
V = "!tile.view<[N], f32>"
LOAD = f"buffer.copy_in %u[%z], %x[%z] axes [0] extents(%n) pitches [1] : {U}, {V}"
STORE = f"buffer.copy_out set %y[%z], %u[%z] axes [0] extents(%n) pitches [1] : {V}, {U}"
QUEUE = f"%q = buffer.alloc at 512 queue input depth 2 : {U}"
ACQUIRE = f"%s = buffer.acquire %q : {U} -> {U}"


def run(*lines: str, n: int = 8, size: int = 8) -> np.ndarray:
    body = "\n  ".join(lines)
    text = f"""
tile.kernel @k(%x: {V}, %y: {V}) grid() {{
  %u = buffer.alloc at 0 : {U}
  %w = buffer.alloc at 256 : {U}
  {QUEUE}
  %z = arith.constant 0 : index
  %n = arith.constant {n} : index
  %four = arith.constant 4 : index
  %c = arith.constant 2.0 : f32
  {body}
}}"""
    kernel = Parser(compiler_context(), text).parse_module().body.block.first_op
    assert isinstance(kernel, tile.KernelOp)
    kernel.verify()
    x, y = np.arange(size, dtype=np.float32), np.zeros(size, np.float32)
    run_buffer_kernel(kernel, [x, y], limits=CoreLimits(bytes=2048))
    return y


def test_copies():
    np.testing.assert_array_equal(run(LOAD, STORE), np.arange(8))


def test_arithmetic():
    double = f"buffer.binary_scalar mul %u[%z], %u[%z], %c, %n : {U}, {U}, f32"
    np.testing.assert_array_equal(run(LOAD, double, STORE), 2 * np.arange(8))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([STORE], "stores an element .* nobody has written"),
        ([LOAD, f"buffer.unary exp %w[%z], %u[%four], %n : {U}, {U}"], "not aligned"),
        ([LOAD, f"buffer.binary add %u[%z], %u[%z], %w[%z], %n : {U}, {U}, {U}", STORE],
         "nobody has written"),
        ([f"buffer.fill %u[%z], %c, %many : {U}, f32"], "outside"),
        ([LOAD, f"buffer.copy %u[%eight], %u[%z], %twelve : {U}, {U}"], "overlaps"),
        ([f"buffer.reduce add %u[%z], %w[%z], %z : {U}, {U}"], "reduces nothing"),
        ([ACQUIRE, ACQUIRE.replace("%s", "%t")], "is left acquired"),
        ([ACQUIRE, f"buffer.dequeue %s : {U}"], "wants a slot that is enqueued"),
        ([ACQUIRE], "is left acquired"),
    ],
)  # fmt: skip
def test_faults(lines: list[str], message: str):
    numbers = [f"%{name} = arith.constant {n} : index"
               for name, n in (("many", 65), ("eight", 8), ("twelve", 12))]  # fmt: skip
    with pytest.raises(ModelError, match=message):
        run(*numbers, *lines, n=16, size=16)


def test_copy_stays_inside_the_view():
    with pytest.raises(ModelError, match="outside axis 0 of size 8"):
        run(LOAD, STORE, n=9)


def test_freed_slot():
    marks = [f"buffer.{name} %s : {U}" for name in ("enqueue", "dequeue", "free")]
    with pytest.raises(ModelError, match="freed"):
        run(
            ACQUIRE,
            LOAD.replace("%u", "%s"),
            *marks,
            f"buffer.copy %u[%z], %s[%z], %n : {U}, {U}",
        )
