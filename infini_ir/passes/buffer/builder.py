"""Writing a kernel's buffer form: scalars, loops, local memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import FloatAttr, IndexType, IntegerAttr, IntegerType
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.buffer import LocalType, memory
from infini_ir.dialects.graph.types import element_type
from infini_ir.passes.buffer.machine import CoreMachine
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import Dim

INDEX = IndexType()
Size = int | SSAValue
"""A number known now, or an index while running."""


class Builder:
    """
    Appends operations to a block. Numbers that are known stay Python integers as long as
    they can; constants stand once, at the beginning of the kernel.
    """

    def __init__(self, machine: CoreMachine, kernel: str, block: Block) -> None:
        self.machine = machine
        self.kernel = kernel
        self.top = block
        self.block = block
        self.constants: dict[tuple[Any, Attribute], arith.ConstantOp] = {}
        self.location: Any = None
        self.subject = ""

    def emit(self, op: Operation) -> Any:
        """Append an operation; its first result, if it has one."""
        if self.location is not None:
            op.location = self.location
        self.block.add_op(op)
        return op.results[0] if op.results else None

    def fail(self, what: str, way_out: str) -> CompileError:
        """The error for the operation that is being lowered."""
        return CompileError(
            f"kernel '{self.kernel}', {self.subject} on {self.machine.name}: {what}; {way_out}"
        )

    def finish(self) -> None:
        """Put the constants where they dominate everything."""
        ops = [op for op in self.constants.values() if op.result.first_use is not None]
        first = self.top.first_op
        if first is None:
            self.top.add_ops(ops)
        else:
            self.top.insert_ops_before(ops, first)

    # Scalars

    def number(self, value: float, type: Attribute) -> SSAValue:
        """A constant of an element or index type."""
        key = (str(value), type)
        if key not in self.constants:
            integral = isinstance(type, IndexType | IntegerType)
            attribute = IntegerAttr(int(value), type) if integral else FloatAttr(value, type)  # pyright: ignore
            self.constants[key] = arith.ConstantOp(attribute)
        return self.constants[key].result

    def index(self, size: Size) -> SSAValue:
        """A size as an SSA value."""
        return size if isinstance(size, SSAValue) else self.number(size, INDEX)

    def size(self, dim: Dim) -> Size:
        """A symbolic size as an index."""
        return dim.value if dim.value is not None else self.emit(tile.SizeOp(dim))

    def add(self, left: Size, right: Size) -> Size:
        """left + right"""
        if isinstance(left, int) and isinstance(right, int):
            return left + right
        if left == 0 or right == 0:
            return right if left == 0 else left
        return self.emit(arith.AddiOp(self.index(left), self.index(right)))

    def sub(self, left: Size, right: Size) -> Size:
        """left - right"""
        if isinstance(left, int) and isinstance(right, int):
            return left - right
        if right == 0:
            return left
        return self.emit(arith.SubiOp(self.index(left), self.index(right)))

    def mul(self, left: Size, right: int) -> Size:
        """left * right"""
        if isinstance(left, int):
            return left * right
        if right in (0, 1):
            return left if right else 0
        return self.emit(arith.MuliOp(left, self.index(right)))

    def minimum(self, left: Size, right: Size) -> Size:
        """The smaller of two sizes."""
        if isinstance(left, int) and isinstance(right, int):
            return min(left, right)
        return self.emit(arith.MinSIOp(self.index(left), self.index(right)))

    def maximum(self, left: Size, right: Size) -> Size:
        """The larger of two sizes."""
        if isinstance(left, int) and isinstance(right, int):
            return max(left, right)
        return self.emit(arith.MaxSIOp(self.index(left), self.index(right)))

    def offset(self, indices: Iterable[Size], strides: Iterable[int]) -> SSAValue:
        """Where an element lies."""
        total: Size = 0
        for index, stride in zip(indices, strides, strict=True):
            total = self.add(total, self.mul(index, stride))
        return self.index(total)

    # Control

    @contextmanager
    def loop(self, count: Size, step: int = 1) -> Iterator[Size]:
        """A loop from 0 to a size; what is done once needs none."""
        if isinstance(count, int) and 0 < count <= step:
            yield 0
            return
        body = Block(arg_types=[INDEX])
        bounds = (self.index(0), self.index(count), self.index(step))
        self.emit(scf.ForOp(*bounds, [], Region(body)))
        outer, self.block = self.block, body
        try:
            yield body.args[0]
        finally:
            body.add_op(scf.YieldOp())
            self.block = outer

    @contextmanager
    def nest(self, counts: Sequence[Size]) -> Iterator[list[Size]]:
        """Loops in each other, the first outermost."""
        if not counts:
            yield []
            return
        with self.loop(counts[0]) as first, self.nest(counts[1:]) as rest:
            yield [first, *rest]

    @contextmanager
    def when(self, condition: SSAValue) -> Iterator[None]:
        """What is done where a condition holds."""
        then = Block()
        self.emit(scf.IfOp(condition, [], Region(then)))
        outer, self.block = self.block, then
        try:
            yield
        finally:
            then.add_op(scf.YieldOp())
            self.block = outer

    def inside(self, block: Block) -> bool:
        """Whether what a block defines is seen where we are."""
        current: Block | None = self.block
        while current is not None:
            if current is block:
                return True
            parent = current.parent_op()
            current = None if parent is None else parent.parent
        return False

    # Local memory

    def alloc(self, count: int, dtype: str) -> SSAValue:
        """Local memory whose life ends with the block we are in, at the latest."""
        return self.emit(memory.AllocOp(LocalType.of(max(count, 1), element_type(dtype))))

    def clone(self, op: Operation, values: Mapping[SSAValue, SSAValue]) -> None:
        """Append a copy of a scalar operation; `values` has what its operands became, and
        gets its results."""
        if isinstance(op, arith.ConstantOp) and isinstance(op.value, IntegerAttr):
            values[op.result] = self.number(op.value.value.data, op.result.type)  # pyright: ignore
            return
        if isinstance(op, arith.ConstantOp):
            key = (str(op.value), op.result.type)
            if key not in self.constants:
                self.constants[key] = op.clone()
            values[op.result] = self.constants[key].result  # pyright: ignore
            return
        copy = op.clone({old: values[old] for old in op.operands})
        self.emit(copy)
        for old, new in zip(op.results, copy.results, strict=True):
            values[old] = new  # pyright: ignore[reportIndexIssue]
