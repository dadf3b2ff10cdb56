"""The plan of a device program: what the host does in a call, as data.

Sizes are expressions over the program's symbols, kept as text and evaluated when the
program is called. A view is a `Pointer`: a buffer and an offset in bytes. Steps run in
order on one stream, so no step waits for another unless the host must read a number.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infini_ir.utils.errors import ArtifactError
from infini_ir.utils.symbolic import Dim

ALIGNMENT = 16
"""What divisible sizes are multiples of, and aligned pointers' bytes."""

INPUT, OUTPUT, WEIGHTS, ARENA, TAKEN = "input", "output", "weights", "arena", "taken"
"""Buffers that pointers begin in."""

Json = Any
Fact = tuple[Dim, str, Dim]
"""Left, one of `eq`, `le`, `ge`, right."""


@dataclass(frozen=True)
class Pointer:
    """A place in a buffer."""

    base: str
    index: int
    """Which input, output or taken block; 0 for the weights and the arena."""
    offset: Dim
    """Bytes."""

    def to_json(self) -> Json:
        return [self.base, self.index, str(self.offset)]

    @staticmethod
    def from_json(data: Json) -> Pointer:
        base, index, offset = data
        if base not in (INPUT, OUTPUT, WEIGHTS, ARENA, TAKEN):
            raise ValueError(f"there is no buffer '{base}'")
        return Pointer(base, int(index), Dim.parse(offset))


# Kernels


@dataclass(frozen=True)
class Argument:
    """One parameter of a kernel: the pointer of a view, or a size."""

    type: str
    """`pointer`, `i32` or `i64`."""
    view: int = 0
    size: Dim | None = None

    def to_json(self) -> Json:
        return [self.type, self.view if self.size is None else str(self.size)]

    @staticmethod
    def from_json(data: Json) -> Argument:
        kind, value = data
        if kind == "pointer":
            return Argument(kind, int(value))
        if kind not in ("i32", "i64"):
            raise ValueError(f"'{kind}' is not a kernel's parameter")
        return Argument(kind, size=Dim.parse(value))


@dataclass(frozen=True)
class Variant:
    """Machine code of a kernel, and what must hold for it to be used."""

    image: str
    """Its file in the package."""
    function: str
    threads: int
    shared: int
    """Bytes of dynamic shared memory."""
    scratch: int = 0
    """Bytes of global scratch memory that each program wants."""
    divisible: tuple[Dim, ...] = ()
    """Sizes that are multiples of `ALIGNMENT`."""
    aligned: tuple[int, ...] = ()
    """Views whose pointers are multiples of `ALIGNMENT`."""

    def to_json(self) -> Json:
        return {
            "image": self.image,
            "function": self.function,
            "threads": self.threads,
            "shared": self.shared,
            "scratch": self.scratch,
            "divisible": [str(size) for size in self.divisible],
            "aligned": list(self.aligned),
        }

    @staticmethod
    def from_json(data: Json) -> Variant:
        return Variant(
            str(data["image"]),
            str(data["function"]),
            int(data["threads"]),
            int(data["shared"]),
            int(data["scratch"]),
            tuple(map(Dim.parse, data["divisible"])),
            tuple(map(int, data["aligned"])),
        )


@dataclass(frozen=True)
class Replacement:
    """A kernel that does the same with the same views, and is faster for small sizes."""

    kernel: int
    size: Dim
    most: int
    """It is launched where `size` is not above this."""

    def to_json(self) -> Json:
        return [self.kernel, str(self.size), self.most]

    @staticmethod
    def from_json(data: Json) -> Replacement:
        kernel, size, most = data
        return Replacement(int(kernel), Dim.parse(size), int(most))


@dataclass(frozen=True)
class PlannedKernel:
    """A kernel: its parameters, its grid, and code from the most special to the general."""

    name: str
    arguments: tuple[Argument, ...]
    grid: tuple[Dim, Dim, Dim]
    variants: tuple[Variant, ...]
    limit: int | None = None
    """Sizes among the parameters must be below this; None where any that fit will do."""
    small: Replacement | None = None
    """What is launched in its place for small sizes."""

    def to_json(self) -> Json:
        return {
            "name": self.name,
            "arguments": [argument.to_json() for argument in self.arguments],
            "grid": [str(size) for size in self.grid],
            "variants": [variant.to_json() for variant in self.variants],
            "limit": self.limit,
            "small": None if self.small is None else self.small.to_json(),
        }

    @staticmethod
    def from_json(data: Json) -> PlannedKernel:
        x, y, z = map(Dim.parse, data["grid"])
        limit, small = data["limit"], data.get("small")
        return PlannedKernel(
            str(data["name"]),
            tuple(map(Argument.from_json, data["arguments"])),
            (x, y, z),
            tuple(map(Variant.from_json, data["variants"])),
            None if limit is None else int(limit),
            None if small is None else Replacement.from_json(small),
        )


# Steps


@dataclass(frozen=True, eq=False)
class Launch:
    """Run a kernel over its grid."""

    kernel: int
    views: tuple[Pointer, ...]


@dataclass(frozen=True)
class Operand:
    """A matrix, or a batch of them, in memory. Strides are in elements."""

    pointer: Pointer
    transposed: bool
    """Whether the columns, not the rows, lie together."""
    leading: Dim
    """From one row (or column, where transposed) to the next."""
    batch: Dim
    """From one matrix to the next."""


@dataclass(frozen=True, eq=False)
class Product:
    """`out = lhs x rhs` by the vendor's library, for each matrix of a batch."""

    dtype: str
    m: Dim
    n: Dim
    k: Dim
    batch: Dim
    lhs: Operand
    rhs: Operand
    out: Operand


@dataclass(frozen=True, eq=False)
class Take:
    """Memory whose size is known only now, for the rest of the call."""

    index: int
    bytes: Dim


@dataclass(frozen=True, eq=False)
class Check:
    """Conditions on sizes."""

    facts: tuple[Fact, ...]


@dataclass(frozen=True, eq=False)
class Bind:
    """Read an i64 from the device into a symbol; it must not be negative."""

    pointer: Pointer
    symbol: str


@dataclass(frozen=True, eq=False)
class Set:
    """Give a symbol the value of an expression."""

    symbol: str
    value: Dim


@dataclass(frozen=True, eq=False)
class If:
    """One of two blocks, by a bool on the device."""

    condition: Pointer
    then: Block
    other: Block


@dataclass(frozen=True, eq=False)
class Loop:
    """`to` times a block; `until` is a bool on the device that ends the loop when false.
    The symbol is the turn's number inside, how many turns there were afterwards."""

    symbol: str
    to: Dim
    until: Pointer | None
    body: Block


@dataclass(frozen=True, eq=False)
class While:
    """The condition, then the body while the bool is true."""

    flag: Pointer
    condition: Block
    body: Block


@dataclass(frozen=True, eq=False)
class Publish:
    """A pointer is the output of that number, which was not known on entry."""

    pointer: Pointer
    index: int


Step = Launch | Product | Take | Check | Bind | Set | If | Loop | While | Publish
Block = tuple[Step, ...]


def steps_of(block: Block) -> Iterator[Step]:
    """All steps, those of inner blocks too."""
    for step in block:
        yield step
        for inner in _inner_blocks(step):
            yield from steps_of(inner)


def _inner_blocks(step: Step) -> tuple[Block, ...]:
    match step:
        case If(_, then, other):
            return then, other
        case Loop(body=body):
            return (body,)
        case While(_, condition, body):
            return condition, body
        case _:
            return ()


def reads_back(block: Block) -> bool:
    """Whether the host must read from the device, or take memory, while the plan runs:
    where it need not, a call with known sizes is one fixed list of launches."""
    return any(
        isinstance(step, Bind | If | While | Take | Publish)
        or (isinstance(step, Loop) and step.until is not None)
        for step in steps_of(block)
    )


@dataclass(frozen=True)
class LaunchPlan:
    """A whole program for a device."""

    kernels: tuple[PlannedKernel, ...]
    steps: Block
    outputs: tuple[int, ...]
    """Numbers of the outputs whose memory the caller gives; the others are published."""

    def to_text(self) -> str:
        """As JSON, a line for each kernel and each outer step."""
        kernels = [json.dumps(kernel.to_json()) for kernel in self.kernels]
        steps = [json.dumps(step) for step in _block_to_json(self.steps)]
        lines = [
            "{",
            f'"outputs": {json.dumps(list(self.outputs))},',
            '"kernels": [',
            ",\n".join(kernels),
            "],",
            '"steps": [',
            ",\n".join(steps),
            "]",
            "}",
        ]
        return "\n".join(lines) + "\n"

    @staticmethod
    def from_text(text: str | bytes) -> LaunchPlan:
        """The reverse of `to_text`. Raises `ArtifactError` for anything else."""
        try:
            data = json.loads(text)
            return LaunchPlan(
                tuple(map(PlannedKernel.from_json, data["kernels"])),
                _block_from_json(data["steps"]),
                tuple(map(int, data["outputs"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"the program's launch plan is not valid ({error}); compile the model again"
            ) from error


# Text form: each step is an object whose "do" says which, with its fields by name.


def _facts_to_json(facts: Sequence[Fact]) -> Json:
    return [[str(left), relation, str(right)] for left, relation, right in facts]


def _facts_from_json(data: Json) -> tuple[Fact, ...]:
    return tuple((Dim.parse(left), str(word), Dim.parse(right)) for left, word, right in data)


def _operand_to_json(operand: Operand) -> Json:
    pointer, leading, batch = operand.pointer.to_json(), operand.leading, operand.batch
    return [pointer, operand.transposed, str(leading), str(batch)]


def _operand_from_json(data: Json) -> Operand:
    pointer, transposed, leading, batch = data
    place = Pointer.from_json(pointer)
    return Operand(place, bool(transposed), Dim.parse(leading), Dim.parse(batch))


def _pointers_to_json(pointers: Sequence[Pointer]) -> Json:
    return [pointer.to_json() for pointer in pointers]


def _pointers_from_json(data: Json) -> tuple[Pointer, ...]:
    return tuple(map(Pointer.from_json, data))


def _block_to_json(block: Block) -> Json:
    return [_step_to_json(step) for step in block]


def _block_from_json(data: Json) -> Block:
    return tuple(_step_from_json(step) for step in data)


_Codec = tuple[Callable[[Any], Json], Callable[[Json], Any]]
_NUMBER: _Codec = (int, int)
_NAME: _Codec = (str, str)
_SIZE: _Codec = (str, Dim.parse)
_PLACE: _Codec = (Pointer.to_json, Pointer.from_json)
_MAYBE: _Codec = (
    lambda p: None if p is None else p.to_json(),
    lambda d: None if d is None else Pointer.from_json(d),
)
_PLACES: _Codec = (_pointers_to_json, _pointers_from_json)
_OPERAND: _Codec = (_operand_to_json, _operand_from_json)
_FACTS: _Codec = (_facts_to_json, _facts_from_json)
_BLOCK: _Codec = (_block_to_json, _block_from_json)

_FIELDS: Mapping[type[Any], tuple[str, Mapping[str, _Codec]]] = {
    Launch: ("launch", {"kernel": _NUMBER, "views": _PLACES}),
    Product: (
        "product",
        {
            "dtype": _NAME,
            **dict.fromkeys(("m", "n", "k", "batch"), _SIZE),
            **dict.fromkeys(("lhs", "rhs", "out"), _OPERAND),
        },
    ),
    Take: ("take", {"index": _NUMBER, "bytes": _SIZE}),
    Check: ("check", {"facts": _FACTS}),
    Bind: ("bind", {"pointer": _PLACE, "symbol": _NAME}),
    Set: ("set", {"symbol": _NAME, "value": _SIZE}),
    If: ("if", {"condition": _PLACE, "then": _BLOCK, "other": _BLOCK}),
    Loop: ("loop", {"symbol": _NAME, "to": _SIZE, "until": _MAYBE, "body": _BLOCK}),
    While: ("while", {"flag": _PLACE, "condition": _BLOCK, "body": _BLOCK}),
    Publish: ("publish", {"pointer": _PLACE, "index": _NUMBER}),
}
_BY_NAME = {name: (kind, fields) for kind, (name, fields) in _FIELDS.items()}


def _step_to_json(step: Step) -> Json:
    name, fields = _FIELDS[type(step)]
    return {"do": name, **{key: codec[0](getattr(step, key)) for key, codec in fields.items()}}


def _step_from_json(data: Json) -> Step:
    kind, fields = _BY_NAME[data["do"]]
    return kind(**{key: codec[1](data[key]) for key, codec in fields.items()})
