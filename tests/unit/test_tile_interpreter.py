"""The tile interpreter: memory, control flow, edges, and what it refuses."""

import numpy as np
import pytest
from xdsl.parser import Parser

from infini_ir.dialects.context import compiler_context
from infini_ir.dialects.tile import KernelOp
from infini_ir.interpreters.tile import interpret_program, run_kernel
from infini_ir.interpreters.tile.memory import Memory
from infini_ir.utils.errors import InputError, ModelError

ADD = """
tile.kernel @add(%x: !tile.view<[N], f32>, %y: !tile.view<[N], f32>) grid(%i : N by BC) {
  %a = tile.load %x[%i] axes [0] : !tile.view<[N], f32> -> !tile.tile<[BC], f32>
  tile.store add %a, %y[%i] axes [0] : !tile.tile<[BC], f32> -> !tile.view<[N], f32>
}
tile.kernel @copy(%x: !tile.view<[N], f32>, %y: !tile.view<[N], f32>) grid(%i : N by BC) {
  %a = tile.load %x[%i] axes [0] : !tile.view<[N], f32> -> !tile.tile<[BC], f32>
  tile.store set %a, %y[%i] axes [0] : !tile.tile<[BC], f32> -> !tile.view<[N], f32>
}
tile.kernel @reverse(%x: !tile.view<[N], f32, strides [-1]>, %y: !tile.view<[N], f32>) grid(%i : N by BC) {
  %a = tile.load %x[%i] axes [0] : !tile.view<[N], f32, strides [-1]> -> !tile.tile<[BC], f32>
  tile.store set %a, %y[%i] axes [0] : !tile.tile<[BC], f32> -> !tile.view<[N], f32>
}
"""
X = np.arange(1, 8, dtype=np.float32)


def run(body: str, *inputs: np.ndarray, types: str, **options) -> list[np.ndarray]:
    """Run a program given by its arguments and its body."""
    ctx = compiler_context()
    text = f"{ADD}\ntile.program @main inputs {len(inputs)} {{\n^bb0({types}):\n{body}\n}}"
    module = Parser(ctx, text).parse_module()
    module.verify()
    return interpret_program(module, inputs, ctx, **options)


V = "!tile.view<[N], f32>"
IN_OUT = f"%x: {V}, %y: {V}"
COPY = f"tile.launch @copy(%x, %y) : {V}, {V}\n"
ADD_X = f"tile.launch @add(%x, %y) : {V}, {V}\n"


def test_a_loop_counts_in_its_symbol():
    loop = f'{COPY}tile.loop "t" to <[3]> {{ {ADD_X} }}\n'
    (y,) = run(loop, X, types=IN_OUT)
    np.testing.assert_array_equal(y, 4 * X)


def test_negative_strides_see_memory_backwards():
    view = "!tile.view<[N], f32, strides [-1]>"
    body = f"%r = tile.alias %x offset <[N - 1]> : {V} -> {view}\n"
    (y,) = run(body + f"tile.launch @reverse(%r, %y) : {view}, {V}", X, types=IN_OUT)
    np.testing.assert_array_equal(y, X[::-1])


def test_an_alias_stays_inside_its_buffer():
    view = "!tile.view<[N], f32, strides [2]>"
    with pytest.raises(ModelError, match="outside its buffer"):
        run(f"%r = tile.alias %x offset <[0]> : {V} -> {view}", X, types=IN_OUT)


@pytest.mark.parametrize(("offset", "right"), [(0, False), (28, True)])
def test_planned_buffers_share_memory(offset, right):
    """A plan that lets two living buffers overlap gives wrong numbers."""
    body = f"""
      %a = tile.alloc at <[0]> : {V}
      %b = tile.alloc at <[{offset}]> : {V}
      tile.launch @copy(%x, %a) : {V}, {V}
      tile.launch @copy(%x, %b) : {V}, {V}
      tile.launch @add(%x, %b) : {V}, {V}
      tile.launch @copy(%a, %y) : {V}, {V}
    """
    (y,) = run(body, X, types=IN_OUT)
    assert np.array_equal(y, X) == right


def test_fresh_memory_is_not_zero():
    (y,) = run(ADD_X, X, types=IN_OUT)
    assert np.isnan(y).all()


def test_inputs_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        run(f"tile.launch @copy(%x, %x) : {V}, {V}", X, types=f"%x: {V}")


def test_sizes_from_data_and_branches():
    types = f"%x: {V}, %n: !tile.view<[], i64>, %c: !tile.view<[], i1>"
    part = "!tile.view<[K], f32>"
    body = f"""
      tile.bind %n as "K" where <K le N> : !tile.view<[], i64>
      tile.if %c : !tile.view<[], i1> {{ tile.set "S" to <[0]> }} {{ tile.set "S" to <[N - K]> }}
      %p = tile.alias %x offset <[S]> : {V} -> {part}
      tile.publish %p as 0 : {part}
    """
    for flag in (True, False):
        (y,) = run(body, X, np.array(3), np.array(flag), types=types)
        np.testing.assert_array_equal(y, X[:3] if flag else X[4:])
    with pytest.raises(InputError, match="needs K le N"):
        run(body, X, np.array(9), np.array(True), types=types)
    with pytest.raises(InputError, match="is -1"):
        run(body, X, np.array(-1), np.array(True), types=types)


def test_inputs_must_fit():
    two = f"%x: {V}, %z: {V}, %y: {V}"
    with pytest.raises(InputError, match="input 1 has shape"):
        run("tile.barrier", X, X[:3], types=two)
    with pytest.raises(InputError, match="wants"):
        run("tile.barrier", X.astype(np.float64), types=IN_OUT)


def test_programs_of_a_launch_must_be_independent():
    text = """
    tile.kernel @shift(%x: !tile.view<[N + 1], f32>, %y: !tile.view<[N], f32>) grid(%i : N by 2) {
      %one = arith.constant 1 : index
      %j = arith.addi %i, %one : index
      %a = tile.load %x[%j] axes [0] : !tile.view<[N + 1], f32> -> !tile.tile<[2], f32>
      tile.store set %a, %y[%i] axes [0] : !tile.tile<[2], f32> -> !tile.view<[N], f32>
    }
    """
    (kernel,) = Parser(compiler_context(), text).parse_module().body.block.ops
    assert isinstance(kernel, KernelOp)
    data = np.arange(7, dtype=np.float32)
    out = np.zeros(6, np.float32)
    run_kernel(kernel, [data, out], {"N": 6}, check_races=True)
    np.testing.assert_array_equal(out, data[1:])
    whole = Memory.of_array(data)
    with pytest.raises(ModelError, match="writes what another reads"):
        run_kernel(kernel, [whole, whole.alias(0, (6,), (1,))], {"N": 6}, check_races=True)


def test_packed_weights_read_as_their_matrix():
    text = """
    tile.kernel @copy(%w: !tile.view<[3, 5], f32, panel 2>, %y: !tile.view<[3, 5], f32>) grid(%i : 3 by BM, %j : 5 by BN) {
      %a = tile.load %w[%i, %j] axes [0, 1] : !tile.view<[3, 5], f32, panel 2> -> !tile.tile<[BM, BN], f32>
      tile.store set %a, %y[%i, %j] axes [0, 1] : !tile.tile<[BM, BN], f32> -> !tile.view<[3, 5], f32>
    }
    tile.program @main inputs 0 {
    ^bb0(%y: !tile.view<[3, 5], f32>):
      %w = tile.weight "w" : !tile.view<[3, 5], f32, panel 2>
      tile.launch @copy(%w, %y) : !tile.view<[3, 5], f32, panel 2>, !tile.view<[3, 5], f32>
    }
    """
    ctx = compiler_context()
    matrix = np.arange(15, dtype=np.float32).reshape(3, 5)
    padded = np.pad(matrix, ((0, 0), (0, 1))).reshape(3, 3, 2)
    ctx.weights.add("w", np.ascontiguousarray(padded.transpose(1, 0, 2)))
    (y,) = interpret_program(Parser(ctx, text).parse_module(), [], ctx, parameters={"BN": 2})
    np.testing.assert_array_equal(y, matrix)


@pytest.mark.parametrize(
    ("layout", "group"), [("panel 2 batch 1", 1), ("panel 2 by 4 batch 1", 4)]
)
def test_batches_of_packed_weights_lie_outside_the_panels(layout, group):
    view = f"!tile.view<[2, 3, 5], f32, {layout}>"
    text = f"""
    tile.kernel @copy(%w: {view}, %y: !tile.view<[2, 3, 5], f32>) grid(%b : 2 by 1, %i : 3 by BM, %j : 5 by BN) {{
      %a = tile.load %w[%b, %i, %j] axes [1, 2] : {view} -> !tile.tile<[BM, BN], f32>
      tile.store set %a, %y[%b, %i, %j] axes [1, 2] : !tile.tile<[BM, BN], f32> -> !tile.view<[2, 3, 5], f32>
    }}
    tile.program @main inputs 0 {{
    ^bb0(%y: !tile.view<[2, 3, 5], f32>):
      %w = tile.weight "w" : {view}
      tile.launch @copy(%w, %y) : {view}, !tile.view<[2, 3, 5], f32>
    }}
    """
    ctx = compiler_context()
    matrices = np.arange(30, dtype=np.float32).reshape(2, 3, 5)
    if group == 1:
        padded = np.pad(matrices, ((0, 0), (0, 0), (0, 1))).reshape(2, 3, 3, 2)
        packed = padded.transpose(0, 2, 1, 3)
    else:
        padded = np.pad(matrices, ((0, 0), (0, 1), (0, 1))).reshape(2, 1, 4, 3, 2)
        packed = padded.transpose(0, 3, 1, 4, 2)
    ctx.weights.add("w", np.ascontiguousarray(packed))
    (y,) = interpret_program(Parser(ctx, text).parse_module(), [], ctx, parameters={"BN": 2})
    np.testing.assert_array_equal(y, matrices)
