"""From values to kernels and memory: the pass `graph-to-tile`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import func
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from infini_ir.dialects.context import CompilerContext
from infini_ir.dialects.dims import FactsAttr
from infini_ir.dialects.graph import TensorType, tensor_type
from infini_ir.dialects.tile import ViewType, program
from infini_ir.lowering import kernels
from infini_ir.lowering.host_builder import HostBuilder
from infini_ir.utils.errors import CompileError
from infini_ir.utils.symbolic import Dim


@dataclass(frozen=True)
class GraphToTilePass(ModulePass):
    """Turn the function `main` of the graph dialect into kernels and a host program."""

    name = "graph-to-tile"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        kernels.register()
        function = _main_of(op)
        context = ctx if isinstance(ctx, CompilerContext) else CompilerContext()
        inputs = _names(function.arg_attrs, len(function.body.block.args), "input")
        results = function.function_type.outputs.data
        outputs = _names(function.res_attrs, len(results), "output")
        module_block = op.body.block
        entry = lower_function(function, context, module_block)
        entry.signature = DictionaryAttr(
            {
                "inputs": ArrayAttr([StringAttr(name) for name in inputs]),
                "outputs": ArrayAttr([StringAttr(name) for name in outputs]),
                "output_types": ArrayAttr(results),
            }
        )
        function.detach()
        function.erase()


def _main_of(module: ModuleOp) -> func.FuncOp:
    functions = [op for op in module.body.block.ops if isinstance(op, func.FuncOp)]
    for function in functions:
        if function.sym_name.data == "main":
            return function
    raise CompileError("graph-to-tile: the module has no function 'main'; name the entry so")


def _names(attributes: ArrayAttr | None, count: int, default: str) -> list[str]:
    names = [f"{default}{i}" for i in range(count)]
    for i, entry in enumerate(attributes or ()):
        given = entry.data.get("graph.name") if isinstance(entry, DictionaryAttr) else None
        if isinstance(given, StringAttr):
            names[i] = given.data
    return names


def lower_function(
    function: func.FuncOp, ctx: CompilerContext, module_block
) -> program.ProgramOp:
    """Put the program and its kernels at the end of the module."""
    block = function.body.block
    inputs = [tensor_type(argument) for argument in block.args]
    terminator = block.last_op
    assert isinstance(terminator, func.ReturnOp)
    outputs = [tensor_type(value) for value in terminator.operands]
    known = set().union(*(size.symbols() for t in inputs for size in t.shape if size.name))
    known_outputs = [t for t in outputs if _symbols(t) <= known]
    facts = function.attributes.get("graph.where")
    entry = program.ProgramOp(
        "main",
        [_view(t) for t in (*inputs, *known_outputs)],
        len(inputs),
        facts if isinstance(facts, FactsAttr) else None,
    )
    module_block.add_op(entry)
    host = HostBuilder(ctx, entry, module_block)
    host.entry_symbols, host.symbols = set(known), set(known)
    host.used_symbols = {name for size in _sizes(function) for name in size.symbols()}
    for argument, view in zip(block.args, entry.body.block.args, strict=False):
        host.place(argument, host.whole(view))
    views = iter(entry.body.block.args[len(inputs) :])
    targets = [host.whole(next(views)) if _symbols(t) <= known else None for t in outputs]
    host.targets[terminator] = list(targets)
    host.lower_block(block)
    _finish(host, terminator, targets)
    return entry


def _finish(host: HostBuilder, terminator: func.ReturnOp, targets: list) -> None:
    """Copy to the outputs what was not computed in them, and publish the others."""
    for index, (value, target) in enumerate(zip(terminator.operands, targets, strict=True)):
        if target is not None:
            host.copy(host.placement(value), target)
        else:
            placed = host.made_dense(host.placement(value))
            host.emit(program.PublishOp(host.view(placed), index))
    host.drop_unused_weights()


def _view(kind: TensorType) -> ViewType:
    return ViewType.of(kind.shape, kind.element)


def _symbols(kind: TensorType) -> set[str]:
    return set().union(*(size.symbols() for size in kind.shape))


def _sizes(function: func.FuncOp) -> Iterator[Dim]:
    for argument in function.body.block.args:
        yield from tensor_type(argument).shape
    for op in function.walk():
        values: list[SSAValue] = [*op.results, *(a for r in op.regions for a in r.block.args)]
        for value in values:
            if isinstance(value.type, TensorType):
                yield from value.type.shape
        if "symbol" in op.properties and isinstance(op.properties["symbol"], StringAttr):
            yield Dim.symbol(op.properties["symbol"].data)
