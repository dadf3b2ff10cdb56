"""Where the elements of a tile come from, at a point of a loop nest.

A tile of a kernel is not stored: a loop that needs its elements asks its source for the
element at a point (or for `lanes` of them along one axis), and the source emits a load, a
computation, or nothing where the element is at hand.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xdsl.dialects.builtin import IntegerType, Signedness
from xdsl.ir import SSAValue

from infini_ir.dialects import tile
from infini_ir.targets.cpu.llvm.scalars import emit_scalar, llvm_type, memory_of
from infini_ir.targets.cpu.llvm.writer import ZERO, Function, V

if TYPE_CHECKING:
    from infini_ir.targets.cpu.kernel.emitter import KernelEmitter


@dataclass(frozen=True)
class Coordinate:
    """A position along one axis; the vector axis covers `lanes` positions from it on."""

    position: V
    vector: bool = False


Point = tuple[Coordinate, ...]


def vector_axis(point: Point) -> int | None:
    """The axis of a point that is the vector axis, if any."""
    for axis, coordinate in enumerate(point):
        if coordinate.vector:
            return axis
    return None


def point_key(point: Point) -> tuple[tuple[str, bool], ...]:
    return tuple((c.position.text, c.vector) for c in point)


class Source(abc.ABC):
    """The elements of one tile value."""

    @abc.abstractmethod
    def at(self, e: KernelEmitter, point: Point) -> V:
        """The element at a point: a scalar, or a vector along the point's vector axis."""


@dataclass
class ScalarSource(Source):
    """One value everywhere."""

    value: V

    def at(self, e: KernelEmitter, point: Point) -> V:
        return self.value


@dataclass
class MemorySource(Source):
    """Elements in memory: `pointer[sum(position * stride)]`."""

    pointer: V
    strides: tuple[V, ...]
    element: str
    """The LLVM type in the kernel; bools take a byte in memory."""
    align: int
    signed: bool = False
    """Whether elements narrower than a byte are filled up with their sign."""
    passing: bool = False
    """Whether whole vectors are written past the caches, where they are aligned."""

    def at(self, e: KernelEmitter, point: Point) -> V:
        axis = vector_axis(point)
        memory = memory_of(self.element)
        pointer = self.address(e, point, memory)
        if axis is None or self.strides[axis].number == 0:
            value = e.f.load(pointer, memory, 1, self.align)
        elif self.strides[axis].number == 1:
            value = e.f.load(pointer, memory, e.lanes, self.align, e.mask)
        else:
            value = e.f.gather(
                self._lane_addresses(e, pointer, axis, memory), memory, self.align, e.mask
            )
        return narrowed(e, value, self.element)

    def address(self, e: KernelEmitter, point: Point, memory: str) -> V:
        """The address of the point's first element."""
        index = ZERO
        for coordinate, stride in zip(point, self.strides, strict=True):
            index = e.f.add(index, e.f.mul(coordinate.position, stride))
        return e.f.gep(self.pointer, index, memory)

    def _lane_addresses(self, e: KernelEmitter, pointer: V, axis: int, memory: str) -> V:
        stride = e.f.splat(self.strides[axis], e.lanes)
        steps = e.f.assign(
            f"mul {stride.full_type} {e.f.lane_numbers(e.lanes).text}, {stride.text}",
            "i64",
            e.lanes,
        )
        return e.f.addresses(pointer, steps, memory)

    def store(self, e: KernelEmitter, point: Point, value: V) -> None:
        """Write the element (or lanes) at a point."""
        axis = vector_axis(point)
        memory = memory_of(self.element)
        if axis is not None:
            value = e.f.splat(value, e.lanes)
        if memory != self.element:
            wide = memory if value.lanes == 1 else f"<{value.lanes} x {memory}>"
            extend = "sext" if self.signed else "zext"
            value = e.f.assign(f"{extend} {value.typed} to {wide}", memory, value.lanes)
        pointer = self.address(e, point, memory)
        if axis is None or self.strides[axis].number == 1:
            if self.passing and e.mask is None and value.lanes > 1:
                store_past(e.f, value, pointer, self.align)
            else:
                e.f.store(value, pointer, self.align, e.mask)
        else:
            e.f.scatter(
                value, self._lane_addresses(e, pointer, axis, memory), self.align, e.mask
            )


def store_past(f: Function, value: V, pointer: V, align: int) -> None:
    """Write a vector past the caches where its address is a multiple of its size: lines that are
    written whole need not be read before."""
    size = value.lanes * align
    number = f.assign(f"ptrtoint {pointer.typed} to i64", "i64")
    inside = f.assign(f"and i64 {number.text}, {size - 1}", "i64")
    aligned = f.compare("eq", inside, ZERO)
    f.when(aligned, lambda: f.store(value, pointer, size, past=True), "past")
    f.when(f.compare("ne", inside, ZERO), lambda: f.store(value, pointer, align), "unaligned")


def narrowed(e: KernelEmitter, value: V, element: str) -> V:
    """A byte of memory as a bool (any nonzero byte is true) or a narrower integer."""
    if value.type == element:
        return value
    if element == "i1":
        zero = "zeroinitializer" if value.lanes > 1 else "0"
        return e.f.assign(f"icmp ne {value.typed}, {zero}", "i1", value.lanes)
    wanted = element if value.lanes == 1 else f"<{value.lanes} x {element}>"
    return e.f.assign(f"trunc {value.typed} to {wanted}", element, value.lanes)


@dataclass
class MapSource(Source):
    """One result of a `tile.map`, computed where it is needed."""

    op: tile.MapOp
    result: int

    def at(self, e: KernelEmitter, point: Point) -> V:
        key = (id(self.op), point_key(point), e.mask_key())
        known = e.remembered(key)
        if known is None:
            known = self._compute(e, point)
            e.remember(key, known)
        return known[self.result]

    def _compute(self, e: KernelEmitter, point: Point) -> tuple[V, ...]:
        values: dict[SSAValue, V] = {}
        block = self.op.body.block
        for operand, dims, argument in zip(
            self.op.inputs, self.op.dim_lists, block.args, strict=True
        ):
            if isinstance(operand.type, tile.TileType):
                values[argument] = e.element(operand, tuple(point[d] for d in dims))
            else:
                values[argument] = e.scalar(operand)
        for op in block.ops:
            if isinstance(op, tile.YieldOp):
                return tuple(
                    values[value] if value in values else e.scalar(value) for value in op.values
                )
            if isinstance(op, tile.CoordOp):
                values[op.out] = e.coordinate(point[op.axis.value.data])
                continue
            operands = [values[v] if v in values else e.scalar(v) for v in op.operands]
            values[op.results[0]] = emit_scalar(e.f, op, operands)
        raise AssertionError("a map ends with tile.yield")


@dataclass
class GatherSource(Source):
    """Elements at computed positions."""

    op: tile.GatherOp
    pointer: V
    strides: tuple[V, ...]
    element: str
    align: int

    def at(self, e: KernelEmitter, point: Point) -> V:
        key = (id(self.op), point_key(point), e.mask_key())
        known = e.remembered(key)
        if known is None:
            known = (self._load(e, point),)
            e.remember(key, known)
        return known[0]

    def _load(self, e: KernelEmitter, point: Point) -> V:
        axis = vector_axis(point)
        memory = memory_of(self.element)
        index, contiguous = self._index(e, point, axis)
        if index.lanes == 1:
            pointer = e.f.gep(self.pointer, index, memory)
            lanes = e.lanes if contiguous else 1
            value = e.f.load(pointer, memory, lanes, self.align, e.mask if lanes > 1 else None)
        else:
            value = e.f.gather(
                e.f.addresses(self.pointer, index, memory), memory, self.align, e.mask
            )
        return narrowed(e, value, self.element)

    def _index(self, e: KernelEmitter, point: Point, axis: int | None) -> tuple[V, bool]:
        """The element number: a scalar (with `contiguous`: of the first lane) or a vector."""
        base, moving = ZERO, None
        contiguous = False
        for operand, dims, stride in zip(
            self.op.positions, self.op.dim_lists, self.strides, strict=True
        ):
            position = e.position(operand, dims, point)
            if position.consecutive and stride.number == 1 and not contiguous:
                contiguous = True
                base = e.f.add(base, position.value)
            elif position.value.lanes == 1 and not position.consecutive:
                base = e.f.add(base, e.f.mul(position.value, stride))
            else:
                moving = e.add_vectors(moving, e.scaled(e.lanes_of(position), stride))
        if moving is None:
            return base, contiguous
        if contiguous:
            moving = e.add_vectors(moving, e.f.lane_numbers(e.lanes))
        return e.add_vectors(moving, e.f.splat(base, e.lanes)), False


@dataclass
class ReduceSource(Source):
    """A reduction computed where it is needed: loops over the reduced axes around it."""

    op: tile.ReduceOp

    def at(self, e: KernelEmitter, point: Point) -> V:
        key = (id(self.op), point_key(point), e.mask_key())
        known = e.remembered(key)
        if known is None:
            known = (e.reduced(self.op, point),)
            e.remember(key, known)
        return known[0]


def element_type_of(value: SSAValue) -> str:
    """The LLVM type of a tile's elements in the kernel."""
    return llvm_type(tile.tile_type(value).element)


def is_signed(value: SSAValue) -> bool:
    """Whether a tile's or view's elements are signed integers."""
    element = value.type.element  # pyright: ignore[reportAttributeAccessIssue]
    return (
        isinstance(element, IntegerType)
        and element.signedness.data != Signedness.UNSIGNED
        and element.width.data > 1
    )
