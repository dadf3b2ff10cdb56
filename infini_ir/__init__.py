"""Infini IR: a deep-learning compiler. `infini_ir.compile(model)` gives a callable.

    import infini_ir as infini

    f = infini.compile("model.onnx")
    y = f(x)
    f.save("model.infini")
    g = infini.load("model.infini")

Everything is imported when it is first used.
"""

from __future__ import annotations

import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from infini_ir.compiler import compile, compile_for
    from infini_ir.runtime.model import CompiledModel, load
    from infini_ir.runtime.signature import TensorSpec
    from infini_ir.utils.errors import (
        ArtifactError,
        CompileError,
        InfiniError,
        InputError,
        ModelError,
        OptionError,
        SizeError,
    )

__version__ = "0.1.0"

LOADED_AT = time.time_ns()
"""When this process began to import the compiler: sources changed since are not those that run."""

_WHERE = {
    "compile": "infini_ir.compiler",
    "compile_for": "infini_ir.compiler",
    "load": "infini_ir.runtime.model",
    "CompiledModel": "infini_ir.runtime.model",
    "TensorSpec": "infini_ir.runtime.signature",
    "InfiniError": "infini_ir.utils.errors",
    "ModelError": "infini_ir.utils.errors",
    "InputError": "infini_ir.utils.errors",
    "ArtifactError": "infini_ir.utils.errors",
    "CompileError": "infini_ir.utils.errors",
    "OptionError": "infini_ir.utils.errors",
    "SizeError": "infini_ir.utils.errors",
}

__all__ = [
    "ArtifactError",
    "CompileError",
    "CompiledModel",
    "InfiniError",
    "InputError",
    "ModelError",
    "OptionError",
    "SizeError",
    "TensorSpec",
    "compile",
    "compile_for",
    "load",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'infini_ir' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
