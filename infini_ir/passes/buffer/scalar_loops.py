"""Elementwise code on the scalar unit, one element at a time."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith
from xdsl.dialects.builtin import IndexType, IntegerType
from xdsl.ir import Attribute, Operation, SSAValue

from infini_ir.dialects.buffer import rows
from infini_ir.dialects.graph.types import element_type
from infini_ir.passes.buffer.builder import INDEX, Builder
from infini_ir.passes.buffer.instructions import Instructions
from infini_ir.passes.buffer.values import Rows, held_dtype

BOOL = IntegerType(1)


def element_in_code(element: Attribute, dtype: str) -> Attribute:
    """The type that scalar code has for a tile's element, held as `dtype`."""
    return BOOL if element == BOOL else element_type(dtype)


def read_element(b: Builder, source: Rows, offset: SSAValue, type: Attribute) -> SSAValue:
    """An element as scalar code has it: bools of bytes, indices of 32 bits."""
    value = b.emit(rows.ExtractOp(source.local, offset))
    if value.type == type:
        return value
    if type == BOOL:
        return b.emit(arith.CmpiOp(value, b.number(0, value.type), "ne"))
    assert isinstance(type, IndexType), type
    return b.emit(arith.IndexCastOp(value, INDEX))


def write_element(b: Builder, value: SSAValue, target: SSAValue, offset: SSAValue) -> None:
    """The inverse of `read_element`."""
    if value.type == BOOL:
        value = b.emit(arith.ExtUIOp(value, IntegerType(8)))
    elif isinstance(value.type, IndexType):
        value = b.emit(arith.IndexCastOp(value, IntegerType(32)))
    b.emit(rows.InsertOp(value, target, offset))


class ScalarLoop:
    """A run of operations of a map that the vector unit does not do."""

    def __init__(self, unit: Instructions, rank: int) -> None:
        self.unit = unit
        self.rank = rank
        self.ops: list[Operation] = []
        self.results: set[SSAValue] = set()

    def add(self, op: Operation) -> None:
        """Append an operation of the map."""
        self.ops.append(op)
        self.results.update(op.results)

    def run(
        self,
        axes: tuple[int, ...],
        inputs: dict[SSAValue, Rows | SSAValue | int],
        outputs: Sequence[SSAValue],
    ) -> dict[SSAValue, Rows]:
        """
        The loop over these axes. `inputs`: what the operations take from outside, an `int`
        for the position along an axis. Gives the outputs; bools as bytes.
        """
        b, unit = self.unit.b, self.unit
        results = {value: unit.new(axes, held_dtype(value.type)) for value in outputs}
        with b.nest([unit.extents[axis] for axis in axes]) as indices:
            at = dict(zip(axes, indices, strict=True))
            env: dict[SSAValue, SSAValue] = {}
            for value, held in inputs.items():
                if isinstance(held, int):
                    position = b.index(at[held])
                    if position.type != value.type:
                        position = b.emit(arith.IndexCastOp(position, value.type))
                    env[value] = position
                elif isinstance(held, Rows):
                    offset = b.offset([at[a] for a in held.axes], held.strides)
                    env[value] = read_element(b, held, offset, value.type)
                else:
                    env[value] = held
            for op in self.ops:
                b.clone(op, env)
            for value, target in results.items():
                offset = b.offset(indices, target.strides)
                write_element(b, env[value], target.local, offset)
        return results
