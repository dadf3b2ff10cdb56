"""
What an XPU core has and does, as the buffer passes want to know it.

From Kunlun's programming guide for XPU C/C++ (public): 64 cores a cluster, 32 KB of local
memory for every 4 cores, stacks included, 64-bit numbers by software, copies of any number of
bytes up to local memory's size, no atomic operations on global memory. That is XPU2; XPU3's
local memory is not published, so the same is assumed: 8 KB a core, 2 KB of them for stacks.
A P800 has 12 clusters (InfiniCore); launches ask the runtime.

Assumptions: what no public source settles, and the emitter relies on.

| assumption | where |
|---|---|
| 8 KB of local memory a core also on XPU3 | here |
| one object holds host and device code where neither `--xpu-host-only` nor `--xpu-device-only` is given (InfiniCore builds so for XPU3; the guide, for XPU1, speaks of two) | runtime.py |
| `exp`, `log`, `sqrt`, `floor`, `ceil`, `rint` of float in xtdk_math.h; subnormals not flushed | core.h, core_rows.h |
| `long long` and `int64_t` are one type on the device | emitter.py |
| integer arithmetic wraps; float to int conversions are only made in range | core_scalars.h |
| `<cstdint>` and `<type_traits>` may be included before xtdk.h | core.h |
"""

from __future__ import annotations

from infini_ir.dialects.tile import Combine
from infini_ir.passes.buffer.machine import (
    COMPARISONS,
    SCALAR_COMPARISONS,
    CoreMachine,
    instructions,
)

LOCAL_BYTES = 8 * 1024
STACK_BYTES = 2 * 1024
CLUSTERS = 8
CORES_OF_CLUSTER = 64

_FLOATS = ("f16", "bf16", "f32")
_INTEGERS = ("i8", "i16", "i32", "i64")
_NUMBERS = (*_FLOATS, *_INTEGERS)
_BINARY = ("add", "sub", "mul", "max", "min")
_BITS = ("bit_and", "bit_or", "bit_xor", "shift_left", "shift_right", "shift_right_unsigned")
_FUNCTIONS = ("exp", "ln", "sqrt", "rsqrt", "reciprocal", "floor", "ceil", "relu")

MACHINE = CoreMachine(
    name="an XPU core",
    vector_bytes=LOCAL_BYTES - STACK_BYTES,
    instructions=instructions(
        ((*_BINARY, *(f"{name}_scalar" for name in _BINARY)), _NUMBERS),
        (("div", "div_scalar", *_FUNCTIONS), _FLOATS),
        (("neg", "abs", "fill", "select", "copy"), _NUMBERS),
        ((*_BITS, *(f"{name}_scalar" for name in _BITS), "bit_not", "iota"), _INTEGERS),
        ((*COMPARISONS, *SCALAR_COMPARISONS), _NUMBERS),
        (("copy",), ("f64", "i1")),
        (("reduce_add", "reduce_max", "reduce_min"), ("f32", "i32", "i64")),
        (("transpose",), (*_NUMBERS, "f64")),
        (("dot",), tuple(f"{left}x{right}" for left in _FLOATS for right in _FLOATS)),
    ),
    casts=frozenset(
        {
            ("f16", "f32"), ("f32", "f16"), ("bf16", "f32"), ("f32", "bf16"),
            ("i32", "f32"), ("f32", "i32"), ("i64", "f32"), ("f32", "i64"),
            ("i8", "f32"), ("f32", "i8"), ("i8", "i32"), ("i32", "i8"), ("ui8", "f32"), ("ui8", "i32"),
            ("i32", "i64"), ("i64", "i32"),
        }
    ),
    alignment=8,
    mask_bits=8,
    cores=CLUSTERS * CORES_OF_CLUSTER,
    depth=1,
    concurrent=False,
    combines=frozenset(
        (combine, dtype)
        for combine in (Combine.add, Combine.mul, Combine.max, Combine.min)
        for dtype in _NUMBERS
    ),
    scalar_math=frozenset(
        {
            "math.absf", "math.absi", "math.fma", "math.exp", "math.log", "math.sqrt",
            "math.rsqrt", "math.floor", "math.ceil", "math.roundeven", "math.trunc",
            "math.copysign",
        }
    ),
)  # fmt: skip
