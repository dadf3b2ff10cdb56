"""Import of ONNX models: a model file becomes a module of the graph dialect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
from xdsl.dialects import func
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from infini_ir.dialects.context import CompilerContext
from infini_ir.dialects.dims import FactsAttr
from infini_ir.frontends.onnx.errors import SpecializationNeeded
from infini_ir.frontends.onnx.loading import (
    Source,
    check_function,
    check_graph,
    check_operators,
    check_versions,
    functions_of,
    load_model,
    modernized,
)
from infini_ir.frontends.onnx.registry import load_operators
from infini_ir.frontends.onnx.scope import CAUGHT, Scope, opsets_of
from infini_ir.frontends.onnx.session import Session
from infini_ir.frontends.onnx.signature import Given, Input, SignatureReader, Tensor
from infini_ir.frontends.onnx.tensors import Files
from infini_ir.frontends.onnx.values import (
    Entry,
    Initializer,
    Missing,
    OptionalValue,
    SequenceValue,
)
from infini_ir.utils.errors import InfiniError, ModelError

OUTPUTS = "onnx.outputs"
"""Function attribute: each output of the model as `name` (a tensor), `name[n]` (a sequence of
n tensors), `name?` (an empty optional)."""


def import_model(
    source: Source, ctx: CompilerContext, *, inputs: Given | None = None
) -> ModuleOp:
    """Import an ONNX model as `func.func @main`; its weights go to `ctx.weights`.

    `inputs` gives shapes (integers or symbols) or, as numpy arrays, values of model inputs;
    an input whose value is given is no argument of the function. For an input that is a
    sequence it gives a list of shapes or arrays, for an optional a shape, an array or None.

    Raises `ModelError` for what is not a valid model or not supported, and its subclass
    `SpecializationNeeded` where values of inputs must be given.
    """
    model, label, folder = load_model(source)
    try:
        return _import(model, label, folder, ctx, inputs or {}, copied=model is not source)
    except CAUGHT as error:
        if isinstance(error, InfiniError):
            raise
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{label}: the model is damaged or not valid ONNX: {reason}; check it with "
            "onnx.checker"
        ) from error


def _import(
    model: onnx.ModelProto,
    label: str,
    folder: Path | None,
    ctx: CompilerContext,
    inputs: Given,
    *,
    copied: bool,
) -> ModuleOp:
    check_versions(model, label)
    model = modernized(model, label)
    opsets = opsets_of(model.opset_import)
    functions = functions_of(model, label)
    load_operators()
    check_operators(model.graph, opsets, functions, label)
    if not copied:
        model = _private_copy(model)
        functions = functions_of(model, label)
    check_graph(model.graph, label)
    for function in functions.values():
        check_function(function, label)
    entry = Block()
    session = Session(label, ctx.weights, Files(folder, ctx.weights), functions, entry)
    scope = Scope(session, entry, opsets)
    reader = SignatureReader(session, inputs)
    arguments = _define_inputs(reader.read(model.graph), scope)
    scope.add_initializers(model.graph)
    scope.run(model.graph.node)
    outputs = _outputs(model.graph, scope)
    return _module(session, arguments, outputs)


def _private_copy(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose nodes may be put in order."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _define_inputs(inputs: Sequence[Input], scope: Scope) -> list[str]:
    """Create the arguments and define the inputs' names; gives the arguments' names."""
    names: list[str] = []
    for item in inputs:
        entries = [_argument(tensor, item, scope, names) for tensor in item.tensors]
        scope.values[item.name] = _input_entry(item, entries, scope)
    return names


def _argument(
    tensor: Tensor, item: Input, scope: Scope, names: list[str]
) -> SSAValue | Initializer:
    session = scope.session
    if tensor.array is not None:
        return Initializer.of(tensor.name, tensor.array, tensor.type.dtype)
    argument = session.entry.insert_arg(tensor.type, len(names))
    session.argument_names[argument] = item.name
    names.append(tensor.name)
    return argument


def _input_entry(item: Input, entries: Sequence[SSAValue | Initializer], scope: Scope) -> Entry:
    if item.kind == "tensor":
        return entries[0]
    values = [e if isinstance(e, SSAValue) else scope.session.materialize(e) for e in entries]
    if item.kind == "sequence":
        return SequenceValue(values, item.element)
    if not item.present:
        return OptionalValue()
    if item.inner == "sequence":
        return OptionalValue(SequenceValue(values, item.element))
    return OptionalValue(values[0])


def _outputs(graph: onnx.GraphProto, scope: Scope) -> list[tuple[str, Entry]]:
    session = scope.session
    needed = session.needed
    if needed.values or needed.shapes:
        raise SpecializationNeeded(
            session.label,
            needed.values,
            needed.shapes,
            session.reason.removeprefix(session.label + ": "),
        )
    return [(info.name, scope.values[info.name]) for info in graph.output]


def _flatten(
    name: str, entry: Entry, session: Session
) -> tuple[str, list[tuple[str, SSAValue]]]:
    """An output's description and the tensors it consists of."""
    if isinstance(entry, OptionalValue):
        if entry.value is None:
            return f"{name}?", []
        entry = entry.value
    if isinstance(entry, SequenceValue):
        parts: list[tuple[str, SSAValue]] = []
        for index, value in enumerate(entry.items):
            inner = value.value if isinstance(value, OptionalValue) else value
            if not isinstance(inner, SSAValue):
                raise ModelError(f"{session.label}: output '{name}' nests sequences")
            parts.append((f"{name}[{index}]", inner))
        return f"{name}[{len(parts)}]", parts
    if isinstance(entry, Initializer):
        try:
            entry = session.materialize(entry)
        except VerifyException as error:
            raise ModelError(f"{session.label}: output '{name}': {error}") from error
    assert not isinstance(entry, Missing)
    return name, [(name, entry)]


def _module(
    session: Session, arguments: Sequence[str], outputs: Sequence[tuple[str, Entry]]
) -> ModuleOp:
    flat = [_flatten(name, entry, session) for name, entry in outputs]
    results = [part for _, parts in flat for part in parts]
    values = [value for _, value in results]
    session.entry.add_op(func.ReturnOp(*values))
    erase_unused(session.entry)
    function = func.FuncOp(
        "main",
        ([a.type for a in session.entry.args], [value.type for value in values]),
        Region(session.entry),
        arg_attrs=_names(arguments),
        res_attrs=_names([name for name, _ in results]),
    )
    if session.facts:
        function.attributes["graph.where"] = FactsAttr(tuple(session.facts))
    if [text for text, _ in flat] != [name for name, _ in results]:
        function.attributes[OUTPUTS] = ArrayAttr([StringAttr(text) for text, _ in flat])
    module = ModuleOp([function])
    try:
        for op in module.walk():
            if op not in session.verified:
                op.verify(verify_nested_ops=False)
    except VerifyException as error:
        raise ModelError(f"{session.label}: {' '.join(str(error).split())}") from error
    return module


def output_descriptions(module: ModuleOp) -> list[str]:
    """What each output of the model consists of, as `OUTPUTS` says."""
    function = module.body.block.first_op
    assert isinstance(function, func.FuncOp)
    kept = function.attributes.get(OUTPUTS)
    if isinstance(kept, ArrayAttr):
        return [item.data for item in kept if isinstance(item, StringAttr)]
    names = [item.data.get("graph.name") for item in function.res_attrs or ()]
    return [name.data for name in names if isinstance(name, StringAttr)]


def _names(names: Sequence[str]) -> ArrayAttr[DictionaryAttr]:
    return ArrayAttr([DictionaryAttr({"graph.name": StringAttr(name)}) for name in names])


def erase_unused(block: Block) -> None:
    """Erase pure operations whose results nobody uses, in nested regions too."""
    op = block.last_op
    while op is not None:
        before = op.prev_op
        if _is_dead(op):
            block.erase_op(op)
        else:
            for region in op.regions:
                for inner in region.blocks:
                    erase_unused(inner)
        op = before


def _is_dead(op: Operation) -> bool:
    if any(result.uses for result in op.results) or not op.results:
        return False
    return op.has_trait(Pure) and not op.regions
