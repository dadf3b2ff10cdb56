"""What the emitter gives for one kernel: Triton source, and what a launch must know of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from infini_ir.utils.symbolic import Dim


@dataclass(frozen=True)
class Argument:
    """One parameter of an emitted kernel, in the order of its signature."""

    name: str
    type: str
    """As Triton writes it: `*fp32`, `*bf16`, `*i8`, .. for a pointer, `i32` or `i64` for a
    symbol. A bool and every type that only stores is `*i8`; unsigned integers are signless."""
    view: int | None = None
    """The view that a pointer is of, by its number among the kernel's views."""
    symbol: str | None = None
    """The symbol that a size is of, as the host program calls it."""
    divisible: bool = False
    """Whether loads and stores become wide where this is a multiple of 16 (a pointer: of 16
    bytes), so that a variant compiled with that fact is worth having."""


@dataclass(frozen=True)
class EmittedKernel:
    """A kernel as Triton source, with its launch."""

    name: str
    source: str
    """A Python module: imports, helpers and `@triton.jit def name(...)`."""
    arguments: tuple[Argument, ...]
    """Pointers of the views in order, then the symbols."""
    grid: tuple[Dim, ...]
    """Programs along each axis of the launch; a launch with none of them is left out."""
    num_warps: int
    num_stages: int
    symbol_limit: int | None = None
    """Symbols must be below this (their products are computed in 64 bits)."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further options of `triton.compile`, such as `enable_reflect_ftz`."""

    @property
    def signature(self) -> dict[str, str]:
        """The types by name, as `ASTSource` takes them."""
        return {argument.name: argument.type for argument in self.arguments}

    def attributes(self, names: frozenset[str] | None = None) -> dict[tuple[int], list[Any]]:
        """The facts of `ASTSource` for the arguments of these names that are multiples of
        16; all that are worth it where no names are given."""
        return {
            (number,): [["tt.divisibility", 16]]
            for number, argument in enumerate(self.arguments)
            if argument.divisible and (names is None or argument.name in names)
        }
