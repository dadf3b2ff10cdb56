"""Symbolic sizes of one call: what the shapes of the inputs say, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from infini_ir.runtime.metadata import Metadata
from infini_ir.runtime.pace import Pace, ShortPace
from infini_ir.runtime.signature import TensorSpec, input_symbols
from infini_ir.utils.errors import InputError
from infini_ir.utils.symbolic import Dim

Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class Binding:
    """What a call with given input shapes needs."""

    symbols: tuple[tuple[int, int], ...]
    """(index in the symbol table, value) of each symbol that the inputs define."""
    outputs: tuple[tuple[int, ...] | None, ...]
    """Output shapes; None where the program decides while running."""
    arena: int
    """Bytes of scratch memory."""
    workers: int = 1
    """Threads that are worth using for these sizes."""
    pace: Pace | ShortPace = field(default_factory=Pace)
    """How quick calls of these sizes have been."""


SHORT_CALL = 40_000
"""Nanoseconds of work below which waking a parked thread (about 50 us) is no gain."""

SHORTEST_CALL = 2_000
"""Nanoseconds of work below which even threads that are awake are no gain: to begin and to end with
a second one takes 0.7 us."""


def bind(metadata: Metadata, shapes: Shapes, workers: int = 1) -> Binding:
    """Give the symbols their values, checking every size.

    A size that is a bare symbol defines it at its first appearance, in input order; all
    other sizes must then agree. `InputError` names the input, what it has and what is wanted.
    """
    inputs = metadata.inputs
    for spec, shape in zip(inputs, shapes, strict=True):
        if len(shape) != len(spec.shape):
            raise InputError(
                f"input '{spec.name}' has {len(shape)} dimensions, shape {list(shape)}; "
                f"the model wants {spec.type_text()}"
            )
    values, sources = _define(inputs, shapes)
    for spec, shape in zip(inputs, shapes, strict=True):
        for axis, (dim, size) in enumerate(zip(spec.shape, shape, strict=True)):
            if dim.evaluate(values) != size:
                raise _mismatch(spec, axis, size, dim, values, sources)
    work = SHORT_CALL if metadata.work is None else metadata.work.evaluate(values)
    return Binding(
        tuple((metadata.symbols.index(name), value) for name, value in values.items()),
        tuple(_output_shape(spec, values) for spec in metadata.outputs),
        metadata.arena.evaluate(values) + workers * metadata.scratch.evaluate(values),
        1 if work < SHORTEST_CALL else workers,
        ShortPace() if work < SHORT_CALL else Pace(),
    )


def _define(
    inputs: Sequence[TensorSpec], shapes: Shapes
) -> tuple[dict[str, int], dict[str, str]]:
    """Values of the symbols, and the name of the input that defined each."""
    values: dict[str, int] = {}
    sources: dict[str, str] = {}
    for spec, shape in zip(inputs, shapes, strict=True):
        for dim, size in zip(spec.shape, shape, strict=True):
            name = dim.name
            if name is not None and name not in values:
                values[name], sources[name] = size, spec.name
    return values, sources


def _mismatch(
    spec: TensorSpec,
    axis: int,
    size: int,
    dim: Dim,
    values: dict[str, int],
    sources: dict[str, str],
) -> InputError:
    found = f"input '{spec.name}': dim {axis} is {size}"
    if dim.value is not None:
        return InputError(f"{found}, but the model wants {dim.value}: {spec.type_text()}")
    if dim.name is not None:
        wanted = f"'{dim}' is {values[dim.name]} by input '{sources[dim.name]}'"
    else:
        known = ", ".join(
            f"'{name}' is {values[name]} by input '{sources[name]}'"
            for name in sorted(dim.symbols())
        )
        wanted = f"'{dim}' is {dim.evaluate(values)}, as {known}"
    return InputError(f"{found}, but {wanted}")


def _output_shape(spec: TensorSpec, values: dict[str, int]) -> tuple[int, ...] | None:
    if spec.symbols() <= values.keys():
        return tuple(dim.evaluate(values) for dim in spec.shape)
    return None


def check_bindable(metadata: Metadata) -> None:
    """Raise `ValueError` for a signature whose input sizes or arena no input can define."""
    defined = input_symbols(metadata.inputs)
    for spec in metadata.inputs:
        for name in sorted(spec.symbols() - defined):
            raise ValueError(
                f"input '{spec.name}' uses '{name}', which is nowhere a size by itself"
            )
    wanted = metadata.arena.symbols() | metadata.scratch.symbols()
    for name in sorted(wanted - defined):
        raise ValueError(f"the arena's size uses '{name}', which no input defines")
