"""Small ONNX models written as text, and their import."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import parser
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp

from infini_ir.dialects.context import CompilerContext, compiler_context
from infini_ir.frontends.onnx.importer import import_model
from infini_ir.interpreters.graph import interpret


def model(text: str, *, opset: int = 21, ir: int = 10, extra: str = "") -> onnx.ModelProto:
    """A model from the text of its graph (and, in `extra`, of its functions)."""
    header = f'<ir_version: {ir}, opset_import: ["" : {opset}, "local" : 1]>\n'
    return parser.parse_model(header + text + "\n" + extra)


def imported(
    source: str | onnx.ModelProto, inputs: dict[str, Any] | None = None, **options: Any
) -> tuple[ModuleOp, CompilerContext]:
    proto = model(source, **options) if isinstance(source, str) else source
    ctx = compiler_context()
    return import_model(proto, ctx, inputs=inputs), ctx


def text_of(
    source: str | onnx.ModelProto, inputs: dict[str, Any] | None = None, **options: Any
):
    """The printed module."""
    return str(imported(source, inputs, **options)[0])


def results(
    source: str | onnx.ModelProto,
    arrays: Sequence[np.ndarray],
    inputs: dict[str, Any] | None = None,
    **options: Any,
) -> list[np.ndarray]:
    """What the imported model computes, by the reference interpreter."""
    module, ctx = imported(source, inputs, **options)
    return interpret(module, list(arrays), ctx)


def signature(module: ModuleOp) -> str:
    """The type of the function."""
    function = module.body.block.first_op
    assert isinstance(function, func.FuncOp)
    return str(function.function_type)
