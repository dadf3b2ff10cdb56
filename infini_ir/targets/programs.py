"""Facts of a tile program that every target's emitter and launcher wants."""

from __future__ import annotations

from collections.abc import Collection

from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr
from xdsl.ir import Operation
from xdsl.rewriter import Rewriter

from infini_ir.dialects import tile
from infini_ir.dialects.graph import TensorType
from infini_ir.dialects.tile import program
from infini_ir.runtime.signature import TensorSpec
from infini_ir.utils.errors import CompileError


def program_of(module: ModuleOp) -> program.ProgramOp:
    """The host program of a module."""
    for op in module.body.block.ops:
        if isinstance(op, program.ProgramOp):
            return op
    raise CompileError("the module has no tile.program; run graph-to-tile first")


def input_symbols(entry: program.ProgramOp) -> list[str]:
    """Symbols that are a bare size of some input, in order."""
    names: dict[str, None] = {}
    for argument in entry.body.block.args[: entry.input_count.value.data]:
        for dim in tile.view_type(argument).shape:
            if dim.name is not None:
                names.setdefault(dim.name)
    return list(names)


def symbols_of(entry: program.ProgramOp) -> tuple[str, ...]:
    """All symbols of a program: those of the inputs, then those that it defines."""
    inputs = input_symbols(entry)
    return (*inputs, *sorted(defined_symbols(entry) - set(inputs)))


def signature_of(
    entry: program.ProgramOp,
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs by name."""
    signature = entry.signature.data
    count = entry.input_count.value.data

    def names(key: str, number: int) -> list[str]:
        given = signature.get(key)
        if isinstance(given, ArrayAttr):
            return [n.data for n in given.data if isinstance(n, StringAttr)]
        return [f"{key[:-1]}{i}" for i in range(number)]

    arguments = [tile.view_type(a) for a in entry.body.block.args]
    inputs = tuple(
        TensorSpec(name, type.dtype, type.shape)
        for name, type in zip(names("inputs", count), arguments[:count], strict=True)
    )
    declared = signature.get("output_types")
    if isinstance(declared, ArrayAttr):
        types = [(t.dtype, t.shape) for t in declared.data if isinstance(t, TensorType)]
    else:
        types = [(t.dtype, t.shape) for t in arguments[count:]]
        assert known_outputs(entry) == list(range(len(types)))
    outputs = tuple(
        TensorSpec(name, dtype, shape)
        for name, (dtype, shape) in zip(names("outputs", len(types)), types, strict=True)
    )
    return inputs, outputs


def known_outputs(entry: program.ProgramOp) -> list[int]:
    """The numbers of the outputs that are arguments of the program, in order."""
    published = {
        op.index.value.data for op in entry.walk() if isinstance(op, program.PublishOp)
    }
    arguments = len(entry.body.block.args) - entry.input_count.value.data
    numbers = [i for i in range(arguments + len(published)) if i not in published]
    return numbers[:arguments]


def defined_symbols(op: Operation) -> set[str]:
    """The symbols that operations inside a region give values."""
    names: set[str] = set()
    for inner in op.walk():
        if isinstance(inner, program.BindOp | program.SetOp | program.LoopOp):
            names.add(inner.symbol.data)
    return names


def remove_unused(module: ModuleOp, kept: Collection[str] = ()) -> None:
    """Erase kernels that nothing launches any more, but for those `kept`."""
    used = {*kept} | {
        op.kernel.string_value() for op in module.walk() if isinstance(op, program.LaunchOp)
    }
    for op in list(module.body.block.ops):
        if isinstance(op, tile.KernelOp) and op.sym_name.data not in used:
            Rewriter.erase_op(op)
    for op in list(module.walk(reverse=True)):
        if isinstance(op, program.WeightOp | program.AliasOp) and not op.results[0].uses:
            Rewriter.erase_op(op)


def weight_names(module: ModuleOp) -> list[str]:
    """The weights a program reads, in order of first use."""
    names: dict[str, None] = {}
    for op in module.walk():
        if isinstance(op, program.WeightOp):
            names.setdefault(op.handle.data)
    return list(names)
