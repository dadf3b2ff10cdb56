"""The host program: buffers, launches, control flow. It runs once a call, on every worker."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    DictionaryAttr,
    FlatSymbolRefAttrConstr,
    IntegerAttr,
    StringAttr,
    SymbolNameConstraint,
    SymbolRefAttr,
    UnitAttr,
    i64,
)
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import IsolatedFromAbove, NoTerminator, SymbolOpInterface, SymbolTable
from xdsl.utils.exceptions import VerifyException

from infini_ir.dialects.dims import DimsAttr, FactsAttr
from infini_ir.dialects.tile.base import Value
from infini_ir.dialects.tile.kernel import KernelOp
from infini_ir.dialects.tile.types import ViewType, view_type
from infini_ir.utils.symbolic import Dim


@irdl_op_definition
class ProgramOp(IRDLOperation):
    """
    The host program. Arguments: the model's inputs, then those outputs whose sizes are
    known on entry. `names` are the inputs' and all outputs' names.

        tile.program @main inputs 1 { ^bb0(%x: !tile.view<..>, %y: !tile.view<..>): ... }
    """

    name = "tile.program"
    sym_name = prop_def(SymbolNameConstraint())
    input_count = prop_def(IntegerAttr.constr(i64))
    signature = prop_def(DictionaryAttr, default_value=DictionaryAttr({}))
    facts = opt_prop_def(FactsAttr)
    body = region_def("single_block")
    traits = traits_def(IsolatedFromAbove(), NoTerminator(), SymbolOpInterface())
    assembly_format = "$sym_name `inputs` $input_count (`where` $facts^)? (`signature` $signature^)? attr-dict-with-keyword $body"

    def __init__(
        self,
        name: str,
        view_types: Sequence[ViewType],
        input_count: int,
        facts: FactsAttr | None = None,
    ):
        super().__init__(
            properties={
                "sym_name": StringAttr(name),
                "input_count": IntegerAttr(input_count, i64),
                "facts": facts,
            },
            regions=[Region(Block(arg_types=list(view_types)))],
        )

    def verify_(self) -> None:
        arguments = self.body.block.args
        for argument in arguments:
            if not isinstance(argument.type, ViewType):
                raise VerifyException(f"a program's arguments are views, not {argument.type}")
        if not 0 <= self.input_count.value.data <= len(arguments):
            raise VerifyException(
                f"{self.input_count.value.data} inputs of {len(arguments)} arguments"
            )


@irdl_op_definition
class AllocOp(IRDLOperation):
    """
    Memory for a value. The memory plan gives it an `offset` (bytes) in the arena; one whose
    size is known only while running is `dynamic`: it is taken when the program gets there.

        %b = tile.alloc at <[4096]> : !tile.view<[M, 64], f32>
    """

    name = "tile.alloc"
    offset = opt_prop_def(DimsAttr)
    dynamic = opt_prop_def(UnitAttr)
    out = result_def(ViewType)
    assembly_format = "(`at` $offset^)? (`dynamic` $dynamic^)? attr-dict `:` type($out)"

    def __init__(self, type: ViewType, *, dynamic: bool = False):
        super().__init__(
            properties={"dynamic": UnitAttr() if dynamic else None}, result_types=[type]
        )


@irdl_op_definition
class WeightOp(IRDLOperation):
    """A parameter of the model: `%w = tile.weight "conv1.weight" : !tile.view<..>`."""

    name = "tile.weight"
    handle = prop_def(StringAttr)
    out = result_def(ViewType)
    assembly_format = "$handle attr-dict `:` type($out)"

    def __init__(self, handle: str, type: ViewType):
        super().__init__(properties={"handle": StringAttr(handle)}, result_types=[type])


@irdl_op_definition
class AliasOp(IRDLOperation):
    """
    The same memory seen another way: it begins `offset` elements further on and has the
    result's shape and strides.

        %r = tile.alias %b offset <[64]> : !tile.view<[M, 128], f32> -> !tile.view<[M, 64], f32, strides [128, 1]>
    """

    name = "tile.alias"
    source = operand_def(ViewType)
    offset = prop_def(DimsAttr)
    out = result_def(ViewType)
    assembly_format = "$source `offset` $offset attr-dict `:` type($source) `->` type($out)"

    def __init__(self, source: Value, offset: int | Dim, type: ViewType):
        super().__init__(
            operands=[source],
            properties={"offset": DimsAttr.of([offset])},
            result_types=[type],
        )

    @property
    def offset_dim(self) -> Dim:
        return self.offset.data[0]

    def verify_(self) -> None:
        source, out = view_type(self.source), view_type(self.out)
        if source.element != out.element:
            raise VerifyException(f"{source} and {out} have different elements")
        if source.panel_width or out.panel_width:
            raise VerifyException("packed memory has no aliases")


@irdl_op_definition
class LaunchOp(IRDLOperation):
    """
    Runs a kernel over its grid. `serial` runs it on one worker.

        tile.launch @k(%a, %b) : !tile.view<..>, !tile.view<..>
    """

    name = "tile.launch"
    kernel = prop_def(FlatSymbolRefAttrConstr)
    views = var_operand_def(ViewType)
    serial = opt_prop_def(UnitAttr)
    label = opt_prop_def(StringAttr)
    assembly_format = "$kernel `(` $views `)` (`serial` $serial^)? (`for` $label^)? attr-dict `:` type($views)"

    def __init__(self, kernel: str, views: Sequence[Value], label: str = ""):
        super().__init__(
            operands=[list(views)],
            properties={
                "kernel": SymbolRefAttr(kernel),
                "label": StringAttr(label) if label else None,
            },
        )

    def callee(self) -> KernelOp:
        """The kernel that this launches."""
        op: Operation | None = self
        while op is not None and not op.has_trait(SymbolTable):
            op = op.parent_op()
        found = None if op is None else SymbolTable.lookup_symbol(op, self.kernel)
        if not isinstance(found, KernelOp):
            raise VerifyException(f"there is no kernel {self.kernel}")
        return found

    def verify_(self) -> None:
        kernel = self.callee()
        wanted = [view.type for view in kernel.views]
        if len(wanted) != len(self.views):
            raise VerifyException(
                f"{self.kernel} takes {len(wanted)} views, not {len(self.views)}"
            )
        for number, (view, type) in enumerate(zip(self.views, wanted, strict=True)):
            if view.type != type:
                raise VerifyException(
                    f"view {number} of {self.kernel} is {type}, not {view.type}"
                )


@irdl_op_definition
class LibraryOp(IRDLOperation):
    """
    Work for a library of the device, in the place of a launch. The last view is written.

        tile.library "matmul" (%a, %b, %y) accumulate f32 : !tile.view<..>, !tile.view<..>, !tile.view<..>

    `matmul`: views `[batch.., m, k]`, `[batch.., k, n]` and `[batch.., m, n]`; every element of
    the last is the sum over k of products, both in the `accumulate` type, rounded to its own
    element type. Strides say the rest: a transposed factor is a view whose last stride is
    not 1, a factor that all batches share has strides 0. Views do not overlap what is written.
    """

    name = "tile.library"
    kind = prop_def(StringAttr)
    views = var_operand_def(ViewType)
    accumulate = prop_def()
    label = opt_prop_def(StringAttr)
    assembly_format = "$kind `(` $views `)` `accumulate` $accumulate (`for` $label^)? attr-dict `:` type($views)"

    def __init__(
        self, kind: str, views: Sequence[Value], accumulate: Attribute, label: str = ""
    ):
        super().__init__(
            operands=[list(views)],
            properties={
                "kind": StringAttr(kind),
                "accumulate": accumulate,
                "label": StringAttr(label) if label else None,
            },
        )

    def written(self) -> frozenset[int]:
        """Positions of the views that are written."""
        return frozenset({len(self.views) - 1})

    def verify_(self) -> None:
        if self.kind.data != "matmul":
            raise VerifyException(f"there is no library call '{self.kind.data}'")
        if len(self.views) != 3:
            raise VerifyException(f"matmul takes 3 views, not {len(self.views)}")
        a, b, y = (view_type(view) for view in self.views)
        fits = a.rank == b.rank == y.rank >= 2 and not any(v.panel_width for v in (a, b, y))
        if not fits or (
            (*a.shape[:-1], b.shape[-1]) != y.shape
            or (*b.shape[:-2], b.shape[-2]) != (*a.shape[:-2], a.shape[-1])
        ):
            raise VerifyException(f"{a} and {b} do not multiply to {y}")


@irdl_op_definition
class BarrierOp(IRDLOperation):
    """All workers meet: what was written before is seen after. `tile.barrier`"""

    name = "tile.barrier"
    assembly_format = "attr-dict"

    def __init__(self) -> None:
        super().__init__()


def _check_scalar(value: SSAValue, dtype: str, what: str) -> None:
    memory = view_type(value)
    if memory.dtype != dtype or memory.rank:
        raise VerifyException(f"{what} !tile.view<[], {dtype}>, not {memory}")


@irdl_op_definition
class BindOp(IRDLOperation):
    """
    Reads an i64 scalar into a symbol, checking that it is not negative and that the facts
    hold: `tile.bind %n as "K" : !tile.view<[], i64>`.
    """

    name = "tile.bind"
    value = operand_def(ViewType)
    symbol = prop_def(StringAttr)
    facts = opt_prop_def(FactsAttr)
    assembly_format = "$value `as` $symbol (`where` $facts^)? attr-dict `:` type($value)"

    def __init__(self, value: Value, symbol: str, facts: FactsAttr | None = None):
        super().__init__(
            operands=[value], properties={"symbol": StringAttr(symbol), "facts": facts}
        )

    def verify_(self) -> None:
        _check_scalar(self.value, "i64", "a size is read from")


@irdl_op_definition
class SetOp(IRDLOperation):
    """
    Gives a symbol the value of an expression, checking that the facts hold:
    `tile.set "K" to <[S + 1]>`.
    """

    name = "tile.set"
    symbol = prop_def(StringAttr)
    value = prop_def(DimsAttr)
    facts = opt_prop_def(FactsAttr)
    assembly_format = "$symbol `to` $value (`where` $facts^)? attr-dict"

    def __init__(self, symbol: str, value: int | Dim, facts: FactsAttr | None = None):
        super().__init__(
            properties={
                "symbol": StringAttr(symbol),
                "value": DimsAttr.of([value]),
                "facts": facts,
            }
        )


@irdl_op_definition
class IfOp(IRDLOperation):
    """One of two regions, by a bool in memory: `tile.if %c : !tile.view<[], i1> { .. } { .. }`."""

    name = "tile.if"
    condition = operand_def(ViewType)
    then_region = region_def("single_block")
    else_region = region_def("single_block")
    traits = traits_def(NoTerminator())
    assembly_format = "$condition attr-dict `:` type($condition) $then_region $else_region"

    def __init__(self, condition: Value, then_region: Region, else_region: Region):
        super().__init__(operands=[condition], regions=[then_region, else_region])

    def verify_(self) -> None:
        _check_scalar(self.condition, "i1", "the condition is")


@irdl_op_definition
class LoopOp(IRDLOperation):
    """
    A counted loop; the symbol is the iteration number inside, and how many were done
    after. `until`: a bool in memory, read after each iteration: false ends the loop.

        tile.loop "t" to <[S]> { ... }
    """

    name = "tile.loop"
    symbol = prop_def(StringAttr)
    to = prop_def(DimsAttr)
    until = opt_operand_def(ViewType)
    body = region_def("single_block")
    traits = traits_def(NoTerminator())
    assembly_format = (
        "$symbol `to` $to (`until` $until^ `:` type($until))? attr-dict-with-keyword $body"
    )

    def __init__(self, symbol: str, to: int | Dim, body: Region, until: Value | None = None):
        super().__init__(
            operands=[[] if until is None else until],
            properties={"symbol": StringAttr(symbol), "to": DimsAttr.of([to])},
            regions=[body],
        )

    def verify_(self) -> None:
        if self.until is not None:
            _check_scalar(self.until, "i1", "the flag is")


@irdl_op_definition
class WhileOp(IRDLOperation):
    """
    Runs the condition region, reads the bool, runs the body while it is true.

        tile.while %c : !tile.view<[], i1> { .. } { .. }
    """

    name = "tile.while"
    flag = operand_def(ViewType)
    condition = region_def("single_block")
    body = region_def("single_block")
    traits = traits_def(NoTerminator())
    assembly_format = "$flag attr-dict `:` type($flag) $condition $body"

    def __init__(self, flag: Value, condition: Region, body: Region):
        super().__init__(operands=[flag], regions=[condition, body])

    def verify_(self) -> None:
        _check_scalar(self.flag, "i1", "the flag is")


@irdl_op_definition
class PublishOp(IRDLOperation):
    """
    Gives a view as the output of that number, for outputs whose sizes are known only while
    running: `tile.publish %y as 0 : !tile.view<[K], i64>`.
    """

    name = "tile.publish"
    view = operand_def(ViewType)
    index = prop_def(IntegerAttr.constr(i64))
    assembly_format = "$view `as` $index attr-dict `:` type($view)"

    def __init__(self, view: Value, index: int):
        super().__init__(operands=[view], properties={"index": IntegerAttr(index, i64)})

    def verify_(self) -> None:
        if not view_type(self.view).is_dense():
            raise VerifyException(f"an output is dense, not {self.view.type}")


PROGRAM_OPS = (
    ProgramOp, AllocOp, WeightOp, AliasOp, LaunchOp, LibraryOp, BarrierOp, BindOp, SetOp, IfOp,
    LoopOp, WhileOp, PublishOp,
)  # fmt: skip
