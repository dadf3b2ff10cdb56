"""Operations with regions: choice, loops, and the clusters that fusion makes."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import ArrayAttr, StringAttr
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.traits import IsTerminator, Pure, RecursiveMemoryEffect
from xdsl.utils.exceptions import VerifyException

from infini_ir.dialects.dims import DimsAttr
from infini_ir.dialects.graph.types import TensorType, tensor_type
from infini_ir.utils.symbolic import Dim


@irdl_op_definition
class YieldOp(IRDLOperation):
    """The values that a region gives back: `graph.yield %a, %b : A, B`."""

    name = "graph.yield"
    values = var_operand_def(TensorType)
    traits = traits_def(IsTerminator(), Pure())
    assembly_format = "attr-dict ($values^ `:` type($values))?"

    def __init__(self, values: Sequence[SSAValue | Operation] = ()):
        super().__init__(operands=[list(values)])


def yielded(region: Region) -> tuple[SSAValue, ...]:
    """The values that a region's terminator gives."""
    last = region.block.last_op
    if not isinstance(last, YieldOp):
        raise VerifyException("a region must end with graph.yield")
    return tuple(last.values)


def _types(values: Sequence[SSAValue]) -> list[Attribute]:
    return [value.type for value in values]


def _check_arguments(block: Block, types: Sequence[Attribute], what: str) -> None:
    given = [argument.type for argument in block.args]
    if given != list(types):
        raise VerifyException(
            f"{what} takes ({', '.join(map(str, given))}), wants ({', '.join(map(str, types))})"
        )


@irdl_op_definition
class IfOp(IRDLOperation):
    """
    One of two regions, which see all outer values. Where the branches' shapes differ, the
    results have symbols that this operation defines.

        %y = graph.if %c : (!graph.tensor<[], i1>) -> !graph.tensor<[N], f32> { graph.yield %a : ... } { graph.yield %b : ... }
    """

    name = "graph.if"
    condition = operand_def(TensorType)
    defines = opt_prop_def(ArrayAttr[StringAttr])
    outs = var_result_def(TensorType)
    then_region = region_def("single_block")
    else_region = region_def("single_block")
    traits = traits_def(RecursiveMemoryEffect())
    assembly_format = (
        "$condition (`defines` $defines^)? attr-dict `:` functional-type(operands, results) "
        "$then_region $else_region"
    )

    def __init__(
        self,
        condition: SSAValue | Operation,
        result_types: Sequence[TensorType],
        then_region: Region,
        else_region: Region,
        defines: Sequence[str] = (),
    ):
        symbols = ArrayAttr([StringAttr(name) for name in defines]) if defines else None
        super().__init__(
            operands=[condition],
            properties={"defines": symbols},
            result_types=[list(result_types)],
            regions=[then_region, else_region],
        )

    def verify_(self) -> None:
        if tensor_type(self.condition) != TensorType.of((), "i1"):
            raise VerifyException(f"the condition is a bool scalar, not {self.condition.type}")
        for region in (self.then_region, self.else_region):
            _check_arguments(region.block, (), "a branch")
            for value, out in zip(_same_length(region, self.outs), self.outs, strict=True):
                given, wanted = tensor_type(value), tensor_type(out)
                if given.element != wanted.element or given.rank != wanted.rank:
                    raise VerifyException(f"a branch gives {given} for {wanted}")


def _same_length(region: Region, outs: Sequence[SSAValue]) -> tuple[SSAValue, ...]:
    values = yielded(region)
    if len(values) != len(outs):
        raise VerifyException(f"a region gives {len(values)} values for {len(outs)} results")
    return values


@irdl_op_definition
class WhileOp(IRDLOperation):
    """
    Repeats the body while the condition region gives true. Both take the carried values;
    the condition gives a bool scalar, the body the next carried values, of the same types.

        %r = graph.while %x : (T) -> T { ^bb0(%v: T): ... graph.yield %c : !graph.tensor<[], i1> } { ^bb0(%v: T): ... graph.yield %n : T }
    """

    name = "graph.while"
    initial = var_operand_def(TensorType)
    outs = var_result_def(TensorType)
    condition = region_def("single_block")
    body = region_def("single_block")
    traits = traits_def(RecursiveMemoryEffect())
    assembly_format = (
        "$initial attr-dict `:` functional-type(operands, results) $condition $body"
    )

    def __init__(
        self, initial: Sequence[SSAValue | Operation], condition: Region, body: Region
    ):
        super().__init__(
            operands=[list(initial)],
            result_types=[[SSAValue.get(value).type for value in initial]],
            regions=[condition, body],
        )

    def verify_(self) -> None:
        types = _types(self.initial)
        if _types(self.outs) != types:
            raise VerifyException("results have the types of the initial values")
        _check_arguments(self.condition.block, types, "the condition")
        _check_arguments(self.body.block, types, "the body")
        if _types(yielded(self.condition)) != [TensorType.of((), "i1")]:
            raise VerifyException("the condition region gives one bool scalar")
        if _types(yielded(self.body)) != types:
            raise VerifyException("the body gives the next carried values, of the same types")


@irdl_op_definition
class ScanOp(IRDLOperation):
    """
    A counted loop. The body takes the iteration number (an i64 scalar), the carried values
    and one slice along axis 0 of each scanned operand; it gives the next carried values and
    one slice of each stacked result. Results: the last carried values, then the stacks.

    With `until`, the body gives one more value first, a bool scalar: false ends the loop
    after this iteration. The number of iterations then defines the symbol that `until`
    names, at most `length`.

        %h, %ys = graph.scan carried(%h0 : H) over(%xs : !graph.tensor<[S, D], f32>) length <[S]> -> (H, !graph.tensor<[S, D], f32>) {
        ^bb0(%i: !graph.tensor<[], i64>, %h: H, %x: !graph.tensor<[D], f32>): ... graph.yield %n, %y : ... }
    """

    name = "graph.scan"
    initial = var_operand_def(TensorType)
    scanned = var_operand_def(TensorType)
    length = prop_def(DimsAttr)
    until = opt_prop_def(StringAttr)
    outs = var_result_def(TensorType)
    body = region_def("single_block")
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(RecursiveMemoryEffect())
    assembly_format = (
        "`carried` `(` ($initial^ `:` type($initial))? `)` `over` `(` ($scanned^ `:` type($scanned))? `)` "
        "`length` $length (`until` $until^)? attr-dict `->` `(` (type($outs)^)? `)` $body"
    )

    def __init__(
        self,
        initial: Sequence[SSAValue | Operation],
        scanned: Sequence[SSAValue | Operation],
        length: int | Dim,
        stacked_types: Sequence[TensorType],
        body: Region,
        until: str | None = None,
    ):
        """`stacked_types` are the types of the stacked results (with their length)."""
        super().__init__(
            operands=[list(initial), list(scanned)],
            properties={
                "length": DimsAttr.of([length]),
                "until": StringAttr(until) if until else None,
            },
            result_types=[[*(SSAValue.get(value).type for value in initial), *stacked_types]],
            regions=[body],
        )

    @property
    def trip_count(self) -> Dim:
        """The number of iterations (the most there can be, with `until`)."""
        return self.length.data[0]

    @property
    def stack_length(self) -> Dim:
        """The size of axis 0 of the stacked results."""
        return Dim.symbol(self.until.data) if self.until else self.trip_count

    def verify_(self) -> None:
        carried = _types(self.initial)
        slices = [_slice_type(tensor_type(value), self.trip_count) for value in self.scanned]
        _check_arguments(
            self.body.block, [TensorType.of((), "i64"), *carried, *slices], "the body"
        )
        given = list(yielded(self.body))
        if self.until is not None and (
            not given or given.pop(0).type != TensorType.of((), "i1")
        ):
            raise VerifyException("with until, the body gives a bool scalar first")
        stacks = [
            _slice_type(tensor_type(value), self.stack_length)
            for value in self.outs[len(carried) :]
        ]
        if _types(given) != [*carried, *stacks] or _types(self.outs)[: len(carried)] != carried:
            raise VerifyException("the body's values do not fit the carried values and stacks")


def _slice_type(stack: TensorType, length: Dim) -> TensorType:
    if not stack.rank or stack.shape[0] is not length:
        raise VerifyException(f"{stack} is not stacked {length} high")
    return stack.with_shape(stack.shape[1:])


@irdl_op_definition
class FusionOp(IRDLOperation):
    """
    Operations that become one kernel. The region takes the operands and sees nothing else;
    `reason` says why they were put together.

        %y = graph.fusion %a, %b "relu into conv" : (A, B) -> Y { ^bb0(%x: A, %w: B): ... graph.yield %r : Y }
    """

    name = "graph.fusion"
    inputs = var_operand_def(TensorType)
    reason = prop_def(StringAttr, default_value=StringAttr(""))
    outs = var_result_def(TensorType)
    body = region_def("single_block")
    traits = traits_def(Pure())
    assembly_format = "$inputs $reason attr-dict `:` functional-type(operands, results) $body"

    def __init__(
        self,
        inputs: Sequence[SSAValue | Operation],
        result_types: Sequence[TensorType],
        body: Region,
        reason: str = "",
    ):
        super().__init__(
            operands=[list(inputs)],
            properties={"reason": StringAttr(reason)},
            result_types=[list(result_types)],
            regions=[body],
        )

    def verify_(self) -> None:
        _check_arguments(self.body.block, _types(self.inputs), "the cluster")
        if _types(yielded(self.body)) != _types(self.outs):
            raise VerifyException("the cluster's values do not have the results' types")
        for op in self.body.block.ops:
            for operand in op.operands:
                owner = operand.owner
                inside = owner is self.body.block or (
                    isinstance(owner, Operation) and owner.parent is self.body.block
                )
                if not inside:
                    raise VerifyException("a cluster sees its operands only")


CONTROL_OPS = (YieldOp, IfOp, WhileOp, ScanOp, FusionOp)
