"""What the buffer passes know of a core: sizes, alignment, instructions, pipes, as data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from infini_ir.dialects.buffer import Pipe, Queue
from infini_ir.dialects.tile import Combine
from infini_ir.utils.dtypes import item_size

FLOATS = ("f16", "f32")


def instructions(
    *groups: tuple[Iterable[str], Iterable[str]],
) -> frozenset[tuple[str, str]]:
    """Every instruction of each group with every element type of it."""
    return frozenset(
        (name, dtype) for names, dtypes in groups for name in names for dtype in dtypes
    )


ELEMENTWISE = ("add", "sub", "mul", "max", "min")
RELATIONS = ("eq", "ne", "lt", "le", "gt", "ge")
COMPARISONS = tuple(f"compare_{r}" for r in RELATIONS)
SCALAR_COMPARISONS = tuple(f"compare_scalar_{r}" for r in RELATIONS)


@dataclass(frozen=True)
class CoreMachine:
    """
    A core. Instructions are named after what they do, with the element type they do it on
    (of a cast: the pair of types, in `casts`):

    the functions of `buffer.unary` (`exp`); of `buffer.binary` (`add`) and, with a scalar,
    `add_scalar`; `compare_lt`, `compare_scalar_lt` and so on; `select`, `fill`, `iota`,
    `copy`, `reduce_add`, `reduce_max`, `reduce_min`, `transpose`, `dot`. What is missing
    is made of other instructions, or by the scalar unit one element at a time.
    """

    name: str
    vector_bytes: int
    """Bytes of the memory in which vector instructions work."""
    instructions: frozenset[tuple[str, str]]
    casts: frozenset[tuple[str, str]]
    """Pairs of element types between which one instruction converts."""
    alignment: int = 32
    """Bytes of which operands' first bytes are a multiple."""
    granule: int = 1
    """Elements of which the space between rows is a multiple, besides the alignment."""
    mask_bits: int = 1
    """Bits that a lane of a mask takes."""
    max_count: int = 1 << 30
    """Elements that one instruction takes."""
    cores: int = 1
    depth: int = 2
    """Slots of a queue; 1 makes none."""
    queues: Mapping[Queue, int] = field(default_factory=dict)
    """How many queues of each kind there may be."""
    concurrent: bool = True
    """Whether pipes run at the same time, so that they must be synchronised."""
    in_order: frozenset[Pipe] = frozenset(Pipe)
    """Pipes in which an instruction sees what earlier ones of the same pipe wrote."""
    reduce_carries_nan: bool = True
    """Whether max and min reductions give NaN where there is one."""
    reduce_work: int = 0
    """Elements of work memory of a reduction, for each element reduced, in 1/256."""
    work_least: int = 0
    """Elements of work memory that a reduction wants at least."""
    transpose_work: int = 0
    """Elements of work memory that a transposition wants for each element, in 1/256."""
    strided_copies: bool = True
    """Whether copies take elements that are not neighbours in global memory."""
    combines: frozenset[tuple[Combine, str]] = frozenset()
    """What copies out combine with what is there."""
    product_sizes: Mapping[str, int] = field(default_factory=dict)
    """Tile sizes for products to begin with, by parameter, where those for a vector unit are
    not right."""
    scalar_math: frozenset[str] = frozenset({"math.absf", "math.absi", "math.fma"})
    """Operations of the math dialect that the scalar unit does; of arith it does all."""

    def has(self, instruction: str, dtype: str) -> bool:
        """Whether one instruction does this to elements of this type."""
        return (instruction, dtype) in self.instructions

    def makes_queues(self, kind: Queue) -> bool:
        """Whether local memory may be queues of a kind."""
        return self.concurrent and self.depth > 1 and self.queues.get(kind, 0) > 0

    def pitch_granule(self, dtypes: Iterable[str]) -> int:
        """Elements of which rows of any of these types begin at a multiple."""
        smallest = min((item_size(dtype) for dtype in dtypes), default=4)
        return max(self.granule, self.alignment // smallest)

    def bytes_of(self, count: int, dtype: str) -> int:
        """Bytes that local memory of so many elements takes, up to the alignment."""
        bits = self.mask_bits if dtype == "i1" else 8 * item_size(dtype)
        size = -(-count * bits // 8)
        return -(-size // self.alignment) * self.alignment

    def cast_path(self, source: str, target: str) -> tuple[str, ...] | None:
        """Types through which casts lead from one to the other, both included."""
        paths: list[tuple[str, ...]] = [(source,)]
        seen = {source}
        for path in paths:
            if path[-1] == target:
                return path
            for one, other in sorted(self.casts):
                if one == path[-1] and other not in seen:
                    seen.add(other)
                    paths.append((*path, other))
        return None


EXACT_INTEGERS = {"i8": 8, "i16": 16, "i32": 32, "i64": 64, "f16": 11, "bf16": 8, "f32": 24}
"""Bits of signed integers that each type holds exactly."""
