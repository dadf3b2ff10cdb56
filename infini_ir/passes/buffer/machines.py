"""A core that belongs to no vendor, for tests and for reading the buffer form."""

from __future__ import annotations

from infini_ir.dialects.buffer import Queue
from infini_ir.dialects.tile import Combine
from infini_ir.passes.buffer.machine import (
    COMPARISONS,
    ELEMENTWISE,
    FLOATS,
    SCALAR_COMPARISONS,
    CoreMachine,
    instructions,
)
from infini_ir.utils.errors import OptionError

INTEGERS = ("i16", "i32")
UNARY = ("exp", "ln", "sqrt", "rsqrt", "reciprocal", "abs", "relu")
ROUNDING = ("floor", "ceil", "round_even", "trunc")

TEST = CoreMachine(
    name="test core",
    vector_bytes=128 * 1024,
    instructions=instructions(
        (ELEMENTWISE, (*FLOATS, *INTEGERS)),
        (("add_scalar", "mul_scalar", "max_scalar", "min_scalar"), (*FLOATS, *INTEGERS)),
        (("div", *UNARY), FLOATS),
        (ROUNDING, ("f32",)),
        (("bit_and", "bit_or", "bit_xor"), ("i16", "i32")),
        ((*COMPARISONS, *SCALAR_COMPARISONS), FLOATS),
        (("compare_eq",), ("i32",)),
        (("select", "reduce_add", "reduce_max", "reduce_min"), FLOATS),
        (("fill", "copy"), (*FLOATS, "bf16", "i8", "i16", "i32")),
        (("iota",), ("i32",)),
        (("transpose",), ("f16", "f32")),
    ),
    casts=frozenset(
        {
            ("f16", "f32"), ("f32", "f16"), ("bf16", "f32"), ("f32", "bf16"),
            ("f32", "i32"), ("i32", "f32"), ("f16", "i8"), ("i8", "f16"), ("ui8", "f16"),
            ("f16", "ui8"), ("i32", "i64"), ("i64", "i32"), ("i32", "i16"), ("f16", "i32"),
            ("i16", "f32"),
        }
    ),
    cores=8,
    queues={Queue.input: 3, Queue.output: 3, Queue.through: 2},
    reduce_carries_nan=False,
    reduce_work=8,
    work_least=32,
    combines=frozenset({(Combine.add, "f32")}),
)  # fmt: skip
"""Much like the vector core of an accelerator with 32-byte blocks and bit masks."""


def named(machine: str | CoreMachine) -> CoreMachine:
    """A core by name; `OptionError` for one that is not known."""
    if isinstance(machine, CoreMachine):
        return machine
    if machine != "test":
        raise OptionError(f"unknown core '{machine}'; there is: test")
    return TEST
