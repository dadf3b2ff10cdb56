"""What a vector core of the Ascend 910B does, for the buffer passes.

Sizes and alignment are those of the vendor's guide to architecture 2201; element types those of
each instruction's page. What the basic instructions lack is done here by a few of them
(`sources/ascend_ops.h`): comparisons of i32, exclusive or, transposition by gathers.

Names, argument orders, units, element types and rounding modes were read against the vendor's
public headers for architecture 2201 (asc-devkit, impl/basic_api/dav_c220); host calls against
the headers in the wheel torch-npu. Assumptions: what no public source settles.

| assumption | where |
|---|---|
| Max, Min, WholeReduceMax and WholeReduceMin carry NaN (`reduce_carries_nan`) | ascend_ops.h |
| Cast of floats to integers saturates, NaN gives 0 | map rules, cast cases |
| scalar reads of global memory see what earlier kernels of the stream wrote | instructions.py |
| a plain union converts bits on the scalar unit | core_scalars.h |
| LoadDataWithTranspose of float leaves squares of 16 x 16 as ascend_cube.h wants them | ascend_cube.h |
| Select of two tensors uses the 8 KB that `UNIFIED_BUFFER` leaves to the tools | here |
"""

from __future__ import annotations

from infini_ir.dialects.buffer import Pipe, Queue
from infini_ir.dialects.tile import Combine
from infini_ir.passes.buffer.machine import (
    COMPARISONS,
    ELEMENTWISE,
    SCALAR_COMPARISONS,
    CoreMachine,
    instructions,
)

SCRATCH_BYTES = 4096
"""Memory for the steps inside one call; `SCRATCH_BYTES` of `ascend_ops.h`."""

COMPARE_SLACK = 256
"""Bytes after the last tile that comparisons of whole repeats may read."""

UNIFIED_BUFFER = 192 * 1024 - 256 - 8 * 1024
"""Bytes of the memory in which vector instructions work, less what the tools keep."""

MATH = ("exp", "ln", "sqrt", "abs", "neg")
ROUNDING = ("floor", "ceil", "round_even", "trunc")
SCALAR = ("add_scalar", "mul_scalar", "max_scalar", "min_scalar")
BITS = ("bit_and", "bit_or", "bit_xor", "bit_not")
SHIFTS = ("shift_left_scalar", "shift_right_scalar", "shift_right_unsigned_scalar")
FLOATS = ("f16", "f32")
WORDS = ("f16", "bf16", "f32", "i16", "i32")
MOVED = (*WORDS, "i8", "i64", "f64")

VECTOR_CORE = CoreMachine(
    name="ascend:910b",
    vector_bytes=UNIFIED_BUFFER - SCRATCH_BYTES - COMPARE_SLACK,
    instructions=instructions(
        ((*ELEMENTWISE, *SCALAR), ("f16", "f32", "i16", "i32")),
        (("div", *MATH), FLOATS),
        (ROUNDING, ("f32",)),
        ((*BITS, *SHIFTS), ("i16", "i32")),
        ((*COMPARISONS, *SCALAR_COMPARISONS), (*FLOATS, "i32")),
        (("select", "transpose"), WORDS),
        (("fill",), (*WORDS, "i8", "i64")),
        (("iota",), ("i16", "i32")),
        (("copy",), MOVED),
        (("reduce_add",), ("f32",)),
        (("reduce_max", "reduce_min"), FLOATS),
    ),
    casts=frozenset(
        {
            ("i8", "f16"), ("i16", "f16"), ("i16", "f32"), ("f16", "i8"), ("f16", "i16"),
            ("f16", "i32"), ("f16", "f32"), ("bf16", "i32"), ("bf16", "f32"), ("i32", "f32"),
            ("i32", "i64"), ("ui8", "f16"), ("f16", "ui8"), ("f32", "i16"), ("f32", "f16"), ("f32", "bf16"), ("f32", "i32"),
            ("f32", "i64"), ("i64", "f32"),
        }
    ),
    alignment=32,
    cores=48,
    depth=2,
    queues={Queue.input: 3, Queue.output: 3},
    in_order=frozenset({Pipe.copy_in, Pipe.copy_out, Pipe.scalar}),
    strided_copies=False,
    combines=frozenset(
        (combine, dtype)
        for combine in (Combine.add, Combine.max, Combine.min)
        for dtype in ("f32", "f16", "bf16", "i32", "i16", "i8")
    ),
)  # fmt: skip
