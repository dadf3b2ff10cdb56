"""What an MLU core has and does, as the buffer passes want to know it.

Sizes of NRAM and WRAM are not published by chip. Memory is planned for 512 KB of NRAM, of
which 128 KB are the stack's (github.com/Cambricon/mlu-ops, kernels/kernel.h), and the kernels'
source asserts it against the vendor's macros. Which instructions there are, and on which
types, is what mlu-ops (kernels/utils/common.h, kernels/**) and InfiniCore use.

Assumptions: what no public source settles, and the emitter relies on.

| assumption | where |
|---|---|
| 4 cores a cluster, so a Union1 task has x = 4 | emitter.py |
| `half` and `bfloat16_t` convert from and to float by `static_cast`, to nearest even | core.h |
| overloads for `int8_t*` (signed char) of `__bang_transpose`, of `int32_t*` of `__bang_add`, `_mul`, `_atomic_reduce_add` | core_rows.h, core_dot.h, core_copies.h |
| `__bang_float2bfloat16_rn` beside the `_tz` of mlu-ops; `__bang_float2int8_tz` beside its `_rn` | core_rows.h |
| comparisons, `__bang_and`, `_or`, `_not` of float give and take 1.0 and 0.0 | core_masks.h |
| `__bang_reduce_sum` of 64 floats leaves sums at the 1st and the 33rd | core_reduce.h |
| `__bang_argmax`, `_maxequal`, `_minequal` carry NaN; a comment in mlu-ops (generate_proposals) says that maxequal of NaN and a number is the number | core_rows.h, core_reduce.h |
| `__bang_matmul` of float rounds no operand below float; filters as `__bang_reshape_filter` lays out, of float (mlu-ops, fft) and of half alike | core_dot.h |
| scalar reads and writes of NRAM wait for vector instructions, as cncc orders them | core_kernel.py |
"""

from __future__ import annotations

from infini_ir.dialects.tile import Combine
from infini_ir.passes.buffer.machine import (
    COMPARISONS,
    SCALAR_COMPARISONS,
    CoreMachine,
    instructions,
)

NRAM_BYTES = 512 * 1024
STACK_BYTES = 128 * 1024
STRIP_BYTES = 4 * 1024 * 4
"""Of `core.h`: strips where instructions made of several keep what is between."""
MATRIX_BYTES = 32 * 1024
"""Of `core.h`: an operand of the matrix unit; two of them in NRAM, one in WRAM."""
SCRATCH_BYTES = STRIP_BYTES + 2 * MATRIX_BYTES

ARCHITECTURES = {"mlu590": "mtp_592", "mlu370": "mtp_372"}
"""Values of the compiler's --bang-mlu-arch."""

_ARITHMETIC = ("add", "sub", "mul", "add_scalar", "sub_scalar", "mul_scalar", "fill")
_ORDER = ("max", "min", "max_scalar", "min_scalar", "abs", "relu")
_BITS = ("bit_and", "bit_or", "bit_xor", "bit_and_scalar", "bit_or_scalar", "bit_xor_scalar")

_FLOATS = ("f16", "bf16", "f32")

MACHINE = CoreMachine(
    name="an MLU core",
    vector_bytes=NRAM_BYTES - STACK_BYTES - SCRATCH_BYTES,
    instructions=instructions(
        (_ARITHMETIC, ("f16", "f32", "i32")),
        (_ORDER, ("f16", "f32")),
        (("div", "div_scalar"), ("f32",)),
        (("exp", "ln", "sqrt", "floor", "ceil"), ("f32",)),
        (("neg",), ("f16", "f32", "i32")),
        ((*_BITS, "bit_not", "iota"), ("i32",)),
        ((*COMPARISONS, *SCALAR_COMPARISONS), ("f16", "f32", "i32")),
        (("select",), ("f16", "bf16", "f32", "i32", "i8")),
        (("fill",), ("bf16", "i8")),
        (("copy",), ("f16", "bf16", "f32", "i8", "i16", "i32", "i64", "f64", "i1")),
        (("reduce_add",), ("f32", "i32")),
        (("reduce_max", "reduce_min"), ("f32",)),
        (("dot",), tuple(f"{left}x{right}" for left in _FLOATS for right in _FLOATS)),
        (("transpose",), ("f16", "bf16", "f32", "i32", "i8")),
    ),
    casts=frozenset(
        {
            ("f16", "f32"), ("f32", "f16"), ("bf16", "f32"), ("f32", "bf16"),
            ("i32", "f32"), ("f32", "i32"), ("i8", "f32"), ("f32", "i8"), ("i8", "i32"),
            ("ui8", "f32"),
        }
    ),
    alignment=128,
    granule=64,
    mask_bits=32,
    cores=32,
    product_sizes={"BM": 128, "BW": 128, "BN": 128, "BK": 128},
    depth=1,
    concurrent=False,
    combines=frozenset({(Combine.add, "f32"), (Combine.add, "f16"), (Combine.add, "i32")}),
    scalar_math=frozenset(
        {
            "math.absf", "math.absi", "math.fma", "math.exp", "math.log", "math.sqrt",
            "math.rsqrt", "math.floor", "math.ceil", "math.roundeven", "math.trunc",
            "math.copysign",
        }
    ),
)  # fmt: skip
