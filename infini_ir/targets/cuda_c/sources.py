"""How a tile's elements are had: from memory, registers, or by computing them on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from xdsl.ir import SSAValue

from infini_ir.dialects import tile
from infini_ir.targets.cuda_c.layouts import Layout, Number, scaled, sum_of
from infini_ir.targets.cuda_c.reductions import Combiner
from infini_ir.targets.cuda_c.scalars import constant, expression, memory_type, scalar_type
from infini_ir.targets.cuda_c.statements import Access
from infini_ir.utils.errors import CompileError

if TYPE_CHECKING:
    from infini_ir.targets.cuda_c.writer import KernelWriter


@dataclass(frozen=True)
class At:
    """An element of a tile, in a loop over elements."""

    point: tuple[str, ...]
    """Its coordinates, one an axis."""
    layout: Layout | None = None
    """How the loop deals out the elements, and"""
    slot: str = ""
    """which of its thread's elements this one is: to find it in registers."""

    def covered(self, dims: Sequence[int]) -> At:
        """The element of an operand that covers some axes."""
        point = tuple(self.point[d] for d in dims)
        if tuple(dims) == tuple(range(len(self.point))):
            return replace(self, point=point)
        return At(point)


class Source:
    """Where a tile's elements come from."""

    def at(self, k: KernelWriter, at: At) -> str:
        """The element as an expression without side effects, cheap to repeat."""
        raise NotImplementedError


@dataclass
class ScalarSource(Source):
    """One value everywhere."""

    text: str

    def at(self, k: KernelWriter, at: At) -> str:
        return self.text


@dataclass
class RegisterSource(Source):
    """An array in each thread's registers: the elements that the layout gives it."""

    name: str
    layout: Layout

    def at(self, k: KernelWriter, at: At) -> str:
        if at.layout != self.layout:
            raise CompileError(
                f"kernel '{k.name}': a value in registers is read by threads that do not own "
                "it; the placement is wrong"
            )
        return f"{self.name}[{at.slot}]"


@dataclass
class MemorySource(Source):
    """Elements in shared memory, or of a view in global memory."""

    name: str
    base: str
    strides: tuple[Number, ...]
    type: str
    """C++ type of an element in scalar code."""
    memory: str = ""
    """Name for the barriers; empty where nobody writes it."""
    owner: Layout | None = None
    """Whose threads wrote their own elements of it."""

    def index(self, point: Sequence[str]) -> str:
        """The number of an element."""
        terms = [scaled(c, s) for c, s in zip(point, self.strides, strict=True)]
        return sum_of(self.base, *terms)

    def at(self, k: KernelWriter, at: At) -> str:
        index = self.index(at.point)
        key = ("memory", self.name, index)
        known = k.remembered(key)
        if known is None:
            if self.memory:
                same = self.owner is not None and at.layout == self.owner
                k.touch(Access(self.memory, False, self.owner if same else None))
            text = f"{self.name}[{index}]"
            known = k.local(self.type, f"{text} != 0" if self.type == "bool" else text)
            k.remember(key, known)
        return known

    def store(self, k: KernelWriter, at: At, value: str) -> None:
        """Write the element."""
        k.line(f"{self.name}[{self.index(at.point)}] = {value};")


@dataclass
class MapSource(Source):
    """One result of a `tile.map`, computed where it is needed."""

    op: tile.MapOp
    result: int

    def at(self, k: KernelWriter, at: At) -> str:
        key = (id(self.op), at.point)
        known = k.remembered(key)
        if known is None:
            known = self._compute(k, at)
            k.remember(key, known)
        return known[self.result]

    def _compute(self, k: KernelWriter, at: At) -> tuple[str, ...]:
        values: dict[SSAValue, str] = {}
        block = self.op.body.block
        for operand, dims, argument in zip(
            self.op.inputs, self.op.dim_lists, block.args, strict=True
        ):
            if isinstance(operand.type, tile.TileType):
                values[argument] = k.element(operand, at.covered(dims))
            else:
                values[argument] = k.scalar(operand)
        for op in block.ops:
            if isinstance(op, tile.YieldOp):
                return tuple(values[v] if v in values else k.scalar(v) for v in op.values)
            if isinstance(op, tile.CoordOp):
                values[op.out] = at.point[op.axis.value.data]
            elif op.name == "arith.constant":
                values[op.results[0]] = constant(op)  # pyright: ignore[reportArgumentType]
            else:
                operands = [values[v] if v in values else k.scalar(v) for v in op.operands]
                type = scalar_type(op.results[0].type)
                values[op.results[0]] = k.local(type, expression(op, operands))
        raise AssertionError("a map ends with tile.yield")


@dataclass
class GatherSource(Source):
    """Elements at computed positions."""

    op: tile.GatherOp
    clipped: bool = False
    """Whether elements are computed that nobody needs, whose positions may be anything."""

    def at(self, k: KernelWriter, at: At) -> str:
        key = (id(self.op), at.point)
        known = k.remembered(key)
        if known is None:
            known = self._load(k, at)
            k.remember(key, known)
        return known

    def _load(self, k: KernelWriter, at: At) -> str:
        view = tile.view_type(self.op.view)
        terms: list[str] = []
        for operand, dims, stride, size in zip(
            self.op.positions, self.op.dim_lists, view.strides, view.shape, strict=True
        ):
            position = k.position(operand, at, dims)
            if self.clipped:
                position = f"clipped({position}, {k.size(size)})"
            terms.append(k.scaled_position(position, stride))
        name = k.view(self.op.view)
        if self.op.view in k.placement.overwritten:
            k.touch(Access(f"global {name}", False))
        text = f"{name}[{sum_of(*terms)}]"
        type = scalar_type(view.element)
        return k.local(type, f"{text} != 0" if type == "bool" else text)


@dataclass
class ReduceSource(Source):
    """A reduction computed where it is needed, by one thread."""

    op: tile.ReduceOp
    extents: Sequence[Number] = field(default_factory=tuple)

    def at(self, k: KernelWriter, at: At) -> str:
        key = (id(self.op), at.point)
        known = k.remembered(key)
        if known is None:
            known = self._compute(k, at)
            k.remember(key, known)
        return known

    def _compute(self, k: KernelWriter, at: At) -> str:
        combiner = Combiner(self.op.kind.data, tile.tile_type(self.op.x).element)
        total = k.fresh("total")
        k.line(f"{combiner.type} {total} = {combiner.neutral()};")
        coordinates = iter(at.point)
        point: list[str] = []
        level = k.enter()
        for axis, extent in enumerate(self.extents):
            if axis in self.op.axis_list:
                name = k.fresh("r")
                type = "int" if isinstance(extent, int) else "int64_t"
                k.line(f"for ({type} {name} = 0; {name} < {extent}; ++{name}) {{")
                point.append(name)
            else:
                point.append(next(coordinates))
        value = k.element(self.op.x, At(tuple(point)))
        k.line(f"{total} = {combiner.apply(total, combiner.read(value))};")
        k.leave(level)
        for _ in self.op.axis_list:
            k.line("}")
        return combiner.give(total)


def element_types(value: SSAValue) -> tuple[str, str]:
    """The C++ types of a view's or tile's elements: in scalar code, in memory."""
    element = value.type.element  # pyright: ignore[reportAttributeAccessIssue]
    return scalar_type(element), memory_type(element)
