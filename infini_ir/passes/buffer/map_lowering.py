"""`tile.map` as vector instructions, one or a few for each scalar operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects import arith
from xdsl.dialects.builtin import IndexType
from xdsl.ir import Operation, SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.buffer import vector
from infini_ir.dialects.tile.base import yielded
from infini_ir.passes.buffer.instructions import Instructions, Operand
from infini_ir.passes.buffer.map_rules import rows_dtype, rule_of
from infini_ir.passes.buffer.scalar_loops import BOOL, ScalarLoop
from infini_ir.passes.buffer.values import Rows
from infini_ir.utils.dtypes import is_float

Held = Rows | SSAValue | int
"""Rows, a scalar, or the position along an axis."""


class MapLowering:
    """One map: what each of its values has become so far."""

    def __init__(self, unit: Instructions, op: tile.MapOp) -> None:
        self.unit = unit
        self.b = unit.b
        self.op = op
        self.held: dict[SSAValue, Held] = {}
        self.left: dict[SSAValue, int] = {}
        """Uses of each value that are still to come."""
        self.pending = ScalarLoop(unit, len(unit.shape))

    def run(self, inputs: Sequence[Rows | SSAValue]) -> list[Rows | SSAValue]:
        """Lower the map; its results, of which those that do not vary are scalars."""
        block = self.op.body.block
        for argument, held in zip(block.args, inputs, strict=True):
            self.held[argument] = held
            self.left[argument] = argument.uses.get_length()
            if isinstance(held, Rows):
                held.uses = self.left[argument]
        for op in block.ops:
            if isinstance(op, tile.YieldOp):
                break
            for result in op.results:
                self.left[result] = result.uses.get_length()
            self._lower(op)
        outputs = yielded(self.op.body)
        self._flush(outputs)
        return [self._output(value) for value in outputs]

    def _output(self, value: SSAValue) -> Rows | SSAValue:
        held = self.held[value]
        if isinstance(held, int):
            held = self.rows(value)
        if isinstance(held, SSAValue):
            return held
        # What else is yielded of this value must not take its place.
        held.owned = False
        if value.type == BOOL and held.dtype == "i1":
            return self.unit.bytes_of(held)
        return held

    # Operands

    def operand(self, value: SSAValue) -> Operand:
        """A value as instructions take it."""
        held = self.held[value]
        return held if isinstance(held, SSAValue) else self.rows(value)

    def rows(self, value: SSAValue) -> Rows:
        """A value in local memory, a bool as a mask."""
        held = self.held[value]
        if isinstance(held, int):
            made = self.unit.iota(held)
            made.uses = self.left[value]
            self.held[value] = made
            return made
        assert isinstance(held, Rows)
        if value.type == BOOL and held.dtype == "i8":
            kept = held.owned
            held.owned = False
            mask = self.unit.mask_of(held)
            held.owned = kept
            mask.uses = self.left[value]
            self.held[value] = mask
            return mask
        return held

    def varies(self, value: SSAValue) -> bool:
        """Whether a value is not one scalar."""
        return not isinstance(self.held.get(value), SSAValue)

    def _done(self, op: Operation) -> None:
        """The operands have been used once more."""
        for operand in op.operands:
            self.left[operand] -= 1
            held = self.held.get(operand)
            if isinstance(held, Rows):
                held.uses = self.left[operand]

    # Operations

    def _lower(self, op: Operation) -> None:
        if isinstance(op, tile.CoordOp):
            self.held[op.out] = op.axis.value.data
            return
        waiting = any(operand in self.pending.results for operand in op.operands)
        constant = not waiting and not any(self.varies(operand) for operand in op.operands)
        if constant and self._on_scalar_unit(op):
            return
        if not waiting and len(op.results) == 1 and self._alias(op):
            return
        rule = rule_of(self.unit, op) if len(op.results) == 1 else None
        if rule is None or (waiting and not _is_float_work(op)):
            self.pending.add(op)
            return
        if waiting:
            self._flush(())
            rule = rule_of(self.unit, op)
            assert rule is not None, "a rule looks at types only"
        self._apply(op, rule)

    def _apply(self, op: Operation, rule: Callable[..., Rows]) -> None:
        operands = [self.operand(value) for value in op.operands]
        self._done(op)
        result = rule(*operands)
        result.uses = self.left[op.results[0]]
        self.held[op.results[0]] = result

    def _on_scalar_unit(self, op: Operation) -> bool:
        """Operations on scalars alone, where the scalar unit does them."""
        if op.name.startswith("math.") and op.name not in self.b.machine.scalar_math:
            for operand in op.operands:
                # The vector unit does it, to one element.
                if not isinstance(self.held[operand], SSAValue):
                    continue
                scalar = self.held[operand]
                one = self.unit.new((), rows_dtype(operand))
                place = (one.local, self.b.index(0))
                self.b.emit(vector.FillOp(place, scalar, self.b.index(1)))  # pyright: ignore
                one.uses = self.left[operand]
                self.held[operand] = one
            return False
        env = {value: self.held[value] for value in op.operands}
        self.b.clone(op, env)  # pyright: ignore
        for result in op.results:
            self.held[result] = env[result]
        return True

    def _alias(self, op: Operation) -> bool:
        """Casts that change nothing in local memory."""
        if not isinstance(op, arith.IndexCastOp | arith.ExtSIOp):
            return False
        source, target = rows_dtype(op.operands[0]), rows_dtype(op.results[0])
        if source != target or not isinstance(op, arith.IndexCastOp):
            return False
        held = self.held[op.operands[0]]
        if isinstance(held, Rows):
            held = Rows(held.local, held.dtype, held.axes, held.strides, owned=False)
            held.uses = self.left[op.results[0]]
            self._keep(op.operands[0])
        self.left[op.operands[0]] -= 1
        self.held[op.results[0]] = held
        return True

    def _keep(self, value: SSAValue) -> None:
        held = self.held[value]
        if isinstance(held, Rows):
            held.owned = False

    def _flush(self, also: Sequence[SSAValue]) -> None:
        """Run what waits for the scalar unit."""
        loop = self.pending
        if not loop.ops:
            return
        self.pending = ScalarLoop(self.unit, len(self.unit.shape))
        inside = set(loop.ops)
        inputs: dict[SSAValue, Held] = {}
        axes: set[int] = set()
        for op in loop.ops:
            for operand in op.operands:
                if operand not in loop.results:
                    inputs[operand] = self.held[operand]
        for held in inputs.values():
            if isinstance(held, int):
                axes.add(held)
            elif isinstance(held, Rows):
                axes.update(held.axes)
        outputs = [
            value
            for value in sorted(loop.results, key=lambda v: loop.ops.index(v.owner))  # pyright: ignore
            if any(use.operation not in inside for use in value.uses)
        ]
        made = loop.run(tuple(sorted(axes)), inputs, outputs)
        for op in loop.ops:
            for operand in op.operands:
                self.left[operand] -= 1
                held = self.held.get(operand)
                if isinstance(held, Rows):
                    held.uses = self.left[operand]
        for value, rows in made.items():
            rows.uses = self.left[value]
            self.held[value] = rows


def _is_float_work(op: Operation) -> bool:
    """Whether the scalar unit would be slow at it: floats, and functions of them."""
    if isinstance(op, arith.BitcastOp):
        return False
    values = [*op.operands, *op.results]
    floats = [
        v for v in values if not isinstance(v.type, IndexType) and is_float(rows_dtype(v))
    ]
    return bool(floats)
