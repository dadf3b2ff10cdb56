"""Hand-written Triton kernels for tests of the toolchain."""

from infini_ir.targets.nvidia.emitted import Argument, EmittedKernel
from infini_ir.utils.symbolic import Dim

ADD_SOURCE = """
import triton
import triton.language as tl


@triton.jit
def add(y, x_pointer, n):
    at = tl.program_id(0) * 1024 + tl.arange(0, 1024)
    x = tl.load(x_pointer + at, mask=at < n)
    tl.store(y + at, x + 1.0, mask=at < n)
"""

MATMUL_SOURCE = """
import triton
import triton.language as tl


@triton.jit
def matmul(x, w, y, m):
    rows = tl.program_id(0) * 128 + tl.arange(0, 128)
    columns, inner = tl.arange(0, 128), tl.arange(0, 64)
    total = tl.zeros((128, 128), tl.float32)
    for k in range(0, 1024, 64):
        a = tl.load(x + rows[:, None] * 1024 + k + inner[None, :], mask=rows[:, None] < m, other=0.0)
        b = tl.load(w + (k + inner)[:, None] * 128 + columns[None, :])
        total = tl.dot(a, b, total)
    tl.store(y + rows[:, None] * 128 + columns[None, :], total.to(tl.bfloat16), mask=rows[:, None] < m)
"""


def add_kernel() -> EmittedKernel:
    """y = x + 1."""
    arguments = (
        Argument("y", "*fp32", 0, divisible=True),
        Argument("x_pointer", "*fp32", 1, divisible=True),
        Argument("n", "i32", symbol="N", divisible=True),
    )
    grid = (Dim.parse("floordiv(N + 1023, 1024)"),)
    return EmittedKernel("add", ADD_SOURCE, arguments, grid, 4, 1)


def matmul_kernel() -> EmittedKernel:
    """y = x w in bf16, 128 columns, 1024 inner."""
    views = [Argument(name, "*bf16", i, divisible=True) for i, name in enumerate("xwy")]
    arguments = (*views, Argument("m", "i32", symbol="M"))
    grid = (Dim.parse("floordiv(M + 127, 128)"),)
    return EmittedKernel("matmul", MATMUL_SOURCE, arguments, grid, 8, 3)
