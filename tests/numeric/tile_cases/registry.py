"""What a case is, and all of them by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tile_programs import Array, TileProgram
from xdsl.ir import SSAValue

from infini_ir.lowering.scalar_builder import ScalarBuilder

ALL_DTYPES = (
    "f32", "f64", "f16", "bf16", "i8", "i16", "i32", "i64", "ui8", "ui16", "ui32", "ui64", "i1",
)  # fmt: skip
WIDTHS = (0, 1, 3, 15, 16, 17, 100)


@dataclass
class Case:
    """A program and the inputs to run it on."""

    program: TileProgram
    inputs: list[list[Array]]
    rtol: float = 1e-5
    atol: float = 1e-5
    exact: bool = False


CASES: dict[str, Callable[[], Case]] = {}


def case(*arguments: object) -> Callable[[Callable[..., Case]], Callable[..., Case]]:
    """Register a function as a case for each argument (a tuple: its arguments)."""

    def register(function: Callable[..., Case]) -> Callable[..., Case]:
        for given in arguments or ((),):
            values = given if isinstance(given, tuple) else (given,)
            text = "-".join(str(v).replace(" ", "") for v in values)
            name = f"{function.__name__}[{text}]" if text else function.__name__
            CASES[name] = lambda values=values: function(*values)
        return function

    return register


def in_f32(s: ScalarBuilder, dtype: str, x: SSAValue) -> SSAValue:
    return s.widen(x) if dtype in ("f16", "bf16") else x
