"""
The buffer dialect: what a core with on-chip memory does, one instruction at a time.

The body of a `tile.kernel` in this form is one program of the grid: scalars are `arith`,
`math`, `tile.size` and `tile.read` (one element of global memory to the scalar unit),
control is `scf.for` and `scf.if` (no results), and everything else is the operations here.
A program of the grid owns no state that another sees: allocations stand at the beginning
of the body, and what they hold is unknown when a program begins.
"""

from xdsl.ir import Dialect

from infini_ir.dialects.buffer import memory, rows, vector
from infini_ir.dialects.buffer.memory import MEMORY_OPS
from infini_ir.dialects.buffer.rows import ROW_OPS
from infini_ir.dialects.buffer.types import (
    BUFFER_ATTRIBUTES,
    BinaryFunction,
    Comparison,
    LocalType,
    MaskFunction,
    Pipe,
    Queue,
    Rounding,
    Space,
    UnaryFunction,
    local_type,
)
from infini_ir.dialects.buffer.vector import VECTOR_OPS

Buffer = Dialect("buffer", [*MEMORY_OPS, *VECTOR_OPS, *ROW_OPS], list(BUFFER_ATTRIBUTES))

__all__ = [
    "BinaryFunction",
    "Buffer",
    "Comparison",
    "LocalType",
    "MaskFunction",
    "Pipe",
    "Queue",
    "Rounding",
    "Space",
    "UnaryFunction",
    "local_type",
    "memory",
    "rows",
    "vector",
]
