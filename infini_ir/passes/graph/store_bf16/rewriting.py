"""Giving each value the types that it is wanted in."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from infini_ir.dialects.graph import (
    AttentionOp,
    CastOp,
    ConstantOp,
    ConvOp,
    FusionOp,
    IfOp,
    PoolOp,
    ScanOp,
    WeightOp,
    YieldOp,
)  # fmt: skip
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.passes.graph.store_bf16.demands import Demands
from infini_ir.passes.graph.store_bf16.forms import MOVING, NARROW, WIDE, is_wide, moved


class Rewriting:
    """Walks a function from its first operation on. Operations are replaced; what replaces
    their results is known by the value before and the type."""

    def __init__(self, demands: Demands) -> None:
        self.demands = demands
        self.made: dict[tuple[SSAValue, str], SSAValue] = {}
        self.replaced: list[Operation] = []

    def run(self, block: Block) -> None:
        """Rewrite a function's block."""
        self._block(block)
        for op in reversed(self.replaced):
            op.detach()
            op.erase()

    def _block(self, block: Block) -> None:
        ops = list(block.ops)
        for argument in block.args:
            self._complete(argument, ops[0])
        for op in ops:
            following = op.next_op
            if isinstance(op, FusionOp):
                self._fusion(op)
            elif isinstance(op, MOVING) and self.demands.of(op.results[0]):
                self._moving(op)
            elif isinstance(op, AttentionOp) and self.demands.narrow_attention(op):
                self._attention(op)
            else:
                self._in_place(op)
            if following is not None:
                for result in op.results:
                    self._complete(result, following)

    # Values

    def value(self, value: SSAValue, dtype: str) -> SSAValue:
        """A value in a type, f32 or bf16."""
        known = self.made.get((value, dtype))
        if known is not None:
            return known
        assert dtype == WIDE and tensor_type(value).dtype == WIDE, "values are made as wanted"
        return value

    def _complete(self, value: SSAValue, before: Operation) -> None:
        """Convert a value, just defined, to the types that are still missing."""
        wanted = self.demands.of(value)
        if not wanted:
            return
        wide, narrow = (self.made.get((value, dtype)) for dtype in (WIDE, NARROW))
        if wide is None and narrow is None:
            own = tensor_type(value).dtype
            wide, narrow = (value if own == dtype else None for dtype in (WIDE, NARROW))
            self.made[value, own] = value
        if WIDE in wanted and wide is None:
            assert narrow is not None
            self.made[value, WIDE] = _converted(narrow, WIDE, before)
        if NARROW in wanted and narrow is None:
            assert wide is not None
            self.made[value, NARROW] = _converted(wide, NARROW, before)

    def _operands(self, op: Operation, default: str = WIDE) -> list[SSAValue]:
        """The operands in the types in which the operation reads them."""
        reads = self.demands.reads
        return [
            self.value(value, reads.get((op, i), default)) if self._is_known(value) else value
            for i, value in enumerate(op.operands)
        ]

    def _is_known(self, value: SSAValue) -> bool:
        return is_wide(value) or (value, NARROW) in self.made

    # Operations

    def _in_place(self, op: Operation) -> None:
        """Operations that keep their results' types, control flow whose arguments and
        results may change, and ends of regions."""
        op.operands = self._operands(op)
        for region in op.regions:
            for block in region.blocks:
                for argument in block.args:
                    if argument in self.demands.arguments:
                        _retype(argument, NARROW)
                        self.made[argument, NARROW] = argument
                self._block(block)
        if isinstance(op, ScanOp | IfOp):
            last = op.regions[0].block.last_op
            assert last is not None
            given = last.operands[len(last.operands) - len(op.results) :]
            for value, result in zip(given, op.results, strict=True):
                if tensor_type(value).dtype == NARROW and is_wide(result):
                    _retype(result, NARROW)

    def _moving(self, op: Operation) -> None:
        wanted = self.demands.of(op.results[0])
        if self.demands.is_converted_behind(op):
            wanted = {WIDE}
        sources = set(moved(op))
        for dtype in sorted(wanted):
            mapping = {
                v: self.value(v, dtype) if v in sources else self.value(v, WIDE)
                for v in op.operands
                if is_wide(v) or (v, NARROW) in self.made
            }
            self._clone(op, mapping, dtype)
        self.replaced.append(op)

    def _attention(self, op: AttentionOp) -> None:
        operands = self._operands(op)
        self._clone(op, dict(zip(op.operands, operands, strict=True)), NARROW)
        self.replaced.append(op)

    def _clone(self, op: Operation, mapping: dict[SSAValue, SSAValue], dtype: str) -> None:
        """The operation on other operands, its result in another type."""
        clone = op.clone(mapping)
        clone.location = op.location
        _retype(clone.results[0], dtype)
        clone.results[0].name_hint = op.results[0].name_hint
        assert op.parent is not None
        op.parent.insert_op_before(clone, op)
        self.made[op.results[0], dtype] = clone.results[0]

    def _fusion(self, op: FusionOp) -> None:
        inputs = self._operands(op)
        body = op.detach_region(op.body)
        for value, argument in zip(inputs, body.block.args, strict=True):
            if value.type != argument.type:
                self._read_narrow(argument)
        last = body.block.last_op
        assert isinstance(last, YieldOp)
        given: list[SSAValue] = []
        made: list[tuple[SSAValue, str]] = []
        for value, result in zip(last.values, op.results, strict=True):
            wanted = sorted(self.demands.of(result)) if is_wide(result) else [""]
            for dtype in wanted or [WIDE]:
                given.append(_narrowed(value, last) if dtype == NARROW else value)
                made.append((result, dtype))
        body.block.add_op(YieldOp(given))
        last.detach()
        last.erase()
        self._replace(op, inputs, body, made)

    def _replace(
        self,
        op: FusionOp,
        inputs: Sequence[SSAValue],
        body: Region,
        made: Sequence[tuple[SSAValue, str]],
    ) -> None:
        last = body.block.last_op
        assert last is not None
        types = [tensor_type(value) for value in last.operands]
        fusion = FusionOp(inputs, types, body, op.reason.data)
        fusion.location = op.location
        assert op.parent is not None
        op.parent.insert_op_before(fusion, op)
        for (result, dtype), new in zip(made, fusion.results, strict=True):
            new.name_hint = result.name_hint
            if dtype:
                self.made[result, dtype] = new
            else:
                result.replace_all_uses_with(new)
        op.add_region(Region(Block()))
        self.replaced.append(op)

    def _read_narrow(self, argument: SSAValue) -> None:
        """Have an argument of a fusion in bf16: products, depthwise convolutions and pools
        read it so, all else as f32."""
        _retype(argument, NARROW)
        block = argument.owner
        assert isinstance(block, Block) and block.first_op is not None
        others = []
        for use in list(argument.uses):
            user = use.operation
            if isinstance(user, ConvOp) or user in self.demands.products:
                continue
            if isinstance(user, PoolOp):
                _pool_narrow(user)
            else:
                others.append(use)
        if not others:
            return
        cast = CastOp(argument, WIDE)
        cast.location = others[0].operation.location
        block.insert_op_before(cast, block.first_op)
        for use in others:
            use.operation.operands[use.index] = cast.out


def _retype(value: SSAValue, dtype: str) -> None:
    value._type = tensor_type(value).with_element(dtype)  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]


def _pool_narrow(op: PoolOp) -> None:
    """A pool of bf16 gives bf16: a maximum exactly, a mean rounded once."""
    cast = CastOp(op.out, WIDE)
    cast.location = op.location
    op.out.replace_uses_with_if(cast.out, lambda use: use.operation is not cast)
    _retype(op.out, NARROW)
    assert op.parent is not None
    op.parent.insert_op_after(cast, op)


def _narrowed(value: SSAValue, before: Operation) -> SSAValue:
    """A value of a fusion as bf16; what was just widened as it was."""
    owner = value.owner
    if isinstance(owner, CastOp) and tensor_type(owner.x).dtype == NARROW:
        return owner.x
    cast = CastOp(value, NARROW)
    cast.location = owner.location if isinstance(owner, Operation) else before.location
    assert before.parent is not None
    before.parent.insert_op_before(cast, before)
    return cast.out


def _converted(value: SSAValue, dtype: str, before: Operation) -> SSAValue:
    """A value in another type: of what is stored by an operation that can be folded, of all
    else by a kernel."""
    owner = value.owner
    stored = isinstance(owner, WeightOp | ConstantOp)
    block = before.parent
    assert block is not None
    source: SSAValue = value
    body: Block | None = None
    if not stored:
        body = Block(arg_types=[value.type])
        source = body.args[0]
    cast = CastOp(source, dtype)
    made: Operation = cast
    if body is not None:
        body.add_ops([cast, YieldOp([cast.out])])
        types: list[Attribute] = [cast.out.type]
        made = FusionOp([value], types, Region(body), f"stored as {dtype}")  # pyright: ignore[reportArgumentType]
    made.location = cast.location = (
        owner.location if isinstance(owner, Operation) else before.location
    )
    block.insert_op_before(made, before)
    made.results[0].name_hint = value.name_hint
    return made.results[0]
