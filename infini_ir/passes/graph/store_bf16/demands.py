"""In which type each value is wanted by what reads it, found from the last reader back."""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.ir import Block, Operation, SSAValue

from infini_ir.dialects.graph import (
    AttentionOp,
    ConcatOp,
    ConstantOp,
    ConvOp,
    DotOp,
    FusionOp,
    GatherNdOp,
    GatherOp,
    IfOp,
    ScanOp,
    WeightOp,
    YieldOp,
)  # fmt: skip
from infini_ir.dialects.graph.control import yielded
from infini_ir.dialects.graph.types import tensor_type
from infini_ir.passes.graph.store_bf16.forms import (
    MOVING,
    NARROW,
    VIEWS,
    WIDE,
    depth_of,
    factors_of,
    is_depthwise,
    is_exact,
    is_wide,
    makes_integers,
    moved,
    only_factors,
)


@dataclass
class Demands:
    """
    The types in which values are wanted. An operation is decided when all that reads its
    results is; how each operand is read is kept for the rewriting.
    """

    min_elements: int
    min_depth: int
    beyond: set[SSAValue]
    """Values that bf16 cannot hold (`range.beyond_range`)."""
    wanted: dict[SSAValue, set[str]] = field(default_factory=dict)
    """`f32`, `bf16` or both, of each f32 value."""
    reads: dict[tuple[Operation, int], str] = field(default_factory=dict)
    """The type in which an operation, not one that moves, reads an operand."""
    products: set[Operation] = field(default_factory=set)
    """Products inside fusions whose factors become bf16."""
    arguments: set[SSAValue] = field(default_factory=set)
    """Arguments of loops that are bf16."""
    _native: dict[SSAValue, bool] = field(default_factory=dict)

    def of(self, value: SSAValue) -> set[str]:
        return self.wanted.get(value, set())

    def walk(self, block: Block) -> None:
        """Decide the operations of a block, the last one first."""
        for op in reversed(list(block.ops)):
            if isinstance(op, FusionOp):
                self._fusion(op)
            elif isinstance(op, MOVING):
                self._moving(op)
            elif isinstance(op, AttentionOp):
                self._attention(op)
            elif isinstance(op, ScanOp):
                self._scan(op)
            elif isinstance(op, IfOp):
                self._if(op)
            elif isinstance(op, YieldOp) and self._is_decided(op):
                continue
            else:
                self._other(op)

    def _is_decided(self, op: YieldOp) -> bool:
        """Whether the loop or condition around has said what its values are wanted as."""
        return any((op, i) in self.reads for i in range(len(op.operands)))

    def _want(self, op: Operation, index: int, dtype: str) -> None:
        value = op.operands[index]
        if is_wide(value):
            self.reads[op, index] = dtype
            self.wanted.setdefault(value, set()).add(dtype)

    def _other(self, op: Operation) -> None:
        for index in range(len(op.operands)):
            self._want(op, index, WIDE)
        for region in op.regions:
            for block in region.blocks:
                self.walk(block)

    # Kernels

    def _fusion(self, op: FusionOp) -> None:
        self._choose_products(op)
        exact = makes_integers(op)
        for index, (value, argument) in enumerate(
            zip(op.inputs, op.body.block.args, strict=True)
        ):
            if self._is_factor(argument):
                self._want(op, index, NARROW)
            else:
                small = exact or self._is_small(value) or _is_wide_factor(argument)
                narrow = not small and self.is_native(value)
                self._want(op, index, NARROW if narrow else WIDE)

    def _choose_products(self, op: FusionOp) -> None:
        """The products that may round their factors: of a body's arguments, deep enough, of
        no positions."""
        block = op.body.block
        outside: dict[SSAValue, SSAValue] = dict(zip(block.args, op.inputs, strict=True))
        for inner in block.ops:
            factors = factors_of(inner)
            if factors is None or not all(factor in outside for factor in factors):
                continue
            depth = depth_of(inner)  # pyright: ignore[reportArgumentType]
            deep = depth is None or depth >= self.min_depth
            if deep and not any(self._is_kept(outside[factor]) for factor in factors):
                self.products.add(inner)

    def _is_kept(self, value: SSAValue) -> bool:
        return value in self.beyond or is_exact(value)

    def _is_factor(self, argument: SSAValue) -> bool:
        return any(use.operation in self.products and use.index < 2 for use in argument.uses)

    def _is_small(self, value: SSAValue) -> bool:
        count = tensor_type(value).element_count().value
        return count is not None and count < self.min_elements

    def narrow_attention(self, op: AttentionOp) -> bool:
        """Whether keys and values come in bf16 without a copy made for it, as those of a
        cache that is an input do not."""
        operands = op.q, op.k, op.v
        return all(map(is_wide, operands)) and self.is_native(op.k) and self.is_native(op.v)

    def _attention(self, op: AttentionOp) -> None:
        narrow = self.narrow_attention(op)
        for index in range(len(op.operands)):
            self._want(op, index, NARROW if narrow and index < 3 else WIDE)

    def _moving(self, op: Operation) -> None:
        """As wanted, but for a view of a value that has to be converted: that is converted
        behind the view, where its own kernel lays it out anew."""
        wanted = self.of(op.results[0])
        if self.is_converted_behind(op):
            wanted = {WIDE}
        for value in moved(op):
            if is_wide(value) and wanted:
                self.wanted.setdefault(value, set()).update(wanted)

    def is_converted_behind(self, op: Operation) -> bool:
        result = op.results[0]
        return (
            isinstance(op, VIEWS) and NARROW in self.of(result) and not self.is_native(result)
        )

    # Control flow

    def _scan(self, op: ScanOp) -> None:
        arguments = op.body.block.args[1:]
        last = op.body.block.last_op
        assert last is not None
        offset = len(last.operands) - len(op.outs)
        carried = len(op.initial)
        for i, argument in enumerate(arguments):
            narrow = is_wide(argument) and only_factors(argument)
            self._want(op, i, NARROW if narrow else WIDE)
            if narrow:
                self.arguments.add(argument)
            if i < carried:
                self._want(last, offset + i, NARROW if narrow else WIDE)
        for i in range(carried, len(op.outs)):
            self._want(last, offset + i, self._stored(op.outs[i]))
        if offset:
            self._want(last, 0, WIDE)
        self.walk(op.body.block)

    def _if(self, op: IfOp) -> None:
        for region in (op.then_region, op.else_region):
            last = region.block.last_op
            assert last is not None
            for i, result in enumerate(op.outs):
                self._want(last, i, self._stored(result))
            self.walk(region.block)
        self._want(op, 0, WIDE)

    def _stored(self, result: SSAValue) -> str:
        """The type of a value that control flow gives."""
        return NARROW if self.of(result) == {NARROW} and self.is_native(result) else WIDE

    # Values that can be had in bf16

    def is_native(self, value: SSAValue) -> bool:
        """Whether a kernel can write the value as bf16, so that nothing is converted apart."""
        known = self._native.get(value)
        if known is None:
            self._native[value] = False
            known = self._native[value] = is_wide(value) and self._has_kernel(value)
        return known

    def _has_kernel(self, value: SSAValue) -> bool:
        owner = value.owner
        if isinstance(owner, FusionOp):
            return not self._is_kept(value)
        if isinstance(owner, MOVING):
            return self._from_moving(owner)
        if isinstance(owner, AttentionOp):
            return self.narrow_attention(owner)
        if isinstance(owner, ScanOp):
            return self._from_scan(owner, value)
        if isinstance(owner, IfOp):
            index = _number(owner, value)
            regions = owner.then_region, owner.else_region
            return all(self.is_native(yielded(region)[index]) for region in regions)
        return False

    def _from_moving(self, op: Operation) -> bool:
        if isinstance(op, ConcatOp):
            return any(map(self.is_native, op.inputs))
        source = op.operands[0]
        is_table = isinstance(op, GatherOp | GatherNdOp) and _is_stored(source)
        return is_table or self.is_native(source)

    def _from_scan(self, op: ScanOp, value: SSAValue) -> bool:
        index, values = _number(op, value), yielded(op.body)
        if index < len(op.initial):
            return only_factors(op.body.block.args[1 + index])
        return self.is_native(values[len(values) - len(op.outs) + index])


def _number(op: Operation, value: SSAValue) -> int:
    return next(i for i, result in enumerate(op.results) if result is value)


def _is_wide_factor(argument: SSAValue) -> bool:
    """Whether an argument is a factor or bias of a product that stays in f32. The input of a
    depthwise convolution may be of any type."""
    return any(
        isinstance(use.operation, DotOp)
        or (
            isinstance(use.operation, ConvOp) and (use.index or not is_depthwise(use.operation))
        )
        for use in argument.uses
    )


def _is_stored(value: SSAValue) -> bool:
    """Whether a value is stored with the program, in the type that is wanted."""
    return isinstance(value.owner, WeightOp | ConstantOp)
