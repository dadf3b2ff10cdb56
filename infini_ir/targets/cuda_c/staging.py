"""Pieces of the factors of a product in shared memory, as `[k, width]`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from infini_ir.dialects import tile
from infini_ir.targets.cuda_c.layouts import Blocks, Number, Spread, scaled, sum_of, times
from infini_ir.targets.cuda_c.placement import access_order
from infini_ir.targets.cuda_c.scalars import NARROW, is_unsigned
from infini_ir.targets.cuda_c.sources import At, element_types
from infini_ir.targets.cuda_c.statements import Access
from infini_ir.targets.cuda_c.writer import KernelWriter
from infini_ir.utils.errors import CompileError

PAD = 4
"""Elements between the rows of a staged factor, so that columns lie in different banks and
groups of four stay aligned."""


@dataclass
class Factor:
    """One side of a product, to be staged as `[k, width]` in shared memory."""

    value: SSAValue
    type: str
    """In shared memory: that of the accumulator."""
    width: int
    """Rows (of the left) or columns (of the right) that the threads' blocks cover."""
    contracted: int
    """The axis of the tile that is summed over."""
    length: int
    """Of the piece that is staged at once."""

    @property
    def pitch(self) -> int:
        return self.width + PAD

    @property
    def count(self) -> int:
        return self.length * self.pitch

    def widened(self, text: str, type: str) -> str:
        """An element of a type, computed with as signed, in the accumulator's type."""
        if is_unsigned(tile.tile_type(self.value).element):
            text, type = f"static_cast<u{type}>({text})", f"u{type}"
        return text if type == self.type else f"convert<{self.type}, {type}>({text})"

    def place(self, point: Sequence[str], shape: Sequence[int]) -> str:
        """Where an element lies in the staged piece."""
        number, step = "0", 1
        for axis in reversed(range(len(shape))):
            if axis != self.contracted:
                number = sum_of(scaled(point[axis], step), number)
                step *= shape[axis]
        return sum_of(f"{scaled(point[self.contracted], self.pitch)}", number)


@dataclass
class Product:
    """A `tile.dot` and how its threads do it."""

    op: tile.DotOp
    layout: Blocks
    type: str
    left: Factor
    right: Factor


def product_of(k: KernelWriter, op: tile.DotOp, length: int | None) -> Product:
    """A product whose factors are staged in pieces of a length, None for all of it."""
    layout = k.placement.layout(op.out)
    left, right = k.placement.known_shape(op.lhs), k.placement.known_shape(op.rhs)
    if not isinstance(layout, Blocks) or left is None or right is None:
        raise CompileError(
            f"kernel '{k.name}': the product {op.lhs.type} x {op.rhs.type} has tiles of unknown "
            "size; run tile-split-axis first"
        )
    type = element_types(op.out)[0]
    if type in NARROW:
        type = "float"
    piece = min(length or left[-1], left[-1])
    rows, columns = layout.padded
    contracted = 0 if op.transposed is None else 1
    return Product(
        op,
        layout,
        type,
        Factor(op.lhs, type, rows, len(left) - 1, piece),
        Factor(op.rhs, type, columns, contracted, piece),
    )


def primary_order(k: KernelWriter, value: SSAValue) -> tuple[int, ...]:
    """The axes of a factor, those that are neighbours in memory last."""
    rank = tile.tile_type(value).rank
    op = value.owner
    if isinstance(op, tile.LoadOp):
        return access_order(op)
    if isinstance(op, tile.MapOp):
        for operand, dims in zip(op.inputs, op.dim_lists, strict=True):
            if tuple(dims) == tuple(range(rank)) and isinstance(operand.type, tile.TileType):
                return primary_order(k, operand)
    return tuple(range(rank))


def piece_layout(k: KernelWriter, factor: Factor) -> Spread:
    """How the elements of a staged piece are fetched."""
    shape = list(k.placement.known_shape(factor.value) or ())
    shape[factor.contracted] = factor.length
    return Spread(tuple(shape), primary_order(k, factor.value), k.plan.lanes)


def _rest(k: KernelWriter, factor: Factor, first: str, extent: Number) -> Number:
    """What a piece that begins at `first` has of the contracted axis."""
    if first == "0":
        return min(extent, factor.length) if isinstance(extent, int) else extent
    if extent == factor.length:
        return extent
    capacity = k.placement.known_shape(factor.value)
    assert capacity is not None
    whole = isinstance(extent, int) and extent == capacity[factor.contracted]
    if whole and isinstance(extent, int) and extent % factor.length == 0:
        return factor.length
    return f"({extent} - {first})"


def stage(
    k: KernelWriter,
    factor: Factor,
    first: str,
    write,
    *,
    fetching: str = "",
) -> None:
    """
    Lines that compute the elements of a piece that begins at position `first`, 0 outside.
    `write(place, text)` writes one to shared memory; `fetching` names a register array to
    which they go instead.
    """
    layout = piece_layout(k, factor)
    extents = list(k.extents(factor.value))
    extents[factor.contracted] = _rest(k, factor, first, extents[factor.contracted])
    head, point, slot, conditions = layout.open()
    shape = layout.shape
    for coordinate, extent, limit in zip(point, extents, shape, strict=True):
        if extent != limit:
            conditions = [*conditions, f"{coordinate} < {extent}"]
    for text in head:
        k.line(text)
    full = point.copy()
    if first != "0":
        full[factor.contracted] = f"({sum_of(point[factor.contracted], first)})"
    target = f"{fetching}[{slot}]" if fetching else k.fresh("staged")
    k.line(f"{target} = 0;" if fetching else f"{factor.type} {target} = 0;")
    level = k.enter()
    if conditions:
        k.line(f"if ({' && '.join(conditions)}) {{")
    value = k.element(factor.value, At(tuple(full), None))
    k.line(f"{target} = {factor.widened(value, element_types(factor.value)[0])};")
    if conditions:
        k.line("}")
    k.leave(level)
    if not fetching:
        guard = times(shape) % layout.threads != 0
        if guard:
            k.line(f"if (element < {times(shape)}) {{")
        write(factor.place(point, shape), target)
        if guard:
            k.line("}")
    k.line("}")


def zero_padding(k: KernelWriter, factor: Factor, array: str, halves: int) -> None:
    """Zeros in the columns of a staged piece that no element fills, once."""
    shape = list(k.placement.known_shape(factor.value) or ())
    shape[factor.contracted] = 1
    filled = times(shape)
    if filled == factor.width:
        return
    rest = factor.width - filled
    count = rest * factor.length * halves

    def body() -> None:
        k.line(f"for (int element = thread; element < {count}; element += {k.plan.lanes}) {{")
        k.line(
            f"{array}[{sum_of(k.group_base(factor.count * halves), f'element / {rest} * {factor.pitch} + {filled} + element % {rest}')}] = 0;"
        )
        k.line("}")
        k.touch(Access(f"{array}.0", True))
        k.touch(Access(f"{array}.1", True))

    k.step(body)


def zero_rest(k: KernelWriter, factor: Factor, array: str, base: str) -> None:
    """Zeros in the columns that no element fills."""
    shape = list(k.placement.known_shape(factor.value) or ())
    shape[factor.contracted] = 1
    filled = times(shape)
    rest = factor.width - filled
    if rest <= 0:
        return
    count = rest * factor.length
    place = f"element / {rest} * {factor.pitch} + {filled} + element % {rest}"
    k.line(f"for (int element = thread; element < {count}; element += {k.plan.lanes}) {{")
    k.line(f"{array}[{sum_of(base, place)}] = 0;")
    k.line("}")
