"""Importing a backend case's model for given inputs, and running it on the interpreter.

A model is imported with its own symbolic shapes; where it says that values (or sizes) of
inputs must be known, it is imported again for those of the call.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from xdsl.dialects import func
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr

from infini_ir.dialects.context import CompilerContext, compiler_context
from infini_ir.frontends.onnx.errors import SpecializationNeeded
from infini_ir.frontends.onnx.importer import OUTPUTS, import_model
from infini_ir.interpreters.graph import interpret


@dataclass
class Imported:
    """A model imported for a call."""

    module: ModuleOp
    ctx: CompilerContext
    arguments: list[np.ndarray]
    """The call's arrays in the order of the function's arguments."""

    def outputs(self, results: Sequence[np.ndarray]) -> list[Any]:
        """The model's outputs from the function's results: sequences become lists, empty
        optionals None."""
        rest = iter(results)
        described = main_of(self.module).attributes.get(OUTPUTS)
        if not isinstance(described, ArrayAttr):
            return list(rest)
        outputs: list[Any] = []
        for text in described:
            assert isinstance(text, StringAttr)
            many = re.fullmatch(r".*\[(\d+)\]", text.data)
            if many:
                outputs.append([next(rest) for _ in range(int(many[1]))])
            else:
                outputs.append(None if text.data.endswith("?") else next(rest))
        return outputs


def main_of(module: ModuleOp) -> func.FuncOp:
    """The module's only function."""
    (function,) = module.body.block.ops
    assert isinstance(function, func.FuncOp)
    return function


def import_for(model: onnx.ModelProto, inputs: Sequence[Any]) -> Imported:
    """Import a model, specialised only on what it asks for."""
    stored = {tensor.name for tensor in model.graph.initializer}
    names = [info.name for info in model.graph.input if info.name not in stored]
    call = dict(zip(names, inputs, strict=False))
    given: dict[str, Any] = {}
    while True:
        ctx = compiler_context()
        try:
            module = import_model(model, ctx, inputs=given)
        except SpecializationNeeded as need:
            before = len(given)
            given.update({name: np.shape(call[name]) for name in need.shapes})
            given.update({name: call[name] for name in need.names})
            assert len(given) > before or need.names, str(need)
            continue
        return Imported(module, ctx, _arguments(module, call))


def _arguments(module: ModuleOp, call: dict[str, Any]) -> list[np.ndarray]:
    attributes = main_of(module).arg_attrs
    assert isinstance(attributes, ArrayAttr)
    return [np.asarray(_element(call, a.data["graph.name"].data)) for a in attributes]


def _element(call: dict[str, Any], name: str) -> Any:
    """The array called `name`, or element i of the sequence where it is `sequence[i]`."""
    if name in call:
        return call[name]
    sequence = re.fullmatch(r"(.*)\[(\d+)\]", name)
    assert sequence, name
    return call[sequence[1]][int(sequence[2])]


def interpret_model(model: onnx.ModelProto, inputs: Sequence[Any]) -> list[Any]:
    """The model's outputs by the reference interpreter; a `Run` for `onnx_cases`."""
    imported = import_for(model, inputs)
    return imported.outputs(interpret(imported.module, imported.arguments, imported.ctx))
